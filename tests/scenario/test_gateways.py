# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""Two gateways with buses of their own, and systems on libehis that hold a session with each: whichever goes, calls are answered, streams go on and
nothing is handed over twice. (What one gateway alone has accepted waits there: only a replicating bus lets the other deliver it.)"""
import json
import signal
import time

import pytest

from test_sdk import Peer
from ports import free_port
from world import wait_until

SECOND = "AZ/gw2"


class Pair:
    def __init__(self, world):
        self.world, self.peers, self.port = world, {}, free_port()
        world.make_keys("gw2", SECOND, "--gateway")
        world.run("ehis-registry", "add", "gw2/join.request", "--as", "gateway", "--dir", "registry", check=True)
        world.publish_registry()
        for name, identifier in (("population", "AZ/GOV/MIA/population"), ("tax", "AZ/GOV/STS/tax")):
            world.write_adapter_settings(name, identifier, gateways=f"['127.0.0.1:{world.port}', '127.0.0.1:{self.port}']")
        (world.dir / "gateway2.yaml").write_text(self.second((world.dir / "gateway.yaml").read_text()))
        (world.dir / "journal2").mkdir(mode=0o700)

    def second(self, first):
        """The second gateway's settings, made of the first's."""
        return (first.replace("AZ/gw1", SECOND).replace(f":{self.world.port}'", f":{self.port}'").replace("gw/", "gw2/").replace("dir: journal,", "dir: journal2,")
                .replace("admin.sock", "admin2.sock"))

    def start(self, number, env=None):
        if number == 1:
            self.world.start_gateway(env)
            return
        p = self.world.start("gateway2", "ehis-gateway", "--config", "gateway2.yaml", env=env)
        wait_until(lambda: p.poll() is None and self.world.run("ehis-gateway", "status", "--socket", "admin2.sock").returncode == 0, 60, "the second gateway's status")

    def stop(self, number, how=signal.SIGKILL):
        self.world.stop("gateway" if number == 1 else "gateway2", how)

    def status(self, number):
        return json.loads(self.world.run("ehis-gateway", "status", "--socket", "admin.sock" if number == 1 else "admin2.sock", check=True).stdout)

    def peer(self, name):
        self.peers[name] = Peer(self.world, name)
        return self.peers[name]

    def close(self):
        for p in self.peers.values():
            if p.process.poll() is None:
                p.kill()

    def ready(self, peer, *numbers):
        """The peer has sessions with exactly these."""
        def is_so():
            said = peer.do("status", "status")
            return [n for n in (1, 2) if said["sessions"] & n] == list(numbers)
        wait_until(is_so, 30, f"sessions with {numbers}")


@pytest.fixture
def pair(land):
    p = Pair(land)
    yield p
    p.close()


def served(pair):
    pair.start(1), pair.start(2)
    provider = pair.peer("population")
    provider.well("serve GetPerson")
    pair.ready(provider, 1, 2)
    consumer = pair.peer("tax")  # behind it: what the provider takes is said a moment after it is ready
    pair.ready(consumer, 1, 2)
    return provider, consumer


def requests(provider):
    return [r["body"] for r in provider.got("request")]


def test_calls_fail_over_and_back(pair):
    provider, consumer = served(pair)
    assert consumer.do("call GetPerson one", "reply")["body"] == "one"
    pair.stop(1)
    assert consumer.do("call GetPerson two", "reply", 10)["body"] == "two"
    pair.start(1)
    pair.ready(provider, 1, 2), pair.ready(consumer, 1, 2)
    pair.stop(2)
    assert consumer.do("call GetPerson three", "reply", 30)["body"] == "three"


def test_a_call_under_way_when_its_gateway_dies_is_run_once_and_answered_through_the_other(pair):
    provider, consumer = served(pair)
    consumer.say("call GetPerson sleep:3000")
    wait_until(lambda: "sleep:3000" in requests(provider), 20, "the request at the provider")
    pair.stop(1)
    reply = consumer.wait(lambda x: x["event"] == "reply")
    assert (reply["err"], reply["body"]) == (0, "sleep:3000")
    assert requests(provider).count("sleep:3000") == 1


def test_a_stream_goes_on_at_the_other_gateway_in_order_and_once(pair):
    provider, consumer = served(pair)
    sent = [f"m{i}" for i in range(400)]
    for i, body in enumerate(sent):
        if i == 200:
            consumer.well("flush state")
            wait_until(lambda: len(requests(provider)) == 200, 30, "what the first gateway had accepted")
            pair.stop(1)
        consumer.well(f"send GetPerson {body}")
    wait_until(lambda: len(requests(provider)) >= 400, 60, "all of it")
    assert requests(provider) == sent
    pair.start(1)
    consumer.well("flush final")
    assert requests(provider) == sent


def test_a_gateway_killed_in_the_middle_of_a_stream_loses_nothing_and_repeats_nothing(pair):
    provider, consumer = served(pair)
    sent = [f"m{i}" for i in range(600)]
    for i, body in enumerate(sent):
        if i == 300:
            pair.stop(1)
        if i == 450:
            pair.start(1)  # what it alone had accepted comes from it again
        consumer.well(f"send GetPerson {body}")
    wait_until(lambda: len(set(requests(provider))) == 600, 90, "all of it")
    time.sleep(1)
    assert sorted(requests(provider)) == sorted(sent)
    consumer.well("flush final")


def test_a_gateway_that_is_stopped_in_order_hands_its_streams_over_at_once(pair):
    provider, consumer = served(pair)
    consumer.well("send GetPerson before")
    wait_until(lambda: "before" in requests(provider), 20, "the first")
    pair.world.running["gateway"].send_signal(signal.SIGTERM)
    began = time.monotonic()
    consumer.well("send GetPerson after")
    wait_until(lambda: "after" in requests(provider), 20, "the second, through the other gateway")
    assert time.monotonic() - began < 5


def test_one_dead_gateway_costs_nothing(pair):
    pair.start(2)
    provider = pair.peer("population")
    provider.well("serve GetPerson")
    pair.ready(provider, 2)
    consumer = pair.peer("tax")
    pair.ready(consumer, 2)
    assert consumer.do("call GetPerson x", "reply", 10)["body"] == "x"
    consumer.well("send GetPerson y")
    consumer.well("flush final")
