//! Other clients can store what is no MessagePack. It is printed as its bytes, and hides nothing else.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, os::unix::fs::PermissionsExt};

use bytes::Bytes;
use mp_manager_proto::v1::{
    Entry, Kind, ListOp, QueueItem, QueueOp, Value, dict_op, list_op, queue_op, request,
};
use mp_manager_tests::{AUTHKEY, TestServer, raw::RawSession};

use crate::fixture::{Finished, Home};

const UNDECODABLE: i32 = 65;

/// A manager that has a dict, a list and a queue with two values that can be decoded, and between them one
/// that cannot.
struct Stored {
    home: Home,
    server: TestServer,
}

impl Stored {
    fn new() -> Self {
        let (home, server) = (Home::new(), TestServer::start());
        fs::write(home.path("authkey"), AUTHKEY).unwrap();
        fs::set_permissions(home.path("authkey"), fs::Permissions::from_mode(0o600)).unwrap();
        let address = server.address();
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let mut session = RawSession::start(&address).await;
            let scores = session.open(Some("d"), Kind::Dict, None).await.unwrap();
            let list = session.open(Some("l"), Kind::List, None).await.unwrap();
            let jobs = session.open(Some("q"), Kind::Queue, None).await.unwrap();
            for (key, data) in [(1, &[1][..]), (2, &[0xc1, 0xff]), (3, &[3])] {
                let value = || Value { data: Bytes::from_static(data), refs: Vec::new() };
                let entry = Entry { key: vec![key].into(), value: Some(value()) };
                let insert = dict_op::Op::Insert(entry);
                let insert = mp_manager_proto::v1::DictOp { op: Some(insert) };
                session.ask(scores, request::Op::Dict(insert)).await.unwrap();
                let push = ListOp { op: Some(list_op::Op::Push(value())) };
                session.ask(list, request::Op::List(push)).await.unwrap();
                let item = QueueItem { value: Some(value()), priority: None };
                let put = QueueOp { op: Some(queue_op::Op::Put(item)) };
                session.ask(jobs, request::Op::Queue(put)).await.unwrap();
            }
        });
        Self { home, server }
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        let address = self.server.address();
        let to_it = ["--address", &address, "--authkey-file", "authkey"];
        self.home.run(&[arguments, &to_it].concat())
    }
}

#[test]
fn a_value_that_cannot_be_decoded_is_printed_as_its_bytes_beside_the_others() {
    let stored = Stored::new();
    let mark = r#"{"$undecodable":"c1ff"}"#;
    for (arguments, printed) in [
        (&["dict", "items", "d"][..], format!("KEY  VALUE\n1    1\n2    {mark}\n3    3\n")),
        (&["dict", "get", "d", "2"], format!("{mark}\n")),
        (&["list", "items", "l"], format!("1\n{mark}\n3\n")),
        (&["list", "items", "l", "--output", "json"], format!("[1,{mark},3]\n")),
        (&["list", "get", "l", "1"], format!("{mark}\n")),
    ] {
        let finished = stored.run(arguments);
        assert_eq!(
            (finished.code, &finished.stdout),
            (Some(UNDECODABLE), &printed),
            "{finished:?}"
        );
        assert!(
            finished.stderr.contains("1 of the values printed cannot be decoded"),
            "{finished:?}"
        );
    }
    assert_eq!(stored.run(&["dict", "get", "d", "3"]).printed(), "3\n");
}

#[test]
fn an_item_that_cannot_be_decoded_is_taken_and_printed() {
    let stored = Stored::new();
    assert_eq!(stored.run(&["queue", "get", "q"]).printed(), "1\n");
    let finished = stored.run(&["queue", "get", "q"]);
    assert_eq!(finished.code, Some(UNDECODABLE), "{finished:?}");
    assert_eq!(finished.stdout, "{\"$undecodable\":\"c1ff\"}\n");
    assert_eq!(stored.run(&["queue", "get", "q"]).printed(), "3\n");
}
