//! What is shipped of a module, and the checks, on bytes.

mod rewrite;

use wasm_encoder::reencode;
use wasmparser::{Import, Parser, Payload, TypeRef};

/// A module that can be shipped.
#[derive(Debug)]
pub(crate) struct Packaged {
    pub(crate) bytes: Vec<u8>,
    /// The callbacks that were taken out of the exports.
    pub(crate) dropped: Vec<String>,
}

/// Why a module cannot be shipped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModuleError {
    /// It is not a valid WebAssembly module.
    #[error("not a WebAssembly module: {0}")]
    Invalid(#[from] wasmparser::Error),
    /// It has something in it that cannot be written again.
    #[error("cannot be rewritten: {0}")]
    NotRewritten(#[from] reencode::Error),
    /// It asks for something that Envoy does not give, and would not load.
    #[error("imports {module}.{name}, which Envoy does not give")]
    ForeignImport {
        /// The import's module.
        module: String,
        /// The import's name.
        name: String,
    },
    /// Without this callback it would load and not do its work: requests would pass unadmitted.
    #[error("does not export {0}")]
    MissingExport(&'static str),
    /// With this callback an Envoy would enter it for nothing.
    #[error("exports {0}, which the filter does not use")]
    UnusedCallback(String),
}

/// Takes the callbacks that the filter does not use out of `module`'s exports, so that Envoy does not call them: the body
/// callbacks among them, which it would otherwise enter for every chunk that a session relays. With them goes all that
/// only they could reach.
///
/// # Errors
/// When the module must not be shipped.
pub(crate) fn package(module: &[u8]) -> Result<Packaged, ModuleError> {
    wasmparser::validate(module)?;
    let bytes = rewrite::rewrite(module, stays)?;
    check(&bytes)?;
    let exported = exports(&bytes)?;
    let dropped = exports(module)?
        .into_iter()
        .filter(|name| !exported.contains(name))
        .map(str::to_owned)
        .collect();
    Ok(Packaged { bytes, dropped })
}

/// Whether a module is one to ship.
///
/// # Errors
/// When it is not.
pub(crate) fn check(module: &[u8]) -> Result<(), ModuleError> {
    wasmparser::validate(module)?;
    for import in imports(module)? {
        check_import(import)?;
    }
    let exported = exports(module)?;
    let mut needed = NEEDED.into_iter().chain(CALLBACKS);
    if let Some(missing) = needed.find(|name| !exported.contains(name)) {
        return Err(ModuleError::MissingExport(missing));
    }
    match exported.into_iter().find(|name| !stays(name)) {
        Some(unused) => Err(ModuleError::UnusedCallback(unused.to_owned())),
        None => Ok(()),
    }
}

/// Whether an export is kept: all but the callbacks that are not used.
fn stays(export: &str) -> bool {
    !export.starts_with("proxy_on_") || NEEDED.contains(&export) || CALLBACKS.contains(&export)
}

fn imports(module: &[u8]) -> Result<Vec<Import<'_>>, wasmparser::Error> {
    let mut imports = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ImportSection(section) = payload? {
            for import in section.into_imports() {
                imports.push(import?);
            }
        }
    }
    Ok(imports)
}

fn exports(module: &[u8]) -> Result<Vec<&str>, wasmparser::Error> {
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ExportSection(section) = payload? {
            for export in section {
                names.push(export?.name);
            }
        }
    }
    Ok(names)
}

/// Whether Envoy gives what is imported.
fn check_import(import: Import<'_>) -> Result<(), ModuleError> {
    let given = match import.module {
        "env" => import.name.starts_with("proxy_"),
        "wasi_snapshot_preview1" => WASI.contains(&import.name),
        _ => false,
    };
    if given && matches!(import.ty, TypeRef::Func(_)) {
        return Ok(());
    }
    Err(ModuleError::ForeignImport {
        module: import.module.to_owned(),
        name: import.name.to_owned(),
    })
}

/// What an Envoy needs besides the callbacks: the version of the ABI, and memory to put arguments into.
const NEEDED: [&str; 2] = ["proxy_abi_version_0_2_1", "proxy_on_memory_allocate"];

/// The callbacks that the filter uses. Those of bodies, trailers and TCP are not among them.
const CALLBACKS: [&str; 10] = [
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_done",
    "proxy_on_grpc_close",
    "proxy_on_grpc_receive",
    "proxy_on_log",
    "proxy_on_request_headers",
    "proxy_on_response_headers",
    "proxy_on_tick",
];

/// The calls of WASI that the Rust library makes of its own accord and that Envoy gives. It gives a few more (files and
/// arguments); a filter has no business with them.
const WASI: [&str; 6] = [
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proc_exit",
    "random_get",
];

#[cfg(test)]
mod tests;
