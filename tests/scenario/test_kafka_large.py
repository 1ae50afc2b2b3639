# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""SPEC 18.6: large bodies from one gateway to another over a real broker: bounded memory, a gateway killed under way, a topic that was doctored."""
import time

import pytest
from kafka_admin import Admin
from test_kafka_bus import apart, pair  # noqa: F401
from test_large import BODY, CHUNK, DELIVERED, FAILED, GATEWAY_BOUND, MIB, SDK_BOUND, SMALL, file_of, high_water
from world import PERSON, wait_until


@pytest.fixture
def far(pair, monkeypatch):  # noqa: F811
    monkeypatch.setenv("ASAN_OPTIONS", SMALL)
    pair.world.dir.joinpath("registry/services/person.yaml").write_text(PERSON.replace("max_response_bytes: 65536", "max_response_bytes: 209715200"))
    pair.world.publish_registry()
    for name in ("gateway.yaml", "gateway2.yaml"):
        path = pair.world.dir / name
        path.write_text(path.read_text() + "limits: {stored_bytes_max: 512MiB}\n")
    return pair


def test_a_hundred_mib_go_from_gateway_to_gateway_and_come_back_in_bounded_memory(far):
    provider, consumer = apart(far)
    path = file_of(far.world, BODY)
    started = time.monotonic()
    reply = consumer.do(f"callfile GetPerson {path}", "reply", 280)
    took = time.monotonic() - started
    assert reply["err"] == 0, reply
    request = provider.got("large-request")[0]
    assert reply["bytes"] == request["bytes"] == BODY and reply["sum"] == request["sum"]
    processes = {"first gateway": far.world.running["gateway"], "second gateway": far.world.running["gateway2"], "provider": provider.process, "consumer": consumer.process}
    peaks = {name: high_water(p.pid) for name, p in processes.items()}
    print(f"100 MiB there and back over Kafka: {took:.1f} s; peak RSS MiB: " + ", ".join(f"{k} {v / MIB:.0f}" for k, v in peaks.items()))
    assert all(v < (GATEWAY_BOUND if "gateway" in k else SDK_BOUND) for k, v in peaks.items())


@pytest.mark.parametrize("number", [1, 2])
def test_a_large_message_arrives_whichever_gateway_is_killed_under_way(far, number):
    provider, consumer = apart(far)
    consumer.say(f"sendfile GetPerson {file_of(far.world, 16 * MIB)}")
    if number == 1:
        time.sleep(1.5)  # somewhere in the upload
    else:
        provider.wait(lambda x: x["event"] == "large-begins", 120)
    far.stop(number)
    far.start(number)
    got = provider.wait(lambda x: x["event"] == "large-request" and x["err"] == 0, 120)
    assert got["bytes"] == 16 * MIB
    consumer.wait(lambda x: x["event"] == "receipt" and x["state"] == DELIVERED, 120)


def records(kafka, topic):
    """(partition, offset, key, value) of all."""
    places = kafka.cluster.kcat("-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%p %o\n").stdout.split()
    out = []
    for partition, offset in zip(places[::2], places[1::2]):
        def part(format_):
            return kafka.cluster.kcat("-C", "-t", topic, "-p", partition, "-o", offset, "-c", "1", "-q", "-f", format_, text=False).stdout
        out.append((int(partition), int(offset), part("%k"), part("%s")))
    return sorted(out)


@pytest.mark.parametrize("how, name", [("altered", "EXCHANGE_BLOB_ALTERED"), ("cut", "EXCHANGE_BLOB_LOST")])
def test_a_doctored_topic_is_found(kafka, far, how, name):
    far.start(1), far.start(2)
    consumer = far.peer("tax")
    consumer.well("ready")
    consumer.well(f"sendfile GetPerson {file_of(far.world, 2 * MIB)}")
    consumer.wait(lambda x: x["event"] == "receipt" and x["state"] == 1, 60)
    topic = f"{far.prefix}..blob"
    kept = records(kafka, topic)
    assert len(kept) == 10 and len({r[0] for r in kept}) == 1 and [len(r[3]) for r in kept[:8]] == [CHUNK] * 8
    values = [r[3] for r in kept]
    if how == "altered":
        values[3] = values[3][:7] + bytes([values[3][7] ^ 1]) + values[3][8:]
    else:
        values[3] = values[3][:-1]
    admin, between, behind = Admin(kafka.cluster), b"--of-this-key--", b"--end-of-this-record--"
    admin.delete(topic)
    wait_until(lambda: topic not in kafka.cluster.kcat("-L").stdout, 20, "the topic's end")
    admin.create(topic, partitions=2)
    data = behind.join(r[2] + between + v for r, v in zip(kept, values))
    done = kafka.cluster.kcat("-P", "-t", topic, "-p", kept[0][0], "-K", between.decode(), "-D", behind.decode(), stdin=data, text=False)
    assert done.returncode == 0, done.stderr
    assert len(records(kafka, topic)) == 10
    provider = far.peer("population")
    provider.well("serve GetPerson")
    assert provider.wait(lambda x: x["event"] == "large-request", 60)["name"] == name
    receipt = consumer.wait(lambda x: x["event"] == "receipt" and x["state"] == FAILED, 60)
    assert receipt["code"] == {"EXCHANGE_BLOB_LOST": 5077, "EXCHANGE_BLOB_ALTERED": 5078}[name]
    consumer.well(f"sendfile GetPerson {file_of(far.world, 2 * MIB)}")
    provider.wait(lambda x: x["event"] == "large-request" and x["err"] == 0, 60)
