//! A sum that the type cannot hold is an error, and is not stored.

use mp_manager::{Error, Manager, blocking};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[tokio::test]
async fn a_sum_that_the_type_cannot_hold_is_not_stored() {
    let manager = Manager::start().await.unwrap();
    let dict = manager.dict::<String, u8>("dict").await.unwrap();
    dict.insert("a", &250).await.unwrap();
    let refused = dict.add("a", &10).await;
    assert!(matches!(refused, Err(Error::Overflow(_))), "{refused:?}");
    assert_eq!(dict.items().await.unwrap(), [("a".into(), 250)]);
    assert_eq!(dict.update_with("a", |n| n + 5).await.unwrap(), 255);

    let many = [("b".to_owned(), 1), ("a".to_owned(), 1)];
    let refused = dict.add_many(many).await;
    assert!(matches!(refused, Err(Error::Overflow(_))), "{refused:?}");
    assert_eq!(dict.items().await.unwrap(), [("a".into(), 255)]);
    // Twice the same key, from nothing.
    let refused = dict.add_many([("c".to_owned(), 200), ("c".to_owned(), 100)]).await;
    assert!(matches!(refused, Err(Error::Overflow(_))), "{refused:?}");
    assert_eq!(dict.get("c").await.unwrap(), None);

    let value = manager.value("value", &-120_i8).await.unwrap();
    assert!(matches!(value.add(&-10).await, Err(Error::Overflow(_))));
    assert_eq!(value.get().await.unwrap(), -120);
    assert_eq!(value.add(&-8).await.unwrap(), i8::MIN);
}

#[test]
fn a_thread_gets_no_sum_that_the_type_cannot_hold_either() {
    let manager = blocking::Manager::start().unwrap();
    let dict = manager.dict::<String, u16>("dict").open().unwrap();
    assert_eq!(dict.add("a", u16::MAX).unwrap(), u16::MAX);
    assert!(matches!(dict.add("a", 1), Err(Error::Overflow(_))));
    assert!(matches!(dict.add_many([("a".to_owned(), 1)]), Err(Error::Overflow(_))));
    assert_eq!(dict.get("a").unwrap(), Some(u16::MAX));
    let value = manager.value("value", &i32::MAX).open().unwrap();
    assert!(matches!(value.add(1), Err(Error::Overflow(_))));
    assert_eq!(value.get().unwrap(), i32::MAX);
}

/// A number in a type of one's own, which is read as the number is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Points(u8);

#[tokio::test]
async fn sums_keep_within_the_type_at_every_boundary() {
    let manager = Manager::start().await.unwrap();

    // Another client put in what this type does not hold: it can be brought back, not made worse.
    let wide = manager.dict::<String, i64>("narrow").await.unwrap();
    let narrow = manager.dict::<String, Option<i16>>("narrow").await.unwrap();
    wide.insert("a", &40_000).await.unwrap();
    assert!(matches!(narrow.add("a", &Some(1)).await, Err(Error::Overflow(_))));
    assert_eq!(wide.get("a").await.unwrap(), Some(40_000));
    assert_eq!(narrow.add("a", &Some(-10_000)).await.unwrap(), Some(30_000));

    let points = manager.dict::<String, Points>("points").await.unwrap();
    points.insert("a", &Points(255)).await.unwrap();
    assert!(matches!(points.add("a", &Points(1)).await, Err(Error::Overflow(_))));
    assert_eq!(points.get("a").await.unwrap(), Some(Points(255)));

    let signed = manager.value("signed", &i64::MAX).await.unwrap();
    assert!(matches!(signed.add(&1).await, Err(Error::Overflow(_))));
    assert_eq!(signed.get().await.unwrap(), i64::MAX);
    let unsigned = manager.value("unsigned", &u64::MAX).await.unwrap();
    assert!(matches!(unsigned.add(&1).await, Err(Error::Overflow(_))));
    assert_eq!(unsigned.get().await.unwrap(), u64::MAX);

    // A float among integers stays what it is for its owner.
    let floats = manager.dict::<String, f64>("mixed").await.unwrap();
    let integers = manager.dict::<String, u8>("mixed").await.unwrap();
    floats.insert("a", &2.5).await.unwrap();
    assert!(matches!(integers.add("a", &1).await, Err(Error::TypeMismatch(_))));
    assert_eq!(floats.get("a").await.unwrap(), Some(2.5));

    // As in Rust, a sum of floats that is too large is infinite.
    let float = manager.value("float", &f32::MAX).await.unwrap();
    assert_eq!(float.add(&f32::MAX).await.unwrap(), f32::INFINITY);

    // Numbers of more than 64 bits are no numbers to the manager.
    let huge = manager.value("huge", &1_i128).await.unwrap();
    assert!(matches!(huge.add(&1).await, Err(Error::TypeMismatch(_))));
    assert_eq!(huge.get().await.unwrap(), 1);

    // A type that takes any number is not narrowed by the one that was added.
    let any = manager.dict::<String, Value>("any").await.unwrap();
    any.insert("a", &json!(-300)).await.unwrap();
    assert_eq!(any.add("a", &json!(1)).await.unwrap(), json!(-299));
}
