# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""What a connection may cost (SPEC 14): measured as resident memory of the release build, EHIS_RELEASE_BIN. With sanitizers the numbers
would mean nothing."""
import os
import pathlib
import resource
import socket
import struct
import time

import pytest

pytest.importorskip("cryptography")
import world as world_module
from arena import Arena, rss_bytes
from ehis_peer import Peer, seed_of, tls_context
from world import ROOT, World

RELEASE = pathlib.Path(os.environ.get("EHIS_RELEASE_BIN", ROOT / "build/release/bin"))
KIB = 1024
MANY = "{sessions_per_system: 1024, sessions_max: 4000, half_open_max: 4000, half_open_per_source: 4000}"
PATIENT = "{handshake: 60s, first_frame: 60s, frame: 60s, ping_every: 60s, ping_timeout: 120s}"


@pytest.fixture
def roomy(tmp_path, monkeypatch, record_property):
    if not (RELEASE / "ehis-gateway").exists():
        pytest.skip(f"no release build in {RELEASE}")
    monkeypatch.setattr(world_module, "BIN", RELEASE)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    with World(tmp_path / "az") as w:
        w.write_gateway_settings(limits=MANY, deadlines=PATIENT)
        w.start_gateway()
        w.record = record_property
        yield w
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def cost(world, count, open_one, what):
    """Bytes a connection; some come and go first, so that what the first ones make once is not counted."""
    pid = world.running["gateway"].pid
    for c in [open_one() for _ in range(20)]:
        c.close()
    time.sleep(1)
    before = rss_bytes(pid)
    held = [open_one() for _ in range(count)]
    time.sleep(1)
    each = (rss_bytes(pid) - before) / count
    world.record(what, round(each))
    print(f"{what}: {each / KIB:.1f} KiB each, {count} at once")
    return each, held


def test_a_thousand_idle_sessions_cost_40_kib_each_at_most(roomy):
    context, seed = tls_context(roomy.dir / "tax/tls.crt", roomy.dir / "tax/tls.key", roomy.dir / "ca/ca.crt"), seed_of(roomy.dir / "tax/sign.key")
    each, held = cost(roomy, 1000, lambda: Peer(roomy.port, "AZ/GOV/STS/tax", context, seed).ready(stream_window=16), "idle session")
    assert roomy.status()["sessions"]["ready"] == 1000
    assert each <= 40 * KIB
    assert held[0].is_served() and held[999].is_served()
    Arena(roomy).check_served()


def before_tls(world, _):
    """A ClientHello that never ends."""
    s = socket.create_connection(("127.0.0.1", world.port), 10)
    s.sendall(b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03" + os.urandom(16000))
    return s


def before_hello(world, context):
    """The handshake is done, and most of the largest first frame has come."""
    p = Peer(world.port, "AZ/GOV/STS/tax", context)
    p.send_bytes(struct.pack(">IB", 4096, 1) + os.urandom(4090))
    return p


@pytest.mark.parametrize("what,open_one", ids=["client-hello", "hello"], argvalues=[("half a ClientHello", before_tls), ("handshake and most of a HELLO", before_hello)])
def test_a_connection_that_has_not_said_who_it_is_costs_96_kib_at_most(roomy, what, open_one):
    context = tls_context(roomy.dir / "tax/tls.crt", roomy.dir / "tax/tls.key", roomy.dir / "ca/ca.crt")
    each, held = cost(roomy, 500, lambda: open_one(roomy, context), what)
    assert roomy.status()["sessions"]["half_open"] == 500, roomy.status()["sessions"]
    assert each <= 96 * KIB
    Arena(roomy).check_served()
    for c in held:
        c.close()


def test_hostile_frames_leave_no_memory_behind(roomy):
    """200 sessions that each send 1 MiB of what is no envelope: what was taken is given back."""
    context, seed = tls_context(roomy.dir / "tax/tls.crt", roomy.dir / "tax/tls.key", roomy.dir / "ca/ca.crt"), seed_of(roomy.dir / "tax/sign.key")
    pid = roomy.running["gateway"].pid

    def attack(n):
        for _ in range(n):
            p = Peer(roomy.port, "AZ/GOV/STS/tax", context, seed).ready()
            p.send_bytes(struct.pack(">IB", 1 << 20, 15) + b"\x0a" * ((1 << 20) - 1))
            assert 2000 < p.refusal() < 3000
    attack(20)
    before = rss_bytes(pid)
    attack(200)
    grown = rss_bytes(pid) - before
    roomy.record("after 200 hostile frames", grown)
    print(f"after 200 hostile frames: {grown / KIB:.0f} KiB more")
    assert grown < 4 * 1024 * KIB
    Arena(roomy).check_served()
