# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""The bus over a real broker: calls and events through one gateway and through two, a gateway that dies, a broker that dies."""
import json
import signal
import time

import pytest
from world import free_port, wait_until


def answered(world, pin, seconds=60):
    """A call succeeds, at once or after a while."""
    def does():
        does.done = world.call("tax", "GetPerson", {"pin": pin}, "--json")
        return does.done.returncode == 0
    try:
        wait_until(does, seconds, "an answer")
    except TimeoutError:
        raise AssertionError(does.done.stdout + does.done.stderr) from None
    return json.loads(does.done.stdout)


@pytest.fixture
def joined(kafka, land):
    land.prefix = kafka.join(land)
    return land


def test_a_call_goes_over_the_broker_and_its_records_are_on_the_audit_topic(kafka, joined):
    joined.start_gateway()
    joined.start_register()
    pin = joined.pins(1)[0]
    answer = answered(joined, pin)
    assert answer["body"]["person"]["pin"] == pin
    bus = joined.status()["bus"]
    assert bus["state"] == "OK" and bus["is_ready"] and bus["inboxes_owned"] >= 1 and bus["dead_letters"] == 0, bus
    wait_until(lambda: joined.status()["bus"]["unaudited_groups"] == 0, 20, "all groups on the audit topic")
    seen = kafka.cluster.kcat("-C", "-t", f"{joined.prefix}..audit", "-o", "beginning", "-e", "-q", "-f", "%S\n").stdout.split()
    assert len(seen) > 3


def test_calls_go_on_after_the_gateway_was_killed(joined):
    joined.start_gateway()
    joined.start_register()
    pin = joined.pins(1)[0]
    answered(joined, pin)
    joined.kill_gateway()
    joined.start_gateway()
    assert answered(joined, pin)["body"]["person"]["pin"] == pin


def test_a_killed_broker_stops_calls_with_a_reason_and_they_go_on_when_it_is_back(kafka, joined):
    joined.start_gateway()
    joined.start_register()
    pin = joined.pins(1)[0]
    answered(joined, pin)
    kafka.cluster.down([1], signal.SIGKILL)
    try:
        wait_until(lambda: joined.status()["bus"]["state"] == "BUS_UNREACHABLE", 20, "the state of the bus")
        done = joined.call("tax", "GetPerson", {"pin": pin}, "--json")
        assert done.returncode != 0
    finally:
        kafka.cluster.up()
    answered(joined, pin)


class Second:
    """A second gateway of the same country, on the same brokers."""

    def __init__(self, kafka, world):
        self.world, self.port = world, free_port()
        world.make_keys("gw2", "AZ/gw2", "--gateway")
        world.run("ehis-registry", "add", "gw2/join.request", "--as", "gateway", "--dir", "registry", check=True)
        world.publish_registry()
        world.prefix = kafka.join(world)
        more = kafka.bus("gw2", prefix=world.prefix)
        first = (world.dir / "gateway.yaml").read_text()
        second = (first.replace("AZ/gw1", "AZ/gw2").replace(f":{world.port}'", f":{self.port}'").replace(": gw/", ": gw2/").replace("dir: journal,", "dir: journal2,")
                  .replace("admin.sock", "admin2.sock"))
        second = "".join(f"bus: {more}\n" if line.startswith("bus:") else line + "\n" for line in second.splitlines())
        (world.dir / "gateway2.yaml").write_text(second)
        (world.dir / "journal2").mkdir(mode=0o700)

    def start(self):
        p = self.world.start("gateway2", "ehis-gateway", "--config", "gateway2.yaml")
        wait_until(lambda: p.poll() is None and self.world.run("ehis-gateway", "status", "--socket", "admin2.sock").returncode == 0, 60, "the second gateway's status")

    def status(self):
        return json.loads(self.world.run("ehis-gateway", "status", "--socket", "admin2.sock", check=True).stdout)


def test_a_request_enters_at_one_gateway_and_leaves_at_another(kafka, land):
    second = Second(kafka, land)
    land.start_gateway()
    second.start()
    land.write_adapter_settings("population", "AZ/GOV/MIA/population", gateways=f"['127.0.0.1:{second.port}']")
    land.start_register()
    pin = land.pins(1)[0]
    assert answered(land, pin)["body"]["person"]["pin"] == pin
    assert second.status()["bus"]["inboxes_owned"] == 1 and land.status()["bus"]["gateways"] == 2
    began = time.monotonic()
    for _ in range(5):
        answered(land, pin)
    print("five calls", time.monotonic() - began)
    land.stop("gateway2", signal.SIGKILL)
    wait_until(lambda: land.call("tax", "GetPerson", {"pin": pin}, "--json").returncode != 0, 20, "a refusal: the provider is gone")
    wait_until(lambda: land.status()["bus"]["gateways"] == 1, 10, "the lease running out")
    second.start()
    assert answered(land, pin)["body"]["person"]["pin"] == pin
