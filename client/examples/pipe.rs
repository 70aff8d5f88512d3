//! A parent and a child talk through a pipe.
//!
//! ```text
//! $ cargo run --example pipe
//! ping 1 -> pong 1
//! ping 2 -> pong 2
//! ping 3 -> pong 3
//! the child has closed its end
//! ```

use mp_manager::{Error, Manager, PipeEnd, Process, Result, Unnamed, task};

/// Answers until the other end is closed.
#[task]
async fn answer(end: PipeEnd<String, String>) -> Result<()> {
    loop {
        match end.receive().await {
            Ok(ping) => end.send(ping.replace("ping", "pong")).await?,
            Err(Error::EndOfFile(_)) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

#[mp_manager::main]
async fn main() -> Result<()> {
    let manager = Manager::start().await?;
    let (ours, theirs) = manager.pipe(Unnamed).await?.ends();
    let child = Process::new(answer, (theirs,)).start().await?;
    for n in 1..=3 {
        let ping = format!("ping {n}");
        ours.send(&ping).await?;
        println!("{ping} -> {}", ours.receive().await?);
    }
    ours.close().await?;
    child.join().await?;
    println!("the child has closed its end");
    Ok(())
}
