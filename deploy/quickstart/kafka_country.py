# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""The story of --kafka: one broker (pilot), two gateways, every system connected to both; the gateway in the middle of a stream is killed, and one that delivers events."""
import collections
import concurrent.futures
import json
import os
import signal
import subprocess
import time
import uuid

import country
from country import BASIS, BIN, PURPOSE, ROOT, SERVICE, Country, Failed, check, say, started, state, wait

QUESTIONS = 120


class Process:
    """What deploy/kafka/run started: no child of this process."""

    def __init__(self, pid):
        self.pid, self.start, self.returncode = pid, started(pid), None

    def poll(self):
        if self.returncode is None and (started(self.pid) != self.start or state(self.pid) == "Z"):
            self.returncode = 0
        return self.returncode

    def send_signal(self, how):
        if self.poll() is None:
            os.kill(self.pid, how)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def wait(self, seconds=60):
        end = time.monotonic() + seconds
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("broker", seconds)
            time.sleep(0.05)
        return self.returncode


class KafkaCountry(Country):
    gateways = {"gw1": "AZ/gw1", "gw2": "AZ/gw2"}

    def kafka(self, *words, is_shown=False):
        words = [*words, "--dir", str(self.dir / "kafka")]
        if is_shown:
            self.show("deploy/kafka/run", words)
        done = subprocess.run([ROOT / "deploy/kafka/run", *words], env={**os.environ, "EHIS_BIN": str(BIN)}, capture_output=True, text=True, timeout=900, check=False)
        if done.returncode != 0:
            raise Failed(f"deploy/kafka/run {' '.join(words)}\n{done.stdout}{done.stderr}")
        return done.stdout

    def start_broker(self):
        self.kafka("up", "--nodes", "1", "--port-base", "0", is_shown=True)
        self.broker = json.loads(self.kafka("status", "--json"))
        self.running["broker"] = Process(self.broker["brokers"][0]["pid"])
        self.keep_pids()

    def bus(self, name):
        self.kafka("certificate", self.gateways[name], "--out", str(self.dir / name))
        brokers = ", ".join(f"'{b}'" for b in self.broker["bootstrap"])
        return f"bus: {{kind: kafka, kafka: {{brokers: [{brokers}], ca: kafka/ca/ca.crt, certificate: {name}/bus.crt, key: {name}/bus.key, pilot: true, partitions: 2}}}}\n"

    def make_topics(self):
        done = self.tool("ehis-gateway", "topics", "create", "--config", "gw1.yaml", "--certificate", "kafka/admin/bus.crt", "--key", "kafka/admin/bus.key", is_shown=True, timeout=120)
        say("   " + done.stdout.strip().splitlines()[0])

    def done(self):
        """Exchanges that the register has answered, in its order."""
        return [str(uuid.UUID(line["exchange"])) for line in lines_of(self.dir / "population.log") if line["event"] == "population.answered"]

    def send(self, pin, number):
        """One message of the stream; False where no gateway took it in time: then it waits in the outbox for the next run."""
        words = [SERVICE, "GetPerson", "--send", "--config", "tax.yaml", "--purpose", PURPOSE, "--basis", BASIS, "--case-ref", f"STS-2026-{number:06}", "--body", "-", "--json"]
        done = self.tool("ehis-call", *words, stdin=json.dumps({"pin": pin}), expect=None)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        check(lines and lines[0]["state"] == "sent", f"message {number} was not taken into the outbox:\n{done.stdout}{done.stderr}")
        return lines[0]["exchange"], next((r["gateway"] for r in lines if r["state"] == "accepted"), None)


def lines_of(path):
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            pass  # the last line is still being written
    return found


def stream_with_a_killed_gateway(c, pins):
    c.step(f"The tax office asks {QUESTIONS} more questions without waiting for answers: a stream. In its middle the gateway that hands it over is killed with SIGKILL.")
    c.show("ehis-call", [SERVICE, "GetPerson", "--send", "--config", "tax.yaml", "--purpose", PURPOSE, "--basis", BASIS, "--body", "-"])
    sent, before = {}, len(c.done())
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        def stream():
            for i in range(QUESTIONS):
                exchange, gateway = c.send(pins[i % len(pins)], i)
                sent[exchange] = gateway
        asking = pool.submit(stream)
        wait("a part of the stream at the register", lambda: asking.done() or len(c.done()) - before >= QUESTIONS // 4, 120)
        if asking.done():
            asking.result()
            raise Failed("the stream was over before a gateway was killed")
        killed = max(c.gateways, key=lambda name: c.status(name)["bus"]["inboxes_owned"])
        other = next(name for name in c.gateways if name != killed)
        c.stop(killed, signal.SIGKILL)
        at, count = time.monotonic(), len(c.done())
        say(f"   {killed} killed when {count - before} were handed over and more were being sent")
        wait("the stream to go on at the other gateway", lambda: len(c.done()) > count + 2, 60)
        say(f"   {other} has taken over: the stream goes on {time.monotonic() - at:.1f} s later")
        asking.result()
    accepted = collections.Counter(g for g in sent.values() if g)
    say(f"   {QUESTIONS} questions are sent; accepted by " + ", ".join(f"{g}: {n}" for g, n in sorted(accepted.items())))
    check(accepted[c.gateways[other]] > 0, f"{other} accepted nothing of the stream")
    time.sleep(1)
    missing = len(set(sent) - set(c.done()))
    say(f"   {QUESTIONS - missing} of them reached the register while {killed} is dead" + (f"; {missing} that it alone had accepted come from its journal" if missing else ""))
    say(f"   {killed} is started again")
    c.start_gateway(killed)
    wait("all of the stream at the register", lambda: set(c.done()) >= set(sent), 120)
    time.sleep(1)
    got = collections.Counter(x for x in c.done() if x in sent)
    check(max(got.values()) == 1, f"{sum(n - 1 for n in got.values())} questions were handed over more than once")
    say(f"   {len(got)} questions reached the register: each once, none lost")
    return sent


def answers(c, sent):
    c.step("The tax office takes the answers, that have waited for it.")
    path = c.dir / "answers.jsonl"
    c.show("ehis-call", ["receive", "--config", "tax.yaml"])
    with open(path, "ab") as out:
        p = c.start("receive", "ehis-call", "receive", "--config", "tax.yaml", stdout=out)
    wait("all answers", lambda: c.alive(p) and {a["exchange"] for a in lines_of(path)} >= set(sent), 60)
    time.sleep(1)
    c.stop("receive")
    got = collections.Counter(a["exchange"] for a in lines_of(path))
    check(set(got) == set(sent), "answers arrived to what was not asked")
    check(max(got.values()) == 1, f"{sum(n - 1 for n in got.values())} answers arrived more than once")
    check(not any(a["is_fault"] for a in lines_of(path)), "an answer is a fault")
    say(f"   {len(got)} answers, one to each question")


def events(c, pins):
    subscriber = country.subscribe(c)
    wait("the subscription at both gateways", lambda: c.alive(subscriber) and all(c.status(name)["exchange"]["subscriptions"] >= 1 for name in c.gateways))
    country.one_event(c, subscriber, pins[0])
    killed = max(c.gateways, key=lambda name: c.status(name)["bus"]["inboxes_owned"])
    c.stop(killed, signal.SIGKILL)
    for i in range(10):
        country.move(c, pins[i % len(pins)], f"mənzil {i}")
    wait("the events through the other gateway", lambda: c.alive(subscriber) and len(country.events(c)) >= 11, 60)
    time.sleep(1)
    check(len(country.events(c)) == 11, "an event arrived twice")
    say(f"   {killed} is killed and ten more people move: the other gateway goes on from the subscription's cursor, each event once")
    c.start_gateway(killed)
    c.stop("subscriber")


def read_journals(c, sent):
    c.step("The security team reads the journals of both gateways.")
    ends = {"accepted": set(), "delivered": set()}
    for name in c.gateways:
        c.show("ehis-gateway", ["journal", "show", "--dir", c.journal(name), "--json"])
        records = c.records(name)
        kinds = collections.Counter(r["kind"] for r in records)
        say(f"   {name}: " + ", ".join(f"{n} {k}" for k, n in kinds.most_common()))
        for r in records:
            if r.get("exchange") in sent and r.get("message") == "request" and r["kind"] in ends:
                ends[r["kind"]].add(r["exchange"])
        done = c.tool("ehis-gateway", "journal", "verify", "--dir", c.journal(name), is_shown=True)
        say("   " + done.stdout.strip().splitlines()[0])
    for kind, those in ends.items():
        check(those == set(sent), f"{len(set(sent) - those)} questions of the stream are nowhere {kind}")
    say(f"   each of the {len(sent)} questions stands there as accepted and as delivered")


def perform(c):
    c.step("One Kafka broker starts, on loopback, with mutual TLS and rights for gateways alone. (One alone is a pilot: nothing is ever called replicated.)")
    c.start_broker()
    c.step("An authority, keys, certificates, a registry signed by the operator, 5,000 invented people; certificates of the bus for two gateways, topics, rights.")
    c.make()
    c.make_topics()
    say(f"   in {c.dir}")
    c.step("Two gateways and the population register start.")
    for name in c.gateways:
        c.start_gateway(name)
    wait("both gateways to see each other on the bus", lambda: all(c.status(name)["bus"]["is_ready"] and c.status(name)["bus"]["gateways"] == 2 for name in c.gateways))
    c.start("population", "ehis-population", "serve", "--config", "population.yaml", "--db", "population.db")
    wait("the register at both", lambda: all(c.alive(p) for p in c.running.values()) and all(c.status(name)["sessions"]["ready"] >= 1 for name in c.gateways))
    say("   the register is connected to both by mutual TLS 1.3, as the tax office will be; the broker joins the gateways")
    pins = c.tool("ehis-population", "pins", "--db", "population.db").stdout.split()
    country.allowed_call(c, pins[0])
    country.refused_call(c, pins[0])
    sent = stream_with_a_killed_gateway(c, pins[2:202])
    answers(c, sent)
    events(c, pins)
    read_journals(c, sent)
