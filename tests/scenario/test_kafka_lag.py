# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""A recipient that was away for long, over a real broker: what waited comes in order, in bounded memory, and a call beside it passes by. Measured with the release
build, EHIS_RELEASE_BIN, where there is one: with sanitizers it is long, and memory says nothing."""
import itertools
import os
import pathlib
import signal
import time

import pytest
import test_sdk
import world as world_module
from test_gateways import requests
from test_kafka_bus import pair  # noqa: F401
from test_large import MIB, high_water
from world import ROOT, wait_until

RELEASE = pathlib.Path(os.environ.get("EHIS_RELEASE_BIN", ROOT / "build/release/bin"))
BACKLOG = 10000


@pytest.fixture
def fast(monkeypatch):
    if not (RELEASE / "ehis-gateway").exists():
        pytest.skip(f"no release build in {RELEASE}")
    monkeypatch.setattr(world_module, "BIN", RELEASE)
    if (RELEASE.parent / "tests/sdk_peer").exists():
        monkeypatch.setattr(test_sdk, "PEER", RELEASE.parent / "tests/sdk_peer")


def test_ten_thousand_that_waited_come_in_order_in_bounded_memory_and_calls_pass_by(fast, pair):  # noqa: F811
    """The recipient's gateway is killed while it hands over."""
    for name, port in (("population", pair.port), ("tax", pair.world.port)):
        pair.world.write_adapter_settings(name, world_module.SYSTEMS[name], gateways=f"['127.0.0.1:{port}']")
    pair.start(1), pair.start(2)
    consumer = pair.peer("tax")
    pair.ready(consumer, 1)
    began = time.monotonic()
    for i in range(BACKLOG):
        consumer.say(f"send GetPerson n{i}")
    wait_until(lambda: sum(x["event"] == "did" and x["err"] == 0 for x in list(consumer.lines)) >= BACKLOG, 120, "all promised")
    wait_until(lambda: pair.status(1)["bus"]["waiting"] + pair.status(1)["bus"]["in_flight"] == 0, 60, "all at the broker")
    waited = time.monotonic() - began
    before = {n: high_water(pair.world.running[n].pid) for n in ("gateway", "gateway2")}
    provider, began = pair.peer("population"), time.monotonic()
    provider.well("serve GetPerson")
    wait_until(lambda: len(provider.lines) > 1000, 60, "the first of it")
    took, held = [], []
    for n in itertools.count():
        at = time.monotonic()
        wait_until(lambda n=n: consumer.do(f"call GetPerson c{n}", "reply")["err"] == 0, 30, "an answer")
        took.append(time.monotonic() - at)
        handed = len(provider.got("request"))
        held.append(pair.status(2)["bus"]["held"])
        if n == 1:
            killed_at, peak = handed, high_water(pair.world.running["gateway2"].pid)
            pair.stop(2, signal.SIGKILL)
            pair.start(2)
        if n >= 4 and (handed > BACKLOG * 9 // 10 or n == 40):
            break
    wait_until(lambda: sum(b[0] == "n" for b in requests(provider)) >= BACKLOG, 150, "all of it")
    lasted = time.monotonic() - began
    after = {"gateway": high_water(pair.world.running["gateway"].pid), "gateway2": max(peak, high_water(pair.world.running["gateway2"].pid))}
    more = {n: (after[n] - before[n]) / MIB for n in after}
    print(f"{BACKLOG} messages stored in {waited:.0f} s, handed over in {lasted:.0f} s; {len(took)} calls beside them: {sorted(took)[len(took) // 2] * 1000:.0f} ms, longest "
          f"{max(took) * 1000:.0f} ms (a gateway was killed); memory + {more['gateway']:.0f} and {more['gateway2']:.0f} MiB; held at most {max(held)}")
    assert [b for b in requests(provider) if b[0] == "n"] == [f"n{i}" for i in range(BACKLOG)]
    assert killed_at < BACKLOG and len(took) >= 5 and max(held) <= 2048 + 64  # how soon a call passes by: test_bus_contract.py
    assert more["gateway2"] < 64
