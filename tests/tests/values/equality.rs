//! Compare-and-swap means equality as the caller's type has it, whatever the bytes are.

use std::collections::HashSet;

use mp_manager::{Error, List, Manager, Unnamed, blocking};
use mp_manager_proto::v1::Kind;
use mp_manager_tests::{AUTHKEY, TestServer, raw::RawSession, within};
use serde::{Deserialize, Serialize};

use crate::{insert, set};

#[tokio::test]
async fn a_value_that_was_read_can_be_swapped_whatever_its_encoding() {
    let manager = Manager::start().await.unwrap();
    let initial: HashSet<u32> = (0..20).collect();
    let value = manager.value("value", &initial).await.unwrap();
    let dict = manager.dict::<String, HashSet<u32>>("dict").await.unwrap();
    dict.insert("k", &initial).await.unwrap();
    for n in 20..40 {
        let read = value.get().await.unwrap();
        let next = read.iter().copied().chain([n]).collect();
        assert_eq!(value.compare_and_swap(&read, &next).await.unwrap(), (true, next), "{n}");
        let read = dict.get("k").await.unwrap().unwrap();
        let next: HashSet<u32> = read.iter().copied().chain([n]).collect();
        let (swapped, now) = dict.compare_and_swap("k", Some(&read), Some(&next)).await.unwrap();
        assert!(swapped, "{n}");
        assert_eq!(now, Some(next));
    }
    // What differs is refused as before, and what is there comes back.
    let read = value.get().await.unwrap();
    assert_eq!(value.compare_and_swap(&initial, &initial).await.unwrap(), (false, read));
    let (swapped, read) = dict.compare_and_swap("k", Some(&initial), None).await.unwrap();
    assert!(!swapped && read.is_some_and(|read| read.len() == 40));
    assert_eq!(dict.compare_and_swap("j", Some(&initial), None).await.unwrap(), (false, None));
}

#[test]
fn a_thread_can_swap_a_value_that_it_read_whatever_its_encoding() {
    let manager = blocking::Manager::start().unwrap();
    let value = manager.value("value", &(0..20).collect::<HashSet<u32>>()).open().unwrap();
    let dict = manager.dict::<String, HashSet<u32>>("dict").open().unwrap();
    dict.insert("k", value.get().unwrap()).unwrap();
    for n in 20..40 {
        let next = HashSet::from([n, n + 1, n + 2]);
        assert!(value.compare_and_swap(&value.get().unwrap(), &next).unwrap().0, "{n}");
        let read = dict.get("k").unwrap();
        assert!(dict.compare_and_swap("k", read.as_ref(), Some(&next)).unwrap().0, "{n}");
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Settings {
    depth: u8,
    #[serde(default)]
    added_later: Option<u8>,
}

#[tokio::test]
async fn a_value_of_another_release_or_language_can_be_swapped() {
    let server = TestServer::start();
    let manager = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
    let mut session = RawSession::start(&server.address()).await;
    let object = session.open(Some("dict"), Kind::Dict, None).await.unwrap();

    session.ask(object, insert(b"\x81\xa5depth\x03".to_vec())).await.unwrap();
    let settings = manager.dict::<String, Settings>("dict").await.unwrap();
    let read = settings.get("k").await.unwrap().unwrap();
    let next = Settings { added_later: Some(1), ..read.clone() };
    let swapped = settings.compare_and_swap("k", Some(&read), Some(&next)).await.unwrap();
    assert_eq!(swapped, (true, Some(next)));

    // A float of 32 bits, read as one of 64; NaN too, which is not equal to itself.
    for float in [0.1, f32::NAN] {
        let bytes = [&[0xca][..], &float.to_be_bytes()].concat();
        session.ask(object, insert(bytes.clone())).await.unwrap();
        let floats = manager.dict::<String, f64>("dict").await.unwrap();
        let read = floats.get("k").await.unwrap();
        assert!(floats.compare_and_swap("k", read.as_ref(), Some(&1.0)).await.unwrap().0);

        let ratio = manager.value("ratio", &0.0_f64).await.unwrap();
        let object = session.open(Some("ratio"), Kind::Value, None).await.unwrap();
        session.ask(object, set(bytes)).await.unwrap();
        let read = ratio.get().await.unwrap();
        assert_eq!(ratio.compare_and_swap(&read, &1.0).await.unwrap(), (true, 1.0));
    }
}

/// Four count up together, by values whose bytes differ from process to process: an attempt that is
/// refused is another's success, so that they get on, and each step is somebody's.
#[tokio::test(flavor = "multi_thread")]
async fn each_swap_among_rivals_happens_once() {
    let manager = Manager::start().await.unwrap();
    let value = manager.value("value", &HashSet::<u32>::new()).await.unwrap();
    let rivals: Vec<_> = (0..4)
        .map(|_| {
            let value = value.clone();
            tokio::spawn(async move {
                let mut steps = 0;
                for n in 0..50 {
                    let expected: HashSet<u32> = (0..n).collect();
                    let next = (0..=n).collect();
                    let (swapped, now) = value.compare_and_swap(&expected, &next).await.unwrap();
                    steps += u32::from(swapped);
                    assert!(now.is_superset(&next));
                }
                steps
            })
        })
        .collect();
    let mut steps = 0;
    for rival in rivals {
        steps += within(rival).await.unwrap();
    }
    assert_eq!(steps, 50);
    assert_eq!(value.get().await.unwrap(), (0..50).collect());
}

#[tokio::test]
async fn a_fenced_swap_compares_as_any_other() {
    let manager = Manager::start().await.unwrap();
    let guard = manager.lock("lock").await.unwrap().acquire().await.unwrap();
    let value = manager.value("value", &(0..20).collect::<HashSet<u32>>()).await.unwrap();
    let fenced = value.fenced(&guard);
    for n in 20..40 {
        let read = value.get().await.unwrap();
        let next = HashSet::from([n, n + 1, n + 2]);
        assert!(fenced.compare_and_swap(&read, &next).await.unwrap().0);
    }
    guard.release().await.unwrap();
    let read = value.get().await.unwrap();
    let refused = fenced.compare_and_swap(&read, &HashSet::new()).await;
    assert!(matches!(refused, Err(Error::Fenced(_))), "{refused:?}");
    assert_eq!(value.get().await.unwrap(), read);
}

#[tokio::test]
async fn a_proxy_can_be_swapped_for_another() {
    let server = TestServer::start();
    let manager = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
    let other = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
    let red: List<String> = manager.list(Unnamed).await.unwrap();
    let blue: List<String> = manager.list(Unnamed).await.unwrap();
    let team = manager.value("team", &red).await.unwrap();
    let read: List<String> = other
        .value("team", &other.list(Unnamed).await.unwrap())
        .await
        .unwrap()
        .get()
        .await
        .unwrap();
    assert_eq!(read, red);
    assert_ne!(read, blue);
    assert_eq!(team.compare_and_swap(&red, &blue).await.unwrap(), (true, blue.clone()));
    assert_eq!(team.compare_and_swap(&red, &blue).await.unwrap(), (false, blue));
}

/// As the docs of `Dict` have it.
#[tokio::test]
async fn an_integer_of_128_bits_is_a_key_for_its_own_type() {
    let manager = Manager::start().await.unwrap();
    let wide = manager.dict::<i128, u8>("dict").await.unwrap();
    let narrow = manager.dict::<i64, u8>("dict").await.unwrap();
    for key in [i128::MIN, -1, 0, 1, i128::MAX] {
        wide.insert(&key, &1).await.unwrap();
        assert_eq!(wide.get(&key).await.unwrap(), Some(1));
    }
    assert_eq!(narrow.get(&1).await.unwrap(), None);
    assert_eq!(wide.len().await.unwrap(), 5);
}
