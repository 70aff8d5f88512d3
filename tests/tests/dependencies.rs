//! What may be depended on: the rules of `deny.toml` that need no network, for machines without
//! cargo-deny.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

use std::{env, fs, path::Path, process::Command, sync::OnceLock};

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Every package that any member of the workspace is built with, on any system.
fn packages() -> &'static [Value] {
    static METADATA: OnceLock<Value> = OnceLock::new();
    let metadata = METADATA.get_or_init(|| {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--all-features", "--locked", "--format-version", "1"])
            .current_dir(root())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("failed to download") {
            // Those of other systems are not here before somebody asks for them.
            println!("not checked, as the registry cannot be reached: {said}");
            return serde_json::json!({ "packages": [] });
        }
        assert!(output.status.success(), "{said}");
        serde_json::from_slice(&output.stdout).unwrap()
    });
    metadata["packages"].as_array().unwrap()
}

fn text<'a>(package: &'a Value, field: &str) -> &'a str {
    package[field].as_str().unwrap_or_default()
}

fn name(package: &Value) -> String {
    format!("{} {}", text(package, "name"), text(package, "version"))
}

/// The licences that `deny.toml` allows.
fn allowed() -> Vec<String> {
    let rules = fs::read_to_string(root().join("deny.toml")).unwrap();
    let (_, list) = rules.split_once("allow = [").unwrap();
    let (list, _) = list.split_once(']').unwrap();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether an SPDX expression can be met with these licences. `AND` binds more tightly than `OR`; the
/// slash of old manifests is an `OR`.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let met = any(&mut words, allowed);
    met && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut met = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all(words, allowed);
    }
    met
}

fn all(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let Some(first) = words.next() else { return false };
    if first == "(" {
        return any(words, allowed) & words.next_if_eq(&")").is_some();
    }
    let licence = match words.next_if_eq(&"WITH") {
        Some(_) => format!("{first} WITH {}", words.next().unwrap_or_default()),
        None => first.to_owned(),
    };
    allowed.contains(&licence)
}

#[test]
fn every_licence_is_allowed() {
    let allowed = allowed();
    assert!(allowed.len() > 3, "{allowed:?}");
    let refused: Vec<_> = packages()
        .iter()
        .filter(|package| !is_met(text(package, "license"), &allowed))
        .map(|package| format!("{}: {}", name(package), package["license"]))
        .collect();
    assert!(refused.is_empty(), "deny.toml allows none of these licences: {refused:#?}");
}

#[test]
fn everything_comes_from_here_or_from_the_registry() {
    let crates_io = "registry+https://github.com/rust-lang/crates.io-index";
    let strangers: Vec<_> = packages()
        .iter()
        .filter(|package| !package["source"].is_null() && package["source"] != crates_io)
        .map(name)
        .collect();
    assert!(strangers.is_empty(), "these come from elsewhere: {strangers:?}");
}

#[test]
fn every_dependency_has_a_version() {
    for package in packages().iter().filter(|package| package["source"].is_null()) {
        for dependency in package["dependencies"].as_array().unwrap() {
            let any_version = dependency["req"] == "*" && dependency["path"].is_null();
            assert!(!any_version, "{} takes any {}", name(package), dependency["name"]);
        }
    }
}

#[test]
fn expressions_of_licences_are_understood() {
    let allowed = ["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
    for met in [
        "MIT",
        "GPL-3.0 OR MIT",
        "GPL-3.0/MIT",
        "(GPL-3.0 OR MIT) AND Zlib",
        "Zlib AND MIT OR GPL-3.0",
        "GPL-3.0 OR Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(is_met(met, &allowed), "{met}");
    }
    for unmet in ["", "GPL-3.0", "MIT AND GPL-3.0", "GPL-3.0 OR (MIT", "Apache-2.0", "MIT MIT"] {
        assert!(!is_met(unmet, &allowed), "{unmet}");
    }
}
