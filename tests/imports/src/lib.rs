//! Finds modules of one crate that import each other in a circle.
//!
//! A module is a file. It imports another one when its code, tests excepted, names an item that the
//! other file defines: in a `use`, or by a path in an expression, a type, a pattern or a macro's
//! arguments. A path leads through re-exports and imports to the file that defines the item:
//! `crate::Error`, re-exported from `error.rs`, is an import of `error.rs` and not of `lib.rs`.
//!
//! A parent's `mod child;` and `pub use child::Item;` are no imports of the child: they say where it
//! is. A parent and what is beneath it are one unit, as `session.rs` and the folder `session` are: the
//! children may use what the parent defines, and its code may use them. So a circle of a file and of
//! those beneath it is allowed; one that goes on without it, among its children or by way of a file
//! elsewhere, is not.
//!
//! What no path names is not seen: a method that another file implements for a type, and what a macro
//! puts together from its arguments.

mod error;
mod graph;
mod modules;
mod paths;
mod report;
mod resolve;
mod tests_only;
mod uses;

use std::{
    fs,
    path::{Path, PathBuf},
};

pub use error::Error;
pub use report::{Circle, Import};

/// The members of the workspace that still have circles. Empty once they are cut.
pub const KNOWN_CIRCLES: &[&str] = &[];

/// The directories of the workspace's members, as its manifest lists them.
///
/// # Errors
/// If the manifest cannot be read.
pub fn members(workspace: &Path) -> Result<Vec<String>, Error> {
    let manifest = read(&workspace.join("Cargo.toml"))?;
    let list = manifest.split_once("members = [").and_then(|(_, rest)| rest.split_once(']'));
    let list = list.map_or("", |(list, _)| list);
    Ok(list.split('"').skip(1).step_by(2).map(str::to_owned).collect())
}

/// The circles among the modules of each target of the package in `member`, a directory of
/// `workspace`.
///
/// # Errors
/// If a file cannot be read or parsed.
pub fn circles(workspace: &Path, member: &str) -> Result<Vec<Circle>, Error> {
    let mut circles = Vec::new();
    for root in targets(&workspace.join(member)) {
        let target = modules::Target::load(&root)?;
        let imports = uses::imports(&target);
        circles.extend(report::circles(&target, &imports, workspace));
    }
    Ok(circles)
}

/// The root files of a package's library, binaries, examples and integration tests.
fn targets(package: &Path) -> Vec<PathBuf> {
    let mut roots = vec![package.join("src/lib.rs"), package.join("src/main.rs")];
    for directory in ["src/bin", "examples", "tests"] {
        let entries = fs::read_dir(package.join(directory)).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let is_rust = path.extension().is_some_and(|extension| extension == "rs");
            roots.push(if is_rust { path } else { path.join("main.rs") });
        }
    }
    roots.retain(|root| root.is_file());
    roots.sort();
    roots
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}
