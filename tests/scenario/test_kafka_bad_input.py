# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""What brokers, and who may write to them, can do to gateways that trust none of them, over a real broker: each has its own code, in the log and, where a
record is bad, on dlq and in the journal; and it stops no other inbox. (Settings that ehis-gateway topics refuses: test_kafka_broker.py.)"""
import signal
import threading
import subprocess
import time

import pytest
from forge_parcel import BEAT, CLAIM, ENVELOPE, PROBE, REPORT, Forger, head_of, payload_of
from kafka_admin import TOPIC, Admin
from make_vectors import message
from spec_peer import parse
from test_kafka_broker import expired_copy, topic
from test_gateways import requests
from test_kafka_bus import answered, apart, pair  # noqa: F401
from test_sdk import Peer
from world import SYSTEMS, World, wait_until

POPULATION, TAX, STUDENTS = SYSTEMS["population"], SYSTEMS["tax"], SYSTEMS["students"]
LEASE = "control.lease"


class Country:
    """A gateway over the broker, with the population register; what its administrator can do to it."""

    def __init__(self, kafka, world):
        self.kafka, self.world, self.prefix, self.admin = kafka, world, world.prefix, Admin(kafka.cluster)
        self.forger, self.dlq_read = Forger.of(world), {}
        world.start_gateway()
        world.start_register()
        self.pin = world.pins(1)[0]
        self.serves()

    def topic(self, kind, identifier=""):
        return topic(self.prefix, kind, identifier)

    def serves(self, seconds=60):
        assert answered(self.world, self.pin, seconds)["body"]["person"]["pin"] == self.pin

    def bus(self):
        return self.world.status()["bus"]

    def dead(self):
        """The records on dlq: code -> what each was."""
        out = {}
        for partition in (0, 1):
            for _, key, value in self.admin.read(self.topic("dlq"), partition):
                out.setdefault(head_of(value)["code"], []).append((key.decode(), payload_of(value)))
        return out

    def said(self, event, name, since=0, **more):
        """A line of the gateway's log, and its number."""
        def is_so():
            for n, line in enumerate(self.world.log_lines("gateway")):
                if n >= since and line.get("event") == event and line.get("error") == name and all(line.get(k) == v for k, v in more.items()):
                    return line
            return None
        return wait_until(is_so, 30, f"{event} {name} {more} in the log:\n" + "\n".join(map(str, self.world.log_lines("gateway")[since:][-20:])))

    def lines(self):
        return len(self.world.log_lines("gateway"))

    def refuses(self, at, value, name, recorded=True):
        """A record that somebody wrote is refused by this name: log, dlq, journal; nothing is held, and calls go on."""
        since, before = self.lines(), len(self.world.records("--kind", "refused"))
        offset = self.admin.write(at, [(b"key", value)])
        line = self.said("bus.refused", name, since, topic=at, offset=offset)
        code = int(line["code"].removeprefix("EHIS-"))
        copied = (value or b"")[:1_000_000 - 2048]
        wait_until(lambda: any(key == at and payload == copied for key, payload in self.dead().get(code, [])), 20, f"{name} on dlq")
        records = self.world.records("--kind", "refused")[before:]
        assert any(r["code"] == line["code"] for r in records) == recorded, (line, records)
        assert self.bus()["held"] == 0
        self.serves()


@pytest.fixture
def country(kafka, land):
    land.prefix = kafka.join(land)
    return Country(kafka, land)


@pytest.fixture(scope="module")
def one(kafka, tmp_path_factory):
    """Shared by tests that leave nothing behind."""
    with World(tmp_path_factory.mktemp("az")) as w:
        w.prefix = kafka.join(w)
        yield Country(kafka, w)


def start_fails(world, code, subject):
    """The daemon does not start, and says why."""
    (world.dir / "journal").mkdir(mode=0o700, exist_ok=True)
    done = world.run("ehis-gateway", "--config", "gateway.yaml", timeout=60)
    assert done.returncode != 0 and f"EHIS-{code}" in done.stderr and subject in done.stderr, done.stderr


# ---- brokers ----

def test_a_gateway_starts_without_a_broker_says_so_and_goes_on_when_it_is_there(kafka, land):
    land.prefix = kafka.join(land)
    kafka.cluster.down([1], signal.SIGKILL)
    try:
        early = threading.Timer(2, lambda: land.running["gateway"].send_signal(signal.SIGHUP))  # while it waits for the brokers, and hears nothing
        early.start()
        land.start_gateway()
        early.join()
        assert land.log_lines("gateway", "bus.unchecked")[0]["error"] == "BUS_UNREACHABLE"
        wait_until(lambda: land.log_lines("gateway", "reload.done"), 30, "the reload")
        assert land.status()["bus"]["state"] == "BUS_UNREACHABLE"
        land.start_register()
        done = land.call("tax", "GetPerson", {"pin": land.pins(1)[0]}, "--json")
        assert done.returncode == 7, done.stderr  # busy: it may be repeated
    finally:
        kafka.cluster.up()
    answered(land, land.pins(1)[0])


def test_a_cluster_without_a_topic_or_with_an_unsafe_one_is_refused_at_the_start(kafka, land):
    land.prefix = kafka.join(land)
    admin, inbox = Admin(kafka.cluster), topic(land.prefix, "inbox", STUDENTS)
    admin.alter(TOPIC, inbox, {"unclean.leader.election.enable": "true"})
    start_fails(land, 5110, inbox)
    admin.alter(TOPIC, inbox, {"unclean.leader.election.enable": None, "retention.ms": "1000"})
    start_fails(land, 5112, inbox)
    admin.alter(TOPIC, inbox, {"retention.ms": "-1", "cleanup.policy": "compact"})
    start_fails(land, 5111, inbox)
    admin.delete(inbox)
    start_fails(land, 5124, inbox)
    admin.create(inbox, partitions=2, config={"message.timestamp.type": "LogAppendTime", "compression.type": "snappy", "retention.ms": "-1"})
    start_fails(land, 5107, inbox)
    admin.delete(inbox)
    kafka.create(land)
    land.write_gateway_settings(bus=kafka.bus(prefix=land.prefix, pilot="false"))
    start_fails(land, 5108, land.prefix)  # one replica, one in sync: not for production
    land.write_gateway_settings(bus=kafka.bus(prefix=land.prefix))
    admin.forbid("AZ/gw1")
    start_fails(land, 5123, land.prefix)
    granted = threading.Timer(0.4, kafka.create, [land])  # what was allowed a moment ago reaches a broker in its own time
    granted.start()
    land.start_gateway()
    granted.join()


@pytest.mark.parametrize("what", ["expired", "foreign"])
def test_a_gateway_whose_certificate_the_brokers_do_not_take_says_so(kafka, land, what, tmp_path):
    prefix, own = kafka.join(land), kafka.certificate("gw1")
    if what == "expired":
        pair = {"certificate": expired_copy(own, kafka.cluster.dir / "ca", tmp_path)}
    else:
        land.run("ehis-pki", "init", "--dir", "other", "--instance", "AZ", check=True)
        land.run("ehis-pki", "sign-csr", "AZ/gw1", "--bus", "--csr", own / "bus.csr", "--ca", "other", "--out", "other.crt", check=True)
        pair = {"certificate": land.dir / "other.crt"}
    land.write_gateway_settings(bus=kafka.bus(prefix=prefix, **pair))
    land.start_gateway()
    assert land.log_lines("gateway", "bus.unchecked")[0]["error"] == "BUS_TLS"
    wait_until(lambda: land.status()["bus"]["state"] == "BUS_TLS", 20, "the state")
    assert any(line["error"] == "BUS_TLS" for line in land.log_lines("gateway", "bus.state"))


def test_rights_that_are_taken_away_are_said_and_work_goes_on_when_they_are_back(country):
    since = country.lines()
    country.admin.forbid("AZ/gw1")
    country.said("bus.watch", "BUS_NOT_ALLOWED", since)
    assert country.world.call("tax", "GetPerson", {"pin": country.pin}, "--json").returncode != 0
    country.kafka.create(country.world)
    country.serves()
    wait_until(lambda: country.bus()["unaudited_groups"] == 0, 60, "the audit topic has all")


def test_a_right_that_is_missing_on_one_inbox_stops_no_other(country):
    """The gateway owns two inboxes, and may not read one of them for a while."""
    inbox = country.topic("inbox", STUDENTS)
    country.admin.deny("AZ/gw1", inbox)
    students = Peer(country.world, "students")
    try:
        students.well("ready")
        wait_until(lambda: country.bus()["inboxes_owned"] == 2, 20, "both inboxes")
        country.said("bus.topic", "BUS_NOT_ALLOWED", topic=inbox)
        country.serves()
        country.admin.forbid("AZ/gw1")  # takes the ban away, and everything else
        country.kafka.create(country.world)
        country.admin.write(inbox, [(None, b"text")])
        country.said("bus.refused", "SCAN_UNKNOWN_FIELD", topic=inbox)  # it is read again
        country.serves()
    finally:
        students.kill()


# ---- records ----

def envelope_of(country):
    """A true envelope that went over the broker, with the parcel that it was in: of the call topic."""
    value = next(v for _, _, v in reversed(country.admin.read(country.topic("call", POPULATION))) if v and head_of(v)["kind"] == ENVELOPE)
    return payload_of(value), value


def own(country, at, kind, payload=b"", **head):
    return country.forger.parcel(at, kind, payload, **head)


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


NOT_PARCELS = {"text": (b"no parcel", "SCAN_UNKNOWN_FIELD"), "empty": (b"", "SCAN_MISSING"), "none": (None, "SCAN_MISSING"), "zeros": (bytes(1000), "SCAN_UNKNOWN_FIELD"), "repeated": (b"\x0a" * 500, "SCAN_DUPLICATE")}


@pytest.mark.parametrize("what", NOT_PARCELS)
def test_a_record_that_is_no_parcel_is_refused(one, what):
    value, name = NOT_PARCELS[what]
    one.refuses(one.topic("call", POPULATION), value, name)


def test_a_record_that_was_cut_short_or_has_more_behind_it_is_refused(one):
    at = one.topic("call", POPULATION)
    _, value = envelope_of(one)
    one.refuses(at, value[:-1], "SCAN_TRUNCATED")
    one.refuses(at, value + b"\x08\x01", "SCAN_WIRE_TYPE")
    one.refuses(at, value + b"\x22\x01\x00", "SCAN_UNKNOWN_FIELD")


def test_a_record_that_was_altered_is_refused(one):
    at = one.topic("call", POPULATION)
    envelope, value = envelope_of(one)
    one.refuses(at, flip(value, value.index(parse(envelope).bytes(2)) + 100), "SIGNATURE_BAD")
    one.refuses(at, flip(value, len(value) - 5), "SIGNATURE_BAD")


def test_an_oversized_record_is_refused(one):
    at = one.topic("call", POPULATION)
    one.admin.alter(TOPIC, at, {"max.message.bytes": "9000000"})
    one.refuses(at, bytes(1_000_001), "BUS_TOO_LARGE")
    one.refuses(at, bytes(8_000_000), "BUS_TOO_LARGE")


def test_a_record_in_another_topic_is_refused(one):
    """Copied as it stands: its signature is for the topic where it stood."""
    _, value = envelope_of(one)
    for at in (one.topic("inbox", POPULATION), one.topic("reply", "AZ/gw1"), one.topic(LEASE)):
        one.refuses(at, value, "SIGNATURE_BAD")


def test_an_envelope_in_another_systems_inbox_is_refused(one):
    """Signed for that inbox by a gateway whose key was stolen; the sender's signature is not."""
    envelope, _ = envelope_of(one)
    at = one.topic("reply", "AZ/gw1")
    one.refuses(at, own(one, at, ENVELOPE, envelope, accepted_ms=int(time.time() * 1000), registry_version=1), "BUS_WRONG_INBOX")
    at = one.topic("call", POPULATION)
    for kind, head in ((CLAIM, {"system": POPULATION, "takes_calls": 1}), (BEAT, {}), (REPORT, {"digest": bytes(32), "system": POPULATION, "state": 4}), (PROBE, {"system": TAX, "token": 7})):
        one.refuses(at, own(one, at, kind, **head), "BUS_WRONG_INBOX")


def test_a_stolen_gateway_key_makes_no_envelope(one):
    envelope, _ = envelope_of(one)
    e = parse(envelope)
    at, when = one.topic("call", POPULATION), int(time.time() * 1000)
    altered = message({1: e.bytes(1), 2: flip(e.bytes(2), 20), 3: e.bytes(3)})
    one.refuses(at, own(one, at, ENVELOPE, altered, accepted_ms=when, registry_version=1), "SIGNATURE_BAD")
    foreign = message({1: e.bytes(1).replace(TAX.encode(), b"AZ/GOV/STS/xat"), 2: e.bytes(2), 3: e.bytes(3)})
    one.refuses(at, own(one, at, ENVELOPE, foreign, accepted_ms=when, registry_version=1), "KEY_FOREIGN")


def test_a_parcel_of_no_gateway_of_the_registry_is_refused(one):
    at = one.topic("call", POPULATION)
    envelope, _ = envelope_of(one)
    head = {"accepted_ms": int(time.time() * 1000), "registry_version": 1}
    one.refuses(at, Forger("AZ/gw9").parcel(at, ENVELOPE, envelope, **head), "BUS_GATEWAY")
    one.refuses(at, Forger("AZ/gw1").parcel(at, ENVELOPE, envelope, **head), "BUS_GATEWAY")  # its name, another key
    one.refuses(at, Forger(TAX, Forger.of(one.world, "tax").seed).parcel(at, ENVELOPE, envelope, **head), "IDENTIFIER_INVALID")


def test_a_lease_of_another_gateways_name_or_of_none_changes_nothing(one):
    at = one.topic(LEASE)
    for forger in (Forger("AZ/gw9"), Forger("AZ/gw1")):
        one.refuses(at, forger.parcel(at, CLAIM, system=POPULATION, takes_calls=1, takes_streams=1), "BUS_GATEWAY")
        one.refuses(at, forger.parcel(at, BEAT, is_leaving=1), "BUS_GATEWAY")
    assert one.bus()["gateways"] == 1


# ---- positions ----

class Apart:
    """Two gateways: the register's system at the second, the tax office at the first."""

    def __init__(self, kafka, pair):
        self.kafka, self.pair, self.world, self.admin = kafka, pair, pair.world, Admin(kafka.cluster)
        self.provider, self.consumer = apart(pair)
        self.inbox = topic(pair.prefix, "inbox", POPULATION)
        self.sent = []

    def send(self, name, count=20):
        for n in range(count):
            self.consumer.well(f"send GetPerson {name}{n}")
            self.sent.append(f"{name}{n}")

    def all_came(self, seconds=60):
        """Everything that was sent has come once, in order."""
        wait_until(lambda: len(self.came()) >= len(self.sent), seconds, f"all of {len(self.sent)}")
        assert self.came() == self.sent

    def came(self):
        return [r for r in requests(self.provider) if r != "one"]

    def carried(self, number=1):
        wait_until(lambda: self.pair.status(number)["bus"]["waiting"] + self.pair.status(number)["bus"]["in_flight"] == 0, 20, "all confirmed")

    def lines(self, number, event):
        return self.world.log_lines("gateway" if number == 1 else "gateway2", event)

    def still(self, number=2):
        """The gateway stands still, as if it were slow, for as long as the block lasts: less than it takes to be given up."""
        return Still(self.world.running["gateway" if number == 1 else "gateway2"])


class Still:
    def __init__(self, process):
        self.process = process

    def __enter__(self):
        self.process.send_signal(signal.SIGSTOP)

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGCONT)


@pytest.fixture
def two(kafka, pair):  # noqa: F811
    return Apart(kafka, pair)


def test_what_is_replayed_is_carried_out_once(two):
    """In its own topics: as good as new, but known."""
    two.send("a")
    two.all_came()
    assert two.consumer.do("call GetPerson one", "reply")["err"] == 0
    calls = requests(two.provider).count("one")
    for at in (topic(two.pair.prefix, "call", POPULATION), two.inbox):
        old = [(k, v) for _, k, v in two.admin.read(at) if v and head_of(v)["kind"] == ENVELOPE]
        assert old
        two.admin.write(at, old)
    assert two.consumer.do("call GetPerson one", "reply")["err"] == 0
    two.send("b")
    two.all_came()
    wait_until(lambda: two.pair.status(2)["bus"]["held"] == 0, 30, "all replayed records done with")
    assert requests(two.provider).count("one") == calls + 1


def test_records_that_are_deleted_under_way_are_named_and_sent_again_within_30_seconds(two):
    two.send("a")
    two.all_came()
    with two.still():
        two.send("b")
        two.carried()
        began = time.monotonic()
        two.admin.cut(two.inbox)
    line = wait_until(lambda: two.lines(1, "bus.lost"), 30, "that they are lost")[0]
    named = time.monotonic() - began
    two.all_came(20)
    print(f"deleted: named after {named:.1f} s, delivered after {time.monotonic() - began:.1f} s")
    assert line["error"] == "BUS_LOST" and line["system"] == POPULATION and line["messages"] > 10  # what was asked for before comes all the same
    assert len(two.world.records("--kind", "lost")) == line["messages"]
    two.send("c")
    two.all_came()


def test_what_cannot_be_set_aside_any_more_holds_nothing_up(two):
    """A bad record waits for dlq, which is away; then the inbox that it came from is lost, and the record with it: who owns the inbox next reads it again."""
    dlq = f"{two.pair.prefix}..dlq"
    two.send("a")
    two.all_came()
    two.admin.delete(dlq)
    two.admin.write(two.inbox, [(b"x", b"no parcel")])
    wait_until(lambda: any(x["topic"] == dlq for x in two.lines(2, "bus.topic")), 30, "that dlq is away")
    with two.still():
        time.sleep(6)
    wait_until(lambda: two.lines(2, "inbox.lost"), 20, "that the inbox is another's or nobody's")
    two.kafka.create(two.world)
    two.send("b")
    two.all_came()
    wait_until(lambda: [v for n in (0, 1) for _, _, v in two.admin.read(dlq, n) if v], 30, "the record on dlq")


def test_a_transaction_that_nobody_ends_hides_nothing(two):
    two.send("a")
    two.all_came()
    end = two.admin.end(two.inbox)
    with subprocess.Popen([*two.kafka.cluster.kcat_words(), "-P", "-t", two.inbox, "-p", "0", "-X", "transactional.id=open"], stdin=subprocess.PIPE) as writer:
        writer.stdin.write(b"junk\n" * 3000)
        writer.stdin.flush()
        wait_until(lambda: two.admin.end(two.inbox) > end, 20, "its records")
        two.send("b")
        two.all_came(30)
        writer.kill()
    assert any(x["topic"] == two.inbox for x in two.lines(2, "bus.refused"))


def test_a_topic_made_anew_under_way_is_read_from_its_beginning_and_nothing_is_lost(two):
    two.send("a", 50)
    two.all_came()
    with two.still():
        two.send("b")
        two.carried()
        began = time.monotonic()
        two.admin.delete(two.inbox)
        two.kafka.create(two.world)
    two.send("c")
    two.all_came(60)
    print(f"made anew: all delivered after {time.monotonic() - began:.1f} s")
    assert two.lines(1, "bus.lost") and two.lines(2, "bus.watch")
    two.send("d")
    two.all_came(20)


def test_a_topic_that_is_away_for_a_while_stops_no_other(two):
    two.send("a")
    two.all_came()
    two.admin.delete(two.inbox)
    two.send("b")  # accepted: the journal has room
    assert two.consumer.do("call GetPerson one", "reply")["err"] == 0
    wait_until(lambda: any(x["error"] == "BUS_NO_TOPIC" for x in two.lines(1, "bus.topic")) and any(x["error"] == "BUS_NO_TOPIC" for x in two.lines(2, "bus.watch")), 30, "that it is away, at both")
    two.kafka.create(two.world)
    began = time.monotonic()
    two.all_came(60)
    print(f"there again: all delivered after {time.monotonic() - began:.1f} s")
    assert two.world.stop("gateway2", timeout=15) == 0  # librdkafka would wait for the partition that was


def restarted_with(two, offset, metadata=""):
    """The position of the inbox is another when its owner starts again."""
    two.send("a", 50)
    two.all_came()
    group = f"{two.pair.prefix}..gw"
    wait_until(lambda: two.admin.committed(group, two.inbox)[0] > 0, 20, "a position")
    two.pair.stop(2)
    two.send("b")
    two.carried()
    two.admin.commit(group, two.inbox, offset if offset >= 0 else two.admin.end(two.inbox), metadata)
    two.pair.start(2)
    began = time.monotonic()
    two.all_came(60)
    print(f"position {offset} {metadata[:10]}: all delivered after {time.monotonic() - began:.1f} s")
    two.send("c")
    two.all_came(20)


@pytest.mark.parametrize("offset", [0, 2 ** 62], ids=["back", "beyond"])
def test_a_position_that_jumps_loses_nothing(two, offset):
    restarted_with(two, offset)
    assert (offset == 0) == (not any(x["error"] == "BUS_POSITION" for x in two.lines(2, "bus.watch")))


def test_a_position_forward_over_what_was_not_read_loses_nothing(two):
    restarted_with(two, -1)
    assert two.lines(1, "bus.lost")


@pytest.mark.parametrize("metadata", ["ehis1:/v8=", "nonsense"], ids=["some", "text"])
def test_a_doctored_position_loses_nothing(two, metadata):
    """The first says of 15 records that they are finished: 20 are not."""
    two.send("z")
    two.all_came()
    restarted_with(two, two.admin.end(two.inbox) + 50, metadata)
    assert bool(two.lines(1, "bus.lost")) == (metadata == "ehis1:/v8=")


# ---- leases ----

def test_leases_that_were_cut_or_made_anew_are_written_again_and_a_takeover_still_works(two):
    two.send("a")
    two.all_came()
    lease = topic(two.pair.prefix, LEASE)
    two.admin.delete(lease)
    two.kafka.create(two.world)
    wait_until(lambda: all(len(two.lines(n, "bus.ready")) == 2 for n in (1, 2)), 30, "both have read it again")
    two.send("b")
    two.all_came(30)
    claims = {head_of(v)["system"] for _, _, v in two.admin.read(lease) if v and head_of(v)["kind"] == CLAIM}
    assert POPULATION.encode() in claims
    two.pair.stop(2)
    wait_until(lambda: two.pair.status(1)["bus"]["gateways"] == 1, 10, "the second is given up")
    two.admin.delete(lease)
    two.kafka.create(two.world)
    two.pair.start(2)
    two.send("c")
    two.all_came(60)


def test_a_lease_that_is_repeated_keeps_no_dead_gateway_alive(two):
    lease = topic(two.pair.prefix, LEASE)
    two.pair.stop(2)
    old = [(k, v) for _, k, v in two.admin.read(lease) if v and head_of(v)["gateway"] == b"AZ/gw2"]
    beats = [r for r in old if head_of(r[1])["kind"] == BEAT]

    def is_alone():
        two.admin.write(lease, [beats[-1]])
        return two.pair.status(1)["bus"]["gateways"] == 1
    wait_until(is_alone, 15, "that it is dead")
    assert any(x["error"] == "LEASE_REPLAYED" for x in two.lines(1, "bus.refused"))
    two.admin.write(lease, old)
    time.sleep(1)
    assert two.pair.status(1)["bus"]["gateways"] == 1


def test_leases_from_the_future_are_said_and_change_nothing(country):
    """The broker stops giving its own times, and does again: by the log, all at once, more than a minute passes."""
    since = country.lines()
    lease = country.topic(LEASE)
    country.admin.alter(TOPIC, lease, {"message.timestamp.type": "CreateTime"})
    time.sleep(1.5)
    country.serves()
    country.admin.alter(TOPIC, lease, {"message.timestamp.type": "LogAppendTime"})
    country.said("bus.refused", "LEASE_FUTURE", since, topic=lease)
    country.serves()
    assert country.bus()["gateways"] == 1 and not country.world.log_lines("gateway", "inbox.lost")


def test_a_flood_stops_nothing_and_does_not_fill_dlq(country):
    """5,000 records each, in a lease topic and an inbox: forged claims, and text."""
    lease, inbox = country.topic(LEASE), country.topic("inbox", POPULATION)
    forger = Forger("AZ/gw9")
    country.admin.write(lease, [(b"k", forger.parcel(lease, CLAIM, system=f"AZ/GOV/MIA/x{n}", takes_calls=1)) for n in range(500)] * 10)
    country.admin.write(inbox, [(b"k", b"nothing")] * 5000)
    country.serves(20)
    wait_until(lambda: country.bus()["refused"] >= 10000, 60, "all refused")
    bus = country.bus()
    assert bus["dead_letters"] < 2000 and bus["held"] == 0 and bus["gateways"] == 1, bus
    assert len(country.world.records("--kind", "refused")) < 2000
