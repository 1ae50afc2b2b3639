# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""Parcels (SPEC 17.2) as a gateway signs them, or somebody who would like to be one: written from the specification alone.

    forger = Forger("AZ/gw1", key)                  # key: as in a sign.key, or one of one's own
    value = forger.parcel("t1..inbox.AZ..GOV..X", BEAT)
"""
import os
import time

from make_vectors import batch, digest, message, parcel_leaf, sha256
from spec_peer import parse, read_key

ENVELOPE, SKIP, REPORT, PROBE, PROBED, BEAT, CLAIM, CURSOR, AUDIT, DEAD = range(1, 11)
HEAD = {"kind": 1, "gateway": 2, "boot": 3, "time_ms": 4, "accepted_ms": 5, "registry_version": 6, "digest": 7, "sender": 8, "system": 9, "stream": 10, "number": 11,
        "state": 12, "code": 13, "ack": 14, "token": 15, "held": 16, "takes_streams": 17, "takes_calls": 18, "is_leaving": 19, "service": 20, "event": 21}


class Forger:
    def __init__(self, gateway, seed=None):
        self.gateway, self.seed, self.boot = gateway, seed or os.urandom(32), int.from_bytes(os.urandom(8), "big") | 1

    @classmethod
    def of(cls, world, folder="gw", gateway="AZ/gw1"):
        """With a gateway's true key: what a stolen one can do."""
        return cls(gateway, read_key(world.dir / folder / "sign.key"))

    def parcel(self, topic, kind, payload=b"", **head):
        fields = {"kind": kind, "gateway": self.gateway, "boot": self.boot, "time_ms": int(time.time() * 1000), **head}
        top = message({HEAD[name]: value for name, value in fields.items()})
        e = parse(payload) if kind == ENVELOPE else None
        d = digest(e.bytes(1), e.bytes(2)) if e else sha256(payload)
        signed = batch(self.seed, [parcel_leaf(topic, top, d)])
        return message({1: top, 2: payload, 3: message({1: 1, 2: signed["key_id"], 3: 1, 6: signed["signature"]})})


def head_of(value):
    """The fields of a parcel's head, by name where they have one here."""
    head = parse(parse(value).bytes(1))
    return {name: head.get(number, [None])[0] for name, number in HEAD.items()}


def payload_of(value):
    return parse(value).bytes(2)


__all__ = ["Forger", "head_of", "payload_of"]
