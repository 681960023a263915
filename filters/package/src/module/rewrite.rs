//! A module without what cannot be reached in it, encoded as short as it can be.
//!
//! The linker keeps all that an export reaches, the dropped ones too, and pads each number that it fills in last to five
//! bytes. Encoded anew, a number is as long as it has to be; and functions are numbered by how often they are referred to,
//! so that most of those numbers are short.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::mem;

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{CodeSection, ExportSection, FunctionSection, ImportSection, Module};
use wasmparser::{
    CodeSectionReader, CustomSectionReader, Export, FunctionBody, FunctionSectionReader,
    ImportSectionReader, Parser, TypeRef,
};

/// `module` with the exports that are `kept`, and with the functions that can be reached from them or are in a table.
/// Custom sections, which only say something of what was there, are gone.
pub(super) fn rewrite(
    module: &[u8],
    kept: impl Fn(&str) -> bool,
) -> Result<Vec<u8>, Error<Infallible>> {
    let mut references = References {
        kept: &kept,
        imported: 0,
        here: Vec::new(),
        bodies: Vec::new(),
    };
    references.parse_core_module(&mut Module::new(), Parser::new(0), module)?;

    let mut output = Module::new();
    let mut rewriter = Rewriter {
        kept: &kept,
        imported: references.imported,
        numbers: references.number(),
    };
    rewriter.parse_core_module(&mut output, Parser::new(0), module)?;
    Ok(output.finish())
}

/// Which functions a module refers to, and where. Encodes it to find out, because nothing refers to a function but what
/// has its number encoded.
struct References<'a> {
    kept: &'a dyn Fn(&str) -> bool,
    /// How many functions are imported: the first numbers are theirs.
    imported: u32,
    /// What is referred to by the part that is read; when all is read, by what is no function.
    here: Vec<u32>,
    /// What is referred to by each function that is not imported.
    bodies: Vec<Vec<u32>>,
}

impl References<'_> {
    /// The new number of each function that stays, by its old one.
    fn number(mut self) -> BTreeMap<u32, u32> {
        let mut uses = BTreeMap::<u32, usize>::new();
        let mut reached = self.here;
        while let Some(function) = reached.pop() {
            let count = uses.entry(function).or_default();
            *count += 1;
            if *count == 1
                && let Some(own) = function.checked_sub(self.imported)
                && let Some(body) = self.bodies.get_mut(own as usize)
            {
                reached.append(body);
            }
        }
        let mut order: Vec<(u32, usize)> = uses.into_iter().collect();
        order.sort_by_key(|(function, uses)| {
            let own = *function >= self.imported;
            (own, own.then_some(Reverse(*uses)))
        });
        order
            .into_iter()
            .zip(0..)
            .map(|((old, _), new)| (old, new))
            .collect()
    }
}

impl Reencode for References<'_> {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error> {
        self.here.push(function);
        Ok(function)
    }

    fn parse_import_section(
        &mut self,
        _: &mut ImportSection,
        section: ImportSectionReader<'_>,
    ) -> Result<(), Error> {
        for import in section.into_imports() {
            self.imported += u32::from(is_function(import?.ty));
        }
        Ok(())
    }

    fn parse_export(
        &mut self,
        exports: &mut ExportSection,
        export: Export<'_>,
    ) -> Result<(), Error> {
        if (self.kept)(export.name) {
            utils::parse_export(self, exports, export)?;
        }
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error> {
        let outside = mem::take(&mut self.here);
        utils::parse_function_body(self, code, body)?;
        self.bodies.push(mem::replace(&mut self.here, outside));
        Ok(())
    }
}

struct Rewriter<'a> {
    kept: &'a dyn Fn(&str) -> bool,
    imported: u32,
    numbers: BTreeMap<u32, u32>,
}

impl Rewriter<'_> {
    /// What there is `of` each function that is not imported, of those that stay, in their new order.
    fn in_order<T>(&self, of: Vec<T>) -> Vec<T> {
        let kept: BTreeMap<u32, T> = (self.imported..)
            .zip(of)
            .filter_map(|(old, of)| Some((*self.numbers.get(&old)?, of)))
            .collect();
        kept.into_values().collect()
    }
}

impl Reencode for Rewriter<'_> {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error> {
        // Whatever can come here was counted as reached; were it not, this is a number that no valid module has.
        Ok(self.numbers.get(&function).copied().unwrap_or(u32::MAX))
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: ImportSectionReader<'_>,
    ) -> Result<(), Error> {
        let mut function = 0;
        for import in section.into_imports() {
            let import = import?;
            if is_function(import.ty) {
                function += 1;
                if !self.numbers.contains_key(&(function - 1)) {
                    continue;
                }
            }
            self.parse_import(imports, import)?;
        }
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), Error> {
        let types = section.into_iter().collect::<Result<Vec<u32>, _>>()?;
        for ty in self.in_order(types) {
            functions.function(self.type_index(ty)?);
        }
        Ok(())
    }

    fn parse_export(
        &mut self,
        exports: &mut ExportSection,
        export: Export<'_>,
    ) -> Result<(), Error> {
        if (self.kept)(export.name) {
            utils::parse_export(self, exports, export)?;
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Result<(), Error> {
        let bodies = section.into_iter().collect::<Result<Vec<_>, _>>()?;
        for body in self.in_order(bodies) {
            self.parse_function_body(code, body)?;
        }
        Ok(())
    }

    fn parse_custom_section(
        &mut self,
        _: &mut Module,
        _: CustomSectionReader<'_>,
    ) -> Result<(), Error> {
        Ok(())
    }
}

const fn is_function(ty: TypeRef) -> bool {
    matches!(ty, TypeRef::Func(_) | TypeRef::FuncExact(_))
}

#[cfg(test)]
mod tests;
