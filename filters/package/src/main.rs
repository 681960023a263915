//! `berth-package-filter IN.wasm OUT.wasm` makes the module that is shipped of the one that cargo built: without the
//! callbacks the filter does not use and what only they reach, and known to ask its host for nothing an Envoy does not
//! give.

mod module;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use module::ModuleError;

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [input, output] = arguments.as_slice() else {
        eprintln!("usage: berth-package-filter IN.wasm OUT.wasm");
        return ExitCode::from(EX_USAGE);
    };
    match package(input, output) {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("berth-package-filter: {error}");
            ExitCode::FAILURE
        }
    }
}

fn package(input: &Path, output: &Path) -> Result<String, PackageError> {
    let before = fs::read(input).map_err(|source| PackageError::file(input, source))?;
    let packaged = module::package(&before).map_err(|source| PackageError::Module {
        path: input.to_owned(),
        source,
    })?;
    fs::write(output, &packaged.bytes).map_err(|source| PackageError::file(output, source))?;

    Ok(format!(
        "{}: {} bytes, {} before; {} unused callbacks are not exported\n",
        output.display(),
        packaged.bytes.len(),
        before.len(),
        packaged.dropped.len()
    ))
}

/// Why there is no packaged module.
#[derive(Debug, thiserror::Error)]
enum PackageError {
    /// A file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    File { path: PathBuf, source: io::Error },
    /// The module is not one to ship.
    #[error("{path}: {source}", path = path.display())]
    Module { path: PathBuf, source: ModuleError },
}

impl PackageError {
    fn file(path: &Path, source: io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            source,
        }
    }
}

/// A command that was used wrongly (sysexits.h).
const EX_USAGE: u8 = 64;
