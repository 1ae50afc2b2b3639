# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""A system of its own making, honest or not, that speaks proto/SPEC.md to a gateway: TLS, frames, envelopes, signatures. Nothing of the
project's C is used; the computations are those of make_vectors.py. Bodies are random bytes: a gateway cannot open them anyway.

    peer = Peer.of(world, "tax").ready()
    receipt = peer.submit(peer.envelope(recipient="AZ/GOV/MIA/population/person", operation="GetPerson", stream=peer.open_stream("AZ/GOV/MIA/population")))
    assert receipt.state == ACCEPTED
"""
import os
import socket
import ssl
import struct
import time
import types

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from make_vectors import digest, key_id, leaf, message, path, raw_public, root, signed_bytes

(HELLO, PING, PONG, ERROR, GOODBYE, REGISTRY_GET, REGISTRY, CRL_GET, CRL, READY, READY_STATE, STREAM_OPEN, STREAM_STATE, STREAM_SETTLED, SUBMIT, FLOW,
 RECEIPTS, DELIVER, SKIPS, ACK, SUBSCRIBE, SUBSCRIPTION, KEYS_GET, KEYS) = range(1, 25)
REQUEST, RESPONSE, EVENT, KEY = 1, 2, 3, 4
ACCEPTED, REPLICATED, DELIVERED, FAILED, REFUSED, EXPIRED = 1, 2, 3, 4, 5, 6
# Numbers of the header's fields (SPEC 4.2).
HEADER = {"exchange_id": 1, "kind": 2, "status": 3, "sender": 4, "recipient": 5, "operation": 6, "in_reply_to": 7, "stream": 8, "number": 9, "created_ms": 10,
          "expires_ms": 11, "max_response_bytes": 12, "purpose": 13, "legal_basis": 14, "case_ref": 15, "official": 16, "on_behalf_of": 17, "subject_tokens": 18,
          "fields": 19, "schema": 20, "content_type": 21, "seal": 22, "registry_version": 23, "registry_hash": 24, "trace_id": 25}


def parse(data):
    """Protobuf without a schema: {number: [values]}."""
    out, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            b = data[at]
            at += 1
            value |= (b & 0x7F) << shift
            shift += 7
            if b < 0x80:
                return value
    while at < len(data):
        tag = varint()
        value = varint()
        if tag & 7 == 2:
            value, at = data[at:at + value], at + value
        out.setdefault(tag >> 3, []).append(value)
    return out


def one(parsed, number, default=0):
    return parsed.get(number, [default])[0]


def uuid7(now_ms=None):
    now_ms = int(time.time() * 1000) if now_ms is None else now_ms
    tail = bytearray(os.urandom(10))
    tail[0] = tail[0] & 0x0F | 0x70
    tail[2] = tail[2] & 0x3F | 0x80
    return now_ms.to_bytes(6, "big") + bytes(tail)


def seed_of(file):
    """The private key in a file "ehis-key-v1 USE HEX"."""
    return bytes.fromhex(open(file, encoding="ascii").read().split()[2])


def frame(kind, payload=b""):
    return struct.pack(">IB", len(payload) + 1, kind) + payload


class Ended(Exception):
    """The gateway has ended the connection; reason: "closed" (close_notify), "truncated", or the text of a TLS alert."""

    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


class Refused(Exception):
    """An ERROR frame; code: its number."""

    def __init__(self, code, text, frame_type):
        super().__init__(f"EHIS-{code}: {text}")
        self.code, self.text, self.frame_type = code, text, frame_type


def tls_context(chain=None, key=None, ca=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE if ca is None else ssl.CERT_REQUIRED
    c.minimum_version = ssl.TLSVersion.TLSv1_3
    if ca is not None:
        c.load_verify_locations(ca)
    if chain is not None:
        c.load_cert_chain(chain, key)
    return c


class Peer:
    def __init__(self, port, system, context, sign_seed=bytes(32), state_id=None, session=None):
        self.system, self.sign_key, self.state_id = system, Ed25519PrivateKey.from_private_bytes(sign_seed), state_id or os.urandom(16)
        self.waiting = b""
        self.hello = None
        raw = socket.create_connection(("127.0.0.1", port), 10)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.tls = context.wrap_socket(raw, session=session, suppress_ragged_eofs=False)
        except (ssl.SSLError, ConnectionError) as e:
            raw.close()
            raise Ended(str(e)) from None

    @classmethod
    def of(cls, world, name, chain=None, key=None, system=None, **more):
        """A peer with the keys that world made for a system; chain, key, system: something else instead."""
        from world import SYSTEMS
        folder = world.dir / name
        context = tls_context(chain or folder / "tls.crt", key or folder / "tls.key", world.dir / "ca/ca.crt")
        return cls(world.port, system or SYSTEMS.get(name, name), context, seed_of(folder / "sign.key"), **more)

    # -- frames

    def send(self, kind, payload=b""):
        self.send_bytes(frame(kind, payload))

    def send_bytes(self, data):
        try:
            self.tls.sendall(data)
        except (ssl.SSLError, ConnectionError) as e:
            raise Ended(str(e)) from None

    def _fill(self, n, deadline):
        while len(self.waiting) < n:
            self.tls.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                got = self.tls.recv(65536)
            except ssl.SSLEOFError:
                raise Ended("truncated") from None
            except socket.timeout:
                raise TimeoutError("no frame in time") from None
            except (ssl.SSLError, ConnectionError) as e:
                raise Ended(str(e)) from None
            if not got:
                raise Ended("closed")
            self.waiting += got

    def frame(self, seconds=10):
        """The next frame, whatever it is: (type, payload)."""
        deadline = time.monotonic() + seconds
        self._fill(4, deadline)
        n = struct.unpack(">I", self.waiting[:4])[0]
        self._fill(4 + n, deadline)
        kind, payload = self.waiting[4], self.waiting[5:4 + n]
        self.waiting = self.waiting[4 + n:]
        return kind, payload

    def expect(self, *kinds, seconds=10):
        """The next frame of one of these types, parsed; answers PING, passes over the rest. ERROR raises Refused."""
        deadline = time.monotonic() + seconds
        while True:
            kind, payload = self.frame(max(0.001, deadline - time.monotonic()))
            if kind == PING:
                self.send(PONG, payload)
            elif kind == ERROR and ERROR not in kinds:
                e = parse(payload)
                raise Refused(one(e, 1), one(e, 2, b"").decode(), one(e, 3))
            elif kind in kinds:
                return parse(payload) if len(kinds) == 1 else (kind, parse(payload))

    def refusal(self, seconds=10):
        """The number in the ERROR frame that the gateway ends with, and that it then ends in order."""
        code = one(self.expect(ERROR, seconds=seconds), 1)
        try:
            while True:
                self.frame(seconds)
        except Ended as e:
            assert e.reason == "closed", e.reason
        self.tls.close()
        return code

    def close(self):
        """In order: close_notify both ways."""
        try:
            self.tls.settimeout(2)
            self.tls.unwrap().close()
        except (OSError, ValueError):
            self.tls.close()

    def cut(self):
        """The connection goes without close_notify."""
        socket.socket(fileno=self.tls.detach()).close()

    # -- session

    def hello_payload(self, **change):
        fields = {"version": 1, "software": "ehis-peer", "name": self.system, "max_frame_bytes": 1 << 20, "window_messages": 1024, "window_bytes": 8 << 20,
                  "clock_ms": int(time.time() * 1000), "state_id": self.state_id, **change}
        numbers = {"version": 1, "features": 2, "software": 3, "name": 4, "max_frame_bytes": 5, "window_messages": 6, "window_bytes": 7, "clock_ms": 8, "state_id": 9}
        return message({numbers[k]: v for k, v in fields.items()})

    def greet(self):
        """HELLO both ways; then fetching."""
        self.send(HELLO, self.hello_payload())
        self.hello = self.expect(HELLO)
        return self

    def ready(self, call_window=0, stream_window=0):
        self.greet()
        self.fetch()
        self.send(READY, message({1: call_window, 2: stream_window, 3: (1 << 20) if stream_window else 0}))
        state = self.expect(READY_STATE)
        assert one(state, 1) == 0, f"not ready: EHIS-{one(state, 1)}"
        return self

    def fetch(self):
        """The registry; its version and hash go into headers from now on."""
        from make_vectors import sha256
        self.send(REGISTRY_GET)
        part = self.expect(REGISTRY)
        statement = one(parse(one(part, 1)), 1)
        self.registry_version, self.registry_hash = one(parse(statement), 2), sha256(statement)
        return self

    def is_served(self):
        """The session is alive: PING is answered."""
        token = int.from_bytes(os.urandom(4), "big") | 1
        self.send(PING, message({1: token}))
        while True:
            if one(self.expect(PONG, seconds=5), 1) == token:
                return True

    # -- envelopes

    def header_fields(self, **change):
        """A request's, good in every field; change: field=value, None leaves it out."""
        now = int(time.time() * 1000)
        fields = {"exchange_id": uuid7(), "kind": REQUEST, "sender": self.system, "operation": "GetPerson", "created_ms": now, "expires_ms": now + 60000,
                  "purpose": "tax.assessment", "legal_basis": "Vergi Məcəlləsi 23", "case_ref": "2026/1", "official": "official-1", "subject_tokens": [os.urandom(32)],
                  "schema": "az.gov.mia.population.v1.GetPersonRequest", "content_type": "application/json",
                  "seal": message({1: os.urandom(32), 2: os.urandom(32), 3: os.urandom(32)}), "registry_version": self.registry_version,
                  "registry_hash": self.registry_hash, "trace_id": os.urandom(16), **change}
        return {k: v for k, v in fields.items() if v is not None}

    def event_fields(self, service, event, stream, number, **change):
        return self.header_fields(kind=EVENT, recipient=service, operation=event, stream=stream, number=number, purpose=None, legal_basis=None,
                                  schema="az.gov.mia.population.v1.PersonChanged", seal=message({3: os.urandom(32), 4: os.urandom(16)}), **change)

    @staticmethod
    def header(fields):
        return message({HEADER[k]: v for k, v in fields.items()})

    def signature(self, leaves, index=0, key=None, **change):
        """A Signature message over a batch; change: field=value after signing."""
        key = key or self.sign_key
        public = raw_public(key)
        fields = {"algorithm": 1, "key_id": key_id(1, 1, public), "size": len(leaves), "index": index, "path": b"".join(path(leaves, index)),
                  "signature": key.sign(signed_bytes(public, len(leaves), root(leaves))), **change}
        return message({1 + list(fields).index(k): v for k, v in fields.items()})

    def sealed_and_signed(self, header, sealed=None, **change):
        sealed = sealed or os.urandom(296)
        return message({1: header, 2: sealed, 3: self.signature([leaf(digest(header, sealed))], **change)})

    def envelope(self, sealed=None, **fields):
        return self.sealed_and_signed(self.header(self.header_fields(**fields)), sealed)

    @staticmethod
    def digest(envelope):
        parts = parse(envelope)
        return digest(one(parts, 1), one(parts, 2))

    def submit(self, envelope, seconds=10):
        """The first answer about it: .kind (RECEIPTS, FLOW, DELIVER), .state, .code, .expected. ERROR raises Refused."""
        wanted = self.digest(envelope)
        self.send(SUBMIT, envelope)
        deadline = time.monotonic() + seconds
        while True:
            kind, got = self.expect(RECEIPTS, FLOW, seconds=max(0.001, deadline - time.monotonic()))
            if kind == FLOW and one(got, 1) == wanted:
                return types.SimpleNamespace(kind=FLOW, state=0, code=one(got, 2), retry_ms=one(got, 3), expected=one(got, 5), time_ms=0)
            for r in map(parse, got.get(2, [])) if kind == RECEIPTS else ():
                if one(r, 1) == wanted:
                    return types.SimpleNamespace(kind=RECEIPTS, state=one(r, 4), code=one(r, 5), time_ms=one(r, 6), expected=0)

    def open_stream(self, recipient, event=None, stream=None, lowest=1):
        stream = stream or os.urandom(16)
        self.send(STREAM_OPEN, message({1: stream, 2: recipient, 3: event or "", 4: lowest}))
        state = self.expect(STREAM_STATE)
        assert one(state, 1) == stream and one(state, 3) == 0, state
        return stream, one(state, 2)
