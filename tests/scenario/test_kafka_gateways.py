# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""Several gateways over a real broker: who takes over and how soon, two that both believe to own an inbox, a lease log that is not what it was, several
sessions of one system, a gateway that was dead for an hour, the audit topic. What is measured is printed."""
import datetime
import itertools
import json
import os
import signal
import time

import pytest

pytest.importorskip("cryptography")
import kafka_cluster
import spec_peer
from kafka_admin import Admin
from spec_peer import ACCEPTED, REPLICATED, REQUEST, parse
from test_gateways import requests
from test_kafka_bus import apart, pair  # noqa: F401
from world import BASIS, PURPOSE, SERVICE, SYSTEMS, wait_until

POPULATION = SYSTEMS["population"]


def owners(pair, system=POPULATION):  # noqa: F811
    """The gateways that run and own its inbox by their own logs."""
    found = []
    for number, name in ((1, "gateway"), (2, "gateway2")):
        if name not in pair.world.running or pair.world.running[name].poll() is not None:
            continue
        lines = [x["event"] for x in pair.world.log_lines(name) if x["event"] in ("inbox.owned", "inbox.lost", "gateway.ready") and x.get("system", system) == system]
        found += [number] * (lines[-1:] == ["inbox.owned"])
    return found


def owned_by_second(pair):  # noqa: F811
    """The provider has a session with each gateway and its inbox is the second's; the consumer is at the first."""
    pair.world.write_adapter_settings("tax", SYSTEMS["tax"], gateways=f"['127.0.0.1:{pair.world.port}']")
    pair.start(2)
    provider = pair.peer("population")
    provider.well("serve GetPerson")
    wait_until(lambda: owners(pair) == [2], 20, "the inbox at the second gateway")
    pair.start(1)
    pair.ready(provider, 1, 2)
    consumer = pair.peer("tax")
    pair.ready(consumer, 1)
    wait_until(lambda: consumer.do("call GetPerson one", "reply")["err"] == 0, 20, "an answer")
    consumer.well("send GetPerson before")
    consumer.well("flush final")
    return provider, consumer


def times(provider, text):
    return requests(provider).count(text)


# The inbox changes hands within the first, the message with this machine's other work within the second: a void gateway would take 3 s.
@pytest.mark.parametrize("how, most_s, in_all_s", [(signal.SIGKILL, 8, 8), (signal.SIGTERM, 1, 2.5)], ids=["killed", "drained"])
def test_another_gateway_takes_over(pair, how, most_s, in_all_s):  # noqa: F811
    provider, consumer = owned_by_second(pair)
    began, at = time.monotonic(), time.time()
    pair.world.running["gateway2"].send_signal(how)
    consumer.well("send GetPerson after")
    wait_until(lambda: times(provider, "after"), 30, "the message through the other gateway")
    stream_s = time.monotonic() - began
    wait_until(lambda: consumer.do("call GetPerson two", "reply")["err"] == 0, 20, "an answer")
    # A gateway that drains hands over and answers what it has while it does: the line may come after both.
    wait_until(lambda: owners(pair) == [1], 20, "the inbox at the first gateway")
    owned = [x["time"] for x in pair.world.log_lines("gateway", "inbox.owned") if x["system"] == POPULATION][-1]
    owned_s = datetime.datetime.fromisoformat(owned.replace("Z", "+00:00")).timestamp() - at
    print(f"{how.name}: the inbox was the other's after {owned_s:.2f} s, a message of a stream handed over after {stream_s:.2f} s, a call answered after {time.monotonic() - began:.2f} s")
    assert owned_s <= most_s and stream_s <= in_all_s
    consumer.well("flush final")
    assert times(provider, "before") == times(provider, "after") == 1


def test_two_that_both_believe_to_own_an_inbox_do_no_harm(pair):  # noqa: F811
    provider, consumer = owned_by_second(pair)
    second = pair.world.running["gateway2"]
    sent = [f"n{i}" for i in range(150)]
    for body in sent[:50]:
        consumer.well(f"send GetPerson {body}")
    second.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    wait_until(lambda: owners(pair) == [1, 2], 20, "the first has it, the second does not know")
    print(f"taken over {time.monotonic() - began:.1f} s after the owner stopped; it believes on")
    for body in sent[50:100]:
        consumer.well(f"send GetPerson {body}")
    second.send_signal(signal.SIGCONT)
    for body in sent[100:]:
        consumer.well(f"send GetPerson {body}")
    consumer.well("flush final")
    wait_until(lambda: len(owners(pair)) == 1, 20, "one owner")
    assert [b for b in requests(provider) if b[0] == "n"] == sent
    wait_until(lambda: consumer.do("call GetPerson two", "reply")["err"] == 0, 20, "an answer")
    both = [pair.status(number)["exchange"]["delivered"] for number in (1, 2)]
    print(f"delivered by the first {both[0]}, by the second {both[1]}; {len(sent)} messages, each handed over once")
    for folder in ("journal", "journal2"):
        pair.world.run("ehis-gateway", "journal", "verify", "--dir", folder, check=True)


def test_a_lease_log_that_is_made_anew_is_followed(kafka, pair):  # noqa: F811
    provider, consumer = owned_by_second(pair)
    lease = f"{pair.prefix}..control.lease"
    Admin(kafka.cluster).delete(lease)
    for i in range(20):
        consumer.well(f"send GetPerson n{i}")
    time.sleep(1)
    kafka.create(pair.world)
    began = time.monotonic()
    wait_until(lambda: all(pair.status(n)["bus"]["is_ready"] and pair.status(n)["bus"]["gateways"] == 2 for n in (1, 2)) and len(owners(pair)) == 1, 40, "one owner by the new log")
    print(f"one owner by the new log after {time.monotonic() - began:.1f} s")
    wait_until(lambda: consumer.do("call GetPerson two", "reply")["err"] == 0, 20, "an answer")
    was = owners(pair)[0]
    if was == 2:  # and it says who is gone
        pair.stop(2)
        wait_until(lambda: owners(pair) == [1], 20, "the first")
    for i in range(20, 40):
        consumer.well(f"send GetPerson n{i}")
    consumer.well("flush final")
    assert [b for b in requests(provider) if b[0] == "n"] == [f"n{i}" for i in range(40)]


def test_a_claim_that_is_replayed_takes_nothing_away(kafka, pair, tmp_path):  # noqa: F811
    """The broker repeats what a gateway once said and took back: it says it again."""
    provider, consumer = owned_by_second(pair)
    lease = f"{pair.prefix}..control.lease"
    shown = kafka.cluster.kcat("-C", "-t", lease, "-o", "beginning", "-c", "20", "-q", "-f", "%o %k\n").stdout  # beats come without end
    offset, claim = next(line.split() for line in shown.splitlines() if f" claim/{POPULATION}/AZ/gw2/" in line)
    (tmp_path / "claim").write_bytes(kafka.cluster.kcat("-C", "-t", lease, "-o", offset, "-c", "1", "-q", "-f", "%s", text=False).stdout)
    provider.quit()
    wait_until(lambda: owners(pair) == [], 20, "nobody")
    pair.world.write_adapter_settings("population", POPULATION, gateways=f"['127.0.0.1:{pair.world.port}']")
    provider = pair.peer("population")
    provider.well("serve GetPerson")
    wait_until(lambda: owners(pair) == [1], 20, "the first")
    for _ in range(2):
        done = kafka.cluster.kcat("-P", "-t", lease, "-p", "0", "-k", claim, tmp_path / "claim")
        assert done.returncode == 0, done.stderr
        time.sleep(1)
    consumer.well("send GetPerson after")
    wait_until(lambda: times(provider, "after") == 1, 20, "the message")
    wait_until(lambda: consumer.do("call GetPerson two", "reply")["err"] == 0 and owners(pair) == [1], 20, "an answer")


def test_one_state_folder_of_a_system_gets_its_streams_and_another_goes_on_where_it_ended(pair):  # noqa: F811
    w = pair.world
    w.write_adapter_settings("second", POPULATION, gateways=f"['127.0.0.1:{pair.port}']", sign_key="population/sign.key", seal_keys="[population/seal.key]",
                             tls="{chain: population/tls.crt, key: population/tls.key, ca: ca/ca.crt, crl: crl.pem}")
    for name, identifier in (("population", POPULATION), ("tax", SYSTEMS["tax"])):
        w.write_adapter_settings(name, identifier, gateways=f"['127.0.0.1:{w.port}']")
    pair.start(1), pair.start(2)
    first, consumer = pair.peer("population"), pair.peer("tax")
    first.well("serve GetPerson")
    wait_until(lambda: owners(pair) == [1], 20, "the inbox at the first gateway")
    second = pair.peer("second")
    second.well("serve GetPerson")
    consumer.well("ready")
    for text in ("one", "two", "hang"):
        consumer.well(f"send GetPerson {text}")
    first.wait(lambda x: x["event"] == "request" and x["body"] == "hang")
    time.sleep(1)
    assert second.got("request") == []
    began = time.monotonic()
    first.kill()
    again = second.wait(lambda x: x["event"] == "request")
    print(f"the other session got it {time.monotonic() - began:.2f} s after the first was killed")
    assert (again["body"], again["number"], again["repeated"]) == ("hang", 3, 1) and owners(pair) == [2]
    wait_until(lambda: consumer.do("call GetPerson call", "reply")["err"] == 0, 20, "an answer")
    assert times(second, "call") == 1


def test_a_gateway_that_was_dead_for_long_brings_what_it_had_accepted_once_and_late(kafka, pair):  # noqa: F811
    """So long that its gap was given up: after that an hour is no other. (The clock cannot be moved: librdkafka waits by the wall clock, where libfaketime does not
    reach it.)"""
    pair.world.write_adapter_settings("population", POPULATION, gateways=f"['127.0.0.1:{pair.port}']")
    pair.start(1), pair.start(2)
    provider, consumer = pair.peer("population"), pair.peer("tax")
    provider.well("serve GetPerson")
    wait_until(lambda: owners(pair) == [2], 20, "the inbox at the second gateway")
    pair.ready(consumer, 1, 2)
    wait_until(lambda: consumer.do("call GetPerson one", "reply")["err"] == 0, 20, "an answer")
    consumer.well("send GetPerson first")
    consumer.well("flush final")
    kafka.cluster.down([1], signal.SIGKILL)
    try:
        for i in range(10):
            consumer.well(f"send GetPerson a{i}")
        consumer.well("flush state")  # accepted by the first, which is all that a pilot promises
        assert pair.status(1)["exchange"]["accepted"] >= 10
        pair.stop(1)
    finally:
        kafka.cluster.up()
    for i in range(10):
        consumer.well(f"send GetPerson b{i}")
    wait_until(lambda: times(provider, "b9"), 90, "what went through the second, after the gap was given up")
    assert [b for b in requests(provider) if b[0] in "ab"] == [f"b{i}" for i in range(10)]
    assert [x["state"] for x in provider.got("passed")] == [0] * 10
    pair.start(1)
    wait_until(lambda: times(provider, "a9"), 60, "what the first had")
    late = [x for x in provider.got("request") if x["body"][0] == "a"]
    assert [x["body"] for x in late] == [f"a{i}" for i in range(10)] and all(x["late"] for x in late)
    time.sleep(1)
    assert len([b for b in requests(provider) if b[0] in "ab"]) == 20


def audited(cluster, prefix, gateway="AZ/gw1"):
    """What stands on the audit topic of one gateway: sequence -> (record, when the broker took its frame)."""
    shown, at, found = cluster.kcat("-C", "-t", f"{prefix}..audit", "-o", "beginning", "-e", "-q", "-f", "%T %S\n%s", text=False).stdout, 0, {}
    while at < len(shown):
        line = shown.index(b"\n", at)
        when, size = map(int, shown[at:line].split())
        parcel, at = parse(shown[line + 1:line + 1 + size]), line + 1 + size
        head, payload, i = parse(parcel.bytes(1)), parcel.bytes(2), 0
        while head.text(2) == gateway and i < len(payload):
            n = int.from_bytes(payload[i:i + 4], "big")
            record = parse(payload[i + 4:i + 4 + n])
            found[record.number(1)] = (record, when)
            i += 4 + n
    return found


def asker(land):
    """The tax office, and send(number): a request of a stream of its own, accepted; its digest."""
    tax, stream = spec_peer.Peer(land, "tax", SYSTEMS["tax"], land.operator_key).connect().ready(), os.urandom(16)
    tax.open_stream(stream, POPULATION)

    def send(number):
        fields = tax.header(REQUEST, SERVICE, "GetPerson", purpose=PURPOSE, legal_basis=BASIS, stream=stream, number=number)
        d = tax.submit(*tax.seal(fields, POPULATION, b"x"))
        assert tax.receipt(d)[:2] == (ACCEPTED, 0)
        return d
    return tax, send


def test_nothing_is_called_replicated_before_its_record_is_on_the_audit_topic(land, tmp_path):
    three = kafka_cluster.make(tmp_path / "kafka", nodes=3)
    try:
        prefix = three.join(land)
        land.start_gateway()
        wait_until(lambda: land.status()["bus"]["is_ready"] and land.log_lines("gateway", "listener.open"), 60, "the bus")
        tax, send = asker(land)

        def replicated_at(wanted):
            """The times that the receipts say."""
            found = {}
            while set(found) != wanted:
                for r in map(parse, tax.want("RECEIPTS")[2]):
                    if r.number(4) == REPLICATED:
                        found[r.bytes(1)] = r.number(6)
            return found
        sent = {send(n) for n in range(1, 21)}
        assert all(tax.receipt(d, REPLICATED) for d in sent)
        admin, topic, numbers = Admin(three.cluster), f"{prefix}..audit", itertools.count(21)
        for how in ("deleted", "not allowed"):
            if how == "deleted":
                admin.delete(topic)
            else:
                admin.deny("AZ/gw1", topic)
                time.sleep(2)  # the brokers learn of it one after the other
            held = {send(next(numbers)) for _ in range(10)}
            with pytest.raises(AssertionError, match="none of"):
                tax.want("RECEIPTS")  # 10 s: accepted, and no more is said
            if how != "deleted":
                admin.forbid("AZ/gw1")
            three.create(land)
            said = replicated_at(held)
            on_topic = {record.bytes(4): at for record, at in audited(three.cluster, prefix).values() if record.number(3) == 1}
            early = sorted(said[d] - on_topic[d] for d in held)
            print(f"{how}: called replicated {early[0]} to {early[-1]} ms after the broker had the record")
            assert held <= set(on_topic) and early[0] >= 0
        tax.close()
    finally:
        land.stop_all()
        three.cluster.down(how=signal.SIGKILL)


def test_the_audit_topic_holds_every_record_of_every_journal(kafka, pair):  # noqa: F811
    _, consumer = apart(pair)
    for i in range(100):
        consumer.well(f"send GetPerson n{i}")
    consumer.well("flush final")
    shown = {number: {r["sequence"]: r["kind"] for r in map(json.loads, pair.world.run("ehis-gateway", "journal", "show", "--dir", folder, "--json", check=True).stdout.splitlines())}
             for number, folder in ((1, "journal"), (2, "journal2"))}
    for number in (1, 2):
        wait_until(lambda: pair.status(number)["bus"]["unaudited_groups"] == 0, 20, "all groups on the topic")
        found = audited(kafka.cluster, pair.prefix, f"AZ/gw{number}")
        assert set(shown[number]) <= set(found) and len(shown[number]) > 100, sorted(set(shown[number]) - set(found))
        print(f"gateway {number}: {len(found)} records on the audit topic, {len(shown[number])} of its journal among them")
