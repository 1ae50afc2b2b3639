# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""A setting of the cluster that somebody makes unsafe while a gateway runs: named in log, status and metrics until it is put back, and nothing is called replicated
meanwhile."""
import os
import signal
import time

import pytest

pytest.importorskip("cryptography")
import kafka_cluster
from kafka_admin import TOPIC, Admin
from spec_peer import REPLICATED
from test_kafka_broker import topic
from test_kafka_gateways import asker
from world import SYSTEMS, wait_until

POPULATION, TAX = SYSTEMS["population"], SYSTEMS["tax"]
UNCLEAN = "unclean.leader.election.enable"


def told(land, event):
    """(error, topic, setting) of each line."""
    return [(x["error"], x["subject"], x["setting"]) for x in land.log_lines("gateway", event)]


def metrics(land):
    text = land.run("ehis-gateway", "status", "--metrics", "--socket", land.admin, check=True).stdout
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def started(land, kafka, **more):
    land.prefix = kafka.join(land, check_every="1s", **more)
    p = land.start_gateway()
    wait_until(lambda: land.status()["bus"]["is_ready"] and land.log_lines("gateway", "listener.open"), 60, "the bus")
    return p


def test_what_is_made_unsafe_under_a_running_gateway_is_named_until_it_is_put_back(kafka, land):
    p, admin = started(land, kafka), Admin(kafka.cluster)
    inbox, audit = topic(land.prefix, "inbox", TAX), topic(land.prefix, "audit")
    wait_until(lambda: land.status()["bus"]["looked_at"], 10, "a look")
    assert land.status()["bus"]["unsafe"] == 0 and "first_unsafe" not in land.status()["bus"]
    admin.alter(TOPIC, inbox, {UNCLEAN: "true"})
    wait_until(lambda: told(land, "bus.unsafe") == [("BUS_UNCLEAN", inbox, UNCLEAN)], 10, "the first")
    admin.alter(TOPIC, audit, {"retention.ms": "1000"})
    wait_until(lambda: told(land, "bus.unsafe")[1:] == [("BUS_RETENTION", audit, "retention.ms")], 10, "the second")
    bus = land.status()["bus"]
    assert bus["unsafe"] == 2 and bus["first_unsafe"] == {"code": "EHIS-5112", "name": "BUS_RETENTION", "subject": audit, "setting": "retention.ms", "found": "1000",
                                                          "wanted": "31536000000 or more"}
    assert "BUS_RETENTION" in land.run("ehis-gateway", "status", "--json", "--socket", land.admin, check=True).stdout
    now = metrics(land)
    assert now["ehis_bus_unsafe_settings"] == "2" and now[f'ehis_bus_unsafe_info{{code="EHIS-5112",subject="{audit}",setting="retention.ms"}}'] == "1"
    assert float(now["ehis_bus_looked_seconds"]) < 10
    for _ in range(6):  # its files and texts are others each time, looks go on
        p.send_signal(signal.SIGHUP)
        time.sleep(0.4)
    wait_until(lambda: len(land.log_lines("gateway", "reload.done")) >= 6, 10, "the reloads")
    admin.alter(TOPIC, audit, {"retention.ms": "-1"})
    wait_until(lambda: told(land, "bus.safe") == [("BUS_RETENTION", audit, "retention.ms")], 10, "one is gone")
    admin.alter(TOPIC, inbox, {UNCLEAN: None})
    wait_until(lambda: len(told(land, "bus.safe")) == 2 and land.status()["bus"]["unsafe"] == 0, 10, "both are gone")
    assert len(told(land, "bus.unsafe")) == 2 and not land.log_lines("gateway", "bus.unchecked")
    assert metrics(land)["ehis_bus_unsafe_settings"] == "0" and not any(k.startswith("ehis_bus_unsafe_info") for k in metrics(land))
    assert land.stop("gateway", signal.SIGTERM) == 0


def test_topics_that_are_not_there_yet_and_brokers_that_do_not_answer_are_no_finding(kafka, land):
    """And a gateway that is told to end while it looks at them ends."""
    land.write_gateway_settings(deadlines="{stop: 1s}", bus=kafka.bus(prefix="unseen", check_every="1s"))
    kafka.create(land)
    p = land.start_gateway()
    wait_until(lambda: land.status()["bus"]["is_ready"], 60, "the bus")
    admin, inbox = Admin(kafka.cluster), topic("unseen", "inbox", TAX)
    admin.alter(TOPIC, inbox, {UNCLEAN: "true"})
    wait_until(lambda: land.status()["bus"]["unsafe"] == 1, 10, "the finding")
    admin.delete(topic("unseen", "call", TAX))
    looked_at = land.status()["bus"]["looked_at"]
    wait_until(lambda: land.status()["bus"]["looked_at"] > looked_at, 10, "one look more")
    pid = kafka.cluster.pid(1)
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: land.log_lines("gateway", "bus.unchecked"), 20, "a look that ends without an answer")
        assert land.status()["bus"]["unsafe"] == 1 and told(land, "bus.unsafe") == [("BUS_UNCLEAN", inbox, UNCLEAN)] and told(land, "bus.safe") == []
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: land.status()["bus"]["state"] == "OK", 60, "the bus again")
    looked_at = land.status()["bus"]["looked_at"]
    wait_until(lambda: land.status()["bus"]["looked_at"] != looked_at, 20, "a look that reaches all")
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(2.5)  # a look has begun, and waits
        began = time.monotonic()
        p.send_signal(signal.SIGTERM)
        assert p.wait(30) == 0
        took_s = time.monotonic() - began
        print(f"ended after {took_s:.1f} s")
        assert took_s < 12  # the drain's second, closing, a look, the client's handles
    finally:
        os.kill(pid, signal.SIGCONT)
        admin.alter(TOPIC, inbox, {UNCLEAN: None})


def test_while_a_setting_is_unsafe_nothing_is_called_replicated_and_then_all_of_it_is(land, tmp_path):
    three = kafka_cluster.make(tmp_path / "kafka", nodes=3)
    try:
        started(land, three)
        admin, inbox = Admin(three.cluster), topic(land.prefix, "inbox", POPULATION)
        tax, send = asker(land)
        assert all(tax.receipt(d, REPLICATED) for d in [send(n) for n in range(1, 6)])
        assert land.status()["bus"]["is_replicating"] is True and metrics(land)["ehis_bus_is_replicating"] == "1"
        for n, (setting, value, error) in enumerate([("min.insync.replicas", "1", "BUS_MIN_ISR"), (UNCLEAN, "true", "BUS_UNCLEAN")]):
            admin.alter(TOPIC, inbox, {setting: value})
            wait_until(lambda: (error, inbox, setting) in told(land, "bus.unsafe"), 15, "that it is unsafe")
            assert land.status()["bus"]["is_replicating"] is False and metrics(land)["ehis_bus_is_replicating"] == "0"
            held = [send(number) for number in range(6 + n * 10, 16 + n * 10)]
            wait_until(lambda: land.status()["bus"]["in_flight"] == 0, 20, "the brokers have it")
            with pytest.raises(AssertionError, match="none of"):
                tax.want("RECEIPTS")  # 10 s: accepted, and no more is said
            admin.alter(TOPIC, inbox, {setting: None})
            assert [tax.receipt(d, REPLICATED)[0] for d in held] == [REPLICATED] * 10
            assert (error, inbox, setting) in told(land, "bus.safe") and land.status()["bus"]["is_replicating"] is True
        tax.close()
    finally:
        land.stop_all()
        three.cluster.down(how=signal.SIGKILL)
