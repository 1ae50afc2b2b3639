# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""The short form of jepsen.py, and proof that its checker sees what it must: logs of a clean run, doctored in one place each."""
import json
import pathlib
import shutil
import subprocess
import sys

import checker
import jepsen
import pytest
import kafka_cluster
from conftest import SEED


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path, events):
    path.write_text("".join(json.dumps(e) + "\n" for e in events))


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """The folder of a run with a few blows, which kept every promise."""
    folder = tmp_path_factory.mktemp("jepsen")
    v = jepsen.run(folder, rounds=4, seed=SEED)
    assert not v.broken, "\n".join([f"EHIS_FAULT_SEED={SEED}", *v.broken[:20]])
    assert v.counts["handed"] > 100 and v.counts["ok"] > 10 and v.counts["responses"] > 100, v.counts
    return folder


def test_applications_see_every_promise_kept_through_kills_and_stops(clean):
    assert checker.judge_folder(clean).broken == []


def streamed(events, at=3):
    """The place of a message of a stream that was handed over, accepted for good, and not the last."""
    places = [n for n, e in enumerate(events) if e["e"] == "handed" and e["stream"] and e["id"] % checker.REJECT_EVERY]
    return places[at]


def lose_a_message(events):
    del events[streamed(events)]


def hand_over_twice(events):
    n = streamed(events)
    events.insert(n + 1, dict(events[n], t=events[n]["t"] + 1))


def hand_over_twice_marked(events):
    n = streamed(events)
    events.insert(n + 1, dict(events[n], repeated=1))


def swap_two(events):
    a = streamed(events)
    b = next(n for n, e in enumerate(events) if n > a and e["e"] == "handed" and e["stream"] == events[a]["stream"] and e["id"] % checker.REJECT_EVERY)
    events[a], events[b] = events[b], events[a]


def invent_a_message(events):
    n = streamed(events)
    events.append(dict(events[n], id=10 ** 6, number=10 ** 6, digest="00" * 32))


def change_a_body(events):
    events[streamed(events)]["bytes"] += 1


def change_the_sender(events):
    events[streamed(events)]["sender"] = "AZ/GOV/ASK/c" if events[streamed(events)]["name"] != "c" else "AZ/GOV/ASK/a"


def carry_out_twice(events):
    n = next(n for n, e in enumerate(events) if e["e"] == "handed" and not e["stream"])
    events.insert(n + 1, events[n])


@pytest.mark.parametrize("who, harm, promise", [
    ("p", lose_a_message, "R1"), ("q", lose_a_message, "R1"), ("p", hand_over_twice, "R2"), ("q", hand_over_twice, "R2"), ("p", hand_over_twice_marked, "R2"),
    ("q", hand_over_twice_marked, "R2"), ("p", swap_two, "R2"), ("q", swap_two, "R2"), ("q", invent_a_message, "nobody sent"), ("p", change_a_body, "not the bytes"),
    ("p", change_the_sender, "nobody sent"), ("q", carry_out_twice, "carried out twice")])
def test_the_checker_sees_what_a_provider_was_given_wrongly(clean, tmp_path, who, harm, promise):
    folder = shutil.copytree(clean, tmp_path / "land", ignore=shutil.ignore_patterns("*.journal", "*.state", "*.run"))
    events = lines(folder / f"{who}.events")
    harm(events)
    write(folder / f"{who}.events", events)
    assert any(promise in b for b in checker.judge_folder(folder).broken)


def drop(events, true):
    n = next(n for n, e in enumerate(events) if true(e))
    return events[:n] + events[n + 1:]


def of_a_receipt(folder, state):
    return next(e for e in lines(folder / "a.events") if e["e"] == "receipt" and e["state"] == state)


def drop_record(kind, promise):
    def harm(folder):
        digest = of_a_receipt(folder, 3)["digest"]
        records = [r for r in lines(folder / "gw1.records") if not (r["kind"] == kind and r.get("digest") == digest)]
        for n, r in enumerate(records, 1):
            r["sequence"] = n
        write(folder / "gw1.records", records)
    harm.promise, harm.__name__ = promise, f"without_its_record_{kind}"
    return harm


def drop_any_record(folder):
    write(folder / "gw1.records", lines(folder / "gw1.records")[:10] + lines(folder / "gw1.records")[11:])


def an_answer_of_anothers(folder):
    events = lines(folder / "a.events")
    next(e for e in events if e["e"] == "ok")["name"] = "b"
    write(folder / "a.events", events)


def two_ends(folder):
    events, r = lines(folder / "a.events"), of_a_receipt(folder, 3)
    write(folder / "a.events", [*events[:-1], dict(r, state=6), events[-1]])


def an_answer_lost(folder):
    events = lines(folder / "a.events")
    provider = {e["id"] for e in lines(folder / "q.events") if e["e"] == "handed" and e["name"] == "a"}
    write(folder / "a.events", drop(events, lambda e: e["e"] == "response" and e["id"] in provider))


def an_unsigned_end(folder):
    events = lines(folder / "a.events")
    next(e for e in events if e["e"] == "receipt" and e["state"] == 3)["signed"] = 0
    write(folder / "a.events", events)


def not_all_final(folder):
    events = lines(folder / "a.events")
    next(e for e in reversed(events) if e["e"] == "flushed")["code"] = 1
    write(folder / "a.events", events)


def a_journal_that_does_not_verify(folder):
    land = json.loads((folder / "land.json").read_text())
    land["gateways"][0]["is_verified"] = False
    (folder / "land.json").write_text(json.dumps(land))


def accepted_and_lost(folder):
    """Neither kept as far as its sender knew nor handed over: only the journal knows of it."""
    records = lines(folder / "gw1.records")
    r = dict(next(r for r in records if r["kind"] == "accepted" and r["sender"] == "AZ/GOV/ASK/a" and r.get("stream")), digest="11" * 32, sequence=len(records) + 1)
    write(folder / "gw1.records", [*records, r])


for harm, promise in ((drop_any_record, "R7"), (an_answer_of_anothers, "another's answer"), (two_ends, "two ends"), (an_answer_lost, "R1"), (an_unsigned_end, "R4"),
                      (not_all_final, "R1"), (a_journal_that_does_not_verify, "R7"), (accepted_and_lost, "R1")):
    harm.promise = promise


@pytest.mark.parametrize("harm", [drop_record("accepted", "R3"), drop_record("delivered", "R3"), drop_any_record, an_answer_of_anothers, two_ends, an_answer_lost,
                                  an_unsigned_end, not_all_final, a_journal_that_does_not_verify, accepted_and_lost], ids=lambda h: h.__name__)
def test_the_checker_sees_what_askers_and_journals_say_wrongly(clean, tmp_path, harm):
    folder = shutil.copytree(clean, tmp_path / "land", ignore=shutil.ignore_patterns("*.journal", "*.state", "*.run"))
    harm(folder)
    assert any(harm.promise in b for b in checker.judge_folder(folder).broken)


def test_gateways_over_kafka_keep_every_promise_through_kills_stops_and_partitions(tmp_path):
    """The real thing: three gateways, a broker, all their blows; in a process of its own for the sake of its network."""
    kafka_cluster.need()
    done = subprocess.run([sys.executable, "-B", pathlib.Path(jepsen.__file__), "--bus", "kafka", "--gateways", "3", "--rounds", "15", "--seed", str(SEED), "--folder", tmp_path / "j"],
                          capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-4000:]
    counts = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert counts["handed"] > 500 and counts["ok"] > 50 and counts["responses"] > 500, counts
