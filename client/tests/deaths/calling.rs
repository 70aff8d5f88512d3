//! Children begin in their test however that is called: by `cargo test`, one by one as nextest does, in one thread.

use std::{env, process::Command};

use mp_manager::{Pool, Result, process::Process};

use crate::common::{soon, square};

async fn a_process_and_a_pool() -> Result<()> {
    Process::new(square, (2,)).start().await?.join().await?;
    let pool = Pool::new(1).await?;
    assert_eq!(soon("apply", pool.apply(square, (3,))).await?, 9);
    pool.close().await?;
    soon("join", pool.join()).await
}

mod called {
    use super::*;

    #[mp_manager::test]
    async fn plain() -> Result<()> {
        a_process_and_a_pool().await
    }

    #[mp_manager::test]
    fn without_a_runtime() -> Result<()> {
        pollster::block_on(Pool::new(1))?.apply(square, (3,)).wait().map(drop)
    }

    #[mp_manager::test]
    #[ignore = "for `as_nextest_calls_them`"]
    async fn ignored() -> Result<()> {
        a_process_and_a_pool().await
    }

    #[mp_manager::test]
    #[should_panic(expected = "wanted")]
    async fn should_panic() {
        a_process_and_a_pool().await.expect("it works");
        panic!("wanted");
    }

    #[mp_manager::test]
    #[ignore = "for `as_nextest_calls_them`"]
    #[should_panic(expected = "wanted")]
    async fn ignored_and_should_panic() {
        a_process_and_a_pool().await.expect("it works");
        panic!("wanted");
    }
}

/// What this program says when it is called so.
fn call(args: &[&str]) -> String {
    let exe = env::current_exe().expect("it is there");
    let output = Command::new(exe).args(args).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?}: {said}");
    said
}

/// The tests of `called` that `--list` shows with these words.
fn list(words: &[&str]) -> Vec<String> {
    let said = call(&[&["--list", "--format", "terse"], words].concat());
    let tests = said.lines().filter_map(|line| line.strip_suffix(": test"));
    tests.filter(|name| name.starts_with("calling::called::")).map(Into::into).collect()
}

#[test]
fn as_nextest_calls_them() {
    let (all, ignored) = (list(&[]), list(&["--ignored"]));
    assert_eq!((all.len(), ignored.len()), (5, 2));
    for test in &all {
        let mut words = vec!["--exact", test, "--nocapture"];
        if ignored.contains(test) {
            words.push("--ignored");
        }
        let said = call(&words);
        assert!(said.contains("1 passed"), "{test}: {said}");
    }
}

#[test]
fn in_one_thread() {
    let said = call(&["calling::called::", "--include-ignored", "--test-threads=1"]);
    assert!(said.contains("5 passed"), "{said}");
}
