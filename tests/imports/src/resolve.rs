//! Finds the file that defines what a path names.

use crate::{
    modules::{FileId, ModuleId, ROOT, Target},
    paths::Kind,
};

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A module, as such.
    Module(ModuleId),
    /// An item, or something inside one: a variant, a method.
    Item(FileId),
    /// Something in this module that no declaration shows: a macro makes it, or it is included.
    Hidden(ModuleId),
}

/// The modules and names that led here: re-exports may go in circles themselves.
type Trail = Vec<(ModuleId, String)>;

impl Target {
    /// What `path`, written in the module `from`, names. `None` for what another crate, the language
    /// or a local variable defines.
    pub(crate) fn resolve(&self, from: ModuleId, path: &[String]) -> Option<Found> {
        self.follow(from, path, &mut Trail::new())
    }

    fn follow(&self, from: ModuleId, path: &[String], trail: &mut Trail) -> Option<Found> {
        let (first, mut rest) = path.split_first()?;
        let mut found = match first.as_str() {
            "crate" => Found::Module(ROOT),
            "self" => Found::Module(from),
            "super" => Found::Module(self.modules[from].parent?),
            name => self.lookup(from, name, rest.is_empty(), trail)?,
        };
        while let (Found::Module(module), Some((name, next))) = (found, rest.split_first()) {
            found = if name == "super" {
                Found::Module(self.modules[module].parent?)
            } else {
                match self.lookup(module, name, next.is_empty(), trail) {
                    Some(found) => found,
                    None if self.is_elsewhere(module, name) => return None,
                    None => Found::Hidden(module),
                }
            };
            rest = next;
        }
        Some(found)
    }

    /// What `name` is in a module. A module and an item may have the same name: whether it `is_last`
    /// in its path tells which one is meant.
    fn lookup(&self, id: ModuleId, name: &str, is_last: bool, trail: &mut Trail) -> Option<Found> {
        if trail.iter().any(|(module, known)| *module == id && known == name) {
            return None;
        }
        let module = &self.modules[id];
        let child = module.children.get(name).map(|&child| Found::Module(child));
        let item = module.items.get(name).map(|&file| Found::Item(file));
        if let Some(found) = if is_last { item.or(child) } else { child.or(item) } {
            return Some(found);
        }
        trail.push((id, name.to_owned()));
        let mut by_name = module.uses.iter().filter(|it| it.name.binds(name));
        let found = by_name.find_map(|it| self.follow(id, &it.name.path.segments, trail));
        let found = found.or_else(|| {
            let mut globs = module.uses.iter().filter(|it| it.name.kind == Kind::Glob);
            globs.find_map(|glob| match self.follow(id, &glob.name.path.segments, trail)? {
                Found::Module(module) => self.lookup(module, name, is_last, trail),
                Found::Item(_) | Found::Hidden(_) => None,
            })
        });
        trail.pop();
        found
    }

    /// Whether `name`, which nothing in this crate defines, may come from another one by way of
    /// `module`.
    fn is_elsewhere(&self, id: ModuleId, name: &str) -> bool {
        self.modules[id].uses.iter().any(|it| {
            let is_glob = it.name.kind == Kind::Glob;
            it.name.binds(name) || (is_glob && self.resolve(id, &it.name.path.segments).is_none())
        })
    }
}
