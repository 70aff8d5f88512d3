//! Which files a target's code imports, and where it says so.

use std::collections::{BTreeMap, HashMap, HashSet};

use proc_macro2::TokenStream;
use syn::{
    Block, Field, ForeignItem, ImplItem, Item, ItemMacro, ItemMod, ItemUse, Macro, Stmt, TraitItem,
    Variant, VisRestricted,
    visit::{self, Visit},
};

use crate::{
    modules::{FileId, ModuleId, Target, Use, name_of},
    paths::{Kind, Path, line, names_of, paths_in},
    resolve::Found,
    tests_only::{
        is_tests_only, of_foreign_item, of_impl_item, of_item, of_statement, of_trait_item,
    },
};

/// The first place in a file that imports another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// The first place of each import, by the file that imports and the one that is imported.
pub(crate) type Imports = BTreeMap<(FileId, FileId), Place>;

/// What the files of a target import from each other.
pub(crate) fn imports(target: &Target) -> Imports {
    let mut imports = Imports::new();
    for (id, module) in target.modules.iter().enumerate() {
        for it in &module.uses {
            add_use(target, id, it, &mut imports);
        }
    }
    for file in &target.files {
        let mut code = Code { target, module: file.module, blocks: Vec::new(), imports };
        file.items.iter().for_each(|item| code.visit_item(item));
        imports = code.imports;
    }
    imports
}

/// A `use` of a module. A visible one of what is inside the module is a re-export.
fn add_use(target: &Target, id: ModuleId, it: &Use, imports: &mut Imports) {
    let path = &it.name.path;
    let file = match target.resolve(id, &path.segments) {
        Some(Found::Item(file)) => file,
        Some(Found::Hidden(module)) => target.modules[module].file,
        Some(Found::Module(_)) | None => return,
    };
    if !(it.is_visible && target.is_within(target.files[file].module, id)) {
        add((target.modules[id].file, file), path.line, use_text(path), imports);
    }
}

fn use_text(path: &Path) -> String {
    format!("use {}", path.segments.join("::"))
}

fn add((from, to): (FileId, FileId), line: usize, text: String, imports: &mut Imports) {
    if from != to {
        let place = Place { line, text };
        let first = imports.entry((from, to)).or_insert_with(|| place.clone());
        if place < *first {
            *first = place;
        }
    }
}

/// Visits a file's code.
struct Code<'a> {
    target: &'a Target,
    module: ModuleId,
    /// What the blocks around it import and define.
    blocks: Vec<Names>,
    imports: Imports,
}

#[derive(Default)]
struct Names {
    imports: HashMap<String, Vec<String>>,
    items: HashSet<String>,
}

impl Code<'_> {
    fn file(&self) -> FileId {
        self.target.modules[self.module].file
    }

    /// Notes what a path in code names.
    fn add_path(&mut self, path: &Path) {
        if let Some(file) = self.resolve(&path.segments) {
            let text = &self.target.files[self.file()].text;
            let text = text.lines().nth(path.line - 1).unwrap_or_default().trim();
            let edge = (self.file(), file);
            add(edge, path.line, text.to_owned(), &mut self.imports);
        }
    }

    fn resolve(&self, path: &[String]) -> Option<FileId> {
        let (first, rest) = path.split_first()?;
        for block in self.blocks.iter().rev() {
            if block.items.contains(first) {
                return None;
            }
            if let Some(import) = block.imports.get(first) {
                return self.find(&[import.as_slice(), rest].concat());
            }
        }
        self.find(path)
    }

    fn find(&self, path: &[String]) -> Option<FileId> {
        match self.target.resolve(self.module, path)? {
            Found::Item(file) => Some(file),
            Found::Hidden(module) => Some(self.target.modules[module].file),
            Found::Module(_) => None,
        }
    }

    /// Notes the paths in a macro's tokens. Nothing is certain to be a path there, so one that leads
    /// to no declaration is none. In a definition `super` and `self` mean the module of the call.
    fn add_tokens(&mut self, tokens: &TokenStream, is_definition: bool) {
        for path in paths_in(tokens.clone()) {
            let is_relative = matches!(path.segments[0].as_str(), "super" | "self");
            let found = self.target.resolve(self.module, &path.segments);
            if !(is_definition && is_relative || matches!(found, Some(Found::Hidden(_)))) {
                self.add_path(&path);
            }
        }
    }
}

impl<'ast> Visit<'ast> for Code<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_tests_only(of_item(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if !is_tests_only(of_impl_item(item)) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        if !is_tests_only(of_trait_item(item)) {
            visit::visit_trait_item(self, item);
        }
    }

    fn visit_foreign_item(&mut self, item: &'ast ForeignItem) {
        if !is_tests_only(of_foreign_item(item)) {
            visit::visit_foreign_item(self, item);
        }
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        if !is_tests_only(of_statement(statement)) {
            visit::visit_stmt(self, statement);
        }
    }

    fn visit_field(&mut self, field: &'ast Field) {
        if !is_tests_only(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_variant(&mut self, variant: &'ast Variant) {
        if !is_tests_only(&variant.attrs) {
            visit::visit_variant(self, variant);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let Some((_, items)) = &item.content else { return };
        let Some(&child) = self.target.modules[self.module].children.get(&item.ident.to_string())
        else {
            return;
        };
        let parent = std::mem::replace(&mut self.module, child);
        let blocks = std::mem::take(&mut self.blocks);
        items.iter().for_each(|item| self.visit_item(item));
        (self.module, self.blocks) = (parent, blocks);
    }

    fn visit_block(&mut self, block: &'ast Block) {
        let mut names = Names::default();
        for statement in &block.stmts {
            match statement {
                Stmt::Item(item) if is_tests_only(of_item(item)) => {}
                Stmt::Item(Item::Use(item)) => {
                    for name in names_of(item) {
                        if let Kind::Named(bound) = name.kind {
                            names.imports.insert(bound, name.path.segments);
                        }
                    }
                }
                Stmt::Item(item) => names.items.extend(name_of(item)),
                _ => {}
            }
        }
        self.blocks.push(names);
        visit::visit_block(self, block);
        self.blocks.pop();
    }

    /// One in a block: those of modules are known already.
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if self.blocks.is_empty() {
            return;
        }
        for name in names_of(item) {
            if let Some(file) = self.find(&name.path.segments) {
                let edge = (self.file(), file);
                let text = use_text(&name.path);
                add(edge, name.path.line, text, &mut self.imports);
            }
        }
    }

    fn visit_item_macro(&mut self, item: &'ast ItemMacro) {
        if item.ident.is_some() {
            self.add_tokens(&item.mac.tokens, true);
        } else {
            self.visit_macro(&item.mac);
        }
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        if let Some(path) = Path::of_code(&call.path) {
            let by_place = match path.segments.as_slice() {
                [name] if self.resolve(&path.segments).is_none() => self.target.macros.get(name),
                _ => None,
            };
            match by_place {
                Some(&file) => {
                    let edge = (self.file(), file);
                    let text = format!("{}!", path.segments.join("::"));
                    let line = line(call.bang_token.span);
                    add(edge, line, text, &mut self.imports);
                }
                None => self.add_path(&path),
            }
        }
        self.add_tokens(&call.tokens, false);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if let Some(path) = Path::of_code(path) {
            self.add_path(&path);
        }
        visit::visit_path(self, path);
    }

    /// `pub(in path)` imports nothing.
    fn visit_vis_restricted(&mut self, _visibility: &'ast VisRestricted) {}

    /// An attribute's path is another crate's, or the language's.
    fn visit_attribute(&mut self, _attribute: &'ast syn::Attribute) {}
}
