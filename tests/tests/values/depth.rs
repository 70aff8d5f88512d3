//! How deep a value may nest: what is too deep is an error, and never the end of the process.

use std::mem;

use mp_manager::{Error, Manager, Result, blocking};
use mp_manager_proto::v1::Kind;
use mp_manager_tests::{AUTHKEY, TestServer, raw::RawSession};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::insert;

/// Arrays within each other.
fn nested(depth: usize) -> Value {
    (0..depth).fold(Value::Null, |inner, _| Value::Array(vec![inner]))
}

/// A thread with as much stack as a worker of tokio: what overflows it aborts the process.
fn on_a_small_stack(f: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(2 << 20).spawn(f).unwrap().join().unwrap();
}

fn is_too_deep<T: std::fmt::Debug>(result: Result<T>) {
    match result {
        Err(Error::Encode(context)) if context.message.contains("nested deeper than 128") => {}
        other => panic!("expected an error about the depth, got {other:?}"),
    }
}

#[test]
fn a_value_that_nests_too_deep_is_an_error_in_every_object() {
    on_a_small_stack(|| {
        let manager = blocking::Manager::start().unwrap();
        let dict = manager.dict::<String, Value>("dict").open().unwrap();
        let list = manager.list::<Value>("list").open().unwrap();
        let queue = manager.queue::<Value>("queue").open().unwrap();
        let namespace = manager.namespace("namespace").open().unwrap();
        let value = manager.value("value", &Value::Null).open().unwrap();
        let (first, _second) = manager.pipe::<Value, Value>("pipe").open().unwrap().ends();
        for depth in [100_000, 1_023, 129] {
            let deep = nested(depth);
            is_too_deep(dict.insert("k", &deep));
            is_too_deep(list.push(&deep));
            is_too_deep(queue.put(&deep));
            is_too_deep(namespace.set("k", &deep));
            is_too_deep(value.set(&deep));
            is_too_deep(first.send(&deep));
            is_too_deep(manager.value("another", &deep).open());
            // Dropping it would overflow the stack here.
            mem::forget(deep);
        }
        dict.insert("k", nested(128)).unwrap();
        assert_eq!(dict.get("k").unwrap(), Some(nested(128)));
        namespace.set("k", nested(128)).unwrap();
        assert_eq!(namespace.snapshot::<Value>().unwrap(), json!({"k": nested(128)}));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_nests_too_deep_is_an_error_on_a_worker_thread() {
    let manager = Manager::start().await.unwrap();
    let dict = manager.dict::<String, Value>("dict").await.unwrap();
    let worker = tokio::spawn(async move {
        for depth in [100_000, 1_023] {
            let deep = nested(depth);
            is_too_deep(dict.insert("k", &deep).await);
            mem::forget(deep);
        }
    });
    worker.await.unwrap();
}

#[derive(Debug, Serialize, Deserialize)]
enum Expression {
    Zero,
    Not(Box<Expression>),
}

/// The bytes of another client, which nests as deep as it likes.
#[test]
fn reading_what_another_client_nested_too_deep_is_an_error() {
    on_a_small_stack(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = TestServer::start();
            let mut session = RawSession::start(&server.address()).await;
            let object = session.open(Some("shared"), Kind::Dict, None).await.unwrap();
            let manager = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
            let expressions = manager.dict::<String, Expression>("shared").await.unwrap();
            let values = manager.dict::<String, Value>("shared").await.unwrap();
            for depth in [100_000, 1_023, 131] {
                let not = [b"\x81\xa3Not".repeat(depth), b"\xa4Zero".to_vec()].concat();
                session.ask(object, insert(not)).await.unwrap();
                let error = expressions.get("k").await.unwrap_err();
                assert!(matches!(&error, Error::Decode { .. }), "{error:?}");
                assert!(error.to_string().contains("nested deeper than 128"), "{error}");
                let arrays = [vec![0x91; depth], vec![0xc0]].concat();
                session.ask(object, insert(arrays)).await.unwrap();
                let error = values.get("k").await.unwrap_err();
                assert!(error.to_string().contains("nested deeper than 128"), "{error}");
            }
        });
    });
}
