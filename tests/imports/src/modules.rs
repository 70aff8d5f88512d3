//! The modules of one target: which file each is in, what it defines and what it imports.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use syn::{Attribute, Expr, ExprLit, Item, ItemMod, Lit, Meta, Visibility};

use crate::{
    Error,
    paths::{Name, declared_in, names_of},
    read,
    tests_only::{is_tests_only, of_item},
};

/// Indexes [`Target::files`].
pub(crate) type FileId = usize;
/// Indexes [`Target::modules`].
pub(crate) type ModuleId = usize;

/// The module at the root of a target.
pub(crate) const ROOT: ModuleId = 0;

/// A library, a binary, an example or an integration test.
#[derive(Default)]
pub(crate) struct Target {
    pub(crate) files: Vec<File>,
    pub(crate) modules: Vec<Module>,
    /// Which file defines a macro that is found by its place in the text.
    pub(crate) macros: HashMap<String, FileId>,
}

pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    pub(crate) items: Vec<Item>,
    /// The file's outermost module.
    pub(crate) module: ModuleId,
}

/// A module: a file, or a `mod name { … }` within one.
pub(crate) struct Module {
    pub(crate) file: FileId,
    pub(crate) parent: Option<ModuleId>,
    pub(crate) children: HashMap<String, ModuleId>,
    /// Which file defines each item. Only an exported macro is not in the module's own.
    pub(crate) items: HashMap<String, FileId>,
    pub(crate) uses: Vec<Use>,
}

/// One name of a `use` item.
pub(crate) struct Use {
    pub(crate) name: Name,
    /// Whether the module offers it to others: it may be a re-export.
    pub(crate) is_visible: bool,
}

impl Target {
    /// Reads the files that belong to the target with this root.
    pub(crate) fn load(root: &Path) -> Result<Self, Error> {
        let mut target = Self::default();
        let children = root.parent().unwrap_or(Path::new(""));
        target.add_file(root.to_owned(), children, None)?;
        Ok(target)
    }

    /// Whether `module` is `ancestor` or inside it.
    pub(crate) fn is_within(&self, module: ModuleId, ancestor: ModuleId) -> bool {
        let mut outward = std::iter::successors(Some(module), |&id| self.modules[id].parent);
        outward.any(|id| id == ancestor)
    }

    /// Adds a file's module, with the modules that it declares in the directory `children`.
    fn add_file(
        &mut self,
        path: PathBuf,
        children: &Path,
        parent: Option<ModuleId>,
    ) -> Result<ModuleId, Error> {
        let text = read(&path)?;
        let syntax =
            syn::parse_file(&text).map_err(|source| Error::Parse { path: path.clone(), source })?;
        let (file, module) = (self.files.len(), self.modules.len());
        self.files.push(File { path, text, items: Vec::new(), module });
        self.add_module(file, parent);
        self.declare(module, &syntax.items, children)?;
        self.files[file].items = syntax.items;
        Ok(module)
    }

    fn add_module(&mut self, file: FileId, parent: Option<ModuleId>) -> ModuleId {
        self.modules.push(Module {
            file,
            parent,
            children: HashMap::new(),
            items: HashMap::new(),
            uses: Vec::new(),
        });
        self.modules.len() - 1
    }

    fn declare(&mut self, id: ModuleId, items: &[Item], children: &Path) -> Result<(), Error> {
        for item in items.iter().filter(|item| !is_tests_only(of_item(item))) {
            match item {
                Item::Mod(item) => self.declare_module(id, item, children)?,
                Item::Use(item) => {
                    let is_visible = !matches!(item.vis, Visibility::Inherited);
                    let uses = names_of(item).into_iter().map(|name| Use { name, is_visible });
                    self.modules[id].uses.extend(uses);
                }
                Item::Macro(item) => self.declare_macro(id, item),
                item => {
                    let file = self.modules[id].file;
                    self.modules[id].items.extend(name_of(item).map(|name| (name, file)));
                }
            }
        }
        Ok(())
    }

    fn declare_module(&mut self, id: ModuleId, item: &ItemMod, dir: &Path) -> Result<(), Error> {
        let (name, file) = (item.ident.to_string(), self.modules[id].file);
        let child = if let Some((_, items)) = &item.content {
            let child = self.add_module(file, Some(id));
            self.declare(child, items, &dir.join(&name))?;
            child
        } else {
            let declared_in = self.files[file].path.clone();
            let beside = declared_in.parent().unwrap_or(Path::new(""));
            let (path, children) = match path_attribute(&item.attrs) {
                Some(path) => (beside.join(&path), beside.to_owned()),
                None => {
                    let flat = dir.join(format!("{name}.rs"));
                    let nested = dir.join(&name).join("mod.rs");
                    (if flat.is_file() { flat } else { nested }, dir.join(&name))
                }
            };
            if !path.is_file() {
                return Err(Error::NoFile { path: declared_in, name });
            }
            self.add_file(path, &children, Some(id))?
        };
        self.modules[id].children.insert(name, child);
        Ok(())
    }

    fn declare_macro(&mut self, id: ModuleId, item: &syn::ItemMacro) {
        let file = self.modules[id].file;
        let Some(name) = &item.ident else {
            let declared = declared_in(item.mac.tokens.clone());
            self.modules[id].items.extend(declared.map(|name| (name, file)));
            return;
        };
        let name = name.to_string();
        if item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export")) {
            self.modules[ROOT].items.insert(name.clone(), file);
        }
        self.modules[id].items.insert(name.clone(), file);
        self.macros.insert(name, file);
    }
}

pub(crate) fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

/// The file that `#[path = "…"]` names.
fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(path), .. }) => Some(path.value()),
            _ => None,
        },
        _ => None,
    })
}
