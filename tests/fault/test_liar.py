# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""A broker that lies (liar.py) under the load of jepsen.py, with two gateways: every lie in turn, then what chance brings; the checker finds no promise broken."""
import datetime
import json
import random
import signal
import time

import jepsen
import kafka_cluster
import pytest
from conftest import ROUNDS, SEED
from liar import Liar

NAMED_WITHIN_S = 30


@pytest.fixture(scope="module")
def lied_to(tmp_path_factory):
    kafka = kafka_cluster.make(tmp_path_factory.mktemp("kafka"))
    folder, chance = tmp_path_factory.mktemp("liar"), random.Random(f"liar {SEED}")
    land = jepsen.Land(folder, 2, kafka, seed=SEED)
    systems = [s for s, _ in jepsen.PROVIDERS.values()]
    for name in jepsen.PROVIDERS:  # at the second gateway alone: what the first has accepted goes over the broker
        settings = folder / f"{name}.yaml"
        settings.write_text(settings.read_text().replace(f"'127.0.0.1:{land.ports['gw1']}', ", ""))
    liar = Liar(kafka.cluster, land.prefix, [*systems, *jepsen.ASKERS.values()], ["AZ/gw1", "AZ/gw2"], chance,
                lambda: land.tool("ehis-gateway", "topics", "create", "--config", "gw1.yaml", *kafka.admin()))
    try:
        land.start_all()
        time.sleep(3)
        for n, lie in enumerate([*Liar.LIES, *(None for _ in range(3 * ROUNDS))]):
            slow = land.gateways["gw2" if lie else chance.choice(list(land.gateways))]
            slow.send(signal.SIGSTOP)  # what it would have read is still there when the lie is told
            time.sleep(1.5)
            said = liar.lie(lie, liar.topic("inbox", systems[n % 2]) if lie else None)
            slow.send(signal.SIGCONT)
            print(f"lie {n + 1}: {said}", flush=True)
            time.sleep(chance.uniform(0.5, 2))
        v = land.finish()
        yield v, folder, liar
    finally:
        land.stop_all()
        kafka.cluster.down()


def lines(path):
    return [json.loads(text) for text in path.read_text(errors="replace").splitlines() if text.startswith("{")]


def when(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def test_no_promise_is_broken_by_a_broker_that_lies(lied_to):
    v, _, liar = lied_to
    assert not v.broken, "\n".join([f"EHIS_FAULT_SEED={SEED}", *v.broken[:20]])
    assert v.counts["handed"] > 100 and {name for _, name, _, _ in liar.told} == set(Liar.LIES)


def test_what_is_forged_is_set_aside(lied_to):
    _, folder, liar = lied_to
    refused = [x["error"] for g in ("gw1", "gw2") for x in lines(folder / f"{g}.log") if x.get("event") == "bus.refused"]
    # A turned bit breaks the form or the signature: chance says which.
    assert "BUS_GATEWAY" in refused and any(c == "SIGNATURE_BAD" or c.startswith("SCAN_") for c in refused), set(refused)
    lost = sorted(when(r["time"]) for g in ("gw1", "gw2") for r in lines(folder / f"{g}.records") if r["kind"] == "lost")
    shift = time.time() - time.monotonic()
    for at, name, topic, count in liar.told:
        later = [t - at - shift for t in lost if t > at + shift]
        if name in ("drop", "renew", "reorder") and "inbox" in topic:
            print(f"{name} {topic}: next loss named after {later[0]:.1f} s" if later else f"{name} {topic}: nothing was lost")
    assert len(refused) > 10  # whether a loss was met or all had been delivered before is chance's
