//! The module that ships: what it asks of an Envoy, and when an Envoy enters it.
#![cfg(test)]

use std::collections::BTreeSet;

use wasmparser::{Parser, Payload};

/// Relayed bytes do not enter the module, because there is nothing to call with them.
#[test]
fn the_module_exports_the_callbacks_it_needs_and_none_for_bodies() {
    let module = module();
    let callbacks: BTreeSet<String> = Parser::new(0)
        .parse_all(&module)
        .filter_map(|payload| match payload.unwrap() {
            Payload::ExportSection(exports) => Some(exports),
            _ => None,
        })
        .flatten()
        .map(|export| export.unwrap().name.to_owned())
        .filter(|name| name.starts_with("proxy_on_") && name != "proxy_on_memory_allocate")
        .collect();
    let listed = CAPABILITIES
        .lines()
        .filter(|name| name.starts_with("proxy_on_"));
    assert_eq!(callbacks, listed.map(str::to_owned).collect());
}

/// What it imports besides would be refused when it is called, not when it is loaded.
#[test]
fn the_module_imports_what_an_envoy_gives_and_all_it_is_said_to_call() {
    let module = module();
    let imports: BTreeSet<(String, String)> = Parser::new(0)
        .parse_all(&module)
        .filter_map(|payload| match payload.unwrap() {
            Payload::ImportSection(imports) => Some(imports.into_imports()),
            _ => None,
        })
        .flatten()
        .map(|import| import.unwrap())
        .map(|import| (import.module.to_owned(), import.name.to_owned()))
        .collect();
    for (from, name) in &imports {
        let given = match from.as_str() {
            "env" => name.starts_with("proxy_"),
            "wasi_snapshot_preview1" => WASI.contains(&name.as_str()),
            _ => false,
        };
        assert!(given, "{from}.{name}");
    }
    for called in CAPABILITIES
        .lines()
        .filter(|name| !name.starts_with("proxy_on_"))
    {
        assert!(imports.iter().any(|(_, name)| name == called), "{called}");
    }
}

fn module() -> Vec<u8> {
    std::fs::read(berth_tests::filter_module().unwrap()).unwrap()
}

const CAPABILITIES: &str = include_str!("../../filters/envoy/capabilities.txt");

/// Two that are called, and what only a panic would.
const WASI: [&str; 6] = [
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proc_exit",
    "random_get",
];
