# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""The process and its surroundings: stopped in order, started twice, halted, its clock moved, without descriptors."""
import glob
import os
import pathlib
import resource
import signal
import socket
import time

from fake_clock import FakeClock, needs_faketime
from fault_load import Run
from test_kill import inject, needs_strace
from world import wait_until


@needs_strace
def test_a_gateway_behind_strace_ends_with_its_test(country, tmp_path):
    with Run(country, tmp_path) as run:
        run.start_gateway(*inject("fdatasync", "delay_enter=1"))
        pid = run.pid()
        assert pid != run.gateway.pid and pathlib.Path(f"/proc/{pid}").exists()
    wait_until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), 10, "its end")


def test_sigterm_makes_all_durable_and_ends_in_time(make_run, rounds):
    run = make_run(deadlines="{stop: 10s}")
    run.start_gateway()
    run.start_load(seconds=3600)
    for _ in range(2 * rounds):
        time.sleep(1)
        began = time.monotonic()
        assert run.stop_gateway() == 0, run.log()[-2000:]
        assert time.monotonic() - began < 10
        run.no_crash()
        run.start_gateway()
    done = run.finish()
    assert done["handed"] > 300, done
    assert sum(1 for r in run.journal_show() if r["kind"] == "stopped") == run.starts


def test_a_second_gateway_on_the_same_journal_is_refused(country, tmp_path, make_run):
    run = make_run()
    run.start_gateway()
    other = tmp_path / "other"
    other.mkdir()
    with Run(country, other, journal=run.journal) as second:
        assert second.launch().wait(30) != 0
        assert "EHIS-1008" in second.log(), second.log()
    run.start_load(seconds=1, rate=50)
    time.sleep(1.5)
    run.finish()


def test_a_halted_gateway_is_noticed_within_15_s(make_run):
    run = make_run()
    run.start_gateway()
    run.start_load(seconds=3600, rate=50)
    time.sleep(1)
    os.kill(run.pid(), signal.SIGSTOP)
    try:
        wait_until(lambda: sum(1 for w in run.lines() if w[1] == "E" and w[3] == "ping_timeout") >= 2 * run.country.pairs, 60, "the peers' notice")
        heard, ends = max(w[0] for w in run.lines() if w[1] == "H"), [w[0] for w in run.lines() if w[1] == "E"]
        assert 5_000_000 < min(ends) - heard and max(ends) - heard < 17_000_000
    finally:
        os.kill(run.pid(), signal.SIGCONT)
    time.sleep(1)
    run.finish()


def test_reloads_under_load_are_whole_or_not_at_all(country, make_run, tmp_path):
    """R9: good and broken reloads in turn; nobody's session or message suffers."""
    crls = tmp_path / "crl.pem"
    good = (country.dir / "crl.pem").read_bytes()
    crls.write_bytes(good)
    d = country.dir
    run = make_run(tls=f"{{chain: {d}/gw/tls.crt, key: {d}/gw/tls.key, ca: {d}/ca.crt, crls: [{crls}]}}")
    run.start_gateway()
    run.start_load(seconds=3600)
    wait_until(lambda: run.count("H") > 20, 20, "deliveries")
    for n in range(12):
        crls.write_bytes(good[:len(good) // 2] if n % 2 else good)
        os.kill(run.pid(), signal.SIGHUP)
        wait_until(lambda n=n: sum(run.ask()["reloads"].values()) == n + 1, 10, "the reload")
    crls.write_bytes(good)
    reloads = run.ask()["reloads"]
    assert reloads["done"] == 6 and reloads["refused"] == 6, reloads
    before = run.count("H")
    wait_until(lambda: run.count("H") > before + 100, 10, "deliveries after the reloads")
    assert run.count("E") == 0, "a reload ended a session"
    run.finish()
    kinds = [r["kind"] for r in run.journal_show()]
    assert kinds.count("reloaded") == 6 and kinds.count("reload-failed") == 6


def cpu_s(pid):
    return sum(int((pathlib.Path(t) / "schedstat").read_text().split()[0]) for t in glob.glob(f"/proc/{pid}/task/*")) / 1e9


def test_without_descriptors_live_sessions_go_on_and_nothing_spins(make_run):
    run = make_run()
    run.start_gateway()
    run.start_load(seconds=3600, rate=20, calls=0)
    wait_until(lambda: run.count("H") > 20, 20, "deliveries")
    pid = run.pid()
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")) + 3, before[1]))
    crowd = []
    for _ in range(40):
        crowd.append(socket.create_connection(("127.0.0.1", run.port)))
    admin = socket.socket(socket.AF_UNIX)
    admin.settimeout(1)
    admin.connect(str(run.dir / "admin.sock"))
    time.sleep(0.5)
    handed, cpu = run.count("H"), cpu_s(pid)
    time.sleep(3)
    used = cpu_s(pid) - cpu
    assert run.count("H") > handed + 60, "the live sessions stood still"
    assert used < 1.5, f"{used:.1f} s of CPU in 3 s"
    for s in [*crowd, admin]:
        s.close()
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    wait_until(lambda: run.ask() is not None, 10, "the status again")
    assert "listener.pause" in run.log()
    run.finish()


@needs_faketime
def test_a_clock_that_jumps_refuses_and_heals(make_run, tmp_path, chance):
    """An hour ahead, what was made now has expired; an hour back, it is from the future, and so are the certificates. No jump hangs or confuses it."""
    run = make_run()
    clock = FakeClock(tmp_path)
    run.start_gateway(env=clock.env)
    run.start_load(seconds=3600, rate=100, calls=1)
    for jump in (3600, 0, -3600, 0, -3600, 3600, 0):
        time.sleep(chance.uniform(0.8, 2))
        clock.set(jump)
        wait_until(lambda: run.ask() is not None, 60, f"an answer at {jump:+d} s")  # a loaded machine is slow; a gateway that stands is told by its peers, below
    before = run.count("H")
    wait_until(lambda: run.count("H") > before + 50, 60, "deliveries after the clock came back")
    stood = [w for w in run.lines() if w[1] == "E" and "timeout" in w[3]]
    assert not stood, f"deadlines are of the clock that does not jump: {stood[:3]}"
    done = run.finish(may_expire=True)
    assert done["handed"] > 100, done
