# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""What every bus promises, the same cases over each: local, where one gateway's journal is the queue, and kafka, where what tax sends enters at one gateway
and leaves to population at another, over a real broker."""
import os
import socket
import time
import types

import pytest

pytest.importorskip("cryptography")
pytest.importorskip("nacl")
import spec_peer  # noqa: E402
from spec_peer import ACCEPTED, DELIVERED, DONE, EXPIRED, FAILED, REFUSED, REJECTED, REQUEST, RESPONSE, RETRY, message  # noqa: E402
from test_gateways import Pair, requests  # noqa: E402
from test_sdk import Peer  # noqa: E402
from world import BASIS, PURPOSE, SCHEMA, SERVICE, SYSTEMS, wait_until  # noqa: E402

POPULATION, TAX = SYSTEMS["population"], SYSTEMS["tax"]
LEVY = "AZ/GOV/STS/tax/levy"
LEVIES = f"""service: {LEVY}
operations: [{{name: GetLevy, kind: request, request_schema: {SCHEMA}.X, response_schema: {SCHEMA}.Y}}]
rules:
- {{id: R-2, effect: permit, consumers: [{POPULATION}], operations: [GetLevy], purposes: [{PURPOSE}], legal_bases: [{BASIS}],
   valid: {{from: 2026-01-01, until: 2036-01-01}}, approval: STS order 2}}
"""


class Bus(Pair):
    """Where each system has its session: tax at the first gateway, population at the last."""

    def __init__(self, kind, world, kafka=None):
        self.kind, self.env, self.open = kind, {}, []
        if kind == "kafka":
            super().__init__(world)
            self.prefix = kafka.join(world)
            self.broker = kafka
            self.sections = {1: kafka.bus("gw1", prefix=self.prefix), 2: kafka.bus("gw2", prefix=self.prefix)}
        else:
            self.world, self.peers, self.port, self.sections = world, {}, world.port, {}
        self.last = max(self.sections, default=1)
        self.ports = {1: world.port, 2: self.port}
        self.configure()
        for name, identifier, number in (("population", POPULATION, self.last), ("tax", TAX, 1)):
            world.write_adapter_settings(name, identifier, gateways=f"['127.0.0.1:{self.ports[number]}']")

    def configure(self, **more):
        """The gateways' settings, with these sections as well."""
        self.world.write_gateway_settings(**({"bus": self.sections[1]} if self.sections else {}), **more)
        if self.last == 2:
            first = (self.world.dir / "gateway.yaml").read_text().replace(self.sections[1], self.sections[2])
            (self.world.dir / "gateway2.yaml").write_text(self.second(first))

    def start(self, *numbers):
        """These, or all."""
        for number in numbers or range(1, self.last + 1):
            super().start(number, self.env)
        for number in numbers or range(1, self.last + 1):  # it listens when it has read the leases
            wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", self.ports[number])) == 0, 20, "the gateway's port")

    def kill(self, *numbers):
        for number in numbers or range(1, self.last + 1):
            self.stop(number)

    def owns(self, number, count=1):
        """The gateway reads so many inboxes; at once where the journal is the queue."""
        if self.kind == "kafka":
            wait_until(lambda: self.status(number)["bus"]["inboxes_owned"] >= count, 20, f"{count} inboxes at gateway {number}")

    def served(self):
        """Both systems on libehis: population answers GetPerson."""
        provider, consumer = self.peer("population"), self.peer("tax")
        provider.well("serve GetPerson"), provider.well("ready"), consumer.well("ready")
        self.owns(self.last)
        wait_until(lambda: consumer.do("call GetPerson begin", "reply")["err"] == 0, 20, "an answer")
        return provider, consumer

    def spec(self, name, number=None, **windows):
        """A system that knows SPEC.md alone."""
        number = number or {"tax": 1, "population": self.last}[name]
        p = spec_peer.Peer(types.SimpleNamespace(dir=self.world.dir, port=self.ports[number]), name, SYSTEMS[name], self.world.operator_key).connect().ready(**windows)
        self.open.append(p)
        return p

    def close(self):
        for p in self.open:
            p.close()
        super().close()


@pytest.fixture(params=["local", "kafka"])
def bus(request, land):
    b = Bus(request.param, land, request.getfixturevalue("kafka") if request.param == "kafka" else None)
    yield b
    b.close()


def bodies(provider, first="n"):
    return [b for b in requests(provider) if b.startswith(first)]


def numbered(p, stream, number, lifetime=86400000, **more):
    fields = p.header(REQUEST, SERVICE, "GetPerson", **{"purpose": PURPOSE, "legal_basis": BASIS, "stream": stream, "number": number, "lifetime": lifetime, **more})
    return p.seal(fields, POPULATION, b"%d" % number)


def called(tax):
    """A waiting call that was accepted: its bytes and digest. Repeated while the provider's session is not known at the other gateway yet."""
    def is_taken():
        parts = tax.seal(tax.header(REQUEST, SERVICE, "GetPerson", purpose=PURPOSE, legal_basis=BASIS), POPULATION, b"call")
        d = tax.submit(*parts)
        return (parts, d) if tax.receipt(d)[0] == ACCEPTED else None
    return wait_until(is_taken, 20, "an accepted call")


def still_served(p):
    p.send("PING", message({1: 7, 2: 1}))
    assert p.want("PONG").number(1) == 7


# ---- order


def test_messages_of_a_stream_come_in_order_and_end_with_the_recipients_word(bus):
    bus.start()
    provider, consumer = bus.served()
    sent = [f"n{i}" for i in range(60)]
    for body in sent:
        consumer.well(f"send GetPerson {body}")
    consumer.well("flush final")
    wait_until(lambda: len(consumer.got("response")) == 60)
    assert bodies(provider) == sent and [x["body"] for x in consumer.got("response")] == sent
    assert [x["number"] for x in provider.got("request") if x["stream"]] == list(range(1, 61))
    final = [x for x in consumer.got("receipt") if x["state"] == DELIVERED]
    assert len(final) == 60 and all(x["signed"] for x in final)
    for number in range(1, bus.last + 1):
        assert bus.kind == "local" or (bus.status(number)["bus"]["dead_letters"], bus.status(number)["bus"]["refused"], bus.status(number)["bus"]["gateways"]) == (0, 0, 2)


# ---- redelivery


def test_what_a_recipient_gives_back_or_was_handling_when_it_died_comes_again_marked_and_nothing_twice(bus):
    bus.start()
    provider, consumer = bus.served()
    for text in ("retry", "nafter", "hang", "nlast"):
        consumer.well(f"send GetPerson {text}")
    provider.wait(lambda x: x["event"] == "request" and x["body"] == "hang")
    assert [(x["body"], x["repeated"]) for x in provider.got("request") if x["stream"]] == [("retry", 0), ("retry", 1), ("retry", 1), ("nafter", 0), ("hang", 0)]
    provider.kill()
    provider = bus.peer("population")
    provider.well("serve GetPerson")
    again = provider.wait(lambda x: x["event"] == "request")
    assert (again["body"], again["number"], again["repeated"]) == ("hang", 3, 1)
    time.sleep(1)
    assert requests(provider) == ["hang"]  # it hangs again; the fourth waits for it


# ---- duplicates


def test_the_same_bytes_again_are_delivered_once_and_a_call_gets_its_stored_answer(bus):
    bus.start()
    population, tax, stream = bus.spec("population"), bus.spec("tax"), os.urandom(16)
    bus.owns(bus.last)
    assert tax.open_stream(stream, POPULATION) == (1, 0)
    first = numbered(tax, stream, 1)
    d = tax.submit(*first)
    assert tax.receipt(d)[:2] == (ACCEPTED, 0)
    tax.submit(*first)
    assert tax.receipt(d)[:2] == (ACCEPTED, 0)
    other = tax.submit(*numbered(tax, stream, 1, case_ref="another"))
    assert tax.receipt(other)[:2] == (REFUSED, 5061)
    if bus.kind == "kafka":  # it moves, and does not know that it was accepted
        moved = bus.spec("tax", 2)
        assert moved.open_stream(stream, POPULATION) == (1, 0)
        moved.submit(*first)
        assert moved.receipt(d)[:2] == (ACCEPTED, 0)
    n, _, _, seen, _ = population.delivery()
    assert seen == d
    if bus.kind == "kafka":  # what it sends behind the copy comes when that was read: while the first is under way. Later it would come again (SPEC 17.4.3)
        other_stream = os.urandom(16)
        assert moved.open_stream(other_stream, POPULATION) == (1, 0)
        behind = moved.submit(*numbered(moved, other_stream, 1))
        last, _, _, seen, _ = population.delivery()
        assert seen == behind
        population.ack((n, d, DONE), (last, behind, DONE))
    else:
        last = n
        population.ack((n, d, DONE))
    assert tax.receipt(d, DELIVERED)[0] == DELIVERED
    asked, d = called(tax)
    n, h, _, seen, _ = population.delivery()  # and not the first once more
    assert (n, seen) == (last + 1, d)
    answer = population.header(RESPONSE, TAX, "GetPerson", exchange_id=h.bytes(1), status=1, in_reply_to=d, expires=h.number(11))
    rd = population.submit(*population.seal(answer, TAX, b"y"))
    assert tax.delivery()[3] == rd
    tax.submit(*asked)
    assert tax.delivery()[3] == rd


# ---- expiry


def test_what_is_not_taken_in_time_expires_and_holds_up_nothing(bus):
    bus.start()
    population, tax, stream = bus.spec("population", streams=1), bus.spec("tax"), os.urandom(16)
    tax.open_stream(stream, POPULATION)
    sent = [tax.submit(*numbered(tax, stream, n, lifetime=1500 if n == 2 else 86400000)) for n in (1, 2, 3)]
    for d in sent:
        assert tax.receipt(d)[:2] == (ACCEPTED, 0)
    n, _, body, d, _ = population.delivery()
    assert body == b"1"
    assert tax.receipt(sent[1], EXPIRED)[1] == 5062
    population.ack((n, d, DONE))
    ((skip, number, digest, state, leaf),) = population.skips()
    assert (number, digest, state) == (2, sent[1], EXPIRED)
    population.ack((skip, leaf, DONE))
    n, _, body, d, _ = population.delivery()
    assert (body, d) == (b"3", sent[2])
    population.ack((n, d, DONE))
    assert tax.receipt(d, DELIVERED)[0] == DELIVERED


# ---- dead letter and skip


def test_what_is_refused_rejected_or_given_up_is_passed_over_in_its_place(bus):
    bus.configure(limits="{attempts_max: 3}")
    bus.start()
    tax, stream = bus.spec("tax"), os.urandom(16)
    tax.open_stream(stream, POPULATION)
    sent = []
    for n in range(1, 6):
        sent.append(tax.submit(*numbered(tax, stream, n, **({"purpose": "school.enrolment"} if n == 2 else {}))))
        assert tax.receipt(sent[-1])[:2] == ((REFUSED, 4103) if n == 2 else (ACCEPTED, 0))
    ahead = tax.submit(*numbered(tax, stream, 9))
    flow = tax.want("FLOW")
    assert (flow.bytes(1), flow.number(2), flow.number(5)) == (ahead, 5053, 6)
    population = bus.spec("population", streams=1)
    seen, skipped = [], {}
    while len(seen) + len(skipped) < 6 + 3:  # the third three times
        name, payload = population.next("DELIVER", "SKIPS")
        population.received.insert(0, (name, payload))
        if name == "SKIPS":
            for delivery, number, digest, state, leaf in population.skips():
                skipped[number] = (digest, state)
                population.ack((delivery, leaf, DONE))
            continue
        delivery, h, _, d, frame = population.delivery()
        number = h.number(9)
        seen.append(number)
        assert frame.number(4) == seen.count(number)
        population.ack((delivery, d, *{3: (RETRY, 0, 10), 4: (REJECTED, 4103)}.get(number, (DONE,))))
    assert seen == [1, 3, 3, 3, 4, 5] and skipped == {2: (sent[1], REFUSED), 3: (sent[2], FAILED), 4: (sent[3], FAILED)}
    for n in (1, 5):
        assert tax.check_ack(tax.receipt(sent[n - 1], DELIVERED)[2], sent[n - 1], POPULATION) == DONE
    assert tax.receipt(sent[2], FAILED)[1] == 5068
    state, code, ack = tax.receipt(sent[3], FAILED)
    assert code == 4103 and tax.check_ack(ack, sent[3], POPULATION) == REJECTED
    if bus.kind == "kafka":
        wait_until(lambda: bus.status(2)["bus"]["dead_letters"] == 1, 10, "the dead letter")
        dead = bus.broker.cluster.kcat("-C", "-t", f"{bus.prefix}..dlq", "-o", "beginning", "-e", "-q", "-f", "%k %S\n").stdout.split()
        assert dead[0] == f"{bus.prefix}..inbox.AZ..GOV..MIA..population" and int(dead[1]) > 300
        assert bus.status(2)["bus"]["refused"] == 0


# ---- flow control


def test_beyond_its_bounds_a_sender_is_told_busy_no_session_stays_unread_and_it_goes_on(bus):
    bus.configure(limits="{stored_messages_max: 16}")
    bus.start()
    consumer, slow = bus.peer("tax"), bus.spec("population", streams=2)
    consumer.well("ready")
    sent = [f"n{i}" for i in range(60)]
    for body in sent:
        consumer.well(f"send GetPerson {body}")
    assert [slow.delivery()[1].number(9) for _ in range(2)] == [1, 2]
    wait_until(lambda: bus.status(1)["exchange"]["busy"] > 0, 20, "BUSY")
    consumer.say("call GetPerson beside")
    assert slow.delivery()[2] == b"beside"  # of the stream no more came: its window is full
    still_served(slow)
    assert slow.received == []
    slow.close()
    provider = bus.peer("population")
    provider.well("serve GetPerson")
    consumer.well("flush final")
    assert [b for b in bodies(provider)] == sent
    busy = bus.status(1)["exchange"]
    print(f"{bus.kind}: 60 messages with room for 16: {busy['busy']} times BUSY, {busy['duplicates']} repeated")


# ---- restart


def test_what_was_accepted_survives_every_gateway_being_killed_and_comes_once_in_order(bus):
    bus.start()
    provider, consumer = bus.served()
    sent = [f"n{i}" for i in range(150)]
    for i, body in enumerate(sent):
        consumer.well(f"send GetPerson {body}")
        if i in (40, 90):
            bus.kill()
            bus.start()
    consumer.well("flush final")
    wait_until(lambda: len(consumer.got("response")) >= 150)
    seen = [x for x in provider.got("request") if x["stream"]]
    assert [x["body"] for x in seen if not x["repeated"]] == sent and len({x["number"] for x in seen}) == 150
    assert [x["body"] for x in consumer.got("response")] == sent
    wait_until(lambda: consumer.do("call GetPerson after", "reply")["err"] == 0, 30, "a call")
    wait_until(lambda: bus.status(1)["exchange"]["stored_messages"] == 0, 30, "all ends known")


# ---- a call beside a backlog


def test_a_waiting_call_passes_by_a_days_backlog(bus):
    bus.start()
    consumer, backlog = bus.peer("tax"), 2000
    consumer.well("ready")
    for i in range(backlog):
        consumer.say(f"send GetPerson n{i}")
    wait_until(lambda: len([x for x in consumer.got("did") if x["err"] == 0]) > backlog, 60, "all promised")
    provider = bus.peer("population")
    provider.well("serve GetPerson")
    wait_until(lambda: bodies(provider), 30, "the first of the backlog")
    began = time.monotonic()
    wait_until(lambda: consumer.do("call GetPerson call", "reply")["err"] == 0, 30, "an answer")
    took, handed = time.monotonic() - began, len(bodies(provider))
    print(f"{bus.kind}: a call answered in {took * 1000:.0f} ms beside a backlog of {backlog}, of which {handed} were handed over")
    assert handed < backlog
    wait_until(lambda: len(bodies(provider)) >= backlog, 60, "all of it")
    assert bodies(provider) == [f"n{i}" for i in range(backlog)]


# ---- two systems that call each other


def test_two_systems_that_call_each_other_at_full_windows_do_not_wait_for_each_other_for_ever(bus):
    (bus.world.dir / "registry/services/levy.yaml").write_text(LEVIES)
    bus.world.publish_registry()
    bus.start()
    population, tax = bus.peer("population"), bus.peer("tax")
    population.well("serve GetPerson"), tax.well(f"serve {LEVY}/GetLevy")
    bus.owns(1), bus.owns(bus.last)
    for one, what in ((tax, "GetPerson"), (population, f"{LEVY}/GetLevy")):
        wait_until(lambda: one.do(f"call {what} x", "reply")["err"] == 0, 20, f"an answer of {what}")
    began = time.monotonic()
    tax.say("many 1500 GetPerson")
    there, back = population.do(f"many 1500 {LEVY}/GetLevy", "many", 90), tax.wait(lambda x: x["event"] == "many", 90)
    print(f"{bus.kind}: 1,500 calls each way, 512 under way each: {time.monotonic() - began:.1f} s")
    assert there["failed"] == back["failed"] == 0, (there, back)


# ---- publish and subscribe


def test_events_reach_their_subscribers_in_order_and_wait_for_one_that_is_away(bus):
    bus.start()
    publisher, subscriber = bus.peer("population"), bus.peer("tax")
    publisher.well("ready"), subscriber.well("subscribe PersonChanged"), subscriber.well("ready")
    for number in range(1, bus.last + 1):
        wait_until(lambda: bus.status(number)["exchange"]["subscriptions"] == 1, 20, f"the subscription at gateway {number}")
    for i in range(10):
        publisher.well(f"publish PersonChanged e{i}")
    publisher.well("flush final")
    wait_until(lambda: len(subscriber.got("published")) == 10)
    assert [x["body"] for x in subscriber.got("published")] == [f"e{i}" for i in range(10)]
    subscriber.quit()
    for i in range(5):
        publisher.well(f"publish PersonChanged later{i}")
    publisher.well("flush final")
    subscriber = bus.peer("tax")
    subscriber.well("subscribe PersonChanged")
    wait_until(lambda: len(subscriber.got("published")) == 5)
    assert [x["body"] for x in subscriber.got("published")] == [f"later{i}" for i in range(5)]
    assert not any(x["repeated"] for x in subscriber.got("published"))
