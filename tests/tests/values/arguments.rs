//! What objects take as values: owned or borrowed, as a `HashMap` and a `Vec` do.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mp_manager::{Dict, List, Manager, Unnamed, blocking};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

fn strings<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).into()
}

#[tokio::test]
async fn a_queue_takes_items_owned_and_borrowed() {
    let manager = Manager::start().await.unwrap();
    let queue = manager.queue::<String>("queue").await.unwrap();
    let (text, items) = (String::from("b"), strings(["h", "i"]));
    queue.put("a").await.unwrap();
    queue.put(&text).await.unwrap();
    queue.put(text).await.unwrap();
    queue.try_put(Cow::from("c")).await.unwrap();
    queue.put_timeout(Box::new("d".to_owned()), SECOND).await.unwrap();
    queue.put(Arc::new("e".to_owned())).await.unwrap();
    queue.put_many(["f", "g"]).await.unwrap();
    queue.put_many(&items).await.unwrap();
    queue.try_put_many(items.iter().map(String::as_str)).await.unwrap();
    queue.put_many_timeout(items, SECOND).await.unwrap();
    queue.put_many(&["j"]).await.unwrap();
    let expected =
        strings(["a", "b", "b", "c", "d", "e", "f", "g", "h", "i", "h", "i", "h", "i", "j"]);
    assert_eq!(queue.get_many(100).await.unwrap(), expected);

    let urgent = manager.queue::<String>("urgent").priority().await.unwrap();
    urgent.put_with_priority("later", 2).await.unwrap();
    urgent.try_put_with_priority("soon", &1).await.unwrap();
    urgent.put_with_priority_timeout(&"now".to_owned(), 0, SECOND).await.unwrap();
    assert_eq!(urgent.get_many(3).await.unwrap(), strings(["now", "soon", "later"]));

    let numbers = manager.queue::<u64>("numbers").await.unwrap();
    numbers.put(1).await.unwrap();
    numbers.put(&2).await.unwrap();
    numbers.put_many([3, 4]).await.unwrap();
    numbers.put_many(&[5, 6]).await.unwrap();
    numbers.put_many(7..9).await.unwrap();
    numbers.put(&"9".parse().unwrap()).await.unwrap();
    assert_eq!(numbers.get_many(9).await.unwrap(), (1..=9).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_dict_takes_entries_as_a_hash_map_does() {
    let manager = Manager::start().await.unwrap();
    let dict = manager.dict::<String, u64>("dict").await.unwrap();
    dict.insert("a", 1).await.unwrap();
    dict.insert("a", &1).await.unwrap();
    assert_eq!(dict.get_or_insert("b", 2).await.unwrap(), 2);
    assert_eq!(dict.add("b", 1).await.unwrap(), 3);
    assert_eq!(dict.compare_and_swap("b", Some(&3), Some(&2)).await.unwrap(), (true, Some(2)));

    let map = HashMap::from([("c".to_owned(), 3)]);
    dict.extend(map.iter()).await.unwrap();
    dict.extend(&map).await.unwrap();
    dict.extend(map.iter().map(|(key, value)| (key.as_str(), *value))).await.unwrap();
    dict.extend(map).await.unwrap();
    let pairs = vec![("d".to_owned(), 4)];
    dict.extend(&pairs).await.unwrap();
    dict.extend(&[("d", 4)]).await.unwrap();
    dict.extend(pairs).await.unwrap();
    dict.extend([("e", 5)]).await.unwrap();
    dict.add_many([("e", 1)]).await.unwrap();
    dict.add_many(&BTreeMap::from([("e".to_owned(), 1)])).await.unwrap();
    dict.from_keys(["f", "g"], 0).await.unwrap();
    dict.from_keys(&strings(["g"]), &1).await.unwrap();
    let items: Vec<(String, u64)> = dict.items().await.unwrap();
    let expected = [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 7), ("f", 0), ("g", 1)];
    assert_eq!(items, expected.map(|(key, n)| (key.to_owned(), n)));

    let nested = manager.dict::<u8, Vec<u64>>("nested").await.unwrap();
    nested.insert(&1, vec![1]).await.unwrap();
    nested.insert(&2, &vec![1]).await.unwrap();
    nested.insert(&3, [1]).await.unwrap();
    nested.insert(&4, &[1]).await.unwrap();
    nested.insert(&5, &[0, 1][1..]).await.unwrap();
    assert_eq!(nested.values().await.unwrap(), vec![vec![1]; 5]);
}

#[tokio::test]
async fn the_others_take_values_owned_and_borrowed() {
    let manager = Manager::start().await.unwrap();
    let list = manager.list::<String>("list").await.unwrap();
    list.push("b").await.unwrap();
    list.push(&"b".to_owned()).await.unwrap();
    list.set(-1, "c".to_owned()).await.unwrap();
    list.insert(0, "a").await.unwrap();
    list.extend(["d"]).await.unwrap();
    list.extend(&strings(["e"])).await.unwrap();
    list.set_slice(3.., ["D", "E"]).await.unwrap();
    assert_eq!(list.copy().await.unwrap(), ["a", "b", "c", "D", "E"]);

    let paths = manager.list::<PathBuf>("paths").await.unwrap();
    paths.push(Path::new("a")).await.unwrap();
    assert_eq!(paths.get(0).await.unwrap(), Path::new("a"));
    let texts = manager.list::<Box<str>>("texts").await.unwrap();
    texts.push("a").await.unwrap();
    assert_eq!(&*texts.get(0).await.unwrap(), "a");

    let set = manager.set::<String>("set").await.unwrap();
    set.extend(["a", "b"]).await.unwrap();
    set.extend(&strings(["c"])).await.unwrap();
    set.extend(strings(["d"])).await.unwrap();
    assert_eq!(set.difference::<Vec<_>>(["a", "b"]).await.unwrap(), ["c", "d"]);

    let value = manager.value("value", &1).await.unwrap();
    value.set(2).await.unwrap();
    value.set(&2).await.unwrap();
    assert_eq!(value.swap(3).await.unwrap(), 2);
    assert_eq!(value.add(1).await.unwrap(), 4);
    assert_eq!(value.compare_and_swap(&4, 5).await.unwrap(), (true, 5));

    let namespace = manager.namespace("namespace").await.unwrap();
    namespace.set("title", "Spring").await.unwrap();
    namespace.set("depth", 3).await.unwrap();
    namespace.set("sizes", &[1, 2]).await.unwrap();
    let expected = json!({"title": "Spring", "depth": 3, "sizes": [1, 2]});
    assert_eq!(namespace.snapshot::<Value>().await.unwrap(), expected);

    let (first, second) = manager.pipe::<String, u64>("pipe").await.unwrap().ends();
    first.send("a").await.unwrap();
    first.try_send("b".to_owned()).await.unwrap();
    first.send_timeout(&"c".to_owned(), SECOND).await.unwrap();
    second.send(1).await.unwrap();
    assert_eq!(second.receive().await.unwrap(), "a");
    assert_eq!(first.receive().await.unwrap(), 1);
}

#[tokio::test]
async fn a_proxy_is_taken_owned_and_borrowed() {
    let manager = Manager::start().await.unwrap();
    let teams = manager.dict::<String, List<String>>("teams").await.unwrap();
    let red = manager.list(Unnamed).await.unwrap();
    red.push("alice").await.unwrap();
    teams.insert("red", &red).await.unwrap();
    teams.insert("crimson", red.clone()).await.unwrap();
    teams.extend([("scarlet", &red)]).await.unwrap();
    for team in teams.values().await.unwrap() {
        assert_eq!(team, red);
        assert_eq!(team.copy().await.unwrap(), ["alice"]);
    }
    // Tasks may go to another thread while they hold what they send.
    let sent: Dict<String, List<String>> = teams.clone();
    let task = tokio::spawn(async move { sent.insert("rose", red).await });
    task.await.unwrap().unwrap();
}

#[test]
fn a_thread_sends_values_owned_and_borrowed() {
    let manager = blocking::Manager::start().unwrap();
    let queue = manager.queue::<String>("queue").open().unwrap();
    let text = "b".to_owned();
    queue.put("a").unwrap();
    queue.put(&text).unwrap();
    queue.try_put("c".to_owned()).unwrap();
    queue.put_with_priority("d", 1).unwrap();
    queue.put_many(vec!["e".to_owned()]).unwrap();
    queue.put_many(["f"]).unwrap();
    assert_eq!(queue.get_many(9).unwrap(), ["a", "b", "c", "d", "e", "f"]);

    let dict = manager.dict::<String, u64>("dict").open().unwrap();
    let one: &u64 = &1;
    dict.insert("a", one).unwrap();
    dict.insert("a", 1).unwrap();
    let map = HashMap::from([("b".to_owned(), 2)]);
    dict.extend(map.iter()).unwrap();
    dict.extend(map).unwrap();
    dict.add_many([("b", 1)]).unwrap();
    dict.from_keys(["c"], 5).unwrap();
    assert_eq!(dict.values().unwrap(), [1, 3, 5]);

    let list = manager.list::<String>("list").open().unwrap();
    list.push("a").unwrap();
    list.extend(["b", "c"]).unwrap();
    list.set(0, "A".to_owned()).unwrap();
    list.set_slice(1.., ["B"]).unwrap();
    assert_eq!(list.copy().unwrap(), ["A", "B"]);

    let set = manager.set::<String>("set").open().unwrap();
    set.extend(["a"]).unwrap();
    let value = manager.value("value", &String::new()).open().unwrap();
    value.set("a").unwrap();
    assert_eq!(value.swap("b").unwrap(), "a");
    manager.namespace("namespace").open().unwrap().set("depth", 3).unwrap();
    let (first, second) = manager.pipe::<String, u64>("pipe").open().unwrap().ends();
    first.send("a").unwrap();
    assert_eq!(second.receive().unwrap(), "a");
}
