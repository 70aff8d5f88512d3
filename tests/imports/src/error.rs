use std::{io, path::PathBuf};

/// Why a crate's imports could not be determined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is not Rust.
    #[error("cannot parse {}, line {}: {source}", path.display(), source.span().start().line)]
    Parse {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: syn::Error,
    },
    /// A `mod` whose file is in neither place.
    #[error("{}: cannot find the file of `mod {name};`", path.display())]
    NoFile {
        /// The file with the declaration.
        path: PathBuf,
        /// The module.
        name: String,
    },
}
