# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""R1, R3, R4: the gateway is killed, wherever it happens to be; what it said stays true."""
import collections
import shutil
import subprocess
import time

import pytest
from world import wait_until

TINY = {"segment_bytes": "1MiB", "segments_max": 6, "group_max_bytes": "128KiB"}


def inject(call, fault):
    """The words before a program that make strace do this to a system call of it; only that call stops it."""
    quick = [] if "signal" in fault else ["--seccomp-bpf"]  # with which it injects no signals
    return ["strace", "-f", "-qq", *quick, "-e", f"trace={call}", "-e", "signal=none", "-o", "/dev/null", "-e", f"inject={call}:{fault}"]


def can_trace():
    return shutil.which("strace") and subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0


needs_strace = pytest.mark.skipif(not can_trace(), reason="strace is not here, or may not trace")


def wait_for_end(process, seconds):
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def test_what_was_accepted_survives_a_kill_at_any_moment(make_run, chance, rounds):
    run = make_run()
    run.start_gateway()
    run.start_load(seconds=3600)
    for _ in range(6 * rounds):
        time.sleep(chance.uniform(0.05, 1.2))
        run.kill_gateway()
        run.start_gateway()
    time.sleep(1)
    done = run.finish()
    assert done["handed"] > 500 and done["answered"] > 20, done


def test_segments_roll_and_are_archived_whole_through_kills(make_run, chance, rounds):
    run = make_run(journal_settings={"segment_bytes": "1MiB", "segments_max": 4, "group_max_bytes": "256KiB"})
    run.start_gateway()
    run.start_load(seconds=3600, body=2048, window=64, calls=0, rate=300)  # no calls: their answers are kept until they expire
    for _ in range(6 * rounds):
        time.sleep(chance.uniform(0.2, 2))
        run.kill_gateway()
        verified = run.journal_verify()
        assert verified.returncode == 0, verified.stdout + verified.stderr
        run.start_gateway()
    wait_until(lambda: run.ask()["journal"]["first_segment"] > 4, 20, "the fourth segment, archived")
    done = run.finish()
    assert done["handed"] > 500, done
    assert any(r["is_archived"] for r in run.journal_show())


@needs_strace
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync", "renameat", "ftruncate", "sendto", "fsync"])
def test_a_kill_at_the_nth_call(call, make_run, chance, rounds):
    """Before the n-th write, sync, rename, ...: also during the start and the recovery."""
    run = make_run(journal_settings=TINY)
    run.start_load(seconds=3600, body=1024, calls=1)
    run.start_gateway()
    most = {"renameat": 5, "ftruncate": 4, "fsync": 5, "sendto": 200}.get(call, 100)
    died = 0
    for _ in range(3 * rounds):
        run.kill_gateway()
        n = chance.randint(1, most)
        process = run.launch(*inject(call, f"signal=SIGKILL:when={n}"))
        died += wait_for_end(process, 30) is not None
        if process.poll() is None:
            run.kill_traced()
        run.start_gateway()
        time.sleep(chance.uniform(0, 0.5))
    run.finish()
    assert died, f"{call} was never reached: the test proves nothing"


@needs_strace
def test_nothing_is_answered_or_forwarded_before_it_is_durable(make_run):
    """R3, by time: each fdatasync takes 300 ms, so receipts, refusals and deliveries come at least so long after what caused them."""
    run = make_run()
    run.start_gateway(*inject("fdatasync", "delay_enter=300000"))
    run.start_load(seconds=3, rate=40, calls=1)
    time.sleep(5)
    done = run.finish()
    assert done["handed"] > 20, done
    sent, seen = {}, collections.Counter()
    for w in run.lines():
        if w[1] in "SQ":
            sent[w[3]] = w[0]
        elif w[1] in "HVR" and w[3] in sent:
            seen[w[1] if w[1] != "R" else w[4]] += 1
            assert w[0] - sent[w[3]] >= 300000, f"{(w[0] - sent[w[3]]) // 1000} ms after it was sent: {w}"
    assert seen["H"] and seen["V"] and seen["accepted"] and seen["delivered"], seen
