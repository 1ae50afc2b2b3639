# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""A system that speaks the protocol, written from proto/SPEC.md alone: nothing of the project's code is in it, so that what it can do
with a gateway, an integrator can. It keeps nothing on disk; it is for tests."""
import os
import socket
import ssl
import struct
import time

import make_vectors as spec
from make_vectors import message, sha256

NAMES = {1: "HELLO", 2: "PING", 3: "PONG", 4: "ERROR", 5: "GOODBYE", 6: "REGISTRY_GET", 7: "REGISTRY", 8: "CRL_GET", 9: "CRL", 10: "READY", 11: "READY_STATE",
         12: "STREAM_OPEN", 13: "STREAM_STATE", 14: "STREAM_SETTLED", 15: "SUBMIT", 16: "FLOW", 17: "RECEIPTS", 18: "DELIVER", 19: "SKIPS", 20: "ACK",
         21: "SUBSCRIBE", 22: "SUBSCRIPTION", 23: "KEYS_GET", 24: "KEYS", 25: "BLOB_PUT", 26: "BLOB_STATE", 27: "BLOB_GET", 28: "BLOB_CHUNK"}
TYPES = {name: number for number, name in NAMES.items()}
REQUEST, RESPONSE, EVENT, KEY = 1, 2, 3, 4
ACCEPTED, REPLICATED, DELIVERED, FAILED, REFUSED, EXPIRED = 1, 2, 3, 4, 5, 6
DONE, REJECTED, RETRY = 1, 2, 3


def now_ms():
    return int(time.time() * 1000)


def uuid7():
    b = bytearray(struct.pack(">Q", now_ms())[2:] + os.urandom(10))
    b[6] = b[6] & 0x0F | 0x70
    b[8] = b[8] & 0x3F | 0x80
    return bytes(b)


def take_varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift, more = at + 1, shift + 7, data[at] & 0x80
        if not more:
            return value, at


class Fields(dict):
    """number -> list of values; [n]: the first, 0 or b"" where absent is what .number(n) and .bytes(n) give."""
    def number(self, n):
        return self.get(n, [0])[0]

    def bytes(self, n):
        return self.get(n, [b""])[0]

    def text(self, n):
        return self.bytes(n).decode()


def parse(data):
    out, at = Fields(), 0
    while at < len(data):
        tag, at = take_varint(data, at)
        value, at = take_varint(data, at)
        if tag & 7 == 2:
            value, at = data[at:at + value], at + value
        out.setdefault(tag >> 3, []).append(value)
    return out


def read_key(file):
    word, use, secret = open(file, encoding="ascii").read().split()[:3]
    assert word == "ehis-key-v1", use
    return bytes.fromhex(secret)


def root_of(leaves, first, size, proof):
    """SPEC 6.4: a run of leaves and the hashes beside it. 5.4 is a run of one."""
    level, lo, hi, last, at = list(leaves), first, first + len(leaves) - 1, size - 1, 0
    assert leaves and hi <= last, "a run within its tree"
    while last > 0:
        if lo & 1:
            level, lo, at = [proof[at:at + 32]] + level, lo - 1, at + 32
        if not hi & 1 and hi < last:
            level, hi, at = level + [proof[at:at + 32]], hi + 1, at + 32
        level = [spec.node(*level[i:i + 2]) if i + 1 < len(level) else level[i] for i in range(0, len(level), 2)]
        lo, hi, last = lo >> 1, hi >> 1, last >> 1
    assert at == len(proof), "the proof's length"
    return level[0]


def verify(public, size, root, signature):
    spec.Ed25519PublicKey.from_public_bytes(public).verify(signature, spec.signed_bytes(public, size, root))


class Ended(Exception):
    """The gateway said ERROR, or the connection ended."""
    def __init__(self, code, text=""):
        super().__init__(f"{code} {text}")
        self.code = code


class Registry:
    """The part of it that this system may see (SPEC 10)."""
    def __init__(self, payload, operator_key):
        part = parse(payload)
        signed = parse(part.bytes(1))
        self.statement_bytes = signed.bytes(1)
        self.hash = sha256(self.statement_bytes)
        key_id = spec.key_id(4, 1, operator_key)
        assert signed.number(2) == 1 and signed.bytes(3) == key_id
        spec.Ed25519PublicKey.from_public_bytes(operator_key).verify(signed.bytes(4), b"ehis/registry/v1\0" + b"\1" + key_id + self.hash)
        statement = parse(self.statement_bytes)
        self.version, self.instance = statement.number(2), statement.text(1)
        assert statement.number(4) <= now_ms() <= statement.number(5) + statement.number(6)
        self.owners, self.services, self.rules, self.leaf_count = {}, {}, {}, statement.number(7)
        for proof in part.get(3, []):
            proof = parse(proof)
            leaf = proof.bytes(2)
            assert root_of([spec.leaf(leaf)], proof.number(1), self.leaf_count, proof.bytes(3)) == statement.bytes(8), "a leaf's path"
            (kind, (content,)), = parse(leaf).items()
            name = parse(content).text(1) if kind != 5 else ""
            if kind in (2, 3):
                self.owners[name] = [parse(k) for k in parse(content).get(2, [])]
            elif kind == 4:
                self.services[name] = parse(content)
            elif kind == 6:
                self.rules[name] = parse(content)

    def key(self, owner, use, key_id=None):
        for k in self.owners[owner]:
            assert k.bytes(1) == spec.key_id(k.number(2), k.number(3), k.bytes(4))
            if k.number(2) == use and not k.number(7) and not k.number(6) and key_id in (None, k.bytes(1)):
                return k.bytes(4)
        raise KeyError((owner, use))


class Peer:
    def __init__(self, world, name, identifier, operator_key):
        self.folder, self.port, self.id = world.dir / name, world.port, identifier
        self.ca, self.crl = world.dir / "ca/ca.crt", world.dir / "crl.pem"
        self.operator_key = bytes.fromhex(operator_key)
        self.sign_key = spec.Ed25519PrivateKey.from_private_bytes(read_key(self.folder / "sign.key"))
        self.seal_key = spec.X25519PrivateKey.from_private_bytes(read_key(self.folder / "seal.key"))
        self.sign_public, self.seal_public = spec.raw_public(self.sign_key), spec.raw_public(self.seal_key)
        self.state_id, self.received, self.told, self.deliveries, self.topic_keys = os.urandom(16), [], [], 0, {}
        self.sock = self.registry = None

    # -- 7: connection and frames

    def connect(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.load_verify_locations(self.ca)
        context.load_verify_locations(self.crl)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
        context.load_cert_chain(self.folder / "tls.crt", self.folder / "tls.key")
        tcp = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = context.wrap_socket(tcp)
        ((kind, name),) = self.sock.getpeercert()["subjectAltName"]
        assert kind == "URI" and name.startswith("ehis-gw:")
        self.gateway = name[len("ehis-gw:"):]
        return self

    def send(self, name, payload=b""):
        self.send_raw(struct.pack(">IB", len(payload) + 1, TYPES[name]) + payload)

    def send_raw(self, data):
        self.sock.sendall(data)

    def read_exactly(self, n):
        data = b""
        while len(data) < n:
            try:
                more = self.sock.recv(n - len(data))
            except (ConnectionError, ssl.SSLError) as end:
                raise Ended(0, str(end)) from end
            if not more:
                raise Ended(0, "closed")
            data += more
        return data

    def read_frame(self):
        (length,) = struct.unpack(">I", self.read_exactly(4))
        assert 1 <= length <= 1 << 20
        data = self.read_exactly(length)
        return NAMES[data[0]], data[1:]

    def next(self, *wanted):
        """The next frame of these names; PING is answered, others are kept for later calls."""
        for i, (name, payload) in enumerate(self.received):
            if name in wanted:
                del self.received[i]
                return name, payload
        end = time.monotonic() + 10
        while True:
            assert time.monotonic() < end, f"none of {wanted} came; instead {[name for name, _ in self.received]}"
            name, payload = self.read_frame()
            if name == "PING":
                self.send("PONG", payload)
            elif name == "ERROR":
                raise Ended(parse(payload).number(1), parse(payload).text(2))
            elif name in wanted:
                return name, payload
            else:
                self.received.append((name, payload))

    def want(self, name):
        return parse(self.next(name)[1])

    # -- 8: session

    def hello(self, **other):
        fields = {1: 1, 3: "spec_peer", 4: self.id, 5: 1 << 20, 6: 1, 7: 1, 8: now_ms(), 9: self.state_id}
        fields.update({int(k[1:]): v for k, v in other.items()})
        self.send("HELLO", message(fields))
        answer = self.want("HELLO")
        assert answer.number(1) == 1 and answer.text(4) == self.gateway and answer.number(6) > 0
        return answer

    def ready(self, calls=8, streams=8, large=True):
        hello = self.hello(**({"f2": "large"} if large else {}))
        self.send("CRL_GET")
        assert sha256(self.want("CRL").bytes(1)) == hello.bytes(12)
        self.send("REGISTRY_GET")
        self.registry = Registry(self.next("REGISTRY")[1], self.operator_key)
        assert (self.registry.version, self.registry.hash) == (hello.number(10), hello.bytes(11))
        self.send("READY", message({1: calls, 2: streams, 3: 1 << 20 if streams else 0}))
        state = self.want("READY_STATE")
        assert state.number(1) == 0, state
        return self

    def close(self):
        self.sock.close()

    # -- 4, 9: envelopes

    def header(self, kind, recipient, operation, **more):
        waits = kind in (REQUEST, RESPONSE) and "stream" not in more
        fields = {1: more.pop("exchange_id", None) or uuid7(), 2: kind, 4: self.id, 5: recipient, 6: operation, 10: now_ms(), 23: self.registry.version, 24: self.registry.hash}
        fields[11] = fields[10] + more.pop("lifetime", 60000 if waits else 86400000)
        numbers = {"status": 3, "in_reply_to": 7, "stream": 8, "number": 9, "created": 10, "expires": 11, "max_response": 12, "purpose": 13, "legal_basis": 14,
                   "case_ref": 15, "fields": 19, "content_type": 21, "sender": 4, "registry_hash": 24, "registry_version": 23, "large": 26}
        fields.update({numbers[k]: v for k, v in more.items()})
        return fields

    def seal(self, fields, to, plaintext):
        """Header bytes and sealed body for the system `to`."""
        recipient = self.registry.key(to, 2)
        ephemeral = spec.X25519PrivateKey.generate()
        e = spec.raw_public(ephemeral)
        dh = ephemeral.exchange(spec.X25519PublicKey.from_public_bytes(recipient))
        key, commitment = spec.message_key(spec.hkdf_extract(b"ehis/seal/v1", dh + e + recipient), fields[2], fields[1], fields[4], fields[5])
        fields[22] = message({1: spec.key_id(2, 2, recipient), 2: e, 3: commitment})
        header = message(fields)
        return header, spec.aead(key, os.urandom(24), spec.pad(plaintext), header)

    def open(self, header, sealed):
        h = parse(header)
        seal, kind = parse(h.bytes(22)), h.number(2)
        if kind == EVENT:
            prk = spec.hkdf_extract(b"ehis/topic/v1", self.topic_keys[seal.bytes(4)])
        else:
            assert seal.bytes(1) == spec.key_id(2, 2, self.seal_public)
            dh = self.seal_key.exchange(spec.X25519PublicKey.from_public_bytes(seal.bytes(2)))
            prk = spec.hkdf_extract(b"ehis/seal/v1", dh + seal.bytes(2) + self.seal_public)
        key, commitment = spec.message_key(prk, kind, h.bytes(1), h.text(4), h.text(5))
        assert commitment == seal.bytes(3)
        padded = spec.sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[24:], header, sealed[:24], key)
        plain = padded.rstrip(b"\0")
        assert plain.endswith(b"\x80") and spec.padded_length(len(plain) - 1) == len(padded)
        return plain[:-1]

    def envelopes(self, parts):
        """One signature over all (header, sealed): SPEC 5."""
        leaves = [spec.leaf(spec.digest(h, s)) for h, s in parts]
        top = spec.root(leaves)
        signature = self.sign_key.sign(spec.signed_bytes(self.sign_public, len(leaves), top))
        return [message({1: h, 2: s, 3: message({1: 1, 2: spec.key_id(1, 1, self.sign_public), 3: len(leaves), 4: i, 5: b"".join(spec.path(leaves, i)), 6: signature})})
                for i, (h, s) in enumerate(parts)]

    def submit(self, header, sealed):
        self.send("SUBMIT", self.envelopes([(header, sealed)])[0])
        return spec.digest(header, sealed)

    def check_envelope(self, envelope):
        """Header fields, sealed and digest of an envelope whose sender's signature is right."""
        e = parse(envelope)
        header, sealed, s = e.bytes(1), e.bytes(2), parse(e.bytes(3))
        h = parse(header)
        d = spec.digest(header, sealed)
        public = self.registry.key(h.text(4), 1, s.bytes(2))
        verify(public, s.number(3), root_of([spec.leaf(d)], s.number(4), s.number(3), s.bytes(5)), s.bytes(6))
        return h, header, sealed, d

    # -- 6, 13: statements

    def receipts(self):
        """Verified receipts of one frame: (digest, state, code, acknowledgement)."""
        frame, out, leaves = self.want("RECEIPTS"), [], []
        for r in map(parse, frame[2]):
            d, state, code, at = r.bytes(1), r.number(4), r.number(5), r.number(6)
            leaves.append(spec.receipt_leaf(d, self.id, r.text(3), state, code, at, self.gateway))
            out.append((d, state, code, parse(r.bytes(10))))
        self.verify_run(parse(frame.bytes(1)), leaves)
        return out

    def verify_run(self, b, leaves):
        verify(self.registry.key(self.gateway, 1, b.bytes(2)), b.number(3), root_of(leaves, b.number(5), b.number(3), b.bytes(6)), b.bytes(4))

    def receipt(self, digest, state=None):
        """The next receipt of this digest (of this state); others are kept for later calls."""
        while True:
            for i, (d, s, code, ack) in enumerate(self.told):
                if d == digest and state in (None, s):
                    del self.told[i]
                    return s, code, ack
            self.told += self.receipts()

    def check_ack(self, ack, digest, recipient):
        s = parse(ack.bytes(5))
        leaf = spec.ack_leaf(ack.bytes(1), ack.number(2), ack.number(3), ack.number(4))
        assert ack.bytes(1) == digest
        verify(self.registry.key(recipient, 1, s.bytes(2)), s.number(3), root_of([leaf], s.number(4), s.number(3), s.bytes(5)), s.bytes(6))
        return ack.number(2)

    def delivery(self):
        """The next DELIVER, its envelope checked: (delivery, header fields, plaintext, digest, frame)."""
        frame = self.want("DELIVER")
        self.deliveries += 1
        assert frame.number(1) == self.deliveries and frame.number(4) >= 1
        h, header, sealed, d = self.check_envelope(frame.bytes(6))
        return frame.number(1), h, self.open(header, sealed), d, frame

    def skips(self):
        """Verified skips of one frame: (delivery, number, digest, state, leaf)."""
        frame, out = self.want("SKIPS"), []
        for k in map(parse, frame[2]):
            self.deliveries += 1
            assert k.number(10) == self.deliveries
            digest = k.bytes(5) or bytes(32)
            leaf = spec.skip_leaf(k.text(1), k.text(2), k.bytes(3), k.number(4), digest, k.number(6), self.gateway)
            out.append((k.number(10), k.number(4), digest, k.number(6), leaf))
        self.verify_run(parse(frame.bytes(1)), [row[4] for row in out])
        return out

    def ack(self, *rows):
        """rows: (delivery, digest, outcome[, code[, retry_ms]]), one signature over all."""
        rows = [tuple(r) + (0,) * (5 - len(r)) for r in rows]
        at = now_ms()
        leaves = [spec.ack_leaf(digest, outcome, code, at) for _, digest, outcome, code, _ in rows]
        signature = self.sign_key.sign(spec.signed_bytes(self.sign_public, len(leaves), spec.root(leaves)))
        batch = message({1: 1, 2: spec.key_id(1, 1, self.sign_public), 3: len(leaves), 4: signature})
        acks = [message({1: n, 2: digest, 3: outcome, 4: code, 5: at, 6: retry}) for n, digest, outcome, code, retry in rows]
        self.send("ACK", message({1: batch, 2: acks}))

    # -- 18: large bodies

    def seal_large(self, fields, to, plaintext):
        """Header, sealed body, and the chunks."""
        key, start = os.urandom(32), os.urandom(24)
        chunks = spec.large_chunks(key, start, plaintext)
        fields[26] = message({1: sum(map(len, chunks)), 2: spec.root([spec.chunk_leaf(c) for c in chunks])})
        return *self.seal(fields, to, struct.pack(">Q", len(plaintext)) + key + start), chunks

    def put(self, manifest, index, chunk=b""):
        """(next, code)"""
        self.send("BLOB_PUT", message({1: manifest.bytes(2), 2: manifest.number(1), 3: index, 4: chunk}))
        state = self.want("BLOB_STATE")
        assert state.bytes(1) == manifest.bytes(2)
        return state.number(2), state.number(3)

    def get(self, digest, index):
        self.send("BLOB_GET", message({1: digest, 2: index}))
        chunk = self.want("BLOB_CHUNK")
        assert (chunk.bytes(1), chunk.number(2)) == (digest, index)
        return chunk.bytes(3), chunk.number(4)

    def open_large(self, h, body, digest):
        manifest, (n,) = parse(h.bytes(26)), struct.unpack(">Q", body[:8])
        count = -(-manifest.number(1) // spec.LARGE_CHUNK)
        chunks = [self.get(digest, i)[0] for i in range(count)]
        assert len(body) == 64 and spec.root([spec.chunk_leaf(c) for c in chunks]) == manifest.bytes(2)
        state = spec.sodium.crypto_secretstream_xchacha20poly1305_state()
        spec.sodium.crypto_secretstream_xchacha20poly1305_init_pull(state, body[40:], body[8:40])
        opened = [spec.sodium.crypto_secretstream_xchacha20poly1305_pull(state, c) for c in chunks]
        assert [tag for _, tag in opened] == [0] * (count - 1) + [3]
        padded = b"".join(piece for piece, _ in opened)
        assert padded == spec.pad(padded[:n])
        return padded[:n]

    # -- 12: streams

    def open_stream(self, stream, recipient, event="", lowest=1):
        self.send("STREAM_OPEN", message({1: stream, 2: recipient, 3: event, 4: lowest}))
        state = self.want("STREAM_STATE")
        assert state.bytes(1) == stream
        return state.number(2), state.number(3)

    # -- 9.5: topic keys

    def key_envelope(self, service, event, epoch, topic_key, subscribers):
        fields = self.header(KEY, service, event, lifetime=86400000)
        fields[22] = message({4: epoch})
        header, wraps = message(fields), []
        for to in subscribers:
            recipient, ephemeral = self.registry.key(to, 2), spec.X25519PrivateKey.generate()
            e = spec.raw_public(ephemeral)
            dh = ephemeral.exchange(spec.X25519PublicKey.from_public_bytes(recipient))
            key, commitment = spec.message_key(spec.hkdf_extract(b"ehis/seal/v1", dh + e + recipient), KEY, fields[1], self.id, service)
            wraps.append(message({1: spec.key_id(2, 2, recipient), 2: e, 3: commitment, 4: spec.aead(key, os.urandom(24), topic_key, header)}))
        return header, message({1: wraps})

    def event_envelope(self, service, event, epoch, topic_key, stream, number, plaintext):
        fields = self.header(EVENT, service, event, stream=stream, number=number)
        key, commitment = spec.message_key(spec.hkdf_extract(b"ehis/topic/v1", topic_key), EVENT, fields[1], self.id, service)
        fields[22] = message({3: commitment, 4: epoch})
        header = message(fields)
        return header, spec.aead(key, os.urandom(24), spec.pad(plaintext), header)

    def take_keys(self):
        """KEYS: each envelope checked; the topic keys that are wrapped for this system are kept. How many envelopes."""
        frame = self.want("KEYS")
        for envelope in frame.get(1, []):
            h, header, sealed, _ = self.check_envelope(envelope)
            for w in map(parse, parse(sealed).get(1, [])):
                if w.bytes(1) != spec.key_id(2, 2, self.seal_public):
                    continue
                dh = self.seal_key.exchange(spec.X25519PublicKey.from_public_bytes(w.bytes(2)))
                key, commitment = spec.message_key(spec.hkdf_extract(b"ehis/seal/v1", dh + w.bytes(2) + self.seal_public), KEY, h.bytes(1), h.text(4), h.text(5))
                assert commitment == w.bytes(3)
                self.topic_keys[parse(h.bytes(22)).bytes(4)] = spec.sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(w.bytes(4)[24:], header, w.bytes(4)[:24], key)
        return len(frame.get(1, []))
