# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""Publish and subscribe over a real broker (SPEC 17.9): published at one gateway, delivered by another; who is away, slow, or has lost its right; a gateway
that dies; a key that somebody alters."""
import json
import re
import signal

import pytest
from test_gateways import Pair
from test_kafka_bus import pair, status  # noqa: F401
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
        wait_until(lambda n=n: status(pair, n)["exchange"]["subscriptions"] >= count, 30, f"{count} subscriptions at gateway {n}")


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
        bus = status(pair, n)["bus"]
        assert bus["dead_letters"] == bus["refused"] == 0, bus
    wait_until(lambda: status(pair, 2)["bus"]["held"] == 0, 20, "all of it finished")
    subscriber.well("unsubscribe PersonChanged")
    wait_until(lambda: status(pair, 1)["exchange"]["subscriptions"] == 0, 20, "the end of the subscription")
    publish(publisher, "unwanted")
    publisher.well("flush final")
    assert bodies(subscriber) == sent


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
