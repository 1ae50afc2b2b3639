#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""Test vectors of proto/SPEC.md, computed from its text alone: nothing of the project's code is used.

make_vectors.py OUT_DIR           writes them
make_vectors.py --check OUT_DIR   compares with what stands there; exit 1 where it differs, 77 where a library is missing
"""
import hashlib
import hmac
import json
import os
import re
import struct
import sys

missing = None
try:
    import nacl.bindings as sodium
except ImportError as error:  # who seals nothing needs it not
    missing = error
try:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
except ImportError as error:
    if __name__ != "__main__":
        raise
    missing = error


def sha256(data):
    return hashlib.sha256(data).digest()


def lp(text):
    return struct.pack(">H", len(text)) + text


def u8(v):
    return struct.pack(">B", v)


def u32(v):
    return struct.pack(">I", v)


def u64(v):
    return struct.pack(">Q", v)


def filled(seed, n):
    """n bytes that anybody can make again: SHA-256 of the name and a counter."""
    out = b""
    while len(out) < n:
        out += sha256(seed.encode() + u32(len(out) // 32))
    return out[:n]


# ---- 3: canonical protobuf ----

def varint(v):
    out = bytearray()
    while v >= 0x80:
        out.append(v & 0x7F | 0x80)
        v >>= 7
    out.append(v)
    return bytes(out)


def field(number, value):
    if isinstance(value, list):
        return b"".join(varint(number << 3 | 2) + varint(len(v)) + v for v in value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value) if value else b""
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value if value else b""


def message(fields):
    return b"".join(field(number, value) for number, value in sorted(fields.items()))


# ---- 2: digests and ids ----

def digest(header, sealed):
    return sha256(b"ehis/env/v1\0" + u32(len(header)) + header + u64(len(sealed)) + sha256(sealed))


def key_id(use, algorithm, public):
    return sha256(b"ehis/key/v1\0" + u8(use) + u8(algorithm) + public)


# ---- 5: trees and signatures ----

def leaf(content):
    return sha256(b"\0" + content)


def node(left, right):
    return sha256(b"\1" + left + right)


def root(leaves):
    """RFC 6962 2.1, as it is written there."""
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node(root(leaves[:k]), root(leaves[k:]))


def path(leaves, index):
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if index < k:
        return path(leaves[:k], index) + [root(leaves[k:])]
    return path(leaves[k:], index - k) + [root(leaves[:k])]


def run_proof(leaves, first, count):
    """What the leaves first .. first + count - 1 lack to the root, as SPEC 6.4 writes it down."""
    level, lo, hi, out = list(leaves), first, first + count - 1, []
    while len(level) > 1:
        if lo % 2:
            out.append(level[lo - 1])
        if hi % 2 == 0 and hi < len(level) - 1:
            out.append(level[hi + 1])
        level = [node(*level[i:i + 2]) if i + 1 < len(level) else level[i] for i in range(0, len(level), 2)]
        lo, hi = lo // 2, hi // 2
    return out


def raw_public(private):
    return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def signed_bytes(public, size, top):
    return b"ehis/batch/v1\0" + u8(1) + key_id(1, 1, public) + u32(size) + top


def batch(seed, leaves):
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public, top = raw_public(private), root(leaves)
    content = signed_bytes(public, len(leaves), top)
    signature = private.sign(content)
    Ed25519PublicKey.from_public_bytes(public).verify(signature, content)
    return {"seed": seed, "public_key": public, "key_id": key_id(1, 1, public), "size": len(leaves), "root": top, "signed_bytes": content,
            "signature": signature,
            "leaves": [{"index": i, "leaf": l, "path": b"".join(path(leaves, i))} for i, l in enumerate(leaves)],
            "runs": [{"first": f, "count": n, "proof": b"".join(run_proof(leaves, f, n))} for f in range(len(leaves)) for n in range(1, len(leaves) - f + 1)]}


# ---- 9: seal ----

def hkdf_extract(salt, ikm):
    return hmac.new(salt, ikm, hashlib.sha256).digest()


def hkdf_expand(prk, info, n):
    out = block = b""
    for i in range(1, (n + 31) // 32 + 1):
        block = hmac.new(prk, block + info + u8(i), hashlib.sha256).digest()
        out += block
    return out[:n]


def padded_length(n):
    m = n + 1
    if m <= 4096:
        return (m + 255) // 256 * 256
    e = m.bit_length() - 1
    s = e.bit_length()
    step = 1 << (e - s)
    return (m + step - 1) // step * step


def pad(plaintext):
    n = padded_length(len(plaintext))
    return plaintext + b"\x80" + bytes(n - len(plaintext) - 1)


def message_key(prk, kind, exchange_id, sender, recipient):
    okm = hkdf_expand(prk, u8(kind) + exchange_id + lp(sender.encode()) + lp(recipient.encode()), 64)
    return okm[:32], okm[32:]


def aead(key, nonce, plaintext, associated):
    return nonce + sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, associated, nonce, key)


# ---- the files ----

EXCHANGE_ID = bytes.fromhex("018f3c2a5b7e7c01923456789abcdef0")
TAX, PERSON, POPULATION, GATEWAY = "AZ/GOV/STS/tax", "AZ/GOV/MIA/population/person", "AZ/GOV/MIA/population", "AZ/gw1"


def identifiers():
    part64, part65 = "a" * 64, "a" * 65
    texts = ["AZ", "AZ/gw1", "AZ/GOV/MIA", POPULATION, PERSON, PERSON + "/x", "", "/", "A/", "/b", "A//b", "A/.b", "A/b.", "A/b..c", "A/b.c", "A/..",
             "A/-_", "A/b c", "A/b%20c", "A/b:c", "A/\u00fc", "A/b\0", "a/B", f"A/{part64}", f"A/{part65}",
             "/".join([part64, part64, part64, "a" * 5]), "/".join([part64, part64, part64, "a" * 6])]
    return [{"bytes": t.encode(), "parts": parts_of(t)} for t in texts]


def parts_of(text):
    """SPEC 1.1, 1.2; 0: no identifier."""
    parts = text.split("/")
    good = len(text.encode()) <= 200 and 2 <= len(parts) <= 5 and all(
        re.fullmatch(r"[A-Za-z0-9._-]{1,64}", p) and not p.startswith(".") and not p.endswith(".") and ".." not in p for p in parts)
    return len(parts) if good else 0


def header_fields(kind):
    seal = {1: filled("recipient key id", 32), 2: filled("ephemeral", 32)} if kind <= 2 else {4: filled("epoch", 16)}
    if kind != 4:
        seal[3] = filled("commitment", 32)
    out = {1: EXCHANGE_ID, 2: kind, 4: TAX if kind != 2 else POPULATION, 5: {1: PERSON, 2: TAX}.get(kind, TAX + "/payers"), 6: "GetPerson" if kind <= 2 else "PayerChanged",
           10: 1764144000000, 11: 1764144030000, 22: message(seal), 23: 7, 24: filled("statement", 32)}
    if kind == 1:
        out.update({12: 65536, 13: "tax.assessment", 14: "Vergi M\u0259c\u0259ll\u0259si 23.1", 15: "2026/17", 16: "AA1234567", 17: "AZ/GOV/STS",
                    18: [filled("subject 1", 32), filled("subject 2", 16)], 20: "az.mia.population.v1.GetPersonRequest", 21: "application/x-protobuf", 25: filled("trace", 16)})
    if kind == 2:
        out.update({3: 2, 7: filled("request", 32), 19: [b"name", b"address.city"], 21: "application/json"})
    if kind == 3:
        out.update({8: filled("stream", 16), 9: 300, 19: [b"pin"], 20: "az.sts.v1.PayerChanged"})
    return out


def headers():
    return [{"kind": kind, "sender": header_fields(kind)[4], "recipient": header_fields(kind)[5], "operation": header_fields(kind)[6],
             "header": message(header_fields(kind))} for kind in (1, 2, 3, 4)]


def scan():
    good = message(header_fields(1))
    ping = lambda b: {"message": "Ping", "bytes": b}
    flow = lambda b: {"message": "Flow", "bytes": b}
    d = field(1, filled("d", 32))
    rows = [
        ({"message": "Header", "bytes": good}, "OK"), ({"message": "Header", "bytes": good[:-1]}, "SCAN_TRUNCATED"),
        ({"message": "Header", "bytes": good + b"\0"}, "SCAN_UNKNOWN_FIELD"), ({"message": "Header", "bytes": good[18:]}, "SCAN_MISSING"),
        ({"message": "Header", "bytes": good + good[:18]}, "SCAN_DUPLICATE"), ({"message": "Header", "bytes": good[18:20] + good[:18] + good[20:]}, "SCAN_ORDER"),
        (ping(b""), "OK"), (ping(b"\x08\x01"), "OK"), (ping(b"\x08\x00"), "SCAN_DEFAULT"), (ping(b"\x08\x81\x00"), "SCAN_VARINT"),
        (ping(b"\x88\x00\x01"), "SCAN_VARINT"), (ping(b"\x08" + b"\xff" * 9 + b"\x01"), "OK"), (ping(b"\x08" + b"\xff" * 9 + b"\x02"), "SCAN_VARINT"),
        (ping(b"\x08"), "SCAN_TRUNCATED"), (ping(b"\x0a\x01\x00"), "SCAN_WIRE_TYPE"), (ping(b"\x0d\0\0\0\0"), "SCAN_WIRE_TYPE"), (ping(b"\x0b\x0c"), "SCAN_WIRE_TYPE"),
        (ping(b"\x18\x01"), "SCAN_UNKNOWN_FIELD"), (ping(b"\x10\x01\x08\x01"), "SCAN_ORDER"), (ping(b"\x08\x01\x08\x01"), "SCAN_DUPLICATE"),
        (flow(d + field(2, 5050)), "OK"), (flow(d + field(2, (1 << 32) - 1)), "OK"), (flow(d + field(2, 1 << 32)), "SCAN_RANGE"), (flow(d), "SCAN_MISSING"),
        (flow(field(1, bytes(31) + b"") + field(2, 1)), "SCAN_LENGTH"), (flow(field(1, bytes(33)) + field(2, 1)), "SCAN_LENGTH"), (flow(field(1, bytes(32)) + field(2, 1)), "OK"),
        ({"message": "Error", "bytes": field(1, 1) + field(2, "\u0259")}, "OK"), ({"message": "Error", "bytes": field(1, 1) + field(2, b"a\0b")}, "SCAN_TEXT"),
        ({"message": "Error", "bytes": field(1, 1) + field(2, b"\xed\xa0\x80")}, "SCAN_TEXT"), ({"message": "Error", "bytes": field(1, 1) + b"\x12\x00"}, "SCAN_LENGTH"),
        ({"message": "Subscribe", "bytes": field(1, PERSON) + field(2, "e") + field(3, 1)}, "OK"),
        ({"message": "Subscribe", "bytes": field(1, PERSON) + field(2, "e") + field(3, 2)}, "SCAN_RANGE"),
        ({"message": "Subscribe", "bytes": field(1, "A//b") + field(2, "e")}, "IDENTIFIER_INVALID"),
    ]
    return [{**row, "result": result} for row, result in rows]


def digests():
    request = message(header_fields(1))
    rows = [{"header": h, "sealed": s, "digest": digest(h, s)} for h, s in ((request, filled("sealed", 296)), (b"h", b"s"), (request, b"\0"))]
    keys = [{"use": use, "algorithm": algorithm, "public_key": filled(f"key {use}", n), "key_id": key_id(use, algorithm, filled(f"key {use}", n))}
            for use, algorithm, n in ((1, 1, 32), (2, 2, 32), (3, 3, 91), (4, 1, 32), (5, 3, 91), (6, 1, 32))]
    return {"envelopes": rows, "keys": keys}


def batches():
    seed = filled("signing seed", 32)
    return [batch(seed, [leaf(digest(message(header_fields(1)), filled(f"sealed {size} {i}", 296))) for i in range(size)]) for size in (1, 2, 5, 7)]


def seal():
    recipient = X25519PrivateKey.from_private_bytes(filled("recipient secret", 32))
    ephemeral = X25519PrivateKey.from_private_bytes(filled("ephemeral secret", 32))
    r, e = raw_public(recipient), raw_public(ephemeral)
    dh = ephemeral.exchange(X25519PublicKey.from_public_bytes(r))
    assert dh == recipient.exchange(X25519PublicKey.from_public_bytes(e))
    prk = hkdf_extract(b"ehis/seal/v1", dh + e + r)
    key, commitment = message_key(prk, 1, EXCHANGE_ID, TAX, PERSON)
    fields = header_fields(1)
    fields[22] = message({1: key_id(2, 2, r), 2: e, 3: commitment})
    header, nonce = message(fields), filled("nonce", 24)
    rows = []
    for n in (0, 1, 255, 256, 1000, 4095, 4096, 5000, 100000):
        plaintext = filled("plaintext", n)
        sealed = aead(key, nonce, pad(plaintext), header)
        rows.append({"plaintext_bytes": n, "sealed_bytes": len(sealed), "sealed_hash": sha256(sealed), "digest": digest(header, sealed)})
        if n <= 256:
            rows[-1].update({"plaintext": plaintext, "sealed": sealed})
    topic_key, kind3 = filled("topic key", 32), header_fields(3)
    topic_prk = hkdf_extract(b"ehis/topic/v1", topic_key)
    event_key, event_commitment = message_key(topic_prk, 3, EXCHANGE_ID, TAX, TAX + "/payers")
    kind3[22] = message({3: event_commitment, 4: filled("epoch", 16)})
    event_header = message(kind3)
    key_header = message(header_fields(4))
    wrap_key, wrap_commitment = message_key(prk, 4, EXCHANGE_ID, TAX, TAX + "/payers")
    wrapped = aead(wrap_key, nonce, topic_key, key_header)
    wraps = message({1: [message({1: key_id(2, 2, r), 2: e, 3: wrap_commitment, 4: wrapped})]})
    return {"recipient_secret": filled("recipient secret", 32), "recipient_key": r, "recipient_key_id": key_id(2, 2, r), "ephemeral_secret": filled("ephemeral secret", 32),
            "ephemeral_key": e, "dh": dh, "prk": prk, "kind": 1, "exchange_id": EXCHANGE_ID, "sender": TAX, "recipient": PERSON, "key": key, "commitment": commitment,
            "header": header, "nonce": nonce, "bodies": rows,
            "padding": [{"plaintext_bytes": n, "padded_bytes": padded_length(n)} for n in
                        (0, 1, 254, 255, 256, 511, 512, 4094, 4095, 4096, 4351, 4352, 8191, 8192, 10000, 65535, 65536, 1000000, 1048575, 16777000)],
            "topic": {"topic_key": topic_key, "prk": topic_prk, "kind": 3, "sender": TAX, "recipient": TAX + "/payers", "key": event_key, "commitment": event_commitment,
                      "header": event_header, "plaintext": filled("event", 40), "sealed": aead(event_key, nonce, pad(filled("event", 40)), event_header)},
            "wrap": {"header": key_header, "key": wrap_key, "commitment": wrap_commitment, "wrapped": wrapped, "sealed": wraps}}


LARGE_CHUNK = 262144


def chunk_leaf(chunk):
    return leaf(sha256(b"ehis/chunk/v1\0" + chunk))


def large_chunks(key, header, plaintext):
    padded, step = pad(plaintext), LARGE_CHUNK - 17
    state = sodium.crypto_secretstream_xchacha20poly1305_state()
    sodium.crypto_secretstream_xchacha20poly1305_init_pull(state, header, key)  # the same state as the sender's, for a header that is given
    return [sodium.crypto_secretstream_xchacha20poly1305_push(state, padded[at:at + step], None, 3 if at + step >= len(padded) else 0)
            for at in range(0, len(padded), step)]


def blob_key(sender, top):
    return sha256(b"ehis/blob/v1\0" + lp(sender.encode()) + top)


def large():
    key, header, n = filled("content key", 32), filled("stream header", 24), 600000
    chunks = large_chunks(key, header, filled("plaintext", n))
    leaves = [chunk_leaf(c) for c in chunks]
    size = sum(map(len, chunks))
    fields = header_fields(1)
    fields[26] = message({1: size, 2: root(leaves)})
    return {"plaintext_bytes": n, "key": key, "stream_header": header, "body": u64(n) + key + header, "bytes": size, "chunk_hashes": b"".join(map(sha256, chunks)),
            "last_chunk_bytes": len(chunks[-1]), "small": {"plaintext": filled("plaintext", 10), "chunk": large_chunks(key, header, filled("plaintext", 10))[0]},
            "leaves": b"".join(leaves), "root": root(leaves), "list": b"".join(x + u64(i * LARGE_CHUNK) for i, x in enumerate(leaves)), "sender": TAX, "blob_key": blob_key(TAX, root(leaves)),
            "header_field": field(26, fields[26]), "header": message(fields)}


def ack_leaf(d, outcome, code, time_ms):
    return leaf(sha256(b"ehis/ack/v1\0" + d + u8(outcome) + u32(code) + u64(time_ms)))


def receipt_leaf(d, sender, recipient, state, code, time_ms, gateway):
    return leaf(sha256(b"ehis/receipt/v1\0" + d + lp(sender.encode()) + lp(recipient.encode()) + u8(state) + u32(code) + u64(time_ms) + lp(gateway.encode())))


def skip_leaf(sender, recipient, stream, number, d, state, gateway):
    return leaf(sha256(b"ehis/skip/v1\0" + lp(sender.encode()) + lp(recipient.encode()) + stream + u64(number) + d + u8(state) + lp(gateway.encode())))


def statements():
    d, t = filled("digest", 32), 1764144001234
    acks = [{"digest": d, "outcome": o, "code": c, "time_ms": t, "leaf": ack_leaf(d, o, c, t)} for o, c in ((1, 0), (2, 4103), (3, 5050))]
    receipts = [{"digest": d, "sender": TAX, "recipient": to, "state": s, "code": c, "time_ms": t, "gateway": GATEWAY, "leaf": receipt_leaf(d, TAX, to, s, c, t, GATEWAY)}
                for to, s, c in ((PERSON, 1, 0), (PERSON, 3, 0), (TAX, 1, 0), ("", 5, 2041), (PERSON, 6, 5062))]
    skips = [{"sender": TAX, "recipient": POPULATION, "stream": filled("stream", 16), "number": n, "digest": x, "state": s, "gateway": GATEWAY,
              "leaf": skip_leaf(TAX, POPULATION, filled("stream", 16), n, x, s, GATEWAY)} for n, x, s in ((17, d, 6), (1, bytes(32), 4), ((1 << 64) - 1, d, 5))]
    signed = batch(filled("gateway seed", 32), [row["leaf"] for row in receipts + skips])
    return {"acknowledgements": acks, "receipts": receipts, "skips": skips, "batch": signed}


def registry():
    operator = Ed25519PrivateKey.from_private_bytes(filled("operator seed", 32))
    public = raw_public(operator)
    leaves = [message({1: message({1: "AZ/GOV/STS", 2: "Tax service"})}),
              message({2: message({1: TAX, 2: [message({1: key_id(1, 1, filled("k", 32)), 2: 1, 3: 1, 4: filled("k", 32), 5: 1764000000000})]})}),
              message({5: message({1: [message({1: "tax.assessment"})], 2: [message({1: "Tax Code 23.1"})]})})]
    hashes = [leaf(l) for l in leaves]
    first = message({1: "AZ", 2: 1, 4: 1764000000000, 5: 1764600000000, 7: 1, 8: filled("root 1", 32)})
    statement = message({1: "AZ", 2: 2, 3: sha256(first), 4: 1764100000000, 5: 1764700000000, 6: 86400000, 7: len(leaves), 8: root(hashes)})
    content = b"ehis/registry/v1\0" + u8(1) + key_id(4, 1, public) + sha256(statement)
    signature = operator.sign(content)
    return {"operator_seed": filled("operator seed", 32), "operator_key": public, "operator_key_id": key_id(4, 1, public), "previous_statement": first, "statement": statement,
            "statement_hash": sha256(statement), "signed_bytes": content, "signature": signature,
            "signed_statement": message({1: statement, 2: 1, 3: key_id(4, 1, public), 4: signature}), "root": root(hashes),
            "leaves": [{"index": i, "leaf": l, "hash": h, "path": b"".join(path(hashes, i))} for i, (l, h) in enumerate(zip(leaves, hashes))]}


def parcel_leaf(topic, head, payload_digest):
    return leaf(sha256(b"ehis/parcel/v1\0" + lp(topic.encode()) + head + payload_digest))


def parcels():
    """Two of one turn: an envelope on its way, a report; one tree."""
    header, sealed = message(header_fields(1)), filled("sealed", 296)
    d = digest(header, sealed)
    b = batch(filled("sender", 32), [leaf(d)])
    envelope = message({1: header, 2: sealed, 3: message({1: 1, 2: b["key_id"], 3: 1, 6: b["signature"]})})
    common = {2: GATEWAY, 3: 0xfedcba9876543210, 4: 1764144001300}
    out = [{"topic": "inbox.AZ..GOV..MIA..population", "kind": 1, "head": message({**common, 1: 1, 5: 1764144001234, 6: 7}), "payload": envelope, "payload_digest": d},
           {"topic": "reply.AZ..gw2", "kind": 3, "head": message({**common, 1: 3, 7: d, 9: POPULATION, 12: 4, 13: 5068}), "payload": b"", "payload_digest": sha256(b"")}]
    for p in out:
        p["leaf"] = parcel_leaf(p["topic"], p["head"], p["payload_digest"])
    signed = batch(filled("gateway", 32), [p["leaf"] for p in out])
    for p, l in zip(out, signed["leaves"]):
        signature = message({1: 1, 2: signed["key_id"], 3: len(out), 4: l["index"], 5: l["path"], 6: signed["signature"]})
        p["parcel"] = message({1: p["head"], 2: p["payload"], 3: signature})
    return {"public_key": signed["public_key"], "seed": signed["seed"], "parcels": out}


def as_json(value):
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {k: as_json(v) for k, v in value.items()}
    return [as_json(v) for v in value] if isinstance(value, list) else str(value) if isinstance(value, int) and value >= 1 << 53 else value


FILES = {"identifiers": identifiers, "headers": headers, "scan": scan, "digests": digests, "batches": batches, "seal": seal, "statements": statements,
         "registry": registry, "parcels": parcels, "large": large}


def main(arguments):
    check = arguments[:1] == ["--check"]
    folder = arguments[1 if check else 0]
    wrong = 0
    for name, make in FILES.items():
        file = os.path.join(folder, name + ".json")
        text = json.dumps({"spec": "proto/SPEC.md", name: as_json(make())}, indent=1, ensure_ascii=True) + "\n"
        if not check:
            with open(file, "w", encoding="ascii") as f:
                f.write(text)
            continue
        with open(file, encoding="ascii") as f:
            if f.read() != text:
                print(f"{file}: differs from what SPEC gives")
                wrong = 1
    return wrong


if __name__ == "__main__":
    if missing:
        print(f"skipped: {missing}")
        sys.exit(77)
    sys.exit(main(sys.argv[1:]))
