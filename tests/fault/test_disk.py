# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""R1, R7, R11: the disk refuses, is full, or has been damaged."""
import subprocess
import time

import pytest
from test_kill import inject, needs_strace, wait_for_end
from world import wait_until


@needs_strace
@pytest.mark.parametrize("call,error", [("fdatasync", "EIO"), ("pwrite64", "EIO"), ("pwrite64", "ENOSPC")])
def test_a_failed_write_or_sync_stops_the_process_at_once(call, error, make_run, chance, rounds):
    run = make_run()
    run.start_load(seconds=3600, calls=1)
    run.start_gateway()
    for _ in range(2 * rounds):
        time.sleep(0.3)
        run.kill_gateway()
        process = run.launch(*inject(call, f"error={error}:when={chance.randint(8, 60)}"))
        code = wait_for_end(process, 5 if error == "ENOSPC" else 15)
        if code is None and error == "ENOSPC":  # it met the making of a spare segment: that waits for space
            run.kill_traced()
        else:
            assert code == 1, f"exit {code}\n{run.log()[-2000:]}"
            assert '"journal.failed"' in run.log()
        run.start_gateway()
    run.finish()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MiB of its own, and what to remove to have space again."""
    where = tmp_path / "disk"
    where.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "ehis-fault", where], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
    yield where
    subprocess.run(["umount", "-l", where], check=False)


def test_a_full_disk_makes_busy_and_heals(make_run, small_disk):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(12 << 20))
    run = make_run(journal=small_disk / "journal",
                   journal_settings={"segment_bytes": "1MiB", "segments_max": 64, "group_max_bytes": "128KiB", "reserve_bytes": "1MiB"})
    run.start_gateway()
    run.start_load(seconds=3600, body=3000, window=128, rate=400, calls=1)

    def is_full():
        lines = [w for w in run.lines() if w[1] in "FR"]
        return len(lines) > 50 and all(w[1] == "F" and w[4] in ("5050", "5053") for w in lines[-50:])
    wait_until(is_full, 90, "a full journal")
    assert run.gateway.poll() is None, run.log()[-3000:]

    def is_drained():
        status = run.ask()
        return status and sum(i["waiting"] for i in status["inboxes"]) == 0
    wait_until(is_drained, 20, "the end of what was accepted")
    before = run.ask()["exchange"]["accepted"]
    ballast.unlink()
    wait_until(lambda: run.ask()["exchange"]["accepted"] > before + 500, 30, "new work after space came back")
    done = run.finish()
    assert done["handed"] > 1000, done


def test_a_full_journal_finds_room_again_whatever_sessions_come_and_go(make_run):
    """Every segment is full of what nobody takes, and records of sessions keep coming: what carries old things ahead still has its place."""
    run = make_run(journal_settings={"segment_bytes": "1MiB", "segments_max": 4, "group_max_bytes": "64KiB"})
    run.start_gateway()
    senders = run.start_load(seconds=2, body=3000, window=1000, calls=0, drain=0, mode="senders")
    assert senders.wait(30) == 3  # nothing was delivered
    assert run.ask()["exchange"]["busy"] > 0
    churn = run.start_load(seconds=12, calls=0, mode="churn")
    churn.wait(30)
    stored = run.ask()["exchange"]["stored_messages"]
    time.sleep(1)
    at_rest = run.ask()["journal"]["last_segment"]
    time.sleep(2)
    assert run.ask()["journal"]["last_segment"] <= at_rest + 1, "what cannot be freed is carried round and round"
    assert run.stop_gateway() == 0
    run.start_gateway()
    assert run.ask()["exchange"]["stored_messages"] == stored
    receivers = run.start_load(seconds=20, rate=20, calls=0)
    wait_until(lambda: sum(i["waiting"] for i in run.ask()["inboxes"]) < 10, 20, "what waited, taken")
    receivers.wait(60)
    run.loads = [receivers]
    run.loads[0].args[4] = "0"
    assert run.stop_gateway() == 0
    run.no_crash()
    verified = run.journal_verify()
    assert verified.returncode == 0, verified.stderr
    show = run.journal_show()
    accepted = {r["digest"] for r in show if r["kind"] == "accepted"}
    ended = {r["digest"] for r in show if r["kind"] in ("delivered", "failed")}
    assert accepted == ended and len(accepted) > 200


def live_segments(run):
    return sorted(run.journal.glob("*.seg"))


@pytest.fixture
def stopped(make_run):
    """A journal of some groups, whose gateway has stopped in order."""
    run = make_run()
    run.start_gateway()
    run.start_load(seconds=1, rate=100)
    run.finish()
    return run


def written(path):
    """Where the zeros begin that a segment was pre-written with."""
    return len(path.read_bytes().rstrip(b"\0"))


def last_segment(run):
    return [p for p in live_segments(run) if written(p)][-1]


def damage(path, at, content=None):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(content if content is not None else bytes([byte[0] ^ 0x40]))


@pytest.mark.parametrize("how", ["flipped", "cut"])
def test_a_torn_last_frame_is_cut_off(how, stopped):
    run = stopped
    before = run.journal_show()
    path = last_segment(run)
    end = written(path)
    if how == "flipped":
        damage(path, end - 40)
    else:
        damage(path, end - 40, bytes(40))
    run.start_gateway()
    run.start_load(seconds=1, rate=100)
    time.sleep(1.5)
    run.stop_load()
    assert run.stop_gateway() == 0
    run.no_crash()
    assert run.journal_verify().returncode == 0
    after = run.journal_show()
    kept = len(before) - 1
    while kept and before[kept - 1] != after[kept - 1]:
        kept -= 1
    assert kept >= len(before) - 8, "more than the last group went"
    assert [r["sequence"] for r in after] == list(range(1, len(after) + 1))


def test_a_damaged_frame_before_whole_ones_is_not_started_over(stopped):
    run = stopped
    path = last_segment(run)
    damage(path, written(path) // 2)
    process = run.launch()
    assert process.wait(30) != 0
    assert "EHIS-5002" in run.log() and "offset" in run.log().split("EHIS-5002")[1], run.log()[-1500:]
    verified = run.journal_verify()
    assert verified.returncode == 5, f"exit {verified.returncode}: {verified.stdout}{verified.stderr}"
    assert "offset" in verified.stderr and "segment" in verified.stderr, verified.stderr
