# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""The gateway against a system that was written from proto/SPEC.md in another language (tests/support/spec_peer.py)."""
import os
import socket
import struct
import time

import pytest

pytest.importorskip("cryptography")
pytest.importorskip("nacl")
from spec_peer import (ACCEPTED, DELIVERED, DONE, EVENT, EXPIRED, FAILED, REFUSED, REQUEST, RESPONSE, Ended, Peer, message, parse, spec)
from world import BASIS, PURPOSE, SERVICE, SYSTEMS, World

POPULATION, TAX, STUDENTS = SYSTEMS["population"], SYSTEMS["tax"], SYSTEMS["students"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with World(tmp_path_factory.mktemp("spec")) as w:
        w.start_gateway()
        yield w


@pytest.fixture
def peers(gateway):
    """peers(name) -> a Peer that is ready; all are closed at the end."""
    open_ones = []

    def make(name, ready=True, **windows):
        p = Peer(gateway, name, SYSTEMS[name], gateway.operator_key).connect()
        open_ones.append(p)
        return p.ready(**windows) if ready else p
    yield make
    for p in open_ones:
        p.close()


def call(p, **more):
    return p.header(REQUEST, SERVICE, "GetPerson", **{"purpose": PURPOSE, "legal_basis": BASIS, **more})


def test_a_call_is_answered_and_each_step_proves_itself(gateway, peers):
    tax, population = peers("tax"), peers("population")
    header, sealed = tax.seal(call(tax, case_ref="2026/17"), POPULATION, b'{"pin":"5ABC123"}')
    d = tax.submit(header, sealed)
    assert tax.receipt(d)[:2] == (ACCEPTED, 0)
    _, h, body, seen, _ = population.delivery()
    assert seen == d and h.text(4) == TAX and h.text(13) == PURPOSE and body == b'{"pin":"5ABC123"}'
    answer = population.header(RESPONSE, TAX, "GetPerson", exchange_id=h.bytes(1), status=1, in_reply_to=d, fields=[b"name"], expires=h.number(11))
    rd = population.submit(*population.seal(answer, TAX, b'{"name":"Leyla"}'))
    assert population.receipt(rd)[:2] == (ACCEPTED, 0)
    _, h, body, seen, _ = tax.delivery()
    assert seen == rd and h.bytes(7) == d and body == b'{"name":"Leyla"}'
    kinds = [(r["kind"], r.get("message"), r.get("rule")) for r in gateway.records("--kind", "accepted") if r.get("exchange")]
    assert ("accepted", "request", "R-1") in kinds and kinds[-1][:2] == ("accepted", "response")
    # the same bytes again: the stored response
    tax.submit(header, sealed)
    assert tax.delivery()[3] == rd


def test_a_batch_of_calls_carries_one_signature_and_each_its_path(peers):
    tax, population = peers("tax"), peers("population")
    parts = [tax.seal(call(tax), POPULATION, b"%d" % i) for i in range(5)]
    for envelope in tax.envelopes(parts):
        tax.send("SUBMIT", envelope)
    assert sorted(population.delivery()[2] for _ in parts) == [b"%d" % i for i in range(5)]
    assert {d for d, s, _, _ in tax.receipts() if s == ACCEPTED} <= {spec.digest(*p) for p in parts}


@pytest.mark.parametrize("change, code", [
    ({"purpose": "school.enrolment"}, 4103), ({"legal_basis": "Təhsil Qanunu 12"}, 4104), ({"created": 1, "expires": 60000}, 5062),
    ({"created": 4102444800000, "expires": 4102444860000}, 5063), ({"registry_hash": bytes(32)}, 4004), ({"sender": STUDENTS}, 5060), ({"lifetime": 300001}, 2042),
    ({"status": 1}, 2041)])
def test_what_is_refused_gets_its_code_and_a_record(gateway, peers, change, code):
    tax, _ = peers("tax"), peers("population")
    d = tax.submit(*tax.seal(call(tax, **change), POPULATION, b"x"))
    assert tax.receipt(d)[:2] == (REFUSED, code)
    assert any(r["code"] == f"EHIS-{code}" and r["digest"] == d.hex() for r in gateway.records("--kind", "refused"))


def test_who_has_no_right_does_not_learn_what_exists(peers):
    students = peers("students")
    assert SERVICE not in students.registry.services and POPULATION not in students.registry.owners
    for operation in ("GetPerson", "NoSuchThing"):
        fields = students.header(REQUEST, SERVICE, operation, purpose=PURPOSE, legal_basis=BASIS)
        students.registry.owners[POPULATION] = students.registry.owners[STUDENTS]  # sealed to somebody, the gateway cannot tell
        assert students.receipt(students.submit(*students.seal(fields, POPULATION, b"x")))[:2] == (REFUSED, 4100)


@pytest.mark.parametrize("what, code", [("header", 2052), ("sealed", 2052), ("signature", 2052), ("key", 4050), ("path", 2051), ("size", 2052)])
def test_a_changed_envelope_is_refused(peers, what, code):
    tax, _ = peers("tax"), peers("population")
    header, sealed = tax.seal(call(tax, case_ref="2026/17"), POPULATION, b"x")
    e = parse(tax.envelopes([(header, sealed)])[0])
    s = parse(e.bytes(3))
    fields = {1: s.number(1), 2: s.bytes(2), 3: s.number(3), 5: s.bytes(5), 6: s.bytes(6)}
    if what == "header":
        header = header.replace(b"2026/17", b"2026/18")
    elif what == "sealed":
        sealed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    elif what == "signature":
        fields[6] = bytes([fields[6][0] ^ 1]) + fields[6][1:]
    elif what == "key":
        fields[2] = bytes(32)
    elif what == "path":
        fields[5] = bytes(32)
    else:
        fields[3], fields[5] = 2, bytes(32)
    tax.send("SUBMIT", message({1: header, 2: sealed, 3: message(fields)}))
    assert tax.receipt(spec.digest(header, sealed))[:2] == (REFUSED, code)


def test_nobody_there_fails_a_waiting_call_at_once(peers):
    tax = peers("tax")
    d = tax.submit(*tax.seal(call(tax), POPULATION, b"x"))
    assert tax.receipt(d)[:2] == (REFUSED, 5066)


def test_a_provider_that_leaves_is_told_to_the_caller(peers):
    tax, population = peers("tax"), peers("population")
    d = tax.submit(*tax.seal(call(tax), POPULATION, b"x"))
    population.delivery()
    population.close()
    assert tax.receipt(d, FAILED)[1] == 5067


def test_a_stream_is_taken_up_again_where_it_was(peers):
    tax = peers("tax")
    stream = os.urandom(16)
    tax.open_stream(stream, POPULATION)
    first = tax.seal(call(tax, stream=stream, number=1), POPULATION, b"1")
    d = tax.submit(*first)
    tax.receipt(d)
    tax.close()
    tax = peers("tax")
    assert tax.open_stream(stream, POPULATION) == (2, 0)
    assert tax.receipt(d)[:2] == (ACCEPTED, 0)  # what is not settled is told again
    tax.submit(*first)
    assert tax.receipt(d)[:2] == (ACCEPTED, 0)  # the same bytes: the same receipt
    other = tax.submit(*tax.seal(call(tax, stream=stream, number=1), POPULATION, b"other"))
    assert tax.receipt(other)[:2] == (REFUSED, 5061)
    assert tax.open_stream(stream, STUDENTS)[1] == 5055
    population = peers("population")
    row = population.delivery()
    population.ack((row[0], row[3], DONE))
    assert tax.receipt(d, DELIVERED)[0] == DELIVERED


def test_what_nobody_takes_in_time_expires(peers):
    tax = peers("tax")
    stream = os.urandom(16)
    tax.open_stream(stream, POPULATION)
    d = tax.submit(*tax.seal(call(tax, stream=stream, number=1, lifetime=1500), POPULATION, b"1"))
    assert tax.receipt(d)[0] == ACCEPTED
    assert tax.receipt(d, EXPIRED)[1] == 5062


def test_an_event_goes_to_its_subscribers_with_its_key(peers):
    population, tax, students = peers("population"), peers("tax"), peers("students")
    for p, code in ((tax, 0), (students, 4100)):
        p.send("SUBSCRIBE", message({1: SERVICE, 2: "PersonChanged"}))
        answer = p.want("SUBSCRIPTION")
        assert (answer.text(1), answer.text(2), answer.number(3)) == (SERVICE, "PersonChanged", code)
    epoch, topic_key, stream = os.urandom(16), os.urandom(32), os.urandom(16)
    d = population.submit(*population.key_envelope(SERVICE, "PersonChanged", epoch, topic_key, [TAX]))
    assert population.receipt(d)[:2] == (ACCEPTED, 0)
    assert population.open_stream(stream, SERVICE, "PersonChanged") == (1, 0)
    d = population.submit(*population.event_envelope(SERVICE, "PersonChanged", epoch, topic_key, stream, 1, b"moved"))
    assert population.receipt(d)[:2] == (ACCEPTED, 0)
    assert tax.take_keys() == 1
    number, h, body, seen, _ = tax.delivery()
    assert (seen, body, h.number(2), h.text(5)) == (d, b"moved", EVENT, SERVICE)
    tax.ack((number, seen, DONE))
    tax.send("KEYS_GET", message({1: SERVICE, 2: "PersonChanged", 3: epoch}))
    assert tax.take_keys() == 1
    students.send("KEYS_GET", message({1: SERVICE, 2: "PersonChanged", 3: epoch}))
    assert students.take_keys() == 0
    tax.send("SUBSCRIBE", message({1: SERVICE, 2: "PersonChanged", 3: 1}))
    assert tax.want("SUBSCRIPTION").number(3) == 0


def frame(kind, payload=b""):
    return struct.pack(">IB", len(payload) + 1, kind) + payload


@pytest.mark.parametrize("data, code", [
    (struct.pack(">I", 0), 2011), (frame(99), 2012), (frame(17), 2013), (frame(1, message({1: 1})), 2014), (struct.pack(">IB", 0xFFFFFFFF, 15), 2010),
    (frame(2, b"\x08"), 2020), (frame(2, b"\x18\x01"), 2021), (frame(2, b"\x0a\x00"), 2022), (frame(2, b"\x08\x01\x08\x01"), 2023), (frame(2, b"\x10\x01\x08\x01"), 2024),
    (frame(2, b"\x08\x81\x00"), 2025), (frame(2, b"\x08\x00"), 2026), (frame(10, b"\x08\xff\xff\xff\xff\x1f"), 2027), (frame(12, message({1: b"x", 2: "A/b/c/d", 4: 1})), 2028),
    (frame(21, message({1: "A//b", 2: "e"})), 2001), (frame(21, message({1: SERVICE})), 2031), (frame(20, b""), 2031), (frame(15, b"\x0a\x01h"), 2031)])
def test_a_broken_frame_ends_its_session_with_its_code_and_no_other(peers, data, code):
    tax, other = peers("tax"), peers("students")
    tax.send_raw(data)
    with pytest.raises(Ended) as end:
        while True:
            tax.next("nothing")
    assert end.value.code == code
    other.send("PING", message({1: 7, 2: 1}))
    assert other.want("PONG").number(1) == 7


@pytest.mark.parametrize("other, code", [({"_1": 2}, 2080), ({"_4": POPULATION}, 2081), ({"_9": b""}, 2081), ({"_5": 65535}, 2081)])
def test_a_hello_that_is_not_acceptable_is_told(peers, other, code):
    tax = peers("tax", ready=False)
    with pytest.raises(Ended) as end:
        tax.hello(**other)
    assert end.value.code == code


def test_only_fetching_goes_before_ready(peers):
    tax = peers("tax", ready=False)
    tax.hello()
    tax.send("READY", message({1: 1}))  # the registry has not been fetched
    assert tax.want("READY_STATE").number(1) == 5204
    tax.send("SUBMIT", b"")
    with pytest.raises(Ended) as end:
        tax.next("nothing")
    assert end.value.code == 2014


def test_the_newer_session_of_a_state_folder_is_right(peers):
    old = peers("tax")
    new = Peer.__new__(Peer)
    new.__dict__.update(old.__dict__, received=[], told=[], deliveries=0)
    new.connect().ready()
    with pytest.raises(Ended) as end:
        old.next("nothing")
    assert end.value.code == 5071
    new.close()


def patiently(p, parts, wanted):
    """Submits, and again after each FLOW; the first frame of the wanted name."""
    for _ in range(20):
        p.received.clear()
        p.submit(*parts)
        name, payload = p.next(wanted, "FLOW")
        if name == wanted:
            return parse(payload)
        flow = parse(payload)
        assert flow.number(2) == 5050 and 0 < flow.number(3) <= 1000
        time.sleep(flow.number(3) / 1000)
    raise AssertionError("busy for ever")


def test_every_answer_gives_its_credit_back(tmp_path):
    with World(tmp_path / "az") as w:
        w.write_gateway_settings(limits="{window_messages: 4}")
        w.start_gateway()
        tax, population = (Peer(w, name, SYSTEMS[name], w.operator_key).connect().ready() for name in ("tax", "population"))
        asked = tax.seal(call(tax), POPULATION, b"x")
        d = tax.submit(*asked)
        _, h, _, _, _ = population.delivery()
        answer = population.header(RESPONSE, TAX, "GetPerson", exchange_id=h.bytes(1), status=1, in_reply_to=d, expires=h.number(11))
        rd = population.submit(*population.seal(answer, TAX, b"y"))
        assert tax.delivery()[3] == rd
        for _ in range(12):  # a repeat is answered by the stored response alone
            assert tax.check_envelope(patiently(tax, asked, "DELIVER").bytes(6))[3] == rd
        stream = os.urandom(16)
        tax.open_stream(stream, POPULATION)
        first = tax.seal(call(tax, stream=stream, number=1), POPULATION, b"1")
        patiently(tax, first, "RECEIPTS")
        n, _, _, seen, _ = population.delivery()
        population.ack((n, seen, DONE))
        assert tax.receipt(seen, DELIVERED)[0] == DELIVERED
        for _ in range(12):  # and here by the final receipt
            patiently(tax, first, "RECEIPTS")
        for p in (tax, population):
            p.close()


def large(tax, size=600000):
    body = os.urandom(size)
    header, sealed, chunks = tax.seal_large(call(tax), POPULATION, body)
    return body, header, sealed, chunks, parse(parse(header).bytes(26))


def test_a_large_body_is_uploaded_when_it_is_asked_for_and_comes_to_its_recipient_alone(peers):
    tax, population, students = peers("tax"), peers("population", streams=0), peers("students")
    body, header, sealed, chunks, manifest = large(tax)
    d = tax.submit(header, sealed)
    flow = tax.want("FLOW")
    assert (flow.bytes(1), flow.number(2)) == (d, 5076)
    assert tax.put(manifest, 0) == (0, 0)
    assert tax.put(manifest, 1, chunks[1]) == (0, 5053)
    for i, chunk in enumerate(chunks):
        assert tax.put(manifest, i, chunk) == (i + 1, 0)
        assert tax.put(manifest, 0) == (i + 1, 0)
    assert tax.submit(header, sealed) == d and tax.receipt(d)[:2] == (ACCEPTED, 0)
    assert tax.put(manifest, 0, chunks[0]) == (len(chunks), 5061)
    _, h, plain, seen, _ = population.delivery()
    for other in (tax, students):
        assert other.get(d, 0) == (b"", 5081)
    assert seen == d and population.open_large(h, plain, d) == body


def test_chunks_of_another_body_are_dropped_and_a_large_one_without_the_feature_is_not_handed_out(peers):
    tax = peers("tax")
    _, header, sealed, chunks, manifest = large(tax)
    for i, chunk in enumerate(chunks[:2] + [bytes(len(chunks[2]))]):
        told = tax.put(manifest, i, chunk)
    assert told == (0, 5079)
    old = peers("population", streams=0, large=False)
    for i, chunk in enumerate(chunks):
        assert tax.put(manifest, i, chunk) == (i + 1, 0)
    d = tax.submit(header, sealed)
    assert tax.receipt(d)[:2] == (ACCEPTED, 0)
    assert tax.receipt(d)[:2] == (FAILED, 5080)
    with pytest.raises(Ended):
        old.get(d, 0)


def test_answers_about_chunks_wait_where_the_output_is_full(peers):
    tax, population = peers("tax"), peers("population", calls=128, streams=0)
    _, header, sealed, chunks, manifest = large(tax, 1000000)
    for i, chunk in enumerate(chunks):
        tax.put(manifest, i, chunk)
    d = tax.submit(header, sealed)
    assert population.delivery()[3] == d
    population.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    for _ in range(100):  # more than the sockets and the gateway's output take
        tax.receipt(tax.submit(*tax.seal(call(tax), POPULATION, bytes(200000))))
    time.sleep(1)
    asked = [(d, 0), (os.urandom(32), 0), (d, 1), (d, 3)]
    for digest, i in asked:
        population.send("BLOB_GET", message({1: digest, 2: i}))
    unknown = os.urandom(32)
    for _ in range(4):
        population.send("BLOB_PUT", message({1: unknown, 2: 99, 3: 0}))
    time.sleep(1)
    told = [population.want("BLOB_CHUNK") for _ in asked]
    assert sorted((t.bytes(1), t.number(2), t.bytes(3), t.number(4)) for t in told) == \
        sorted((digest, i, chunks[i] if digest == d else b"", 0 if digest == d else 5081) for digest, i in asked)
    assert [(population.want("BLOB_STATE").bytes(1)) for _ in range(4)] == [unknown] * 4
    assert population.get(asked[1][0], 0) == (b"", 5081)


def test_a_chunk_of_another_length_ends_the_session(peers):
    tax = peers("tax")
    _, _, _, chunks, manifest = large(tax)
    with pytest.raises(Ended) as ended:
        tax.put(manifest, 0, chunks[0][:-1])
    assert ended.value.code == 2082
