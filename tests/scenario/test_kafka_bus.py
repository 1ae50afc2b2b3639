# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""The bus over a real broker: calls and events through one gateway and through two, a gateway that dies, a broker that dies."""
import json
import signal

import pytest
from test_gateways import (Pair, requests, test_a_gateway_killed_in_the_middle_of_a_stream_loses_nothing_and_repeats_nothing,  # noqa: F401
                           test_a_stream_goes_on_at_the_other_gateway_in_order_and_once, test_calls_fail_over_and_back)
from world import wait_until


def answered(world, pin, seconds=60):
    """A call succeeds, at once or after a while."""
    def does():
        does.done = world.call("tax", "GetPerson", {"pin": pin}, "--json")
        return does.done.returncode == 0
    try:
        wait_until(does, seconds, "an answer")
    except TimeoutError:
        raise AssertionError(does.done.stdout + does.done.stderr) from None
    return json.loads(does.done.stdout)


@pytest.fixture
def joined(kafka, land):
    land.prefix = kafka.join(land)
    return land


def test_a_call_goes_over_the_broker_and_its_records_are_on_the_audit_topic(kafka, joined):
    joined.start_gateway()
    joined.start_register()
    pin = joined.pins(1)[0]
    answer = answered(joined, pin)
    assert answer["body"]["person"]["pin"] == pin
    bus = joined.status()["bus"]
    assert bus["state"] == "OK" and bus["is_ready"] and bus["inboxes_owned"] >= 1 and bus["dead_letters"] == 0, bus
    wait_until(lambda: joined.status()["bus"]["unaudited_groups"] == 0, 20, "all groups on the audit topic")
    seen = kafka.cluster.kcat("-C", "-t", f"{joined.prefix}..audit", "-o", "beginning", "-e", "-q", "-f", "%S\n").stdout.split()
    assert len(seen) > 3


def test_what_somebody_else_writes_goes_to_dlq_with_its_code_and_stops_nothing(kafka, joined):
    joined.start_gateway()
    joined.start_register()
    pin = joined.pins(1)[0]
    answered(joined, pin)
    inbox, call = (f"{joined.prefix}..{kind}.AZ..GOV..MIA..population" for kind in ("inbox", "call"))
    for topic in (inbox, call, f"{joined.prefix}..reply.AZ..gw1", f"{joined.prefix}..control.lease"):
        kafka.cluster.kcat("-P", "-t", topic, "-p", "0", "-k", "junk", stdin="no parcel\nnor this\n")
    wait_until(lambda: joined.status()["bus"]["dead_letters"] >= 8, 20, "dead letters")
    codes = {line["error"] for line in joined.log_lines("gateway", "bus.refused")}
    assert len(codes) == 1 and next(iter(codes)).startswith("SCAN_"), codes
    answered(joined, pin)
    bus = joined.status()["bus"]
    assert bus["held"] == 0 and bus["refused"] == 8, bus


def test_a_killed_broker_stops_calls_with_a_reason_and_they_go_on_when_it_is_back(kafka, joined):
    joined.start_gateway()
    joined.start_register()
    pin = joined.pins(1)[0]
    answered(joined, pin)
    kafka.cluster.down([1], signal.SIGKILL)
    try:
        wait_until(lambda: joined.status()["bus"]["state"] == "BUS_UNREACHABLE", 20, "the state of the bus")
        done = joined.call("tax", "GetPerson", {"pin": pin}, "--json")
        assert done.returncode != 0
    finally:
        kafka.cluster.up()
    answered(joined, pin)


@pytest.fixture
def pair(kafka, land):
    """Two gateways of one country on the same brokers."""
    p = Pair(land)
    p.prefix = kafka.join(land)
    settings = land.dir / "gateway2.yaml"
    settings.write_text(settings.read_text() + f"bus: {kafka.bus('gw2', prefix=p.prefix)}\n")
    yield p
    p.close()


def apart(pair):
    """The provider is at the second gateway alone, the consumer at the first."""
    for name, identifier, port in (("population", "AZ/GOV/MIA/population", pair.port), ("tax", "AZ/GOV/STS/tax", pair.world.port)):
        pair.world.write_adapter_settings(name, identifier, gateways=f"['127.0.0.1:{port}']")
    pair.start(1), pair.start(2)
    provider, consumer = pair.peer("population"), pair.peer("tax")
    provider.well("serve GetPerson")
    wait_until(lambda: pair.status(2)["bus"]["inboxes_owned"] >= 1, 20, "the inbox at the second gateway")
    pair.ready(consumer, 1)  # the first, and only one, of its own list
    return provider, consumer


def test_messages_wait_at_the_broker_for_a_gateway_that_died_and_come_once_in_order(pair):
    provider, consumer = apart(pair)
    wait_until(lambda: consumer.do("call GetPerson one", "reply")["err"] == 0, 20, "an answer")
    for i in range(100):
        consumer.well(f"send GetPerson a{i}")
    pair.stop(2)
    for i in range(100):
        consumer.well(f"send GetPerson b{i}")
    wait_until(lambda: consumer.do("call GetPerson two", "reply")["err"] != 0, 20, "a refusal: the provider is gone")
    pair.start(2)
    consumer.well("flush final")
    said = requests(provider)
    assert [r for r in said if r[0] == "b"] == [f"b{i}" for i in range(100)] and [r for r in said if r[0] == "a"] == [f"a{i}" for i in range(100)]


def test_a_gateway_restarted_with_accepted_messages_gets_their_ends(pair):
    provider, consumer = apart(pair)
    for i in range(50):
        consumer.well(f"send GetPerson c{i}")
    pair.stop(1)
    wait_until(lambda: len(requests(provider)) > 0, 20, "some of it")
    pair.start(1)
    consumer.well("flush final")
    assert requests(provider) == [f"c{i}" for i in range(50)]
    wait_until(lambda: pair.status(1)["exchange"]["stored_messages"] == 0, 30, "all ends reported")
