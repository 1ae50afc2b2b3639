# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""SPEC 18.6: large bodies from one gateway to another over a real broker: bounded memory, a gateway killed under way, a topic that was doctored."""
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
