#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""Applications that ask and serve, gateways, and a nemesis that draws its blows from a seed; at the end all heals, and checker.py judges.

    tests/fault/jepsen.py [--rounds 200] [--seed N] [--gateways 1] [--bus local|kafka] [--nodes 1] [--folder DIR] [--only BLOW,BLOW]

Prints seed and blows; exit 0 with no promise broken, 1 with some: then the folder stays. With Kafka, as root, it runs in namespaces of its own: each
gateway under a user of its own, so that rules of the kernel's routing can part one from the brokers; the brokers on a small disk that can be filled.
"""
import argparse
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "deploy/kafka"))
from land import IN_NAMESPACE, Land  # noqa: E402
from nemesis import Nemesis  # noqa: E402

DISK_BYTES = 256 << 20  # of all brokers, and for each round
DISK_BYTES_A_ROUND = 4 << 20


def enter_namespace():
    """Again, with a loopback of one's own where rules of routing come before what is local; where that cannot be, without partitions."""
    if os.environ.get(IN_NAMESPACE) == "1":
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["ip", "rule", "add", "from", "all", "lookup", "local", "prio", "100"], check=True)
        subprocess.run(["ip", "rule", "del", "prio", "0"], check=True)
    elif os.geteuid() == 0 and shutil.which("ip") and subprocess.run(["unshare", "-n", "-m", "true"], capture_output=True, check=False).returncode == 0:
        os.environ[IN_NAMESPACE] = "1"
        os.execvp("unshare", ["unshare", "-n", "-m", sys.executable, "-B", *sys.argv])


def run(folder, rounds, seed, gateways=1, kafka=None, say=print, only=()):
    """The verdict, with what was dealt in its counts."""
    land = Land(folder, gateways, kafka, seed=seed)
    try:
        land.start_all()
        nemesis = Nemesis(land, seed, say, only)
        for n in range(1, rounds + 1):
            nemesis.round(n)
        nemesis.heal()
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
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES + o.rounds * DISK_BYTES_A_ROUND},mode=711", "tmpfs", folder / "kafka"], check=True)
        kafka = kafka_cluster.make(folder / "kafka", nodes=o.nodes)
    try:
        v = run(folder / "land", o.rounds, o.seed, o.gateways, kafka, only=[b for b in o.only.split(",") if b])
    finally:
        if kafka:
            kafka.cluster.down()
            for node in range(1, o.nodes + 1):  # the rest of its disk goes with the namespace
                shutil.copy(kafka.cluster.node_dir(node) / "kafka.log", folder / f"broker{node}.log")
    print(json.dumps(v.counts))
    print("\n".join(v.broken[:50]))
    if not v.broken and not o.folder:
        shutil.rmtree(folder)
    return bool(v.broken)


if __name__ == "__main__":
    sys.exit(main())
