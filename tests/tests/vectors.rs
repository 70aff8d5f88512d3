//! The test vectors of docs/protocol.md: what they say is what this library does. They were made by the
//! client in tests/foreign, which shares nothing with it.

#![expect(clippy::unwrap_used, reason = "what a vector does not have fails its test")]

use std::{fs, path::Path};

use mp_manager_proto::{
    authkey::Authkey,
    handshake::{Binding, Transcript},
    key,
    v1::{Beat, Challenge, ClientFrame, Hello, ServerFrame, Welcome},
    value,
};
use prost::Message;
use serde_json::Value;

/// The cases of a file, of which there are some.
fn vectors(name: &str) -> Value {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/vectors");
    serde_json::from_slice(&fs::read(directory.join(name)).unwrap()).unwrap()
}

fn cases(vectors: &Value) -> impl Iterator<Item = &Value> {
    let cases = vectors.as_array().unwrap();
    assert!(!cases.is_empty());
    cases.iter()
}

fn unhex(text: &Value) -> Vec<u8> {
    let digits = text.as_str().unwrap().as_bytes();
    let (pairs, []) = digits.as_chunks::<2>() else { panic!("{text} is not hexadecimal") };
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.iter().map(byte).collect()
}

fn decoded<M: Message + Default>(case: &Value, name: &str) -> M {
    let bytes = unhex(&case[name]);
    let message = M::decode(&bytes[..]).unwrap();
    assert_eq!(message.encode_to_vec(), bytes, "{case}");
    message
}

#[test]
fn authkeys_are_read_as_the_vectors_have_them() {
    for case in cases(&vectors("authkeys.json")) {
        let text = unhex(&case["text"]);
        let expected = case["authkeys"].as_array();
        let expected: Option<Vec<Authkey>> =
            expected.map(|all| all.iter().map(|one| Authkey::new(unhex(one))).collect());
        let read = match case["from"].as_str().unwrap() {
            "file" => Authkey::list_from_file(&text).ok(),
            _ => Some(Authkey::list_from_text(&text)),
        };
        assert_eq!(read, expected, "{case}");
    }
}

#[test]
fn weak_authkeys_are_stretched_as_the_vectors_have_it() {
    for case in cases(&vectors("argon2id.json")) {
        let server_id = case["server_id"].as_str().unwrap().parse().unwrap();
        let stretched = Authkey::new(unhex(&case["authkey"])).stretched(server_id);
        assert_eq!(stretched.secret(), unhex(&case["stretched"]), "{case}");
    }
}

fn binding(case: &Value) -> Binding {
    let bound: Vec<Vec<u8>> = cases(&case["bound_to"]).map(unhex).collect();
    match (&bound[0][..], &bound[1..]) {
        (b"none", []) => Binding::None,
        (b"unix", []) => Binding::Unix,
        (b"tls", [certificate, exporter]) => Binding::Tls {
            certificate: certificate[..].try_into().unwrap(),
            exporter: exporter[..].try_into().unwrap(),
        },
        (b"tls-server-end-point", [certificate]) => {
            Binding::Certificate(certificate[..].try_into().unwrap())
        }
        _ => panic!("bound to what? {case}"),
    }
}

#[test]
fn proofs_are_those_of_the_vectors() {
    for case in cases(&vectors("handshake.json")) {
        let (hello, challenge): (Hello, Challenge) =
            (decoded(case, "hello"), decoded(case, "challenge"));
        let welcome: Welcome = decoded(case, "welcome");
        let (secret, resume_secret) = (unhex(&case["secret"]), unhex(&case["resume_secret"]));
        let transcript = Transcript::new(&hello, &challenge, &binding(case));
        let proof = transcript.client_proof(&secret);
        assert_eq!(proof, unhex(&case["client_proof"]), "{case}");
        assert_eq!(transcript.resume_proof(&resume_secret), unhex(&case["resume_proof"]), "{case}");
        assert!(transcript.verify_server(&secret, &proof, &welcome), "{case}");
    }
}

#[test]
fn keys_have_the_form_of_the_vectors() {
    let vectors = vectors("keys.json");
    for case in cases(&vectors["canonical"]) {
        assert!(key::check(&unhex(&case["key"])).is_ok(), "{case}");
        for other in case["not_canonical"].as_array().unwrap() {
            assert!(value::check(&unhex(other)).is_ok(), "{other} in {case}");
            assert!(key::check(&unhex(other)).is_err(), "{other} in {case}");
        }
    }
    for case in cases(&vectors["no_keys"]) {
        assert!(key::check(&unhex(&case["bytes"])).is_err(), "{case}");
    }
}

#[test]
fn frames_have_the_bytes_of_the_vectors() {
    for case in cases(&vectors("frames.json")) {
        match case["message"].as_str().unwrap() {
            "ClientFrame" => drop(decoded::<ClientFrame>(case, "bytes")),
            "ServerFrame" => drop(decoded::<ServerFrame>(case, "bytes")),
            "Beat" => assert_eq!(decoded::<Beat>(case, "bytes").number, 3),
            other => panic!("what is a {other}?"),
        }
    }
}
