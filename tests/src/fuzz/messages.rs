//! Messages, as they come from a connection.

use std::fmt::Debug;

use mp_manager_proto::{
    handshake::{Binding, Transcript},
    v1::{
        Beat, Challenge, ClientFrame, HandshakeRequest, HandshakeResponse, Hello, ServerFrame,
        Welcome, handshake_request, handshake_response,
    },
};
use prost::Message;

use super::generate::Source;

const KEY: &[u8] = b"key";

/// What a client says in its session.
pub fn client_frames(data: &[u8]) {
    message::<ClientFrame>("ClientFrame", data);
    message::<Beat>("Beat", data);
}

/// What the server says in a session.
pub fn server_frames(data: &[u8]) {
    message::<ServerFrame>("ServerFrame", data);
}

/// What both sides say before there is a session, and their proofs.
pub fn handshakes(data: &[u8]) {
    use {handshake_request::Step as Said, handshake_response::Step as Answered};
    let said = message::<HandshakeRequest>("HandshakeRequest", data).and_then(|said| said.step);
    let answered = message::<HandshakeResponse>("HandshakeResponse", data);
    match (said, answered.and_then(|answered| answered.step)) {
        (Some(Said::Hello(hello)), _) => proves_what_was_said(&hello, data),
        (_, Some(Answered::Welcome(welcome))) => proves_its_welcome(welcome),
        _ => {}
    }
}

/// If the first byte is even the rest is the message; else the message is made from the rest, as
/// random bytes rarely are one with much in it. What was accepted is read as it is written.
fn message<M: Message + Default + PartialEq + Debug>(name: &str, data: &[u8]) -> Option<M> {
    let mut source = Source(data);
    let is_made = source.byte() % 2 == 1;
    let made = is_made.then(|| source.message(name));
    let read = M::decode(made.as_deref().unwrap_or(source.0));
    assert!(!is_made || read.is_ok(), "what was made is no {name}: {read:?}");
    let message = read.ok()?;
    let written = message.encode_to_vec();
    assert_eq!(written.len(), message.encoded_len());
    assert!(M::decode(&written[..]).is_ok_and(|read| read == message), "{message:?}");
    Some(message)
}

/// A proof holds for what was said, and for nothing that differs from it.
fn proves_what_was_said(hello: &Hello, data: &[u8]) {
    let challenge = Challenge { version: 1, ..Challenge::default() };
    let transcript = |hello| Transcript::new(hello, &challenge, &Binding::None);
    let proof = transcript(hello).client_proof(KEY);
    assert!(transcript(hello).verify_client(KEY, &proof));
    assert!(!transcript(hello).verify_resume(KEY, &proof));
    assert!(transcript(hello).verify_resume(KEY, &transcript(hello).resume_proof(KEY)));
    let Some(other) = changed(hello, data) else { return };
    assert_eq!(transcript(&other).verify_client(KEY, &proof), same(hello, &other), "{other:?}");
}

fn proves_its_welcome(mut welcome: Welcome) {
    let transcript = Transcript::new(&Hello::default(), &Challenge::default(), &Binding::None);
    assert!(!transcript.verify_server(KEY, b"", &welcome), "the proof was guessed");
    welcome.proof = transcript.server_proof(KEY, b"", &welcome).into();
    assert!(transcript.verify_server(KEY, b"", &welcome));
    welcome.session ^= 1;
    assert!(!transcript.verify_server(KEY, b"", &welcome));
}

/// The same message with one byte changed, if it is still one.
fn changed<M: Message + Default>(message: &M, data: &[u8]) -> Option<M> {
    let mut bytes = message.encode_to_vec();
    let (&[at, change], _) = data.split_last_chunk().map(|(rest, last)| (last, rest))?;
    let at = usize::from(at) % bytes.len().max(1);
    *bytes.get_mut(at)? ^= change;
    M::decode(&bytes[..]).ok()
}

/// Whether two say the same: nothing, and a message with nothing in it, are the same.
fn same(a: &Hello, b: &Hello) -> bool {
    let said = |hello: &Hello| Hello {
        resume: Some(hello.resume.unwrap_or_default()),
        process: Some(hello.process.clone().unwrap_or_default()),
        ..hello.clone()
    };
    said(a) == said(b)
}
