//! Children that come to `init()` late, within a runtime, or never, or are stopped in it. A program of its own, as it misbehaves
//! in `main`.

use std::{env, process::exit};

use mp_manager::{Error, Pool, process::Process, task};

#[task]
async fn nothing() {}

#[task]
async fn measure(text: String) {
    assert_eq!(text.len(), 5 << 20);
}

/// What the children are to do.
const HOW: &str = "ARRIVAL";

fn main() {
    if env::args().any(|arg| arg == "--list") {
        // For nextest.
        if !env::args().any(|arg| arg == "--ignored") {
            println!("arrival: test");
        }
        return;
    }
    match env::var(HOW).as_deref() {
        Ok("exit") => exit(7),
        Ok("never") => loop {
            std::thread::park();
        },
        Ok("stopped") => {
            // All that a parent sees of a child that is stopped in `init()`: that it is there.
            say(&[0, 0, 0, 1, 2, 1]);
        }
        // A child whose program was built with another version of this crate.
        Ok("another version") => say(&[0, 0, 0, 1, 2, 99]),
        Ok("runtime") => runtime().block_on(async { mp_manager::init() }),
        _ => mp_manager::init(),
    }
    runtime().block_on(async {
        let text = "x".repeat(5 << 20);
        let (exits, never, within, another, stopped, exit_at_work) = tokio::join!(
            start("exit"),
            start("never"),
            start("runtime"),
            start("another version"),
            Process::new(measure, (text,)).env(HOW, "stopped").start(),
            work("exit"),
        );
        fails_with(exits, "it ended before it came to `mp_manager::init()`: exit status: 7");
        fails_with(never, "it did not come to `mp_manager::init()` within 10s");
        within.expect("it starts").join().await.expect("it succeeds");
        fails_with(another, "it was built with another version of mp-manager");
        fails_with(stopped, "it read nothing of its arguments for 10s");
        let error = exit_at_work.expect_err("no worker arrives");
        assert!(matches!(error, Error::PoolBroken(_)), "{error:?}");
        assert!(error.to_string().contains("exit status: 7"), "{error}");
    });
    println!("test arrival ... ok");
}

/// Says something to the parent, and stays.
fn say(frame: &[u8]) -> ! {
    rustix::io::write(rustix::stdio::stdin(), frame).expect("a parent listens");
    loop {
        std::thread::park();
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("there is a runtime")
}

async fn start(how: &str) -> mp_manager::Result<Process> {
    Process::new(nothing, ()).env(HOW, how).start().await
}

async fn work(how: &str) -> mp_manager::Result<()> {
    let pool = Pool::builder().processes(2).env(HOW, how).start().await?;
    pool.apply(nothing, ()).await
}

fn fails_with(started: mp_manager::Result<Process>, text: &str) {
    let error = started.expect_err("it does not arrive");
    assert!(matches!(error, Error::Start { .. }), "{error:?}");
    assert!(error.to_string().contains(text), "{error}");
}
