#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""Applications that ask and serve, gateways, and a nemesis that draws its blows from a seed; at the end all heals, and checker.py judges.

    tests/fault/jepsen.py [--rounds 200] [--seed N] [--gateways 1] [--bus local|kafka] [--nodes 1] [--folder DIR] [--only BLOW,BLOW]

Prints seed and blows; exit 0 with no promise broken, 1 with some: then the folder stays. With Kafka, as root, it runs in namespaces of its own: each
gateway under a user of its own, so that rules of the kernel's routing can part one from the brokers; the brokers on a small disk that can be filled.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "deploy/kafka"))
import checker  # noqa: E402
import cluster  # noqa: E402
import kafka_admin  # noqa: E402
from world import BIN, free_port, wait_until  # noqa: E402

ASKERS = {"a": "AZ/GOV/ASK/a", "b": "AZ/GOV/ASK/b", "c": "AZ/GOV/ASK/c"}
PROVIDERS = {"p": ("AZ/GOV/PRO/p", "exact"), "q": ("AZ/GOV/PRO/q", "serve")}
TERMS = """instance: AZ
validity: {days: 30, grace_hours: 72}
terms:
  purposes: [{code: fault.load, en: Load, az: Yük}]
  legal_bases: [{code: Fault 1, en: Fault, az: Xəta}]
"""
RULES = """service: {system}/inbox
operations: [{{name: Put, kind: request, request_schema: fault.v1.Put, response_schema: fault.v1.Done}}]
rules:
- {{id: R-{name}, effect: permit, consumers: [{consumers}], operations: [Put], purposes: [fault.load], legal_bases: [Fault 1],
   valid: {{from: 2026-01-01, until: 2036-01-01}}, approval: none}}
"""


IN_NAMESPACE = "EHIS_JEPSEN_NAMESPACE"
FIRST_USER = 61000
DISK_BYTES = 256 * 1024 * 1024  # of all brokers
FAKETIME = next(iter(sorted(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


def enter_namespace():
    """Again, with a loopback of one's own where rules of routing come before what is local; where that cannot be, without partitions."""
    if os.environ.get(IN_NAMESPACE) == "1":
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["ip", "rule", "add", "from", "all", "lookup", "local", "prio", "100"], check=True)
        subprocess.run(["ip", "rule", "del", "prio", "0"], check=True)
    elif os.geteuid() == 0 and shutil.which("ip") and subprocess.run(["unshare", "-n", "-m", "true"], capture_output=True, check=False).returncode == 0:
        os.environ[IN_NAMESPACE] = "1"
        os.execvp("unshare", ["unshare", "-n", "-m", sys.executable, "-B", *sys.argv])


class Proc:
    """A process that is killed, stopped and started again. user: where it has one of its own."""

    def __init__(self, name, words, log, user=None):
        self.name, self.words, self.log, self.user, self.p = name, [str(w) for w in words], log, user, None

    def start(self, more=None):
        """more: variables of its environment."""
        with open(self.log, "ab") as log:
            who = {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}
            self.p = subprocess.Popen(self.words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **(more or {})}, **who)

    def is_up(self):
        return self.p is not None and self.p.poll() is None

    def send(self, how):
        if self.is_up():
            self.p.send_signal(how)

    def kill(self):
        self.send(signal.SIGKILL)
        if self.p:
            self.p.wait()

    def end(self, seconds):
        """SIGTERM; its exit code, or "killed"."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            return self.p.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return "killed"


class Land:
    """A country with gateways, askers and providers over one folder."""

    def __init__(self, folder, gateways=1, kafka=None, seed=0):
        self.dir = pathlib.Path(folder)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.gateway_names = [f"gw{n + 1}" for n in range(gateways)]
        self.ports = {g: free_port() for g in self.gateway_names}
        self.kafka, self.prefix = kafka, next(kafka.prefixes) if kafka else None
        self.make_registry()
        self.is_parted = kafka is not None and os.environ.get(IN_NAMESPACE) == "1"
        if self.is_parted:  # else who dials a port that nobody holds may be given that very port for its own end, and hold it
            ports = [*self.ports.values(), *kafka.cluster.plan["ports"], *kafka.cluster.plan["controller_ports"]]
            pathlib.Path("/proc/sys/net/ipv4/ip_local_reserved_ports").write_text(",".join(map(str, ports)))
        self.gateways = {}
        for n, g in enumerate(self.gateway_names):
            self.write_gateway(g)
            user = FIRST_USER + n if self.is_parted else None
            self.gateways[g] = Proc(g, [BIN / "ehis-gateway", "--config", self.dir / f"{g}.yaml"], self.dir / f"{g}.log", user)
            if user:
                self.give(user, g, f"{g}.journal", f"{g}.run", f"{g}.yaml", kafka.certificate(g))
        self.clients = {}
        for name, system in ASKERS.items():
            self.add_client(name, system, "ask", name, 40 if kafka else 15, seed, *[f"{s}/inbox" for s, _ in PROVIDERS.values()])
        for name, (system, role) in PROVIDERS.items():
            self.add_client(name, system, role, f"{system}/inbox")
        if kafka:
            self.make_topics()

    def make_topics(self):
        """And rights: what is there stays."""
        return self.tool("ehis-gateway", "topics", "create", "--config", "gw1.yaml", *self.kafka.admin())

    def give(self, user, *paths):
        for top in (self.dir / p for p in paths):
            for path in (top, *top.rglob("*")):
                os.chown(path, user, user)
        for path in (self.dir, *self.dir.parents, self.dir / "ca", self.dir / "registry", self.kafka.cluster.dir, self.kafka.cluster.dir / "clients", self.kafka.cluster.dir / "ca"):
            if path.stat().st_uid == os.geteuid():
                path.chmod(path.stat().st_mode | 0o011)  # on the way to what is everybody's

    def tool(self, name, *words):
        done = subprocess.run([BIN / name, *map(str, words)], cwd=self.dir, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{name} {words}: {done.stdout}{done.stderr}"
        return done.stdout

    def make_registry(self):
        reg = self.dir / "registry"
        self.tool("ehis-pki", "init", "--dir", "ca", "--instance", "AZ")
        self.tool("ehis-pki", "crl", "--ca", "ca", "--out", "crl.pem")
        self.tool("ehis-registry", "init", "--dir", reg, "--instance", "AZ")
        (reg / "registry.yaml").write_text(TERMS)
        for agency in ("ASK", "PRO"):
            self.tool("ehis-registry", "add", f"AZ/GOV/{agency}", "--as", "agency", "--name", agency, "--dir", reg)
        for g in self.gateway_names:
            self.add(g, f"AZ/{g}", "gateway", "--gateway")
        for name, system in [*ASKERS.items(), *((n, s) for n, (s, _) in PROVIDERS.items())]:
            self.add(name, system, "system")
        for name, (system, _) in PROVIDERS.items():
            (reg / f"services/{name}.yaml").write_text(RULES.format(name=name, system=system, consumers=", ".join(ASKERS.values())))
        self.operator_key = json.loads(self.tool("ehis-registry", "keygen", "--out", "operator.key", "--json"))["public_key"]
        self.tool("ehis-registry", "build", "--dir", reg)
        self.tool("ehis-registry", "sign", "--dir", reg, "--key", "operator.key")

    def add(self, folder, name, kind, *words):
        self.tool("ehis-pki", "keygen", "--dir", folder, name, *words)
        self.tool("ehis-pki", "issue", "--ca", "ca", "--request", f"{folder}/join.request", "--out", f"{folder}/tls.crt")
        self.tool("ehis-registry", "add", f"{folder}/join.request", "--as", kind, "--dir", "registry")

    def write_gateway(self, g):
        d = self.dir
        (d / f"{g}.journal").mkdir(mode=0o700, exist_ok=True)
        (d / f"{g}.run").mkdir(mode=0o700, exist_ok=True)
        sections = {"name": f"AZ/{g}", "listen": f"['127.0.0.1:{self.ports[g]}']",
                    "tls": f"{{chain: {d}/{g}/tls.crt, key: {d}/{g}/tls.key, ca: {d}/ca/ca.crt, crls: [{d}/crl.pem]}}", "sign_key": f"{d}/{g}/sign.key",
                    "registry": f"{{file: {d}/registry/registry.pb, operator_keys: [{self.operator_key}]}}",
                    "journal": f"{{dir: {d}/{g}.journal, segment_bytes: 4MiB, segments_max: 32, group_max_bytes: 1MiB, reserve_bytes: 0}}",
                    "limits": "{attempts_max: 100}", "admin": f"{{socket: {d}/{g}.run/admin.sock}}"}
        if self.kafka:
            sections["bus"] = self.kafka.bus(name=g, prefix=self.prefix)
        (d / f"{g}.yaml").write_text("".join(f"{k}: {v}\n" for k, v in sections.items()))

    def add_client(self, name, system, role, *words):
        d = self.dir
        addresses = ", ".join(f"'127.0.0.1:{p}'" for p in self.ports.values())
        sections = {"system": system, "gateways": f"[{addresses}]",
                    "tls": f"{{chain: {d}/{name}/tls.crt, key: {d}/{name}/tls.key, ca: {d}/ca/ca.crt, crl: {d}/crl.pem}}", "sign_key": f"{d}/{name}/sign.key",
                    "seal_keys": f"[{d}/{name}/seal.key]", "registry": f"{{operator_keys: [{self.operator_key}]}}", "state_dir": f"{d}/{name}.state"}
        (d / f"{name}.yaml").write_text("".join(f"{k}: {v}\n" for k, v in sections.items()))
        (d / f"{name}.state").mkdir(mode=0o700, exist_ok=True)
        p = Proc(name, [BIN / "jepsen_client", d / f"{name}.yaml", d / f"{name}.events", role, *words], d / f"{name}.log")
        p.system, p.role = system, role
        self.clients[name] = p

    def status(self, g):
        done = subprocess.run([BIN / "ehis-gateway", "status", "--socket", self.dir / f"{g}.run/admin.sock"], capture_output=True, text=True, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def start(self, name, more=None):
        """Runs again, whatever state it is in; a gateway that answers."""
        p = self.gateways.get(name) or self.clients[name]
        p.send(signal.SIGCONT)
        if not p.is_up():
            p.start(more)
        if name in self.gateways:
            wait_until(lambda: not p.is_up() or self.status(name) is not None, 90, f"{name}'s status")
        else:
            time.sleep(0.05)
        assert p.is_up(), f"{name} does not stay:\n{pathlib.Path(p.log).read_text()[-3000:]}"

    def start_all(self):
        for name in [*self.gateways, *self.clients]:
            self.start(name)

    def events(self, name):
        path = self.dir / f"{name}.events"
        return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")] if path.exists() else []

    def finish(self):
        """Everything heals and comes to its end; the verdict."""
        self.start_all()
        askers = [c for c in self.clients.values() if c.role == "ask"]
        providers = [c for c in self.clients.values() if c.role != "ask"]
        for clients, what in ((askers, "sent"), (providers, "answered")):
            for c in clients:
                c.send(signal.SIGTERM)
            wait_until(lambda those=clients: all(any(e["e"] == "flushed" and e["run"] == c.p.pid for e in self.events(c.name)) for c in those), 200, f"the end of all that was {what}")
        ends = {c.name: c.end(60) for c in [*askers, *providers]}
        ends.update({g: p.end(60) for g, p in self.gateways.items()})
        v = self.judge()
        for name, code in ends.items():
            v.must(code == 0, f"{name} ended with {code}")
        for name in ends:
            text = (self.dir / f"{name}.log").read_text(errors="replace")
            for sign in ("Sanitizer", "runtime error", "ssertion"):
                v.must(sign not in text, f"{name}: {text[max(0, text.find(sign) - 200):][:3000]}")
        return v

    def judge(self):
        gateways = []
        for g in self.gateway_names:
            verified = subprocess.run([BIN / "ehis-gateway", "journal", "verify", "--dir", self.dir / f"{g}.journal", "--json"], capture_output=True, text=True, check=False)
            (self.dir / f"{g}.records").write_text(self.tool("ehis-gateway", "journal", "show", "--dir", f"{g}.journal", "--json", "--all"))
            gateways.append({"name": g, "identifier": f"AZ/{g}", "is_verified": verified.returncode == 0})
        clients = [{"name": c.name, "system": c.system, "role": c.role} for c in self.clients.values()]
        (self.dir / "land.json").write_text(json.dumps({"clients": clients, "gateways": gateways, "is_carried": self.kafka is not None}))
        return checker.judge_folder(self.dir)

    def stop_all(self):
        for p in [*self.clients.values(), *self.gateways.values()]:
            p.kill()


class Nemesis:
    """Blows drawn from the seed: each does its harm, leaves it for a while, and heals it."""

    def __init__(self, land, seed, say=print, only=()):
        self.land, self.chance, self.say = land, random.Random(f"jepsen {seed}"), say
        self.blows = [(self.kill, "gateway", 4), (self.kill, "client", 4), (self.pause, "gateway", 3), (self.pause, "client", 2), (self.kill_all, "gateway", 1),
                      (self.drain, "gateway", 1), (self.kill_two, "any", 2)]
        if land.kafka:
            self.blows += [(self.kill_broker, "broker", 3), (self.pause_broker, "broker", 2), (self.stop_broker, "broker", 1), (self.kill_all_brokers, "broker", 1),
                           (self.delete_topic, "topic", 3), (self.forbid, "gateway", 2)]
        if land.is_parted:
            self.blows += [(self.part, "gateway", 5), (self.fill_disk, "broker", 1)]
        if land.kafka and FAKETIME:
            self.blows += [(self.move_clock, "gateway", 2)]
        self.blows = [b for b in self.blows if not only or b[0].__name__ in only]
        self.dealt = collections.Counter()

    def pick(self, what):
        names = {"gateway": list(self.land.gateways), "client": list(self.land.clients), "any": [*self.land.gateways, *self.land.clients]}[what]
        return self.chance.choice(names)

    def proc(self, name):
        return self.land.gateways.get(name) or self.land.clients[name]

    def round(self, n):
        time.sleep(self.chance.uniform(0.1, 1.0))
        blow, what, _ = self.chance.choices(self.blows, [w for _, _, w in self.blows])[0]
        done = blow(what)
        self.dealt[blow.__name__] += 1
        self.say(f"round {n}: {blow.__name__} {done}", flush=True)

    def kill(self, what):
        name, down = self.pick(what), self.chance.choice([0, 0, 0.3, 2])
        self.proc(name).kill()
        time.sleep(down)
        self.land.start(name)
        return f"{name}, down for {down} s"

    def kill_two(self, what):
        names, down = [self.pick(what), self.pick(what)], self.chance.uniform(0, 1)
        for name in names:
            self.proc(name).kill()
        time.sleep(down)
        for name in names:
            self.land.start(name)
        return f"{names}, down for {down:.1f} s"

    def kill_all(self, what):
        names = list(self.land.gateways)
        for name in names:
            self.proc(name).kill()
        for name in names:
            self.land.start(name)
        return str(names)

    def pause(self, what):
        name, still = self.pick(what), self.chance.choice([0.2, 1, 4, 7])
        self.proc(name).send(signal.SIGSTOP)
        time.sleep(still)
        self.proc(name).send(signal.SIGCONT)
        return f"{name}, still for {still} s"

    def drain(self, what):
        name = self.pick(what)
        code = self.proc(name).end(60)
        assert code == 0, f"{name} ended with {code}"
        self.land.start(name)
        return name

    def move_clock(self, what):
        """A gateway dies and comes back with a clock that is wrong by less than anybody minds; then right again."""
        name, seconds, wrong = self.pick(what), self.chance.choice([-45, -10, 20, 45]), self.chance.choice([2, 6])
        moved = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"{seconds:+d}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "ASAN_OPTIONS": "verify_asan_link_order=0"}
        for more in (moved, None):
            self.proc(name).kill()
            self.land.start(name, more)
            time.sleep(wrong if more else 0)
        return f"{name}, {seconds:+d} s for {wrong} s"

    # -- brokers

    def broker(self):
        return self.chance.randint(1, self.land.kafka.cluster.plan["nodes"])

    def start_brokers(self, nodes=None):
        """Who was killed may hold its ports for a moment longer: its first thread has gone, the others have not."""
        c = self.land.kafka.cluster
        for node in nodes or range(1, c.plan["nodes"] + 1):
            for port in (c.plan["ports"][node - 1], c.plan["controller_ports"][node - 1]):
                wait_until(lambda at=port, n=node: c.pid(n) or cluster.is_free(c.plan["host"], at), 30, f"port {port} of broker {node}")
        c.up(nodes)

    def kill_broker(self, _):
        c, node, down = self.land.kafka.cluster, self.broker(), self.chance.choice([0, 1, 5, 12])
        c.down([node], signal.SIGKILL)
        time.sleep(down)
        self.start_brokers([node])
        return f"{node}, down for {down} s"

    def stop_broker(self, _):
        c, node = self.land.kafka.cluster, self.broker()
        c.down([node])
        self.start_brokers([node])
        return node

    def kill_all_brokers(self, _):
        c = self.land.kafka.cluster
        c.down(how=signal.SIGKILL)
        self.start_brokers()
        return c.plan["nodes"]

    def pause_broker(self, _):
        c, node, still = self.land.kafka.cluster, self.broker(), self.chance.choice([1, 4, 12])
        c.stop(node, signal.SIGSTOP)
        time.sleep(still)
        c.stop(node, signal.SIGCONT)
        return f"{node}, still for {still} s"

    def delete_topic(self, _):
        """All that stands in it is gone, and its offsets mean nothing any more."""
        land, down = self.land, self.chance.choice([0, 0, 3, 8])
        names = [f"{kind}.{c.system.replace('/', '..')}" for c in land.clients.values() for kind in ("inbox", "inbox", "call")] + [f"reply.AZ..{g}" for g in land.gateways]
        name = f"{land.prefix}..{self.chance.choice(names)}"
        kafka_admin.Admin(land.kafka.cluster).delete(name)
        time.sleep(down)
        wait_until(lambda: name in land.make_topics(), 30, f"{name} is made again")
        return f"{name}, gone for {down} s"

    def forbid(self, what):
        """A gateway loses every right, and gets them back."""
        name, down = self.pick(what), self.chance.choice([1, 4, 10])
        kafka_admin.Admin(self.land.kafka.cluster).forbid(f"AZ/{name}")
        time.sleep(down)
        self.land.make_topics()
        return f"{name} for {down} s"

    def fill_disk(self, _):
        c, full = self.land.kafka.cluster, self.chance.choice([1, 4, 10])
        filler = c.dir / "filler"
        try:
            with open(filler, "wb") as f:
                while True:
                    f.write(bytes(1 << 20))
                    f.flush()
        except OSError:
            pass
        time.sleep(full)
        filler.unlink()
        self.start_brokers()  # who could not write has ended
        return f"for {full} s"

    def part(self, what):
        """Nothing that this gateway sends reaches this broker, or any."""
        name, c, apart = self.pick(what), self.land.kafka.cluster, self.chance.choice([1, 4, 8, 15])
        ports = self.chance.choice([c.plan["ports"], [self.chance.choice(c.plan["ports"])]])
        user = str(self.land.gateways[name].user)
        rules = [["prio", "10", "uidrange", f"{user}-{user}", "ipproto", "tcp", "dport", str(port), "blackhole"] for port in ports]
        for rule in rules:
            subprocess.run(["ip", "rule", "add", *rule], check=True)
        time.sleep(apart)
        for rule in rules:
            subprocess.run(["ip", "rule", "del", *rule], check=True)
        return f"{name} from {ports} for {apart} s"


def run(folder, rounds, seed, gateways=1, kafka=None, say=print, only=()):
    """The verdict, with what was dealt in its counts."""
    land = Land(folder, gateways, kafka, seed=seed)
    try:
        land.start_all()
        nemesis = Nemesis(land, seed, say, only)
        for n in range(1, rounds + 1):
            nemesis.round(n)
        time.sleep(0.5)
        v = land.finish()
        v.counts.update(nemesis.dealt)
        return v
    finally:
        land.stop_all()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int, default=200)
    p.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    p.add_argument("--gateways", type=int, default=1)
    p.add_argument("--bus", choices=["local", "kafka"], default="local")
    p.add_argument("--nodes", type=int, default=1)
    p.add_argument("--folder")
    p.add_argument("--only", default="", help="blows, with commas: no others are dealt")
    o = p.parse_args()
    if o.bus == "kafka":
        enter_namespace()
    folder = pathlib.Path(o.folder or tempfile.mkdtemp(prefix="jepsen"))
    print(f"--seed {o.seed} --rounds {o.rounds} --gateways {o.gateways} --bus {o.bus} --nodes {o.nodes} --folder {folder}", flush=True)
    kafka = None
    if o.bus == "kafka":
        import kafka_cluster
        if os.environ.get(IN_NAMESPACE) == "1":
            (folder / "kafka").mkdir(parents=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=711", "tmpfs", folder / "kafka"], check=True)
        kafka = kafka_cluster.make(folder / "kafka", nodes=o.nodes)
    try:
        v = run(folder / "land", o.rounds, o.seed, o.gateways, kafka, only=[b for b in o.only.split(",") if b])
    finally:
        if kafka:
            kafka.cluster.down()
    print(json.dumps(v.counts))
    print("\n".join(v.broken[:50]))
    if not v.broken and not o.folder:
        shutil.rmtree(folder)
    return bool(v.broken)


if __name__ == "__main__":
    sys.exit(main())
