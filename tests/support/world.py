# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""A small country for tests over the real programs: an authority, a registry, a gateway on loopback, systems with their keys.

    with World(folder) as w:            # everything is made; nothing runs yet
        w.start_gateway()
        w.start_register()              # ehis-population, served by AZ/GOV/MIA/population
        done = w.call("tax", "GetPerson", {"pin": w.pins(1)[0]})
        assert done.returncode == 0, done.stderr

Systems by short name: population (offers AZ/GOV/MIA/population/person), tax (AZ/GOV/STS/tax: may call it for tax.assessment and
receive its events), students (AZ/GOV/MOE/students: has no right). Each has DIR/NAME.yaml, the settings of libehis, and DIR/NAME.state.
Processes are started with start(), stopped by their id, at the end in any case; what they print goes to DIR/NAME.log.
EHIS_BIN names the folder of the programs, build/dev/bin unless set.
"""
import json
import os
import pathlib
import signal
import subprocess
import time

from ports import free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("EHIS_BIN", ROOT / "build/dev/bin"))
SERVICE = "AZ/GOV/MIA/population/person"
PURPOSE = "tax.assessment"
BASIS = "Vergi Məcəlləsi 23"
SCHEMA = "az.gov.mia.population.v1"
SYSTEMS = {"population": "AZ/GOV/MIA/population", "tax": "AZ/GOV/STS/tax", "students": "AZ/GOV/MOE/students"}
TERMS = f"""instance: AZ
validity: {{days: 30, grace_hours: 72}}
terms:
  purposes:
  - {{code: {PURPOSE}, en: Tax assessment, az: Verginin hesablanması}}
  - {{code: school.enrolment, en: School enrolment, az: Məktəbə qəbul}}
  legal_bases:
  - {{code: {BASIS}, en: Tax Code 23, az: {BASIS}}}
  - {{code: Təhsil Qanunu 12, en: Education Act 12, az: Təhsil Qanunu 12}}
"""
PERSON = f"""service: {SERVICE}
operations:
- {{name: GetPerson, kind: request, request_schema: {SCHEMA}.GetPersonRequest, response_schema: {SCHEMA}.GetPersonResponse, max_response_bytes: 65536}}
- {{name: FindPersons, kind: request, request_schema: {SCHEMA}.FindPersonsRequest, response_schema: {SCHEMA}.FindPersonsResponse, max_response_bytes: 262144}}
- {{name: PersonChanged, kind: event, schema: {SCHEMA}.PersonChanged}}
rules:
- id: R-1
  effect: permit
  consumers: [AZ/GOV/STS/tax]
  operations: [GetPerson, FindPersons, PersonChanged]
  purposes: [{PURPOSE}]
  legal_bases: [{BASIS}]
  valid: {{from: 2026-01-01, until: 2036-01-01}}
  approval: MIA order 41
"""


def wait_until(true, seconds=20, what="the condition"):
    """Polls true() until it gives something; its value. Raises after the deadline."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = true()
        if value:
            return value
        time.sleep(0.02)
    raise TimeoutError(f"{what} did not come true within {seconds} s")


class World:
    def __init__(self, folder):
        self.dir = pathlib.Path(folder)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.running = {}  # name -> Popen
        self.admin = self.dir / "admin.sock"
        self.make_authority()
        self.make_registry()
        self.write_gateway_settings()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop_all()

    # -- programs

    @staticmethod
    def program(name):
        return str(BIN / name)

    def run(self, program, *words, input=None, timeout=60, check=False, env=None):
        """Runs to the end; standard output and error as text."""
        done = subprocess.run([self.program(program), *map(str, words)], input=input, capture_output=True, text=True, timeout=timeout,
                              check=False, cwd=self.dir, env={**os.environ, **(env or {})})
        if check and done.returncode != 0:
            raise AssertionError(f"{program} {' '.join(map(str, words))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def start(self, name, program, *words, stdout=None, env=None):
        """Starts a process that stays; its log goes to NAME.log, appended."""
        assert name not in self.running, f"{name} runs already"
        with open(self.log(name), "ab") as log:
            self.running[name] = subprocess.Popen([self.program(program), *map(str, words)], stdin=subprocess.DEVNULL, stdout=stdout or log,
                                                  stderr=log, cwd=self.dir, env={**os.environ, **(env or {})})
        return self.running[name]

    def stop(self, name, how=signal.SIGTERM, timeout=30):
        """Ends one process by its id; its exit code (negative: the signal)."""
        p = self.running.pop(name)
        if p.poll() is None:
            p.send_signal(how)
        try:
            return p.wait(timeout)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
            raise

    def stop_all(self):
        for name in reversed(list(self.running)):
            try:
                self.stop(name, timeout=20)
            except subprocess.TimeoutExpired:
                pass

    def log(self, name):
        return self.dir / f"{name}.log"

    def log_lines(self, name, event=None):
        """The JSON lines of a process's log, those of one event where it is named."""
        lines = []
        for text in self.log(name).read_text(errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if event is None or line.get("event") == event:
                lines.append(line)
        return lines

    # -- making the country

    def make_authority(self):
        self.run("ehis-pki", "init", "--dir", "ca", "--instance", "AZ", check=True)
        self.make_crl()
        self.make_keys("gw", "AZ/gw1", "--gateway")
        for name, identifier in SYSTEMS.items():
            self.make_keys(name, identifier)

    def make_crl(self):
        self.run("ehis-pki", "crl", "--ca", "ca", "--out", "crl.pem", check=True)

    def make_keys(self, name, identifier, *words):
        self.run("ehis-pki", "keygen", "--dir", name, identifier, *words, check=True)
        self.run("ehis-pki", "issue", "--ca", "ca", "--request", f"{name}/join.request", "--out", f"{name}/tls.crt", check=True)

    def make_registry(self):
        reg = self.dir / "registry"
        self.run("ehis-registry", "init", "--dir", reg, "--instance", "AZ", check=True)
        (reg / "registry.yaml").write_text(TERMS)
        for agency, title in (("MIA", "Daxili İşlər Nazirliyi"), ("STS", "Dövlət Vergi Xidməti"), ("MOE", "Elm və Təhsil Nazirliyi")):
            self.run("ehis-registry", "add", f"AZ/GOV/{agency}", "--as", "agency", "--name", title, "--dir", reg, check=True)
        self.run("ehis-registry", "add", "gw/join.request", "--as", "gateway", "--dir", reg, check=True)
        for name in SYSTEMS:
            self.run("ehis-registry", "add", f"{name}/join.request", "--as", "system", "--dir", reg, check=True)
        (reg / "services/person.yaml").write_text(PERSON)
        made = self.run("ehis-registry", "keygen", "--out", "operator.key", "--json", check=True)
        self.operator_key = json.loads(made.stdout)["public_key"]
        self.publish_registry()
        for name, identifier in SYSTEMS.items():
            self.write_adapter_settings(name, identifier)

    def publish_registry(self):
        """A new version of the signed document from the folder; a gateway takes it at SIGHUP."""
        self.run("ehis-registry", "build", "--dir", "registry", check=True)
        self.run("ehis-registry", "sign", "--dir", "registry", "--key", "operator.key", check=True)

    def add_system(self, name, identifier):
        """One more system of an agency that there is, with keys, settings and a place in the next registry version."""
        self.make_keys(name, identifier)
        self.run("ehis-registry", "add", f"{name}/join.request", "--as", "system", "--dir", "registry", check=True)
        self.write_adapter_settings(name, identifier)

    def write_gateway_settings(self, **more):
        """more: further lines, by section name, such as limits="{calls_max: 8}"."""
        sections = {"name": "AZ/gw1", "listen": f"['127.0.0.1:{self.port}']",
                    "tls": "{chain: gw/tls.crt, key: gw/tls.key, ca: ca/ca.crt, crls: [crl.pem]}", "sign_key": "gw/sign.key",
                    "registry": f"{{file: registry/registry.pb, operator_keys: [{self.operator_key}]}}",
                    "journal": "{dir: journal, segment_bytes: 4MiB, segments_max: 16, group_max_bytes: 2MiB, reserve_bytes: 1MiB}",
                    "admin": "{socket: admin.sock}", **more}
        (self.dir / "gateway.yaml").write_text("".join(f"{k}: {v}\n" for k, v in sections.items()))

    def write_adapter_settings(self, name, identifier, **more):
        sections = {"system": identifier, "gateways": f"['127.0.0.1:{self.port}']",
                    "tls": f"{{chain: {name}/tls.crt, key: {name}/tls.key, ca: ca/ca.crt, crl: crl.pem}}",
                    "sign_key": f"{name}/sign.key", "seal_keys": f"[{name}/seal.key]",
                    "registry": f"{{operator_keys: [{self.operator_key}]}}", "state_dir": f"{name}.state", **more}
        (self.dir / f"{name}.yaml").write_text("".join(f"{k}: {v}\n" for k, v in sections.items()))
        (self.dir / f"{name}.state").mkdir(mode=0o700, exist_ok=True)

    # -- the gateway

    def start_gateway(self, env=None):
        """Runs, and answers on its admin socket."""
        (self.dir / "journal").mkdir(mode=0o700, exist_ok=True)
        p = self.start("gateway", "ehis-gateway", "--config", "gateway.yaml", env=env)

        def is_up():
            assert p.poll() is None, f"the gateway ended:\n{self.log('gateway').read_text()[-4000:]}"
            return self.run("ehis-gateway", "status", "--socket", self.admin).returncode == 0
        wait_until(is_up, 60, "the gateway's status")
        return p

    def kill_gateway(self):
        return self.stop("gateway", signal.SIGKILL)

    def status(self):
        return json.loads(self.run("ehis-gateway", "status", "--socket", self.admin, check=True).stdout)

    def records(self, *words, journal="journal"):
        """The journal's records, as ehis-gateway journal show gives them; words: --kind refused, --exchange ID, ..."""
        shown = self.run("ehis-gateway", "journal", "show", "--dir", journal, "--json", *words, check=True).stdout
        return [json.loads(line) for line in shown.splitlines() if line.strip()]

    # -- the population register and its callers

    def seed(self, people=200, number=7):
        """The register's people, once."""
        if not (self.dir / "people.db").exists():
            self.run("ehis-population", "seed", "--db", "people.db", "--people", people, "--seed", number, check=True)

    def pins(self, count):
        self.seed()
        return self.run("ehis-population", "pins", "--db", "people.db", "--count", count, check=True).stdout.split()

    def start_register(self):
        """Serves, and has a ready session."""
        self.seed()
        before = len(self.log_lines("register", "population.ready")) if self.log("register").exists() else 0
        p = self.start("register", "ehis-population", "serve", "--config", "population.yaml", "--db", "people.db")

        def is_up():
            assert p.poll() is None, f"the register ended:\n{self.log('register').read_text()[-4000:]}"
            return len(self.log_lines("register", "population.ready")) > before
        wait_until(is_up, 60, "the register's session")
        return p

    def move(self, pin, **address):
        """A person moves: one PersonChanged."""
        return self.run("ehis-population", "change", "--db", "people.db", "--body", "-", input=json.dumps({"pin": pin, "address": address}), check=True)

    def call(self, who, operation, body, *words, service=SERVICE, purpose=PURPOSE, basis=BASIS, **more):
        """ehis-call as a system; body: what becomes JSON, or a text as it stands."""
        text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        return self.run("ehis-call", service, operation, "--config", f"{who}.yaml", "--purpose", purpose, "--basis", basis,
                        "--content-type", "application/json", "--body", "-", *words, input=text, **more)
