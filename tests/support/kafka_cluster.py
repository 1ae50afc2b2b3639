# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""A real Kafka broker for tests, one for a whole session of pytest: deploy/kafka's, on free ports, with mutual TLS and rights.

    def test_x(kafka, land):
        kafka.join(land)                # settings, certificate, topics and rights of this country's gateway
        land.start_gateway()

Each country has topics of its own by a prefix. Skipped plainly where Java, Maven, kcat or the jars are missing.
"""
import itertools
import os
import pathlib
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "deploy/kafka"))
import cluster  # noqa: E402
from ports import free_ports  # noqa: E402
import world  # noqa: E402

os.environ.setdefault("EHIS_BIN", str(world.BIN))


class Kafka:
    """A cluster that runs, and what tests do with it."""

    def __init__(self, folder, nodes=1, version="4.1", more=""):
        self.cluster = cluster.Cluster(folder, is_bound=True)
        self.cluster.make(nodes, version, ports=free_ports(2 * nodes), more=more)
        self.prefixes = (f"t{n}" for n in itertools.count(1))
        self.cluster.up()

    def certificate(self, name):
        """The folder with bus.crt and bus.key of AZ/name."""
        folder = self.cluster.dir / "clients" / name
        return folder if folder.exists() else self.cluster.certify(name, folder)

    def bus(self, name="gw1", prefix=None, **more):
        """The section bus of a gateway's settings."""
        own = self.certificate(name)
        rows = {"brokers": "[" + ", ".join(f"'{b}'" for b in self.cluster.bootstrap()) + "]", "ca": self.cluster.dir / "ca/ca.crt",
                "certificate": own / "bus.crt", "key": own / "bus.key", "prefix": prefix or next(self.prefixes),
                "pilot": "false" if self.cluster.plan["nodes"] >= 3 else "true", "partitions": 2, **more}
        return "{kind: kafka, kafka: {" + ", ".join(f"{k}: {v}" for k, v in rows.items()) + "}}"

    def join(self, world, prefix=None, **more):
        """A country's gateway gets its settings, topics and rights; the topics' prefix."""
        prefix = prefix or next(self.prefixes)
        world.write_gateway_settings(bus=self.bus(prefix=prefix, **more))
        self.create(world)
        return prefix

    def admin(self):
        return ["--certificate", self.cluster.dir / "admin/bus.crt", "--key", self.cluster.dir / "admin/bus.key"]

    def create(self, world, *words, check=True, config="gateway.yaml"):
        return world.run("ehis-gateway", "topics", "create", "--config", config, *self.admin(), *words, check=check)


def need(version="4.1"):
    """Skips where no broker can run."""
    for program in ("java", "mvn", "kcat"):
        if not shutil.which(program):
            pytest.skip(f"{program} is missing: deploy/install-packages --kafka")
    try:
        cluster.jars(version)
    except (cluster.Failed, OSError) as e:
        pytest.skip(f"Kafka's jars are not to be had: {e}")


def make(folder, **more):
    """A cluster of one's own, or a skip; the caller ends it with .cluster.down()."""
    need(more.get("version", "4.1"))
    return Kafka(folder, **more)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory):
    k = make(tmp_path_factory.mktemp("kafka"))
    yield k
    k.cluster.down()
