# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""What the fault tests share: a country of senders and receivers, a gateway that is killed and started again, the load that outlives it
(tests/fault/stream_client.c), and the checker that judges the load's log against the journal.

    country = Country(folder, pairs=3)
    with Run(country, folder) as run:
        run.start_gateway()
        run.start_load(seconds=3)
        ...                        # kill, starve, damage
        run.finish()               # the load ends, the gateway stops, everything is checked
"""
import collections
import datetime
import json
import os
import pathlib
import random
import signal
import subprocess

from ports import free_port
from world import BIN, wait_until

# tests/fault/sweep. The seed into the environment, so that all workers of a run have the same.
SEED = int(os.environ.setdefault("EHIS_FAULT_SEED", str(random.SystemRandom().randrange(1 << 32))))
ROUNDS = int(os.environ.get("EHIS_FAULT_ROUNDS", "1"))
FINAL = {"delivered", "failed", "refused", "expired"}
REJECT_EVERY = 97  # stream_client.c
RULES = """service: AZ/GOV/RCV/r{k}/inbox
operations: [{{name: Put, kind: request}}]
rules:
- {{id: R-{k}, effect: permit, consumers: [AZ/GOV/SND/s{k}], operations: [Put], purposes: [fault.load], legal_bases: [Fault 1],
   valid: {{from: 2026-01-01, until: 2036-01-01}}, approval: none}}
"""


class Country:
    """Keys, certificates and a registry; read only once made."""

    def __init__(self, folder, pairs=3):
        self.dir = pathlib.Path(folder)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.pairs = pairs
        self.tool("ehis-pki", "init", "--dir", "ca", "--instance", "AZ")
        self.tool("ehis-pki", "crl", "--ca", "ca", "--out", "crl.pem")
        (self.dir / "ca.crt").write_bytes((self.dir / "ca/ca.crt").read_bytes())
        self.tool("ehis-registry", "init", "--dir", "registry", "--instance", "AZ")
        reg = self.dir / "registry"
        (reg / "registry.yaml").write_text("instance: AZ\nvalidity: {days: 30, grace_hours: 72}\nterms:\n"
                                           "  purposes: [{code: fault.load, en: Load, az: Yük}, {code: fault.other, en: Other, az: Başqa}]\n"
                                           "  legal_bases: [{code: Fault 1, en: Fault, az: Xəta}]\n")
        for agency in ("SND", "RCV"):
            self.tool("ehis-registry", "add", f"AZ/GOV/{agency}", "--as", "agency", "--name", agency, "--dir", reg)
        self.add("gw", "AZ/gw1", "gateway", "--gateway")
        for k in range(pairs):
            self.add(f"s{k}", f"AZ/GOV/SND/s{k}", "system")
            self.add(f"r{k}", f"AZ/GOV/RCV/r{k}", "system")
            (reg / f"services/r{k}.yaml").write_text(RULES.format(k=k))
        made = self.tool("ehis-registry", "keygen", "--out", "operator.key", "--json")
        self.operator_key = json.loads(made)["public_key"]
        (self.dir / "operator.hex").write_text(self.operator_key)
        self.tool("ehis-registry", "build", "--dir", reg)
        self.tool("ehis-registry", "sign", "--dir", reg, "--key", "operator.key", "--out", "registry.pb")

    def tool(self, name, *words):
        done = subprocess.run([BIN / name, *map(str, words)], cwd=self.dir, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{name} {words}: {done.stdout}{done.stderr}"
        return done.stdout

    def add(self, folder, name, kind, *words):
        self.tool("ehis-pki", "keygen", "--dir", folder, name, *words)
        self.tool("ehis-pki", "issue", "--ca", "ca", "--request", f"{folder}/join.request", "--out", f"{folder}/tls.crt")
        self.tool("ehis-registry", "add", f"{folder}/join.request", "--as", kind, "--dir", "registry")


class Run:
    """One gateway's life with all its deaths, over one journal."""

    def __init__(self, country, folder, journal=None, **settings):
        self.country = country
        self.dir = pathlib.Path(folder)
        self.journal = pathlib.Path(journal) if journal else self.dir / "journal"
        self.port = free_port()
        self.gateway = None
        self.loads = []
        self.starts = 0
        j = {"segment_bytes": "4MiB", "segments_max": 32, "group_max_bytes": "1MiB", "reserve_bytes": "0", **settings.pop("journal_settings", {})}
        text = ", ".join(f"{k}: {v}" for k, v in j.items())
        d = country.dir
        sections = {"name": "AZ/gw1", "listen": f"['127.0.0.1:{self.port}']",
                    "tls": f"{{chain: {d}/gw/tls.crt, key: {d}/gw/tls.key, ca: {d}/ca.crt, crls: [{d}/crl.pem]}}", "sign_key": f"{d}/gw/sign.key",
                    "registry": f"{{file: {d}/registry.pb, operator_keys: [{country.operator_key}]}}",
                    "journal": f"{{dir: {self.journal}, {text}}}", "admin": f"{{socket: {self.dir}/admin.sock}}", **settings}
        (self.dir / "gateway.yaml").write_text("".join(f"{k}: {v}\n" for k, v in sections.items()))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for p in self.loads:
            if p.poll() is None:
                p.kill()
                p.wait()
        if self.gateway:
            self.kill_gateway()

    # -- the gateway

    def launch(self, *wrapper, env=None):
        """Starts it and does not wait. wrapper: strace, faketime, ... before the program."""
        self.starts += 1
        env = {**os.environ, **(env or {})}
        if wrapper:
            env["ASAN_OPTIONS"] = "detect_leaks=0:" + env.get("ASAN_OPTIONS", "")
        with open(self.dir / "gateway.log", "ab") as log:
            self.gateway = subprocess.Popen([*map(str, wrapper), BIN / "ehis-gateway", "--config", self.dir / "gateway.yaml"],
                                            stderr=log, stdout=log, stdin=subprocess.DEVNULL, env=env, start_new_session=True)
        return self.gateway

    def start_gateway(self, *wrapper, env=None):
        p = self.launch(*wrapper, env=env)
        wait_until(lambda: p.poll() is not None or self.ask() is not None, 60, "the gateway's status")
        assert p.poll() is None, self.log()[-4000:]
        return p

    def ask(self):
        """Its status, or None where nobody answers."""
        done = subprocess.run([BIN / "ehis-gateway", "status", "--socket", self.dir / "admin.sock"], capture_output=True, text=True, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def pid(self):
        """Of the gateway itself, also behind strace or faketime."""
        top = self.gateway.pid
        children = pathlib.Path(f"/proc/{top}/task/{top}/children").read_text().split()
        return int(children[0]) if children else top

    def kill_gateway(self):
        """With what stands before it: strace, killed alone, would leave it running."""
        if self.gateway.poll() is None:
            os.killpg(self.gateway.pid, signal.SIGKILL)
            self.gateway.wait()

    def kill_traced(self):
        """The one behind a wrapper, which then ends by itself."""
        os.kill(self.pid(), signal.SIGKILL)
        self.gateway.wait(10)

    def stop_gateway(self, seconds=30):
        """SIGTERM; its exit code."""
        os.kill(self.pid(), signal.SIGTERM)
        try:
            return self.gateway.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill_gateway()
            raise

    def log(self):
        return (self.dir / "gateway.log").read_text(errors="replace")

    def no_crash(self):
        """No sanitizer's report, no failed assertion, in any of its lives."""
        text = self.log()
        for sign in ("Sanitizer", "runtime error", "assertion", "Assertion"):
            assert sign not in text, text[max(0, text.find(sign) - 500):][:6000]

    # -- the load

    def start_load(self, seconds, window=64, batch=16, body=512, rate=0, calls=2, drain=60, pairs=None, mode="all"):
        log = self.dir / f"load-{len(self.loads)}.log"
        p = subprocess.Popen([BIN / "stream_client", self.country.dir, str(self.port), log, str(seconds), str(pairs or self.country.pairs), str(window),
                              str(batch), str(body), str(rate), str(calls), str(drain), mode], stderr=open(f"{log}.err", "wb"))
        self.loads.append(p)
        return p

    def stop_load(self):
        """No new messages, at once where it would go on for long; waits until all are final. Raises where they do not become so."""
        for n, p in enumerate(self.loads):
            if p.poll() is None and int(p.args[4]) > 60:
                p.send_signal(signal.SIGTERM)
            try:
                code = p.wait(120)
            except subprocess.TimeoutExpired:
                code = "no end"
            assert code == 0, f"load {n}: {code}\n{(self.dir / f'load-{n}.log.err').read_text()}\n{self.tail(n)}\n{self.log()[-3000:]}\n{self.ask()}"

    def tail(self, n, lines=15):
        path = self.dir / f"load-{n}.log"
        return "\n".join(path.read_text().splitlines()[-lines:]) if path.exists() else ""

    def lines(self):
        for n in range(len(self.loads)):
            path = self.dir / f"load-{n}.log"
            for line in path.read_text().splitlines() if path.exists() else ():
                words = line.split()
                if len(words) > 2 or words[1:2] == ["Z"]:
                    yield [int(words[0]), *words[1:]]

    def count(self, letter):
        return sum(1 for w in self.lines() if w[1] == letter)

    # -- judging

    def journal_show(self):
        done = subprocess.run([BIN / "ehis-gateway", "journal", "show", "--dir", self.journal, "--json", "--all"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def journal_verify(self):
        return subprocess.run([BIN / "ehis-gateway", "journal", "verify", "--dir", self.journal, "--json"], capture_output=True, text=True, check=False)

    def finish(self, **how):
        """Everything comes to its end, and everything was as promised. The counts of what was judged."""
        self.stop_load()
        assert self.stop_gateway() == 0, self.log()[-4000:]
        self.no_crash()
        verified = self.journal_verify()
        assert verified.returncode == 0, verified.stdout + verified.stderr
        return judge(list(self.lines()), self.journal_show(), **how)


def unix_ms(text):
    t = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return round(t.timestamp() * 1000)


class Verdict:
    def __init__(self):
        self.broken = []

    def must(self, true, what):
        if not true:
            self.broken.append(what)


def judge(lines, records, may_expire=False):
    """R1 to R4 over a load's log and the journal that it left, all work being done. Raises with the first broken promises; returns counts.
    may_expire: the clock jumped, so that what was accepted may have ended as expired."""
    v = Verdict()
    by_digest = judge_records(v, records, may_expire)
    sent, calls, handed, receipts = {}, {}, {}, collections.defaultdict(list)
    carried_out, answered = set(), set()
    positions, aggregated = {}, collections.Counter()
    for w in lines:
        kind = w[1]
        if kind == "X":
            v.must(False, f"the load saw: {' '.join(w[2:])}")
        elif kind == "S":
            v.must(w[3] not in sent, f"sent twice as new: {w}")
            sent[w[3]] = (w[2], w[5], int(w[6]))
        elif kind == "Q":
            calls[w[3]] = w[2]
        elif kind == "R":
            judge_receipt(v, w, by_digest, aggregated)
            receipts[w[3]].append(w[4])
        elif kind == "H":
            judge_handed(v, w, sent, handed, positions, by_digest)
        elif kind == "V":
            carried_out.add(w[3])
            v.must("accepted" in by_digest[w[3]], f"R3: a call came to its provider without a record: {w}")
        elif kind == "P":
            answered.add(w[3])
            v.must(w[3] in carried_out, f"an answer to what nobody carried out: {w}")
            v.must(w[3] in calls, f"an answer to what nobody asked: {w}")
    for (system, code), count in aggregated.items():
        recorded = sum(r["count"] for r in records if r["kind"] == "refusals" and r["system"] == system and r["code"] == f"EHIS-{code}")
        v.must(count <= recorded, f"R4: {count} refusals {code} were told to {system}, {recorded} are recorded")
    for digest, states in receipts.items():
        finals = {s for s in states if s in FINAL}
        v.must(len(finals) <= 1 or may_expire and digest in calls, f"R4: two ends of {digest}: {states}")
        v.must(may_expire or not (digest in answered and finals & {"failed", "refused", "expired"}), f"R4: answered and {finals}: {digest}")
    for digest, (sender, stream, number) in sent.items():
        states = receipts[digest]
        if "refused" in states:
            v.must(digest not in handed, f"refused and handed over: {digest}")
        elif not (may_expire and "expired" in by_digest[digest]):
            v.must(digest in handed, f"R1: {sender} {stream} {number} {digest}: receipts {states}, records {dict(by_digest[digest])}, never handed over")
            v.must(("failed" if number % REJECT_EVERY == 0 else "delivered") in by_digest[digest], f"no record of the end of {sender} {number} {digest}: {dict(by_digest[digest])}")
    assert not v.broken, f"{len(v.broken)} broken promises:\n" + "\n".join(v.broken[:20])
    return {"sent": len(sent), "handed": len(handed), "calls": len(calls), "answered": len(answered), "records": len(records),
            "receipts": sum(map(len, receipts.values()))}


def judge_records(v, records, may_expire):
    """Contiguous from 1; no message accepted or ended twice; a stream's numbers each used once and in order. Times by digest and kind."""
    by_digest = collections.defaultdict(dict)
    expected = {}
    for n, r in enumerate(records, 1):
        v.must(r["sequence"] == n, f"R7: record {n} has the sequence {r['sequence']}")
        kind, digest = r["kind"], r.get("digest")
        if kind not in ("accepted", "refused", "delivered", "failed", "expired") or not digest:
            continue
        times = by_digest[digest].setdefault(kind, set())
        is_forgotten = may_expire and not r.get("stream")  # a call that the clock has expired, and that came again
        v.must(not times or is_forgotten, f"two records {kind} of {digest}")
        times.add(unix_ms(r["time"]))
        v.must(is_forgotten or len(set(by_digest[digest]) & FINAL) <= 1, f"two ends of {digest}: {dict(by_digest[digest])}")
        if kind in ("accepted", "refused") and r.get("stream"):
            want = expected.get(r["stream"], 1)
            v.must(r["number"] == want, f"stream {r['stream']}: number {r['number']} was taken where {want} was due")
            expected[r["stream"]] = r["number"] + 1
    return by_digest


def judge_receipt(v, w, by_digest, aggregated):
    """R4: the record stands, and says the same time; of a call, delivered is its answer's record; equal refusals may have one together."""
    digest, state, time_ms = w[3], w[4], int(w[6])
    record = by_digest[digest].get(state)
    if state == "delivered" and record is None:
        return
    if state == "refused" and record is None:
        aggregated[w[2], int(w[5])] += 1
        return
    v.must(record is not None, f"R4: a receipt without a record: {w}")
    if record is not None:
        v.must(time_ms in record, f"R4: the receipt says {time_ms}, the record {record}: {w}")


def judge_handed(v, w, sent, handed, positions, by_digest):
    receiver, digest, stream, number = w[2], w[3], w[5], int(w[6])
    v.must(digest in sent, f"delivered and never sent: {w}")
    if digest in sent:
        v.must(sent[digest] == (w[4], stream, number), f"another's position: {w}, sent as {sent[digest]}")
    v.must("accepted" in by_digest[digest], f"R3: handed over without a record: {w}")
    v.must(digest not in handed, f"R2: handed over twice: {w}")
    v.must(positions.get((receiver, stream), 0) < number, f"R2: not in order: {w}")
    handed[digest] = w
    positions[(receiver, stream)] = number
