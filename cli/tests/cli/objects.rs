use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    process::Stdio,
};

use mp_manager::{
    Error, Unnamed,
    blocking::{Lock, Manager},
};

use crate::fixture::{Daemon, finish};

#[test]
fn a_dict_keeps_what_it_is_given() {
    let daemon = Daemon::start();
    for value in [r#"{"b":[1,2.5,null],"a":"é"}"#, "-3", "18446744073709551615", r#""text""#] {
        daemon.run(&["dict", "set", "scores", "alice", value]).printed();
        let got = daemon.run(&["dict", "get", "scores", "alice"]).printed();
        assert_eq!(got, format!("{value}\n"));
    }
    daemon.run(&["dict", "set", "scores", "1", "10"]).printed();
    assert_eq!(daemon.run(&["dict", "add", "scores", "1", "-4"]).printed(), "6\n");
    assert_eq!(daemon.run(&["dict", "len", "scores"]).printed(), "2\n");
    daemon.run(&["dict", "del", "scores", "alice"]).printed();
    assert_eq!(
        daemon.run(&["dict", "items", "scores", "--output", "json"]).printed(),
        "[{\"key\":1,\"value\":6}]\n"
    );
}

#[test]
fn keys_that_look_like_numbers_are_not_confused() {
    let daemon = Daemon::start();
    for (key, value) in [("1443e5", "1"), ("14430e4", "2"), ("1.10", "3"), ("1.1", "4")] {
        daemon.run(&["dict", "set", "h", key, value]).printed();
    }
    assert_eq!(daemon.run(&["dict", "get", "h", "1443e5"]).printed(), "1\n");
    assert_eq!(daemon.run(&["dict", "get", "h", "1.10", "--raw"]).printed(), "3\n");
    let keys = r#"[{"key":"1443e5","value":1},{"key":"14430e4","value":2},{"key":"1.10","value":3},{"key":1.1,"value":4}]"#;
    let items = daemon.run(&["dict", "items", "h", "--output", "json"]).printed();
    assert_eq!(items, format!("{keys}\n"));
    // A printed key names the same entry again.
    daemon.run(&["dict", "set", "h", "144300000.0", "5"]).printed();
    assert_eq!(daemon.run(&["dict", "get", "h", "144300000.0"]).printed(), "5\n");
    assert_eq!(daemon.run(&["dict", "len", "h"]).printed(), "5\n");
}

#[test]
fn what_is_not_there_has_an_exit_code_of_its_own() {
    let daemon = Daemon::start();
    daemon.run(&["dict", "set", "scores", "alice", "3"]).printed();
    for (arguments, named) in [
        (&["dict", "get", "scores", "bob"][..], "no key bob"),
        (&["dict", "del", "scores", "bob"], "no key bob"),
        (&["dict", "get", "nothing", "bob"], "\"nothing\""),
        (&["list", "items", "nothing"], "\"nothing\""),
        (&["rm", "nothing"], "\"nothing\""),
        (&["inspect", "nothing"], "\"nothing\""),
    ] {
        let error = daemon.run(arguments).failed(3);
        assert!(error.contains(named), "{error}");
    }
    // Looking at it has not created it.
    assert_eq!(daemon.run(&["ls", "not", "--output", "json"]).printed(), "[]\n");
    let error = daemon.run(&["list", "items", "scores"]).failed(1);
    assert!(error.contains("dict"), "{error}");
}

#[test]
fn text_needs_quotes_unless_it_is_raw() {
    let daemon = Daemon::start();
    let error = daemon.run(&["dict", "set", "d", "k", "hello"]).failed(2);
    assert!(error.contains(r#"'"text"'"#) && error.contains("--raw"), "{error}");
    daemon.run(&["dict", "set", "d", "k", "hello", "--raw"]).printed();
    assert_eq!(daemon.run(&["dict", "get", "d", "k"]).printed(), "\"hello\"\n");
    assert_eq!(daemon.run(&["dict", "get", "d", "k", "--raw"]).printed(), "hello\n");
}

#[test]
fn a_value_can_come_from_standard_input() {
    let daemon = Daemon::start();
    let mut set = daemon.command(&["dict", "set", "d", "k", "-"]);
    let mut set = set.stdin(Stdio::piped()).spawn().unwrap();
    set.stdin.take().unwrap().write_all(b"[1,\n2]\n").unwrap();
    assert!(set.wait().unwrap().success());
    assert_eq!(daemon.run(&["dict", "get", "d", "k"]).printed(), "[1,2]\n");
}

#[test]
fn what_json_has_no_word_for_is_printed_all_the_same() {
    let daemon = Daemon::start();
    let authkey = fs::read_to_string(daemon.home.authkey()).unwrap();
    let manager = Manager::connect(&daemon.address, authkey.trim_end()).unwrap();
    let lock = manager.lock("lock").open().unwrap();
    let locks = manager.dict::<String, Lock>("d").open().unwrap();
    locks.insert("proxy", &lock).unwrap();
    let maps = manager.dict::<String, BTreeMap<u8, bool>>("d").open().unwrap();
    maps.insert("map", BTreeMap::from([(1, true)])).unwrap();
    let items = daemon.run(&["dict", "items", "d"]).printed();
    assert!(items.contains(r#"{"$ref":{"kind":"lock","id":"#), "{items}");
    assert!(items.contains(r#"{"1":true}"#), "{items}");
}

#[test]
fn an_object_without_a_name_is_listed_and_removed_by_its_id() {
    let daemon = Daemon::start();
    let authkey = fs::read_to_string(daemon.home.authkey()).unwrap();
    let manager = Manager::connect(&daemon.address, authkey.trim_end()).unwrap();
    let named = manager.lock("lock").open().unwrap();
    let numbers = manager.list::<u64>(Unnamed).open().unwrap();
    numbers.push(7).unwrap();
    let listed = daemon.run(&["ls", "--unnamed", "--output", "json"]).printed();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["kind"], "list");
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    let id = listed[0]["id"].to_string();
    assert!(daemon.run(&["ls", "--unnamed"]).printed().contains(&format!("(id {id})")));

    daemon.run(&["rm", "--id", &id]).printed();
    assert!(matches!(numbers.len(), Err(Error::ObjectNotFound(_))));
    assert_eq!(daemon.run(&["ls", "--unnamed", "--output", "json"]).printed(), "[]\n");
    let error = daemon.run(&["rm", "--id", &id]).failed(3);
    assert!(error.contains(&format!("the id {id}")), "{error}");
    assert_eq!(daemon.run(&["rm"]).code, Some(2));

    // A name is free when its object was removed by the id.
    let objects = manager.list_objects("").unwrap();
    daemon.run(&["rm", "--id", &objects[0].object.to_string()]).printed();
    assert!(!manager.exists("lock").unwrap());
    assert!(named.acquire().is_err());
}

#[test]
fn the_list_of_objects_is_for_people_or_for_programs() {
    let daemon = Daemon::start();
    daemon.run(&["dict", "set", "scores", "alice", "3"]).printed();
    daemon.run(&["event", "set", "ready"]).printed();
    let table = daemon.run(&["ls"]).printed();
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().take(3).collect()).collect();
    assert_eq!(rows, [["NAME", "KIND", "LEN"], ["ready", "event", "1"], ["scores", "dict", "1"]]);

    let json = daemon.run(&["ls", "sco", "--output", "json"]).printed();
    let objects: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(objects.as_array().unwrap().len(), 1);
    assert_eq!(objects[0]["name"], "scores");
    assert_eq!(objects[0]["kind"], "dict");
    assert_eq!(objects[0]["len"], 1);
}

#[test]
fn a_reader_who_has_seen_enough_is_no_error() {
    let daemon = Daemon::start();
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let mut command = daemon.command(&["ls"]);
    let output = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let output = output.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(141), &b""[..]));
}

#[test]
fn a_list_takes_and_gives_in_order() {
    let daemon = Daemon::start();
    for value in ["1", "[2]", "\"three\""] {
        daemon.run(&["list", "push", "l", value]).printed();
    }
    assert_eq!(daemon.run(&["list", "get", "l", "-1"]).printed(), "\"three\"\n");
    daemon.run(&["list", "set", "l", "0", "-1"]).printed();
    assert_eq!(daemon.run(&["list", "items", "l"]).printed(), "-1\n[2]\n\"three\"\n");
    assert_eq!(
        daemon.run(&["list", "items", "l", "--output", "json"]).printed(),
        "[-1,[2],\"three\"]\n"
    );
    assert_eq!(daemon.run(&["list", "pop", "l"]).printed(), "\"three\"\n");
    assert_eq!(daemon.run(&["list", "pop", "l", "0"]).printed(), "-1\n");
    assert_eq!(daemon.run(&["list", "len", "l"]).printed(), "1\n");
    daemon.run(&["list", "get", "l", "7"]).failed(3);
}

#[test]
fn a_set_has_each_element_once() {
    let daemon = Daemon::start();
    for element in ["1", "1", "{\"a\":1}"] {
        daemon.run(&["set", "add", "s", element]).printed();
    }
    assert_eq!(daemon.run(&["set", "items", "s"]).printed(), "1\n{\"a\":1}\n");
    daemon.run(&["set", "contains", "s", "1"]).printed();
    daemon.run(&["set", "del", "s", "1"]).printed();
    daemon.run(&["set", "contains", "s", "1"]).failed(3);
    daemon.run(&["set", "del", "s", "1"]).failed(3);
    assert_eq!(daemon.run(&["set", "len", "s"]).printed(), "1\n");
}

#[test]
fn a_value_can_be_added_to() {
    let daemon = Daemon::start();
    daemon.run(&["value", "get", "v"]).failed(3);
    assert_eq!(daemon.run(&["value", "add", "v", "2"]).printed(), "2\n");
    assert_eq!(daemon.run(&["value", "add", "v", "-5"]).printed(), "-3\n");
    daemon.run(&["value", "set", "v", "\"x\""]).printed();
    assert_eq!(daemon.run(&["value", "get", "v"]).printed(), "\"x\"\n");
    daemon.run(&["value", "add", "v", "1"]).failed(1);
}

#[test]
fn an_event_wakes_who_waits_for_it() {
    let daemon = Daemon::start();
    daemon.run(&["event", "wait", "ready", "--timeout", "0.01"]).failed(75);
    let waiter = daemon.start_command(&["event", "wait", "ready"]);
    daemon.until_waited_for("ready");
    daemon.run(&["event", "set", "ready"]).printed();
    waiter.finish().printed();
    daemon.run(&["event", "clear", "ready"]).printed();
    daemon.run(&["event", "wait", "ready", "--timeout", "0"]).failed(75);
}

#[test]
fn completions_know_the_commands() {
    let daemon = Daemon::start();
    for shell in ["bash", "zsh", "fish"] {
        let script = finish(&mut daemon.home.command(&["completions", shell])).printed();
        assert!(script.contains("keygen") && script.contains("authkey-file"), "{shell}");
    }
}

#[test]
fn a_queue_hands_out_in_order_and_in_time() {
    let daemon = Daemon::start();
    let waiter = daemon.start_command(&["queue", "get", "q"]);
    daemon.until_waited_for("q");
    for value in ["1", "\"two\"", "3"] {
        daemon.run(&["queue", "put", "q", value]).printed();
    }
    assert_eq!(waiter.finish().printed(), "1");
    assert_eq!(daemon.run(&["queue", "peek", "q"]).printed(), "\"two\"\n");
    assert_eq!(daemon.run(&["queue", "get", "q", "--raw"]).printed(), "two\n");
    assert_eq!(daemon.run(&["queue", "len", "q"]).printed(), "1\n");
    assert_eq!(daemon.run(&["queue", "get", "q", "--timeout", "60"]).printed(), "3\n");
    daemon.run(&["queue", "get", "q", "--timeout", "0.01"]).failed(75);
    daemon.run(&["queue", "peek", "q"]).failed(3);
}

#[test]
fn what_cannot_be_printed_stays_in_its_queue() {
    let daemon = Daemon::start();
    daemon.run(&["queue", "put", "q", "1"]).printed();
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let status = daemon.command(&["queue", "get", "q"]).stdout(writer).status().unwrap();
    assert_eq!(status.code(), Some(141));
    assert_eq!(daemon.run(&["queue", "get", "q", "--timeout", "0"]).printed(), "1\n");
}

#[test]
fn a_full_queue_takes_nothing_in_time() {
    let daemon = Daemon::start();
    let authkey = fs::read_to_string(daemon.home.authkey()).unwrap();
    let manager = Manager::connect(&daemon.address, authkey.trim_end()).unwrap();
    manager.queue::<u64>("q").maxsize(1).open().unwrap().put(1).unwrap();
    let error = daemon.run(&["queue", "put", "q", "2", "--timeout", "0"]).failed(75);
    assert!(error.contains("\"q\""), "{error}");
}
