//! Each line of `docs/from-python.md` gives what the page says, in CPython and here, and each name of Python's has a
//! row.
//!
//! `cargo test --workspace --test from_python -- --nocapture` shows what was looked at.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod python;
mod rows;

use std::{collections::BTreeSet, sync::OnceLock, time::Duration};

use mp_manager::{Manager, Pool, blocking};
use mp_manager_from_python::{
    PAGE,
    page::{Here, Outcome, Page, at},
};
use mp_manager_tests::python::{NOT_FOUND, Python};

use crate::{
    python::Answers,
    rows::{BLOCKING_LINES, LINES, Scope},
};

/// What no line takes, unless it waits for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the page is about.
const MODULES: [&str; 8] = [
    "multiprocessing",
    "multiprocessing.connection",
    "multiprocessing.dummy",
    "multiprocessing.managers",
    "multiprocessing.pool",
    "multiprocessing.shared_memory",
    "multiprocessing.sharedctypes",
    "threading",
];

fn page() -> Page {
    Page::parse(PAGE).unwrap_or_else(|error| panic!("{error}"))
}

/// The newest Python that is new enough and what it gives, asked once for all tests; without one, says so.
fn python() -> Option<&'static (Python, Answers)> {
    static ANSWERS: OnceLock<Option<(Python, Answers)>> = OnceLock::new();
    let answers = ANSWERS.get_or_init(|| {
        let python = Python::find()?;
        let answers = python::run(&python, &page());
        Some((python, answers))
    });
    match answers {
        Some((python, _)) => println!("from-python: with CPython {}", python.version()),
        None => println!("from-python: skipped: {NOT_FOUND}"),
    }
    answers.as_ref()
}

/// What a line gives here is not what the page says.
fn problem(page: &Page, line: usize, answer: rows::Answer) -> Option<String> {
    let (_, row) = page.rows().find(|(_, row)| row.line == line)?;
    let (_, wanted) = row.gives.as_ref()?;
    compare(line, wanted, &rows::outcome(answer))
}

fn compare(line: usize, wanted: &Outcome, got: &Outcome) -> Option<String> {
    (wanted != got).then(|| at(line, &format!("gives {got}, and the page says {wanted}")))
}

fn conclude(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[mp_manager::test]
async fn every_line_gives_here_what_the_page_says() {
    let page = page();
    let (manager, pool) = (Manager::start().await.unwrap(), Pool::new(2).await.unwrap());
    let mut problems = Vec::new();
    for &(line, run) in LINES {
        let ran = run(Scope { manager: manager.clone(), pool: pool.clone() });
        let Ok(answer) = tokio::time::timeout(PATIENCE, ran).await else {
            panic!("{}", at(line, "waits for ever"));
        };
        problems.extend(problem(&page, line, answer));
        // The next line may use its names.
        for object in manager.list_objects("").await.unwrap() {
            manager.delete(&object.name).await.unwrap();
        }
    }
    pool.close().await.unwrap();
    pool.join().await.unwrap();
    conclude(&problems);
    println!("from-python: {} lines give here what the page says", LINES.len());
}

#[test]
fn lines_about_objects_give_the_same_in_the_blocking_form() {
    let page = page();
    let manager = blocking::Manager::start().unwrap();
    let mut problems = Vec::new();
    for &(line, run) in BLOCKING_LINES {
        problems.extend(problem(&page, line, run(manager.clone())));
        for object in manager.list_objects("").unwrap() {
            manager.delete(&object.name).unwrap();
        }
    }
    conclude(&problems);
    println!("from-python: {} lines give the same in the blocking form", BLOCKING_LINES.len());
}

#[test]
fn every_line_gives_in_python_what_the_page_says() {
    let Some((_, answers)) = python() else { return };
    let mut problems = Vec::new();
    for (_, row) in page().rows() {
        let Some(answer) = answers.lines.get(&row.line) else { continue };
        let (wanted, _) = row.gives.as_ref().unwrap();
        let problem = compare(row.line, wanted, &answer.outcome());
        problems.extend(problem.map(|problem| format!("{problem}\n{}", answer.details)));
    }
    conclude(&problems);
    println!("from-python: {} lines give in Python what the page says", answers.lines.len());
}

#[test]
fn every_name_of_python_has_a_row() {
    let Some((python, Answers { subjects, .. })) = python() else { return };
    let page = page();
    let mut problems = Vec::new();
    let mut found = 0;
    for section in page.sections.iter().filter(|section| python.is_since(section.since)) {
        let names: Vec<_> = section.subjects.iter().map(|subject| &subjects[subject]).collect();
        if names.is_empty() {
            continue;
        }
        let public: BTreeSet<_> = names.iter().flat_map(|names| &names.public).collect();
        found += public.len();
        let rows: BTreeSet<_> = section.rows.iter().flat_map(|row| &row.names).collect();
        let missing = public.difference(&rows);
        let subjects = section.subjects.join(", ");
        problems.extend(missing.map(|name| format!("{subjects}: there is no row for {name}")));
        for row in section.rows.iter().filter(|row| python.is_since(row.since)) {
            let is_there = |name| names.iter().any(|names| names.all.contains(name));
            let unknown = row.names.iter().filter(|name| !is_there(name));
            problems.extend(unknown.map(|name| at(row.line, &format!("Python has no {name}"))));
        }
    }
    conclude(&problems);
    println!("from-python: {found} names of Python's have a row");
}

#[test]
fn every_module_has_a_section() {
    let page = page();
    let subjects: Vec<_> = page.sections.iter().flat_map(|section| &section.subjects).collect();
    for module in MODULES {
        assert!(subjects.contains(&&module.to_string()), "no section for {module}");
    }
}

#[test]
fn only_what_belongs_to_register_is_missing() {
    let page = page();
    let not_yet = page.rows().filter(|(_, row)| row.here == Here::NotYet);
    let names: BTreeSet<_> = not_yet.flat_map(|(_, row)| row.names.iter().cloned()).collect();
    assert_eq!(names, BTreeSet::from(["BaseProxy", "register"].map(String::from)));
}
