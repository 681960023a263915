//! binaryen's `wasm-opt`, a program of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// Has `program` make the module smaller. What comes out is not checked here.
///
/// # Errors
/// When there is nothing that came out.
pub(crate) fn optimize(program: &Path, module: &[u8]) -> Result<Vec<u8>, OptimizeError> {
    let folder = tempfile::tempdir().map_err(OptimizeError::File)?;
    let before = folder.path().join("before.wasm");
    let after = folder.path().join("after.wasm");
    fs::write(&before, module).map_err(OptimizeError::File)?;
    let run = Command::new(program)
        .args(FLAGS)
        .arg(&before)
        .arg("--output")
        .arg(&after)
        .output();
    let run = run.map_err(|source| OptimizeError::NotRun {
        program: program.to_owned(),
        source,
    })?;
    if !run.status.success() {
        return Err(OptimizeError::Failed {
            program: program.to_owned(),
            status: run.status.to_string(),
            said: String::from_utf8_lossy(&run.stderr).trim().to_owned(),
        });
    }
    fs::read(&after).map_err(OptimizeError::File)
}

/// Why there is no optimized module.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OptimizeError {
    /// The files it works on could not be written or read.
    #[error("wasm-opt: {0}")]
    File(io::Error),
    /// It could not be started.
    #[error("{program}: {source}", program = program.display())]
    NotRun {
        /// What was to be started.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It gave up.
    #[error("{program}: {status}: {said}", program = program.display())]
    Failed {
        /// What was started.
        program: PathBuf,
        /// How it ended.
        status: String,
        /// What it said of it.
        said: String,
    },
}

/// As small as can be, twice, control flow made anew before and large constants shared after: for this module no other
/// order of these was smaller or faster. And what Rust's WASI targets use beyond the first WebAssembly, which wasm-opt has
/// to be allowed.
const FLAGS: [&str; 11] = [
    "--flatten",
    "--rereloop",
    "-Oz",
    "-Oz",
    "--const-hoisting",
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_makes_no_module_is_named() {
        for (program, expected) in [
            ("/nowhere/wasm-opt", "/nowhere/wasm-opt: No such file"),
            ("false", "false: exit status: 1: "),
            // It ends well, and there is no file.
            ("true", "wasm-opt: No such file"),
        ] {
            let error = optimize(Path::new(program), b"").unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
