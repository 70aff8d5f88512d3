//! Children that come to `init()` late, within a runtime, or never. A program of its own, as it misbehaves
//! in `main`.

use std::{env, process::exit};

use mp_manager::{Error, process::Process, task};

#[task]
async fn nothing() {}

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
        Ok("runtime") => runtime().block_on(async { mp_manager::init() }),
        _ => mp_manager::init(),
    }
    runtime().block_on(async {
        let (exits, never, within) = tokio::join!(start("exit"), start("never"), start("runtime"));
        fails_with(exits, "it ended before it came to `mp_manager::init()`: exit status: 7");
        fails_with(never, "it did not come to `mp_manager::init()` within 10s");
        within.expect("it starts").join().await.expect("it succeeds");
    });
    println!("test arrival ... ok");
}

fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("there is a runtime")
}

async fn start(how: &str) -> mp_manager::Result<Process> {
    Process::new(nothing, ()).env(HOW, how).start().await
}

fn fails_with(started: mp_manager::Result<Process>, text: &str) {
    let error = started.expect_err("it does not arrive");
    assert!(matches!(error, Error::Start { .. }), "{error:?}");
    assert!(error.to_string().contains(text), "{error}");
}
