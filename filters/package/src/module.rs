//! The rewriting and the checks, on bytes.

use std::collections::BTreeSet;
use std::ops::Range;

use wasm_encoder::{ExportKind, ExportSection, Module, RawSection};
use wasmparser::{Export, ExportSectionReader, ExternalKind, Import, Parser, Payload, TypeRef};

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
    /// One of its sections reaches beyond its end.
    #[error("a section reaches beyond the module's end")]
    Truncated,
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
}

/// Takes the callbacks that the filter does not use out of `module`'s exports, so that Envoy does not call them: the body
/// callbacks among them, which it would otherwise enter for every chunk that a session relays.
///
/// # Errors
/// When the module must not be shipped.
pub(crate) fn package(module: &[u8]) -> Result<Packaged, ModuleError> {
    wasmparser::validate(module)?;
    let mut output = Module::new();
    let mut dropped = Vec::new();
    let mut exported = BTreeSet::new();

    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        match &payload {
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    check(import?)?;
                }
            }
            Payload::ExportSection(exports) => {
                output.section(&kept(exports.clone(), &mut exported, &mut dropped)?);
                continue;
            }
            _ => {}
        }
        if let Some((id, range)) = payload.as_section() {
            let data = part(module, range).ok_or(ModuleError::Truncated)?;
            output.section(&RawSection { id, data });
        }
    }

    if let Some(missing) = NEEDED
        .into_iter()
        .chain(CALLBACKS)
        .find(|name| !exported.contains(name))
    {
        return Err(ModuleError::MissingExport(missing));
    }
    Ok(Packaged {
        bytes: output.finish(),
        dropped,
    })
}

/// Whether Envoy gives what is imported.
fn check(import: Import<'_>) -> Result<(), ModuleError> {
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

/// The exports that stay: all but the callbacks that are not used.
fn kept<'a>(
    exports: ExportSectionReader<'a>,
    exported: &mut BTreeSet<&'a str>,
    dropped: &mut Vec<String>,
) -> Result<ExportSection, ModuleError> {
    let mut section = ExportSection::new();
    for export in exports {
        let Export { name, kind, index } = export?;
        if name.starts_with("proxy_on_") && !NEEDED.contains(&name) && !CALLBACKS.contains(&name) {
            dropped.push(name.to_owned());
        } else {
            exported.insert(name);
            section.export(name, encoded(kind), index);
        }
    }
    Ok(section)
}

const fn encoded(kind: ExternalKind) -> ExportKind {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => ExportKind::Func,
        ExternalKind::Table => ExportKind::Table,
        ExternalKind::Memory => ExportKind::Memory,
        ExternalKind::Global => ExportKind::Global,
        ExternalKind::Tag => ExportKind::Tag,
    }
}

fn part(module: &[u8], range: Range<u64>) -> Option<&[u8]> {
    module.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
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
