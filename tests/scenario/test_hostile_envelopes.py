# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""Envelopes that are not what they say (SPEC 4.5, 5, 12): each is refused by its own number, is on record with it before it is answered,
is never accepted, and the session that sent it and all others go on."""
import os
import time
from uuid import uuid4

import pytest

pytest.importorskip("cryptography")
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from ehis_peer import ACCEPTED, EVENT, FLOW, RECEIPTS, REFUSED, SUBMIT, Peer, Refused, one, parse, seed_of, uuid7
from make_vectors import digest, key_id, leaf, message, raw_public
from world import SERVICE, SYSTEMS

TAX, POPULATION = SYSTEMS["tax"], SYSTEMS["population"]
OTHER_SERVICE = "AZ/GOV/MIA/population/nothing"


@pytest.fixture(scope="module")
def tax(arena):
    return Peer.of(arena.world, "tax").ready()


def check_refused(arena, peer, envelope, code, by=TAX, recorded=None):
    """A signed receipt of state refused; the record (with the true number where the sender is told less); nothing accepted; the session lives."""
    with arena.attack() as since:
        answer = peer.submit(envelope)
        assert (answer.kind, answer.state, answer.code) == (RECEIPTS, REFUSED, code), answer
        record = since.recorded(recorded or code, system=by)
        assert record["kind"] in ("refused", "conflict") and record["digest"] == peer.digest(envelope).hex()
        assert peer.is_served()
        assert not [r for r in arena.world.records("--kind", "accepted", "--system", by) if r["sequence"] > since.sequence]
        return record


def check_violation(arena, data, code):
    """What is not even an envelope ends the session; it is recorded with the session's end."""
    with arena.attack() as since:
        p = Peer.of(arena.world, "tax").ready()
        p.send(SUBMIT, data(p))
        assert p.refusal() == code
        since.logged(code, event="session.violation", system=TAX)
        since.recorded(code, "session-ended", system=TAX)


def test_what_is_good_is_accepted(arena, tax):
    """So that the refusals below are for what they say they are."""
    stream, number = tax.open_stream(POPULATION)
    answer = tax.submit(tax.envelope(recipient=SERVICE, stream=stream, number=number))
    assert (answer.kind, answer.state) == (RECEIPTS, ACCEPTED), answer
    leaves = []
    for _ in range(5):  # one of a batch, and not the first
        header, sealed = tax.header(tax.header_fields(recipient=SERVICE, stream=stream, number=number + 1)), os.urandom(296)
        leaves.append((header, sealed, leaf(digest(header, sealed))))
    header, sealed, _ = leaves[3]
    answer = tax.submit(message({1: header, 2: sealed, 3: tax.signature([x[2] for x in leaves], 3)}))
    assert answer.state == ACCEPTED, answer


def test_a_signature_by_another_system_is_refused(arena, tax):
    other = Ed25519PrivateKey.from_private_bytes(seed_of(arena.world.dir / "students/sign.key"))
    header = tax.header(tax.header_fields(recipient=SERVICE))
    check_refused(arena, tax, tax.sealed_and_signed(header, key=other), 4051)
    mine = key_id(1, 1, raw_public(tax.sign_key))
    check_refused(arena, tax, tax.sealed_and_signed(header, key=other, key_id=mine), 2052)


def test_a_signature_by_a_key_that_nobody_knows_or_for_another_use_is_refused(arena, tax):
    header = tax.header(tax.header_fields(recipient=SERVICE))
    check_refused(arena, tax, tax.sealed_and_signed(header, key=Ed25519PrivateKey.generate()), 4050)
    part = parse_system(arena.world)
    check_refused(arena, tax, tax.sealed_and_signed(header, key_id=part["seal"]), 4052)


def parse_system(world):
    """{use: key id} of the tax office, from the registry's document."""
    shown = world.run("ehis-registry", "show", "--dir", "registry", "--json", check=True).stdout
    import json
    system = next(s for s in json.loads(shown)["systems"] if s["id"] == TAX)
    return {k["use"]: bytes.fromhex(k["id"]) for k in system["keys"]}


def test_an_envelope_of_another_sender_is_refused(arena, tax):
    check_refused(arena, tax, tax.envelope(recipient=SERVICE, sender=SYSTEMS["students"]), 5060)
    check_refused(arena, tax, tax.envelope(recipient=SERVICE, sender=POPULATION), 5060)


ALTERED = {"exchange_id": lambda f: uuid7(), "recipient": lambda f: OTHER_SERVICE, "operation": lambda f: "FindPersons", "created_ms": lambda f: f["created_ms"] - 1,
           "expires_ms": lambda f: f["expires_ms"] + 1, "max_response_bytes": lambda f: 1000, "purpose": lambda f: "school.enrolment",
           "legal_basis": lambda f: "Təhsil Qanunu 12", "case_ref": lambda f: "2026/2", "official": lambda f: "official-2", "on_behalf_of": lambda f: "AZ/GOV/MOE",
           "subject_tokens": lambda f: [os.urandom(32)], "schema": lambda f: "x.Y", "content_type": lambda f: "application/x-protobuf",
           "seal": lambda f: message({1: os.urandom(32), 2: os.urandom(32), 3: os.urandom(32)}), "trace_id": lambda f: os.urandom(16)}


@pytest.mark.parametrize("field", ALTERED)
def test_a_header_that_is_altered_after_signing_is_refused(arena, tax, field):
    fields = tax.header_fields(recipient=SERVICE)
    sealed, signed = os.urandom(296), tax.header(fields)
    signature = tax.signature([leaf(digest(signed, sealed))])
    altered = tax.header({**fields, field: ALTERED[field](fields)})
    assert altered != signed
    check_refused(arena, tax, message({1: altered, 2: sealed, 3: signature}), 2052)


def test_a_body_that_is_altered_after_signing_is_refused(arena, tax):
    header, sealed = tax.header(tax.header_fields(recipient=SERVICE)), bytearray(os.urandom(296))
    signature = tax.signature([leaf(digest(header, bytes(sealed)))])
    for at in (0, 150, 295):
        other = bytearray(sealed)
        other[at] ^= 1
        check_refused(arena, tax, message({1: header, 2: bytes(other), 3: signature}), 2052)
    check_refused(arena, tax, message({1: header, 2: bytes(sealed[:-1]), 3: signature}), 2052)


SIGNATURES = {"a path where none belongs": (2051, dict(path=os.urandom(32))), "a size of 2 without a path": (2051, dict(size=2)),
              "a size of 2 with some path": (2052, dict(size=2, path=os.urandom(32))), "a size of 1,024 with some path": (2052, dict(size=1024, path=os.urandom(320))),
              "one hash too few": (2051, dict(size=1024, path=os.urandom(288))), "another algorithm": (2050, dict(algorithm=2)),
              "a signature of zeros": (2052, dict(signature=bytes(64))), "S above the order": (2052, dict(signature=bytes(32) + b"\xff" * 32))}


@pytest.mark.parametrize("what", SIGNATURES)
def test_a_signature_whose_parts_do_not_fit_is_refused(arena, tax, what):
    code, change = SIGNATURES[what]
    check_refused(arena, tax, tax.sealed_and_signed(tax.header(tax.header_fields(recipient=SERVICE)), **change), code)


MISSHAPEN = {"an index beyond the size": dict(index=1), "a size of 1,025": dict(size=1025), "a size of 0": dict(size=0), "half a hash in the path": dict(size=2, path=os.urandom(48)),
             "a path of eleven hashes": dict(size=1024, path=os.urandom(352)), "a short signature": dict(signature=os.urandom(63)), "a short key id": dict(key_id=os.urandom(31))}


@pytest.mark.parametrize("what", MISSHAPEN)
def test_a_signature_that_cannot_be_one_ends_the_session(arena, what):
    with arena.attack() as since:
        p = Peer.of(arena.world, "tax").ready()
        header, sealed = p.header(p.header_fields(recipient=SERVICE)), os.urandom(296)
        fields = {"algorithm": 1, "key_id": key_id(1, 1, raw_public(p.sign_key)), "size": 1, "index": 0, "path": b"", "signature": os.urandom(64), **MISSHAPEN[what]}
        p.send(SUBMIT, message({1: header, 2: sealed, 3: message({1 + i: v for i, v in enumerate(fields.values())})}))
        code = p.refusal()
        assert 2020 <= code <= 2051, code
        since.recorded(code, "session-ended", system=TAX)


def test_the_same_id_with_other_bytes_is_a_conflict(arena, tax):
    stream, number = tax.open_stream(POPULATION)
    fields = tax.header_fields(recipient=SERVICE, stream=stream, number=number)
    header = tax.header(fields)
    first = tax.sealed_and_signed(header)
    accepted = tax.submit(first)
    assert accepted.state == ACCEPTED
    with arena.attack() as since:
        again = tax.submit(tax.sealed_and_signed(header))  # another body
        assert (again.state, again.code) == (REFUSED, 5061), again
        since.recorded(5061, "conflict", system=TAX)
        other = tax.submit(tax.sealed_and_signed(tax.header({**fields, "exchange_id": uuid7()})))  # another message under the number
        assert (other.state, other.code) == (REFUSED, 5061), other
    with arena.attack() as since:  # and the same bytes: the same receipt, no second acceptance
        repeated = tax.submit(first)
        assert (repeated.state, repeated.time_ms) == (ACCEPTED, accepted.time_ms)
        assert not [r for r in arena.world.records("--kind", "accepted", "--system", TAX) if r["sequence"] > since.sequence]


def times(created, expires):
    now = int(time.time() * 1000)
    return {"created_ms": now + created, "expires_ms": now + expires}


TIMES = {"expired": (5062, times, (-60000, -1)), "from the future": (5063, times, (120000, 180000)), "living for over 5 minutes": (2042, times, (0, 300001)),
         "expiring before it is created": (2042, times, (0, -1000)), "expiring as it is created": (2042, times, (0, 0))}


@pytest.mark.parametrize("what", TIMES)
def test_an_envelope_out_of_its_time_is_refused(arena, tax, what):
    code, make, arguments = TIMES[what]
    check_refused(arena, tax, tax.envelope(recipient=SERVICE, **make(*arguments)), code)


def test_a_stream_message_that_lives_for_over_14_days_is_refused(arena, tax):
    stream, number = tax.open_stream(POPULATION)
    check_refused(arena, tax, tax.envelope(recipient=SERVICE, stream=stream, number=number, **times(0, 14 * 86400000 + 1)), 2042)


# What is not there is told apart in the record alone.
RECIPIENTS = {"an unknown service": ((4100, 4108), {"recipient": OTHER_SERVICE}), "an unknown agency": ((4100, 4108), {"recipient": "AZ/GOV/NIL/system/service"}),
              "an unknown instance": ((4100, 4108), {"recipient": "XX/GOV/MIA/population/person"}), "an operation that there is not": (4109, {"operation": "DropTables"}),
              "an event as an operation": (4109, {"operation": "PersonChanged"}), "another purpose": (4103, {"purpose": "school.enrolment"}),
              "a purpose that there is not": (4103, {"purpose": "tax.Assessment"}), "another legal basis": (4104, {"legal_basis": "Təhsil Qanunu 12"}),
              "a system as the recipient": (2001, {"recipient": POPULATION}), "a provider that is not there": (5066, {})}


@pytest.mark.parametrize("what", RECIPIENTS)
def test_a_request_that_may_not_or_cannot_be_delivered_is_refused(arena, tax, what):
    code, change = RECIPIENTS[what]
    told, recorded = code if isinstance(code, tuple) else (code, code)
    check_refused(arena, tax, tax.envelope(**{"recipient": SERVICE, **change}), told, recorded=recorded)


def test_a_system_without_any_right_learns_nothing_but_that(arena):
    """The same number for what exists and what does not (SPEC 10.7.5)."""
    students = Peer.of(arena.world, "students").ready()
    for service, true in ((SERVICE, 4100), (OTHER_SERVICE, 4108)):
        record = check_refused(arena, students, students.envelope(recipient=service, purpose="school.enrolment", legal_basis="Təhsil Qanunu 12"), 4100, SYSTEMS["students"], true)
        assert record["recipient"] == service and record["purpose"] == "school.enrolment"
    check_refused(arena, students, students.envelope(recipient=SERVICE, operation="DropTables"), 4100, SYSTEMS["students"], 4109)
    students.close()


KINDS = {"no kind's fields: a request with a status": {"status": 1}, "a request without a purpose": {"purpose": None}, "a request that replies": {"in_reply_to": os.urandom(32)},
         "a number without a stream": {"number": 1}, "a stream without a number": {"stream": os.urandom(16)}, "an event without a stream": {"kind": EVENT},
         "a request without its seal's key": {"seal": message({3: os.urandom(32)})}}


@pytest.mark.parametrize("what", KINDS)
def test_a_header_with_the_fields_of_another_kind_is_refused(arena, tax, what):
    check_refused(arena, tax, tax.envelope(**{"recipient": SERVICE, **KINDS[what]}), 2041)


def test_a_response_that_nobody_asked_for_is_refused(arena, tax):
    check_refused(arena, tax, tax.envelope(kind=2, status=1, recipient=POPULATION, in_reply_to=os.urandom(32), purpose=None, legal_basis=None, case_ref=None, official=None,
                                           subject_tokens=None), 5064)


def test_an_event_of_anothers_service_is_refused(arena, tax):
    stream, number = tax.open_stream(SERVICE, "PersonChanged")
    check_refused(arena, tax, tax.sealed_and_signed(tax.header(tax.event_fields(SERVICE, "PersonChanged", stream, number))), 2041)


HEADERS = {"an id that is no UUIDv7": {"exchange_id": uuid4().bytes}, "a kind that there is not": {"kind": 9}, "a sender with a path in it": {"sender": "AZ/GOV/../tax"},
           "NUL in a text": {"case_ref": "a\0b"}, "bytes that are no UTF-8": {"official": b"\xc0\xaf"}, "a purpose of 65 bytes": {"purpose": "p" * 65},
           "33 fields": {"fields": [b"f"] * 33}, "a short token": {"subject_tokens": [b"t" * 15]}, "a header over 8 KiB": None}


@pytest.mark.parametrize("what", HEADERS)
def test_a_header_that_does_not_scan_is_refused(arena, what):
    """Where no header can be read, none is quoted; the record has the system, the number and the digest."""
    if HEADERS[what] is None:
        return check_violation(arena, lambda p: p.sealed_and_signed(p.header(p.header_fields(recipient=SERVICE, subject_tokens=[os.urandom(32)] * 300))), 2028)
    p = Peer.of(arena.world, "tax").ready()
    with arena.attack() as since:
        envelope = p.envelope(**{"recipient": SERVICE, **HEADERS[what]})
        answer = p.submit(envelope)
        assert answer.state == REFUSED and 2001 <= answer.code <= 2042, answer
        assert since.recorded(answer.code, "refused", system=TAX)["digest"] == p.digest(envelope).hex()
    p.close()
    return None


def test_a_header_that_is_not_canonical_is_refused(arena, tax):
    header = tax.header(tax.header_fields(recipient=SERVICE))
    first = parse_first_field(header)
    check_refused(arena, tax, tax.sealed_and_signed(header[first:] + header[:first]), 2024)
    check_refused(arena, tax, tax.sealed_and_signed(header + b"\xf8\x01\x01"), 2021)
    check_refused(arena, tax, tax.sealed_and_signed(header[:-1]), 2020)


def parse_first_field(header):
    return 2 + header[1]


def test_registry_versions_that_are_not_of_this_chain(arena, tax):
    with arena.attack() as since:  # newer than the gateway's: it is behind, not the sender; nothing is recorded
        answer = tax.submit(tax.envelope(recipient=SERVICE, registry_version=tax.registry_version + 1, registry_hash=os.urandom(32)))
        assert (answer.kind, answer.code) == (FLOW, 5052) and answer.retry_ms
        assert not [r for r in arena.world.records("--system", TAX) if r["sequence"] > since.sequence]
    check_refused(arena, tax, tax.envelope(recipient=SERVICE, registry_hash=os.urandom(32)), 4004)


def test_a_stream_ahead_of_order_is_told_where_it_stands(arena, tax):
    stream, number = tax.open_stream(POPULATION)
    for ahead in (1, 2, 1 << 40):
        with arena.attack() as since:
            answer = tax.submit(tax.envelope(recipient=SERVICE, stream=stream, number=number + ahead))
            assert (answer.kind, answer.code, answer.expected) == (FLOW, 5053, number), answer
            assert not [r for r in arena.world.records("--system", TAX) if r["sequence"] > since.sequence]
    assert tax.submit(tax.envelope(recipient=SERVICE, stream=stream, number=number)).state == ACCEPTED
    with arena.attack():
        elsewhere = tax.submit(tax.envelope(recipient="AZ/GOV/MOE/students/school", stream=stream, number=number + 1))
        assert elsewhere.state == REFUSED and elsewhere.code == 5055, elsewhere
    assert tax.submit(tax.envelope(recipient=SERVICE, stream=stream, number=number + 2)).state == ACCEPTED  # the refused number is used up


def test_a_stream_that_was_not_opened_ends_the_session(arena):
    check_violation(arena, lambda p: p.envelope(recipient=SERVICE, stream=os.urandom(16), number=1), 5056)


def test_a_stream_of_another_session_is_not_open_here(arena, tax):
    stream, _ = tax.open_stream(POPULATION)
    check_violation(arena, lambda p: p.envelope(recipient=SERVICE, stream=stream, number=1), 5056)


def test_more_than_the_window_is_answered_busy_or_refused_and_never_lost(arena):
    """2,000 bad envelopes at once: each gets an answer, equal refusals may share a record (SPEC 13.4)."""
    p = Peer.of(arena.world, "tax").ready()
    header = p.header(p.header_fields(recipient=SERVICE))
    envelopes = [message({1: header, 2: os.urandom(300), 3: p.signature([os.urandom(32)])}) for _ in range(2000)]
    wanted = {p.digest(e) for e in envelopes}
    with arena.attack() as since:
        began = time.monotonic()
        for e in envelopes:
            p.send(SUBMIT, e)
        while wanted and time.monotonic() - began < 30:
            kind, got = p.expect(RECEIPTS, FLOW)
            if kind == FLOW:
                wanted.discard(one(got, 1))
            else:
                for r in map(parse, got[2]):
                    assert one(r, 4) == REFUSED
                    wanted.discard(one(r, 1))
        assert not wanted, len(wanted)
        records = [r for r in arena.world.records("--system", TAX) if r["sequence"] > since.sequence and r["kind"] in ("refused", "refusals", "conflict")]
        assert 20 <= len(records) < 1000 and sum(r.get("count", 1) for r in records) <= 2000
    assert p.is_served()
    p.close()


def test_a_refused_frame_never_becomes_a_session_for_others(arena, tax):
    """The peer whose envelopes were all refused above is served as before."""
    with pytest.raises(Refused) as refused:
        broken = Peer.of(arena.world, "tax").ready()
        broken.submit(b"\x0a\x01\x01\x12\x01\x01")
    assert refused.value.code == 2031
    assert tax.is_served()
