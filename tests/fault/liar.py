# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""A broker that lies: with an administrator's rights it drops, repeats, moves, reorders, alters and forges what gateways have written to the topics of
inboxes and replies. What it forges, alters or repeats may never be delivered; what it drops or reorders is named within 30 s and sent again.

    liar = Liar(kafka.cluster, prefix, systems, gateways, chance, make)      # make(): ehis-gateway topics create
    said = liar.lie()          # one lie, drawn by chance, done when it returns: "drop t1..inbox.AZ..X: 17 records"; liar.lie("forge"): this one
    liar.told                  # [(monotonic seconds, its name, topic, number of records)]
Needs nothing of the gateways; heals nothing: the cluster is as the topics' makers left it, but for what the records are.
"""
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from forge_parcel import ENVELOPE, REPORT, SKIP, Forger, head_of, payload_of  # noqa: E402
from kafka_admin import Admin  # noqa: E402

FORGED, EXPIRED = "AZ/gw9", 6
AT_ONCE = 200  # records at most that one lie writes


class Liar:
    LIES = ("drop", "renew", "repeat", "reorder", "move", "alter", "forge")

    def __init__(self, cluster, prefix, systems, gateways, chance, make):
        self.admin, self.prefix, self.chance, self.make, self.told = Admin(cluster), prefix, chance, make, []
        self.systems, self.gateways = list(systems), list(gateways)

    def topic(self, kind, identifier):
        return f"{self.prefix}..{kind}.{identifier.replace('/', '..')}"

    def any_topic(self):
        kind = self.chance.choice(["inbox", "inbox", "call", "reply"])
        return self.topic(kind, self.chance.choice(self.gateways if kind == "reply" else self.systems))

    def lie(self, name=None, topic=None):
        name, topic = name or self.chance.choice(self.LIES), topic or self.any_topic()
        count = getattr(self, name)(topic)
        self.told.append((time.monotonic(), name, topic, count))
        return f"{name} {topic}: {count} records"

    def some(self, topic):
        """Records that are there, or were, as they stand: a run of them, mostly the newest."""
        records = [(k, v) for _, k, v in self.admin.read(topic) if v]
        last = len(records) - (self.chance.randrange(len(records)) if records and self.chance.random() < 0.3 else 0)
        return records[max(0, last - self.chance.randint(1, AT_ONCE)):last]

    # -- what is taken away

    def drop(self, topic):
        """All that is under way, read or not."""
        before = self.admin.end(topic)
        self.admin.cut(topic)
        return before

    def renew(self, topic, records=()):
        self.admin.delete(topic)
        self.make()
        if records:
            self.admin.write(topic, list(records))
        return len(records)

    def reorder(self, topic):
        """The topic made anew, with what stood in it in another order."""
        records = self.some(topic)
        self.chance.shuffle(records)
        return self.renew(topic, records)

    # -- what is put there

    def repeat(self, topic):
        records = self.some(topic)
        if records:
            self.admin.write(topic, records * self.chance.randint(1, 2))
        return len(records)

    def move(self, topic):
        """Into another's topic, or another kind of topic of the same."""
        records, to = self.some(topic), self.any_topic()
        if records and to != topic:
            self.admin.write(to, records)
        return len(records)

    def alter(self, topic):
        """One bit, the end, or something behind it; of the first a bit of its signature, which stands last, so that one keeps its form."""
        def other(v):
            at = self.chance.randrange(len(v))
            return self.chance.choice([v[:at] + bytes([v[at] ^ 1 << self.chance.randrange(8)]) + v[at + 1:], v[:at], v + v[:at], v[at:]])
        records = self.some(topic)
        records = [(k, v[:-1] + bytes([v[-1] ^ 1])) for k, v in records[:1]] + [(k, other(v)) for k, v in records[1:]]
        if records:
            self.admin.write(topic, records)
        return len(records)

    def forge(self, topic):
        """Parcels by a key of its own: as a gateway that is none, and in a true one's name; with true envelopes and digests in them."""
        out = []
        for k, v in self.some(topic):
            head, forger = head_of(v), Forger(self.chance.choice([FORGED, *self.gateways]))
            if head["kind"] == ENVELOPE:
                out.append((k, forger.parcel(topic, ENVELOPE, payload_of(v), accepted_ms=head["accepted_ms"], registry_version=head["registry_version"])))
                stream = {"sender": self.chance.choice(self.systems), "system": self.chance.choice(self.systems), "stream": (k or b"").ljust(16, b"\0")[:16]}
                out.append((k, forger.parcel(topic, SKIP, number=self.chance.randint(1, 1000), state=EXPIRED, **stream)))
            elif head["kind"] == REPORT:
                out.append((k, forger.parcel(topic, REPORT, digest=head["digest"], system=head["system"].decode(), state=EXPIRED)))
        if out:
            self.admin.write(topic, out)
        return len(out)
