# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""A country for jepsen.py over one folder: gateways, askers that also publish, providers that also subscribe; each a process that is killed and started."""
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import checker
from ports import free_port
from world import BIN, wait_until

ASKERS = {"a": "AZ/GOV/ASK/a", "b": "AZ/GOV/ASK/b", "c": "AZ/GOV/ASK/c"}
PROVIDERS = {"p": ("AZ/GOV/PRO/p", "exact"), "q": ("AZ/GOV/PRO/q", "serve")}
ENTITLED = {"a": ["p", "q"], "b": ["p", "q"], "c": ["p"]}  # to the events of each; all ask for them
IN_NAMESPACE = "EHIS_JEPSEN_NAMESPACE"
FIRST_USER = 61000
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
NEWS = """service: {system}/news
operations: [{{name: Changed, kind: event, schema: fault.v1.Changed}}]
rules:
- {{id: N-{name}, effect: permit, consumers: [{consumers}], operations: [Changed], purposes: [fault.load], legal_bases: [Fault 1],
   valid: {{from: 2026-01-01, until: 2036-01-01}}, approval: none}}
"""


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
        """SIGTERM; its exit code; or where it stood when it was killed, and what it said last."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            return self.p.wait(seconds)
        except subprocess.TimeoutExpired:
            stands = ", ".join(f"{(t / 'comm').read_text().strip()} in {(t / 'wchan').read_text()}" for t in pathlib.Path(f"/proc/{self.p.pid}/task").iterdir())
            self.kill()
            return f"SIGKILL after {seconds} s: {stands}; {pathlib.Path(self.log).read_text()[-1500:]}"


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
            self.add_client(name, system, "ask", name, 40 if kafka else 15, seed, f"{system}/news", *[f"{s}/inbox" for s, _ in PROVIDERS.values()])
        for name, (system, role) in PROVIDERS.items():
            self.add_client(name, system, role, f"{system}/inbox", *[f"{s}/news" for s in ASKERS.values()])
        self.deleted = {}  # asker: when the last topic of its events went, as its log counts time
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
        for name, system in ASKERS.items():
            (reg / f"services/{name}.yaml").write_text(NEWS.format(name=name, system=system, consumers=", ".join(PROVIDERS[n][0] for n in ENTITLED[name])))
        self.operator_key = json.loads(self.tool("ehis-registry", "keygen", "--out", "operator.key", "--json"))["public_key"]
        self.tool("ehis-registry", "build", "--dir", reg)
        self.tool("ehis-registry", "sign", "--dir", reg, "--key", "operator.key")

    def add(self, folder, name, kind, *words):
        self.tool("ehis-pki", "keygen", "--dir", folder, name, *words)
        self.issue(folder)
        self.tool("ehis-registry", "add", f"{folder}/join.request", "--as", kind, "--dir", "registry")

    def issue(self, folder):
        """A certificate, or another for the same key."""
        (self.dir / folder / "tls.crt").unlink(missing_ok=True)
        self.tool("ehis-pki", "issue", "--ca", "ca", "--request", f"{folder}/join.request", "--out", f"{folder}/tls.crt")

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

    def start(self, name, more=None, within_s=90):
        """Runs again, whatever state it is in; a gateway that answers."""
        p = self.gateways.get(name) or self.clients[name]
        p.send(signal.SIGCONT)
        if not p.is_up():
            p.start(more)
        if name in self.gateways:
            wait_until(lambda: not p.is_up() or self.status(name) is not None, within_s, f"{name}'s status")
        else:
            time.sleep(0.05)
        assert p.is_up(), f"{name} does not stay:\n{pathlib.Path(p.log).read_text()[-3000:]}"

    def start_all(self):
        """Who publishes comes last: all that is published is for every subscriber."""
        for name in self.gateways:
            self.start(name)
        for name, c in self.clients.items():
            if c.role != "ask":
                self.start(name)
        count = sum(map(len, ENTITLED.values()))
        for g in self.gateways:
            wait_until(lambda g=g: (self.status(g) or {"exchange": {"subscriptions": 0}})["exchange"]["subscriptions"] == count, 90, f"{count} subscriptions at {g}")
        for name in ASKERS:
            self.start(name)

    def log_text(self, name):
        path = self.dir / f"{name}.events"
        return path.read_text() if path.exists() else ""

    def events(self, name):
        return [json.loads(line) for line in self.log_text(name).splitlines() if line.endswith("}")]

    def finish(self):
        """Everything heals and comes to its end; the verdict."""
        self.start_all()
        askers = [c for c in self.clients.values() if c.role == "ask"]
        providers = [c for c in self.clients.values() if c.role != "ask"]
        self.flush(askers, "the end of all that was sent")
        for name in ASKERS:
            last = max(e["id"] for e in self.events(name) if e["e"] == "invoke" and e["what"] == "publish")
            for taker in ENTITLED[name]:
                wait_until(lambda n=name, t=taker, i=last: f'"name":"{n}","id":{i},' in self.log_text(t), 200, f"the last event of {name} at {taker}")
        self.settle(60)
        self.flush(providers, "the end of all that was answered")
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

    def settle(self, seconds):
        """What was handed over is acknowledged, too; if not in this time, the checker says what is missing."""
        def is_so(s):
            return s is not None and not any(i["in_flight"] for i in s["inboxes"]) and not s["bus"].get("held", 0)
        end = time.monotonic() + seconds
        while time.monotonic() < end and not all(is_so(self.status(g)) for g in self.gateways):
            time.sleep(0.2)

    def flush(self, clients, what):
        for c in clients:
            c.send(signal.SIGTERM)
        for c in clients:
            wait_until(lambda c=c: any(int(run) % (1 << 22) == c.p.pid for run in re.findall(r'"run":(\d+),"e":"flushed"', self.log_text(c.name))), 200, f"{what} by {c.name}")

    def judge(self):
        gateways = []
        for g in self.gateway_names:
            verified = subprocess.run([BIN / "ehis-gateway", "journal", "verify", "--dir", self.dir / f"{g}.journal", "--json"], capture_output=True, text=True, check=False)
            (self.dir / f"{g}.records").write_text(self.tool("ehis-gateway", "journal", "show", "--dir", f"{g}.journal", "--json", "--all"))
            gateways.append({"name": g, "identifier": f"AZ/{g}", "is_verified": verified.returncode == 0})
        clients = [{"name": c.name, "system": c.system, "role": c.role} for c in self.clients.values()]
        (self.dir / "land.json").write_text(json.dumps({"clients": clients, "gateways": gateways, "is_carried": self.kafka is not None,
                                                        "entitled": ENTITLED, "deleted": self.deleted}))
        return checker.judge_folder(self.dir)

    def stop_all(self):
        for p in [*self.clients.values(), *self.gateways.values()]:
            p.kill()
