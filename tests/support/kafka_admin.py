# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""What an administrator of a cluster does, in a few requests of Kafka's protocol over mutual TLS: for tests that make a cluster unsafe.

    admin = Admin(kafka.cluster)
    admin.create("t1..audit", replicas=1, config={"min.insync.replicas": "1"})
    admin.alter(TOPIC, "t1..audit", {"retention.ms": "1000"});  admin.delete("t1..audit");  admin.forbid("AZ/gw1")
Each raises where the cluster answers with an error.
"""
import socket
import ssl
import struct

TOPIC, BROKER = 2, 4
CREATE_TOPICS, DELETE_TOPICS, DELETE_ACLS, INCREMENTAL_ALTER_CONFIGS = (19, 2), (20, 1), (31, 1), (44, 0)
ANY, MATCH_ANY = 1, 1


def text(s):
    return b"\xff\xff" if s is None else struct.pack(">h", len(s.encode())) + s.encode()


def array(items):
    items = list(items)
    return struct.pack(">i", len(items)) + b"".join(items)


class Admin:
    def __init__(self, cluster):
        self.cluster = cluster

    def ask(self, request, body):
        """The answer after its throttle time."""
        folder, plan = self.cluster.dir, self.cluster.plan
        context = ssl.create_default_context(cafile=str(folder / "ca/ca.crt"))
        context.load_cert_chain(folder / "admin/bus.crt", folder / "admin/bus.key")
        node = self.cluster.running()[0]
        with socket.create_connection((plan["host"], plan["ports"][node - 1]), 20) as plain, context.wrap_socket(plain, server_hostname=plan["host"]) as s:
            message = struct.pack(">hhi", *request, 1) + text("test") + body
            s.sendall(struct.pack(">i", len(message)) + message)
            with s.makefile("rb") as f:
                return f.read(struct.unpack(">i", f.read(4))[0])[8:]

    @staticmethod
    def expect(error, what):
        if error:
            raise AssertionError(f"the cluster answers {what} with error {error}")

    def create(self, name, partitions=1, replicas=1, config=None):
        rows = array(text(k) + text(v) for k, v in (config or {}).items())
        answer = self.ask(CREATE_TOPICS, array([text(name) + struct.pack(">ihi", partitions, replicas, 0) + rows]) + struct.pack(">i?", 20000, False))
        self.expect(struct.unpack_from(">h", answer, 4 + 2 + len(name))[0], f"create {name}")

    def delete(self, name):
        answer = self.ask(DELETE_TOPICS, array([text(name)]) + struct.pack(">i", 20000))
        self.expect(struct.unpack_from(">h", answer, 4 + 2 + len(name))[0], f"delete {name}")

    def alter(self, kind, name, config):
        """config: settings; None: back to the default."""
        rows = array(text(k) + struct.pack(">b", v is None) + text(v) for k, v in config.items())
        answer = self.ask(INCREMENTAL_ALTER_CONFIGS, array([struct.pack(">b", kind) + text(name) + rows]) + b"\0")
        self.expect(struct.unpack_from(">h", answer, 4)[0], f"alter {name}")

    def forbid(self, principal):
        """Takes every right away from one."""
        answer = self.ask(DELETE_ACLS, array([struct.pack(">b", ANY) + text(None) + struct.pack(">b", MATCH_ANY) + text(f"User:{principal}") + text(None) + struct.pack(">bb", ANY, ANY)]))
        self.expect(struct.unpack_from(">h", answer, 4)[0], f"forbid {principal}")
