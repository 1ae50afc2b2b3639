# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""Publish and subscribe over a real broker (SPEC 17.9): published at one gateway, delivered by another; who is away, slow, or has lost its right; a gateway
that dies; a key that somebody alters."""
import json
import signal
import time

import pytest
from kafka_admin import Admin
from test_kafka_bus import pair  # noqa: F401
from world import wait_until

TAX = "AZ/GOV/STS/tax"
REVENUE = "AZ/GOV/STS/revenue"


def at(pair, name, identifier, *numbers):
    """The system's gateways, by number."""
    ports = {1: pair.world.port, 2: pair.port}
    pair.world.write_adapter_settings(name, identifier, gateways="[" + ", ".join(f"'127.0.0.1:{ports[n]}'" for n in numbers) + "]")
    peer = pair.peer(name)
    peer.well("ready")
    return peer


def bodies(peer):
    return [x["body"] for x in peer.got("published")]


def subscribed(pair, *numbers, count=1):
    for n in numbers:
        wait_until(lambda n=n: pair.status(n)["exchange"]["subscriptions"] >= count, 30, f"{count} subscriptions at gateway {n}")


def publish(peer, *names):
    for name in names:
        peer.well(f"publish PersonChanged {name}")


@pytest.fixture
def apart(pair):  # noqa: F811
    """The publisher is at the first gateway alone, the subscriber at the second."""
    pair.start(1), pair.start(2)
    publisher = at(pair, "population", "AZ/GOV/MIA/population", 1)
    subscriber = at(pair, "tax", TAX, 2)
    subscriber.well("subscribe PersonChanged")
    subscribed(pair, 1, 2)
    return pair, publisher, subscriber


def test_an_event_that_enters_at_one_gateway_leaves_at_another_in_order(apart):
    pair, publisher, subscriber = apart  # noqa: F811
    sent = [f"e{i}" for i in range(200)]
    publish(publisher, *sent)
    publisher.well("flush final")
    wait_until(lambda: len(bodies(subscriber)) >= 200, 30, "the events")
    assert bodies(subscriber) == sent
    for n in (1, 2):
        bus = pair.status(n)["bus"]
        assert bus["dead_letters"] == bus["refused"] == 0, bus
    wait_until(lambda: pair.status(2)["bus"]["held"] == 0, 20, "all of it finished")
    subscriber.well("unsubscribe PersonChanged")
    wait_until(lambda: pair.status(1)["exchange"]["subscriptions"] == 0, 20, "the end of the subscription")
    publish(publisher, "unwanted")
    publisher.well("flush final")
    time.sleep(1)
    assert bodies(subscriber) == sent and pair.status(2)["bus"]["held"] == 0  # nor was it tried


def test_events_wait_at_the_broker_for_a_subscriber_that_is_away(apart):
    pair, publisher, subscriber = apart  # noqa: F811
    publish(publisher, "first")
    wait_until(lambda: bodies(subscriber) == ["first"], 30, "the first")
    subscriber.quit()
    sent = [f"later{i}" for i in range(50)]
    publish(publisher, *sent)
    publisher.well("flush final")
    again = at(pair, "tax", TAX, 2)
    again.well("subscribe PersonChanged")
    wait_until(lambda: len(bodies(again)) >= 50, 30, "what was published meanwhile")
    assert bodies(again) == sent


def test_the_next_owner_of_an_inbox_goes_on_from_the_cursor_when_a_gateway_is_killed(pair):  # noqa: F811
    pair.start(1), pair.start(2)
    publisher, subscriber = pair.peer("population"), pair.peer("tax")
    pair.ready(publisher, 1, 2), pair.ready(subscriber, 1, 2)
    subscriber.well("subscribe PersonChanged")
    subscribed(pair, 1, 2)
    sent = [f"e{i}" for i in range(300)]
    publish(publisher, *sent[:100])
    publisher.well("flush final")  # what stands in the journal of the gateway that dies alone would come when that is back, late
    wait_until(lambda: len(bodies(subscriber)) >= 50, 30, "some of it")
    owner = next(n for n in (1, 2) if TAX in json.dumps(pair.world.log_lines("gateway" if n == 1 else "gateway2", "inbox.owned")))
    pair.stop(owner)
    publish(publisher, *sent[100:200])
    wait_until(lambda: len(bodies(subscriber)) >= 150, 60, "more of it, from the other gateway")
    pair.start(owner)
    publish(publisher, *sent[200:])
    publisher.well("flush final")
    wait_until(lambda: len(bodies(subscriber)) >= 300, 60, "all of it")
    assert bodies(subscriber) == sent


def test_of_a_topic_that_was_made_again_nothing_is_passed_over_though_it_soon_holds_more_than_the_old_one(kafka, apart):
    pair, publisher, subscriber = apart  # noqa: F811
    topic, admin = f"{pair.prefix}..event.AZ..GOV..MIA..population..person..PersonChanged", Admin(kafka.cluster)
    publish(publisher, *[f"old{i}" for i in range(5)])
    wait_until(lambda: len(bodies(subscriber)) == 5, 30, "the first")
    admin.delete(topic)
    wait_until(lambda: any(x.get("topic") == topic and x["error"] == "BUS_NO_TOPIC" for x in pair.world.log_lines("gateway2", "bus.watch")), 30, "the topic's end")
    sent = [f"new{i}" for i in range(60)]
    publish(publisher, *sent)
    kafka.create(pair.world)
    publisher.well("flush final")
    wait_until(lambda: len(bodies(subscriber)) >= 65, 60, "all of it")
    assert bodies(subscriber)[5:] == sent


@pytest.mark.parametrize("log", ["control.cursor", "key.AZ..GOV..MIA..population..person..PersonChanged"])
def test_a_log_that_ends_with_a_transaction_is_read_whole(kafka, apart, log):
    """Its end takes an offset, and is no record: who starts waited for it for ever."""
    pair, publisher, subscriber = apart  # noqa: F811
    topic, admin = f"{pair.prefix}..{log}", Admin(kafka.cluster)
    publish(publisher, "before")
    wait_until(lambda: bodies(subscriber) == ["before"], 30, "the first")
    pair.stop(2)
    end = admin.end(topic)
    done = kafka.cluster.kcat("-P", "-t", topic, "-p", "0", "-K", ":", "-X", f"transactional.id={log}", stdin="key:junk\n")
    assert done.returncode == 0, done.stderr
    wait_until(lambda: admin.end(topic) == end + 2, 20, "a record and the end of its transaction")
    pair.start(2)
    publish(publisher, "after")
    wait_until(lambda: bodies(subscriber) == ["before", "after"], 60, "the second")


def test_a_gateway_that_stops_in_order_leaves_the_cursor_where_it_is(pair):  # noqa: F811
    pair.start(1), pair.start(2)
    publisher, subscriber = pair.peer("population"), pair.peer("tax")
    pair.ready(publisher, 1, 2), pair.ready(subscriber, 1, 2)
    subscriber.well("subscribe PersonChanged")
    subscribed(pair, 1, 2)
    sent = [f"e{i}" for i in range(100)]
    publish(publisher, *sent[:50])
    wait_until(lambda: len(bodies(subscriber)) >= 50, 30, "the first half")
    delivered = lambda: sum(len(pair.world.records("--kind", "delivered", journal=j)) for j in ("journal", "journal2"))  # noqa: E731
    wait_until(lambda: delivered() == 50, 20, "their ends")  # what is under way when it stops may be delivered twice
    owner = next(n for n in (1, 2) if TAX in json.dumps(pair.world.log_lines("gateway" if n == 1 else "gateway2", "inbox.owned")))
    pair.stop(owner, signal.SIGTERM)
    publish(publisher, *sent[50:])
    wait_until(lambda: len(bodies(subscriber)) >= 100, 30, "the other half, from the other gateway")
    publisher.well("flush final")
    assert bodies(subscriber) == sent
    wait_until(lambda: delivered() == 100, 20, "each delivered once")


def subscriptions_of(pair, *names):  # noqa: F811
    """Two systems more or less may receive the event: the rule's consumers."""
    path = pair.world.dir / "registry/services/person.yaml"
    rule = path.read_text()
    start = rule.index("consumers: [")
    path.write_text(rule[:start] + f"consumers: [{', '.join(names)}]" + rule[rule.index("]", start) + 1:])
    pair.world.publish_registry()


@pytest.fixture
def three(kafka, pair):  # noqa: F811
    """A second subscriber at the second gateway."""
    pair.world.add_system("revenue", REVENUE)
    subscriptions_of(pair, TAX, REVENUE)
    kafka.create(pair.world)
    pair.start(1), pair.start(2)
    return pair


def test_a_slow_subscriber_does_not_hold_a_fast_one_and_loses_nothing(three, monkeypatch):
    publisher, fast = at(three, "population", "AZ/GOV/MIA/population", 1), at(three, "tax", TAX, 2)
    monkeypatch.setenv("PEER_SLOW_MS", "12")
    slow = at(three, "revenue", REVENUE, 2)
    fast.well("subscribe PersonChanged"), slow.well("subscribe PersonChanged")
    subscribed(three, 1, 2, count=2)
    sent = [f"e{i}" for i in range(3000)]
    for body in sent:
        publisher.say(f"publish PersonChanged {body}")
    wait_until(lambda: len(bodies(fast)) >= 3000, 60, "the events at the fast one")
    assert len(bodies(slow)) < 2900, "the slow one was not slow"
    held = three.status(2)["bus"]["held"]
    assert 0 < held <= 1100, held
    wait_until(lambda: len(bodies(slow)) >= 3000, 120, "the events at the slow one")
    assert bodies(fast) == sent and bodies(slow) == sent


def records(kafka, topic):
    """The values of a topic's records."""
    out = kafka.cluster.kcat("-C", "-t", topic, "-o", "beginning", "-e", "-q", "-D", "<end>", text=False).stdout
    return out.split(b"<end>")[:-1]


def test_whoever_loses_its_right_gets_no_event_more_and_a_new_epoch_begins(kafka, three):
    publisher, tax, revenue = at(three, "population", "AZ/GOV/MIA/population", 1), at(three, "tax", TAX, 2), at(three, "revenue", REVENUE, 2)
    tax.well("subscribe PersonChanged"), revenue.well("subscribe PersonChanged")
    subscribed(three, 1, 2, count=2)
    publish(publisher, "both")
    wait_until(lambda: bodies(tax) == bodies(revenue) == ["both"], 20, "the first event at both")
    keys = f"{three.prefix}..key.AZ..GOV..MIA..population..person..PersonChanged"
    assert len(records(kafka, keys)) == 1
    version = publisher.do("status", "status")["registry"]
    subscriptions_of(three, TAX)
    for gateway in ("gateway", "gateway2"):
        three.world.running[gateway].send_signal(signal.SIGHUP)
    for peer in (publisher, tax, revenue):
        wait_until(lambda peer=peer: peer.do("status", "status")["registry"] > version, 20, "the new registry")
    publish(publisher, "tax alone")
    publisher.well("flush final")
    wait_until(lambda: bodies(tax) == ["both", "tax alone"], 20, "the second event")
    assert len(records(kafka, keys)) == 2
    failed = wait_until(lambda: three.world.records("--kind", "failed", journal="journal2"), 20, "the record of the refusal")
    assert failed[0]["system"] == REVENUE and bodies(revenue) == ["both"], failed


def test_what_is_altered_or_repeated_in_the_topics_of_an_event_is_not_delivered(kafka, apart):
    pair, publisher, subscriber = apart  # noqa: F811
    admin = Admin(kafka.cluster)
    publish(publisher, "first")
    wait_until(lambda: bodies(subscriber) == ["first"], 20, "the first event")
    name = "AZ..GOV..MIA..population..person..PersonChanged"
    key, event, cursor = f"{pair.prefix}..key.{name}", f"{pair.prefix}..event.{name}", f"{pair.prefix}..control.cursor"
    genuine = {t: records(kafka, t)[-1] for t in (key, event, cursor)}

    def write(topic, value):
        for partition in (0, 1) if topic == event else (0,):
            admin.write(topic, [(b"x", value)], partition)

    for topic, value in genuine.items():
        write(topic, value[:-1] + bytes([value[-1] ^ 1]))
        write(topic, value[:len(value) // 2])
    write(key, genuine[event])   # in a topic that it was not signed for
    write(event, genuine[key])
    write(event, genuine[event])  # again
    wait_until(lambda: pair.status(2)["bus"]["dead_letters"] >= 11, 20, "dead letters")
    publish(publisher, "second")
    wait_until(lambda: bodies(subscriber)[-1] == "second", 20, "the second event")
    assert bodies(subscriber) == ["first", "second"]
    codes = {line["error"] for line in pair.world.log_lines("gateway2", "bus.refused")}
    assert "SIGNATURE_BAD" in codes, codes


def test_a_subscriber_gets_what_was_published_since_a_time_again_and_then_goes_on(apart):
    pair, publisher, subscriber = apart  # noqa: F811
    publish(publisher, *[f"old{i}" for i in range(10)])
    publisher.well("flush final")
    time.sleep(1)
    since = int(time.time() * 1000)
    publish(publisher, *[f"e{i}" for i in range(20)])
    publisher.well("flush final")
    wait_until(lambda: len(bodies(subscriber)) == 30, 20, "the events")
    subscriber.well(f"replay PersonChanged {since}")
    wait_until(lambda: len(bodies(subscriber)) >= 50, 20, "the later ones again")
    publish(publisher, "new")
    wait_until(lambda: bodies(subscriber)[-1] == "new", 20, "the next")
    again = subscriber.got("published")[30:]
    assert [x["body"] for x in again] == [f"e{i}" for i in range(20)] + ["new"]
    assert all(x["repeated"] for x in again[:20]) and not again[20]["repeated"], again
    subscriber.quit()
    later = at(pair, "tax", TAX, 2)
    later.well("subscribe PersonChanged")
    publish(publisher, "last")
    wait_until(lambda: bodies(later), 20, "the last")
    assert bodies(later) == ["last"]
