# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""Ports for servers that tests start: below those that the kernel gives to connections, where it leaves any, else a client that dials a dead server again and again
would sooner or later take its port. Each is given once in a run, to one of pytest's workers."""
import itertools
import os
import pathlib
import random
import socket


def _own():
    first, last = map(int, pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    beside = [*range(max(1024, first // 4), first), *range(last + 1, 65536)]
    ports = beside if len(beside) >= 2000 else range(1024, 65536)
    worker, workers = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    mine = [p for p in ports if p % workers == worker]
    return itertools.cycle(random.sample(mine, len(mine)))


_ports = _own()


def _is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port():
    return next(p for p in _ports if _is_free(p))


def free_ports(count):
    return [free_port() for _ in range(count)]
