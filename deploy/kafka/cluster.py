#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""Kafka brokers on this machine, as the gateways want them: KRaft, mutual TLS on every listener, rights for gateways alone.

    deploy/kafka/run up [--nodes 3] [--kafka 3.9]   start, in the background (again: what does not run yet)
    deploy/kafka/run                                start, stop at Ctrl-C
    deploy/kafka/run certificate AZ/gw1             a gateway's certificate for the brokers
    deploy/kafka/run status                         what runs, and where
    deploy/kafka/run down [--node 2]                stop

A folder keeps its cluster: certificates, data, logs. The brokers have an authority of their own; nobody but the gateways that
"ehis-gateway topics create" names gets any right, and no topic is made by accident. One node is for trials (bus.kafka.pilot: true);
three on one machine show how it works, and survive the loss of a process, not of the machine.
"""
import argparse
import base64
import ctypes
import fcntl
import hashlib
import itertools
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MARK = ".ehis-kafka"
PR_SET_PDEATHSIG = 1
LOGGING = {"4.1": "-Dlog4j2.configurationFile={}/log4j2.properties", "3.9": "-Dlog4j.configuration=file:{}/log4j.properties"}
# Small: a broker for a trial or a test. EHIS_KAFKA_HEAP for more.
JVM = ["-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djava.awt.headless=true", "-Dcom.sun.management.jmxremote=false"]
# Of every node. Rights come from the subject of a certificate of the bus; any other, of whatever authority, stays without (DEFAULT).
PROPERTIES = r"""process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=SSL://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=SSL://{host}:{port}
inter.broker.listener.name=SSL
controller.listener.names=CONTROLLER
listener.security.protocol.map=SSL:SSL,CONTROLLER:SSL
log.dirs={dir}/data
ssl.keystore.type=PEM
ssl.keystore.location={dir}/keystore.pem
ssl.truststore.type=PEM
ssl.truststore.location={ca}
ssl.client.auth=required
ssl.enabled.protocols=TLSv1.3
ssl.principal.mapping.rules=RULE:^CN=([A-Za-z0-9._-]+),OU=ehis-bus,O=([A-Za-z0-9._-]+)$/$2\\/$1/,DEFAULT
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users={supers}
auto.create.topics.enable=false
unclean.leader.election.enable=false
compression.type=snappy
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=8
offsets.retention.minutes=43200
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=8
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=16777216
"""


class Failed(Exception):
    pass


def program(name):
    return str(pathlib.Path(os.environ.get("EHIS_BIN", ROOT / "build/release/bin")) / name)


def run(*words, cwd=None, timeout=120):
    done = subprocess.run(list(map(str, words)), cwd=cwd, capture_output=True, text=True, timeout=timeout)
    if done.returncode != 0:
        raise Failed(f"{pathlib.Path(words[0]).name} {' '.join(map(str, words[1:4]))} ...: exit code {done.returncode}\n{(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def java():
    return shutil.which("java") or "java"


def jars(version):
    """The folder of Kafka's jars; fetched by Maven once for each version of the POM. Without network afterwards."""
    pom = HERE / version / "pom.xml"
    lib = pathlib.Path(os.environ.get("EHIS_KAFKA_JARS", ROOT / "build/kafka")) / hashlib.sha256(pom.read_bytes()).hexdigest()[:12]
    if not lib.is_dir():
        new = lib.with_name(f"{lib.name}.{os.getpid()}")
        print(f"fetching Kafka {version} from Maven Central", file=sys.stderr)
        run("mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={new}", timeout=900)
        try:
            new.rename(lib)
        except OSError:  # another was faster
            shutil.rmtree(new)
    return lib


def started(pid):
    """The kernel's start time of a live process: a pid that was used again is told apart."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return None if fields[0] == "Z" else fields[19]
    except (OSError, IndexError):
        return None


def is_free(host, port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((host, port))
        except OSError:
            return False
    return True


def free_ports(count):
    """Beside those that the kernel gives to connections, where it leaves any: while a broker is down, a client that dials it again and again would sooner or
    later take its port."""
    first, last = map(int, pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    beside = [*range(max(1024, first // 2), first), *range(last + 1, 65536)]
    ports = beside if len(beside) >= 1000 else range(1024, 65536)
    return list(itertools.islice((p for p in random.sample(ports, len(ports)) if is_free("127.0.0.1", p)), count))


def write(path, text, mode=0o600):
    new = path.with_name(path.name + ".new")
    new.write_text(text, encoding="utf-8")
    new.chmod(mode)
    new.rename(path)


class Cluster:
    """One folder's brokers. is_bound: they end with this process, however it ends."""

    def __init__(self, folder, is_bound=False):
        self.dir = pathlib.Path(folder).absolute()
        self.is_bound = is_bound
        self.children = []
        self.plan = json.loads((self.dir / "cluster.json").read_text()) if (self.dir / "cluster.json").exists() else None

    # -- making

    def make(self, nodes=1, version="4.1", port_base=19092, instance="AZ", host="localhost", more="", ports=None):
        """A new cluster in an empty or absent folder. ports: two for each node; else from port_base on, 0: free ones. more: further lines of every node's properties."""
        if self.plan:
            return
        if self.dir.exists() and any(p.name != "lock" for p in self.dir.iterdir()) and not (self.dir / MARK).exists():
            raise Failed(f"{self.dir} is not empty and was not made by this script; name another with --dir")
        self.dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in self.dir.iterdir():  # of a start that did not get as far as cluster.json
            if old.name not in (MARK, "lock"):
                shutil.rmtree(old) if old.is_dir() else old.unlink()
        write(self.dir / MARK, "made by deploy/kafka/run\n")
        ports = ports or (free_ports(2 * nodes) if port_base == 0 else [port_base + 10 * (i // 2) + i % 2 for i in range(2 * nodes)])
        self.plan = {"nodes": nodes, "kafka": version, "instance": instance, "host": host, "ports": ports[::2], "controller_ports": ports[1::2],
                     "cluster_id": base64.urlsafe_b64encode(b"\x01" + uuid.uuid4().bytes[1:]).decode().rstrip("=")}
        run(program("ehis-pki"), "init", "--dir", self.dir / "ca", "--instance", instance)
        self.certify("kafka-admin", self.dir / "admin")
        for node in range(1, nodes + 1):
            self.make_node(node, more)
        write(self.dir / "cluster.json", json.dumps(self.plan, indent=1) + "\n")

    def certify(self, name, folder, hosts=(), days=90):
        """A key and a certificate of the bus for INSTANCE/name: folder/bus.key, folder/bus.crt."""
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        identifier = f"{self.plan['instance']}/{name}"
        if not (folder / "bus.key").exists():
            run(program("ehis-pki"), "keygen", identifier, "--bus", "--dir", folder)
        words = [w for h in hosts for w in ("--host", h)]
        run(program("ehis-pki"), "sign-csr", identifier, "--bus", "--csr", folder / "bus.csr", "--ca", self.dir / "ca", "--out", folder / "bus.crt", "--days", days, *words)
        return folder

    def make_node(self, node, more):
        p, folder, nodes = self.plan, self.node_dir(node), self.plan["nodes"]
        self.renew(node)
        supers = [f"User:{p['instance']}/kafka{n}" for n in range(1, nodes + 1)] + [f"User:{p['instance']}/kafka-admin"]
        write(folder / "server.properties", PROPERTIES.format(
            node=node, dir=folder, ca=self.dir / "ca/ca.crt", host=p["host"], port=p["ports"][node - 1], controller=p["controller_ports"][node - 1],
            voters=",".join(f"{n + 1}@{p['host']}:{port}" for n, port in enumerate(p["controller_ports"])), supers=";".join(supers),
            replicas=3 if nodes >= 3 else 1, in_sync=2 if nodes >= 3 else 1) + more)
        run(java(), *JVM, "-cp", f"{jars(p['kafka'])}/*", self.logging(), f"-Dehis.log={folder}/format.log", "kafka.tools.StorageTool", "format",
            "-t", p["cluster_id"], "-c", folder / "server.properties")

    def renew(self, node):
        """A certificate for the next start; Kafka wants key and chain in one file."""
        folder = self.node_dir(node)
        self.certify(f"kafka{node}", folder, sorted({self.plan["host"], "localhost", "127.0.0.1"}))
        write(folder / "keystore.pem", (folder / "bus.key").read_text() + (folder / "bus.crt").read_text())

    def node_dir(self, node):
        return self.dir / f"n{node}"

    def logging(self):
        return LOGGING[self.plan["kafka"]].format(HERE / self.plan["kafka"])

    # -- running

    def pid(self, node):
        """Of a node that runs, else None."""
        try:
            pid, start = (self.node_dir(node) / "pid").read_text().split()
        except (OSError, ValueError):
            return None
        return int(pid) if started(int(pid)) == start else None

    def start(self, node):
        if self.pid(node):
            return
        p, folder = self.plan, self.node_dir(node)
        for port in (p["ports"][node - 1], p["controller_ports"][node - 1]):
            end = time.monotonic() + 10
            while not is_free(p["host"], port):
                if time.monotonic() >= end:
                    raise Failed(f"port {port} of {p['host']} is taken; stop what holds it, or make a cluster elsewhere with --dir and --port-base")
                time.sleep(0.1)  # whoever was killed may hold it for a moment longer than its process number
        self.renew(node)
        words = [java(), *JVM, f"-Xmx{os.environ.get('EHIS_KAFKA_HEAP', '384m')}", "-cp", f"{jars(p['kafka'])}/*", self.logging(),
                 f"-Dehis.log={folder}/kafka.log", "kafka.Kafka", str(folder / "server.properties")]
        with open(folder / "out.log", "ab") as out:
            child = subprocess.Popen(words, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                                     preexec_fn=end_with_parent if self.is_bound else None)
        self.children.append(child)
        write(folder / "pid", f"{child.pid} {started(child.pid)}\n")

    def up(self, nodes=None, seconds=120):
        """Starts these nodes, or all; returns when as many brokers as run are in the metadata, asked for over mutual TLS."""
        for node in nodes or range(1, self.plan["nodes"] + 1):
            self.start(node)
        end = time.monotonic() + seconds
        while len(self.brokers()) < len(self.running()) or not self.running():
            for child in self.children:
                child.poll()
            for node in nodes or range(1, self.plan["nodes"] + 1):
                if not self.pid(node):
                    raise Failed(f"broker {node} ended by itself; the end of its log:\n{self.log_end(node)}")
            if time.monotonic() > end:
                raise Failed(f"the brokers did not answer within {seconds} s; logs are in {self.dir}/n*/kafka.log")
            time.sleep(0.1)

    def log_end(self, node, lines=12):
        folder = self.node_dir(node)
        text = "".join((folder / n).read_text(errors="replace") for n in ("out.log", "kafka.log") if (folder / n).exists())
        return "\n".join(text.splitlines()[-lines:])

    def stop(self, node, how=signal.SIGTERM):
        pid = self.pid(node)
        if pid:
            os.kill(pid, how)

    def down(self, nodes=None, how=signal.SIGTERM, seconds=60):
        """All at once: the last of three would wait for a quorum that has gone."""
        nodes = list(nodes or range(1, self.plan["nodes"] + 1))
        left = {node: self.pid(node) for node in nodes if self.pid(node)}
        count = len(left)
        for node in left:
            self.stop(node, how)
        end = time.monotonic() + seconds
        while left and time.monotonic() < end:
            for child in self.children:
                child.poll()
            left = {node: pid for node, pid in left.items() if self.pid(node) == pid}
            time.sleep(0.05)
        for node, pid in left.items():
            print(f"broker {node} did not end within {seconds} s; it is killed", file=sys.stderr)
            os.kill(pid, signal.SIGKILL)
        for node in nodes:
            (self.node_dir(node) / "pid").unlink(missing_ok=True)
        return count

    def running(self):
        return [n for n in range(1, self.plan["nodes"] + 1) if self.pid(n)]

    # -- asking

    def bootstrap(self):
        return [f"{self.plan['host']}:{port}" for port in self.plan["ports"]]

    def kcat_words(self, identity=None):
        """kcat as the administrator, or with the certificate in another folder."""
        folder = identity or self.dir / "admin"
        return ["kcat", "-b", ",".join(self.bootstrap()), "-X", "security.protocol=ssl", "-X", f"ssl.ca.location={self.dir}/ca/ca.crt",
                "-X", f"ssl.certificate.location={folder}/bus.crt", "-X", f"ssl.key.location={folder}/bus.key"]

    def kcat(self, *words, identity=None, timeout=20, stdin=None, text=True):
        return subprocess.run([*self.kcat_words(identity), *map(str, words)], capture_output=True, text=text, timeout=timeout, input=stdin)

    def brokers(self):
        if all(is_free(self.plan["host"], port) for port in self.plan["ports"]):
            return []
        try:
            done = self.kcat("-L", "-J", "-m", "3")
            return json.loads(done.stdout)["brokers"] if done.returncode == 0 else []
        except (ValueError, KeyError, subprocess.TimeoutExpired):
            return []

    def status(self):
        if not self.plan:
            return {"dir": str(self.dir), "brokers": []}
        p = self.plan
        return {"dir": str(self.dir), "kafka": p["kafka"], "bootstrap": self.bootstrap(), "ca": f"{self.dir}/ca/ca.crt",
                "admin": {"certificate": f"{self.dir}/admin/bus.crt", "key": f"{self.dir}/admin/bus.key"},
                "brokers": [{"node": n, "pid": self.pid(n), "port": p["ports"][n - 1], "log": f"{self.node_dir(n)}/kafka.log"} for n in range(1, p["nodes"] + 1)],
                "answering": len(self.brokers()) if self.running() else 0}


def end_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def default_dir():
    return pathlib.Path(os.environ.get("XDG_STATE_HOME") or "/var/tmp") / f"ehis-kafka-{os.getuid()}"


def locked(folder):
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    f = open(folder / "lock", "w")
    try:
        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Failed(f"another run works in {folder}; wait for it, or name another folder with --dir") from None
    return f


def check_same(c, a):
    for name, given, held in (("--nodes", a.nodes, c.plan["nodes"]), ("--kafka", a.kafka, c.plan["kafka"]), ("--port-base", a.port_base, c.plan["ports"][0]),
                              ("--instance", a.instance, c.plan["instance"])):
        if given is not None and given != held:
            raise Failed(f"{c.dir} holds a cluster with {name} {held}; name another folder with --dir")


def say_where(c):
    p = c.plan
    print(f"""{len(c.running())} of {p['nodes']} brokers of Kafka {p['kafka']} run. A gateway's settings:
bus:
  kind: kafka
  kafka:
    brokers: [{', '.join("'" + b + "'" for b in c.bootstrap())}]
    ca: {c.dir}/ca/ca.crt
    certificate: FOLDER/bus.crt     # deploy/kafka/run certificate {p['instance']}/NAME --out FOLDER
    key: FOLDER/bus.key{'''
    pilot: true''' if p['nodes'] < 3 else ''}
Topics and rights: ehis-gateway topics create --config gateway.yaml --certificate {c.dir}/admin/bus.crt --key {c.dir}/admin/bus.key""")


def perform(a):
    c = Cluster(a.dir, is_bound=a.verb == "run")
    if a.verb == "status":
        s = c.status()
        if a.json:
            print(json.dumps(s, indent=1))
        elif not c.plan:
            print(f"{c.dir} holds no cluster")
        else:
            for b in s["brokers"]:
                print(f"broker {b['node']}: {'runs, process ' + str(b['pid']) if b['pid'] else 'does not run'}; port {b['port']}, log {b['log']}")
            print(f"{s['answering']} brokers answer over mutual TLS")
        return 0 if c.plan and s["answering"] == c.plan["nodes"] else 1
    lock = locked(c.dir)
    with lock:
        if a.verb in ("certificate", "down") and not c.plan:
            raise Failed(f"{c.dir} holds no cluster")
        if a.verb == "certificate":
            instance, _, name = a.name.partition("/")
            if instance != c.plan["instance"] or not name:
                raise Failed(f"{a.name}: names are {c.plan['instance']}/NAME here")
            folder = (a.out or c.dir / "clients" / name).absolute()
            print(c.certify(name, folder))
            return 0
        nodes = [a.node] if a.node else None
        if a.verb == "down":
            print(f"stopped {c.down(nodes)} brokers", file=sys.stderr)
            return 0
        if c.plan:
            check_same(c, a)
        c.make(a.nodes or 1, a.kafka or "4.1", 19092 if a.port_base is None else a.port_base, a.instance or "AZ")
        if nodes and not 1 <= a.node <= c.plan["nodes"]:
            raise Failed(f"there is no node {a.node}")
        try:
            c.up(nodes)
        except BaseException:
            c.down(nodes)
            raise
        say_where(c)
        if a.verb == "run":
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
            try:
                signal.sigwait({signal.SIGINT, signal.SIGTERM})
            finally:
                c.down()
    return 0


def main():
    p = argparse.ArgumentParser(prog="deploy/kafka/run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("verb", nargs="?", default="run", choices=["run", "up", "down", "status", "certificate"])
    p.add_argument("name", nargs="?", help="certificate: of whom, INSTANCE/NAME")
    p.add_argument("--dir", type=pathlib.Path, default=default_dir(), help="the cluster's folder (default: %(default)s)")
    p.add_argument("--nodes", type=int, choices=[1, 3], help="brokers of a new cluster (default: 1)")
    p.add_argument("--kafka", choices=sorted(LOGGING), help="Kafka's version, for a new cluster (default: 4.1)")
    p.add_argument("--port-base", type=int, help="first port of a new cluster, 0 for free ones (default: 19092)")
    p.add_argument("--instance", help="instance in the names of brokers and gateways of a new cluster (default: AZ)")
    p.add_argument("--node", type=int, help="up, down: this one alone")
    p.add_argument("--out", type=pathlib.Path, help="certificate: the folder it goes to")
    p.add_argument("--json", action="store_true", help="status: as JSON")
    a = p.parse_args()
    if (a.verb == "certificate") != (a.name is not None):
        p.error("certificate takes a name, INSTANCE/NAME; nothing else does")
    try:
        return perform(a)
    except (Failed, OSError, subprocess.SubprocessError) as e:
        print(f"deploy/kafka/run: {e}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
