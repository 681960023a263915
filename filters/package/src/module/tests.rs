use wasm_encoder::{
    CodeSection, CustomSection, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    ImportSection, MemoryType, Module, TypeSection,
};

use super::*;

const FUNCTION: EntityType = EntityType::Function(0);

/// A module of one function that is exported under all of `exports`, and calls all that is imported.
fn module(imports: &[(&str, &str, EntityType)], exports: &[&str]) -> Module {
    let mut module = Module::new();
    let mut types = TypeSection::new();
    types.ty().function([], []);
    module.section(&types);
    let mut section = ImportSection::new();
    for (from, name, ty) in imports {
        section.import(from, name, *ty);
    }
    module.section(&section);
    let mut functions = FunctionSection::new();
    functions.function(0);
    module.section(&functions);
    let own = imports
        .iter()
        .filter(|(_, _, ty)| *ty == FUNCTION)
        .count()
        .try_into()
        .unwrap();
    let mut section = ExportSection::new();
    for name in exports {
        section.export(name, ExportKind::Func, own);
    }
    module.section(&section);
    let mut code = CodeSection::new();
    let mut body = Function::new([]);
    for imported in 0..own {
        body.instructions().call(imported);
    }
    body.instructions().end();
    code.function(&body);
    module.section(&code);
    module
}

fn used() -> Vec<&'static str> {
    NEEDED.into_iter().chain(CALLBACKS).collect()
}

#[test]
fn callbacks_that_are_not_used_are_dropped_and_nothing_else() {
    let unused = [
        "proxy_on_request_body",
        "proxy_on_response_body",
        "proxy_on_request_trailers",
        "proxy_on_response_trailers",
        "proxy_on_downstream_data",
        "proxy_on_a_callback_of_the_future",
    ];
    let others = ["memory", "_initialize"];
    let given = [&unused[..], &others, &used()].concat();
    let packaged = package(module(&[], &given).as_slice()).unwrap();
    let kept = [&others[..], &used()].concat();

    assert_eq!(packaged.dropped, unused);
    assert_eq!(exports(&packaged.bytes).unwrap(), kept);
    // All the rest is there: the same module, had it been built without them.
    assert_eq!(packaged.bytes, module(&[], &kept).finish());
}

/// They say which functions there were, and on whose machine it was built.
#[test]
fn custom_sections_are_dropped() {
    let without = module(&[], &used());
    let mut with = without.clone();
    with.section(&CustomSection {
        name: "producers".into(),
        data: b"\0"[..].into(),
    });
    assert_eq!(package(with.as_slice()).unwrap().bytes, without.finish());
}

#[test]
fn the_filters_list_of_capabilities_has_these_callbacks() {
    let capabilities = include_str!("../../../envoy/capabilities.txt");
    let callbacks: Vec<&str> = capabilities
        .lines()
        .filter(|name| name.starts_with("proxy_on_"))
        .collect();
    assert_eq!(callbacks, CALLBACKS);
}

#[test]
fn a_foreign_import_is_named() {
    let memory = EntityType::Memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    for (from, name, ty) in [
        ("env", "__wbindgen_throw", FUNCTION),
        ("wbg", "proxy_log", FUNCTION),
        ("wasi_snapshot_preview1", "sock_accept", FUNCTION),
        ("wasi_snapshot_preview1", "path_open", FUNCTION),
        ("env", "proxy_memory", memory),
    ] {
        let imports = [("env", "proxy_log", FUNCTION), (from, name, ty)];
        let error = package(module(&imports, &used()).as_slice()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("imports {from}.{name}, which Envoy does not give")
        );
    }
}

#[test]
fn a_callback_that_is_missing_is_named() {
    for missing in used() {
        let given: Vec<&str> = used().into_iter().filter(|name| *name != missing).collect();
        let error = package(module(&[], &given).as_slice()).unwrap_err();
        assert_eq!(error.to_string(), format!("does not export {missing}"));
    }
}

/// Whoever changes a packaged module, it has to remain one.
#[test]
fn what_was_changed_since_is_checked_again() {
    let unused = [&used()[..], &["proxy_on_response_body"]].concat();
    let missing = used().split_off(1);
    let foreign = [("env", "__wbindgen_throw", FUNCTION)];
    for (module, expected) in [
        (module(&[], &used()), None),
        (
            module(&[], &unused),
            Some("exports proxy_on_response_body, which the filter does not use"),
        ),
        (
            module(&[], &missing),
            Some("does not export proxy_abi_version_0_2_1"),
        ),
        (
            module(&foreign, &used()),
            Some("imports env.__wbindgen_throw, which Envoy does not give"),
        ),
    ] {
        let error = check(module.as_slice())
            .err()
            .map(|error| error.to_string());
        assert_eq!(error.as_deref(), expected);
    }
    assert!(matches!(check(b"\0asm"), Err(ModuleError::Invalid(_))));
}

#[test]
fn what_is_no_module_is_refused() {
    let whole = module(&[], &used()).finish();
    let cut = &whole[..whole.len() - 1];
    for bytes in [&b""[..], b"\0asm", b"(module)", cut] {
        let result = package(bytes);
        assert!(matches!(result, Err(ModuleError::Invalid(_))), "{result:?}");
    }
}
