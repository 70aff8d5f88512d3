//! A small crate with one circle or none.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

use std::fs;

use mp_manager_imports::{Circle, circles};

/// The circles of a package with these files.
fn circles_in(files: &[(&str, &str)]) -> Vec<Circle> {
    let workspace = tempfile::tempdir().unwrap();
    for (file, text) in files {
        let path = workspace.path().join("planted/src").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    circles(workspace.path(), "planted").unwrap()
}

/// The lines that close the only circle.
fn closed_by(files: &[(&str, &str)]) -> Vec<String> {
    let circles = circles_in(files);
    assert_eq!(circles.len(), 1, "{circles:?}");
    circles[0].closed_by.iter().map(|import| format!("{}:{}", import.file, import.line)).collect()
}

#[test]
fn a_circle_is_reported_with_the_two_lines_that_close_it() {
    let circles = circles_in(&[
        ("lib.rs", "mod store;\nmod session;\n"),
        ("store.rs", "//! Objects.\n\nuse crate::session::Session;\npub struct Store(Session);\n"),
        ("session.rs", "use super::{\n    store::Store,\n};\npub struct Session(Store);\n"),
    ]);
    assert_eq!(circles.len(), 1);
    assert_eq!(
        circles[0].to_string(),
        "2 files import each other; these lines close the circle:\n  \
         planted/src/store.rs:3: use crate::session::Session  (in planted/src/session.rs)\n  \
         planted/src/session.rs:2: use super::store::Store  (in planted/src/store.rs)"
    );
}

#[test]
fn imports_one_way_are_no_circle() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\npub use a::A;\npub use b::B;\n"),
        ("a.rs", "use crate::B;\npub struct A(B);\n"),
        ("b.rs", "pub struct B;\n"),
    ];
    assert_eq!(circles_in(&files), []);
}

#[test]
fn a_path_leads_through_re_exports_to_the_file_that_defines_the_item() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\npub use a::A;\npub use b::{B, make};\n"),
        ("a.rs", "use crate::B;\npub struct A(B);\n"),
        ("b.rs", "pub struct B;\npub fn make() -> B {\n    let _: crate::A;\n    B\n}\n"),
    ];
    assert_eq!(closed_by(&files), ["planted/src/a.rs:1", "planted/src/b.rs:3"]);
}

#[test]
fn a_longer_circle_is_reported_with_every_line_around_it() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\nmod c;\n"),
        ("a.rs", "pub fn a() { crate::b::b() }\n"),
        ("b.rs", "use super::c;\npub fn b() {\n    c::c()\n}\n"),
        ("c.rs", "\npub fn c() { println!(\"{:?}\", crate::a::a()) }\n"),
    ];
    let lines = ["planted/src/a.rs:1", "planted/src/b.rs:3", "planted/src/c.rs:2"];
    assert_eq!(closed_by(&files), lines);
}

#[test]
fn a_parent_that_only_declares_and_re_exports_its_child_does_not_import_it() {
    let files = [
        ("lib.rs", "mod parent;\n"),
        ("parent.rs", "mod child;\npub(crate) use child::Child;\npub const LIMIT: u8 = 1;\n"),
        ("parent/child.rs", "use super::LIMIT;\npub struct Child([u8; LIMIT as usize]);\n"),
    ];
    assert_eq!(circles_in(&files), []);
}

#[test]
fn a_parent_and_its_children_may_use_each_other() {
    let files = [
        ("lib.rs", "mod parent;\n"),
        ("parent.rs", "mod one;\nmod two;\npub struct Parent(one::One, two::Two);\n"),
        ("parent/one.rs", "use super::{Parent, two::Two};\npub struct One(Box<Parent>, Two);\n"),
        ("parent/two.rs", "pub struct Two(Box<super::Parent>);\n"),
    ];
    assert_eq!(circles_in(&files), []);
}

#[test]
fn children_of_one_parent_that_import_each_other_are_a_circle() {
    let files = [
        ("lib.rs", "mod parent;\n"),
        ("parent.rs", "mod one;\nmod two;\npub struct Parent(one::One, two::Two);\n"),
        ("parent/one.rs", "use super::Parent;\npub struct One(Box<Parent>, super::two::Two);\n"),
        ("parent/two.rs", "use super::one::One;\npub struct Two(Box<One>);\n"),
    ];
    assert_eq!(closed_by(&files), ["planted/src/parent/one.rs:2", "planted/src/parent/two.rs:1"]);
}

#[test]
fn a_parent_that_reaches_its_child_by_way_of_another_file_is_in_a_circle() {
    let files = [
        ("lib.rs", "mod parent;\nmod other;\n"),
        ("parent.rs", "pub mod child;\npub struct Parent(crate::other::Other);\n"),
        ("parent/child.rs", "pub struct Child(Box<super::Parent>);\n"),
        ("other.rs", "pub struct Other(crate::parent::child::Child);\n"),
    ];
    let lines =
        ["planted/src/parent.rs:2", "planted/src/other.rs:1", "planted/src/parent/child.rs:1"];
    assert_eq!(closed_by(&files), lines);
}

#[test]
fn tests_may_import_what_they_like() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\n"),
        ("a.rs", "use crate::b::B;\npub struct A(B);\n"),
        (
            "b.rs",
            "pub struct B;\n#[cfg(test)]\nuse crate::a::A;\n#[cfg(test)]\nmod tests { use \
             crate::a::A; }\nimpl B {\n    #[cfg(test)]\n    fn a() -> crate::a::A { todo!() }\n}\n",
        ),
    ];
    assert_eq!(circles_in(&files), []);
}

#[test]
fn a_name_of_another_crate_is_no_import() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\npub use std::fmt;\npub struct Root(a::A);\n"),
        ("a.rs", "use crate::fmt;\nuse crate::b::B;\npub struct A(fmt::Error, B);\n"),
        ("b.rs", "use std::fmt::{self as a};\npub struct B(a::Error);\n"),
    ];
    assert_eq!(circles_in(&files), []);
}

#[test]
fn a_block_may_give_a_name_another_meaning() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\npub use a::Kind;\n"),
        ("a.rs", "use crate::b::B;\npub enum Kind { One(B) }\n"),
        (
            "b.rs",
            "use super::*;\npub enum B { One }\nfn f(b: B) {\n    use B as Kind;\n    match b { \
             Kind::One => {} }\n}\n",
        ),
    ];
    assert_eq!(circles_in(&files), []);
}

#[test]
fn a_macro_that_is_found_by_its_place_is_imported_by_its_call() {
    let files = [
        ("lib.rs", "#[macro_use]\nmod a;\nmod b;\n"),
        ("a.rs", "macro_rules! make {\n    () => { $crate::b::B };\n}\n"),
        ("b.rs", "pub struct B;\nfn b() -> B { make!() }\n"),
    ];
    assert_eq!(closed_by(&files), ["planted/src/a.rs:2", "planted/src/b.rs:2"]);
}
