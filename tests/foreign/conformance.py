"""Checks a daemon against docs/protocol.md, as a client in another language sees it.

    conformance.py --daemon target/debug/mp-manager [--only PART OF A NAME]

starts it once for each transport, runs every check over each, and exits with 1 if one fails.
"""

import argparse
import contextlib
import json
import os
import pathlib
import ssl
import struct
import subprocess
import sys
import tempfile
import traceback

import grpc
import msgpack
from google.protobuf import message_factory, text_format

import client
from client import Connection, Refused, Session, key, read, value
from mp.manager.v1 import directory_pb2 as d
from mp.manager.v1 import error_pb2 as e
from mp.manager.v1 import handshake_pb2 as hs
from mp.manager.v1 import session_pb2 as s
from mp.manager.v1 import array_pb2, pool_pb2, queue_pb2, set_pb2
from mp.manager.v1 import value_pb2 as v

VECTORS = pathlib.Path(__file__).resolve().parents[2] / "docs" / "vectors"
AUTHKEY = b"correct horse battery staple"
CHECKS = []
REASONS = e.Reason


def check(function):
    """A check of every transport."""
    CHECKS.append((function, ("tcp", "unix", "tls")))
    return function


def check_of(*transports):
    def register(function):
        CHECKS.append((function, transports))
        return function

    return register


class World:
    """A daemon, as one check sees it: what the check opens is closed after it."""

    def __init__(self, daemon, name):
        self.daemon, self.name, self.opened, self.names = daemon, name, contextlib.ExitStack(), 0

    def connect(self, **options):
        connection = Connection(self.daemon.address, self.daemon.pem, **options)
        self.opened.callback(connection.close)
        return connection

    def session(self, resume=None, secret=b"", seq=0, **hello):
        """A session with all that is known of it."""
        connection = self.connect()
        if resume:
            hello["resume"] = resume
        challenge, welcome = connection.handshake(AUTHKEY, secret, **hello)
        session = Session(connection, seq)
        session.challenge, session.welcome = challenge, welcome
        return session

    def resumed(self, old, first=None, **hello):
        """The same session on another connection; `first` is its first frame."""
        resume = hs.Resume(session=old.welcome.session, epoch=old.challenge.epoch)
        session = self.session(resume, old.welcome.resume_secret, old.seq, **hello)
        assert session.welcome.resumed and session.welcome.session == old.welcome.session
        if first is not None:
            session.send(**first)
        return session

    def new(self, session, kind, name=None, **parameters):
        """The id of a new object."""
        self.names += 1
        name = name or f"{self.name}-{self.names}"
        parameters = d.Parameters(**parameters) if parameters else None
        op = d.Open(name=name, kind=kind, parameters=parameters, mode=d.MODE_CREATE)
        opened = session.call(directory={"open": op})
        session.last_name = name
        return opened.ref.object


def val(x):
    return v.Value(data=value(x))


def reason(expected, function, *arguments, **named):
    """The error that a call is refused with, which must have this reason."""
    try:
        got = function(*arguments, **named)
    except Refused as refused:
        assert refused.error.reason == expected, f"{REASONS.Name(refused.error.reason)}: {refused}"
        assert refused.error.message
        return refused.error
    raise AssertionError(f"{REASONS.Name(expected)} was expected, and there came {got}")


def status(expected, function, *arguments, **named):
    try:
        function(*arguments, **named)
    except grpc.RpcError as error:
        assert error.code() == expected, error.code()
        return
    raise AssertionError(f"{expected} was expected")


def is_ended(session, expected):
    ended, code = session.end()
    assert ended is not None and ended.reason == expected, (ended, code)
    assert code == grpc.StatusCode.OK, code


def vectors(name):
    return json.loads((VECTORS / f"{name}.json").read_text())


# The vectors: the same for all transports


@check_of("tcp")
def authkeys_are_read_as_the_vectors_have_them(_):
    for case in vectors("authkeys"):
        got = client.authkeys(bytes.fromhex(case["text"]), case["from"] == "file")
        expected = case["authkeys"] and [bytes.fromhex(one) for one in case["authkeys"]]
        assert got == expected, (case, got)


@check_of("tcp")
def weak_authkeys_are_stretched_as_the_vectors_have_it(_):
    for case in vectors("argon2id"):
        got = client.stretched(bytes.fromhex(case["authkey"]), int(case["server_id"]))
        assert got.hex() == case["stretched"], case


@check_of("tcp")
def transcripts_and_proofs_are_those_of_the_vectors(_):
    for case in vectors("handshake"):
        hello = hs.Hello.FromString(bytes.fromhex(case["hello"]))
        challenge = hs.Challenge.FromString(bytes.fromhex(case["challenge"]))
        welcome = hs.Welcome.FromString(bytes.fromhex(case["welcome"]))
        secret = bytes.fromhex(case["secret"])
        bound = [bytes.fromhex(part) for part in case["bound_to"]]
        parts = client.transcript(hello, challenge, bound)
        assert [part.hex() for part in parts] == [part["bytes"] for part in case["transcript"]]
        proof = client.mac(secret, "client", parts)
        assert proof.hex() == case["client_proof"], case["name"]
        resume = client.mac(bytes.fromhex(case["resume_secret"]), "resume", parts)
        assert resume.hex() == case["resume_proof"], case["name"]
        whole = parts + client.welcome_parts(hello, proof, welcome)
        assert client.mac(secret, "server", whole) == welcome.proof, case["name"]


@check_of("tcp")
def keys_have_the_form_of_the_vectors(_):
    for case in vectors("keys")["canonical"]:
        # Python has no float32 to read them as.
        if "float32" not in case["name"]:
            for one in [case["key"], *case["not_canonical"]]:
                assert key(read(bytes.fromhex(one))).hex() == case["key"], (case, one)
    for case in vectors("keys")["no_keys"]:
        try:
            key(read(bytes.fromhex(case["bytes"])))
        except ValueError:
            continue
        raise AssertionError(case)


@check_of("tcp")
def frames_have_the_bytes_of_the_vectors(_):
    pool = s.DESCRIPTOR.pool
    for case in vectors("frames"):
        descriptor = pool.FindMessageTypeByName("mp.manager.v1." + case["message"])
        message = message_factory.GetMessageClass(descriptor)()
        text_format.Parse(case["text"], message)
        assert message.SerializeToString(deterministic=True).hex() == case["bytes"], case["name"]


# Getting in


@check
def a_client_gets_in_and_the_server_proves_itself(w):
    session = w.session()
    assert len(session.welcome.resume_secret) >= 16 and session.welcome.session
    assert not session.welcome.resumed and not session.welcome.ephemeral
    assert session.call(directory={"ping": {}}) is not None


@check
def the_limits_are_stated(w):
    limits = w.session().welcome.limits
    assert all(getattr(limits, field.name) for field in limits.DESCRIPTOR.fields), limits
    assert limits.max_server_frame_bytes < 4 << 20, "gRPC takes no more by default"


@check
def another_authkey_is_refused(w):
    reason(e.REASON_AUTHENTICATION_FAILED, w.connect().handshake, b"another authkey, and no other")


@check
def a_range_of_versions_is_agreed_upon_and_proven(w):
    session = w.session(version=3, min_version=1)
    assert session.challenge.version == 1, session.challenge
    reason(e.REASON_UNSUPPORTED_VERSION, w.session, version=3, min_version=2)


@check
def another_version_is_refused_with_both(w):
    error = reason(e.REASON_UNSUPPORTED_VERSION, w.connect().handshake, AUTHKEY, version=99)
    assert "99" in error.message and "1" in error.message.replace("99", ""), error


@check
def a_nonce_has_32_bytes(w):
    reason(e.REASON_PROTOCOL, w.connect().handshake, AUTHKEY, client_nonce=bytes(31))


@check
def a_suite_that_nobody_knows_is_refused(w):
    for suites in ([], [0, 99]):
        reason(e.REASON_UNSUPPORTED_VERSION, w.connect().handshake, AUTHKEY, suites=suites)


@check
def the_stretched_authkey_gets_in(w):
    suites = [hs.SUITE_ARGON2ID_HMAC_SHA256]
    challenge, _ = w.connect().handshake(AUTHKEY, suites=suites)
    assert challenge.suite == hs.SUITE_ARGON2ID_HMAC_SHA256


@check
def a_strong_authkey_is_not_stretched_without_need(w):
    suites = [hs.SUITE_ARGON2ID_HMAC_SHA256, hs.SUITE_HMAC_SHA256]
    challenge, _ = w.connect().handshake(AUTHKEY, suites=suites)
    assert challenge.suite == hs.SUITE_HMAC_SHA256


@check
def a_handshake_begins_with_hello(w):
    for first in (hs.HandshakeRequest(proof={}), hs.HandshakeRequest()):
        answers = w.connect().stub.Handshake(iter([first]))
        reason(e.REASON_PROTOCOL, client.step, answers, "challenge")
        assert next(answers, None) is None


@check
def nothing_but_the_handshake_comes_first(w):
    for method in ("Session", "KeepAlive"):
        answers = getattr(w.connect().stub, method)(iter([]))
        status(grpc.StatusCode.UNAUTHENTICATED, list, answers)


@check
def a_connection_has_one_of_each_stream(w):
    session = w.session()
    stub = session.connection.stub
    hello = hs.HandshakeRequest(hello=session.connection.hello())
    status(grpc.StatusCode.FAILED_PRECONDITION, list, stub.Handshake(iter([hello])))
    status(grpc.StatusCode.FAILED_PRECONDITION, list, stub.Session(iter([])))
    # A stream of beats that has ended leaves its place to another one.
    list(stub.KeepAlive(iter([])))
    answers = beats(session, 1)
    next(answers)
    status(grpc.StatusCode.FAILED_PRECONDITION, list, stub.KeepAlive(iter([])))
    answers.cancel()


@check
def a_lease_is_moved_into_its_range(w):
    for asked, got in ((0, 10_000), (1, 1_000), (2_500, 2_500), (10**9, 300_000)):
        _, welcome = w.connect().handshake(AUTHKEY, lease_ms=asked)
        assert welcome.lease_ms == got, (asked, welcome.lease_ms)


@check
def the_server_is_the_same_on_each_connection(w):
    one, other = w.session(), w.session()
    assert one.challenge.server_id == other.challenge.server_id
    assert one.challenge.epoch == other.challenge.epoch
    assert one.challenge.server_nonce != other.challenge.server_nonce
    assert one.welcome.session != other.welcome.session
    assert one.welcome.resume_secret != other.welcome.resume_secret


@check
def an_unknown_session_becomes_a_new_one(w):
    session = w.session(hs.Resume(session=2**60, epoch=w.session().challenge.epoch), b"secret")
    assert not session.welcome.resumed
    session = w.session(hs.Resume(session=session.welcome.session, epoch=1), b"secret")
    assert not session.welcome.resumed


@check
def who_listens_to_another_binding_is_refused(w):
    reason(e.REASON_AUTHENTICATION_FAILED, w.connect().handshake, AUTHKEY, bound=[b"else"])


@check_of("tls")
def a_proof_for_another_certificate_is_refused(w):
    bound = [b"tls-server-end-point", bytes(32)]
    reason(e.REASON_AUTHENTICATION_FAILED, w.connect().handshake, AUTHKEY, bound=bound)


@check_of("tls")
def the_exporter_comes_first_and_is_not_the_certificate(w):
    for bindings in ([], [hs.BINDING_TLS_EXPORTER], [2, 1]):
        reason(e.REASON_AUTHENTICATION_FAILED, w.connect().handshake, AUTHKEY, bindings=bindings)
    for bindings, taken in (([2], 2), ([1], 1), ([2, 1, 99], 1), ([], 0)):
        connection = w.connect()
        hello = hs.HandshakeRequest(hello=connection.hello(bindings=bindings))
        said = connection.stub.Handshake(client.then_wait(hello))
        assert client.step(said, "challenge").binding == taken, bindings
        said.cancel()


@check_of("tls")
def a_binding_that_nobody_knows_is_refused(w):
    reason(e.REASON_UNSUPPORTED_VERSION, w.connect().handshake, AUTHKEY, bindings=[99])


@check_of("tcp", "unix")
def bindings_are_for_tls(w):
    challenge, _ = w.connect().handshake(AUTHKEY, bindings=[1, 2])
    assert challenge.binding == hs.BINDING_UNSPECIFIED


@check_of("tls")
def the_certificate_can_be_fetched_and_pinned(w):
    host, port = w.daemon.address.removeprefix("tls://").rsplit(":", 1)
    fetched = ssl.get_server_certificate((host, int(port)))
    assert ssl.PEM_cert_to_DER_cert(fetched) == ssl.PEM_cert_to_DER_cert(w.daemon.pem)


# Health and reflection


@check
def health_needs_no_handshake(w):
    for service in ("", "mp.manager.v1.Manager"):
        ask = w.connect().channel.unary_unary("/grpc.health.v1.Health/Check")
        name = service.encode()
        assert ask(b"\x0a" + bytes([len(name)]) + name if name else b"") == b"\x08\x01", service


@check
def reflection_needs_no_handshake(w):
    info = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    answers = w.connect().channel.stream_stream(info)(iter([b"\x3a\x00"]))
    assert b"mp.manager.v1.Manager" in next(answers)


# Frames


@check
def requests_of_a_frame_are_answered_in_their_order(w):
    session = w.session()
    at = w.new(session, v.KIND_LIST)
    requests = [session.request(at, list={"push": val(i)}) for i in range(100)]
    requests.append(session.request(at, list={"page": {}}))
    session.send(requests=requests)
    page = session.reply(requests[-1].seq)
    assert [read(one.data) for one in page.values] == list(range(100))
    assert sorted(session.replies)[-101:] == [request.seq for request in requests]


@check
def seqs_may_have_gaps(w):
    session = w.session()
    session.send(requests=[session.request(seq=1000, directory={"ping": {}})])
    session.reply(1000)
    session.send(requests=[session.request(seq=2**40, directory={"ping": {}})])
    session.reply(2**40)


@check
def a_seq_that_does_not_ascend_ends_the_session(w):
    session = w.session()
    ping = {"ping": {}}
    session.send(requests=[session.request(seq=n, directory=ping) for n in (5, 5)])
    is_ended(session, e.REASON_PROTOCOL)


@check
def a_wrong_frame_number_ends_the_session(w):
    session = w.session()
    session.send(number=2)
    is_ended(session, e.REASON_PROTOCOL)


@check
def too_many_requests_in_a_frame_end_the_session(w):
    session = w.session()
    many = session.welcome.limits.max_requests_per_frame + 1
    session.send(requests=[session.request(directory={"ping": {}}) for _ in range(many)])
    is_ended(session, e.REASON_PROTOCOL)


@check
def a_new_session_has_nothing_to_reconcile(w):
    session = w.session()
    session.send(reconcile={})
    is_ended(session, e.REASON_PROTOCOL)


@check
def losses_that_were_never_said_end_the_session(w):
    session = w.session()
    session.send(losses=1)
    is_ended(session, e.REASON_PROTOCOL)


@check
def the_echo_is_the_last_frame_taken_in(w):
    session = w.session()
    for _ in range(3):
        session.send()
    session.call(directory={"ping": {}})
    assert session.frames[-1].echo == 4, session.frames


@check
def an_operation_that_nobody_knows_is_refused(w):
    session = w.session()
    reason(e.REASON_UNSUPPORTED, session.call, directory={})
    reason(e.REASON_UNSUPPORTED, session.call)
    session.call(directory={"ping": {}})


@check
def an_object_that_does_not_exist_is_refused(w):
    reason(e.REASON_OBJECT_NOT_FOUND, w.session().call, 2**50, event={"set": {}})


@check
def an_operation_of_another_kind_is_refused(w):
    session = w.session()
    reason(e.REASON_WRONG_KIND, session.call, w.new(session, v.KIND_DICT), event={"set": {}})


@check
def acks_may_cover_what_never_was(w):
    session = w.session()
    session.call(directory={"ping": {}})
    session.send(acks=[s.SeqRange(first=1, last=2**63), s.SeqRange(first=9, last=3)])
    session.call(directory={"ping": {}})


@check
def goodbye_ends_the_session_without_a_word(w):
    session, other = w.session(), w.session()
    lock = w.new(session, v.KIND_LOCK)
    session.call(lock, lock={"acquire": {}})
    waiting = other.start(lock, lock={"acquire": {}})
    session.send(goodbye={})
    assert session.end() == (None, grpc.StatusCode.OK)
    assert other.reply(waiting).token


@check
def what_is_requested_with_a_goodbye_is_done(w):
    session, other = w.session(), w.session()
    event = w.new(session, v.KIND_EVENT)
    session.send(requests=[session.request(event, event={"set": {}})], goodbye={})
    assert session.end() == (None, grpc.StatusCode.OK)
    assert other.call(event, event={"is_set": {}}) is True


# Acknowledging and cancelling


@check
def what_is_cancelled_goes_back(w):
    session, other = w.session(), w.session()
    queue = w.new(session, v.KIND_QUEUE)
    session.call(queue, queue={"put": {"value": val("item")}})
    seq = session.start(queue, queue={"get": {}})
    assert read(session.reply(seq, acknowledge=False).value.data) == "item"
    assert session.call(queue, queue={"len": {}}) == 0
    session.send(cancels=[seq])
    delivery = other.call(queue, queue={"get": {}})
    assert read(delivery.value.data) == "item" and delivery.deliveries == 2


@check
def what_is_acknowledged_is_final(w):
    session, other = w.session(), w.session()
    queue = w.new(session, v.KIND_QUEUE)
    session.call(queue, queue={"put_many": {"items": [{"value": val(1)}, {"value": val(2)}]}})
    taken = [session.start(queue, queue={"get": {}}) for _ in range(2)]
    session.reply(taken[0])
    session.reply(taken[1], acknowledge=False)
    session.send(goodbye={})
    session.end()
    delivery = other.call(queue, queue={"get": {}})
    assert read(delivery.value.data) == 2 and delivery.deliveries == 2
    assert other.call(queue, timeout_us=0, queue={"get": {}}) == v.Empty()


@check
def an_ack_includes_both_ends(w):
    session, other = w.session(), w.session()
    queue = w.new(session, v.KIND_QUEUE)
    session.call(queue, queue={"put_many": {"items": [{"value": val(n)} for n in range(3)]}})
    taken = [session.start(queue, queue={"get": {}}) for _ in range(3)]
    for seq in taken:
        session.reply(seq, acknowledge=False)
    session.send(acks=[s.SeqRange(first=taken[0], last=taken[2])], goodbye={})
    session.end()
    assert other.call(queue, queue={"len": {}}) == 0


@check
def a_call_that_waits_can_be_cancelled(w):
    session, other = w.session(), w.session()
    lock = w.new(session, v.KIND_LOCK)
    first = session.call(lock, lock={"acquire": {}})
    waiting = other.start(lock, lock={"acquire": {}})
    other.call(directory={"ping": {}})
    other.send(cancels=[waiting])
    other.call(directory={"ping": {}})
    session.call(lock, lock={"release": first.token})
    assert session.call(lock, lock={"acquire": {}}).token > first.token
    assert waiting not in other.replies


@check
def the_end_of_a_session_gives_back_what_it_holds(w):
    session, other = w.session(), w.session()
    semaphore = w.new(session, v.KIND_SEMAPHORE, semaphore={"permits": 3})
    session.call(semaphore, semaphore={"acquire": 2})
    waiting = other.start(semaphore, semaphore={"acquire": 3})
    session.goodbye()
    assert other.reply(waiting).token


# Timeouts


@check
def zero_tries_once(w):
    session, other = w.session(), w.session()
    lock, queue = w.new(session, v.KIND_LOCK), w.new(session, v.KIND_QUEUE)
    event = w.new(session, v.KIND_EVENT)
    session.call(lock, timeout_us=0, lock={"acquire": {}})
    empty = v.Empty()
    assert other.call(lock, timeout_us=0, lock={"acquire": {}}) == empty
    assert session.replies[session.seq].WhichOneof("result") == "grant"
    assert other.replies[other.seq].WhichOneof("result") == "absent"
    assert other.call(queue, timeout_us=0, queue={"get": {}}) == empty
    assert other.call(event, timeout_us=0, event={"wait": {}}) is False


@check
def a_timeout_is_absent_false_or_full(w):
    session = w.session()
    lock = w.new(session, v.KIND_LOCK)
    session.call(lock, lock={"acquire": {}})
    session.call(lock, timeout_us=1000, lock={"acquire": {}})
    assert session.replies[session.seq].WhichOneof("result") == "absent"
    event = w.new(session, v.KIND_EVENT)
    assert session.call(event, timeout_us=1000, event={"wait": {}}) is False
    queue = w.new(session, v.KIND_QUEUE, queue={"maxsize": 1})
    put = {"put": {"value": val(1)}}
    session.call(queue, queue=put)
    reason(e.REASON_FULL, session.call, queue, timeout_us=1000, queue=put)


@check
def a_condition_takes_its_lock_again(w):
    session = w.session()
    condition = w.new(session, v.KIND_CONDITION)
    session.call(condition, condition={"acquire": 7})
    woken = session.call(condition, timeout_us=1000, condition={"wait": 7})
    assert not woken.notified and woken.depth == 1
    session.call(condition, condition={"release": 7})


# Staying in


def beats(session, *numbers):
    """Sends these beats, and gives what is answered."""
    said = (s.Beat(number=number) for number in numbers)
    return session.connection.stub.KeepAlive(client.then_wait(*said))


@check
def a_beat_is_answered_with_its_number(w):
    answers = beats(w.session(), 1, 2, 7)
    assert [next(answers).number for _ in range(3)] == [1, 2, 7]
    answers.cancel()


@check
def the_echo_of_a_beat_is_the_last_frame(w):
    session = w.session()
    session.call(directory={"ping": {}})
    seq = session.start(directory={"ping": {}})
    session.reply(seq, acknowledge=False)
    answers = beats(session, 1)
    assert next(answers).echo == 3
    answers.cancel()


@check
def a_silent_session_ends_with_its_lease(w):
    session, other = w.session(lease_ms=1000), w.session()
    lock = w.new(other, v.KIND_LOCK)
    session.call(lock, lock={"acquire": {}})
    assert other.call(lock, lock={"acquire": {}}).token
    is_ended(session, e.REASON_SESSION_ENDED)


@check
def a_session_is_resumed_with_all_it_holds(w):
    session, other = w.session(), w.session()
    lock = w.new(session, v.KIND_LOCK)
    grant = session.call(lock, lock={"acquire": {}})
    resumed = w.resumed(session, first={"reconcile": {}})
    is_ended(session, e.REASON_SESSION_ENDED)
    assert other.call(lock, timeout_us=0, lock={"acquire": {}}) == v.Empty()
    resumed.call(lock, lock={"release": grant.token})


@check
def a_call_that_waits_goes_on_after_a_resumption(w):
    session, other = w.session(), w.session()
    lock = w.new(session, v.KIND_LOCK)
    grant = other.call(lock, lock={"acquire": {}})
    request = session.request(lock, lock={"acquire": {}})
    session.send(requests=[request])
    session.call(directory={"ping": {}})
    first = {"reconcile": {"open": [request.seq]}, "requests": [request]}
    resumed = w.resumed(session, first=first)
    other.call(lock, lock={"release": grant.token})
    assert resumed.reply(request.seq).token > grant.token


@check
def a_reply_comes_again_until_it_is_acknowledged(w):
    session = w.session()
    queue = w.new(session, v.KIND_QUEUE)
    session.call(queue, queue={"put": {"value": val("item")}})
    request = session.request(queue, queue={"get": {}})
    session.send(requests=[request])
    session.reply(request.seq, acknowledge=False)
    first = {"reconcile": {"open": [request.seq]}, "requests": [request]}
    resumed = w.resumed(session, first=first)
    delivery = resumed.reply(request.seq)
    assert read(delivery.value.data) == "item" and delivery.deliveries == 1
    assert resumed.call(queue, queue={"len": {}}) == 0


@check
def what_was_not_seen_before_is_executed_once(w):
    session = w.session()
    scalar = w.new(session, v.KIND_VALUE, scalar={"initial": val(0)})
    add = {"add": {"delta": value(1)}}
    sent, unsent = session.request(scalar, scalar=add), session.request(scalar, scalar=add)
    session.send(requests=[sent])
    session.reply(sent.seq, acknowledge=False)
    first = {"reconcile": {"open": [sent.seq, unsent.seq]}, "requests": [sent, unsent]}
    resumed = w.resumed(session, first=first)
    assert [read(resumed.reply(request.seq).data) for request in (sent, unsent)] == [1, 2]
    assert read(resumed.call(scalar, scalar={"get": {}}).data) == 2


@check
def what_was_cancelled_before_a_resumption_goes_back(w):
    session, other = w.session(), w.session()
    queue = w.new(session, v.KIND_QUEUE)
    session.call(queue, queue={"put": {"value": val("item")}})
    taken = session.start(queue, queue={"get": {}})
    session.reply(taken, acknowledge=False)
    w.resumed(session, first={"reconcile": {"cancelled": [taken]}})
    assert read(other.call(queue, queue={"get": {}}).value.data) == "item"


@check
def what_is_not_spoken_of_counts_as_acknowledged(w):
    session, other = w.session(), w.session()
    queue = w.new(session, v.KIND_QUEUE)
    session.call(queue, queue={"put": {"value": val("item")}})
    session.reply(session.start(queue, queue={"get": {}}), acknowledge=False)
    resumed = w.resumed(session, first={"reconcile": {}})
    resumed.goodbye()
    assert other.call(queue, queue={"len": {}}) == 0


@check
def a_resumed_session_has_to_reconcile_first_and_once(w):
    resumed = w.resumed(w.session(), first={})
    is_ended(resumed, e.REASON_PROTOCOL)
    resumed = w.resumed(w.session(), first={"reconcile": {}})
    resumed.send(reconcile={})
    is_ended(resumed, e.REASON_PROTOCOL)


@check
def nobody_resumes_without_the_secret(w):
    session = w.session()
    resume = hs.Resume(session=session.welcome.session, epoch=session.challenge.epoch)
    reason(e.REASON_AUTHENTICATION_FAILED, w.session, resume, b"guessed")
    session.call(directory={"ping": {}})


@check
def beats_of_the_older_connection_end(w):
    session = w.session()
    answers = beats(session, 1)
    next(answers)
    w.resumed(session, first={"reconcile": {}})
    status(grpc.StatusCode.FAILED_PRECONDITION, list, answers)


@check
def who_loses_a_grant_is_told_until_it_confirms(w):
    session, other = w.session(), w.session()
    lock = w.new(session, v.KIND_LOCK)
    grants = []
    for _ in range(2):
        grants.append(session.call(lock, lock={"acquire": {}}).token)
        other.call(lock, lock={"release": grants[-1]})
    session.until(lambda: len(session.lost) == 2)
    assert [(lost.object, lost.token) for lost in session.lost] == [(lock, one) for one in grants]
    session.send(losses=1)
    session.call(directory={"ping": {}})
    resumed = w.resumed(session, first={"reconcile": {}, "losses": 1})
    resumed.until(lambda: resumed.lost)
    assert [lost.token for lost in resumed.lost] == [grants[1]]


# How long frames are


@check
def a_client_may_ask_for_shorter_frames(w):
    for asked, got in ((0, 3 << 20), (6000, 6000), (1, 4095), (2**32 - 1, 3 << 20)):
        _, welcome = w.connect().handshake(AUTHKEY, max_frame_bytes=asked)
        assert welcome.limits.max_server_frame_bytes == got, (asked, welcome.limits)


@check
def frames_are_no_longer_than_asked_for(w):
    session = w.session(max_frame_bytes=6000)
    at = w.new(session, v.KIND_DICT)
    entries = [{"key": key(n), "value": val(bytes(700))} for n in range(100)]
    session.call(at, dict={"extend": {"entries": entries}})
    gets = [session.request(at, dict={"get": key(n)}) for n in range(100)]
    gets += [session.request(at, dict={"len": {}}) for _ in range(900)]
    session.send(requests=gets)
    for get in gets:
        session.reply(get.seq, acknowledge=False)
    # Replies of calls that waited come all at once.
    queue = w.new(session, v.KIND_QUEUE)
    gets = [session.request(queue, queue={"get": {}}) for _ in range(100)]
    session.send(requests=gets)
    items = [{"value": val(bytes(700))} for _ in range(100)]
    session.call(queue, queue={"put_many": {"items": items}})
    for get in gets:
        session.reply(get.seq)
    assert max(frame.ByteSize() for frame in session.frames) <= 6000


@check
def a_longer_reply_comes_alone(w):
    session = w.session(max_frame_bytes=6000)
    scalar = w.new(session, v.KIND_VALUE, scalar={"initial": val(bytes(100_000))})
    gets = [session.request(scalar, scalar={"get": {}}) for _ in range(3)]
    session.send(requests=gets)
    for get in gets:
        assert len(read(session.reply(get.seq).data)) == 100_000
    assert all(len(frame.replies) == 1 for frame in session.frames if frame.ByteSize() > 6000)


@check
def grpcs_default_limit_is_enough_for_small_values(w):
    connection = w.connect(receive=4 << 20)
    connection.handshake(AUTHKEY)
    session = Session(connection)
    at = w.new(session, v.KIND_LIST)
    for _ in range(4):
        values = [val(bytes(100_000)) for _ in range(20)]
        session.call(at, list={"extend": {"values": values}})
    gets = [session.request(at, list={"get": n}) for n in range(80)]
    session.send(requests=gets)
    for get in gets:
        session.reply(get.seq, acknowledge=False)
    page = session.call(at, list={"page": {}})
    assert page.HasField("next") and len(page.values) < 20


# The directory, references and fences


@check
def a_name_is_opened_by_all_who_know_it(w):
    session, other = w.session(), w.session()
    at = w.new(session, v.KIND_DICT)
    name = session.last_name
    opened = other.call(directory={"open": d.Open(name=name, kind=v.KIND_DICT)})
    assert opened.ref.object == at and not opened.created
    assert opened.ref.server == session.challenge.server_id
    assert other.call(directory={"exists": name}) is True
    create = d.Open(name=name, kind=v.KIND_DICT, mode=d.MODE_CREATE)
    reason(e.REASON_ALREADY_EXISTS, other.call, directory={"open": create})
    reason(e.REASON_WRONG_KIND, other.call, directory={"open": d.Open(name=name, kind=v.KIND_LIST)})
    session.call(directory={"delete": name})
    mode = d.Open(name=name, kind=v.KIND_DICT, mode=d.MODE_OPEN)
    reason(e.REASON_OBJECT_NOT_FOUND, other.call, directory={"open": mode})
    reason(e.REASON_OBJECT_NOT_FOUND, other.call, at, dict={"len": {}})


@check
def parameters_are_compared(w):
    session = w.session()
    w.new(session, v.KIND_SEMAPHORE, semaphore={"permits": 3})
    without = d.Open(kind=v.KIND_SEMAPHORE)
    reason(e.REASON_INVALID_ARGUMENT, session.call, directory={"open": without})
    for permits, expected in ((3, None), (4, e.REASON_PARAMETERS_DIFFER)):
        parameters = d.Parameters(semaphore={"permits": permits})
        op = d.Open(name=session.last_name, kind=v.KIND_SEMAPHORE, parameters=parameters)
        if expected:
            reason(expected, session.call, directory={"open": op})
        else:
            assert session.call(directory={"open": op}).parameters == parameters


@check
def names_are_listed_in_pages(w):
    session = w.session()
    names = [f"{w.name}/{letter}" for letter in "abcde"]
    for name in reversed(names):
        w.new(session, v.KIND_EVENT, name=name)
    seen, after, more = [], "", True
    while more:
        page = session.call(directory={"list": {"prefix": f"{w.name}/", "after": after, "max": 2}})
        seen += [info.name for info in page.objects]
        after, more = seen[-1], page.more
    assert seen == names


@check
def a_name_that_is_too_long_is_refused(w):
    session = w.session()
    limit = session.welcome.limits.max_name_bytes
    w.new(session, v.KIND_EVENT, name=w.name + "x" * (limit - len(w.name)))
    op = d.Open(name="x" * (limit + 1), kind=v.KIND_EVENT)
    reason(e.REASON_LIMIT_EXCEEDED, session.call, directory={"open": op})


@check
def who_holds_and_who_waits_can_be_seen(w):
    session, other = w.session(), w.session()
    lock = w.new(session, v.KIND_LOCK)
    token = session.call(lock, lock={"acquire": {}}).token
    waiting = other.start(lock, lock={"acquire": {}})
    other.call(directory={"ping": {}})
    info = session.call(directory={"inspect": {"name": session.last_name}}).objects[0]
    assert (info.holders[0].session, info.holders[0].token) == (session.welcome.session, token)
    assert (info.waiters[0].session, info.waiters[0].seq) == (other.welcome.session, waiting)


@check
def an_unnamed_object_lives_as_long_as_it_is_referred_to(w):
    session = w.session()
    opened = session.call(directory={"open": d.Open(kind=v.KIND_LIST)})
    at, box = opened.ref.object, w.new(session, v.KIND_VALUE, scalar={"initial": val(None)})
    detail = struct.pack(">QBQB", opened.ref.server, v.KIND_LIST, at, 0)
    reference = v.Value(data=value(msgpack.ExtType(1, detail)), refs=[opened.ref])
    session.call(box, scalar={"set": reference})
    session.call(directory={"release": {"object": at, "count": 1}})
    session.call(at, list={"push": val(1)})
    got = session.call(box, scalar={"get": {}})
    assert got == reference
    session.call(box, scalar={"set": val(None)})
    session.call(at, list={"push": val(2)})
    session.call(directory={"release": {"object": at, "count": 1}})
    reason(e.REASON_OBJECT_NOT_FOUND, session.call, at, list={"push": val(3)})


@check
def a_fenced_write_is_done_while_its_grant_stands(w):
    session, other = w.session(), w.session()
    lock, at = w.new(session, v.KIND_LOCK), w.new(session, v.KIND_DICT)
    token = session.call(lock, lock={"acquire": {}}).token
    fence = s.Fence(lock=lock, token=token)
    write = {"insert": {"key": key("k"), "value": val(1)}}
    other.call(at, fence=fence, dict=write)
    reason(e.REASON_FENCED, other.call, at, fence=s.Fence(lock=lock, token=token + 1), dict=write)
    session.call(lock, lock={"release": token})
    reason(e.REASON_FENCED, other.call, at, fence=fence, dict=write)
    reason(e.REASON_UNSUPPORTED, other.call, lock, fence=fence, lock={"acquire": {}})


# Values and keys


@check
def equal_is_what_has_equal_bytes(w):
    session = w.session()
    at = w.new(session, v.KIND_LIST)
    float32 = v.Value(data=struct.pack(">Bf", 0xCA, 1.0))
    distinct = [val(1), val(1.0), float32, val(True), val("1"), val(b"1"), val(0.0)]
    session.call(at, list={"extend": {"values": distinct}})
    for one in distinct[:-1]:
        assert session.call(at, list={"count": one}) == 1, one
    assert session.call(at, list={"count": val(-0.0)}) == 1
    session.call(at, list={"push": val({"a": 1, "b": 2})})
    assert session.call(at, list={"contains": val({"b": 2, "a": 1})}) is True


@check
def a_swap_compares_by_bytes(w):
    session = w.session()
    scalar = w.new(session, v.KIND_VALUE, scalar={"initial": val(1)})
    for expected, swapped in ((val(1.0), False), (val(True), False), (val(1), True)):
        swap = {"compare_and_swap": {"expected": expected, "replacement": val(2)}}
        got = session.call(scalar, scalar=swap)
        assert got.swapped is swapped and read(got.current.data) == (2 if swapped else 1), got


@check
def keys_are_found_by_their_bytes(w):
    session = w.session()
    at = w.new(session, v.KIND_DICT)
    keys = [1, 1.0, True, "1", b"1", None, [1, 2], {"b": 1, "a": 2}, -1, 2**63]
    for n, one in enumerate(keys):
        session.call(at, dict={"insert": {"key": key(one), "value": val(n)}})
    assert session.call(at, dict={"len": {}}) == len(keys)
    for n, one in enumerate(keys):
        assert read(session.call(at, dict={"get": key(one)}).data) == n
    assert session.call(at, dict={"contains": key({"a": 2, "b": 1})}) is True
    empty = {"insert": {"key": b"", "value": val(1)}}
    reason(e.REASON_INVALID_ARGUMENT, session.call, at, dict=empty)


@check
def values_and_keys_have_a_limit(w):
    session = w.session()
    limits, at = session.welcome.limits, w.new(session, v.KIND_DICT)
    long = {"key": key("x" * limits.max_key_bytes), "value": val(1)}
    reason(e.REASON_LIMIT_EXCEEDED, session.call, at, dict={"insert": long})
    long = {"key": key("k"), "value": v.Value(data=bytes(limits.max_value_bytes + 1))}
    reason(e.REASON_LIMIT_EXCEEDED, session.call, at, dict={"insert": long})


@check
def sums_are_exact_or_refused(w):
    session = w.session()
    at = w.new(session, v.KIND_DICT)

    def add(one, delta, **options):
        entry = {"key": key(one), "delta": val(delta), **options}
        return read(session.call(at, dict={"add": entry}).data)

    assert add("n", 2**63) == 2**63 and add("n", 2**63 - 1) == 2**64 - 1
    for delta in (1, -(2**63)):
        if delta == 1:
            reason(e.REASON_OVERFLOW, add, "n", delta)
        else:
            assert add("n", delta) == 2**63 - 1
    assert add("x", 1) == 1 and add("x", 0.5) == 1.5
    reason(e.REASON_TYPE_MISMATCH, add, "x", 1, sum_type=array_pb2.ELEMENT_TYPE_I64)
    assert add("y", 127, sum_type=array_pb2.ELEMENT_TYPE_I8) == 127
    reason(e.REASON_OVERFLOW, add, "y", 1, sum_type=array_pb2.ELEMENT_TYPE_I8)
    session.call(at, dict={"insert": {"key": key("s"), "value": val("text")}})
    reason(e.REASON_TYPE_MISMATCH, add, "s", 1)


@check
def order_is_by_value(w):
    session = w.session()
    at = w.new(session, v.KIND_LIST)
    ordered = [-1, False, 0.5, True, 1.5, 2, 2**53 + 1, 1e300]
    session.call(at, list={"extend": {"values": [val(x) for x in reversed(ordered)]}})
    session.call(at, list={"sort": {}})
    page = session.call(at, list={"page": {}})
    assert [read(one.data) for one in page.values] == ordered
    session.call(at, list={"push": val("text")})
    reason(e.REASON_TYPE_MISMATCH, session.call, at, list={"sort": {}})


@check
def arrays_are_packed_little_endian(w):
    session = w.session()
    parameters = {"element_type": array_pb2.ELEMENT_TYPE_I32, "initial": struct.pack("<3i", 1, -2, 3)}
    at = w.new(session, v.KIND_ARRAY, array=parameters)
    assert session.call(at, array={"len": {}}) == 3
    assert session.call(at, array={"get": -2}) == struct.pack("<i", -2)
    added = session.call(at, array={"add": {"index": 0, "element": struct.pack("<i", 9)}})
    assert added == struct.pack("<i", 10)
    everything = session.call(at, array={"slice_get": {"slice": {}}})
    assert everything == struct.pack("<3i", 10, -2, 3)


# Kinds


@check
def pages_end_and_go_on(w):
    session = w.session()
    at = w.new(session, v.KIND_DICT)
    entries = [{"key": key(n), "value": val(n)} for n in range(10)]
    session.call(at, dict={"extend": {"entries": entries}})
    seen, page = {}, {"max": 4}
    while page:
        got = session.call(at, dict={"page": {"page": page, "keys": True, "values": True}})
        seen.update(zip(map(read, got.keys), (read(one.data) for one in got.values)))
        page = {"max": 4, "cursor": got.next} if got.HasField("next") else None
    assert seen == {n: n for n in range(10)}


@check
def sets_are_combined_on_the_server(w):
    session = w.session()
    one, two = w.new(session, v.KIND_SET), w.new(session, v.KIND_SET)
    for n in range(4):
        assert session.call(one, set={"add": key(n)}) is True
        session.call(two, set={"add": key(n + 2)})
    assert session.call(one, set={"add": key(0)}) is False
    union = {"combination": set_pb2.COMBINATION_INTERSECTION, "other": {"object": two}}
    both = session.call(one, set={"combine": union})
    assert sorted(map(read, both.keys)) == [2, 3]
    relation = {"relation": set_pb2.RELATION_SUPERSET, "other": {"elements": [key(1), key(2)]}}
    assert session.call(one, set={"compare": relation}) is True


@check
def lists_count_from_the_end_as_well(w):
    session = w.session()
    at = w.new(session, v.KIND_LIST)
    session.call(at, list={"extend": {"values": [val(n) for n in range(6)]}})
    assert read(session.call(at, list={"get": -1}).data) == 5
    page = session.call(at, list={"slice_get": {"slice": {"start": 5, "step": -2}}})
    assert [read(one.data) for one in page.values] == [5, 3, 1]
    reason(e.REASON_INDEX_OUT_OF_RANGE, session.call, at, list={"get": 6})
    assert read(session.call(at, list={"pop": 0}).data) == 0


@check
def a_namespace_keeps_its_order(w):
    session = w.session()
    at = w.new(session, v.KIND_NAMESPACE)
    for n, name in enumerate(("b", "ä", "a")):
        session.call(at, namespace={"set": {"name": name, "value": val(n)}})
    names = session.call(at, namespace={"names": {}}).keys
    assert [name.decode() for name in names] == ["b", "ä", "a"]


@check
def tokens_rise(w):
    session, tokens = w.session(), [0]
    for _ in range(2):
        lock = w.new(session, v.KIND_LOCK)
        for _ in range(3):
            tokens.append(session.call(lock, lock={"acquire": {}}).token)
            session.call(lock, lock={"release": tokens[-1]})
    assert tokens == sorted(set(tokens))


@check
def an_rlock_belongs_to_an_owner(w):
    session = w.session()
    lock = w.new(session, v.KIND_RLOCK)
    assert session.call(lock, rlock={"acquire": 1}).depth == 1
    assert session.call(lock, rlock={"acquire": 1}).depth == 2
    assert session.call(lock, timeout_us=0, rlock={"acquire": 2}) == v.Empty()
    reason(e.REASON_NOT_OWNER, session.call, lock, rlock={"release": 2})
    assert session.call(lock, rlock={"depth": 1}) == 2


@check
def a_leased_item_comes_back_in_its_place(w):
    session, other = w.session(), w.session()
    queue = w.new(session, v.KIND_QUEUE)
    session.call(queue, queue={"put_many": {"items": [{"value": val(n)} for n in range(3)]}})
    lease = session.call(queue, queue={"lease": {}})
    assert read(lease.value.data) == 0 and lease.deliveries == 1
    session.call(queue, queue={"reject": lease.ticket})
    again = other.call(queue, queue={"lease": {}})
    assert read(again.value.data) == 0 and again.deliveries == 2
    other.call(queue, queue={"done": again.ticket})
    reason(e.REASON_NOT_LEASED, other.call, queue, queue={"done": again.ticket})
    assert session.call(queue, queue={"len": {}}) == 2


@check
def a_priority_queue_orders_by_priority(w):
    session = w.session()
    queue = w.new(session, v.KIND_QUEUE, queue={"order": queue_pb2.QUEUE_ORDER_PRIORITY})
    for priority in (2, 0.5, 1):
        item = {"value": val(f"p{priority}"), "priority": val(priority)}
        session.call(queue, queue={"put": item})
    got = [read(session.call(queue, queue={"get": {}}).value.data) for _ in range(3)]
    assert got == ["p0.5", "p1", "p2"]


@check
def a_notified_waiter_has_the_lock(w):
    session, other = w.session(), w.session()
    condition = w.new(session, v.KIND_CONDITION)
    session.call(condition, condition={"acquire": 1})
    waiting = session.start(condition, condition={"wait": 1})
    other.call(condition, condition={"acquire": 1})
    assert other.call(condition, condition={"notify": {"owner": 1, "count": 1}}) == 1
    other.call(condition, condition={"release": 1})
    woken = session.reply(waiting)
    assert woken.notified and woken.depth == 1


@check
def a_barrier_lets_all_pass_at_once(w):
    session, other = w.session(), w.session()
    barrier = w.new(session, v.KIND_BARRIER, barrier={"parties": 2})
    first = session.start(barrier, barrier={"wait": {"has_action": True}})
    session.call(directory={"ping": {}})
    seq = other.start(barrier, barrier={"wait": {"has_action": True}})
    arrival = other.reply(seq)
    assert arrival.index == 1 and arrival.run_action
    done = {"action_done": {"generation": arrival.generation, "ok": True}}
    other.call(barrier, barrier=done)
    assert session.reply(first).index == 0


@check
def a_pipe_ends_with_its_other_end(w):
    session, other = w.session(), w.session()
    pipe = w.new(session, v.KIND_PIPE)
    session.call(pipe, pipe={"end": 0, "attach": {}})
    other.call(pipe, pipe={"end": 1, "attach": {}})
    session.call(pipe, pipe={"end": 0, "send": {"value": val("last")}})
    session.goodbye()
    got = other.call(pipe, pipe={"end": 1, "receive": {}})
    assert read(got.value.data) == "last"
    reason(e.REASON_END_OF_FILE, other.call, pipe, pipe={"end": 1, "receive": {}})


@check
def a_queue_can_be_polled(w):
    session, other = w.session(), w.session()
    queue = w.new(session, v.KIND_QUEUE)
    assert session.call(queue, timeout_us=0, queue={"poll": {}}) is False
    waiting = session.start(queue, queue={"poll": {}})
    other.call(queue, queue={"put": {"value": val(1)}})
    assert session.reply(waiting) is True
    assert other.call(queue, queue={"len": {}}) == 1


def run_of(*args, idempotent=False, **fields):
    """A run of a task with these argument lists."""
    task = {"name": "crunch::invert", "signature": "(i64)->f64", "idempotent": idempotent}
    return {"run": {"task": task, "args": val(list(args)), "count": len(args), **fields}}


def work_for(w, pool):
    """A session that is a worker of the pool."""
    worker = w.session()
    worker.call(pool, pool={"enlist": {"badge": os.urandom(16), "name": "worker"}})
    return worker


def take(worker, pool):
    [ticket] = worker.call(pool, pool={"take": {"max": 1}}).tickets
    return ticket


@check
def a_map_is_answered_with_results_and_with_what_failed(w):
    session = w.session()
    pool = w.new(session, v.KIND_POOL)
    worker = work_for(w, pool)
    waiting = session.start(pool, pool=run_of([2], [0], [4]))
    ticket = take(worker, pool)
    assert (ticket.task.name, ticket.task.signature) == ("crunch::invert", "(i64)->f64")
    assert (read(ticket.args.data), ticket.start, ticket.count) == ([[2], [0], [4]], 0, 3)
    failed = {"index": 1, "kind": pool_pb2.POOL_FAILURE_KIND_FAILED, "message": "there is none"}
    failed["causes"] = ["division by zero"]
    report = {"token": ticket.token, "count": 3, "results": val([0.5, 0.25]), "failures": [failed]}
    worker.call(pool, pool={"report": {"reports": [report]}})
    results = session.reply(waiting)
    [segment] = results.segments
    assert (results.run, segment.start, segment.count) == (0, 0, 3)
    assert read(segment.results.data) == [0.5, 0.25]
    [failure] = segment.failures
    assert (failure.index, failure.kind) == (1, pool_pb2.POOL_FAILURE_KIND_FAILED)
    assert (failure.message, list(failure.causes)) == ("there is none", ["division by zero"])


@check
def what_a_worker_returns_goes_to_another(w):
    session = w.session()
    pool = w.new(session, v.KIND_POOL)
    first, second = work_for(w, pool), work_for(w, pool)
    waiting = session.start(pool, pool=run_of([1], [2], [3]))
    ticket = take(first, pool)
    report = {"token": ticket.token, "count": 1, "results": val([1.0]), "returns_rest": True}
    first.call(pool, pool={"report": {"reports": [report]}})
    rest = take(second, pool)
    assert (rest.start, rest.count) == (1, 2) and rest.token > ticket.token
    report = {"token": rest.token, "count": 2, "results": val([0.5, 0.25])}
    second.call(pool, pool={"report": {"reports": [report]}})
    segments = session.reply(waiting).segments
    assert [read(segment.results.data) for segment in segments] == [[1.0], [0.5, 0.25]]


@check
def a_lost_worker_costs_what_may_have_run(w):
    session = w.session()
    pool = w.new(session, v.KIND_POOL)
    for idempotent in (False, True):
        lost, other = work_for(w, pool), work_for(w, pool)
        waiting = session.start(pool, pool=run_of([1], idempotent=idempotent))
        ticket = take(lost, pool)
        lost.goodbye()
        if idempotent:
            again = take(other, pool)
            assert again.token > ticket.token and again.careful
            report = {"token": again.token, "count": 1, "results": val([1.0])}
            other.call(pool, pool={"report": {"reports": [report]}})
            [segment] = session.reply(waiting).segments
            assert read(segment.results.data) == [1.0] and not segment.failures
        else:
            [failure] = session.reply(waiting).segments[0].failures
            assert failure.kind == pool_pb2.POOL_FAILURE_KIND_WORKER_LOST and failure.message


@check
def a_cancelled_run_takes_its_tickets_back(w):
    session = w.session()
    pool = w.new(session, v.KIND_POOL)
    worker = work_for(w, pool)
    waiting = session.start(pool, pool=run_of([1]))
    ticket = take(worker, pool)
    session.send(cancels=[waiting])
    assert worker.until(lambda: any(lost.token == ticket.token for lost in worker.lost))
    report = {"token": ticket.token, "count": 1, "results": val([1.0])}
    worker.call(pool, pool={"report": {"reports": [report]}})


@check
def a_pool_whose_workers_wait_for_it_is_a_deadlock(w):
    session = w.session()
    pool = w.new(session, v.KIND_POOL)
    worker = work_for(w, pool)
    outer = session.start(pool, pool=run_of([1]))
    ticket = take(worker, pool)
    error = reason(e.REASON_POOL_DEADLOCK, worker.call, pool, pool=run_of([2], within=ticket.token))
    assert "crunch::invert" in error.message
    worker.call(pool, pool={"report": {"reports": [{"token": ticket.token, "count": 1}]}})
    session.reply(outer)


@check
def a_closed_pool_takes_no_runs(w):
    session = w.session()
    pool = w.new(session, v.KIND_POOL)
    worker = work_for(w, pool)
    reason(e.REASON_NOT_HELD, session.call, pool, pool={"take": {"max": 1}})
    reason(e.REASON_INVALID_ARGUMENT, session.call, pool, pool={"run": {"count": 1}})
    session.call(pool, pool={"close": {}})
    reason(e.REASON_POOL_CLOSED, session.call, pool, pool=run_of([1]))
    reason(e.REASON_POOL_CLOSED, worker.call, pool, pool={"take": {"max": 1}})
    assert session.call(pool, pool={"join": {}}) is True


# Running them


class Daemon:
    """A daemon on one transport, in a directory of its own."""

    def __init__(self, program, transport, directory):
        self.directory = pathlib.Path(directory)
        authkey = self.directory / "authkey"
        authkey.write_bytes(AUTHKEY + b"\n")
        authkey.chmod(0o600)
        address = {"tcp": "tcp://127.0.0.1:0", "tls": "tls://127.0.0.1:0"}
        address = address.get(transport, f"unix:{self.directory}/socket")
        state = self.directory / "state"
        serve = [program, "serve", "--address", address, "--authkey-file", authkey]
        # Checks that fail to authenticate on purpose must not wait to be forgiven, nor slow machines fail.
        serve += ["--state-dir", state, "--max-failed-handshakes", "10000", "--handshake-timeout", "60"]
        environment = {**os.environ, "MP_MANAGER_LOG": "error"}
        self.process = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True, env=environment)
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), line
        self.address, self.pem = line.removeprefix("listening on ").strip(), None
        if transport == "tls":
            cert = [program, "cert"]
            asked = cert + ["--address", self.address, "--authkey-file", authkey]
            kept = cert + ["--state-dir", state]
            self.pem = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
            assert subprocess.run(kept, check=True, capture_output=True, text=True).stdout == self.pem

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def run(program, only):
    checks = failed = 0
    for transport in ("tcp", "unix", "tls"):
        with tempfile.TemporaryDirectory() as directory:
            daemon = Daemon(program, transport, directory)
            try:
                for function, transports in CHECKS:
                    name = function.__name__
                    if transport not in transports or only not in name:
                        continue
                    checks += 1
                    failed += not passes(function, World(daemon, name), f"{transport}: {name}")
            finally:
                daemon.stop()
    distinct = sum(only in function.__name__ for function, _ in CHECKS)
    print(f"{checks - failed} of {checks} passed ({distinct} checks, over tcp, unix and tls)")
    return failed


def passes(function, world, title):
    try:
        with world.opened:
            function(world)
    except Exception:
        print(f"FAILED {title.replace('_', ' ')}\n{traceback.format_exc()}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--daemon", required=True, help="the mp-manager program")
    parser.add_argument("--only", default="", help="checks whose name has this in it")
    options = parser.parse_args()
    failed = run(options.daemon, options.only.replace(" ", "_"))
    sys.stdout.flush()
    # Threads of gRPC that still wait keep nobody.
    os._exit(1 if failed else 0)
