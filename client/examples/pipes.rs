//! A pipe between two tasks; with a name, it works between two processes just as well.

use mp_manager::{Error, Manager, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let manager = Manager::start().await?;
    let pipe = manager.pipe::<String, usize>("lengths").await?;
    let (asker, answerer) = pipe.ends();

    let answering = tokio::spawn(async move {
        loop {
            match answerer.receive().await {
                Ok(text) => answerer.send(&text.chars().count()).await?,
                // The other end is closed, or its process has died.
                Err(Error::EndOfFile(_)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    });
    for text in ["one", "three", "eleven"] {
        asker.send(&text.to_owned()).await?;
        println!("{text}: {}", asker.receive().await?);
    }
    asker.close().await?;
    answering.await.expect("the task does not panic")
}
