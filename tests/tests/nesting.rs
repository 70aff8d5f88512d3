//! Shared objects inside shared objects: proxies are values, work for whoever reads them, and keep
//! alive what they refer to, for exactly as long as they are somewhere.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

use mp_manager::{Dict, Error, List, Lock, Manager, Unnamed};
use mp_manager_proto::v1::{
    DirectoryOp, Kind, ListOp, Open, Ref, Request, Value, directory_op, list_op, reply, request,
};
use mp_manager_tests::{AUTHKEY, TestServer, raw::RawSession, victim::until, within};
use serde::{Deserialize, Serialize};

type Teams = Dict<String, List<Dict<String, u64>>>;

async fn session(server: &TestServer) -> Manager {
    Manager::connect(&server.address(), AUTHKEY).await.unwrap()
}

/// Waits until there are so many objects; what is dropped is told to the manager without waiting.
async fn objects(manager: &Manager, n: u64) {
    until(async || (manager.statistics().await.unwrap().objects == n).then_some(())).await;
}

/// `teams["red"][0]["alice"] == 3`, and only `teams` has a name.
async fn red_team(manager: &Manager) -> Teams {
    let teams = manager.dict("teams").await.unwrap();
    let red = manager.list(Unnamed).await.unwrap();
    let scores = manager.dict(Unnamed).await.unwrap();
    scores.insert("alice", &3).await.unwrap();
    red.push(&scores).await.unwrap();
    teams.insert("red", &red).await.unwrap();
    teams
}

#[tokio::test]
async fn a_dict_of_lists_of_dicts_is_shared_at_every_level() {
    let server = TestServer::start();
    let (one, two) = (session(&server).await, session(&server).await);
    let teams = red_team(&one).await;

    let read: Teams = two.dict("teams").await.unwrap();
    let scores = read.get("red").await.unwrap().unwrap().get(0).await.unwrap();
    assert_eq!(scores.get("alice").await.unwrap(), Some(3));
    scores.insert("bob", &5).await.unwrap();
    let more = two.dict(Unnamed).await.unwrap();
    more.insert("carol", &8).await.unwrap();
    read.get("red").await.unwrap().unwrap().push(&more).await.unwrap();

    let mut members = Vec::new();
    for scores in teams.get("red").await.unwrap().unwrap().copy().await.unwrap() {
        members.extend(scores.items().await.unwrap());
    }
    let expected = [("alice", 3), ("bob", 5), ("carol", 8)].map(|(name, n)| (name.to_owned(), n));
    assert_eq!(members, expected);
}

#[tokio::test]
async fn what_was_read_works_without_the_session_that_wrote_it() {
    let server = TestServer::start();
    let (one, two) = (session(&server).await, session(&server).await);
    drop(red_team(&one).await);
    one.close().await.unwrap();
    let teams: Teams = two.dict("teams").await.unwrap();
    let scores = teams.get("red").await.unwrap().unwrap().get(0).await.unwrap();
    assert_eq!(scores.get("alice").await.unwrap(), Some(3));
    // It keeps what it came from alive no more than itself.
    teams.clear().await.unwrap();
    objects(&two, 2).await;
    assert_eq!(scores.get("alice").await.unwrap(), Some(3));
    drop(scores);
    objects(&two, 1).await;
}

#[tokio::test]
async fn an_object_without_a_name_lives_as_long_as_something_refers_to_it() {
    let server = TestServer::start();
    let manager = session(&server).await;
    let empty = manager.statistics().await.unwrap().bytes;
    let teams = red_team(&manager).await;
    objects(&manager, 3).await;

    // In two places at once.
    let red = teams.get("red").await.unwrap().unwrap();
    teams.insert("also red", &red).await.unwrap();
    teams.remove("red").await.unwrap();
    drop(red);
    let teams_again: Teams = manager.dict("teams").await.unwrap();
    assert_eq!(teams_again.get("also red").await.unwrap().unwrap().len().await.unwrap(), 1);
    objects(&manager, 3).await;

    // What takes its place lets go of it, and of what it refers to.
    let blue = manager.list(Unnamed).await.unwrap();
    teams.insert("also red", &blue).await.unwrap();
    drop(blue);
    objects(&manager, 2).await;
    manager.delete("teams").await.unwrap();
    drop((teams, teams_again));
    objects(&manager, 0).await;
    // What a session takes is booked in steps, and a little may stay for its next calls.
    let left = manager.statistics().await.unwrap().bytes;
    assert!(left <= empty + 3 * 4096, "{left} bytes are left of {empty}");
}

#[tokio::test]
async fn an_object_on_its_way_is_alive() {
    let server = TestServer::start();
    let (one, two) = (session(&server).await, session(&server).await);
    let jobs = one.queue::<List<u64>>("jobs").await.unwrap();
    let talk = one.pipe::<List<u64>, ()>("talk").await.unwrap();
    let list = one.list(Unnamed).await.unwrap();
    list.push(&7).await.unwrap();
    jobs.put(&list).await.unwrap();
    drop(list);

    let taken = two.queue::<List<u64>>("jobs").await.unwrap();
    let delivery = taken.lease().await.unwrap();
    objects(&one, 3).await;
    delivery.reject().await.unwrap();
    objects(&one, 3).await;
    let list = taken.get().await.unwrap();
    talk.first().send(&list).await.unwrap();
    drop(list);
    two.close().await.unwrap();
    objects(&one, 3).await;
    let list = talk.second().receive().await.unwrap();
    assert_eq!(list.copy().await.unwrap(), [7]);
    drop(list);
    objects(&one, 2).await;
}

#[tokio::test]
async fn an_error_leaves_nothing_behind() {
    let server = TestServer::start();
    let manager = session(&server).await;
    let lists = manager.queue::<List<u64>>("lists").maxsize(1).await.unwrap();
    lists.put(&manager.list(Unnamed).await.unwrap()).await.unwrap();
    let refused = lists.try_put(&manager.list(Unnamed).await.unwrap()).await;
    assert!(matches!(refused, Err(Error::QueueFull(_))), "{refused:?}");
    objects(&manager, 2).await;
    // Neither does one that is read as something it is not.
    let locks = manager.queue::<Lock>("lists").await.unwrap();
    assert!(matches!(locks.get().await, Err(Error::Decode { .. })));
    objects(&manager, 1).await;
}

#[tokio::test]
async fn a_proxy_goes_nowhere_it_does_not_belong() {
    let (here, there) = (TestServer::start(), TestServer::start());
    let (here, there) = (session(&here).await, session(&there).await);
    let list = here.list::<u64>(Unnamed).await.unwrap();
    let lists = there.dict::<String, List<u64>>("lists").await.unwrap();
    let error = lists.insert("foreign", &list).await.unwrap_err();
    assert!(matches!(error, Error::Encode(_)), "{error:?}");
    assert!(error.to_string().contains("of its own manager"), "{error}");
    let by_list = here.dict::<List<u64>, u64>("by list").await.unwrap();
    let error = by_list.insert(&list, &1).await.unwrap_err();
    assert!(matches!(error, Error::Encode(_)), "{error:?}");
}

#[tokio::test]
async fn what_was_deleted_is_gone_for_who_still_refers_to_it() {
    let server = TestServer::start();
    let manager = session(&server).await;
    let lists = manager.dict::<String, List<u64>>("lists").await.unwrap();
    lists.insert("doomed", &manager.list("doomed").await.unwrap()).await.unwrap();
    manager.delete("doomed").await.unwrap();
    let doomed = lists.get("doomed").await.unwrap().unwrap();
    let error = doomed.len().await.unwrap_err();
    assert!(matches!(error, Error::ObjectNotFound(_)), "{error:?}");
    // Another one of the same name is another one.
    let new = manager.list::<u64>("doomed").await.unwrap();
    new.push(&1).await.unwrap();
    assert!(lists.get("doomed").await.unwrap().unwrap().len().await.is_err());
}

/// A list of lists of lists …
#[derive(Serialize, Deserialize)]
struct Node(List<Node>);

/// Nobody can reach a cycle without a name, and nothing looks for one: it stays, and shows.
#[tokio::test]
async fn cycles_stay_and_are_counted() {
    let server = TestServer::start();
    let manager = session(&server).await;
    let one = manager.list::<Node>(Unnamed).await.unwrap();
    let two = manager.list::<Node>(Unnamed).await.unwrap();
    one.push(&Node(two.clone())).await.unwrap();
    two.push(&Node(one.clone())).await.unwrap();
    drop((one, two));
    let alone = manager.list::<u64>(Unnamed).await.unwrap();
    objects(&manager, 3).await;
    drop(alone);
    objects(&manager, 2).await;
    let inspection = manager.inspect(None).await.unwrap();
    let unnamed = inspection.objects.iter().filter(|object| object.name.is_empty()).count();
    assert_eq!((unnamed, inspection.statistics.unwrap().named_objects), (2, 0));

    // One with a name goes when that is deleted.
    let named = manager.list::<Node>("cycle").await.unwrap();
    named.push(&Node(named.clone())).await.unwrap();
    objects(&manager, 3).await;
    manager.delete("cycle").await.unwrap();
    drop(named);
    objects(&manager, 2).await;
}

#[tokio::test]
async fn a_cycle_without_a_name_goes_when_one_of_it_is_deleted() {
    let server = TestServer::start();
    let manager = session(&server).await;
    let one = manager.list::<Node>(Unnamed).await.unwrap();
    let two = manager.list::<Node>(Unnamed).await.unwrap();
    one.push(&Node(two.clone())).await.unwrap();
    two.push(&Node(one.clone())).await.unwrap();
    drop((one, two));
    manager.list::<u64>("named").await.unwrap();

    let unnamed = manager.list_unnamed().await.unwrap();
    let ids: Vec<u64> = unnamed.iter().map(|object| object.object).collect();
    assert_eq!(ids.len(), 2, "{unnamed:?}");
    manager.delete_by_id(ids[0]).await.unwrap();
    objects(&manager, 1).await;
    assert_eq!(manager.list_unnamed().await.unwrap(), []);
    let again = manager.delete_by_id(ids[1]).await.unwrap_err();
    assert!(matches!(again, Error::ObjectNotFound(_)), "{again:?}");
}

/// As with one that has a name: whoever refers to it is told that it is gone.
#[tokio::test]
async fn what_refers_to_a_deleted_object_without_a_name_finds_nothing() {
    let server = TestServer::start();
    let manager = session(&server).await;
    let lists = manager.dict::<String, List<u64>>("lists").await.unwrap();
    lists.insert("doomed", &manager.list::<u64>(Unnamed).await.unwrap()).await.unwrap();
    let id = manager.list_unnamed().await.unwrap()[0].object;
    manager.delete_by_id(id).await.unwrap();
    let doomed = lists.get("doomed").await.unwrap().unwrap();
    let error = doomed.len().await.unwrap_err();
    assert!(matches!(error, Error::ObjectNotFound(_)), "{error:?}");
    assert_eq!(manager.list_unnamed().await.unwrap(), []);
}

#[tokio::test]
async fn a_named_object_that_is_deleted_by_its_id_leaves_its_name() {
    let server = TestServer::start();
    let manager = session(&server).await;
    let first = manager.list::<u64>("list").await.unwrap();
    let id = manager.list_objects("list").await.unwrap()[0].object;
    manager.delete_by_id(id).await.unwrap();
    let second = manager.list::<u64>("list").await.unwrap();
    second.push(&1).await.unwrap();
    // The name belongs to the second one now.
    assert!(manager.delete_by_id(id).await.is_err());
    assert_eq!(manager.list::<u64>("list").existing().await.unwrap().len().await.unwrap(), 1);
    assert!(first.len().await.is_err());
}

#[tokio::test]
async fn objects_without_a_name_are_listed_in_pages() {
    let server = TestServer::start();
    let manager = session(&server).await;
    let mut all = Vec::new();
    for n in 0..2_300 {
        if n % 3 == 0 {
            manager.list::<u64>(format!("list {n}")).await.unwrap();
        }
        all.push(manager.list::<u64>(Unnamed).await.unwrap());
    }
    let unnamed = manager.list_unnamed().await.unwrap();
    assert_eq!(unnamed.len(), all.len());
    assert!(unnamed.is_sorted_by(|a, b| a.object < b.object));
    assert!(unnamed.iter().all(|object| object.name.is_empty()));
}

/// Each refers to the next: dropping them from inside each other would need a stack as deep.
#[tokio::test]
async fn a_chain_of_a_hundred_thousand_is_dropped_link_by_link() {
    const LINKS: u64 = 100_000;
    let server = TestServer::start();
    let manager = session(&server).await;
    let chain = manager.list::<List<()>>("chain").await.unwrap();
    make_chain(&server, LINKS).await;
    objects(&manager, LINKS + 1).await;
    chain.clear().await.unwrap();
    objects(&manager, 1).await;
}

/// Fills the list "chain" with one that has one that has one …
async fn make_chain(server: &TestServer, links: u64) {
    let mut raw = RawSession::start(&server.address()).await;
    let chain = raw.open(Some("chain"), Kind::List, None).await.unwrap();
    let mut last = chain;
    for _ in 0..links / 1000 {
        let opens: Vec<Request> = (0..1000).map(|_| raw.request(0, open_list())).collect();
        raw.send_requests(opens.clone()).await;
        let mut pushes = Vec::new();
        for open in opens {
            let Ok(reply::Result::Opened(opened)) = within(raw.reply(open.seq)).await else {
                panic!("no list")
            };
            let reference = opened.r#ref.unwrap();
            pushes.push(raw.request(last, push(reference)));
            last = reference.object;
        }
        let last_push = pushes[pushes.len() - 1].seq;
        raw.send_requests(pushes).await;
        within(raw.reply(last_push)).await.unwrap();
        raw.acknowledge(last_push).await;
    }
    within(raw.end()).await;
}

fn open_list() -> request::Op {
    let open = Open { kind: Kind::List.into(), ..Open::default() };
    request::Op::Directory(DirectoryOp { op: Some(directory_op::Op::Open(open)) })
}

/// Pushes a value that refers to an object, whatever it looks like.
fn push(reference: Ref) -> request::Op {
    let value = Value { data: vec![0xc0].into(), refs: vec![reference] };
    request::Op::List(ListOp { op: Some(list_op::Op::Push(value)) })
}
