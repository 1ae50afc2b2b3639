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
from fault_load import SEED


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
    assert v.counts["handed"] > 100 and v.counts["ok"] > 10 and v.counts["responses"] > 100 and v.counts["events"] > 50 and v.counts["large"] > 0, v.counts
    return folder


def test_applications_see_every_promise_kept_through_kills_and_stops(clean):
    assert checker.judge_folder(clean).broken == []


def streamed(events, at=3, what="handed"):
    """The place of a message of a stream that was handed over, accepted for good, and not the last."""
    places = [n for n, e in enumerate(events) if e["e"] == what and e["stream"] and e["id"] % checker.REJECT_EVERY]
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


def lose_an_event(events):
    del events[streamed(events, what="event")]


def lose_the_last_event(events):
    del events[streamed(events, -1, what="event")]


def name_an_event_as_a_gap(events):
    """Which no topic that was deleted explains."""
    n = streamed(events, what="event")
    events[n] = dict({k: events[n][k] for k in ("t", "run", "sender", "stream", "number")}, e="passed", state=0)


def hand_over_an_event_twice(events):
    n = streamed(events, what="event")
    events.insert(n + 1, dict(events[n], t=events[n]["t"] + 1))


def swap_two_events(events):
    a = streamed(events, what="event")
    b = next(n for n, e in enumerate(events) if n > a and e["e"] == "event" and e["stream"] == events[a]["stream"] and e["id"] % checker.REJECT_EVERY)
    events[a], events[b] = events[b], events[a]


def invent_an_event(events):
    n = streamed(events, what="event")
    events.append(dict(events[n], id=10 ** 6, number=10 ** 6, digest="00" * 32))


@pytest.mark.parametrize("who, harm, promise", [
    ("p", lose_an_event, "R1"), ("q", lose_an_event, "R1"), ("q", lose_the_last_event, "R1"), ("q", name_an_event_as_a_gap, "R1"),
    ("p", hand_over_an_event_twice, "R2"), ("q", hand_over_an_event_twice, "R2"), ("q", swap_two_events, "R2"), ("p", invent_an_event, "nobody sent"),
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


def accepted_and_lost(folder, message="request"):
    """Neither kept as far as its sender knew nor handed over: only the journal knows of it."""
    records = lines(folder / "gw1.records")
    r = dict(next(r for r in records if r["kind"] == "accepted" and r["sender"] == "AZ/GOV/ASK/a" and r.get("stream") and r["message"] == message), digest="11" * 32, sequence=len(records) + 1)
    write(folder / "gw1.records", [*records, r])


def an_event_accepted_and_lost(folder):
    accepted_and_lost(folder, "event")


def change_large_bodies(folder):
    for who in "pq":
        events = lines(folder / f"{who}.events")
        for e in events:
            e["sum"] = e.get("sum", 0) ^ (e["e"] == "handed" and e["bytes"] > 262144)
        write(folder / f"{who}.events", events)


def an_event_for_who_may_not(folder):
    """q may not have those of c."""
    e = next(e for e in lines(folder / "p.events") if e["e"] == "event" and e["name"] == "c")
    write(folder / "q.events", [e, *lines(folder / "q.events")])


def an_event_without_a_receipt(folder):
    events = lines(folder / "a.events")
    published = {e["id"] for e in events if e["e"] == "invoke" and e["what"] == "publish"}
    exchange = next(e["exchange"] for e in events if e["e"] == "kept" and e["id"] in published and e["exchange"].strip("0"))
    write(folder / "a.events", [e for e in events if e["e"] != "receipt" or e["exchange"] != exchange])


def a_delivery_of_an_event_without_its_record(folder):
    """To one of its two subscribers."""
    digest = next(e["digest"] for e in lines(folder / "q.events") if e["e"] == "event" and e["id"] % checker.REJECT_EVERY)
    records = [r for r in lines(folder / "gw1.records") if (r["kind"], r.get("digest"), r.get("system")) != ("delivered", digest, "AZ/GOV/PRO/q")]
    for n, r in enumerate(records, 1):
        r["sequence"] = n
    write(folder / "gw1.records", records)


def a_gap_in_what_was_published_after_the_topic_went(folder):
    a_gap_by_a_topic_that_went(folder, -1)


def a_gap_by_a_topic_that_went(folder, after=1):
    """Of an event that was published before, or after, the topic was deleted."""
    events = lines(folder / "q.events")
    n = streamed(events, what="event")
    e = events[n]
    events[n] = dict({k: e[k] for k in ("t", "run", "sender", "stream", "number")}, e="passed", state=0)
    write(folder / "q.events", events)
    sent = next(x for x in lines(folder / f"{e['name']}.events") if x["e"] == "invoke" and x["id"] == e["id"])
    land = json.loads((folder / "land.json").read_text())
    land["deleted"][e["name"]] = sent["t"] + after
    (folder / "land.json").write_text(json.dumps(land))


def a_loss_by_a_topic_that_went_without_a_gap(folder):
    a_gap_by_a_topic_that_went(folder)
    write(folder / "q.events", [e for e in lines(folder / "q.events") if e["e"] != "passed"])


for harm, promise in ((change_large_bodies, "not the bytes"), (an_event_for_who_may_not, "nobody sent"), (an_event_without_a_receipt, "R4"),
                      (a_delivery_of_an_event_without_its_record, "R3"), (a_gap_in_what_was_published_after_the_topic_went, "R1"),
                      (a_loss_by_a_topic_that_went_without_a_gap, "no gap names it"), (drop_any_record, "R7"), (an_answer_of_anothers, "another's answer"), (two_ends, "two ends"), (an_answer_lost, "R1"), (an_unsigned_end, "R4"),
                      (not_all_final, "R1"), (a_journal_that_does_not_verify, "R7"), (accepted_and_lost, "R1"), (an_event_accepted_and_lost, "R1")):
    harm.promise = promise


@pytest.mark.parametrize("harm", [drop_record("accepted", "R3"), drop_record("delivered", "R3"), drop_any_record, an_answer_of_anothers, two_ends, an_answer_lost,
                                  an_unsigned_end, not_all_final, a_journal_that_does_not_verify, accepted_and_lost, an_event_accepted_and_lost, change_large_bodies, an_event_for_who_may_not, an_event_without_a_receipt,
                                  a_delivery_of_an_event_without_its_record, a_gap_in_what_was_published_after_the_topic_went,
                                  a_loss_by_a_topic_that_went_without_a_gap], ids=lambda h: h.__name__)
def test_the_checker_sees_what_askers_and_journals_say_wrongly(clean, tmp_path, harm):
    folder = shutil.copytree(clean, tmp_path / "land", ignore=shutil.ignore_patterns("*.journal", "*.state", "*.run"))
    harm(folder)
    assert any(harm.promise in b for b in checker.judge_folder(folder).broken)


def test_the_checker_takes_a_gap_that_a_deleted_topic_explains(clean, tmp_path):
    folder = shutil.copytree(clean, tmp_path / "land", ignore=shutil.ignore_patterns("*.journal", "*.state", "*.run"))
    a_gap_by_a_topic_that_went(folder)
    v = checker.judge_folder(folder)
    assert v.broken == [] and v.counts["gaps"] == 1


def test_gateways_over_kafka_keep_every_promise_through_kills_stops_and_partitions(tmp_path):
    """The real thing: three gateways, a broker, all their blows; in a process of its own for the sake of its network."""
    kafka_cluster.need()
    done = subprocess.run([sys.executable, "-B", pathlib.Path(jepsen.__file__), "--bus", "kafka", "--gateways", "3", "--rounds", "15", "--seed", str(SEED), "--folder", tmp_path / "j"],
                          capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-4000:]
    counts = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert counts["handed"] > 500 and counts["ok"] > 50 and counts["responses"] > 500 and counts["events"] > 200 and counts["large"] > 0, counts
