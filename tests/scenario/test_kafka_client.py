# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""The gateway's Kafka client (gateway/bus/kafka.h) alone, against a real broker: order, a broker that is killed, rights, certificates."""
import itertools
import signal
import subprocess

import pytest
import world

PROBE = world.BIN.parent / "tests" / "kafka_probe"
NAMES = (f"probe{n}" for n in itertools.count())


class Probe:
    def __init__(self, kafka, folder, ca=None):
        self.process = subprocess.Popen([PROBE, ",".join(kafka.cluster.bootstrap()), ca or kafka.cluster.dir / "ca/ca.crt", folder / "bus.crt", folder / "bus.key"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(self, *words):
        self.process.stdin.write(" ".join(str(w) for w in words) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()

    def wait(self, what, value, seconds=60):
        answer = self.say("wait", what, value, seconds)
        assert answer and answer[0] == "yes", " ".join(answer)
        return dict(zip(answer[1::2], answer[2::2]))

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(30) == 0


@pytest.fixture
def topic(kafka):
    name = next(NAMES)
    admin = Probe(kafka, kafka.cluster.dir / "admin")
    assert admin.say("create", name, "User:AZ/gw1") == ["created", "NO_ERROR", "NO_ERROR"]
    admin.end()
    return name


@pytest.fixture
def probe(kafka):
    p = Probe(kafka, kafka.certificate("gw1"))
    yield p
    p.end()


def test_ten_thousand_records_go_and_come_in_order(kafka, topic, probe):
    probe.say("watch", "bulk", topic, -2)
    probe.say("send", "bulk", topic, 10000, 1024)
    probe.wait("sent", 10000)
    counts = probe.wait("received", 10000)
    assert counts["gaps"] == "0" and counts["received"] == "10000" and counts["failed"] == "0"


def test_a_position_is_read_back_with_its_text(kafka, topic, probe):
    assert probe.say("position", topic)[:3] == ["position", "OK", "-1"]
    probe.say("commit", topic, 17, "ehis1:Ag==")
    world.wait_until(lambda: probe.say("position", topic) == ["position", "OK", "17", "ehis1:Ag=="], 20, "the position")  # it goes by another connection


def test_there_and_back_takes_no_timer(kafka, topic, probe):
    probe.say("watch", "fast", topic, -2)
    probe.say("time", topic)  # the first waits for the watch
    answer = probe.say("time", topic)
    print(answer)
    assert int(answer[4]) < 20_000  # microseconds; with Nagle 40 to 90 ms


def test_a_killed_broker_loses_nothing(kafka, topic, probe):
    probe.say("watch", "bulk", topic, -2)
    probe.say("send", "bulk", topic, 5000, 500)
    probe.wait("received", 1000)
    kafka.cluster.down([1], signal.SIGKILL)
    try:
        probe.wait("state", "BUS_UNREACHABLE")
        probe.say("send", "bulk", topic, 5000, 500)
    finally:
        kafka.cluster.up()
    counts = probe.wait("received", 10000, 120)
    assert counts["gaps"] == "0"
    probe.wait("sent", 10000)
    probe.wait("state", "OK")


def test_what_is_not_allowed_or_not_there_is_said_and_stops_nothing_else(kafka, topic, probe):
    admin = Probe(kafka, kafka.cluster.dir / "admin")
    assert admin.say("create", topic + "x", "User:AZ/gw2") == ["created", "NO_ERROR", "NO_ERROR"]
    admin.end()
    assert probe.say("position", topic + "x")[1] == "BUS_NOT_ALLOWED"
    probe.say("watch", "bulk", topic + "x", -2)
    probe.say("watch", "bulk", topic, -2)
    probe.say("send", "bulk", topic, 100, 100)
    probe.wait("received", 100)
    probe.say("send", "fast", topic + "x", 1, 100)
    probe.wait("failed", "BUS_NOT_ALLOWED")


def test_an_administrator_learns_that_a_topic_is_missing(kafka):
    p = Probe(kafka, kafka.cluster.dir / "admin")
    p.say("watch", "bulk", "nowhere", -2)
    p.wait("error", "BUS_NO_TOPIC")
    p.end()


def test_a_foreign_authority_is_said(kafka, world_authority):
    p = Probe(kafka, kafka.certificate("gw1"), ca=world_authority)
    p.wait("state", "BUS_TLS")
    p.end()


@pytest.fixture
def world_authority(tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", tmp_path / "k", "-out", tmp_path / "c", "-subj", "/CN=other",
                    "-days", "2"], check=True, capture_output=True)
    return tmp_path / "c"
