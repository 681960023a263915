//! `berth-package-filter [--wasm-opt PROGRAM] IN.wasm OUT.wasm` makes the module that is shipped of the one that cargo
//! built: without the callbacks the filter does not use and what only they reach, optimized if there is something to do it
//! with, and known to ask its host for nothing an Envoy does not give.

mod module;
mod optimize;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use module::ModuleError;
use optimize::OptimizeError;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let (optimizer, input, output) = match arguments.as_slice() {
        [flag, program, input, output] if flag == "--wasm-opt" => (Some(program), input, output),
        [input, output] => (None, input, output),
        _ => {
            eprintln!("usage: berth-package-filter [--wasm-opt PROGRAM] IN.wasm OUT.wasm");
            return ExitCode::from(EX_USAGE);
        }
    };
    match package(input.as_ref(), output.as_ref(), optimizer.map(Path::new)) {
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

fn package(input: &Path, output: &Path, optimizer: Option<&Path>) -> Result<String, PackageError> {
    let unfit = |source| PackageError::Module {
        path: input.to_owned(),
        source,
    };
    let before = fs::read(input).map_err(|source| PackageError::file(input, source))?;
    let packaged = module::package(&before).map_err(unfit)?;
    let shipped = match optimizer {
        None => packaged.bytes,
        Some(program) => {
            let optimized = optimize::optimize(program, &packaged.bytes)?;
            module::check(&optimized).map_err(unfit)?;
            optimized
        }
    };
    fs::write(output, &shipped).map_err(|source| PackageError::file(output, source))?;

    Ok(format!(
        "{}: {} bytes, {} before; {} unused callbacks are not exported{}\n",
        output.display(),
        shipped.len(),
        before.len(),
        packaged.dropped.len(),
        if optimizer.is_some() {
            ""
        } else {
            "; not optimized"
        }
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
    /// It was not optimized.
    #[error(transparent)]
    Optimize(#[from] OptimizeError),
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
