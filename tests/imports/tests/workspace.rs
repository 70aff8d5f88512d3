//! No module of this workspace imports another one in a circle.

use std::path::Path;

use mp_manager_imports::{Circle, KNOWN_CIRCLES, circles, members};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn circles_of(member: &str) -> Vec<Circle> {
    circles(root(), member).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn no_crate_has_a_circle() {
    let members = members(root()).unwrap();
    assert!(members.len() >= 8, "{members:?}");
    let report: Vec<_> = members
        .iter()
        .filter(|member| !KNOWN_CIRCLES.contains(&member.as_str()))
        .flat_map(|member| {
            circles_of(member).into_iter().map(move |circle| format!("{member}: {circle}"))
        })
        .collect();
    assert!(report.is_empty(), "{}", report.join("\n"));
}

#[test]
fn every_known_circle_is_there() {
    for member in KNOWN_CIRCLES {
        assert!(!circles_of(member).is_empty(), "take \"{member}\" out of KNOWN_CIRCLES");
    }
}
