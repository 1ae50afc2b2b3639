# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""Blows drawn from a seed, for jepsen.py."""
import collections
import pathlib
import random
import signal
import struct
import subprocess
import time

import cluster
import kafka_admin
import short_cert
from land import ASKERS

FAKETIME = next(iter(sorted(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)  # the other is not for threads: a gateway may stand still for ever


class Nemesis:
    """Blows drawn from the seed: each does its harm, leaves it for a while, and heals it."""

    def __init__(self, land, seed, say=print, only=()):
        self.land, self.chance, self.say = land, random.Random(f"jepsen {seed}"), say
        self.blows = [(self.kill, "gateway", 4), (self.kill, "client", 4), (self.pause, "gateway", 3), (self.pause, "client", 2), (self.kill_all, "gateway", 1),
                      (self.drain, "gateway", 1), (self.kill_two, "any", 2), (self.lag, "any", 2), (self.expire, "any", 2)]
        if land.kafka:
            self.blows += [(self.kill_broker, "broker", 3), (self.pause_broker, "broker", 2), (self.stop_broker, "broker", 1), (self.kill_all_brokers, "broker", 1),
                           (self.delete_topic, "topic", 3), (self.forbid, "gateway", 2), (self.expire_at_brokers, "gateway", 2)]
        if land.is_parted:
            self.blows += [(self.part, "gateway", 5), (self.fill_disk, "broker", 1)]
        if land.kafka and FAKETIME:
            self.blows += [(self.move_clock, "gateway", 2)]
        self.blows = [b for b in self.blows if not only or b[0].__name__ in only]
        self.dealt = collections.Counter()
        self.standing = {}  # who stands still: until which round

    def pick(self, what):
        names = {"gateway": list(self.land.gateways), "client": list(self.land.clients), "any": [*self.land.gateways, *self.land.clients]}[what]
        return self.chance.choice(names)

    def proc(self, name):
        return self.land.gateways.get(name) or self.land.clients[name]

    def round(self, n):
        time.sleep(self.chance.uniform(0.1, 1.0))
        self.heal(n)
        self.number = n
        blow, what, _ = self.chance.choices(self.blows, [w for _, _, w in self.blows])[0]
        done = blow(what)
        self.dealt[blow.__name__] += 1
        self.say(f"round {n}: {blow.__name__} {done}", flush=True)

    def heal(self, n=None):
        """Who stood still long enough, or at the end whoever does, goes on."""
        for name in [name for name, until in self.standing.items() if n is None or n >= until]:
            del self.standing[name]
            self.proc(name).send(signal.SIGCONT)

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

    def lag(self, what):
        """It stands still while the others go on, and harm and heal each other; then there is much to do."""
        name, until = self.pick(what), self.number + self.chance.randint(2, 6)
        self.proc(name).send(signal.SIGSTOP)
        self.standing[name] = until
        return f"{name}, still until round {until}"

    def drain(self, what):
        name = self.pick(what)
        code = self.proc(name).end(60)
        assert code == 0, f"{name} ended with {code}"
        self.land.start(name)
        return name

    def move_clock(self, what):
        """A gateway dies and comes back with a clock that is wrong by less than anybody minds; then right again."""
        name, seconds, wrong = self.pick(what), self.chance.choice([-45, -10, 20, 45]), self.chance.choice([2, 6])
        moved = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"{seconds:+d}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "ASAN_OPTIONS": "verify_asan_link_order=0"}
        for more in (moved, None):
            self.proc(name).kill()
            self.land.start(name, more, within_s=300)  # with a clock that is ahead each of librdkafka's waits is longer by that: C11's cnd_timedwait is not faked
            time.sleep(wrong if more else 0)
        return f"{name}, {seconds:+d} s for {wrong} s"

    def expire(self, what):
        """A certificate runs out, and another stands in its place: a gateway reads it when it is told, a client when it starts, or by itself."""
        land, name, left, past = self.land, self.pick(what), 4, self.chance.choice([1, 7])
        short_cert.shorten(land.dir / name / "tls.crt", land.dir / "ca/intermediate.key", left)
        self.renewed(name)
        time.sleep(left + past)
        land.issue(name)
        is_alone = name in land.clients and self.chance.random() < 0.5
        if not is_alone:
            self.renewed(name)
        return f"{name}, for {past} s{', and renewed by itself' if is_alone else ''}"

    def renewed(self, name):
        if name in self.land.gateways:
            self.proc(name).send(signal.SIGHUP)
        else:
            self.restart(name)

    # -- brokers

    def broker(self):
        return self.chance.randint(1, self.land.kafka.cluster.plan["nodes"])

    def start_brokers(self, nodes=None):
        """Who was killed may hold its ports for a moment longer, and who could not write may be about to end."""
        c, end = self.land.kafka.cluster, time.monotonic() + 180
        while True:
            try:
                return c.up(nodes)
            except cluster.Failed as e:
                if time.monotonic() > end:
                    raise
                self.say(f"brokers: {e}; again", flush=True)

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
        names = [(f"{kind}.{c.system.replace('/', '..')}", None) for c in land.clients.values() for kind in ("inbox", "inbox", "call")]
        names += [(f"reply.AZ..{g}", None) for g in land.gateways] + [(f"event.{s.replace('/', '..')}..news..Changed", asker) for asker, s in ASKERS.items()]
        topic, publisher = self.chance.choice(names)
        name = f"{land.prefix}..{topic}"
        if publisher:  # open: a gateway that is away all the while cannot tell the new topic from the old, and passes over what lies below its old position
            self.heal()
            down = max(down, 3)
        self.administer("delete", name)
        time.sleep(down)
        if publisher:  # what stood there is lost to who had not read it, and named to him (SPEC 17.9.1); nothing of what comes after
            land.deleted[publisher] = int(time.monotonic() * 1000)
        self.make_topics(name)
        return f"{name}, gone for {down} s"

    def administer(self, verb, *words):
        """What a cluster that has not come to itself again refuses, or does not answer in time, is asked again."""
        end = time.monotonic() + 60
        while True:
            try:
                return getattr(kafka_admin.Admin(self.land.kafka.cluster), verb)(*words)
            except (AssertionError, OSError, struct.error) as e:
                if time.monotonic() > end:
                    raise
                self.say(f"{verb} {words}: {e}; again", flush=True)
                if verb == "delete" and "error 3" in str(e):  # it is gone: the first time, its answer was late
                    return None
                time.sleep(0.5)

    def make_topics(self, name=""):
        """name: one that must be there again."""
        end = time.monotonic() + 60
        while True:
            try:
                if name in self.land.make_topics():
                    return
            except AssertionError as e:
                if time.monotonic() > end:
                    raise
                self.say(f"topics create: {e}; again", flush=True)
            assert time.monotonic() < end, f"{name} is not made again"
            time.sleep(0.1)

    def forbid(self, what):
        """A gateway loses every right, and gets them back."""
        name, down = self.pick(what), self.chance.choice([1, 4, 10])
        self.administer("forbid", f"AZ/{name}")
        time.sleep(down)
        self.make_topics()
        return f"{name} for {down} s"

    def expire_at_brokers(self, what):
        """A gateway's certificate of the bus runs out: what is connected stays so until something cuts it; it lives, or comes back, without brokers, and then with them."""
        land, name, left, past = self.land, self.pick(what), 4, self.chance.choice([0, 2, 6])
        folder = land.kafka.certificate(name)
        short_cert.shorten(folder / "bus.crt", land.kafka.cluster.dir / "ca/intermediate.key", left)
        self.proc(name).kill()
        land.start(name)
        time.sleep(left + past)
        cut = self.chance.choice([self.stop_broker, self.restart])
        cut(name)
        time.sleep(past)
        (folder / "bus.crt").unlink()
        land.kafka.cluster.certify(name, folder)
        heal = self.chance.choice([self.restart, self.renewed])
        heal(name)
        return f"{name}, {cut.__name__}, for {2 * past} s, {heal.__name__}"

    def restart(self, name):
        self.proc(name).kill()
        self.land.start(name)

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
