//! More than there is memory for.

use mp_manager::{Dict, Error};

use super::Context;

/// Fills a dict until the memory budget is used up, and makes room again.
pub(super) async fn hoard(my: Context, rounds: u64) {
    let hoard: Dict<u64, String> = my.open(|manager| manager.dict("hoard").open()).await;
    let treasure = "gold".repeat(1000);
    for number in 0..rounds * 4 {
        my.pause().await;
        let key = ((my.process as u64) << 32) | number;
        match my.patiently(hoard.insert(&key, treasure.as_str())).await {
            Some(Err(Error::OutOfMemory(_))) => {
                let removed = my.patiently(hoard.pop_item()).await;
                let _ = removed.map(|result| my.expect("pop_item", result));
            }
            result => _ = result.map(|result| my.expect("insert", result)),
        }
    }
    // Whatever was refused before: when there is room, there is.
    my.sleep_until(my.times.settled_from).await;
    my.expect("clear", hoard.clear().await);
    my.expect("insert into an empty dict", hoard.insert(&0, "one coin").await);
}
