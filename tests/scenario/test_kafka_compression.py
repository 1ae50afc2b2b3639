# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""A batch of 64 KB that unpacks to 64 MiB, written by who holds a gateway's certificate: the brokers pack it again as the topic says (snappy), and refuse
what is too large then. What is not unpacks to 22 times max.message.bytes at most."""
import json

import kafka_cluster
import pytest
from kafka_admin import TOPIC, Admin
from test_kafka_broker import topic
from test_kafka_bus import answered
from test_large import MIB, SMALL, high_water
from world import SYSTEMS, World, wait_until

CODECS = ["gzip", "lz4", "zstd", "snappy"]
LARGEST = 20  # MiB of zeros that a broker still takes: snappy makes 1 MB of them
BOUND = 64 * MIB  # of what comes on top with five of them: what is fetched ahead, and a record that is copied


@pytest.fixture(scope="module", params=["4.1", "3.9"])
def country(request, tmp_path_factory):
    older = kafka_cluster.make(tmp_path_factory.mktemp("kafka"), version="3.9", more="compression.type=producer\n") if request.param == "3.9" else None
    kafka = older or request.getfixturevalue("kafka")
    with World(tmp_path_factory.mktemp("az")) as w:
        w.kafka, w.prefix, w.zeros = kafka, kafka.join(w), w.dir / "zeros"
        w.start_gateway(env={"ASAN_OPTIONS": SMALL})
        w.start_register()
        answered(w, w.pins(1)[0])
        yield w
    if older:
        older.cluster.down()


def write_zeros(world, at, codec, each, count=1):
    """A batch of records of each MiB, packed by its writer; what kcat says."""
    with open(world.zeros, "wb") as f:
        f.truncate(each * MIB)
    large = ["message.max.bytes=1000000000", "batch.size=1000000000", "queue.buffering.max.kbytes=2000000", "linger.ms=1000"]
    return world.kafka.cluster.kcat("-P", "-t", at, "-p", "0", "-z", codec, *[w for x in large for w in ("-X", x)], *[world.zeros] * count,
                                    identity=world.kafka.certificate("gw1"), timeout=120)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("each, count", [(64, 1), (1, 64)], ids=["one record", "many records"])
def test_a_batch_that_unpacks_to_64_mib_is_refused_by_the_brokers(country, codec, each, count):
    at, pid = topic(country.prefix, "call", SYSTEMS["population"]), country.running["gateway"].pid
    end, before = Admin(country.kafka.cluster).end(at), high_water(pid)
    done = write_zeros(country, at, codec, each, count)
    assert done.returncode != 0 and "Message size too large" in done.stderr, done.stderr
    assert Admin(country.kafka.cluster).end(at) == end
    answered(country, country.pins(1)[0])
    assert high_water(pid) - before < 16 * MIB


@pytest.mark.parametrize("codec", CODECS)
def test_what_the_brokers_take_is_read_in_bounded_memory(country, codec):
    at, pid = topic(country.prefix, "call", SYSTEMS["population"]), country.running["gateway"].pid
    before, since = high_water(pid), len(country.log_lines("gateway"))
    for _ in range(5):
        done = write_zeros(country, at, codec, LARGEST)
        assert done.returncode == 0, done.stderr
    wait_until(lambda: sum(x["event"] == "bus.refused" and x["error"] == "BUS_TOO_LARGE" for x in country.log_lines("gateway")[since:]) == 5, 30, "all five refused")
    answered(country, country.pins(1)[0])
    rise = high_water(pid) - before
    print(f"{codec}: {rise / MIB:.0f} MiB")
    assert rise < BOUND


def test_a_topic_that_takes_batches_as_they_come_is_refused(country):
    at = topic(country.prefix, "inbox", SYSTEMS["tax"])
    admin = Admin(country.kafka.cluster)
    for value in ("producer", "gzip", "uncompressed"):
        admin.alter(TOPIC, at, {"compression.type": value})
        done = country.run("ehis-gateway", "topics", "check", "--config", "gateway.yaml", "--json")
        found = json.loads(done.stdout)["findings"]
        assert done.returncode == 1 and [(f["code"], f["subject"], f["setting"], f["found"], f["wanted"]) for f in found] == [("EHIS-5117", at, "compression.type", value, "snappy")]
    admin.alter(TOPIC, at, {"compression.type": "snappy"})
    country.run("ehis-gateway", "topics", "check", "--config", "gateway.yaml", check=True)
