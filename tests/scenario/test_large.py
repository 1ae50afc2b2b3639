# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""SPEC 18: large bodies through the real gateway and libehis: 100 MiB in bounded memory, gateways killed under way, chunks altered."""
import os
import time

import pytest
from test_sdk import peers_of
from world import BASIS, PERSON, PURPOSE, SERVICE, wait_until

MIB = 1 << 20
CHUNK = 262144
DELIVERED, FAILED = 3, 4
BODY = 100 * MIB
IS_SANITIZED = "release" not in os.environ.get("EHIS_BIN", "")
GATEWAY_BOUND = (128 if IS_SANITIZED else 48) * MIB  # at its highest, with 100 MiB going through
SDK_BOUND = (96 if IS_SANITIZED else 32) * MIB
SMALL = ":".join(filter(None, (os.environ.get("ASAN_OPTIONS"), "quarantine_size_mb=8:malloc_context_size=4")))  # else what was freed counts


def high_water(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))


def let_answers_be_large(world, monkeypatch):
    """GetPerson may answer at any length."""
    monkeypatch.setenv("ASAN_OPTIONS", SMALL)
    (world.dir / "registry/services/person.yaml").write_text(PERSON.replace("max_response_bytes: 65536", "max_response_bytes: 209715200"))
    world.publish_registry()


@pytest.fixture
def large(land, monkeypatch):
    let_answers_be_large(land, monkeypatch)
    land.write_gateway_settings(limits="{stored_bytes_max: 512MiB}")
    land.start_gateway()
    yield from peers_of(land)


def file_of(world, size, name="body"):
    path = world.dir / name
    block = os.urandom(MIB)
    with open(path, "wb") as f:
        for at in range(0, size, MIB):
            f.write(block[: min(MIB, size - at)])
    return path


def served(large):
    provider, consumer = large("population"), large("tax")
    for p in (provider, consumer):
        p.well("ready")
    provider.well("serve GetPerson")
    return provider, consumer


def blobs(world):
    return sorted(p for p in (world.dir / "journal/blobs").iterdir())


def there_and_back(world, provider, consumer, *gateways):
    """100 MiB are asked and answered, and no process held more than it may."""
    path = file_of(world, BODY)
    started = time.monotonic()
    reply = consumer.do(f"callfile GetPerson {path}", "reply", 280)
    took = time.monotonic() - started
    assert reply["err"] == 0, reply
    request = provider.got("large-request")[0]
    assert reply["bytes"] == request["bytes"] == BODY and reply["sum"] == request["sum"]
    processes = {**{name: world.running[name] for name in gateways}, "provider": provider.process, "consumer": consumer.process}
    peaks = {name: high_water(p.pid) for name, p in processes.items()}
    print(f"100 MiB there and back: {took:.1f} s; peak RSS MiB: " + ", ".join(f"{k} {v / MIB:.0f}" for k, v in peaks.items()))
    assert all(v < (GATEWAY_BOUND if k in gateways else SDK_BOUND) for k, v in peaks.items()), peaks


def test_a_hundred_mib_go_and_come_back_in_bounded_memory(large):
    there_and_back(large.world, *served(large), "gateway")


def test_the_record_names_root_and_size_and_a_body_is_freed_with_its_message(large):
    provider, consumer = served(large)
    consumer.well(f"sendfile GetPerson {file_of(large.world, 3 * MIB)}")
    provider.wait(lambda x: x["event"] == "large-request")
    consumer.wait(lambda x: x["event"] == "large-response", 60)
    wait_until(lambda: not blobs(large.world), 20, "the files' end")
    for name in ("tax", "population"):
        wait_until(lambda: not list((large.world.dir / f"{name}.state/large").iterdir()), 20, "the spool's end")
    sent = [r["large"] for r in large.world.records("--kind", "accepted") if r.get("large")]
    assert len(sent) == 2
    assert all(one["bytes"] > 3 * MIB and len(one["root"]) == 64 for one in sent)


def test_ehis_call_takes_and_writes_files_of_any_size(large):
    served(large)
    path, out = file_of(large.world, 8 * MIB + 77), large.world.dir / "answer"
    state = large.world.dir / "call.state"
    state.mkdir(mode=0o700)
    out.with_name("answer.part").write_bytes(b"of a run that was killed" * MIB)
    done = large.world.run("ehis-call", SERVICE, "GetPerson", "--config", "tax.yaml", "--state", state, "--purpose", PURPOSE, "--basis", BASIS, "--body", path, "--output", out,
                           "--timeout", "120s", timeout=180)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == path.read_bytes()
    assert not out.with_name("answer.part").exists()


def test_an_upload_outlives_the_gateway_that_was_killed(large):
    provider, consumer = served(large)
    world = large.world
    consumer.say(f"sendfile GetPerson {file_of(world, 24 * MIB)}")
    wait_until(lambda: (b := blobs(world)) and b[0].stat().st_size > MIB, 60, "the upload's beginning")
    world.kill_gateway()
    world.start_gateway()
    got = provider.wait(lambda x: x["event"] == "large-request", 120)
    assert got["err"] == 0 and got["bytes"] == 24 * MIB
    consumer.wait(lambda x: x["event"] == "receipt" and x["state"] == DELIVERED, 120)


def test_a_download_goes_on_where_the_gateway_was_killed(large):
    provider, consumer = served(large)
    world = large.world
    consumer.say(f"sendfile GetPerson {file_of(world, 24 * MIB)}")
    provider.wait(lambda x: x["event"] == "large-begins", 120)
    world.kill_gateway()
    world.start_gateway()
    got = provider.wait(lambda x: x["event"] == "large-request", 120)
    assert got["err"] == 0 and got["bytes"] == 24 * MIB
    back = consumer.wait(lambda x: x["event"] == "large-response", 120)
    assert back["sum"] == got["sum"]


def test_after_a_restart_what_waits_has_its_chunks_and_nothing_else_does(large):
    world, consumer = large.world, large("tax")
    consumer.well("ready")
    consumer.well(f"sendfile GetPerson {file_of(world, 2 * MIB)}")
    consumer.wait(lambda x: x["event"] == "receipt" and x["state"] == 1, 60)
    (kept,) = blobs(world)
    (world.dir / "journal/blobs" / ("ab" * 32)).write_bytes(b"left behind")
    world.kill_gateway()
    world.start_gateway()
    assert blobs(world) == [kept]
    provider, _ = served(large)
    assert provider.wait(lambda x: x["event"] == "large-request", 60)["bytes"] == 2 * MIB


@pytest.mark.parametrize("how, name", [("altered", "EXCHANGE_BLOB_ALTERED"), ("cut", "EXCHANGE_BLOB_LOST"), ("gone", "EXCHANGE_BLOB_LOST"), ("list", "EXCHANGE_BLOB_ALTERED")])
def test_a_chunk_that_is_altered_or_missing_on_the_disk_is_found(large, how, name):
    world, consumer = large.world, large("tax")
    consumer.well("ready")
    consumer.well(f"sendfile GetPerson {file_of(world, 2 * MIB)}")
    consumer.wait(lambda x: x["event"] == "receipt" and x["state"] == 1, 60)
    (kept,) = blobs(world)
    size = kept.stat().st_size
    if how == "gone":
        kept.unlink()
    else:
        with open(kept, "r+b") as f:
            if how == "cut":
                f.truncate(size - 1)
            else:
                f.seek(5 * CHUNK + 99 if how == "altered" else size - 40)
                byte = f.read(1)
                f.seek(-1, os.SEEK_CUR)
                f.write(bytes([byte[0] ^ 1]))
    provider, _ = served(large)
    got = provider.wait(lambda x: x["event"] == "large-request", 60)
    assert got["name"] == name
    receipt = consumer.wait(lambda x: x["event"] == "receipt" and x["state"] == FAILED, 60)
    assert receipt["code"] == {"EXCHANGE_BLOB_LOST": 5077, "EXCHANGE_BLOB_ALTERED": 5078}[name]
    assert [r["error"] for r in world.records("--kind", "failed")] == [name]
    wait_until(lambda: not blobs(world), 20, "the file's end")
    consumer.well(f"sendfile GetPerson {file_of(world, 2 * MIB)}")  # the stream goes on
    provider.wait(lambda x: x["event"] == "large-request" and x["err"] == 0, 60)


def test_what_is_refused_is_refused_before_it_is_uploaded(large):
    served(large)
    world, consumer = large.world, large("tax")
    reply = consumer.do(f"callfile PersonChanged {file_of(world, 2 * MIB)}", "reply", 60)
    assert reply["name"] == "POLICY_UNKNOWN_OPERATION" and not blobs(world)


def test_a_sender_stores_no_more_than_its_bound(large):
    world = large.world
    world.stop("gateway")
    world.write_gateway_settings(limits="{stored_bytes_max: 8MiB}")
    world.start_gateway()
    consumer = large("tax")
    consumer.well("ready")
    consumer.say(f"sendfile GetPerson {file_of(world, 9 * MIB)}")
    time.sleep(3)
    assert not blobs(world) and not [x for x in consumer.got("receipt") if x["state"] == 1]
    world.stop("gateway")
    world.write_gateway_settings(limits="{stored_bytes_max: 512MiB}")
    world.start_gateway()
    provider, _ = served(large)  # it was this bound alone that held it
    assert provider.wait(lambda x: x["event"] == "large-request", 60)["bytes"] == 9 * MIB


def test_what_is_in_the_outbox_is_uploaded_by_the_next_process(large):
    world, consumer = large.world, large("tax")
    consumer.well("ready")
    world.kill_gateway()
    consumer.well(f"sendfile GetPerson {file_of(world, 2 * MIB)}")
    consumer.kill()
    (world.dir / "tax.state/large/new-0011223344556677").write_bytes(b"of a process that died while it sealed")
    world.start_gateway()
    provider, consumer = served(large)
    assert provider.wait(lambda x: x["event"] == "large-request", 60)["bytes"] == 2 * MIB
    assert consumer.wait(lambda x: x["event"] == "large-response", 60)["bytes"] == 2 * MIB
    wait_until(lambda: not list((world.dir / "tax.state/large").iterdir()), 20, "the spool's end")
