//! Manual pages.

use std::{collections::BTreeSet, fs, process::Command};

use crate::fixture::{Home, finish};

#[test]
fn the_manual_page_has_commands_options_and_exit_codes() {
    let page = Home::new().run(&["man"]).printed();
    assert!(page.contains(".TH mp-manager 1"), "{page}");
    for text in
        ["mp\\-manager\\-serve(1)", "\\-\\-authkey\\-file", "MP_MANAGER_LOG_FORMAT", "128+N"]
    {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains("run\\-tied\\-to\\-parent"));
}

#[test]
fn there_is_a_page_for_each_command() {
    let home = Home::new();
    home.run(&["man", "--dir", "share/man1"]).printed();
    let pages: BTreeSet<String> = fs::read_dir(home.path("share/man1"))
        .unwrap()
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .collect();
    let help = home.run(&["help"]).printed();
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let (commands, _) = commands.split_once("\n\n").unwrap();
    let names: Vec<&str> =
        commands.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.contains(&"man") && names.contains(&"serve"), "{names:?}");
    for name in names.into_iter().filter(|name| *name != "help") {
        assert!(pages.contains(&format!("mp-manager-{name}.1")), "{name}: {pages:?}");
    }
    assert!(pages.contains("mp-manager.1") && pages.contains("mp-manager-dict-get.1"), "{pages:?}");
    let serve = fs::read_to_string(home.path("share/man1/mp-manager-serve.1")).unwrap();
    assert!(serve.contains("\\-\\-metrics\\-address"), "{serve}");
}

#[test]
fn a_manual_page_is_read_without_complaints() {
    if Command::new("groff").arg("--version").output().is_err() {
        println!("skipped: there is no groff");
        return;
    }
    let home = Home::new();
    home.run(&["man", "--dir", "."]).printed();
    for page in ["mp-manager.1", "mp-manager-serve.1"] {
        let mut groff = Command::new("groff");
        let arguments = ["-man", "-Tutf8", "-ww", page];
        let read = finish(groff.args(arguments).current_dir(home.path("")));
        assert_eq!((read.code, read.stderr.as_str()), (Some(0), ""), "{page}");
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let home = Home::new();
    fs::write(home.path("file"), "").unwrap();
    let error = home.run(&["man", "--dir", "file"]).failed(1);
    assert!(error.contains("cannot write manual pages into file"), "{error}");
}
