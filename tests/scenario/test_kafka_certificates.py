# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""Certificates of the bus that run out while gateways and brokers run, over a real broker: what is said, what sessions are told meanwhile, and how work goes on
without a restart. (Certificates that were never good: test_kafka_bad_input.py.)"""
import signal
import time

import kafka_cluster
import pytest
from kafka_admin import BROKER, Admin
from ports import free_ports
from short_cert import shorten
from test_gateways import requests
from test_large import MIB, file_of
from test_sdk import Peer
from world import wait_until


class Office:
    """A gateway with a certificate file of its own for the bus, and two systems on libehis."""

    def __init__(self, kafka, world):
        self.kafka, self.world, self.ca = kafka, world, kafka.cluster.dir / "ca"
        self.own = kafka.cluster.certify("gw1", world.dir / "bus")
        self.file = self.own / "now.crt"
        self.file.write_bytes((self.own / "bus.crt").read_bytes())
        world.prefix = kafka.join(world, certificate=self.file, key=self.own / "bus.key")

    def last(self, seconds):
        shorten(self.own / "bus.crt", self.ca / "intermediate.key", seconds, self.file)

    def start(self):
        self.world.start_gateway()
        self.provider, self.consumer = Peer(self.world, "population"), Peer(self.world, "tax")
        self.provider.well("serve GetPerson"), self.consumer.well("ready")

    def close(self):
        for p in (self.provider, self.consumer):
            p.kill()

    def state(self):
        return self.world.status()["bus"]["state"]

    def answers(self, text, seconds=30):
        wait_until(lambda: self.consumer.do(f"call GetPerson {text}", "reply")["err"] == 0, seconds, "an answer")

    def reload(self):
        """What the log says of it."""
        before = len(self.world.log_lines("gateway"))
        self.world.running["gateway"].send_signal(signal.SIGHUP)

        def said():
            return [x for x in self.world.log_lines("gateway")[before:] if x["event"] in ("reload.done", "reload.refused")]
        return wait_until(said, 20, "the reload")[0]


@pytest.fixture
def office(kafka, land):
    o = Office(kafka, land)
    o.provider = o.consumer = None
    yield o
    if o.provider:
        o.close()


def test_a_certificate_that_runs_out_under_way_is_said_sessions_are_told_busy_and_sighup_with_a_new_one_heals_it(office):
    office.last(25)
    ends = time.monotonic() + 25
    office.start()
    office.answers("one")
    expiry = office.world.status()["expiry"]["bus_certificate"]
    assert expiry.startswith(time.strftime("%Y-%m-%d", time.gmtime(time.time() + ends - time.monotonic()))), expiry
    sent = [f"n{i}" for i in range(10)]
    for body in sent:
        office.consumer.well(f"send GetPerson {body}")
    office.consumer.well("flush final")
    time.sleep(max(0, ends + 1 - time.monotonic()))
    assert office.state() == "OK"  # connections last; new ones do not
    office.kafka.cluster.down([1], signal.SIGKILL)
    office.kafka.cluster.up()
    wait_until(lambda: office.state() == "BUS_TLS", 30, "the state")
    assert any(x["error"] == "BUS_TLS" and "certificate" in x["text"] for x in office.world.log_lines("gateway", "bus.state"))
    done = office.world.call("tax", "GetPerson", {"pin": "0"}, "--json")
    assert done.returncode == 7, done.stderr  # BUSY: it may be repeated
    for body in ("late1", "late2"):
        office.consumer.well(f"send GetPerson {body}")
    office.consumer.well("flush state")  # accepted into the journal: no session is left unread
    assert office.reload()["event"] == "reload.done" and office.state() == "BUS_TLS"  # the file is as it was: other things are reloaded
    office.last(3600)
    assert office.reload()["event"] == "reload.done"
    began = time.monotonic()
    office.answers("two")
    print(f"answered {time.monotonic() - began:.1f} s after the reload")
    office.consumer.well("flush final")
    assert [b for b in requests(office.provider) if b[0] in "nl"] == [*sent, "late1", "late2"]
    assert office.world.log_lines("gateway", "bus.renewed")


def test_a_reload_with_a_certificate_that_cannot_serve_is_refused_and_the_old_one_serves_on(office):
    office.start()
    office.answers("one")
    office.last(-3600)
    said = office.reload()
    assert said["event"] == "reload.refused" and said["error"] == "CERT_EXPIRED" and "now.crt" in said["why"], said
    office.world.run("ehis-pki", "init", "--dir", "other", "--instance", "AZ", check=True)
    office.world.run("ehis-pki", "sign-csr", "AZ/gw1", "--bus", "--csr", office.own / "bus.csr", "--ca", "other", "--out", "other.crt", check=True)
    office.file.write_bytes((office.world.dir / "other.crt").read_bytes())
    assert office.reload()["error"] == "CHAIN_UNTRUSTED"
    office.file.write_bytes((office.kafka.certificate("gw1") / "bus.crt").read_bytes())  # of another key
    assert office.reload()["error"] == "KEY_MISMATCH"
    office.file.write_text("no certificate")
    assert office.reload()["error"] == "PEM_MALFORMED"
    office.answers("two", 10)
    assert office.state() == "OK" and office.world.status()["bus"]["handles_rebuilt"] == 0


def test_a_new_certificate_under_load_loses_nothing(office):
    office.start()
    office.answers("one")
    sent = [f"n{i}" for i in range(60)]
    for i, body in enumerate(sent):
        office.consumer.well(f"send GetPerson {body}")
        if i in (20, 40):
            office.last(3600 + i)
            assert office.reload()["event"] == "reload.done"
    office.answers("two", 10)
    office.consumer.well("flush final")
    assert [b for b in requests(office.provider) if b[0] == "n"] == sent
    assert len(office.world.log_lines("gateway", "bus.renewed")) == 2
    bus = office.world.status()["bus"]
    assert bus["dead_letters"] == bus["refused"] == 0 and not [x for x in office.world.log_lines("gateway", "bus.state") if x.get("error", "OK") not in ("OK", "")], bus
    assert office.world.stop("gateway", timeout=15) == 0


def test_a_gateway_that_starts_with_an_expired_certificate_is_healed_by_sighup(office):
    office.last(-60)
    office.world.start_gateway()
    assert office.world.log_lines("gateway", "bus.unchecked")[0]["error"] == "BUS_TLS"
    assert office.world.log_lines("gateway", "bus.certificate")[0]["error"] == "CERT_EXPIRED"
    office.last(3600)
    assert office.reload()["event"] == "reload.done"
    office.provider, office.consumer = Peer(office.world, "population"), Peer(office.world, "tax")
    office.provider.well("serve GetPerson"), office.consumer.well("ready")
    office.answers("one")
    office.consumer.well(f"sendfile GetPerson {file_of(office.world, 2 * MIB)}")  # its chunks go by handles of their own
    assert office.provider.wait(lambda x: x["event"] == "large-request", 60)["err"] == 0


def test_a_broker_whose_certificate_has_expired_is_not_spoken_to_until_it_shows_a_new_one(land, tmp_path):
    """At the start, and when it comes back; a listener for gateways, whose certificate is another than that of the administrator's listener."""
    kafka_cluster.need()
    folder, (port, controller, other) = tmp_path / "expired", free_ports(3)
    k = kafka_cluster.Kafka.__new__(kafka_cluster.Kafka)
    k.cluster = c = kafka_cluster.cluster.Cluster(folder, is_bound=True)
    c.make(1, "4.1", ports=[port, controller], more=f"listeners=SSL://localhost:{port},CONTROLLER://localhost:{controller},OTHER://localhost:{other}\n"
           f"advertised.listeners=SSL://localhost:{port},OTHER://localhost:{other}\nlistener.security.protocol.map=SSL:SSL,CONTROLLER:SSL,OTHER:SSL\n"
           f"controller.quorum.voters=1@localhost:{controller}\nlistener.name.other.ssl.keystore.type=PEM\nlistener.name.other.ssl.keystore.location={folder}/n1/other.pem\n")
    node, peers = folder / "n1", []

    def shows(name, seconds, is_now=True):
        chain = shorten(node / "bus.crt", folder / "ca/intermediate.key", seconds, node / "other.crt").read_text()
        (node / name).write_text((node / "bus.key").read_text() + chain)
        if is_now:
            Admin(c).alter(BROKER, "1", {"listener.name.other.ssl.keystore.location": str(node / name)})

    def is_refused(since=0):
        wait_until(lambda: land.status()["bus"]["state"] == "BUS_TLS", 30, "the state")
        assert any(x["error"] == "BUS_TLS" and "certificate" in x["text"] for x in land.log_lines("gateway", "bus.state")[since:])
    shows("other.pem", -864000, False)
    try:
        c.up()
        own = c.certify("gw1", folder / "gw1")
        section = "{kafka: {" + f"brokers: ['localhost:PORT'], ca: {folder}/ca/ca.crt, certificate: {own}/bus.crt, key: {own}/bus.key, prefix: t, pilot: true, partitions: 2" + "}, kind: kafka}"
        land.write_gateway_settings(bus=section.replace("PORT", str(port)))
        k.create(land)
        land.write_gateway_settings(bus=section.replace("PORT", str(other)))
        land.start_gateway()
        line = land.log_lines("gateway", "bus.unchecked")[0]
        assert line["error"] == "BUS_TLS" and "certificate" in line["why"], line
        is_refused()
        shows("second.pem", 3600)
        peers += [Peer(land, "population"), Peer(land, "tax")]
        provider, consumer = peers
        provider.well("serve GetPerson"), consumer.well("ready")
        wait_until(lambda: consumer.do("call GetPerson one", "reply")["err"] == 0, 30, "an answer")
        shows("second.pem", -10, False)
        since = len(land.log_lines("gateway", "bus.state"))
        c.down([1], signal.SIGKILL)
        c.up()
        is_refused(since)
        assert land.call("tax", "GetPerson", {"pin": "0"}, "--json").returncode == 7
        consumer.well("send GetPerson late")
        consumer.well("flush state")
        shows("third.pem", 3600)
        wait_until(lambda: consumer.do("call GetPerson two", "reply")["err"] == 0, 30, "an answer")
        consumer.well("flush final")
        assert requests(provider).count("late") == 1
    finally:
        for p in peers:
            p.kill()
        land.stop_all()
        c.down()
