# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""Each topic but that of large bodies (test_kafka_large.py) is deleted while a gateway runs, over a real broker: it is said, nothing else stops, and all goes on by itself when it is made anew. (What was in it is lost
or sent again: test_kafka_topics.py, test_kafka_bad_input.py.)"""
import itertools
import time

import pytest
from kafka_admin import Admin
from test_kafka_broker import SINGLES, topic
from test_kafka_events import bodies
from test_gateways import requests
from test_large import MIB, file_of
from test_sdk import Peer
from world import SYSTEMS, World, wait_until

POPULATION, TAX = SYSTEMS["population"], SYSTEMS["tax"]
EVENT = "AZ/GOV/MIA/population/person/PersonChanged"
OWNERS = {"call": POPULATION, "inbox": POPULATION, "reply": "AZ/gw1", "key": EVENT, "event": EVENT, **{kind: "" for kind in SINGLES}}
ACTS = {"call": "call", "inbox": "stream", "reply": "call", "key": "event", "event": "event", "dlq": "junk", "audit": "stream"}  # what needs it most


class Land:
    """One gateway over the broker, a system that serves and publishes, one that asks and is subscribed."""

    def __init__(self, kafka, world):
        self.kafka, self.world, self.admin, self.n = kafka, world, Admin(kafka.cluster), itertools.count(1)
        self.prefix = kafka.join(world)
        world.start_gateway()
        self.provider, self.consumer = Peer(world, "population"), Peer(world, "tax")
        self.provider.well("serve GetPerson"), self.provider.well("ready"), self.consumer.well("subscribe PersonChanged"), self.consumer.well("ready")
        wait_until(lambda: self.bus()["inboxes_owned"] == 2 and world.status()["exchange"]["subscriptions"] == 1, 30, "inboxes and subscription")
        self.file = file_of(world, 3 * MIB // 2)
        self.all_work()

    def bus(self):
        return self.world.status()["bus"]

    def topic(self, kind):
        return topic(self.prefix, kind, OWNERS[kind])

    # -- what one does, and what comes of it

    def call(self):
        return wait_until(lambda: self.consumer.do("call GetPerson one", "reply")["err"] == 0, 40, "an answer")

    def stream(self):
        text = f"n{next(self.n)}"
        self.consumer.well(f"send GetPerson {text}")
        return lambda: text in requests(self.provider)

    def event(self):
        text = f"e{next(self.n)}"
        self.provider.well(f"publish PersonChanged {text}")
        return lambda: text in bodies(self.consumer)

    def large(self):
        before = sum(x["err"] == 0 for x in self.provider.got("large-request"))
        self.consumer.say(f"sendfile GetPerson {self.file}")
        return lambda: sum(x["err"] == 0 for x in self.provider.got("large-request")) > before

    def junk(self):
        before = self.bus()["dead_letters"]
        self.admin.write(self.topic("call"), [(b"k", b"nothing")])
        return lambda: self.bus()["dead_letters"] > before

    def all_work(self):
        for act in (self.stream, self.event, self.large, self.junk):
            wait_until(act(), 40, act.__name__)
        self.call()
        wait_until(lambda: self.bus()["unaudited_groups"] == 0 and self.bus()["waiting"] == 0, 40, "all on its topics")
        status = self.world.status()
        assert status["bus"]["state"] == "OK", status["bus"]

    def lines(self):
        return len(self.world.log_lines("gateway"))

    def said(self, kind, error, since, seconds=30):
        name = self.topic(kind)
        return wait_until(lambda: next((x for x in self.world.log_lines("gateway")[since:] if x.get("error") == error and x.get("topic") == name), None), seconds,
                          f"{error} of {name}:\n" + "\n".join(map(str, self.world.log_lines("gateway")[since:][-20:])))

    def make(self):
        self.kafka.create(self.world)

    def others_work(self, kind):
        """What does not need the topic goes on."""
        for act in {"call": ("stream", "event"), "inbox": ("call", "event"), "reply": ("event",), "key": ("call", "stream"), "event": ("call", "stream")}.get(kind, ("call", "stream", "event")):
            is_done = getattr(self, act)()
            if callable(is_done):
                wait_until(is_done, 20, f"{act} without {kind}")


@pytest.fixture(scope="module")
def one(kafka, tmp_path_factory):
    with World(tmp_path_factory.mktemp("az")) as w:
        made = Land(kafka, w)
        yield made
        made.provider.kill(), made.consumer.kill()


@pytest.mark.parametrize("kind", [kind for kind in OWNERS if kind != "blob"])
def test_a_topic_that_is_deleted_is_named_stops_no_other_and_works_when_it_is_there_again(one, kind):
    since = one.lines()
    one.admin.delete(one.topic(kind))
    time.sleep(0.3)
    waits = []
    try:
        if ACTS.get(kind, "call") != "call":
            waits.append(getattr(one, ACTS[kind])())
        one.said(kind, "BUS_NO_TOPIC", since)
        one.others_work(kind)
    finally:
        one.make()
    for is_done in waits:
        wait_until(is_done, 40, "what waited for it")
    one.all_work()
