# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""What an administrator of a cluster does, in a few requests of Kafka's protocol over mutual TLS: for tests that make a cluster unsafe, and
for a broker that lies.

    admin = Admin(kafka.cluster)
    admin.create("t1..audit", replicas=1, config={"min.insync.replicas": "1"})
    admin.alter(TOPIC, "t1..audit", {"retention.ms": "1000"});  admin.delete("t1..audit");  admin.forbid("AZ/gw1");  admin.deny("AZ/gw1", "t1..audit")
    records = admin.read("t1..inbox.AZ..GOV..X")        # [(offset, key, value)]
    admin.write("t1..inbox.AZ..GOV..X", [(key, value), ...])
    admin.cut("t1..inbox.AZ..GOV..X");  admin.commit("t1..gw", "t1..inbox.AZ..GOV..X", 17, "text")
Each raises where the cluster answers with an error.
"""
import socket
import ssl
import struct
import subprocess
import time

TOPIC, BROKER = 2, 4
PRODUCE, LIST_OFFSETS, OFFSET_COMMIT, OFFSET_FETCH, FIND_COORDINATOR, DELETE_RECORDS = (0, 3), (2, 1), (8, 2), (9, 1), (10, 0), (21, 0)
CREATE_TOPICS, DELETE_TOPICS, CREATE_ACLS, DELETE_ACLS, INCREMENTAL_ALTER_CONFIGS = (19, 2), (20, 1), (30, 1), (31, 1), (44, 0)
ANY, MATCH_ANY, LITERAL, ALL, DENY = 1, 1, 3, 2, 2
NOT_YET = (3, 5, 6, 14, 15, 16, 44)  # no such topic, no leader, not the leader; coordinator that loads, is away, is another; a topic's setting of a moment ago
BATCH_BYTES = 900_000
CASTAGNOLI = [0] * 256
for n in range(256):
    c = n
    for _ in range(8):
        c = c >> 1 ^ (0x82F63B78 if c & 1 else 0)
    CASTAGNOLI[n] = c


def crc32c(data):
    c = 0xFFFFFFFF
    for b in data:
        c = c >> 8 ^ CASTAGNOLI[(c ^ b) & 0xFF]
    return c ^ 0xFFFFFFFF


def zigzag(n):
    n, out = n << 1 if n >= 0 else (-n << 1) - 1, bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out) + bytes([n])


def counted(data):
    return zigzag(-1) if data is None else zigzag(len(data)) + data


def batch(records):
    """A record batch (magic 2) as any producer writes it: not idempotent, not compressed."""
    rows = b""
    for n, (key, value) in enumerate(records):
        row = b"\0" + zigzag(0) + zigzag(n) + counted(key) + counted(value) + zigzag(0)
        rows += zigzag(len(row)) + row
    tail = struct.pack(">hiqqqhii", 0, len(records) - 1, 0, 0, -1, -1, -1, len(records)) + rows
    return struct.pack(">qiibI", 0, len(tail) + 9, -1, 2, crc32c(tail)) + tail


def text(s):
    return b"\xff\xff" if s is None else struct.pack(">h", len(s.encode())) + s.encode()


def array(items):
    items = list(items)
    return struct.pack(">i", len(items)) + b"".join(items)


class Admin:
    def __init__(self, cluster):
        self.cluster = cluster

    def ask(self, request, body, node=None, skip=8):
        """The answer after its throttle time, which some have at their end: skip=4."""
        folder, plan = self.cluster.dir, self.cluster.plan
        context = ssl.create_default_context(cafile=str(folder / "ca/ca.crt"))
        context.load_cert_chain(folder / "admin/bus.crt", folder / "admin/bus.key")
        node = node or self.cluster.running()[0]
        with socket.create_connection((plan["host"], plan["ports"][node - 1]), 20) as plain, context.wrap_socket(plain, server_hostname=plan["host"]) as s:
            message = struct.pack(">hhi", *request, 1) + text("test") + body
            s.sendall(struct.pack(">i", len(message)) + message)
            with s.makefile("rb") as f:
                return f.read(struct.unpack(">i", f.read(4))[0])[skip:]

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
        end = time.monotonic() + 10
        while any(self.has(name, node) for node in self.cluster.running()):  # the controller has answered; the brokers hear of it a moment later
            assert time.monotonic() < end, f"{name} is still there"
            time.sleep(0.05)

    def has(self, name, node):
        body = struct.pack(">i", -1) + array([text(name) + array([struct.pack(">iq", 0, -1)])])
        return struct.unpack_from(">h", self.ask(LIST_OFFSETS, body, node, skip=4), 4 + 2 + len(name) + 4 + 4)[0] != 3

    def alter(self, kind, name, config):
        """config: settings; None: back to the default."""
        rows = array(text(k) + struct.pack(">b", v is None) + text(v) for k, v in config.items())
        answer = self.ask(INCREMENTAL_ALTER_CONFIGS, array([struct.pack(">b", kind) + text(name) + rows]) + b"\0")
        self.expect(struct.unpack_from(">h", answer, 4)[0], f"alter {name}")

    def forbid(self, principal):
        """Takes every right away from one."""
        answer = self.ask(DELETE_ACLS, array([struct.pack(">b", ANY) + text(None) + struct.pack(">b", MATCH_ANY) + text(f"User:{principal}") + text(None) + struct.pack(">bb", ANY, ANY)]))
        self.expect(struct.unpack_from(">h", answer, 4)[0], f"forbid {principal}")
        time.sleep(1)  # the brokers hear of it a moment later

    def deny(self, principal, topic):
        """Everything on one topic, whatever else is allowed; forbid() takes that away as well."""
        answer = self.ask(CREATE_ACLS, array([struct.pack(">b", TOPIC) + text(topic) + struct.pack(">b", LITERAL) + text(f"User:{principal}") + text("*") + struct.pack(">bb", ALL, DENY)]))
        self.expect(struct.unpack_from(">h", answer, 4)[0], f"deny {principal}")

    # -- records, as one who may everything

    def ask_leader(self, request, body, at, what, skip=8):
        """Of the one broker of several who answers without an error, which stands `at` bytes behind the answer's beginning (or, below 0, its end). A topic just made
        has none for a moment."""
        end = time.monotonic() + 10
        while True:
            for node in self.cluster.running():
                answer = self.ask(request, body, node, skip)
                error = struct.unpack_from(">h", answer, at if at >= 0 else len(answer) + at)[0]
                if not error:
                    return answer
            if error not in NOT_YET or time.monotonic() > end:
                raise AssertionError(f"the cluster answers {what} with error {error}")
            time.sleep(0.05)

    def write(self, topic, records, partition=0):
        """[(key, value)]; acknowledged by all that are in sync. No signature, no right is asked of what is written: the offset of the first."""
        first, at = None, 0
        while at < len(records):
            some, size = [], 0
            while at < len(records) and (not some or size + len(records[at][1] or b"") < BATCH_BYTES):
                size += len(records[at][1] or b"")
                some.append(records[at])
                at += 1
            data = batch(some)
            body = text(None) + struct.pack(">hi", -1, 20000) + array([text(topic) + array([struct.pack(">ii", partition, len(data)) + data])])
            answer = self.ask_leader(PRODUCE, body, 4 + 2 + len(topic) + 4 + 4, f"write {topic}", skip=4)
            first = struct.unpack_from(">q", answer, 4 + 2 + len(topic) + 4 + 4 + 2)[0] if first is None else first
        return first

    def read(self, topic, partition=0):
        """All records that are there: [(offset, key or None, value or None)]."""
        out, last = [], self.end(topic, partition) - 1
        words = [*self.cluster.kcat_words(), "-C", "-t", topic, "-p", str(partition), "-o", "beginning", "-e", "-q", "-f", "%o %K %S\n%k%s\n"]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as reader:
            while not out or out[-1][0] < last:  # who writes on and on would keep it for ever
                line = reader.stdout.readline()
                if not line:
                    break
                offset, k, v = map(int, line.split())
                key, value = reader.stdout.read(max(k, 0)), reader.stdout.read(max(v, 0))
                reader.stdout.read(1)
                out.append((offset, key if k >= 0 else None, value if v >= 0 else None))
            reader.kill()
        return out

    def end(self, topic, partition=0):
        """The offset of the record that would come next."""
        answer = self.ask_leader(LIST_OFFSETS, struct.pack(">i", -1) + array([text(topic) + array([struct.pack(">iq", partition, -1)])]), 4 + 2 + len(topic) + 4 + 4, f"end of {topic}", skip=4)
        return struct.unpack_from(">q", answer, 4 + 2 + len(topic) + 4 + 4 + 2 + 8)[0]

    def cut(self, topic, before=-1, partition=0):
        """Deletes the records before an offset, or all: kafka-delete-records."""
        body = array([text(topic) + array([struct.pack(">iq", partition, before)])]) + struct.pack(">i", 20000)
        self.ask_leader(DELETE_RECORDS, body, 4 + 2 + len(topic) + 4 + 4 + 8, f"cut {topic}")

    def commit(self, group, topic, offset, metadata="", partition=0):
        """A position of a group that nobody joins."""
        self.ask(FIND_COORDINATOR, text(group))  # where nobody has asked yet, it makes the topic of positions
        body = text(group) + struct.pack(">i", -1) + text("") + struct.pack(">q", -1) + array([text(topic) + array([struct.pack(">iq", partition, offset) + text(metadata)])])
        self.ask_leader(OFFSET_COMMIT, body, 4 + 2 + len(topic) + 4 + 4, f"commit {topic}", skip=4)

    def committed(self, group, topic, partition=0):
        """(offset, metadata); -1: none."""
        self.ask(FIND_COORDINATOR, text(group))
        answer = self.ask_leader(OFFSET_FETCH, text(group) + array([text(topic) + array([struct.pack(">i", partition)])]), -2, f"position of {topic}", skip=4)
        at = 4 + 2 + len(topic) + 4 + 4
        offset, length = struct.unpack_from(">qh", answer, at)
        return offset, answer[at + 10:at + 10 + max(length, 0)].decode()
