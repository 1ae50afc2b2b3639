# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""SPEC 18.6: large bodies from one gateway to another over a real broker: bounded memory, a gateway killed under way, a topic that was doctored."""
import time

import pytest
from kafka_admin import Admin
from test_kafka_bus import apart, pair  # noqa: F401
from test_large import CHUNK, DELIVERED, FAILED, MIB, file_of, let_answers_be_large, there_and_back
from world import wait_until


@pytest.fixture
def far(pair, monkeypatch):  # noqa: F811
    let_answers_be_large(pair.world, monkeypatch)
    for name in ("gateway.yaml", "gateway2.yaml"):
        path = pair.world.dir / name
        path.write_text(path.read_text() + "limits: {stored_bytes_max: 512MiB}\n")
    return pair


def test_a_hundred_mib_go_from_gateway_to_gateway_and_come_back_in_bounded_memory(far):
    there_and_back(far.world, *apart(far), "gateway", "gateway2")


@pytest.mark.parametrize("number", [1, 2])
def test_a_large_message_arrives_whichever_gateway_is_killed_under_way(far, number):
    provider, consumer = apart(far)
    consumer.say(f"sendfile GetPerson {file_of(far.world, 16 * MIB)}")
    if number == 1:
        wait_until(lambda: (large := far.status(1)["large"])["uploads"] + large["kept"] > 0, 60, "the upload's beginning")
    else:
        provider.wait(lambda x: x["event"] == "large-begins", 120)
    far.stop(number)
    far.start(number)
    got = provider.wait(lambda x: x["event"] == "large-request" and x["err"] == 0, 120)
    assert got["bytes"] == 16 * MIB
    consumer.wait(lambda x: x["event"] == "receipt" and x["state"] == DELIVERED, 120)


def test_bodies_that_follow_one_another_in_a_partition_are_not_taken_for_lost(kafka, far):
    """Its end, met behind one body, was kept and taken for the place where the next had been."""
    topic, admin = f"{far.prefix}..blob", Admin(kafka.cluster)
    admin.delete(topic)
    wait_until(lambda: topic not in kafka.cluster.kcat("-L").stdout, 20, "the topic's end")
    admin.create(topic, partitions=1, config={"message.timestamp.type": "LogAppendTime", "retention.ms": "1728000000", "max.message.bytes": "1114112"})
    provider, consumer = apart(far)
    for n in range(1, 4):
        consumer.say(f"sendfile GetPerson {file_of(far.world, MIB + CHUNK)}")
        wait_until(lambda n=n: sum(x["err"] == 0 for x in provider.got("large-request")) == n or any(x["err"] for x in provider.got("large-request")), 60, f"body {n}")
        assert [x["err"] for x in provider.got("large-request")] == [0] * n
        time.sleep(1)  # the reader meets the end


@pytest.mark.parametrize("how, name", [("altered", "EXCHANGE_BLOB_ALTERED"), ("cut", "EXCHANGE_BLOB_LOST")])
def test_a_doctored_topic_is_found(kafka, far, how, name):
    far.start(1), far.start(2)
    consumer = far.peer("tax")
    consumer.well("ready")
    consumer.well(f"sendfile GetPerson {file_of(far.world, 2 * MIB)}")
    consumer.wait(lambda x: x["event"] == "receipt" and x["state"] == 1, 60)
    topic, admin = f"{far.prefix}..blob", Admin(kafka.cluster)
    (partition, kept), (_, others) = sorted(((p, admin.read(topic, p)) for p in (0, 1)), key=lambda x: -len(x[1]))
    values = [value for _, _, value in kept]
    assert others == [] and len(kept) == 10 and [len(v) for v in values[:8]] == [CHUNK] * 8
    if how == "altered":
        values[3] = values[3][:7] + bytes([values[3][7] ^ 1]) + values[3][8:]
    else:
        values[3] = values[3][:-1]
    admin.delete(topic)
    wait_until(lambda: topic not in kafka.cluster.kcat("-L").stdout, 20, "the topic's end")
    admin.create(topic, partitions=2)
    admin.write(topic, [(key, value) for (_, key, _), value in zip(kept, values)], partition)
    assert [value for _, _, value in admin.read(topic, partition)] == values
    provider = far.peer("population")
    provider.well("serve GetPerson")
    assert provider.wait(lambda x: x["event"] == "large-request", 60)["name"] == name
    receipt = consumer.wait(lambda x: x["event"] == "receipt" and x["state"] == FAILED, 60)
    assert receipt["code"] == {"EXCHANGE_BLOB_LOST": 5077, "EXCHANGE_BLOB_ALTERED": 5078}[name]
    consumer.well(f"sendfile GetPerson {file_of(far.world, 2 * MIB)}")
    provider.wait(lambda x: x["event"] == "large-request" and x["err"] == 0, 60)
