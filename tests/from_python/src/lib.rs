//! Reads `docs/from-python.md`, whose rows say what stands for each of Python's names.
//!
//! The build script makes a function of each row's Rust code. The tests run these and the rows' Python code,
//! and look whether both give what the page says.

pub mod page;

/// The page.
pub const PAGE: &str = include_str!(concat!(env!("OUT_DIR"), "/from-python.md"));
