# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""A real broker of deploy/kafka: topics and rights as a registry calls for them, and every cluster that breaks a rule of durability
refused by name. Skipped plainly where Java, Maven, kcat or Kafka's jars are missing."""
import json
import subprocess

import cluster
import kafka_cluster
import pytest
from world import SYSTEMS

SINGLES = ("audit", "dlq", "blob", "control.lease", "control.registry", "control.cursor")


def topic(prefix, kind, identifier=""):
    return f"{prefix}..{kind}" + ("." + identifier.replace("/", "..") if identifier else "")


def report(world, verb, *words):
    done = world.run("ehis-gateway", "topics", verb, "--config", "gateway.yaml", "--json", *words)
    return done, json.loads(done.stdout)


def names(found):
    return {(f["name"], f["subject"], f["setting"]) for f in found["findings"]}


@pytest.fixture
def joined(kafka, land):
    land.prefix = kafka.join(land)
    return land


def test_topics_and_rights_are_made_once_and_are_good(kafka, land):
    prefix = "once"
    land.write_gateway_settings(bus=kafka.bus(prefix=prefix))
    done, dry = report(land, "create", "--dry-run", *kafka.admin())
    assert done.returncode == 0 and report(land, "check", *kafka.admin())[1]["findings"]
    done, made = report(land, "create", *kafka.admin())
    assert done.returncode == 0, done.stderr
    assert made["made"] == dry["made"] and made["good"] is True and made["findings"] == []
    wanted = {topic(prefix, kind) for kind in SINGLES} | {topic(prefix, kind, i) for kind in ("call", "inbox") for i in SYSTEMS.values()}
    wanted |= {topic(prefix, "reply", "AZ/gw1"), topic(prefix, "event", "AZ/GOV/MIA/population/person/PersonChanged")}
    assert {m["name"] for m in made["made"] if m["what"] == "topic"} == wanted
    assert [m["name"] for m in made["made"] if m["what"] == "rights"] == ["AZ/gw1"]
    partitions = {t["topic"]: len(t["partitions"]) for t in json.loads(kafka.cluster.kcat("-L", "-J").stdout)["topics"] if t["topic"] in wanted}
    assert {n for n, p in partitions.items() if p != 1} == {n for n in wanted if n.split("..")[1].split(".")[0] in ("event", "audit", "dlq", "blob")}
    done, again = report(land, "create", *kafka.admin())
    assert done.returncode == 0 and again["made"] == []
    done, checked = report(land, "check")  # as the gateway itself
    assert done.returncode == 0 and checked == {"good": True, "made": [], "findings": []}, done.stderr


def test_a_gateway_writes_and_reads_what_it_may_and_nothing_else(kafka, joined):
    p, gw1 = joined.prefix, kafka.certificate("gw1")
    inbox, audit, own, other = topic(p, "inbox", SYSTEMS["tax"]), topic(p, "audit"), topic(p, "reply", "AZ/gw1"), topic(p, "reply", "AZ/gw2")

    def write(name, who):
        return kafka.cluster.kcat("-P", "-t", name, "-p", "0", "-X", "enable.idempotence=true", "-X", "message.timeout.ms=8000", identity=who, stdin="x\n")

    def read(name, who):
        return kafka.cluster.kcat("-C", "-t", name, "-p", "0", "-o", "beginning", "-e", "-q", identity=who)
    for name in (inbox, audit, own):
        assert write(name, gw1).returncode == 0, name
    assert read(inbox, gw1).stdout == "x\n" and read(own, gw1).stdout == "x\n"
    assert "authorization failed" in read(audit, gw1).stderr  # written by gateways, read by the archiver
    assert "authorization failed" in write("elsewhere", gw1).stderr
    stranger = kafka.certificate("gw9")  # of the same authority, but of no registry
    assert "authorization failed" in write(inbox, stranger).stderr and "authorization failed" in read(inbox, stranger).stderr
    done, found = report(joined, "check", "--certificate", stranger / "bus.crt", "--key", stranger / "bus.key")
    assert done.returncode == 1 and ("BUS_NOT_ALLOWED", inbox, "") in names(found)
    done = joined.run("ehis-gateway", "topics", "create", "--config", "gateway.yaml", "--json")
    assert done.returncode == 1 and json.loads(done.stderr)["error"]["name"] == "BUS_NOT_ALLOWED"  # a gateway makes nothing
    assert other not in read(own, gw1).stdout


def error_of(world, kafka, bus, code):
    world.write_gateway_settings(bus=bus)
    done = world.run("ehis-gateway", "topics", "check", "--config", "gateway.yaml", "--timeout", "5s", "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stderr)["error"]


def test_certificates_that_are_not_the_bus_s_are_refused(kafka, joined, land):
    own = kafka.bus(prefix=joined.prefix)
    # A system's, from the other authority: the broker does not even finish the handshake. A gateway's for sessions as well.
    for name in ("tax", "gw"):
        assert error_of(land, kafka, kafka.bus(prefix=joined.prefix, certificate=land.dir / name / "tls.crt", key=land.dir / name / "tls.key"), 6)["name"] == "BUS_TLS"
    # Certificates of systems under the brokers' authority: no principal of the bus, no right.
    land.run("ehis-pki", "keygen", "--dir", "posing", "AZ/GOV/AZ/kafka-admin", check=True)
    land.run("ehis-pki", "issue", "--ca", kafka.cluster.dir / "ca", "--request", "posing/join.request", "--out", "posing/tls.crt", check=True)
    land.write_gateway_settings(bus=kafka.bus(prefix=joined.prefix, certificate=land.dir / "posing/tls.crt", key=land.dir / "posing/tls.key"))
    done, found = report(land, "check")
    assert done.returncode == 1 and {f["name"] for f in found["findings"]} >= {"BUS_NOT_ALLOWED"}
    # Brokers whose authority is not the one of the settings.
    assert error_of(land, kafka, kafka.bus(prefix=joined.prefix, ca=land.dir / "ca/ca.crt"), 6)["name"] == "BUS_TLS"
    # None at all.
    done = subprocess.run(["kcat", "-L", "-b", kafka.cluster.bootstrap()[0], "-m", "3", "-X", "security.protocol=ssl", "-X", f"ssl.ca.location={kafka.cluster.dir}/ca/ca.crt"],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode != 0 and "certificate" in done.stderr
    assert error_of(land, kafka, kafka.bus(prefix=joined.prefix, brokers=f"['localhost:{cluster.free_ports(1)[0]}']"), 6)["name"] == "BUS_UNREACHABLE"
    assert error_of(land, kafka, kafka.bus(prefix=joined.prefix, key=land.dir / "none.key"), 1)["name"] == "BUS_CLIENT"
    assert error_of(land, kafka, kafka.bus(prefix="'A b'"), 1)["name"] == "BUS_PREFIX"
    assert error_of(land, kafka, "{kind: kafka}", 1)["name"] == "BUS_OPTIONS"
    land.write_gateway_settings(bus=own)
    assert report(land, "check")[0].returncode == 0
