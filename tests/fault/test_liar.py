# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""A broker that lies (liar.py) under the load of land.py, with two gateways: every lie in turn, then what chance brings; the checker finds no promise broken."""
import datetime
import json
import random
import signal
import time

import kafka_cluster
import land as country
import pytest
from fault_load import ROUNDS, SEED
from liar import Liar

NAMED_WITHIN_S = 30


@pytest.fixture(scope="module")
def lied_to(tmp_path_factory):
    kafka = kafka_cluster.make(tmp_path_factory.mktemp("kafka"))
    folder, chance = tmp_path_factory.mktemp("liar"), random.Random(f"liar {SEED}")
    land = country.Land(folder, 2, kafka, seed=SEED)
    systems = [s for s, _ in country.PROVIDERS.values()]
    # Who asks is at the first gateway alone, who answers at the second: all goes over the broker, and what is not read yet when it goes is lost.
    for names, other in ((country.PROVIDERS, "gw1"), (country.ASKERS, "gw2")):
        for name in names:
            settings = folder / f"{name}.yaml"
            text = settings.read_text()
            address = f"'127.0.0.1:{land.ports[other]}'"
            settings.write_text(text.replace(f"{address}, ", "").replace(f", {address}", ""))
            assert address not in settings.read_text()
    liar = Liar(kafka.cluster, land.prefix, [*systems, *country.ASKERS.values()], ["AZ/gw1", "AZ/gw2"], chance,
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


def test_what_is_forged_is_set_aside_and_what_is_lost_is_named_in_time(lied_to):
    _, folder, liar = lied_to
    refused = [x["error"] for g in ("gw1", "gw2") for x in lines(folder / f"{g}.log") if x.get("event") == "bus.refused"]
    assert {"BUS_GATEWAY", "SIGNATURE_BAD"} <= set(refused), set(refused)
    lost = sorted((when(r["time"]), r["system"]) for g in ("gw1", "gw2") for r in lines(folder / f"{g}.records") if r["kind"] == "lost")
    shift = time.time() - time.monotonic()
    for n, (at, name, topic, _) in enumerate(liar.told):
        later = [t - at - shift for t, system in lost if t > at + shift and topic.endswith(".inbox." + system.replace("/", ".."))]
        if name in ("drop", "renew", "reorder") and "inbox" in topic:
            print(f"{name} {topic}: next loss named after {later[0]:.1f} s" if later else f"{name} {topic}: nothing was lost")
        if n < len(Liar.LIES) and name in ("drop", "renew"):  # while its reader was halted: something was under way
            assert later and later[0] < NAMED_WITHIN_S, f"{name} {topic} was not named in time"
    assert lost and len(refused) > 10
