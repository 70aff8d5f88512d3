//! What is wrong, for people.

use std::{collections::BTreeSet, fmt, path::Path};

use crate::{
    graph::{Graph, components, shortest_circle, within},
    modules::{FileId, Target},
    uses::{Imports, Place},
};

/// Files that import each other, directly or by way of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circle {
    /// A shortest way around: the imports that close the circle.
    pub closed_by: Vec<Import>,
    /// Every import among its files: cutting some of these ends it.
    pub imports: Vec<Import>,
    /// How many files are in it.
    pub files: usize,
}

/// A line of one file that imports another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// The file, from the root of the workspace.
    pub file: String,
    /// The line in it.
    pub line: usize,
    /// What it says.
    pub text: String,
    /// The file that it imports.
    pub of: String,
}

/// The circles among a target's files.
pub(crate) fn circles(target: &Target, imports: &Imports, workspace: &Path) -> Vec<Circle> {
    let mut graph = Graph::new();
    for &(from, to) in imports.keys() {
        graph.entry(from).or_default().insert(to);
    }
    let mut circles = Vec::new();
    add_circles(target, graph, &mut |graph, component| {
        circles.push(describe(target, imports, workspace, graph, component));
    });
    circles
}

/// Finds the components of a graph that are circles. Where one file has all others of a component
/// beneath it, they may use what it defines: it is looked at without their imports of that file.
fn add_circles(target: &Target, graph: Graph, found: &mut impl FnMut(&Graph, &BTreeSet<FileId>)) {
    for component in components(&graph) {
        let Some(parent) = common_parent(target, &component) else {
            found(&graph, &component);
            continue;
        };
        let mut beneath = within(&graph, &component);
        for imported in beneath.values_mut() {
            imported.remove(&parent);
        }
        add_circles(target, beneath, found);
    }
}

/// The file among `files` whose module has the modules of all others inside it.
fn common_parent(target: &Target, files: &BTreeSet<FileId>) -> Option<FileId> {
    let module = |file: FileId| target.files[file].module;
    let has_all =
        |&parent: &FileId| files.iter().all(|&file| target.is_within(module(file), module(parent)));
    files.iter().copied().find(has_all)
}

fn describe(
    target: &Target,
    imports: &Imports,
    workspace: &Path,
    graph: &Graph,
    component: &BTreeSet<FileId>,
) -> Circle {
    let name = |file: FileId| {
        let path = &target.files[file].path;
        path.strip_prefix(workspace).unwrap_or(path).display().to_string()
    };
    let import = |from: FileId, to: FileId| {
        let Place { line, text } = imports.get(&(from, to))?.clone();
        Some(Import { file: name(from), line, text, of: name(to) })
    };
    let around = shortest_circle(graph, component);
    let next = around.iter().cycle().skip(1);
    let closed_by = around.iter().zip(next).filter_map(|(&from, &to)| import(from, to)).collect();
    let inside = within(graph, component);
    let edges = inside.iter().flat_map(|(&from, all)| all.iter().map(move |&to| (from, to)));
    let mut imports: Vec<_> = edges.filter_map(|(from, to)| import(from, to)).collect();
    imports.sort();
    Circle { closed_by, imports, files: component.len() }
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files import each other; these lines close the circle:", self.files)?;
        self.closed_by.iter().try_for_each(|import| write!(f, "\n  {import}"))
    }
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, text, of } = self;
        write!(f, "{file}:{line}: {text}  (in {of})")
    }
}
