use wasm_encoder::{
    ConstExpr, ElementSection, Elements, EntityType, ExportKind, Function, FunctionSection,
    GlobalSection, GlobalType, MemorySection, MemoryType, RefType, StartSection, TableSection,
    TableType, TypeSection, ValType,
};
use wasmparser::{ElementItems, Payload};

use super::*;

/// What a test says of a module. Functions are told apart by the constant that each drops, which is its number in `calls`.
#[derive(Clone, Default)]
struct Sketch {
    imports: &'static [&'static str],
    /// What each function that is not imported calls.
    calls: Vec<Vec<u32>>,
    exports: &'static [(&'static str, u32)],
    table: &'static [u32],
    /// The function a global refers to.
    global: Option<u32>,
    start: Option<u32>,
}

/// What was found in a module, for comparison.
#[derive(Debug, Eq, PartialEq)]
struct Found {
    imports: Vec<String>,
    /// By their constants.
    functions: Vec<i32>,
    /// By name, and by the constants of what they export.
    exports: Vec<(String, i32)>,
    table: Vec<i32>,
    /// What each function calls, as far as that is not imported.
    calls: Vec<Vec<i32>>,
}

#[test]
fn what_no_kept_export_reaches_is_gone() {
    let sketch = Sketch {
        // 0 and 1; the rest are 2 to 6.
        imports: &["called", "not_called"],
        calls: vec![vec![3, 0], vec![], vec![5, 1], vec![2], vec![6]],
        exports: &[("kept", 2), ("dropped", 4)],
        ..Sketch::default()
    };
    assert_eq!(
        rewritten(&sketch),
        Found {
            imports: vec!["called".to_owned()],
            functions: vec![0, 1],
            exports: vec![("kept".to_owned(), 0)],
            table: vec![],
            calls: vec![vec![1], vec![]],
        }
    );
}

/// Nobody can tell which of these is called, or by whom.
#[test]
fn what_is_reached_without_a_call_stays() {
    let all = Sketch {
        calls: vec![vec![]; 4],
        exports: &[("kept", 0)],
        table: &[1],
        global: Some(2),
        start: Some(3),
        ..Sketch::default()
    };
    assert_eq!(rewritten(&all).functions, [0, 1, 2, 3]);
    for (without, left) in [
        (
            Sketch {
                table: &[],
                ..all.clone()
            },
            [0, 2, 3],
        ),
        (
            Sketch {
                global: None,
                ..all.clone()
            },
            [0, 1, 3],
        ),
        (
            Sketch {
                start: None,
                ..all.clone()
            },
            [0, 1, 2],
        ),
    ] {
        assert_eq!(rewritten(&without).functions, left);
    }
}

#[test]
fn functions_that_are_called_more_often_come_first() {
    let sketch = Sketch {
        imports: &["rarely", "often"],
        calls: vec![vec![3, 4, 1], vec![], vec![4, 4, 3, 1, 0], vec![]],
        exports: &[("kept", 2)],
        table: &[4, 2],
        ..Sketch::default()
    };
    let found = rewritten(&sketch);
    // Imports have the first numbers whatever happens.
    assert_eq!(found.imports, sketch.imports);
    assert_eq!(found.functions, [2, 0, 1]);
    assert_eq!(found.exports, [("kept".to_owned(), 0)]);
    assert_eq!(found.table, [2, 0]);
    assert_eq!(found.calls, [vec![2, 2, 1], vec![1, 2], vec![]]);
}

#[test]
fn a_rewritten_module_stays_as_it_is() {
    let sketch = Sketch {
        imports: &["a", "b"],
        calls: vec![vec![3, 1], vec![4], vec![4, 3]],
        exports: &[("kept", 2)],
        table: &[3],
        global: Some(4),
        start: Some(2),
    };
    let once = rewrite(&module(&sketch), kept).unwrap();
    assert_eq!(rewrite(&once, kept).unwrap(), once);
}

/// What the linker pads is written short.
#[test]
fn padding_is_dropped() {
    let sketch = Sketch {
        calls: vec![vec![1], vec![]],
        exports: &[("kept", 0)],
        ..Sketch::default()
    };
    let short = module(&sketch);
    let mut body = vec![0];
    body.extend([I32_CONST, 0, DROP, CALL, 0x81, 0x80, 0x80, 0x80, 0, END]);
    let padded = with_first_body(&short, &body);
    wasmparser::validate(&padded).unwrap();
    assert_ne!(padded, short);
    assert_eq!(
        rewrite(&padded, kept).unwrap(),
        rewrite(&short, kept).unwrap()
    );
}

fn kept(export: &str) -> bool {
    export != "dropped"
}

fn rewritten(sketch: &Sketch) -> Found {
    let bytes = rewrite(&module(sketch), kept).unwrap();
    wasmparser::validate(&bytes).unwrap();
    found(&bytes)
}

fn module(sketch: &Sketch) -> Vec<u8> {
    let mut module = Module::new();
    let mut types = TypeSection::new();
    types.ty().function([], []);
    module.section(&types);
    let mut imports = ImportSection::new();
    for name in sketch.imports {
        imports.import("env", name, EntityType::Function(0));
    }
    module.section(&imports);
    let mut functions = FunctionSection::new();
    for _ in &sketch.calls {
        functions.function(0);
    }
    module.section(&functions);
    let mut tables = TableSection::new();
    tables.table(TableType {
        element_type: RefType::FUNCREF,
        table64: false,
        minimum: sketch.table.len() as u64,
        maximum: None,
        shared: false,
    });
    module.section(&tables);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    module.section(&memories);
    let mut globals = GlobalSection::new();
    if let Some(function) = sketch.global {
        let ty = GlobalType {
            val_type: ValType::Ref(RefType::FUNCREF),
            mutable: false,
            shared: false,
        };
        globals.global(ty, &ConstExpr::ref_func(function));
    }
    module.section(&globals);
    let mut exports = ExportSection::new();
    for (name, function) in sketch.exports {
        exports.export(name, ExportKind::Func, *function);
    }
    module.section(&exports);
    if let Some(function_index) = sketch.start {
        module.section(&StartSection { function_index });
    }
    let mut elements = ElementSection::new();
    elements.active(
        None,
        &ConstExpr::i32_const(0),
        Elements::Functions(sketch.table.into()),
    );
    module.section(&elements);
    let mut code = CodeSection::new();
    for (number, calls) in (0..).zip(&sketch.calls) {
        let mut body = Function::new([]);
        body.instructions().i32_const(number).drop();
        for called in calls {
            body.instructions().call(*called);
        }
        body.instructions().end();
        code.function(&body);
    }
    module.section(&code);
    module.finish()
}

/// `module` with another body for its first function.
fn with_first_body(module: &[u8], first: &[u8]) -> Vec<u8> {
    struct Replaced<'a>(&'a [u8]);
    impl Reencode for Replaced<'_> {
        type Error = Infallible;

        fn parse_code_section(
            &mut self,
            code: &mut CodeSection,
            section: CodeSectionReader<'_>,
        ) -> Result<(), Error> {
            code.raw(self.0);
            for body in section.into_iter().skip(1) {
                self.parse_function_body(code, body?)?;
            }
            Ok(())
        }
    }
    let mut output = Module::new();
    Replaced(first)
        .parse_core_module(&mut output, Parser::new(0), module)
        .unwrap();
    output.finish()
}

fn found(module: &[u8]) -> Found {
    let (mut imports, mut exports, mut table) = (Vec::new(), Vec::new(), Vec::new());
    let (mut functions, mut calls) = (Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload.unwrap() {
            Payload::ImportSection(section) => imports.extend(
                section
                    .into_imports()
                    .map(|import| import.unwrap().name.to_owned()),
            ),
            Payload::ExportSection(section) => exports.extend(section.into_iter().map(|export| {
                let export = export.unwrap();
                (export.name.to_owned(), export.index)
            })),
            Payload::ElementSection(section) => {
                for element in section {
                    if let ElementItems::Functions(items) = element.unwrap().items {
                        table.extend(items.into_iter().map(Result::unwrap));
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                let mut called = Vec::new();
                for operator in body.get_operators_reader().unwrap() {
                    match operator.unwrap() {
                        wasmparser::Operator::I32Const { value } => functions.push(value),
                        wasmparser::Operator::Call { function_index } => {
                            called.push(function_index)
                        }
                        _ => {}
                    }
                }
                calls.push(called);
            }
            _ => {}
        }
    }
    let imported = u32::try_from(imports.len()).unwrap();
    let constant = |function: u32| {
        let own = function.checked_sub(imported)?;
        functions.get(own as usize).copied()
    };
    Found {
        exports: exports
            .into_iter()
            .map(|(name, function)| (name, constant(function).unwrap()))
            .collect(),
        table: table
            .into_iter()
            .map(|function| constant(function).unwrap())
            .collect(),
        calls: calls
            .into_iter()
            .map(|called| called.into_iter().filter_map(constant).collect())
            .collect(),
        imports,
        functions,
    }
}

const CALL: u8 = 0x10;
const DROP: u8 = 0x1a;
const END: u8 = 0x0b;
const I32_CONST: u8 = 0x41;
