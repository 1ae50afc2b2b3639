# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""What operators and a security team get: records that say who, what, why and by which rule; settings that are checked whole."""
import base64
import json
import struct
import time

import pytest
from spec_peer import parse, sha256
from world import BASIS, PURPOSE, SERVICE, wait_until


def test_each_record_of_an_exchange_says_who_what_why_and_by_which_rule(world):
    pin = world.pins(1)[0]
    done = world.call("tax", "GetPerson", {"pin": pin}, "--json", "--case-ref", "2026/7")
    answer = [r for r in world.records("--exchange", json.loads(done.stdout)["exchange"]) if r["kind"] == "accepted"][1]
    assert answer["message"] == "response" and answer["in_reply_to"]
    assert (answer["purpose"], answer["legal_basis"], answer["case_ref"], answer["rule"]) == (PURPOSE, BASIS, "2026/7", "R-1")
    watcher = world.start("watcher", "ehis-call", "subscribe", SERVICE, "PersonChanged", "--config", "tax.yaml", "--count", "1")
    wait_until(lambda: world.status()["exchange"]["subscriptions"], what="the subscription")
    world.move(pin, city="Gəncə", street="Nizami küçəsi 1")
    assert watcher.wait(20) == 0
    delivered = wait_until(lambda: world.records("--kind", "delivered"), what="the record")[0]
    assert (delivered["sender"], delivered["system"], delivered["operation"]) == ("AZ/GOV/MIA/population", "AZ/GOV/STS/tax", "PersonChanged")
    assert delivered["rule"] == "R-1" and delivered["outcome"] == "done" and delivered["exchange"]
    assert delivered in world.records("--exchange", delivered["exchange"])


def test_a_record_proves_itself_with_the_bytes_that_were_signed(world):
    done = world.call("tax", "GetPerson", {"pin": world.pins(1)[0]}, "--json", "--case-ref", "2026/8")
    exchange = json.loads(done.stdout)["exchange"]
    r = [r for r in world.records("--exchange", exchange, "--all") if r["kind"] == "accepted"][0]
    header, signature = base64.b64decode(r["header"]), parse(base64.b64decode(r["signature"]))
    digest = sha256(b"ehis/env/v1\0" + struct.pack(">I", len(header)) + header + struct.pack(">Q", r["sealed_bytes"]) + bytes.fromhex(r["sealed_hash"]))
    assert digest.hex() == r["digest"] and b"2026/8" in header and len(signature.bytes(6)) == 64
    assert "header" not in world.records("--exchange", exchange)[0]


def test_what_a_caller_writes_cannot_look_like_another_record_nor_field(world):
    forged = "2026/9\n     999  2026-11-27T00:00:00.000Z  refused  sender=AZ/GOV/MIA/forged\x1b[31m\x9b31m\u202e  rule=\"R-9\""
    world.call("tax", "GetPerson", {"pin": world.pins(1)[0]}, "--case-ref", forged)
    shown = world.run("ehis-gateway", "journal", "show", "--dir", "journal", "--kind", "accepted", check=True).stdout
    assert "\x1b" not in shown and "\x9b" not in shown and all(line.split()[2] == "accepted" for line in shown.splitlines())
    assert 'case_ref="2026/9\\u000a     999  2026-11-27T00:00:00.000Z  refused  sender=AZ/GOV/MIA/forged\\u001b[31m\\u009b31m\\u202e  rule=\\"R-9\\""' in shown
    assert [r["case_ref"] for r in world.records("--kind", "accepted") if r["message"] == "request"][-1] == forged


@pytest.mark.parametrize("words, says", [(["--kind", "refusd"], "did you mean refused?"), (["--kind", "nonsense"], "unknown kind nonsense"), (["--exchange", "123"], "looks like"),
                                         (["--system", "AZ/GOV/STS"], "neither a system nor a gateway"), (["--system", "no such"], "neither")])
def test_a_filter_that_nothing_can_match_is_refused(world, words, says):
    done = world.run("ehis-gateway", "journal", "show", "--dir", "journal", *words)
    assert done.returncode == 2 and says in done.stderr and not done.stdout, done.stderr


def test_mistyped_commands_are_answered_with_the_nearest(world):
    for words, near in ((["ehis-gateway", "stauts", "--socket", "x"], "status"), (["ehis-call", "sbscribe", SERVICE, "PersonChanged"], "subscribe")):
        done = world.run(*words)
        assert done.returncode == 2 and f"did you mean {near}?" in done.stderr, done.stderr


def test_an_answer_that_could_not_be_kept_is_not_asked_for(world):
    before = len(world.records("--kind", "accepted"))
    done = world.call("tax", "GetPerson", {"pin": world.pins(1)[0]}, "--output", "nowhere/answer")
    assert done.returncode == 1 and "nowhere/answer.part" in done.stderr
    assert len(world.records("--kind", "accepted")) == before


@pytest.mark.parametrize("more, says", [({"listen": "[nonsense]"}, "nonsense is not host:port"), ({"listen": "['127.0.0.1:99999']"}, "99999"),
                                        ({"journal": "{dir: journal, segment_bytes: 4MiB, group_max_bytes: 3MiB}"}, "half"),
                                        ({"deadlines": "{ping_every: 5s, ping_timeout: 2s}"}, "ping_timeout"),
                                        ({"registry": "{file: nowhere.pb, operator_keys: ['" + "0" * 64 + "']}"}, "nowhere.pb"),
                                        ({"tls": "{chain: gw/tls.crt, key: gw/tls.key, ca: ca/ca.crt, crls: [gateway.yaml]}"}, "gateway.yaml")])
def test_check_finds_what_a_start_would(land, more, says):
    land.write_gateway_settings(**more)
    checked = land.run("ehis-gateway", "--config", "gateway.yaml", "--check")
    assert checked.returncode != 0 and says in checked.stderr


KAFKA = {"brokers": "['localhost:9093', '[::1]:9093']", "ca": "ca/ca.crt", "certificate": "gw/tls.crt", "key": "gw/tls.key"}


@pytest.mark.parametrize("name, value, code", [*(("brokers", f"['{x}']", 5101) for x in ("localhost", "localhost:0", "localhost:99999", "localhost:kafka", "::1:9093", ":9093", "a host:9093", "a:1,b:2")),
                                               ("ca", "nowhere.crt", 1006), ("ca", "empty", None), ("ca", "other/ca.crt", None), ("certificate", "nowhere.crt", 1006),
                                               ("certificate", "empty", None), ("key", "tax/tls.key", None), ("key", "nowhere.key", 1006)])
def test_check_finds_what_brokers_would(land, name, value, code):
    """Before there is a broker."""
    (land.dir / "empty").touch()
    land.run("ehis-pki", "init", "--dir", "other", "--instance", "AZ", check=True)
    for rows, is_good in ((KAFKA, True), ({**KAFKA, name: value}, False)):
        land.write_gateway_settings(bus="{kind: kafka, kafka: {" + ", ".join(f"{k}: {v}" for k, v in rows.items()) + "}}")
        checked = land.run("ehis-gateway", "--config", "gateway.yaml", "--check")
        assert (checked.returncode == 0) == is_good and (is_good or f"EHIS-{code or ''}" in checked.stderr), checked


def test_metrics_say_for_each_system_what_waits_and_since_when(world):
    watcher = world.start("watcher", "ehis-call", "subscribe", SERVICE, "PersonChanged", "--config", "tax.yaml", "--count", "1")
    wait_until(lambda: world.status()["exchange"]["subscriptions"], what="the subscription")
    world.move(world.pins(1)[0], city="Gəncə", street="Nizami küçəsi 1")
    assert watcher.wait(20) == 0
    world.move(world.pins(1)[0], city="Gəncə", street="Nizami küçəsi 2")  # nobody is there to take it

    def metrics():
        text = world.run("ehis-gateway", "status", "--metrics", "--socket", world.admin, check=True).stdout
        return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    wait_until(lambda: metrics().get('ehis_inbox_messages{system="AZ/GOV/STS/tax"}') == "1", what="the event that waits")
    time.sleep(1.1)
    now = metrics()
    assert float(now['ehis_inbox_bytes{system="AZ/GOV/STS/tax"}']) > 0
    assert float(now['ehis_inbox_oldest_seconds{system="AZ/GOV/STS/tax"}']) > 1
    assert now['ehis_inbox_messages{system="AZ/GOV/MIA/population"}'] == "0"
    assert float(now["ehis_stored_messages"]) > 0


J = "segment_bytes: 4MiB, segments_max: 16, group_max_bytes: 2MiB, reserve_bytes: 1MiB"


@pytest.mark.parametrize("settings, code", [("{dir: nowhere/below, " + J + "}", 5004), ("{dir: gateway.yaml, " + J + "}", 5004),
                                            ("{dir: journal, " + J.replace("segments_max: 16", "segments_max: 65536").replace("4MiB", "1GiB") + "}", 5005),
                                            ("{dir: journal, " + J.replace("reserve_bytes: 1MiB", "reserve_bytes: 1000GiB") + "}", 5005)])
def test_check_looks_at_the_journal_s_folder_and_makes_none(land, settings, code):
    land.write_gateway_settings(journal=settings)
    checked = land.run("ehis-gateway", "--config", "gateway.yaml", "--check")
    assert checked.returncode != 0 and f"EHIS-{code}" in checked.stderr, checked
    assert not (land.dir / "journal").exists()


def test_check_is_content_before_the_first_start_and_beside_a_running_gateway(land):
    for _ in range(2):
        checked = land.run("ehis-gateway", "--config", "gateway.yaml", "--check")
        assert checked.returncode == 0, checked.stderr
        if "gateway" not in land.running:
            assert not (land.dir / "journal").exists()
            land.start_gateway()


def test_a_refused_reload_names_the_file(world):
    crl = world.dir / "crl.pem"
    good = crl.read_bytes()
    crl.write_bytes(good[:200])
    world.running["gateway"].send_signal(1)
    line = wait_until(lambda: world.log_lines("gateway", "reload.refused"), what="the refusal")[0]
    assert "crl.pem" in line["why"]
    crl.write_bytes(good)
    assert world.call("tax", "GetPerson", {"pin": world.pins(1)[0]}).returncode == 0
    time.sleep(0.1)
    assert world.status()["reloads"] == {"done": 0, "refused": 1}


def test_a_start_says_who_begins_before_anything_else(world):
    events = [x["event"] for x in world.log_lines("gateway")]
    assert events[0] == "gateway.start" and "gateway.ready" in events
    line = world.log_lines("gateway", "gateway.start")[0]
    assert (line["name"], line["bus"]) == ("AZ/gw1", "local") and line["version"] and line["pid"] > 1
