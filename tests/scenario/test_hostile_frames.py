# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""Frames that may not come: by whom, when, how long, how slow (SPEC 7.1, 8). The session ends by ERROR with the number; others go on."""
import os
import struct
import time

import pytest

pytest.importorskip("cryptography")
from ehis_peer import (ACK, CRL, CRL_GET, DELIVER, ERROR, FLOW, GOODBYE, HELLO, KEYS, KEYS_GET, PING, READY, READY_STATE, RECEIPTS, REGISTRY, REGISTRY_GET, SKIPS,
                       STREAM_OPEN, STREAM_SETTLED, STREAM_STATE, SUBMIT, SUBSCRIBE, SUBSCRIPTION, Ended, Peer, frame)
from make_vectors import message, varint
from world import SERVICE, SYSTEMS

TAX, POPULATION = SYSTEMS["tax"], SYSTEMS["population"]


def peer_in(arena, state):
    p = Peer.of(arena.world, "tax")
    return p if state == "H" else p.greet() if state == "F" else p.ready()


FROM_GATEWAY = {"REGISTRY": REGISTRY, "CRL": CRL, "READY_STATE": READY_STATE, "STREAM_STATE": STREAM_STATE, "FLOW": FLOW, "RECEIPTS": RECEIPTS, "DELIVER": DELIVER,
                "SKIPS": SKIPS, "SUBSCRIPTION": SUBSCRIPTION, "KEYS": KEYS}
NOT_IN_H = {"PING": PING, "GOODBYE": GOODBYE, "REGISTRY_GET": REGISTRY_GET, "READY": READY, "SUBMIT": SUBMIT, "SUBSCRIBE": SUBSCRIBE, "ACK": ACK, "CRL_GET": CRL_GET}
NOT_IN_F = {"STREAM_OPEN": STREAM_OPEN, "STREAM_SETTLED": STREAM_SETTLED, "SUBMIT": SUBMIT, "ACK": ACK, "SUBSCRIBE": SUBSCRIBE, "KEYS_GET": KEYS_GET, "HELLO": HELLO}


def check_refused(arena, state, data, code):
    with arena.attack() as since:
        p = peer_in(arena, state)
        p.send_bytes(data)
        assert p.refusal() == code
        since.logged(code, system=TAX)
        since.recorded(code, "session-refused" if state == "H" else "session-ended", system=TAX)


@pytest.mark.parametrize("name", FROM_GATEWAY)
def test_a_frame_of_the_gateways_own_is_the_wrong_direction(arena, name):
    check_refused(arena, "R", frame(FROM_GATEWAY[name]), 2013)


@pytest.mark.parametrize("name", NOT_IN_H)
def test_nothing_comes_before_hello(arena, name):
    check_refused(arena, "H", frame(NOT_IN_H[name]), 2014)


@pytest.mark.parametrize("name", NOT_IN_F)
def test_what_needs_a_ready_session_is_out_of_state_before(arena, name):
    check_refused(arena, "F", frame(NOT_IN_F[name]), 2014)


def test_a_second_hello_is_out_of_state(arena):
    check_refused(arena, "R", frame(HELLO, message({1: 1})), 2014)


@pytest.mark.parametrize("kind", [0, 29, 127, 255])
@pytest.mark.parametrize("state", ["H", "R"])
def test_a_frame_of_unknown_type_is_refused(arena, state, kind):
    check_refused(arena, state, frame(kind), 2012)


@pytest.mark.parametrize("state", ["H", "R"])
def test_a_frame_without_a_type_is_refused(arena, state):
    check_refused(arena, state, struct.pack(">I", 0) + b"\x01", 2011)


@pytest.mark.parametrize("state,limit", [("H", 4096), ("R", 1 << 20)])
def test_a_frame_over_the_limit_is_refused_by_its_head_alone(arena, state, limit):
    check_refused(arena, state, struct.pack(">IB", limit + 1, 2), 2010)
    check_refused(arena, state, struct.pack(">IB", 0xFFFFFFFF, 2), 2010)


def test_a_frame_of_exactly_the_limit_is_read(arena):
    """And is refused for what is in it: 1 MiB of zeros is no envelope."""
    with arena.attack():
        p = peer_in(arena, "R")
        p.send_bytes(struct.pack(">IB", 1 << 20, SUBMIT) + bytes((1 << 20) - 1))
        assert p.refusal() not in (2010, 2011, 2012, 2013, 2014)


def test_hello_cut_at_every_byte_is_refused(arena):
    """Inside a whole frame: the message ends too early, or lacks a field."""
    whole = Peer.of(arena.world, "tax").hello_payload()
    with arena.attack():
        for n in range(0, len(whole), 3 if len(whole) > 60 else 1):
            p = Peer.of(arena.world, "tax")
            p.send(HELLO, whole[:n])
            assert p.refusal() in (2020, 2031, 2081, 2001, 2028), n


def test_an_envelope_cut_at_any_byte_is_refused_and_none_is_accepted(arena):
    with arena.attack() as since:
        p = peer_in(arena, "R")
        whole = p.envelope(recipient=SERVICE)
        for n in [*range(0, 8), *range(8, len(whole), 41), len(whole) - 1]:
            q = peer_in(arena, "R")
            q.send(SUBMIT, whole[:n])
            assert q.refusal() in (2020, 2031, 2028), n
        assert not [r for r in arena.world.records("--kind", "accepted", "--system", TAX) if r["sequence"] > since.sequence]
        p.close()


def test_trailing_bytes_after_an_envelope_are_refused(arena):
    p = peer_in(arena, "R")
    check_refused(arena, "R", frame(SUBMIT, p.envelope(recipient=SERVICE) + b"\0"), 2021)
    p.close()


def test_a_connection_cut_inside_a_frame_at_any_byte_is_truncated(arena):
    p = Peer.of(arena.world, "tax")
    whole = frame(HELLO, p.hello_payload())
    p.close()
    for n in (1, 3, 4, 5, 6, len(whole) // 2, len(whole) - 1):
        with arena.attack() as since:
            q = Peer.of(arena.world, "tax")
            q.send_bytes(whole[:n])
            q.cut()
            since.logged(2074, event="session.end", system=TAX, end="truncated")


@pytest.mark.parametrize("state", ["H", "R"])
def test_a_frame_that_drips_at_a_byte_a_second_ends_at_its_deadline(arena, state):
    """frame and first_frame are 3 s here: absolute, whatever trickles in."""
    with arena.attack() as since:
        p = peer_in(arena, state)
        data = frame(HELLO, p.hello_payload()) if state == "H" else frame(PING, message({1: 7}))
        began = time.monotonic()
        code = None
        for i, byte in enumerate(data):
            try:
                p.send_bytes(bytes([byte]))
                p.expect(ERROR, seconds=1)
                code = 2073
                break
            except TimeoutError:
                assert i < 6, "still open after 6 s"
            except Ended:
                break
        assert code == 2073 and 2 < time.monotonic() - began < 5
        line = since.logged(2073, event="session.end", system=TAX)
        assert line["end"] in (("first_frame_timeout", "frame_timeout") if state == "H" else ("frame_timeout",)), line


HELLOS = {"version 2": (2080, {"version": 2}), "no state folder": (2081, {"state_id": b""}), "a state folder of zeros": (2081, {"state_id": bytes(16)}),
          "a short state folder": (2028, {"state_id": bytes(15)}), "frames that are too small": (2081, {"max_frame_bytes": 65535}),
          "a name that is none": (2001, {"name": "../../etc"}), "another system's name": (2081, {"name": POPULATION}),
          "too many features": (2029, {"features": [b"x"] * 17})}


@pytest.mark.parametrize("what", HELLOS)
def test_a_hello_that_is_not_acceptable(arena, what):
    code, change = HELLOS[what]
    p = Peer.of(arena.world, "tax")
    check_refused(arena, "H", frame(HELLO, p.hello_payload(**change)), code)
    p.close()


FORMS = {"an unknown field": (2021, message({1: 7}) + varint(30 << 3) + b"\x01"), "a field twice": (2023, message({1: 7}) * 2), "fields backwards": (2024, message({2: 7}) + message({1: 7})),
         "a long varint": (2025, b"\x08\x87\x00"), "eleven bytes of varint": (2025, b"\x08" + b"\xff" * 10 + b"\x01"), "a written zero": (2026, b"\x08\x00"),
         "a wrong wire type": (2022, b"\x0d\0\0\0\0"), "a group": (2022, b"\x0b\x0c"), "field number 0": (2021, b"\x00\x01"), "half a varint": (2020, b"\x08\x80")}


@pytest.mark.parametrize("what", FORMS)
def test_a_message_that_is_not_canonical(arena, what):
    """SPEC 3.1 on the wire; PONG goes the same way as every other frame. (The scanner's own tests have all rules.)"""
    code, payload = FORMS[what]
    with arena.attack() as since:
        p = peer_in(arena, "R")
        p.send(READY, payload)
        said = p.refusal()
        since.recorded(said, "session-ended", system=TAX)
        assert said == code


def test_a_folder_that_two_sessions_use_ends_the_older(arena):
    state_id = os.urandom(16)
    with arena.attack() as since:
        older = Peer.of(arena.world, "tax", state_id=state_id).ready()
        newer = Peer.of(arena.world, "tax", state_id=state_id).ready()
        assert older.refusal() == 5071
        assert newer.is_served()
        since.recorded(5071, "session-ended", system=TAX)
        newer.close()


@pytest.mark.parametrize("state", ["F", "R"])
def test_who_fetches_again_and_again_is_ended(arena, state):
    """SPEC 8.3.1: each fetch costs the gateway more than it costs its peer."""
    with arena.attack() as since:
        p = peer_in(arena, state)
        p.send_bytes(b"".join(frame(REGISTRY_GET, message({1: n})) for n in range(1, 51)))
        assert p.refusal() == 5050
        since.recorded(5050, "session-ended", system=TAX)


def test_an_acknowledgement_of_what_was_never_delivered_changes_nothing(arena):
    """SPEC 8.6.4: not in flight, ignored; one that is not signed ends the session."""
    with arena.attack():
        p = peer_in(arena, "R")
        p.send(ACK, message({1: message({1: 1, 2: os.urandom(32), 3: 1, 4: os.urandom(64)}), 2: [message({1: 99, 2: os.urandom(32), 3: 1, 5: int(time.time() * 1000)})]}))
        try:
            assert p.is_served()
        except Exception as e:
            assert getattr(e, "code", None) in (2052, 4050, 5070), e


def test_a_flood_of_sessions_is_bounded_and_others_are_served(arena):
    """sessions_per_system is 64 here."""
    with arena.attack() as since:
        many = []
        refused = 0
        for _ in range(70):
            p = Peer.of(arena.world, "students")
            try:
                many.append(p.greet())
            except Exception as e:
                assert getattr(e, "code", 5203) == 5203, e
                refused += 1
        assert len(many) == 64 and refused == 6
        since.recorded(5203, "session-refused", system=SYSTEMS["students"])
        for p in many:
            p.close()
