# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""A lease log that is forged, forked, cut or from another time, over a real broker: two owners at once do no harm, a gateway whose name somebody else used comes
back, and who begins anew learns who owns what. (Made anew, repeated, from the future: test_kafka_gateways.py, test_kafka_bad_input.py.)"""
import time

import pytest
from forge_parcel import BEAT, CLAIM, Forger, head_of
from kafka_admin import TOPIC, Admin
from test_gateways import requests
from test_kafka_bad_input import two  # noqa: F401
from test_kafka_bus import pair  # noqa: F401
from test_kafka_gateways import owned_by_second, owners
from world import SYSTEMS, wait_until

POPULATION = SYSTEMS["population"]


def lease_of(pair):  # noqa: F811
    return f"{pair.prefix}..control.lease"


def answered(consumer, seconds=30):
    wait_until(lambda: consumer.do("call GetPerson one", "reply")["err"] == 0, seconds, "an answer")


def said(world, name, event, error):
    return [x for x in world.log_lines(name, event) if x.get("error") == error]


def test_two_owners_for_as_long_as_one_cannot_see_the_leases_hand_everything_over_once_and_in_order(kafka, pair):  # noqa: F811
    """One may neither read nor write leases any more: it goes on with what it has, and is void to the other, which takes over."""
    provider, consumer = owned_by_second(pair)
    admin = Admin(kafka.cluster)
    admin.deny("AZ/gw2", lease_of(pair))
    wait_until(lambda: owners(pair) == [1, 2], 20, "two owners")
    sent, calls = [f"n{i}" for i in range(150)], 0
    for body in sent[:100]:
        consumer.well(f"send GetPerson {body}")
        if body.endswith("0"):
            calls += 1
            assert consumer.do(f"call GetPerson c{calls}", "reply")["err"] == 0
    consumer.well("flush final")
    assert owners(pair) == [1, 2] and said(pair.world, "gateway2", "bus.topic", "BUS_NOT_ALLOWED")
    both = [pair.status(n)["exchange"]["delivered"] for n in (1, 2)]
    print(f"delivered by the first {both[0]}, by the second {both[1]}")
    assert min(both) > 20  # or this proves nothing
    admin.forbid("AZ/gw2")
    kafka.create(pair.world)
    wait_until(lambda: len(owners(pair)) == 1, 20, "one owner")
    for body in sent[100:]:
        consumer.well(f"send GetPerson {body}")
    consumer.well("flush final")
    seen = requests(provider)
    assert [b for b in seen if b[0] == "n"] == sent
    assert [b for b in seen if b[0] == "c"] == [f"c{n + 1}" for n in range(calls)]
    for folder in ("journal", "journal2"):
        pair.world.run("ehis-gateway", "journal", "verify", "--dir", folder, check=True)


def replaced_and_back(two, why):  # noqa: F811
    began = time.monotonic()
    wait_until(lambda: said(two.world, "gateway2", "bus.lease", "LEASE_REPLACED"), 10, "that it is replaced")
    two.send("b")
    two.all_came(20)
    answered(two.consumer, 10)
    print(f"delivered and answered again {time.monotonic() - began:.1f} s after the {why}")
    assert owners(two.pair) == [2]


def test_a_stolen_gateway_key_that_claims_for_another_process_takes_an_inbox_away_for_seconds_alone(two):  # noqa: F811
    """A boot that nobody runs replaces the one that does. It is said, and the gateway begins under a new one when the other is silent."""
    two.send("a")
    lease = lease_of(two.pair)
    forger = Forger.of(two.world, "gw2", "AZ/gw2")
    two.admin.write(lease, [(b"k", forger.parcel(lease, BEAT)), (b"k", forger.parcel(lease, CLAIM, system=POPULATION, takes_calls=1, takes_streams=1, time_ms=int(time.time() * 1000) + 1))])
    replaced_and_back(two, "forged claim")


@pytest.mark.parametrize("head", [{"time_ms": 2 ** 64 - 1}, {"is_leaving": 1}], ids=["from the future", "leaving"])
def test_a_stolen_gateway_key_that_speaks_for_the_process_that_runs_takes_its_inboxes_away_for_seconds_alone(two, head):  # noqa: F811
    """Under its own boot, which stands in the log: what it writes itself would be old for good, or of one that has left."""
    two.send("a")
    two.all_came()
    lease = lease_of(two.pair)
    boot = next(head_of(v)["boot"] for _, _, v in reversed(two.admin.read(lease)) if v and head_of(v)["gateway"] == b"AZ/gw2")
    two.admin.write(lease, [(b"k", Forger.of(two.world, "gw2", "AZ/gw2").parcel(lease, BEAT, boot=boot, **head))])
    replaced_and_back(two, "forged beat")


def test_claims_of_an_earlier_process_that_come_again_take_an_inbox_away_for_seconds_alone(two):  # noqa: F811
    """The log was made anew: nobody knows of the former boot any more."""
    lease = lease_of(two.pair)
    old = [(k, v) for _, k, v in two.admin.read(lease) if v and head_of(v)["gateway"] == b"AZ/gw2"][-20:]
    two.pair.stop(2)
    two.pair.start(2)
    two.send("a")
    two.all_came()
    before = {n: len(two.lines(n, "bus.ready")) for n in (1, 2)}
    two.admin.delete(lease)
    two.kafka.create(two.world)
    wait_until(lambda: all(len(two.lines(n, "bus.ready")) > before[n] for n in (1, 2)), 30, "both have read it again")
    answered(two.consumer)
    two.admin.write(lease, old)
    replaced_and_back(two, "old claims")


@pytest.mark.parametrize("number", [1, 2])
def test_who_begins_after_the_leases_were_deleted_learns_who_owns_what(kafka, pair, number):  # noqa: F811
    """kafka-delete-records, while all stand at the end of the log: no offset tells of it."""
    provider, consumer = owned_by_second(pair)
    lease, admin = lease_of(pair), Admin(kafka.cluster)
    admin.alter(TOPIC, lease, {"cleanup.policy": "delete"})
    admin.cut(lease)
    for name in ("gateway", "gateway2"):
        wait_until(lambda: said(pair.world, name, "bus.watch", "BUS_POSITION"), 20, "that records are gone")
    admin.alter(TOPIC, lease, {"cleanup.policy": "compact"})
    wait_until(lambda: all(pair.status(n)["bus"]["is_ready"] for n in (1, 2)), 20, "both have read it again")
    answered(consumer)
    pair.stop(number)
    pair.start(number)
    pair.ready(provider, 1, 2)
    wanted = [2] if number == 1 else [1]
    wait_until(lambda: owners(pair) == wanted, 20, "its owner")
    time.sleep(2)
    assert owners(pair) == wanted  # and it stays so
    for i in range(20):
        consumer.well(f"send GetPerson n{i}")
    consumer.well("flush final")
    assert [b for b in requests(provider) if b[0] == "n"] == [f"n{i}" for i in range(20)]
