"""A client of mp-manager on grpcio, written from docs/protocol.md, the .proto files and the vectors alone.

It does what it is told and little by itself, so that the conformance list can say anything; `call` and
`Session.call` are what a program would use.
"""

import hashlib
import hmac
import os
import queue
import ssl
import struct
import threading
import unicodedata

import grpc
import msgpack
from argon2.low_level import Type, hash_secret_raw
from mp.manager.v1 import handshake_pb2 as hs
from mp.manager.v1 import manager_pb2_grpc, session_pb2

NONCE_LEN = 32
PATIENCE = 20


# Authkeys


def authkeys(text, is_file=True):
    """The authkeys in the text of a file or a variable; None if a file is refused."""
    lines = text_lines(text)
    if is_file and is_refused(text, lines):
        return None
    if lines is None:
        lines = [text.strip(b" \t\n\f\r")]
    secrets = [line for line in lines if not line.startswith(b"#")]
    if not is_file and not secrets:
        secrets = lines
    return [unhex(line) or line for line in secrets if line]


def text_lines(text):
    """The lines of what is text; None if it is not."""
    try:
        characters = text.decode()
    except UnicodeDecodeError:
        return None
    if any(unicodedata.category(c) == "Cc" and c not in " \t\n\f\r" for c in characters):
        return None
    return [line for line in (line.strip(b" \t\n\f\r") for line in text.split(b"\n")) if line]


def is_refused(text, lines):
    if lines is not None and "\ufeff" in text.decode():
        return True
    for codec, mark in (("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")):
        body = text.removeprefix(mark)
        try:
            characters = body.decode(codec)
        except UnicodeDecodeError:
            continue
        if characters and all("\0" < c < "\x80" for c in characters):
            return True
    return any(line.startswith(b"hex:") and not unhex(line) for line in lines or [text.strip()])


def unhex(line):
    digits = line.removeprefix(b"hex:")
    if digits == line or len(digits) % 2 or not all(c in b"0123456789abcdefABCDEF" for c in digits):
        return b""
    return bytes.fromhex(digits.decode())


def stretched(authkey, server_id):
    salt = b"mp-manager v1 authkey" + struct.pack(">Q", server_id)
    return hash_secret_raw(authkey, salt, 2, 19456, 1, 32, Type.ID, 0x13)


# The transcript and the proofs


def part(data):
    return struct.pack(">Q", len(data)) + data


def number(n):
    return part(struct.pack(">Q", n & (2**64 - 1)))


def transcript(hello, challenge, bound):
    """Its parts in order; `bound` is what the proof is bound to: a label, and hashes after it."""
    parts = [part(b"mp-manager handshake v1"), number(hello.version)]
    parts += [number(n) for n in (len(hello.suites), *hello.suites)]
    parts += [part(hello.client_nonce)]
    parts += [number(n) for n in (hello.resume.session, hello.resume.epoch, hello.lease_ms)]
    process = hello.process
    parts += [part(process.name.encode()), number(process.pid), part(process.host.encode())]
    parts += [number(challenge.suite), part(challenge.server_nonce)]
    parts += [number(challenge.server_id), number(challenge.epoch)]
    if hello.bindings:
        bindings = (len(hello.bindings), *hello.bindings, challenge.binding)
        parts += [part(b"bindings"), *map(number, bindings)]
    if hello.max_frame_bytes:
        parts += [part(b"frames"), number(hello.max_frame_bytes)]
    parts += [part(data) for data in bound]
    if hello.min_version and challenge.version:
        parts += [part(b"versions"), number(hello.min_version), number(challenge.version)]
    return parts


def welcome_parts(hello, proof, welcome):
    limits = welcome.limits
    parts = [part(proof), number(welcome.session), part(welcome.resume_secret)]
    parts += [number(n) for n in (welcome.lease_ms, welcome.resumed, welcome.ephemeral)]
    parts += [number(limits.max_open_requests), number(limits.max_requests_per_frame)]
    parts += [number(limits.max_frame_bytes), number(limits.max_value_bytes)]
    parts += [number(limits.max_key_bytes), number(limits.max_name_bytes)]
    return parts + ([number(limits.max_server_frame_bytes)] if hello.max_frame_bytes else [])


def mac(secret, who, parts):
    extracted = hmac.digest(bytes(32), secret, "sha256")
    key = hmac.digest(extracted, f"mp-manager v1 {who} proof".encode() + b"\x01", "sha256")
    return hmac.digest(key, hashlib.sha256(b"".join(parts)).digest(), "sha256")


# Keys and values


def value(x):
    return msgpack.packb(x, use_bin_type=True)


def read(data):
    return msgpack.unpackb(data, raw=False, strict_map_key=False, ext_hook=msgpack.ExtType)


def key(x):
    """The canonical form of a key."""
    if isinstance(x, float) and x != x:
        raise ValueError("NaN is no key")
    if isinstance(x, float) and x == 0:
        return value(0.0)
    if isinstance(x, msgpack.ExtType) and x.code == 1:
        raise ValueError("a reference is no key")
    if isinstance(x, (list, tuple)) and not isinstance(x, msgpack.ExtType):
        return msgpack.Packer().pack_array_header(len(x)) + b"".join(map(key, x))
    if isinstance(x, dict):
        entries = sorted((key(k), key(v)) for k, v in x.items())
        return msgpack.Packer().pack_map_header(len(x)) + b"".join(map(b"".join, entries))
    return value(x)


# Connections and sessions


class Refused(Exception):
    """The server said why not, in an `Error`: to a handshake, or to a request."""

    def __init__(self, error):
        super().__init__(error.message)
        self.error = error


class Impostor(Exception):
    """The server did not prove that it knows the authkey."""


class Connection:
    """A channel that is one connection. `pem` is the certificate it has to show, with TLS."""

    def __init__(self, address, pem=None, name="mp-manager", receive=-1):
        scheme, place = address.split(":", 1)
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        options += [("grpc.max_receive_message_length", receive), ("grpc.max_send_message_length", -1)]
        self.bound = {"tcp": [b"none"], "unix": [b"unix"]}.get(scheme)
        if scheme == "tls":
            certificate = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest()
            self.bound = [b"tls-server-end-point", certificate]
            credentials = grpc.ssl_channel_credentials(pem.encode())
            options.append(("grpc.ssl_target_name_override", name))
            self.channel = grpc.secure_channel(place.removeprefix("//"), credentials, options)
        else:
            target = address if scheme == "unix" else place.removeprefix("//")
            self.channel = grpc.insecure_channel(target, options)
        self.stub = manager_pb2_grpc.ManagerStub(self.channel)

    def close(self):
        self.channel.close()

    def hello(self, **fields):
        suites = fields.pop("suites", [hs.SUITE_HMAC_SHA256])
        bindings = fields.pop("bindings", [hs.BINDING_TLS_CERTIFICATE] if len(self.bound) > 1 else [])
        nonce = fields.pop("client_nonce", os.urandom(NONCE_LEN))
        version = fields.pop("version", 1)
        return hs.Hello(version=version, suites=suites, bindings=bindings, client_nonce=nonce, **fields)

    def handshake(self, authkey, resume_secret=b"", bound=None, **fields):
        """Gets in: the challenge and the welcome."""
        hello, said = self.hello(**fields), queue.Queue()
        said.put(hs.HandshakeRequest(hello=hello))
        answers = self.stub.Handshake(iter(said.get, None), timeout=PATIENCE)
        try:
            challenge = step(answers, "challenge")
            if challenge.suite not in hello.suites or len(challenge.server_nonce) != NONCE_LEN:
                raise Impostor("the challenge is not acceptable")
            if len(self.bound) > 1 and hello.bindings and challenge.binding not in hello.bindings:
                raise Impostor("the binding was not offered")
            secret = authkey
            if challenge.suite == hs.SUITE_ARGON2ID_HMAC_SHA256:
                secret = stretched(authkey, challenge.server_id)
            parts = transcript(hello, challenge, bound or self.bound)
            proof, resume = mac(secret, "client", parts), b""
            if hello.HasField("resume"):
                resume = mac(resume_secret, "resume", parts)
            said.put(hs.HandshakeRequest(proof=hs.Proof(proof=proof, resume=resume)))
            welcome = step(answers, "welcome")
            expected = mac(secret, "server", parts + welcome_parts(hello, proof, welcome))
            if not hmac.compare_digest(welcome.proof, expected):
                raise Impostor("the server did not prove that it knows the authkey")
            return challenge, welcome
        finally:
            said.put(None)


def then_wait(*messages):
    """What is said on a stream that then stays open."""
    said = queue.Queue()
    for message in messages:
        said.put(message)
    return iter(said.get, None)


def step(answers, expected):
    answer = next(answers)
    if answer.HasField("refused"):
        raise Refused(answer.refused)
    return getattr(answer, expected) if answer.HasField(expected) else None


class Session:
    """The `Session` stream of a connection that is authenticated, and what came on it."""

    def __init__(self, connection, seq=0):
        self.connection, self.number, self.seq = connection, 0, seq
        self.replies, self.lost, self.frames = {}, [], []
        self.ended = self.status = None
        self.news, self.sending, self.said = threading.Condition(), threading.Lock(), queue.Queue()
        self.answers = connection.stub.Session(iter(self.said.get, None))
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        status = grpc.StatusCode.OK
        try:
            for frame in self.answers:
                with self.news:
                    self.frames.append(frame)
                    self.replies.update((reply.seq, reply) for reply in frame.replies)
                    self.lost += frame.lost
                    self.ended = frame.ended if frame.HasField("ended") else self.ended
                    self.news.notify_all()
        except grpc.RpcError as error:
            status = error.code()
        with self.news:
            self.status = status
            self.news.notify_all()
        self.said.put(None)

    def until(self, met, patience=PATIENCE):
        """Waits until something has come; false if the stream ended before."""
        with self.news:
            if not self.news.wait_for(lambda: met() or self.status is not None, patience):
                raise TimeoutError("nothing has come")
            return met()

    def end(self):
        """Waits for the end of the stream: what it was ended for, if it says so, and the status."""
        self.until(lambda: self.status is not None)
        return self.ended, self.status

    def send(self, number=None, **frame):
        with self.sending:
            self.number += 1
            said = session_pb2.ClientFrame(number=number or self.number, **frame)
            self.said.put(said)

    def request(self, object=0, seq=None, **fields):
        """A request with the next seq, to be sent in a frame."""
        self.seq = seq or self.seq + 1
        return session_pb2.Request(seq=self.seq, object=object, **fields)

    def start(self, object=0, **fields):
        request = self.request(object, **fields)
        self.send(requests=[request])
        return request.seq

    def reply(self, seq, acknowledge=True):
        if not self.until(lambda: seq in self.replies):
            raise EOFError(f"the stream ended: {self.ended} {self.status}")
        if acknowledge:
            self.send(acks=[session_pb2.SeqRange(first=seq, last=seq)])
        reply = self.replies[seq]
        if reply.HasField("error"):
            raise Refused(reply.error)
        return getattr(reply, reply.WhichOneof("result"))

    def call(self, object=0, **fields):
        return self.reply(self.start(object, **fields))

    def goodbye(self):
        self.send(goodbye={})
        self.end()
        self.connection.close()
