//! Prints the circles in which the modules of a crate import each other; fails if there are any.
//!
//! ```text
//! imports                          every member of the workspace but those of KNOWN_CIRCLES
//! imports --crate server           one member
//! imports --crate server --list    every import within its circles
//! imports --root DIR …             another workspace than the one in the current directory
//! ```

use std::{env, path::PathBuf, process::ExitCode};

use mp_manager_imports::{Error, KNOWN_CIRCLES, circles, members};

const USAGE: &str = "usage: imports [--root DIR] [--crate MEMBER]... [--list]";

#[derive(Default)]
struct Options {
    root: PathBuf,
    members: Vec<String>,
    list: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self { root: ".".into(), ..Self::default() };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--root" => options.root = arguments.next()?.into(),
                "--crate" => options.members.push(arguments.next()?),
                "--list" => options.list = true,
                _ => return None,
            }
        }
        Some(options)
    }
}

fn main() -> ExitCode {
    let Some(options) = Options::parse(env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Whether there are no circles.
fn run(Options { root, members: chosen, list }: &Options) -> Result<bool, Error> {
    let members = if chosen.is_empty() {
        let mut members = members(root)?;
        members.retain(|member| !KNOWN_CIRCLES.contains(&member.as_str()));
        members
    } else {
        chosen.clone()
    };
    let mut are_none = true;
    for member in members {
        for circle in circles(root, &member)? {
            are_none = false;
            println!("{member}: {circle}");
            if *list {
                println!("  all {} imports within it:", circle.imports.len());
                circle.imports.iter().for_each(|import| println!("    {import}"));
            }
        }
    }
    Ok(are_none)
}
