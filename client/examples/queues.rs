//! Queues: leases that come back, priorities, and joining.

use mp_manager::{Error, Manager, Result};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Job {
    id: u32,
    image: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let manager = Manager::start().await?;
    let jobs = manager.queue::<Job>("jobs").maxsize(100).await?;
    for id in 1..=3 {
        jobs.put(&Job { id, image: format!("{id}.png") }).await?;
    }

    // This consumer gives up; the item returns to its place, and the next one sees that it did.
    let first = jobs.lease().await?;
    println!("giving up on job {}", first.id);
    first.reject().await?;

    let consumer = tokio::spawn({
        let jobs = jobs.clone();
        async move {
            loop {
                match jobs.lease().await {
                    Ok(job) => {
                        println!("{}: {}, delivery {}", job.id, job.image, job.deliveries());
                        job.done().await?;
                    }
                    Err(Error::QueueShutDown(_)) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        }
    });
    jobs.join().await?;
    jobs.shutdown().await?;
    consumer.await.expect("the task does not panic")?;

    let urgent = manager.queue::<String>("urgent").priority().await?;
    urgent.put_with_priority("sweep", &9).await?;
    urgent.put_with_priority("put out the fire", &1).await?;
    println!("first: {}", urgent.get().await?);
    Ok(())
}
