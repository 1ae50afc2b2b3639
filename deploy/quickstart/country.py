#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""Performs the first exchange on loopback and says in plain words what happens; every step is checked.

    deploy/quickstart/run            make everything afresh, show it, stop it
    deploy/quickstart/run --kafka    the same over a Kafka broker, with two gateways
    deploy/quickstart/run --keep     leave it running; its revocation lists are renewed
    deploy/quickstart/run --stop     stop what --keep left running
"""
import argparse
import collections
import concurrent.futures
import fcntl
import json
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
BIN = pathlib.Path(os.environ.get("EHIS_BIN", ROOT / "build/release/bin"))
MARK = ".ehis-quickstart"
SERVICE = "AZ/GOV/MIA/population/person"
SYSTEMS = {"population": "AZ/GOV/MIA/population", "tax": "AZ/GOV/STS/tax"}
AGENCIES = {"AZ/GOV/MIA": "Daxili İşlər Nazirliyi", "AZ/GOV/STS": "Dövlət Vergi Xidməti"}
PURPOSE, BASIS = "tax.assessment", "Vergi Məcəlləsi 23"
CHANGES = 1000
CRL_DAYS = 7
RENEW_S = 24 * 3600


class Failed(Exception):
    pass


def say(text=""):
    print(text, flush=True)


class Country:
    gateways = {"gateway": "AZ/gw1"}  # each has keys in NAME/, settings NAME.yaml, a socket NAME.sock

    def __init__(self, folder):
        self.dir = folder
        self.pids = folder / "pids"
        self.running = {}
        self.lock = None
        self.step_count = 0

    # -- telling

    def step(self, text):
        self.step_count += 1
        say(f"\n{self.step_count}. {text}")

    def show(self, program, words, stdin=None):
        shown = " ".join([program, *(shlex.quote(str(w)) for w in words)])
        say(f"   $ {'echo ' + shlex.quote(stdin) + ' | ' if stdin else ''}{shown}")

    # -- programs

    def tool(self, program, *words, stdin=None, expect=0, is_shown=False, timeout=60):
        if is_shown:
            self.show(program, words, stdin)
        done = subprocess.run([str(BIN / program), *map(str, words)], cwd=self.dir, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
        if expect is not None and done.returncode != expect:
            raise Failed(f"{program} {' '.join(map(str, words))}\nexit code {done.returncode}, expected {expect}\n{done.stdout}{done.stderr}")
        return done

    def start(self, name, program, *words, stdout=None):
        log = open(self.dir / f"{name}.log", "ab")
        p = subprocess.Popen([str(BIN / program), *map(str, words)], cwd=self.dir, stdin=subprocess.DEVNULL, stdout=stdout or log, stderr=log, start_new_session=True)
        log.close()
        self.running[name] = p
        self.keep_pids()
        return p

    def keep_pids(self):
        lines = [f"{name} {p.pid} {started(p.pid)}\n" for name, p in self.running.items() if p.poll() is None]
        self.pids.write_text("".join(lines))

    def stop(self, name, how=signal.SIGTERM):
        p = self.running.pop(name)
        if p.poll() is None:
            p.send_signal(how)
        try:
            code = p.wait(30)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
            raise Failed(f"{name} did not end within 30 seconds; it was killed") from None
        finally:
            self.keep_pids()
        return code

    def stop_all(self):
        for name in list(self.running)[::-1]:
            try:
                self.stop(name)
            except Failed as e:
                say(f"   {e}")

    # -- making

    def make(self):
        ports = [free_port() for _ in self.gateways]
        self.tool("ehis-pki", "init", "--dir", "ca", "--instance", "AZ")
        self.tool("ehis-pki", "crl", "--ca", "ca", "--out", "crl.pem", "--days", CRL_DAYS)
        self.tool("ehis-registry", "init", "--dir", "registry", "--instance", "AZ")
        shutil.copytree(HERE / "registry", self.dir / "registry", dirs_exist_ok=True)
        for agency, name in AGENCIES.items():
            self.tool("ehis-registry", "add", agency, "--as", "agency", "--name", name, "--dir", "registry")
        for name, identifier in self.gateways.items():
            self.make_owner(name, identifier, "gateway", "--gateway")
        for name, identifier in SYSTEMS.items():
            self.make_owner(name, identifier, "system")
        key = json.loads(self.tool("ehis-registry", "keygen", "--out", "operator.key", "--json").stdout)["public_key"]
        self.tool("ehis-registry", "build", "--dir", "registry")
        self.tool("ehis-registry", "sign", "--dir", "registry", "--key", "operator.key")
        for name, port in zip(self.gateways, ports):
            write(self.dir / f"{name}.yaml", f"""name: {self.gateways[name]}
listen: ['127.0.0.1:{port}']
tls: {{chain: {name}/tls.crt, key: {name}/tls.key, ca: ca/ca.crt, crls: [crl.pem]}}
sign_key: {name}/sign.key
registry: {{file: registry/registry.pb, operator_keys: [{key}]}}
journal: {{dir: {self.journal(name)}, segment_bytes: 16MiB, segments_max: 16, group_max_bytes: 4MiB, reserve_bytes: 16MiB}}
admin: {{socket: {self.dir}/{name}.sock}}
{self.bus(name)}""")
        for name, identifier in SYSTEMS.items():
            write(self.dir / f"{name}.yaml", f"""system: {identifier}
gateways: [{', '.join(f"'127.0.0.1:{port}'" for port in ports)}]
tls: {{chain: {name}/tls.crt, key: {name}/tls.key, ca: ca/ca.crt, crl: crl.pem}}
sign_key: {name}/sign.key
seal_keys: [{name}/seal.key]
registry: {{operator_keys: [{key}]}}
state_dir: {name}.state
""")
        # A system may receive its streams in one folder only: the subscriber has its own.
        write(self.dir / "tax-events.yaml", (self.dir / "tax.yaml").read_text().replace("tax.state", "tax-events.state"))
        self.tool("ehis-population", "seed", "--db", "population.db", "--people", 5000, "--seed", 7, timeout=120)

    def journal(self, name):
        return "journal" if len(self.gateways) == 1 else f"{name}.journal"

    def bus(self, name):
        """Further lines of a gateway's settings."""
        return ""

    def make_owner(self, folder, identifier, kind, *words):
        self.tool("ehis-pki", "keygen", "--dir", folder, identifier, *words)
        self.tool("ehis-pki", "issue", "--ca", "ca", "--request", f"{folder}/join.request", "--out", f"{folder}/tls.crt")
        self.tool("ehis-registry", "add", f"{folder}/join.request", "--as", kind, "--dir", "registry")

    # -- running

    def start_gateway(self, name="gateway"):
        p = self.start(name, "ehis-gateway", "--config", f"{name}.yaml")
        wait(f"{name} to answer", lambda: self.alive(p) and self.tool("ehis-gateway", "status", "--socket", f"{name}.sock", expect=None).returncode == 0)

    def alive(self, p):
        if p.poll() is not None:
            name = next((n for n, q in self.running.items() if q is p), "a program")
            raise Failed(f"{name} ended by itself, exit code {p.returncode}:\n{tail(self.dir / (name + '.log'))}")
        return True

    def status(self, name="gateway"):
        return json.loads(self.tool("ehis-gateway", "status", "--socket", f"{name}.sock").stdout)

    def records(self, name="gateway"):
        return [json.loads(line) for line in self.tool("ehis-gateway", "journal", "show", "--dir", self.journal(name), "--json").stdout.splitlines()]

    def call(self, operation, body, purpose=PURPOSE, expect=0, is_shown=True):
        return self.tool("ehis-call", SERVICE, operation, "--config", "tax.yaml", "--purpose", purpose, "--basis", BASIS, "--case-ref", "STS-2026-000123",
                         "--official", "official-17", "--body", "-", stdin=json.dumps(body), expect=expect, is_shown=is_shown)


def started(pid):
    """The kernel's start time of a process: a pid that was used again is told apart."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        return "-"


def write(path, text):
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)


def tail(path, n=15):
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-n:])
    except OSError:
        return ""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait(what, true, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = true()
        if value:
            return value
        time.sleep(0.05)
    raise Failed(f"waited {seconds} s for {what}")


def check(is_true, what):
    if not is_true:
        raise Failed(what)


# -- the steps

def allowed_call(c, pin):
    c.step("The tax office asks the population register for a person. Its purpose and legal basis are allowed by rule POP-TAX-001.")
    answer = json.loads(c.call("GetPerson", {"pin": pin}).stdout)
    person = answer.get("person", answer)
    check(person.get("pin") == pin, f"the answer is about another person: {answer}")
    say(f"   answered, sealed and signed: {person.get('given_name', '')} {person.get('surname', '')}, PIN {pin}")


def refused_call(c, pin):
    c.step("The same question for a purpose that no rule allows is refused, and the refusal is on record.")
    done = c.call("GetPerson", {"pin": pin}, purpose="school.enrolment", expect=3)
    say("   refused (exit code 3): " + done.stderr.strip().splitlines()[0])


def move(c, pin, street, is_shown=False):
    c.tool("ehis-population", "change", "--db", "population.db", "--body", "-", stdin=json.dumps({"pin": pin, "address": {"city": "Bakı", "street": street}}, ensure_ascii=False),
           is_shown=is_shown)


def subscribe(c):
    (c.dir / "events.jsonl").write_text("")
    with open(c.dir / "events.jsonl", "ab") as out:
        return c.start("subscriber", "ehis-call", "subscribe", SERVICE, "PersonChanged", "--config", "tax-events.yaml", "--json", stdout=out)


def one_event(c, subscriber, pin):
    c.step("The tax office subscribes to PersonChanged; a person moves; the event arrives.")
    c.show("ehis-call", ["subscribe", SERVICE, "PersonChanged", "--config", "tax-events.yaml", "--json"])
    move(c, pin, "Nizami küçəsi 1", is_shown=True)
    wait("the event", lambda: c.alive(subscriber) and len(events(c)) >= 1)
    say(f"   received: {json.dumps(events(c)[0], ensure_ascii=False)[:150]}")


def events(c):
    found = []
    for line in (c.dir / "events.jsonl").read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            pass  # the last line is still being written
    return found


def killed_gateway(c, subscriber, pins):
    c.step(f"{CHANGES} people move, one after the other. In the middle the gateway is killed with SIGKILL, and started again.")
    before = len(events(c))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        moving = pool.submit(lambda: [move(c, pins[i % len(pins)], f"mənzil {i}") for i in range(CHANGES)])
        wait("a part of the events", lambda: c.alive(subscriber) and len(events(c)) - before >= CHANGES // 4, 120)
        c.stop("gateway", signal.SIGKILL)
        at_kill = len(events(c)) - before
        check(not moving.done(), "the stream was over before the gateway was killed")
        say(f"   killed after {at_kill} events, while more were being made; started again")
        c.start_gateway()
        moving.result()
    wait("all events", lambda: c.alive(subscriber) and len(events(c)) - before >= CHANGES, 120)
    time.sleep(1)
    got = events(c)[before:]
    numbers = collections.defaultdict(list)
    for e in got:
        numbers[e["stream"]].append(int(e["number"]))
    check(len(got) == CHANGES, f"{len(got)} events arrived instead of {CHANGES}")
    for stream, those in numbers.items():
        check(all(b == a + 1 for a, b in zip(those, those[1:])), f"stream {stream} is not in order, or not once each")
    say(f"   {len(got)} events arrived: each once, in order, none lost")


def read_journal(c):
    c.step("The security team reads the journal: every exchange, allowed or refused, with who, what, why and under which rule.")
    c.show("ehis-gateway", ["journal", "show", "--dir", "journal", "--json"])
    records = c.records()
    kinds = collections.Counter(r["kind"] for r in records)
    for r in [r for r in records if r.get("operation") == "GetPerson" and r.get("message") == "request" and r["kind"] in ("accepted", "refused")]:
        say(f"   {r['time']}  {r['kind']:9} {r['sender']} -> {r['recipient']} {r['operation']}  purpose {r['purpose']}  basis {r['legal_basis']}  "
            f"rule {r.get('rule', '-')}{'  ' + r['code'] + ' ' + r['error'] if 'code' in r else ''}")
    check(kinds["refused"] >= 1, "the refusal is not in the journal")
    check(kinds["accepted"] >= CHANGES + 3, f"only {kinds['accepted']} acceptances are in the journal")
    say("   records: " + ", ".join(f"{n} {k}" for k, n in kinds.most_common()))
    done = c.tool("ehis-gateway", "journal", "verify", "--dir", "journal", is_shown=True)
    say("   " + done.stdout.strip().splitlines()[0])


def perform(c):
    c.step("An authority, keys, certificates, a registry signed by the operator, 5,000 invented people.")
    c.make()
    say(f"   in {c.dir}")
    c.step("A gateway and the population register start.")
    c.start_gateway()
    c.start("population", "ehis-population", "serve", "--config", "population.yaml", "--db", "population.db")
    subscriber = subscribe(c)
    wait("the register and the subscriber", lambda: all(c.alive(p) for p in c.running.values()) and c.status()["sessions"]["ready"] >= 2 and
         c.status()["exchange"]["subscriptions"] >= 1)
    say("   both are connected by mutual TLS 1.3")
    pins = c.tool("ehis-population", "pins", "--db", "population.db").stdout.split()
    allowed_call(c, pins[0])
    refused_call(c, pins[0])
    one_event(c, subscriber, pins[1])
    killed_gateway(c, subscriber, pins[2:202])
    read_journal(c)


# -- life

def stop_left(folder):
    """Ends what an earlier --keep left, by pid and start time."""
    count = 0
    try:
        lines = (folder / "pids").read_text().splitlines()
    except OSError:
        return 0
    for line in reversed(lines):
        _, pid, start = line.split()
        if started(pid) == start:
            os.kill(int(pid), signal.SIGTERM)
            count += 1
            for _ in range(600):
                if started(pid) != start or state(pid) == "Z":
                    break
                time.sleep(0.05)
            else:
                os.kill(int(pid), signal.SIGKILL)
    (folder / "pids").unlink(missing_ok=True)
    return count


def state(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"


def renew(c):
    """In the background with --keep: fresh revocation lists every day, until the gateways have gone."""
    gateways = {c.running[name].pid: started(c.running[name].pid) for name in c.gateways}
    if os.fork() != 0:
        return
    os.setsid()
    c.lock.close()
    with open(c.dir / "renew.log", "ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    with open(c.dir / "pids", "a") as f:
        f.write(f"renew {os.getpid()} {started(os.getpid())}\n")
    while True:
        time.sleep(RENEW_S)
        left = [pid for pid, start in gateways.items() if started(pid) == start]
        if not left:
            os._exit(0)
        subprocess.run([str(BIN / "ehis-pki"), "crl", "--ca", "ca", "--out", "crl.pem", "--days", str(CRL_DAYS)], cwd=c.dir, check=False)
        for pid in left:
            os.kill(pid, signal.SIGHUP)


def default_dir():
    base = os.environ.get("XDG_STATE_HOME") or "/var/tmp"
    return pathlib.Path(base) / f"ehis-quickstart-{os.getuid()}"


def lock(folder):
    """Held while this script runs; beside the folder, which is deleted. What is started does not inherit it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    f = open(f"{folder}.lock", "w")
    try:
        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Failed(f"another run works in {folder}; wait for it, or name another folder with --dir") from None
    return f


def prepare(folder):
    """An empty folder of ours; another's is never touched."""
    if folder.exists():
        if not (folder / MARK).exists() or folder.stat().st_uid != os.getuid():
            raise Failed(f"{folder} exists and was not made by this script; name another with --dir")
        stop_left(folder)
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700, parents=True)
    (folder / MARK).write_text("made by deploy/quickstart/run; deleted when it runs again\n")


def main():
    p = argparse.ArgumentParser(prog="deploy/quickstart/run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--kafka", action="store_true", help="over a Kafka broker, with two gateways")
    p.add_argument("--keep", action="store_true", help="leave everything running")
    p.add_argument("--stop", action="store_true", help="stop what --keep left running")
    p.add_argument("--dir", type=pathlib.Path, default=default_dir(), help="where everything goes (default: %(default)s)")
    a = p.parse_args()
    a.dir = a.dir.absolute()
    if a.stop:
        say(f"stopped {stop_left(a.dir)} processes")
        return 0
    begun = time.monotonic()
    if a.kafka:
        import kafka_country  # it builds on this file
        c, story = kafka_country.KafkaCountry(a.dir), kafka_country.perform
    else:
        c, story = Country(a.dir), perform
    try:
        a.dir.parent.mkdir(parents=True, exist_ok=True)
        c.lock = lock(a.dir)
        prepare(a.dir)
        story(c)
    except (Failed, OSError, subprocess.SubprocessError, ValueError, KeyError) as e:
        c.stop_all()
        say(f"\nThis did not go as it should: {e}\nLogs are in {a.dir}.")
        return 1
    except KeyboardInterrupt:
        c.stop_all()
        return 130
    if a.keep:
        if "subscriber" in c.running:
            c.stop("subscriber")
        renew(c)
        say(f"""
It is left running. Try, in {a.dir}, with {BIN} on your PATH:
   echo '{{"surname_prefix": "Ə"}}' | ehis-call {SERVICE} FindPersons --config tax.yaml --purpose {PURPOSE} --basis '{BASIS}' --body -
   ehis-gateway status --socket {next(iter(c.gateways))}.sock
   ehis-policy who-can {SERVICE} --registry registry/registry.pb --operator operator.key.pub
Its revocation lists are renewed every day. Stop it with: deploy/quickstart/run --stop{'' if a.dir == default_dir() else f' --dir {a.dir}'}""")
    else:
        c.stop_all()
        say("\nEverything that was started has been stopped.")
    say(f"Done in {time.monotonic() - begun:.0f} seconds.")
    return 0


if __name__ == "__main__":
    sys.modules["country"] = sys.modules[__name__]
    sys.exit(main())
