# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""libehis against the real gateway: call, serve, send, publish, subscribe, across crashes of either side."""
import json
import os
import pathlib
import queue
import signal
import subprocess
import threading
import time

import pytest
import short_cert
from world import BIN, SERVICE, wait_until

PEER = pathlib.Path(os.environ.get("EHIS_TESTS_BIN", BIN.parent / "tests")) / "sdk_peer"
FAILED = 4


class Peer:
    """A system that does what it is told; every line that it prints is kept."""

    def __init__(self, world, name, is_opened=True):
        self.lines, self.fresh = [], queue.Queue()
        with open(world.dir / f"{name}.peer.log", "ab") as log:
            self.process = subprocess.Popen([PEER, world.dir / f"{name}.yaml", SERVICE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                            text=True, bufsize=1)
        threading.Thread(target=self.read, daemon=True).start()
        self.opened = self.wait(lambda x: x["event"] == "opened")
        if is_opened:
            assert self.opened["err"] == 0, self.opened

    def read(self):
        for text in self.process.stdout:
            line = json.loads(text)
            self.lines.append(line)

    def wait(self, is_it, seconds=30):
        return wait_until(lambda: next((x for x in list(self.lines) if is_it(x)), None), seconds, "the line")

    def say(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def do(self, text, event="did", seconds=40):
        """Says it, and gives the line that answers it."""
        before = len(self.lines)
        self.say(text)
        return wait_until(lambda: next((x for x in self.lines[before:] if x["event"] == event), None), seconds, text)

    def well(self, text):
        done = self.do(text)
        assert done["err"] == 0, (text, done)

    def got(self, event):
        return [x for x in list(self.lines) if x["event"] == event]

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)

    def quit(self):
        if self.process.poll() is None:
            self.say("quit")
            self.process.wait(30)
        assert self.process.returncode == 0
        self.process.stdin.close()


def peers_of(world):
    """A fixture's body: peer(name) is the system that runs, or a new one."""
    peers = {}

    def peer(name, **more):
        if name in peers and peers[name].process.poll() is None:
            return peers[name]
        peers[name] = Peer(world, name, **more)
        return peers[name]

    peer.world = world
    yield peer
    for p in peers.values():
        if p.process.poll() is None:
            p.kill()


@pytest.fixture
def both(land):
    land.start_gateway()
    yield from peers_of(land)


def served(both):
    provider = both("population")
    provider.well("ready")
    provider.well("serve GetPerson")
    consumer = both("tax")
    consumer.well("ready")  # by then the gateway knows who serves
    return provider, consumer


def test_a_call_is_answered_and_the_provider_knows_the_rule(both):
    provider, consumer = served(both)
    reply = consumer.do("call GetPerson hello", "reply")
    assert (reply["err"], reply["body"], reply["fault"]) == (0, "hello", 0)
    request = provider.got("request")[0]
    assert request["sender"] == "AZ/GOV/STS/tax" and request["rule"] == "R-1" and request["stream"] == ""


def test_a_fault_is_an_answer_and_a_rejection_an_error(both):
    _, consumer = served(both)
    assert consumer.do("call GetPerson fault:no", "reply")["fault"] == 1
    assert consumer.do("call GetPerson reject", "reply")["name"] == "SDK_REJECTED"


def test_an_operation_without_a_handler_is_told_at_once(both):
    _, consumer = served(both)
    assert consumer.do("call FindPersons x", "reply", 5)["name"] == "SDK_NO_HANDLER"


def test_a_system_without_a_rule_is_refused_and_nobody_hears_of_it(both):
    provider, _ = served(both)
    students = both("students")
    students.well("ready")
    # What it was not shown it cannot even seal to.
    assert students.do("call GetPerson x", "reply")["err"] != 0
    assert provider.got("request") == []


def test_a_certificate_that_runs_out_is_read_again_and_the_work_goes_on(both):
    world, left = both.world, 12
    short_cert.shorten(world.dir / "tax/tls.crt", world.dir / "ca/intermediate.key", left)
    until = time.monotonic() + left
    provider, consumer = served(both)
    assert consumer.do("call GetPerson before", "reply")["body"] == "before"
    wait_until(lambda: any(r["code"] == "EHIS-3009" for r in world.records("--kind", "session-ended")), 30, "the end of the session by its certificate")
    assert time.monotonic() >= until - 1
    (world.dir / "tax/tls.crt").unlink()
    world.run("ehis-pki", "issue", "--ca", "ca", "--request", "tax/join.request", "--out", "tax/tls.crt", check=True)
    consumer.well("ready")
    assert consumer.do("call GetPerson after", "reply")["body"] == "after"
    assert [x["body"] for x in provider.got("request")] == ["before", "after"]


def test_without_a_provider_a_call_fails_at_once(both):
    consumer = both("tax")
    consumer.well("ready")
    assert consumer.do("call GetPerson x", "reply", 5)["name"] == "EXCHANGE_NO_SESSION"


def test_bodies_up_to_the_bound_pass_and_a_larger_answer_is_held_back_by_libehis(both):
    provider, consumer = served(both)
    assert consumer.do("call GetPerson big:60000", "reply")["bytes"] == 60000
    reply = consumer.do("call GetPerson big:70000", "reply")  # the request is taken, its echo is over the operation's 64 KiB
    assert (reply["fault"], reply["body"]) == (1, "too large")
    assert provider.got("unanswered")[0]["err"] == 6018
    reply = consumer.do("call GetPerson big:1048576", "reply")  # travels in chunks
    assert (reply["fault"], reply["body"]) == (1, "too large")


def test_a_rejected_message_does_not_hold_up_those_behind_it(both):
    provider, consumer = served(both)
    for text in ("one", "reject", "three"):
        consumer.well(f"send GetPerson {text}")
    consumer.well("flush final")
    wait_until(lambda: len(provider.got("request")) == 3)
    failed = [x for x in consumer.got("receipt") if x["state"] == FAILED]
    assert len(failed) == 1 and failed[0]["code"] == 6019 and failed[0]["signed"]


def test_a_killed_sender_keeps_its_promises_when_it_is_back(both):
    provider, consumer = served(both)
    both.world.kill_gateway()
    for i in range(10):
        consumer.well(f"send GetPerson n{i}")  # promised with no gateway at all
    consumer.kill()
    both.world.start_gateway()
    consumer = both("tax")
    consumer.well("ready")
    wait_until(lambda: len(provider.got("request")) == 10)
    assert [x["body"] for x in provider.got("request")] == [f"n{i}" for i in range(10)]


def test_a_gateway_that_stops_lets_answers_under_way_come(both):
    """SPEC 8.8"""
    provider, consumer = served(both)
    consumer.say("call GetPerson sleep:900")
    provider.wait(lambda x: x["event"] == "request")
    begun = time.monotonic()
    assert both.world.stop("gateway") == 0
    assert time.monotonic() - begun < 10
    assert consumer.wait(lambda x: x["event"] == "reply", 5)["err"] == 0


def test_calls_go_on_after_the_gateway_was_restarted(both):
    _, consumer = served(both)
    assert consumer.do("call GetPerson a", "reply")["err"] == 0
    both.world.kill_gateway()
    consumer.say("call GetPerson b")  # waits for a gateway, within its 30 s
    both.world.start_gateway()
    wait_until(lambda: len(consumer.got("reply")) == 2, 35)
    # The provider may not have been back yet: that is told, not waited for.
    assert consumer.got("reply")[1]["name"] in ("OK", "EXCHANGE_NO_SESSION")
    wait_until(lambda: consumer.do("call GetPerson c", "reply")["err"] == 0, 30)


def test_the_next_gateway_of_the_list_is_tried_and_names_are_resolved(both):
    world = both.world
    world.write_adapter_settings("tax", "AZ/GOV/STS/tax", gateways=f"['127.0.0.1:1', 'no-such-host.invalid:7400', 'localhost:{world.port}']")
    _, consumer = served(both)
    assert consumer.do("call GetPerson x", "reply")["err"] == 0


def test_receipts_of_before_the_gateways_new_key_count_under_it(both):
    """SPEC 5.5: what a gateway repeats it signs anew"""
    world, consumer = both.world, both("tax")
    consumer.well("ready")
    for i in range(3):
        consumer.well(f"send GetPerson n{i}")
    consumer.well("flush state")
    consumer.kill()
    world.stop("gateway")
    world.make_keys("gwb", "AZ/gw1", "--gateway")
    world.run("ehis-registry", "add", "gwb/join.request", "--as", "gateway", "--dir", "registry", check=True)
    world.publish_registry()
    settings = world.dir / "gateway.yaml"
    settings.write_text(settings.read_text().replace("gw/", "gwb/"))
    world.start_gateway()
    provider, consumer = served(both)
    wait_until(lambda: len(consumer.got("response")) == 3)
    status = consumer.do("status", "status")
    assert status["reconnects"] == 0 and status["last_error"] == 0, status


def test_another_state_folder_of_the_system_takes_over_the_streams_where_the_first_ended(both):
    world = both.world
    world.write_adapter_settings("second", "AZ/GOV/MIA/population", sign_key="population/sign.key", seal_keys="[population/seal.key]",
                                 tls="{chain: population/tls.crt, key: population/tls.key, ca: ca/ca.crt, crl: crl.pem}")
    first, consumer = served(both)
    second = both("second")
    second.well("ready")
    second.well("serve GetPerson")
    for text in ("one", "two", "hang"):
        consumer.well(f"send GetPerson {text}")
    first.wait(lambda x: x["event"] == "request" and x["body"] == "hang")
    assert second.got("request") == []
    assert second.do("status", "status")["streams"] == 0
    first.kill()
    again = second.wait(lambda x: x["event"] == "request")
    assert (again["body"], again["number"], again["repeated"]) == ("hang", 3, 1)
    assert second.do("status", "status")["streams"] == 1


def test_two_thousand_messages_sent_without_a_gateway_arrive_in_order(both):
    provider, consumer = served(both)
    both.world.kill_gateway()
    for i in range(2000):
        consumer.say(f"send GetPerson n{i}")
    wait_until(lambda: sum(x["verb"] == "send" for x in consumer.got("did")) == 2000, 60)
    consumer.kill()
    both.world.start_gateway()
    consumer = both("tax")
    wait_until(lambda: len(provider.got("request")) >= 2000, 90)
    wait_until(lambda: len(consumer.got("response")) >= 2000, 90)
    assert [x["number"] for x in provider.got("request")] == list(range(1, 2001))
    assert [x["body"] for x in consumer.got("response")] == [f"n{i}" for i in range(2000)]


def test_a_state_folder_is_not_used_twice(both):
    both("tax")
    second = Peer(both.world, "tax", is_opened=False)
    assert second.opened["name"] == "LOCKED"


def test_a_state_folder_of_another_system_is_refused(both):
    both("tax").quit()
    world = both.world
    world.write_adapter_settings("students", "AZ/GOV/MOE/students", state_dir="tax.state")
    second = Peer(world, "students", is_opened=False)
    assert second.opened["name"] == "STATE_FOREIGN"


def test_a_new_registry_and_lists_reach_live_sessions(both):
    provider, consumer = served(both)
    both.world.publish_registry()
    both.world.make_crl()
    both.world.running["gateway"].send_signal(signal.SIGHUP)
    wait_until(lambda: consumer.do("status", "status")["registry"] == 2, 10)
    assert consumer.do("call GetPerson after", "reply")["err"] == 0


def test_many_calls_at_once(both):
    provider, consumer = served(both)
    done = consumer.do("many 2000 GetPerson", "many", 60)
    assert done["failed"] == 0 and len(provider.got("request")) == 2000
