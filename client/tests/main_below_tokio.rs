//! `#[mp_manager::main]` below `#[tokio::main]`: children begin there, and are waited for.

use mp_manager::{Result, process::Process, task};

#[task]
async fn write(path: String) -> std::io::Result<()> {
    std::fs::write(path, "written")
}

#[tokio::main(flavor = "current_thread")]
#[mp_manager::main]
async fn main() -> Result<()> {
    if std::env::args().any(|arg| arg == "--list") {
        // For nextest.
        if !std::env::args().any(|arg| arg == "--ignored") {
            println!("main: test");
        }
        return Ok(());
    }
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().join("file");
    let process = Process::new(write, (path.display().to_string(),)).start().await?;
    process.join().await?;
    assert_eq!(std::fs::read_to_string(path).expect("it is there"), "written");
    println!("test main ... ok");
    Ok(())
}
