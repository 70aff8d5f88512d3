//! Values that are not what they seem: they are carried, and whoever reads them is told.

use bytes::Bytes;
use mp_manager::{Dict, Error, Manager, Unnamed};
use mp_manager_proto::v1::{
    Combination, DictAdd, DictAddMany, DictCompareAndSwap, DictGetMany, Empty, Entries, Entry,
    Keys, Kind, Reason, Ref, Relation, Release, SetCombine, SetCompare, SetOp, SetOperand, Value,
    dict_op, directory_op, reply, request, set_op,
};
use mp_manager_tests::{AUTHKEY, TestServer, raw::RawSession, within};

use crate::{Innocent, dict};

/// `"k"`
const KEY: &[u8] = &[0xa1, b'k'];

#[tokio::test]
async fn a_value_cannot_refer_to_what_is_not_there() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let mut session = RawSession::start(&server.address()).await;
    let scores = session.open(Some("scores"), Kind::Dict, None).await.unwrap();
    let server_id = server_id(&mut session).await;
    let reference = |server, kind: Kind, object| Ref { server, kind: kind.into(), object };
    let bad = [
        reference(server_id, Kind::Dict, scores + 1000),
        reference(server_id, Kind::Dict, 0),
        reference(server_id, Kind::Dict, u64::MAX),
        // Another manager's, and one that is no dict.
        reference(server_id ^ 1, Kind::Dict, scores),
        reference(server_id, Kind::List, scores),
        Ref { server: server_id, kind: 99, object: scores },
    ];
    for bad in bad {
        let good = reference(server_id, Kind::Dict, scores);
        let refusal = session.ask(scores, insert(&[1], vec![good, bad])).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::ObjectNotFound, "{refusal}");
        assert!(refusal.message.contains(&format!("object {}", bad.object)), "{refusal}");
    }
    assert_eq!(session.ask(scores, len()).await.unwrap(), reply::Result::Number(0));
    innocent.is_undisturbed().await;
}

/// References without a proxy in the bytes, and proxies in the bytes without a reference.
#[tokio::test]
async fn what_a_value_says_it_refers_to_need_not_be_in_it() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let mut session = RawSession::start(&server.address()).await;
    let scores = session.open(Some("scores"), Kind::Dict, None).await.unwrap();
    let team = session.open(None, Kind::Dict, None).await.unwrap();
    let server_id = server_id(&mut session).await;
    let numbers = innocent.manager.dict::<String, u64>("scores").await.unwrap();
    let teams = innocent.manager.dict::<String, Dict<String, u64>>("scores").await.unwrap();

    let many = vec![Ref { server: server_id, kind: Kind::Dict.into(), object: team }; 1000];
    session.ask(scores, insert(&[1], many)).await.unwrap();
    assert_eq!(numbers.get("k").await.unwrap(), Some(1));
    assert!(matches!(teams.get("k").await, Err(Error::Decode { .. })));

    session.ask(scores, insert(&proxy(server_id, team), vec![])).await.unwrap();
    let read = teams.get("k").await.unwrap().unwrap();
    read.insert("alice", &1).await.unwrap();
    // Nothing but this session's own hold keeps it.
    drop(session);
    let error = within(async {
        loop {
            if let Err(error) = read.get("alice").await {
                return error;
            }
        }
    })
    .await;
    assert!(matches!(error, Error::ObjectNotFound(_)), "{error:?}");
    drop(read);
    let read = teams.get("k").await.unwrap().unwrap();
    assert!(matches!(read.get("alice").await, Err(Error::ObjectNotFound(_))));
    innocent.is_undisturbed().await;
}

#[tokio::test]
async fn a_proxy_of_another_manager_cannot_be_read() {
    let server = TestServer::start();
    let mut session = RawSession::start(&server.address()).await;
    let scores = session.open(Some("scores"), Kind::Dict, None).await.unwrap();
    let server_id = server_id(&mut session).await;
    let manager = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
    let teams = manager.dict::<String, Dict<String, u64>>("scores").await.unwrap();
    let mut truncated = proxy(server_id, scores);
    truncated.pop();
    truncated[1] -= 1;
    let mut another_kind = proxy(server_id, scores);
    another_kind[11] = 2;
    for bad in [proxy(server_id ^ 1, scores), another_kind, truncated, vec![0xc7, 0, 1]] {
        session.ask(scores, insert(&bad, vec![])).await.unwrap();
        let Err(Error::Decode { bytes, .. }) = teams.get("k").await else { panic!("{bad:?}") };
        assert_eq!(bytes, bad);
    }
}

#[tokio::test]
async fn nobody_can_let_go_of_what_others_hold() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let team = innocent.manager.dict::<String, u64>(Unnamed).await.unwrap();
    team.insert("alice", &1).await.unwrap();
    let mut session = RawSession::start(&server.address()).await;
    for object in 0..100 {
        let release = Release { object, count: u64::MAX };
        let refused = session.directory(directory_op::Op::Release(release)).await.unwrap_err();
        assert_eq!(refused.reason(), Reason::BoundExceeded, "{refused}");
    }
    assert_eq!(team.get("alice").await.unwrap(), Some(1));
    innocent.is_undisturbed().await;
}

/// Bytes that are no value at all.
#[tokio::test]
async fn garbage_is_carried_and_comes_back_in_the_error() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let mut session = RawSession::start(&server.address()).await;
    let scores = session.open(Some("scores"), Kind::Dict, None).await.unwrap();
    let numbers = innocent.manager.dict::<String, u64>("scores").await.unwrap();
    let deep = [vec![0x91; 100_000], vec![1]].concat();
    let lying = vec![0xdd, 0xff, 0xff, 0xff, 0xff];
    for garbage in [vec![], vec![0xc1], vec![1, 1], lying, deep] {
        session.ask(scores, insert(&garbage, vec![])).await.unwrap();
        let error = numbers.get("k").await.unwrap_err();
        let Error::Decode { bytes, .. } = error else { panic!("{error:?}") };
        assert_eq!(bytes, garbage);
        // What needs to look inside says that it cannot.
        let add = DictAdd { key: KEY.into(), delta: Some(Value::default()), sum_type: 0 };
        let added = session.ask(scores, dict(dict_op::Op::Add(add))).await;
        assert_eq!(added.unwrap_err().reason(), Reason::TypeMismatch);
    }
    innocent.is_undisturbed().await;
}

/// Two keys that look the same would be two entries. What is no key is refused wherever one is said, by the
/// rule and with the key as it has to be.
#[tokio::test]
async fn a_key_has_one_form() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let mut session = RawSession::start(&server.address()).await;
    let scores = session.open(Some("scores"), Kind::Dict, None).await.unwrap();
    let names = session.open(Some("names"), Kind::Set, None).await.unwrap();
    let value = || Some(Value { data: vec![1].into(), refs: Vec::new() });
    let keys: [(&[u8], &str); 5] = [
        (
            b"\xd3\0\0\0\0\0\0\0\x01",
            "0xd30000000000000001 is not canonical MessagePack, which is 0x01",
        ),
        (b"\xd9\x01k", "0xd9016b is not canonical MessagePack, which is 0xa16b"),
        (b"\xc1", "0xc1 cannot be one"),
        (b"\xa2k", "0xa26b cannot be one"),
        (b"\xa1\xff", "UTF-8"),
    ];
    for (key, why) in keys {
        let key = || Bytes::from_static(key);
        let entry = || Entry { key: key(), value: value() };
        let cas = DictCompareAndSwap { key: key(), replacement: value(), expected: None };
        let many = DictGetMany { keys: vec![KEY.into(), key()], partial: true };
        let add = DictAdd { key: key(), delta: value(), sum_type: 0 };
        let add_many = DictAddMany { entries: vec![entry()], sum_type: 0 };
        let on_dict = [
            dict_op::Op::Get(key()),
            dict_op::Op::Insert(entry()),
            dict_op::Op::Contains(key()),
            dict_op::Op::Remove(key()),
            dict_op::Op::GetOrInsert(entry()),
            dict_op::Op::Extend(Entries { entries: vec![entry()] }),
            dict_op::Op::CompareAndSwap(cas),
            dict_op::Op::GetMany(many),
            dict_op::Op::RemoveMany(Keys { keys: vec![KEY.into(), key()] }),
            dict_op::Op::Add(add),
            dict_op::Op::AddMany(add_many),
        ];
        let other = || Some(SetOperand { object: 0, elements: vec![key()] });
        let combine = |in_place| {
            let combination = Combination::Union.into();
            set_op::Op::Combine(SetCombine { combination, other: other(), in_place })
        };
        let compare = SetCompare { relation: Relation::Disjoint.into(), other: other() };
        let on_set = [
            set_op::Op::Add(key()),
            set_op::Op::Remove(key()),
            set_op::Op::Discard(key()),
            set_op::Op::Contains(key()),
            combine(false),
            combine(true),
            set_op::Op::Compare(compare),
        ];
        let on_set = on_set.map(|op| (names, request::Op::Set(SetOp { op: Some(op) })));
        for (object, op) in on_dict.map(|op| (scores, dict(op))).into_iter().chain(on_set) {
            let refusal = within(session.ask(object, op.clone())).await.expect_err(why);
            assert_eq!(refusal.reason(), Reason::InvalidArgument, "{op:?}: {refusal}");
            assert!(refusal.message.contains(why), "{op:?}: {refusal}");
            assert!(refusal.hint.contains("fewest bytes"), "{op:?}: {refusal}");
        }
    }
    assert_eq!(session.ask(scores, len()).await.unwrap(), reply::Result::Number(0));
    innocent.is_undisturbed().await;
}

async fn server_id(session: &mut RawSession) -> u64 {
    match session.directory(directory_op::Op::Statistics(Empty {})).await {
        Ok(reply::Result::Inspection(inspection)) => inspection.statistics.unwrap().server_id,
        other => panic!("expected statistics, got {other:?}"),
    }
}

/// The encoding of a dict's proxy.
fn proxy(server: u64, object: u64) -> Vec<u8> {
    let kind = u8::try_from(i32::from(Kind::Dict)).unwrap();
    [&[0xc7, 18, 1][..], &server.to_be_bytes(), &[kind], &object.to_be_bytes(), &[0]].concat()
}

fn insert(data: &[u8], refs: Vec<Ref>) -> request::Op {
    let value = Value { data: Bytes::copy_from_slice(data), refs };
    dict(dict_op::Op::Insert(Entry { key: KEY.into(), value: Some(value) }))
}

fn len() -> request::Op {
    dict(dict_op::Op::Len(Empty {}))
}
