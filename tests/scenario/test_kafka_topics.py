# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""What was not read yet is deleted from the topics of gateways that run, what is remembered nowhere else, and the right to write it is taken away, over a real broker:
nothing is lost, or what is lost is told. (Each topic, one after the other: test_kafka_each_topic.py.)"""
import time

import pytest
from kafka_admin import TOPIC, Admin
from forge_parcel import CURSOR, Forger, payload_of
from test_gateways import requests
from test_kafka_broker import topic
from test_kafka_bus import apart, pair  # noqa: F401
from test_kafka_events import at, bodies, publish, subscribed
from test_kafka_gateways import audited
from test_large import DELIVERED
from world import SYSTEMS, wait_until

POPULATION, TAX = SYSTEMS["population"], SYSTEMS["tax"]
EVENT = "AZ/GOV/MIA/population/person/PersonChanged"


def cut(admin, name):
    """kafka-delete-records, which wants cleanup.policy=delete."""
    admin.alter(TOPIC, name, {"cleanup.policy": "delete"})
    admin.cut(name)
    admin.alter(TOPIC, name, {"cleanup.policy": "compact"})


def first_events(pair, *names):  # noqa: F811
    """Two gateways: who publishes at the first, who subscribes at the second; these have come."""
    pair.start(1), pair.start(2)
    publisher, subscriber = at(pair, "population", POPULATION, 1), at(pair, "tax", TAX, 2)
    subscriber.well("subscribe PersonChanged")
    subscribed(pair, 1, 2)
    publish(publisher, *names)
    wait_until(lambda: bodies(subscriber) == list(names), 30, "the first")
    return publisher, subscriber


@pytest.mark.parametrize("how, who", [("anew", "there"), ("anew", "away"), ("cut", "there"), ("cut", "away")])
def test_subscriptions_outlive_the_log_that_they_stand_in(kafka, pair, how, who):  # noqa: F811
    """The log of cursors is made anew, or all of it deleted, while the gateways run; then every gateway begins anew, too."""
    publisher, subscriber = first_events(pair, "e0", "e1")
    if who == "away":
        subscriber.quit()
        publish(publisher, "e2", "e3")
    publisher.well("flush final")
    name, admin = f"{pair.prefix}..control.cursor", Admin(kafka.cluster)
    time.sleep(1.5)  # positions are written every second
    if how == "anew":
        admin.delete(name)
        kafka.create(pair.world)
    else:
        cut(admin, name)
    began = time.monotonic()
    wait_until(lambda: any(x["error"] in ("BUS_POSITION", "BUS_NO_TOPIC") and x["topic"] == name for n in ("gateway", "gateway2") for x in pair.world.log_lines(n, "bus.watch")), 30,
               "that it is noticed")
    wait_until(lambda: admin.read(name), 30, "the subscription in the log again")
    print(f"written again after {time.monotonic() - began:.1f} s")
    if who == "there":
        publish(publisher, "e2", "e3")
        wait_until(lambda: len(bodies(subscriber)) == 4, 30, "what came after")
        subscriber.quit()
    publisher.well("flush final")
    time.sleep(1.5)
    pair.stop(1), pair.stop(2)
    pair.start(1), pair.start(2)
    subscribed(pair, 1, 2)
    publish(publisher, "e4", "e5")
    publisher.well("flush final")
    again = at(pair, "tax", TAX, 2)
    again.well("subscribe PersonChanged")
    wanted = ["e4", "e5"] if who == "there" else ["e2", "e3", "e4", "e5"]
    wait_until(lambda: len(bodies(again)) >= len(wanted), 30, "what was published meanwhile")
    assert bodies(again) == wanted and again.got("passed") == []


def test_what_is_written_under_the_key_of_a_subscription_or_a_claim_does_not_replace_it(kafka, pair):  # noqa: F811
    """Compaction leaves the newest record of a key: who begins after it would know of neither."""
    publisher, subscriber = first_events(pair, "e0")
    publisher.well("flush final")
    admin = Admin(kafka.cluster)
    for kind, begin in (("control.cursor", b"cursor/"), ("control.lease", b"claim/")):
        name = topic(pair.prefix, kind)
        for value in (None, b"junk"):
            keys = {k for _, k, _ in admin.read(name) if k and k.startswith(begin)}
            assert keys
            admin.write(name, [(k, value) for k in keys])
            wait_until(lambda: all((v or b"junk") != b"junk" for v in {k: v for _, k, v in admin.read(name) if k in keys}.values()), 20, f"what counts under {keys} again")
    publish(publisher, "e1")
    wait_until(lambda: bodies(subscriber) == ["e0", "e1"], 30, "the next")


def test_an_end_that_is_repeated_ends_no_subscription_and_an_old_beginning_makes_none(kafka, pair):  # noqa: F811
    publisher, subscriber = first_events(pair, "e0")
    admin, name = Admin(kafka.cluster), topic(pair.prefix, "control.cursor")

    def refuses(record):
        offset = admin.write(name, [record])
        wait_until(lambda: any((x["error"], x["topic"], x["offset"]) == ("LEASE_REPLAYED", name, offset) for x in pair.world.log_lines("gateway2", "bus.refused")), 20, "that it was there before")

    def ends():
        subscriber.well("unsubscribe PersonChanged")
        wait_until(lambda: all(pair.status(n)["exchange"]["subscriptions"] == 0 for n in (1, 2)), 20, "the end")
        return next((k, v) for _, k, v in reversed(admin.read(name)) if v and not payload_of(v))
    key, end = ends()
    subscriber.well("subscribe PersonChanged")
    subscribed(pair, 1, 2)
    publish(publisher, "e1")
    wait_until(lambda: bodies(subscriber) == ["e0", "e1"], 30, "what came after")
    refuses((key, end))
    publish(publisher, "e2")
    wait_until(lambda: bodies(subscriber) == ["e0", "e1", "e2"], 30, "what came after that")
    wait_until(lambda: admin.read(name)[-1][2] != end, 20, "what counts behind it")
    ends()
    service, event = EVENT.rsplit("/", 1)
    refuses((key, Forger.of(pair.world).parcel(name, CURSOR, b"\1", system=TAX, service=service, event=event, time_ms=int(time.time() * 1000) - 70000)))
    assert all(pair.status(n)["exchange"]["subscriptions"] == 0 for n in (1, 2))


def test_a_subscription_that_was_deleted_while_no_gateway_ran_is_told_as_a_gap(kafka, pair):  # noqa: F811
    publisher, subscriber = first_events(pair, "e0", "e1")
    subscriber.quit()
    publisher.well("flush final")
    pair.stop(1), pair.stop(2)
    cut(Admin(kafka.cluster), f"{pair.prefix}..control.cursor")
    pair.start(1), pair.start(2)
    for name in ("gateway", "gateway2"):
        wait_until(lambda: any(x["error"] == "BUS_POSITION" for x in pair.world.log_lines(name, "bus.position")), 20, "that subscriptions may be gone")
    publish(publisher, "e2", "e3")
    publisher.well("flush final")
    again = at(pair, "tax", TAX, 2)
    again.well("subscribe PersonChanged")
    subscribed(pair, 1, 2)
    publish(publisher, "e4")
    wait_until(lambda: bodies(again) == ["e4"], 90, "the next")
    assert [x["number"] for x in again.got("passed")] == [3, 4]


def test_events_go_on_for_who_begins_anew_after_their_keys_were_deleted(kafka, pair):  # noqa: F811
    """The topic of keys is empty until the next epoch; who has the key needs none."""
    publisher, subscriber = first_events(pair, "e0")
    Admin(kafka.cluster).delete(topic(pair.prefix, "key", EVENT))
    kafka.create(pair.world)
    time.sleep(1.5)  # positions are written every second
    pair.stop(2)
    pair.start(2)
    publish(publisher, "e1", "e2")
    wait_until(lambda: len(bodies(subscriber)) >= 3, 40, "what came after")
    assert bodies(subscriber) == ["e0", "e1", "e2"]


def test_events_that_were_deleted_before_they_were_read_are_told_as_a_gap_and_those_behind_come(kafka, pair):  # noqa: F811
    """Retention, or kafka-delete-records."""
    publisher, subscriber = first_events(pair, "e0", "e1")
    subscriber.quit()
    publish(publisher, "e2", "e3")
    publisher.well("flush final")
    name, admin = topic(pair.prefix, "event", EVENT), Admin(kafka.cluster)
    for partition in (0, 1):
        admin.cut(name, partition=partition)
    again = at(pair, "tax", TAX, 2)
    again.well("subscribe PersonChanged")
    publish(publisher, "e4", "e5")
    wait_until(lambda: len(bodies(again)) == 2, 90, "what is behind")
    assert bodies(again) == ["e4", "e5"] and [x["number"] for x in again.got("passed")] == [3, 4]
    assert any(x["error"] == "BUS_POSITION" and x["topic"] == name for x in pair.world.log_lines("gateway2", "bus.watch"))


def test_reports_that_are_deleted_before_they_were_read_are_asked_for_again(kafka, pair):  # noqa: F811
    """Of the first gateway's reply topic: it learns the ends of what it accepted all the same, and nothing is delivered twice."""
    provider, consumer = apart(pair)
    wait_until(lambda: consumer.do("call GetPerson one", "reply")["err"] == 0, 20, "an answer")
    name, admin = topic(pair.prefix, "reply", "AZ/gw1"), Admin(kafka.cluster)
    admin.deny("AZ/gw1", name)
    wait_until(lambda: any(x["error"] == "BUS_NOT_ALLOWED" and x["topic"] == name for x in pair.world.log_lines("gateway", "bus.watch")), 20, "that it is not allowed")
    for i in range(20):
        consumer.well(f"send GetPerson n{i}")
    wait_until(lambda: len(requests(provider)) >= 21, 30, "all delivered")
    wait_until(lambda: pair.status(2)["bus"]["held"] == 0, 30, "all reported")
    assert len([x for x in consumer.got("receipt") if x["state"] == DELIVERED]) < 10  # most were not read
    admin.cut(name)
    admin.forbid("AZ/gw1")
    kafka.create(pair.world)
    began = time.monotonic()
    consumer.well("flush final")
    print(f"all ends known {time.monotonic() - began:.1f} s after the reports were deleted")
    assert [b for b in requests(provider) if b[0] == "n"] == [f"n{i}" for i in range(20)]


def test_a_right_that_is_missing_on_the_audit_topic_is_said_and_its_records_come_when_it_is_there(kafka, pair):  # noqa: F811
    """Under load. (What is called replicated meanwhile: test_kafka_gateways.py.)"""
    provider, consumer = apart(pair)
    wait_until(lambda: consumer.do("call GetPerson one", "reply")["err"] == 0, 20, "an answer")
    admin, name = Admin(kafka.cluster), f"{pair.prefix}..audit"
    sent = [f"n{i}" for i in range(120)]
    for i, body in enumerate(sent):
        consumer.well(f"send GetPerson {body}")
        if i == 20:
            admin.deny("AZ/gw1", name)
        if i == 50:
            wait_until(lambda: any(x["error"] == "BUS_NOT_ALLOWED" and x["topic"] == name for x in pair.world.log_lines("gateway", "bus.topic")), 20, "that it is not allowed")
            assert pair.status(1)["bus"]["unaudited_groups"] > 0
        if i == 60:
            admin.forbid("AZ/gw1")
            kafka.create(pair.world)
        if i == 80:
            admin.delete(name)
            before = max(r["sequence"] for r in pair.world.records())  # what is recorded until then may have gone with the topic
        if i == 100:
            kafka.create(pair.world)
    consumer.well("flush final")
    assert [b for b in requests(provider) if b[0] == "n"] == sent
    wait_until(lambda: all(pair.status(n)["bus"]["unaudited_groups"] == 0 for n in (1, 2)), 30, "all groups on the topic")
    wanted = {r["sequence"] for r in pair.world.records() if r["sequence"] > before}
    assert len(wanted) > 40 and wanted <= set(audited(kafka.cluster, pair.prefix)), sorted(wanted)[:5]
