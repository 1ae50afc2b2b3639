# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""A real broker of deploy/kafka: topics and rights as a registry calls for them, and every cluster that breaks a rule of durability
refused by name. Skipped plainly where Java, Maven, kcat or Kafka's jars are missing."""
import json
import pathlib
import signal
import subprocess

import cluster
import kafka_cluster
import pytest
from kafka_admin import TOPIC, Admin
from ports import free_port
from short_cert import shorten
from world import SYSTEMS, wait_until

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
    wanted |= {topic(prefix, "reply", "AZ/gw1")} | {topic(prefix, kind, "AZ/GOV/MIA/population/person/PersonChanged") for kind in ("key", "event")}
    assert {m["name"] for m in made["made"] if m["what"] == "topic"} == wanted
    assert [m["name"] for m in made["made"] if m["what"] == "rights"] == ["AZ/gw1"]
    partitions = {t["topic"]: len(t["partitions"]) for t in json.loads(kafka.cluster.kcat("-L", "-J").stdout)["topics"] if t["topic"] in wanted}
    spread = {n for n in wanted if n.split("..")[1].split(".")[0] in ("event", "audit", "dlq", "blob")}
    assert {n for n, p in partitions.items() if p != 1} == spread | {topic(prefix, "control.registry")}
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


def expired_copy(own, ca, folder):
    """The certificate in a folder as if it had ended 10 days ago."""
    return shorten(own / "bus.crt", ca / "intermediate.key", -864000, folder / "expired.crt")


def test_certificates_that_are_not_the_bus_s_are_refused(kafka, joined, land, tmp_path):
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
    # One that has expired: it was the gateway's.
    expired = expired_copy(kafka.certificate("gw1"), kafka.cluster.dir / "ca", tmp_path)
    assert error_of(land, kafka, kafka.bus(prefix=joined.prefix, certificate=expired), 6)["name"] == "BUS_TLS"
    # None at all.
    done = subprocess.run(["kcat", "-L", "-b", kafka.cluster.bootstrap()[0], "-m", "3", "-X", "security.protocol=ssl", "-X", f"ssl.ca.location={kafka.cluster.dir}/ca/ca.crt"],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode != 0 and "certificate" in done.stderr
    assert error_of(land, kafka, kafka.bus(prefix=joined.prefix, brokers=f"['localhost:{free_port()}']"), 6)["name"] == "BUS_UNREACHABLE"
    assert error_of(land, kafka, kafka.bus(prefix=joined.prefix, key=land.dir / "none.key"), 4)["name"] == "NOT_FOUND"
    (land.dir / "open.key").write_bytes((kafka.certificate("gw1") / "bus.key").read_bytes())
    (land.dir / "open.key").chmod(0o640)
    assert error_of(land, kafka, kafka.bus(prefix=joined.prefix, key=land.dir / "open.key"), 1)["name"] == "PERMISSION"
    assert error_of(land, kafka, kafka.bus(prefix=joined.prefix, certificate=land.dir / "crl.pem"), 1)["name"] == "BUS_CLIENT"
    assert error_of(land, kafka, kafka.bus(prefix="'A b'"), 1)["name"] == "BUS_PREFIX"
    assert error_of(land, kafka, "{kind: kafka}", 1)["name"] == "BUS_OPTIONS"
    land.write_gateway_settings(bus=own)
    assert report(land, "check")[0].returncode == 0


# What breaks which rule: (topic's kind, its identifier, setting, value, error)
UNSAFE = [("inbox", SYSTEMS["tax"], "unclean.leader.election.enable", "true", "BUS_UNCLEAN"),
          ("audit", "", "retention.ms", "86400000", "BUS_RETENTION"),
          ("call", SYSTEMS["tax"], "retention.bytes", "1000000", "BUS_RETENTION"),
          ("reply", "AZ/gw1", "cleanup.policy", "compact", "BUS_CLEANUP"),
          ("control.lease", "", "cleanup.policy", "delete", "BUS_CLEANUP"),
          ("key", "AZ/GOV/MIA/population/person/PersonChanged", "compression.type", "producer", "BUS_COMPRESSION"),
          ("control.cursor", "", "compression.type", "gzip", "BUS_COMPRESSION"),
          ("control.lease", "", "message.timestamp.type", "CreateTime", "BUS_TIMESTAMP"),
          ("blob", "", "max.message.bytes", "100000", "BUS_MESSAGE_BYTES"),
          ("event", "AZ/GOV/MIA/population/person/PersonChanged", "retention.ms", "3600000", "BUS_RETENTION")]


def test_each_unsafe_setting_of_a_topic_is_refused_by_name(kafka, joined):
    admin = Admin(kafka.cluster)
    for kind, identifier, setting, value, code in UNSAFE:
        admin.alter(TOPIC, topic(joined.prefix, kind, identifier), {setting: value})
    done, found = report(joined, "check")
    assert done.returncode == 1 and found["good"] is False
    assert names(found) == {(code, topic(joined.prefix, kind, identifier), setting) for kind, identifier, setting, _, code in UNSAFE}
    for f in found["findings"]:
        assert f["found"] and f["wanted"] and f["code"].startswith("EHIS-51")
    error = json.loads(done.stderr)["error"]
    assert error["code"] == found["findings"][0]["code"] and found["findings"][0]["subject"] in error["why"]
    joined.run("ehis-gateway", "topics", "create", "--config", "gateway.yaml", *kafka.admin())  # changes nothing that is there
    assert names(report(joined, "check")[1]) == names(found)
    for kind, identifier, setting, *_ in UNSAFE:  # as deploy made them: safe, or as safe
        admin.alter(TOPIC, topic(joined.prefix, kind, identifier), {"cleanup.policy": "compact" if kind.startswith("control") else "delete", "retention.ms": "-1",
                    "retention.bytes": None, "unclean.leader.election.enable": None, "message.timestamp.type": "LogAppendTime", "compression.type": "snappy",
                    "max.message.bytes": "2000000"})
    assert report(joined, "check")[0].returncode == 0


def test_missing_topics_wrong_partitions_and_lost_rights_are_refused_by_name(kafka, joined):
    admin = Admin(kafka.cluster)
    gone, wide = topic(joined.prefix, "inbox", SYSTEMS["students"]), topic(joined.prefix, "call", SYSTEMS["students"])
    admin.delete(gone)
    admin.delete(wide)
    wait_until(lambda: {s for _, s, _ in names(report(joined, "check")[1])} == {gone, wide}, what="both deleted")
    done, found = report(joined, "check")
    assert done.returncode == 1 and names(found) == {("BUS_NO_TOPIC", gone, ""), ("BUS_NO_TOPIC", wide, "")}
    admin.create(wide, partitions=3, config={"message.timestamp.type": "LogAppendTime", "compression.type": "snappy", "retention.ms": "900000"})
    done, found = report(joined, "create", *kafka.admin())
    assert done.returncode == 1 and [m["name"] for m in found["made"]] == [gone]
    assert names(found) == {("BUS_PARTITIONS", wide, "number of partitions")}
    admin.forbid("AZ/gw1")
    wait_until(lambda: {n for n, _, _ in names(report(joined, "check")[1])} == {"BUS_NOT_ALLOWED"}, what="no right")
    assert [m["what"] for m in report(joined, "create", *kafka.admin())[1]["made"]] == ["rights"]
    assert names(report(joined, "check")[1]) == {("BUS_PARTITIONS", wide, "number of partitions")}


def test_a_gateway_that_leaves_the_registry_loses_its_rights(kafka, joined):
    joined.make_keys("gw5", "AZ/gw5", "--gateway")
    joined.run("ehis-registry", "add", "gw5/join.request", "--as", "gateway", "--dir", "registry", check=True)
    joined.publish_registry()
    reply = topic(joined.prefix, "reply", "AZ/gw5")
    assert report(joined, "create", *kafka.admin())[1]["made"] == [{"what": "topic", "name": reply}, {"what": "rights", "name": "AZ/gw5"}]
    own = kafka.certificate("gw5")
    as_gw5 = ["--certificate", own / "bus.crt", "--key", own / "bus.key"]
    assert report(joined, "check", *as_gw5)[0].returncode == 0
    next((joined.dir / "registry").rglob("*gw5*.yaml")).unlink()
    joined.publish_registry()
    assert report(joined, "create", "--dry-run", *kafka.admin())[1]["made"] == [{"what": "rights taken away", "name": "AZ/gw5"}]
    assert report(joined, "create", *kafka.admin())[1]["made"] == [{"what": "rights taken away", "name": "AZ/gw5"}]
    assert {n for n, _, _ in names(report(joined, "check", *as_gw5)[1])} == {"BUS_NOT_ALLOWED"}
    assert report(joined, "check")[0].returncode == 0 and report(joined, "create", *kafka.admin())[1]["made"] == []


def test_one_broker_is_for_pilots_alone(kafka, joined):
    joined.write_gateway_settings(bus=kafka.bus(prefix=joined.prefix, pilot="false"))
    done, found = report(joined, "check")
    assert done.returncode == 1 and {n for n, _, _ in names(found)} == {"BUS_REPLICATION", "BUS_MIN_ISR", "BUS_BROKERS"}
    assert ("BUS_BROKERS", "cluster", "number of brokers") in names(found)
    assert {f["found"] for f in found["findings"] if f["name"] == "BUS_MIN_ISR"} == {"1"}
    done = joined.run("ehis-gateway", "topics", "create", "--config", "gateway.yaml", *kafka.admin(), "--json")
    assert done.returncode == 1 and json.loads(done.stderr)["error"]["name"] == "BUS_BROKERS"


def test_kafka_3_9_and_unsafe_settings_of_a_broker(land, tmp_path):
    older = kafka_cluster.make(tmp_path / "kafka", version="3.9", more="auto.create.topics.enable=true\noffsets.retention.minutes=60\n")
    try:
        land.write_gateway_settings(bus=older.bus())
        done, made = report(land, "create", *older.admin())
        assert done.returncode == 1 and len(made["made"]) > 10  # made, and then looked at
        done, found = report(land, "check")
        assert done.returncode == 1
        assert names(found) == {("BUS_AUTO_CREATE", "broker 1", "auto.create.topics.enable"), ("BUS_OFFSETS_RETENTION", "broker 1", "offsets.retention.minutes")}
    finally:
        assert older.cluster.down() == 1


def test_a_folder_is_one_cluster_s_and_a_port_one_broker_s(kafka, tmp_path):
    def run(*words):
        return subprocess.run(["/usr/bin/python3", cluster.__file__, *map(str, words)], capture_output=True, text=True, timeout=120)
    folder, plan = kafka.cluster.dir, kafka.cluster.plan
    with cluster.locked(folder):
        assert "another run works in" in run("up", "--dir", folder).stderr
    assert "--nodes 1" in run("up", "--dir", folder, "--nodes", 3).stderr
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("mine")
    assert "was not made by this script" in run("up", "--dir", tmp_path / "mine").stderr and (tmp_path / "mine/file").exists()
    taken = run("up", "--dir", tmp_path / "second", "--port-base", plan["ports"][0])
    assert taken.returncode == 1 and f"port {plan['ports'][0]} of localhost is taken" in taken.stderr
    status = run("status", "--dir", folder, "--json")
    assert status.returncode == 0 and json.loads(status.stdout)["answering"] == 1
    made = run("certificate", "AZ/gw7", "--dir", folder, "--out", tmp_path / "gw7")
    assert made.returncode == 0 and (tmp_path / "gw7/bus.key").stat().st_mode & 0o777 == 0o600
    assert run("certificate", "EE/gw7", "--dir", folder).returncode == 1


def test_three_brokers_hold_everything_twice_and_one_may_die(land, tmp_path):
    three = kafka_cluster.make(tmp_path / "kafka", nodes=3)
    try:
        land.write_gateway_settings(bus=three.bus())
        done, made = report(land, "create", *three.admin())
        assert done.returncode == 0, done.stderr
        assert {len(p["replicas"]) for t in json.loads(three.cluster.kcat("-L", "-J").stdout)["topics"] for p in t["partitions"]} == {3}
        assert three.cluster.down([2], how=signal.SIGKILL) == 1
        assert wait_until(lambda: len(three.cluster.brokers()) == 2, 30, "the metadata without the dead broker")
        inbox = next(m["name"] for m in made["made"] if "inbox" in m["name"])
        assert three.cluster.kcat("-P", "-t", inbox, "-p", "0", "-X", "message.timeout.ms=15000", identity=three.certificate("gw1"), stdin="x\n", timeout=30).returncode == 0
        assert report(land, "check")[0].returncode == 0
        three.cluster.up()
        assert len(three.cluster.brokers()) == 3
    finally:
        three.cluster.down()


def test_the_properties_for_real_machines_are_those_that_run_here():
    """deploy/kafka/three, but for names, places and what is each broker's."""
    def read(text):
        return dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    own = {"node.id", "broker.rack", "listeners", "advertised.listeners", "controller.quorum.voters", "ssl.keystore.location", "ssl.truststore.location", "log.dirs", "super.users",
           "broker.session.timeout.ms"}
    real = read((pathlib.Path(cluster.__file__).parent / "three/server.properties").read_text())
    here = read(cluster.PROPERTIES.format(node=1, dir="", ca="", host="", port=0, controller=0, voters="", supers="", replicas=3, in_sync=2))
    assert {k: v for k, v in real.items() if k not in own} == {k: v for k, v in here.items() if k not in own}
