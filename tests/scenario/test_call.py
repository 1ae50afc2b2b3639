# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""A tax office asks the population register through ehis-call: answers, refusals, faults, events, exit codes."""
import json
import signal
import subprocess
import time

import pytest
from world import BASIS, PURPOSE, SERVICE, wait_until

OK, FAILURE, USAGE, REFUSED, NOT_FOUND, UNREACHABLE, BUSY = 0, 1, 2, 3, 4, 6, 7


def error(done):
    return json.loads(done.stderr.strip().splitlines()[-1])["error"]


def test_an_allowed_call_gets_the_person_and_is_in_the_journal(country):
    pin = country.pins(1)[0]
    done = country.call("tax", "GetPerson", {"pin": pin}, "--json", "--case-ref", "2026/114", "--official", "Ə. Quliyev", "--subject", "ab" * 32)
    assert done.returncode == OK, done.stderr
    answer = json.loads(done.stdout)
    assert answer["body"]["person"]["pin"] == pin and not answer["is_fault"]
    records = [r for r in country.records("--exchange", answer["exchange"]) if r["kind"] == "accepted"]
    assert [(r["system"]) for r in records] == ["AZ/GOV/STS/tax", "AZ/GOV/MIA/population"]
    text = json.dumps(records, ensure_ascii=False)
    assert PURPOSE in text and BASIS in text and "2026/114" in text and "Ə. Quliyev" in text and "R-1" in text
    assert "surname" in text  # the names of the fields returned
    assert pin not in text and answer["body"]["person"]["surname"] not in text
    assert answer["body"]["person"]["birth_date"] not in (country.dir / "gateway.log").read_text()


def test_the_answer_alone_goes_to_standard_output(country):
    pin = country.pins(1)[0]
    done = country.call("tax", "GetPerson", {"pin": pin})
    assert done.returncode == OK and done.stderr == ""
    assert json.loads(done.stdout)["person"]["pin"] == pin


def test_a_body_in_protobuf_is_answered_in_protobuf(country, tmp_path):
    pin = country.pins(1)[0]
    body = tmp_path / "request.pb"
    body.write_bytes(b"\x0a\x07" + pin.encode())
    done = subprocess.run([str(w) for w in (country.program("ehis-call"), SERVICE, "GetPerson", "--config", country.dir / "tax.yaml", "--purpose", PURPOSE, "--basis",
                                            BASIS, "--body", body)], capture_output=True, timeout=60, check=False)
    assert done.returncode == OK, done.stderr
    assert b"\x0a\x07" + pin.encode() in done.stdout[:16]


def test_persons_are_found_by_surname(country):
    done = country.call("tax", "FindPersons", {"surname_prefix": "MƏMM", "limit": 100})
    assert done.returncode == OK, done.stderr
    persons = json.loads(done.stdout)["persons"]
    assert persons and all(p["surname"].startswith("Məmm") for p in persons)


@pytest.mark.parametrize("body, code, number", [({"pin": "0000000"}, "NOT_FOUND", NOT_FOUND), ({"pin": "0000001"}, "BAD_PIN", FAILURE),
                                                ({"pin": "0000000", "all": True}, "BAD_REQUEST", FAILURE), ("{", "BAD_REQUEST", FAILURE)])
def test_a_fault_of_the_provider_is_printed_and_has_an_exit_code(country, body, code, number):
    done = country.call("tax", "GetPerson", body)
    assert done.returncode == number, done.stderr
    assert json.loads(done.stdout)["code"] == code


@pytest.mark.parametrize("more, name", [({"purpose": "school.enrolment"}, "POLICY_PURPOSE"), ({"basis": "Təhsil Qanunu 12"}, "POLICY_LEGAL_BASIS")])
def test_a_call_outside_its_rule_is_refused_and_recorded(country, more, name):
    done = country.call("tax", "GetPerson", {"pin": country.pins(1)[0]}, "--json", **more)
    assert done.returncode == REFUSED and done.stdout == ""
    assert error(done)["name"] == name and error(done)["hint"]
    assert country.records("--kind", "refused", "--system", "AZ/GOV/STS/tax")


def test_a_system_without_any_right_learns_nothing(country):
    done = country.call("students", "GetPerson", {"pin": country.pins(1)[0]}, "--json")
    there = country.call("students", "GetPerson", {"pin": "0000000"}, "--json", service="AZ/GOV/MIA/population/nothing")
    assert done.returncode == there.returncode == REFUSED
    assert error(done)["name"] == error(there)["name"] == "POLICY_UNKNOWN_SERVICE"


def test_errors_are_told_in_azerbaijani_where_it_is_asked_for(country):
    pin = country.pins(1)[0]
    for words, env in ((("--lang", "az"), {}), ((), {"EHIS_LANG": "az", "LC_ALL": "C"})):
        done = country.call("tax", "GetPerson", {"pin": pin}, *words, purpose="school.enrolment", env=env)
        assert done.returncode == REFUSED
        assert "EHIS-4103: qayda bu məqsədi əhatə etmir" in done.stderr and "məsləhət" in done.stderr
    done = country.call("tax", "GetPerson", {"pin": pin}, "--lang", "az", "--json", purpose="school.enrolment")
    assert error(done)["text"] == "qayda bu məqsədi əhatə etmir" and error(done)["name"] == "POLICY_PURPOSE"


@pytest.mark.parametrize("words", [("--timeout", "10"), ("--timeout", "0s"), ("--timeout", "6m"), ("--subject", "abc"), ("--wait", "soon", "--send"), ("--no-such",)])
def test_wrong_words_are_a_usage_error(country, words):
    done = country.call("tax", "GetPerson", {}, *words)
    assert done.returncode == USAGE and "EHIS-1014" in done.stderr


def test_a_settings_file_that_is_wrong_is_told_with_its_place(country, tmp_path):
    text = (country.dir / "tax.yaml").read_text()
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text + "gatewais: []\n")
    done = country.run("ehis-call", "status", "--config", wrong)
    assert done.returncode == FAILURE and f"wrong.yaml:{len(text.splitlines()) + 1}:1" in done.stderr and "gateways" in done.stderr


def test_a_state_folder_that_is_in_use_is_not_used_twice(country):
    opened = country.status()["sessions"]["opened"]
    country.start("holder", "ehis-call", "subscribe", SERVICE, "PersonChanged", "--config", "tax.yaml")
    try:
        wait_until(lambda: country.status()["sessions"]["opened"] > opened, what="the holder's session: it has the folder")
        assert country.run("ehis-call", "status", "--config", "tax.yaml", "--json").returncode == BUSY
        done = country.call("tax", "GetPerson", {"pin": country.pins(1)[0]}, "--state", "second.state")
        assert done.returncode == OK, done.stderr
    finally:
        assert country.stop("holder", signal.SIGINT) == OK


def test_without_a_provider_a_waiting_call_fails_at_once_and_an_asynchronous_one_waits(land):
    land.start_gateway()
    pin = land.pins(1)[0]
    began = time.monotonic()
    done = land.call("tax", "GetPerson", {"pin": pin}, "--json", "--timeout", "20s")
    assert done.returncode == UNREACHABLE and error(done)["name"] == "EXCHANGE_NO_SESSION"
    assert time.monotonic() - began < 10
    sent = land.call("tax", "GetPerson", {"pin": pin}, "--send", "--json")
    assert sent.returncode == OK, sent.stderr
    lines = [json.loads(line) for line in sent.stdout.splitlines()]
    assert [line["state"] for line in lines] == ["sent", "accepted"] and lines[1]["gateway"] == "AZ/gw1"
    land.start_register()
    got = land.run("ehis-call", "receive", "--config", "tax.yaml", "--count", 1, "--timeout", "20s")
    assert got.returncode == OK, got.stderr
    response = json.loads(got.stdout)
    assert response["exchange"] == lines[0]["exchange"] and response["body"]["person"]["pin"] == pin
    again = land.run("ehis-call", "receive", "--config", "tax.yaml", "--count", 1, "--timeout", "2s")
    assert again.returncode == BUSY and again.stdout == ""  # it was acknowledged: it does not come again
    assert any(r["system"] == "AZ/GOV/STS/tax" for r in land.records("--kind", "delivered"))


def test_an_asynchronous_call_can_wait_until_it_is_delivered(country):
    sent = country.call("tax", "GetPerson", {"pin": country.pins(1)[0]}, "--send", "--wait", "delivered", "--json")
    assert sent.returncode == OK, sent.stderr
    last = json.loads(sent.stdout.splitlines()[-1])
    assert last["state"] == "delivered" and last["is_recipient_signed"]
    assert country.run("ehis-call", "receive", "--config", "tax.yaml", "--count", 1, "--timeout", "20s").returncode == OK


def test_a_signal_ends_a_call_that_waits(world):
    world.running["register"].send_signal(signal.SIGSTOP)
    try:
        words = [world.program("ehis-call"), SERVICE, "GetPerson", "--config", str(world.dir / "tax.yaml"), "--purpose", PURPOSE, "--basis", BASIS, "--body", "-"]
        p = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        p.stdin.write('{"pin":"0000000"}')
        p.stdin.close()
        wait_until(lambda: world.records("--kind", "accepted", "--system", "AZ/GOV/STS/tax"), what="the call's acceptance")
        p.send_signal(signal.SIGINT)
        assert p.wait(10) == BUSY
        assert "EHIS-6013" in p.stderr.read()
    finally:
        world.running["register"].send_signal(signal.SIGCONT)


def test_a_call_that_is_not_answered_ends_at_its_time(world):
    world.running["register"].send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        done = world.call("tax", "GetPerson", {"pin": "0000000"}, "--timeout", "2s", "--json")
        assert done.returncode == BUSY and time.monotonic() - began < 8
        assert error(done)["name"] in ("EXCHANGE_EXPIRED", "TIMEOUT")
    finally:
        world.running["register"].send_signal(signal.SIGCONT)


def test_without_a_gateway_nothing_is_reached(land):
    done = land.call("tax", "GetPerson", {"pin": "0000000"}, "--json", "--timeout", "2s")
    assert done.returncode == UNREACHABLE, done.stderr
    assert error(done)["code"].startswith("EHIS-")


def subscriber(w, count, state="events.state"):
    out = open(w.dir / "events", "ab")
    return w.start("subscriber", "ehis-call", "subscribe", SERVICE, "PersonChanged", "--config", "tax.yaml", "--state", state, "--count", count,
                   "--timeout", "60s", stdout=out)


def events(w):
    return [json.loads(line) for line in (w.dir / "events").read_text().splitlines()]


def test_changes_reach_a_subscriber_once_and_in_order_also_while_it_is_away(world):
    pins = world.pins(5)
    p = subscriber(world, 2)
    wait_until(lambda: world.records("--kind", "subscribed"), what="the subscription")
    for k, pin in enumerate(pins[:2]):
        world.move(pin, region="Bakı", city="Nəsimi", street=f"Nizami küçəsi, ev {k}")
    assert p.wait(30) == OK
    world.stop("subscriber")
    for k, pin in enumerate(pins[2:]):  # it is away
        world.move(pin, region="Şəki-Zaqatala", city="Şəki", street=f"Axundov küçəsi, ev {k}")
    wait_until(lambda: len(world.log_lines("register", "population.published")) == 5, what="all published")
    assert subscriber(world, 3).wait(30) == OK
    got = events(world)
    assert [e["body"]["pin"] for e in got] == pins
    assert [e["body"]["sequence"] for e in got] == [1, 2, 3, 4, 5]
    assert [e["number"] for e in got] == [1, 2, 3, 4, 5]
    assert all(e["body"]["fields"] == ["address"] for e in got)
    assert "Axundov" not in (world.dir / "events").read_text()  # that it changed, not how


def test_changes_made_while_the_register_is_down_are_published_once_it_is_back(world):
    pin = world.pins(1)[0]
    p = subscriber(world, 1)
    wait_until(lambda: world.records("--kind", "subscribed"), what="the subscription")
    assert world.stop("register") == OK
    world.move(pin, region="Bakı", city="Yasamal", street="ev 1")
    world.start_register()
    assert p.wait(30) == OK
    assert [e["body"]["sequence"] for e in events(world)] == [1]
    world.stop("register", signal.SIGKILL)
    world.start_register()
    time.sleep(1)
    assert len(world.log_lines("register", "population.published")) == 1


def test_a_system_may_not_subscribe_without_a_rule_nor_publish_for_another(country):
    done = country.run("ehis-call", "subscribe", SERVICE, "PersonChanged", "--config", "students.yaml", "--count", 1, "--timeout", "3s")
    assert done.returncode == REFUSED and done.stdout == "" and "EHIS-4100" in done.stderr
    done = country.run("ehis-call", "publish", SERVICE, "PersonChanged", "--config", "students.yaml", "--body", "-", input="{}")
    assert done.returncode != OK and "EHIS-6011" in done.stderr


def test_a_change_names_nobody_in_its_arguments_and_is_checked(country):
    for body in ('{"pin":"0000000","address":{"city":"Bakı","street":"x"}}', '{"pin":"0000000","x":1}', ""):
        done = country.run("ehis-population", "change", "--db", "people.db", "--body", "-", input=body)
        assert done.returncode != OK and "0000000" not in done.stderr
    assert country.run("ehis-population", "change", "--db", "people.db", "--body", "0000000").returncode == USAGE
    assert country.run("ehis-population", "seed", "--db", "people.db").returncode == FAILURE  # they are there already


def test_an_order_of_stop_ends_the_register_in_order(world):
    assert world.call("tax", "GetPerson", {"pin": world.pins(1)[0]}).returncode == OK
    assert world.stop("register") == OK
    assert world.log_lines("register", "population.stopping")
    assert world.stop("gateway") == OK


def test_a_revoked_system_is_told_so_and_gets_nothing(world):
    world.run("ehis-pki", "revoke", "AZ/GOV/STS/tax", "--ca", "ca", check=True)
    world.make_crl()
    world.running["gateway"].send_signal(signal.SIGHUP)
    wait_until(lambda: world.status()["reloads"]["done"] == 1, what="the reload")
    done = world.call("tax", "GetPerson", {"pin": world.pins(1)[0]}, "--json")
    assert done.returncode == 5 and done.stdout == ""
    assert error(done)["name"] == "CERT_REVOKED" and error(done)["hint"]


def test_many_changes_by_several_hands_are_each_published_once(world):
    pins = world.pins(40)
    p = subscriber(world, 40)
    wait_until(lambda: world.records("--kind", "subscribed"), what="the subscription")
    hands = [subprocess.Popen([world.program("ehis-population"), "change", "--db", str(world.dir / "people.db"), "--body", "-"], stdin=subprocess.PIPE,
                              stdout=subprocess.DEVNULL) for _ in pins]
    for pin, hand in zip(pins, hands):
        hand.stdin.write(json.dumps({"pin": pin, "address": {"city": "Quba", "street": "ev 1"}}).encode())
        hand.stdin.close()
    assert [hand.wait(30) for hand in hands] == [OK] * len(pins)
    assert p.wait(30) == OK
    got = events(world)
    assert [e["body"]["sequence"] for e in got] == list(range(1, 41))
    assert {e["body"]["pin"] for e in got} == set(pins)
