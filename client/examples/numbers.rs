//! A Value and an Array that several tasks change at the same time, without losing a change.

use mp_manager::{Manager, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let manager = Manager::start().await?;
    let total = manager.value("total", &0_u64).await?;
    let buckets = manager.array::<f64>("buckets", 4).await?;

    let tasks: Vec<_> = (0..8_u32)
        .map(|n| {
            let (total, buckets) = (total.clone(), buckets.clone());
            tokio::spawn(async move {
                for _ in 0..100 {
                    total.add(&1).await?;
                    buckets.add(i64::from(n % 4), 0.5).await?;
                }
                Ok::<_, mp_manager::Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("the task does not panic")?;
    }

    println!("total {}, buckets {:?}", total.get().await?, buckets.copy().await?);
    assert_eq!(total.get().await?, 800);
    Ok(())
}
