//! How much of what was asked for comes back at once.

use std::collections::BTreeSet;

use mp_manager::{Dict, Error, Manager};
use mp_manager_tests::within;

const MIB: usize = 1 << 20;

/// A mebibyte that says which it is.
fn mebibyte(n: usize) -> String {
    let text = n.to_string();
    let rest = " ".repeat(MIB - text.len());
    text + &rest
}

#[tokio::test(flavor = "multi_thread")]
async fn the_values_of_many_keys_come_back_however_long_they_are_together() {
    let manager = Manager::start().await.unwrap();
    let dict: Dict<String, String> = manager.dict("dict").await.unwrap();
    let keys: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    for (n, key) in keys.iter().enumerate() {
        dict.insert(key, &mebibyte(n)).await.unwrap();
    }
    let mut asked: Vec<&String> = keys.iter().collect();
    let missing = "missing".to_owned();
    asked.insert(20, &missing);
    asked.push(&keys[0]);
    let values = within(dict.get_many(asked)).await.unwrap();
    assert_eq!(values.len(), 42);
    assert_eq!(values[20], None);
    let numbers: Vec<usize> =
        values.iter().flatten().map(|value| value.trim_end().parse().unwrap()).collect();
    assert_eq!(numbers, (0..40).chain([0]).collect::<Vec<_>>());

    // What is removed would be lost if the second half failed: all at once or not at all.
    let refused = dict.remove_many(&keys).await;
    assert!(matches!(refused, Err(Error::LimitExceeded(_))), "{refused:?}");
    assert_eq!(dict.len().await.unwrap(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_items_come_back_at_once_as_the_longest_value_has_room_for() {
    let manager = Manager::start().await.unwrap();
    let queue = manager.queue::<String>("queue").await.unwrap();
    for n in 0..40 {
        queue.put(&mebibyte(n)).await.unwrap();
    }
    let mut taken = Vec::new();
    let mut batches = Vec::new();
    while taken.len() < 40 {
        let batch = within(queue.get_many(1000)).await.unwrap();
        batches.push(batch.len());
        taken.extend(batch);
    }
    let numbers: BTreeSet<usize> =
        taken.iter().map(|item| item.trim_end().parse().unwrap()).collect();
    assert_eq!(numbers.len(), 40);
    assert!(batches.len() <= 3, "{batches:?}");
}
