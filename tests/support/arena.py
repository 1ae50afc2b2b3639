# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""A gateway under attack: what it logged and recorded since the attack began, and a witness, an honest session that must go on being
served whatever others do."""
import contextlib
import os

from ehis_peer import ACCEPTED, Peer
from world import SERVICE, wait_until


class Arena:
    def __init__(self, world):
        self.world, self.witness, self.number = world, None, 0
        self.meet_witness()

    def meet_witness(self):
        self.witness = Peer.of(self.world, "population").ready()
        self.stream, self.number = self.witness.open_stream(SERVICE, "PersonChanged")

    def check_served(self):
        """The witness publishes an event, and has its receipt."""
        assert self.world.running["gateway"].poll() is None, "the gateway has ended"
        w = self.witness
        receipt = w.submit(w.sealed_and_signed(w.header(w.event_fields(SERVICE, "PersonChanged", self.stream, self.number))))
        assert receipt.state == ACCEPTED, receipt
        self.number += 1

    @contextlib.contextmanager
    def attack(self):
        """What is done inside leaves the witness served; gives what the log and the journal say since."""
        since = Since(self.world)
        yield since
        self.check_served()


class Since:
    def __init__(self, world):
        self.world = world
        self.lines = len(world.log_lines("gateway"))
        self.sequence = max((r["sequence"] for r in world.records("--all")), default=0)

    def logged(self, code=None, event=None, **fields):
        """The first log line since then with this number, event, fields; waits for it."""
        def find():
            for line in self.world.log_lines("gateway")[self.lines:]:
                if (code is None or line.get("code") == f"EHIS-{code}") and (event is None or line["event"] == event) and all(line.get(k) == v for k, v in fields.items()):
                    return line
            return None
        try:
            return wait_until(find, 10, f"a log line with {code} {event} {fields}")
        except TimeoutError as e:
            raise AssertionError(f"{e}; logged: {self.world.log_lines('gateway')[self.lines:]}") from None

    def recorded(self, code=None, kind=None, **fields):
        """The same of the journal's records."""
        def find():
            for r in self.world.records():
                if r["sequence"] > self.sequence and (code is None or r.get("code") == f"EHIS-{code}") and (kind is None or r["kind"] == kind) and \
                        all(r.get(k) == v for k, v in fields.items()):
                    return r
            return None
        try:
            return wait_until(find, 10, f"a record with {code} {kind} {fields}")
        except TimeoutError as e:
            raise AssertionError(f"{e}; recorded: {[r for r in self.world.records() if r['sequence'] > self.sequence]}") from None


def rss_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
