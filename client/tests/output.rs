//! What children print.

use std::{
    env,
    process::{Command, Stdio},
};

use mp_manager::{Pool, Process, task};

#[task]
fn speak(words: String) {
    println!("{words}");
    eprintln!("{words}?");
    print!("without an end");
}

#[task]
fn shout(words: String) {
    println!("{words}!");
}

/// Starts children whose output comes through it.
#[mp_manager::test]
#[ignore = "a program for other tests"]
async fn a_parent() {
    if env::var_os("SPEAKS").is_none() {
        return;
    }
    let talker = Process::new(speak, ("two\nlines".into(),)).name("talker").prefix_output();
    talker.start().await.expect("it starts").join().await.expect("it succeeds");
    let program = Process::command("echo").arg("another program").name("echo").prefix_output();
    program.start().await.expect("it starts").join().await.expect("it succeeds");
    let pool = Pool::builder().processes(1).worker_name("crew").prefix_output().start();
    let pool = pool.await.expect("it starts");
    pool.apply(shout, ("hello".into(),)).await.expect("it succeeds");
    pool.close().await.expect("it is there");
    pool.join().await.expect("it ends");
}

#[test]
fn lines_come_after_the_name_of_who_printed_them() {
    let output = Command::new(env::current_exe().expect("it is there"))
        .args(["a_parent", "--exact", "--nocapture", "--ignored", "--test-threads=1"])
        .env("SPEAKS", "1")
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{output:?}");
    let prefixed = |text: &[u8]| {
        let text = String::from_utf8_lossy(text).into_owned();
        // The harness does not end its line.
        let lines = text.lines().filter_map(|line| Some(line[line.find('[')?..].to_owned()));
        lines.collect::<Vec<_>>()
    };
    assert_eq!(
        prefixed(&output.stdout),
        [
            "[talker] two",
            "[talker] lines",
            "[talker] without an end",
            "[echo] another program",
            "[crew-1] hello!",
        ]
    );
    assert_eq!(prefixed(&output.stderr), ["[talker] two", "[talker] lines?"]);
}
