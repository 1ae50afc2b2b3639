#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""Judges, in Jepsen's manner, what applications saw (jepsen_client.c's logs) against the journals that their gateways left. Pure.

    checker.py FOLDER            as jepsen.py leaves it: land.json, NAME.events, GATEWAY.records

Promises (DESIGN 6): R1 what was kept is handed over once and ends; R2 in order, repeats only after a crash and marked; R3 with records, R4 and
only receipts that are true; and nothing appears that nobody sent. All work being done: what is still under way counts as lost.
"""
import collections
import json
import pathlib
import sys

REJECT_EVERY, LARGE_EVERY, LARGE_AT = 29, 401, 40  # jepsen_client.c
STATES = {1: "accepted", 2: "replicated", 3: "delivered", 4: "failed", 5: "refused", 6: "expired"}
FINAL = {"delivered", "failed", "refused", "expired"}


class Verdict:
    def __init__(self):
        self.broken = []
        self.counts = collections.Counter()

    def must(self, true, what):
        if not true:
            self.broken.append(what)
        return true


def body_bytes(i, what):
    return 300000 + i * 7919 % 700000 if what == "send" and i % LARGE_EVERY == LARGE_AT else 64 + i * 37 % 1500


class Client:
    """One application's log. role: ask, serve, exact."""

    def __init__(self, name, system, role, events):
        self.name, self.system, self.role, self.events = name, system, role, events
        self.closed = {e["run"] for e in events if e["e"] == "close"}
        self.runs = [e["run"] for e in events if e["e"] == "open"]
        self.invoked, self.kept, self.failed, self.answered = {}, {}, {}, {}
        self.receipts, self.of_exchange = collections.defaultdict(list), collections.defaultdict(set)  # digest -> events; exchange -> states
        self.gaps = {(e["sender"], e["number"]) for e in events if e["e"] == "passed" and e["state"] == 0}

    def published(self):
        """Ids of events, in the order of their numbers from 1 on."""
        return sorted(i for i, e in self.invoked.items() if e["what"] == "publish" and i not in self.failed)

    def interrupted(self):
        """Of an application that keeps positions itself: what it had just stored when it died is not asked for again, and may stay unanswered. And
        what it had taken in that life: who died before its word was out is taken to have done it, even where it had rejected it."""
        last, taken = {}, set()
        for e in self.events:
            if e["e"] in ("handed", "event") and e["stream"] and self.role == "exact" and e["run"] not in self.closed:
                last[e["run"], e["stream"]] = e["digest"]
                taken.add(e["digest"])
        return set(last.values()), taken


def read_asker(v, c):
    for e in c.events:
        if e["e"] == "invoke":
            before = c.invoked.setdefault(e["id"], e)
            c.failed.pop(e["id"], None)  # by a former run
            v.must(before is e or e["what"] != "call" and (before["to"], before["run"] != e["run"]) == (e["to"], True), f"the test itself: {c.name} asks twice: {e}")
        elif e["e"] == "kept":
            c.kept.setdefault(e["id"], e["exchange"])
        elif e["e"] == "fail":
            if e["what"] == "call":
                v.must(e["id"] not in c.answered, f"R4: {c.name}: a call has two ends: {e}")
                c.answered[e["id"]] = e
            else:
                c.failed[e["id"]] = e
        elif e["e"] == "ok":
            v.must(e["id"] not in c.answered, f"R4: {c.name}: a call has two ends: {e}")
            v.must((e["name"], e["answered"]) == (c.name, e["id"]), f"{c.name}: another's answer: {e}")
            c.answered[e["id"]] = e
        elif e["e"] == "receipt":
            c.receipts[e["digest"]].append(e)
            c.of_exchange[e["exchange"]].add(STATES[e["state"]])


def judge_flushed(v, c):
    flushed = [e for e in c.events if e["e"] == "flushed"]
    v.must(flushed and flushed[-1]["code"] == 0 and flushed[-1]["run"] == c.runs[-1], f"R1: {c.name}: not all became final: {flushed[-1:]}")


def read_stream(v, c, event, promise):
    """Order and repeats of what was handed to c in streams. {(sender, stream, number): the first}, each number's digest and run."""
    first, last, in_run, handed_in = {}, {}, {}, collections.defaultdict(list)
    for e in c.events:
        if e["e"] != event or not e["stream"]:
            continue
        stream, key = (e["sender"], e["stream"]), (e["sender"], e["stream"], e["number"])
        if key in first:
            before = handed_in[key][-1]
            v.must(c.role != "exact", f"{promise}: {c.name}: twice, though the application keeps positions: {e}")
            v.must(e["digest"] == first[key]["digest"], f"{promise}: {c.name}: other bytes under one number: {e}")
            v.must(e["repeated"], f"{promise}: {c.name}: twice and not marked: {e}")
            v.must(e["run"] != before and before not in c.closed, f"{promise}: {c.name}: twice without a crash: {e}")
            v.counts["repeated"] += 1
        else:
            first[key] = e
            v.must(e["number"] > last.get(stream, 0) or e["late"], f"{promise}: {c.name}: after {last.get(stream)}: {e}")
            last[stream] = max(last.get(stream, 0), e["number"])
        v.must(e["number"] > in_run.get((e["run"], *stream), 0) or e["late"], f"{promise}: {c.name}: not in order: {e}")
        in_run[e["run"], *stream] = e["number"]
        handed_in[key].append(e["run"])
    return first


def judge_stream(v, c, askers, event, what, is_for, taken):
    """What came to c in streams: was sent, to it, once, and is what was sent. taken: (asker, id) -> event."""
    ids = {}
    for key, e in read_stream(v, c, event, "R2").items():
        asker = askers.get(e["name"])
        sent = asker and asker.invoked.get(e["id"])
        if not v.must(sent and sent["what"] == what and asker.system == e["sender"] and is_for(asker, sent), f"{c.name}: nobody sent this: {e}"):
            continue
        judge_body(v, c, e, sent)
        v.must(e["id"] not in asker.failed, f"R4: {c.name}: {asker.failed.get(e['id'])} and handed over: {e}")
        v.must((e["name"], e["id"]) not in taken, f"R2: {c.name}: twice under two numbers: {e} {taken.get((e['name'], e['id']))}")
        v.must(e["id"] > ids.get(key[:2], 0) or e["late"], f"R2: {c.name}: after {ids.get(key[:2])}: {e}")
        ids[key[:2]] = max(e["id"], ids.get(key[:2], 0))
        taken[e["name"], e["id"]] = e


def judge_body(v, c, e, sent):
    v.must((e["bytes"], e["sum"]) == (sent["bytes"], sent["sum"]) and e["bytes"] == body_bytes(e["id"], sent["what"]), f"{c.name}: not the bytes that were sent: {e}")
    v.counts["large"] += e["bytes"] > 262144


def judge_handed(v, provider, askers, handed):
    judge_stream(v, provider, askers, "handed", "send", lambda _, sent: sent["to"].startswith(provider.system + "/"), handed)
    served = collections.Counter()
    for e in provider.events:
        if e["e"] == "handed" and not e["stream"]:
            asker = askers.get(e["name"])
            sent = asker and asker.invoked.get(e["id"])
            if v.must(sent and sent["what"] == "call" and asker.system == e["sender"], f"{provider.name}: nobody called this: {e}"):
                judge_body(v, provider, e, sent)
            served[e["name"], e["id"], e["run"]] += 1
            v.must(served[e["name"], e["id"], e["run"]] == 1, f"R2: {provider.name}: a call carried out twice by one process: {e}")
            handed.setdefault((e["name"], e["id"]), e)


def judge_news(v, c, askers, journals, entitled, deleted, interrupted, news):
    """Every event of those whose events c may have, and of no others, reached it once, or is named as a gap: what stood in a topic that was deleted, and nothing else. c was
    subscribed before the first was published. deleted: asker -> when its last topic went."""
    taken = {}
    judge_stream(v, c, askers, "event", "publish", lambda asker, _: c.name in entitled[asker.name], taken)
    for asker in (a for a in askers.values() if c.name in entitled[a.name]):
        numbers = {e["number"]: e for e in taken.values() if e["name"] == asker.name}
        published = asker.published()
        v.must(max(numbers, default=0) <= len(published), f"{c.name}: {asker.name} published {len(published)} events: {numbers.get(max(numbers, default=0))}")
        for n, i in enumerate(published, 1):
            if n in numbers:
                v.must(news.setdefault((asker.name, n), numbers[n]["digest"]) == numbers[n]["digest"], f"R2: {c.name}: other bytes than others got: {numbers[n]}")
                v.must(numbers[n]["id"] == i, f"R2: {c.name}: {i} of {asker.name} has not the number {n}: {numbers[n]}")
                judge_news_end(v, c, i, numbers[n], journals, interrupted)
            elif v.must(asker.invoked[i]["t"] < deleted.get(asker.name, 0), f"R1: {c.name}: never had event {n} of {asker.name}: {asker.invoked[i]}"):
                v.must((asker.system, n) in c.gaps, f"R1: {c.name}: event {n} of {asker.name} is lost, and no gap names it: {asker.invoked[i]}")
                v.counts["gaps"] += 1
    v.counts["events"] += len(taken)


def judge_news_end(v, c, i, e, journals, interrupted):
    kinds = {k for j in journals.values() for k, system in j.of_system[e["digest"]] if system == c.system} & FINAL
    want = "failed" if i % REJECT_EVERY == 0 and not (kinds == {"delivered"} and e["digest"] in interrupted) else "delivered"
    v.must(kinds == {want}, f"R3: {c.name}: an event ended {want}, recorded is {sorted(kinds)}: {e}")
    v.must(any("accepted" in j.by_digest.get(e["digest"], ()) for j in journals.values()), f"R3: an event without a record: {e}")


def judge_published(v, c, i):
    """Its subscribers are not its publisher's business (SPEC 13.2)."""
    v.counts["published"] += 1
    if i in c.kept and c.kept[i].strip("0"):  # else it was told in a former life
        states = c.of_exchange[c.kept[i]]
        v.must(states and states <= {"accepted", "replicated"}, f"R4: {c.name}: of the event {i} the receipts say {sorted(states)}")


def judge_asker(v, c, handed, responses, journals, interrupted):
    for i, sent in c.invoked.items():
        e = handed.get((c.name, i))
        if sent["what"] == "call":
            v.counts["calls"] += 1
            v.counts["ok"] += i in c.answered and c.answered[i]["e"] == "ok"
            v.must(e or i not in c.answered or c.answered[i]["e"] == "fail", f"{c.name}: an answer to what nobody carried out: {c.answered.get(i)}")
            continue
        if sent["what"] == "publish":
            judge_published(v, c, i)
            continue
        v.counts["sent"] += 1
        if i in c.kept and not v.must(e, f"R1: {c.name}: kept and never handed over: {sent}"):
            continue
        if e:
            v.counts["handed"] += 1
            judge_end(v, c, i, e, journals, interrupted)
    for digest, told in c.receipts.items():
        judge_receipts(v, c, digest, told, journals)
    seen = set()
    for key, e in read_stream(v, c, "response", "R2").items():
        sent = c.invoked.get(e["id"])
        v.must(sent and sent["what"] == "send" and e["name"] == c.name and sent["to"].startswith(e["sender"] + "/"), f"{c.name}: an answer to nothing: {e}")
        v.must((c.name, e["id"]) in handed, f"{c.name}: an answer to what was never handed over: {e}")
        v.must(e["id"] not in seen, f"R2: {c.name}: two answers: {e} {key}")
        seen.add(e["id"])
        responses[e["digest"]] = e
    v.counts["responses"] += len(seen)
    c.responded = seen


def judge_end(v, c, i, e, journals, interrupted):
    """A message that was handed over ended as its recipient wanted, and somebody recorded that."""
    want = "failed" if i % REJECT_EVERY == 0 else "delivered"
    if "delivered" in {k for j in journals.values() for k in j.by_digest.get(e["digest"], ())} and e["digest"] in interrupted:
        want = "delivered"
    told = {STATES[r["state"]] for r in c.receipts.get(e["digest"], ())} & FINAL
    v.must(told <= {want}, f"R4: {c.name}: {i} ended {want}, the receipts say {told}")
    v.must(told, f"R1: {c.name}: no word of the end of {i}")
    kinds = {k for j in journals.values() for k in j.by_digest.get(e["digest"], ())}
    v.must("accepted" in kinds, f"R3: handed over without a record: {e}")
    v.must(want in kinds, f"R3: {i} of {c.name} ended {want}, recorded is {sorted(kinds)}")
    v.must(kinds & FINAL <= {want}, f"R4: {i} of {c.name} has the ends {sorted(kinds)}")


def judge_receipts(v, c, digest, told, journals):
    finals = {STATES[r["state"]] for r in told} & FINAL
    v.must(len(finals) <= 1, f"R4: {c.name}: two ends: {told}")
    for r in told:
        v.counts["receipts"] += 1
        state, journal = STATES[r["state"]], journals.get(r["gateway"])
        if not v.must(journal is not None, f"R4: {c.name}: a receipt of no gateway: {r}"):
            continue
        kind = "accepted" if state == "replicated" else state
        v.must(kind in journal.by_digest.get(digest, ()) or state == "refused" and not r["digest"], f"R4: {c.name}: a receipt without its record: {r}")
        v.must(state not in ("delivered",) or r["signed"], f"R4: {c.name}: delivered without the recipient's word: {r}")


class Journal:
    def __init__(self, v, name, is_verified, records, is_carried):
        self.by_digest = collections.defaultdict(dict)  # digest -> kind -> record
        self.of_system = collections.defaultdict(set)  # digest -> (kind, whose end)
        v.must(is_verified, f"R7: the journal of {name} does not verify")
        for n, r in enumerate(records, 1):
            v.must(r["sequence"] == n, f"R7: record {n} of {name} has the sequence {r['sequence']}")
            is_copy = is_carried and r["kind"] == "refused" and r.get("system") == str(r.get("recipient")).removesuffix("/inbox")  # on the bus, altered: no end of what it was made of
            if r.get("digest") and r["kind"] in ("accepted", *FINAL) and not is_copy:
                kinds, end = self.by_digest[r["digest"]], (r["kind"], r.get("system"))
                is_others = r.get("message") == "event" and r["kind"] in FINAL and end not in self.of_system[r["digest"]]  # one for each subscriber
                self.of_system[r["digest"]].add(end)
                if r["kind"] in kinds and not is_others:  # over a bus that carries an end is recorded where it was accepted and, each time it came again, where it was
                    # delivered; the answer to a call where its provider is and where its caller waits
                    is_answer = r["kind"] in ("accepted", "refused") and r.get("message") == "response" and not r.get("stream")
                    v.must(is_carried and (is_answer or r["kind"] in FINAL - {"refused"}), f"R4: {name} has two records {r['kind']} of {r['digest']}")
                    v.counts["recorded again"] += 1
                kinds[r["kind"]] = r
        v.counts["records"] += len(records)


def judge_accepted(v, name, journal, clients, handed_digests, responses, news):
    """What a gateway accepted in a stream came to somebody: R1 as the journals have it, whether or not its sender lived to hear of it. news: (asker, number) -> digest."""
    systems = {c.system: c for c in clients.values()}
    for digest, kinds in journal.by_digest.items():
        r = kinds.get("accepted")
        if not r:
            continue
        sender = systems.get(r.get("sender") or r.get("system"))
        v.must(sender, f"{name} accepted from nobody: {r}")
        if r.get("message") == "event" and sender:
            v.must(1 <= r["number"] <= len(sender.published()), f"{name} accepted an event that nobody published: {r}")
            v.must(news.get((sender.name, r["number"]), digest) == digest, f"R1: {name} accepted {digest} of {sender.name}, and its subscribers got another: {r}")
        elif r.get("stream") and sender:
            v.must(digest in (handed_digests if sender.role == "ask" else responses), f"R1: {name} accepted {digest} of {sender.name}, and nobody got it: {sorted(kinds)}")


def judge(clients, gateways, is_carried, entitled, deleted):
    """clients: name -> Client; gateways: identifier -> (verified, records). The verdict."""
    v = Verdict()
    journals = {name: Journal(v, name, *g, is_carried) for name, g in gateways.items()}
    askers = {c.name: c for c in clients.values() if c.role == "ask"}
    handed, responses, news = {}, {}, {}
    unanswered = set().union(*(c.interrupted()[0] for c in clients.values()))
    interrupted = set().union(*(c.interrupted()[1] for c in clients.values()))
    for c in askers.values():
        read_asker(v, c)
    for c in clients.values():
        judge_flushed(v, c)
        if c.role != "ask":
            judge_handed(v, c, askers, handed)
    for c in (c for c in clients.values() if c.role != "ask"):
        judge_news(v, c, askers, journals, entitled, deleted, interrupted, news)
    for c in askers.values():
        judge_asker(v, c, handed, responses, journals, interrupted)
    digests = {e["digest"] for e in handed.values()}
    for name, journal in journals.items():
        judge_accepted(v, name, journal, clients, digests, responses, news)
    judge_answers(v, askers, handed, unanswered)
    for e in (e for c in clients.values() if c.role != "ask" for e in c.events if e["e"] == "handed" and not e["stream"]):
        v.must(any("accepted" in j.by_digest.get(e["digest"], ()) for j in journals.values()), f"R3: a call carried out without a record: {e}")
    return v


def judge_answers(v, askers, handed, interrupted):
    """Who takes a message answers it."""
    for (name, i), e in handed.items():
        if e["stream"] and i % REJECT_EVERY and e["digest"] not in interrupted:
            v.must(i in askers[name].responded, f"R1: answered, and {name} did not get it: {e}")


def read_lines(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines() if line.strip()]


def judge_folder(folder):
    folder = pathlib.Path(folder)
    land = json.loads((folder / "land.json").read_text())
    clients = {c["name"]: Client(c["name"], c["system"], c["role"], read_lines(folder / f"{c['name']}.events")) for c in land["clients"]}
    gateways = {g["identifier"]: (g["is_verified"], read_lines(folder / f"{g['name']}.records")) for g in land["gateways"]}
    return judge(clients, gateways, land["is_carried"], land["entitled"], land["deleted"])


if __name__ == "__main__":
    verdict = judge_folder(sys.argv[1])
    print(json.dumps(verdict.counts))
    print("\n".join(verdict.broken[:50]))
    sys.exit(bool(verdict.broken))
