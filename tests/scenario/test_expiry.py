# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""The registry and the revocation lists run out under a gateway whose clock is moved on: nothing is taken or handed out, everybody is told
by what, and a newer registry or newer lists heal it; what waited is delivered (SPEC 8.4.3, 10.3)."""
import os
import signal
import time

import pytest

pytest.importorskip("cryptography")
pytest.importorskip("nacl")
import spec_peer  # noqa: E402
from fake_clock import FakeClock, needs_faketime  # noqa: E402
from spec_peer import ACCEPTED, DELIVERED, DONE, REQUEST, Ended, Peer, Registry, message  # noqa: E402
from world import BASIS, PURPOSE, SERVICE, SYSTEMS, TERMS, wait_until  # noqa: E402

POPULATION = SYSTEMS["population"]
TWO_DAYS, WEEK = 2 * 86400, 7 * 86400000


class Ageing:
    """The country, a clock that moves its gateway and its peers together, and peers."""

    def __init__(self, world, folder, monkeypatch):
        self.world, self.clock, self.ahead, self.peers = world, FakeClock(folder), 0, []
        monkeypatch.setattr(spec_peer, "now_ms", lambda: int((time.time() + self.ahead) * 1000))

    def start(self):
        self.world.start_gateway(env=self.clock.env)

    def pass_days(self):
        self.ahead = TWO_DAYS
        self.clock.set(TWO_DAYS)

    def peer(self, name):
        p = Peer(self.world, name, SYSTEMS[name], self.world.operator_key).connect()
        self.peers.append(p)
        return p

    def sighup(self):
        before = self.world.status()["reloads"]["done"]
        self.world.running["gateway"].send_signal(signal.SIGHUP)
        wait_until(lambda: self.world.status()["reloads"]["done"] > before, 10, "the reload")


@pytest.fixture
def ageing(land, tmp_path, monkeypatch):
    a = Ageing(land, tmp_path, monkeypatch)
    yield a
    for p in a.peers:
        p.close()


def request(p, stream, number):
    fields = p.header(REQUEST, SERVICE, "GetPerson", purpose=PURPOSE, legal_basis=BASIS, stream=stream, number=number, lifetime=WEEK)
    return p.seal(fields, POPULATION, b"%d" % number)


def get_ready(p, code):
    p.send("READY", message({1: 8, 2: 8, 3: 1 << 20}))
    assert p.want("READY_STATE").number(1) == code


def is_refused_all(p, stream, waiting, code):
    """Whatever it asks for; and a gateway sees within a second that its lists are out of date."""
    wait_until(lambda: p.open_stream(os.urandom(16), POPULATION)[1] == code, 10, f"{code}")
    p.send("SUBSCRIBE", message({1: SERVICE, 2: "PersonChanged"}))
    assert p.want("SUBSCRIPTION").number(3) == code
    p.send("KEYS_GET", message({1: SERVICE, 2: "PersonChanged", 3: os.urandom(16)}))
    assert p.want("READY_STATE").number(1) == code
    d = p.submit(*waiting)
    flow = p.want("FLOW")
    assert (flow.bytes(1), flow.number(2)) == (d, code) and flow.number(3) > 0
    get_ready(p, code)
    return d


@needs_faketime
def test_past_its_registry_a_gateway_refuses_and_a_newer_one_heals(ageing):
    w = ageing.world
    (w.dir / "registry/registry.yaml").write_text(TERMS.replace("{days: 30, grace_hours: 72}", "{days: 1, grace_hours: 1}"))
    w.publish_registry()
    ageing.start()
    tax, stream = ageing.peer("tax").ready(), os.urandom(16)
    assert tax.open_stream(stream, POPULATION) == (1, 0)
    first = tax.submit(*request(tax, stream, 1))
    assert tax.receipt(first)[:2] == (ACCEPTED, 0)
    second = request(tax, stream, 2)
    ageing.pass_days()
    is_refused_all(tax, stream, second, 4006)
    population = ageing.peer("population")  # it may come in, and do nothing but fetch
    population.hello()
    population.send("REGISTRY_GET")
    population.next("REGISTRY")
    get_ready(population, 4006)
    assert w.status()["exchange"]["delivered"] == 0
    (w.dir / "registry/registry.yaml").write_text(TERMS)
    w.publish_registry()
    ageing.sighup()
    population.registry = Registry(population.next("REGISTRY")[1], population.operator_key)
    get_ready(population, 0)
    tax.registry = Registry(tax.next("REGISTRY")[1], tax.operator_key)
    get_ready(tax, 0)
    number, _, body, d, _ = population.delivery()
    assert (d, body) == (first, b"1")
    population.ack((number, d, DONE))
    assert tax.receipt(first, DELIVERED)[1] == 0
    assert tax.receipt(tax.submit(*second))[:2] == (ACCEPTED, 0)


@needs_faketime
def test_past_its_lists_a_gateway_refuses_and_newer_ones_heal(ageing):
    w = ageing.world
    w.run("ehis-pki", "crl", "--ca", "ca", "--out", "crl.pem", "--days", "1", check=True)
    ageing.start()
    tax, population, stream = ageing.peer("tax").ready(), ageing.peer("population").ready(), os.urandom(16)
    assert tax.open_stream(stream, POPULATION) == (1, 0)
    first = tax.submit(*request(tax, stream, 1))
    assert tax.receipt(first)[:2] == (ACCEPTED, 0)
    number, _, _, d, _ = population.delivery()
    second = request(tax, stream, 2)
    ageing.pass_days()
    is_refused_all(tax, stream, second, 5205)
    population.ack((number, d, DONE))
    assert population.want("READY_STATE").number(1) == 5205
    with pytest.raises((Ended, OSError)):
        ageing.peer("students").hello()
    assert wait_until(lambda: [line for line in w.log_lines("gateway", "session.end") if line["code"] == "EHIS-3041"], 5, "its record")
    done = w.call("tax", "GetPerson", {"pin": "5ABC123"}, "--timeout", "3s")
    assert done.returncode != 0 and "EHIS-2079" in done.stderr and "certificate expired" not in done.stderr, done
    assert w.status()["exchange"]["delivered"] == 0
    w.make_crl()
    ageing.sighup()
    get_ready(population, 0)
    get_ready(tax, 0)
    number, _, _, d, frame = population.delivery()
    assert d == first and frame.number(4) == 2
    population.ack((number, d, DONE))
    assert tax.receipt(first, DELIVERED)[1] == 0
    assert tax.receipt(tax.submit(*second))[:2] == (ACCEPTED, 0)
