# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""ehis-registry and ehis-policy as people use them: from join requests to a signed document, and what it decides."""
import json
import os
import pathlib
import stat
import subprocess

import pytest

POP, TAX, PERSON = "AZ/GOV/MIA/population", "AZ/GOV/STS/avis-web", "AZ/GOV/MIA/population/person"
LAW = "Vergi Məcəlləsi 23"


def run(program, *words, code=0, cwd=None):
    root = pathlib.Path(__file__).resolve().parents[2]
    bin_dir = pathlib.Path(os.environ.get("EHIS_BIN", root / "build/dev/bin"))
    done = subprocess.run([bin_dir / program, *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, f"{program} {words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def registry(*words, **more):
    return run("ehis-registry", *words, **more)


def registry_json(*words, **more):
    return json.loads(registry(*words, "--json", **more).stdout)


def error_of(program, *words, code):
    return json.loads(run(program, *words, "--json", code=code).stderr.splitlines()[-1])["error"]["name"]


SERVICE = f"""service: {PERSON}
operations:
- {{name: GetPerson, request_schema: population.v1.GetPersonRequest, max_response_bytes: 65536}}
- {{name: FindPersons}}
- {{name: PersonChanged, kind: event, schema: population.v1.PersonChanged}}
rules:
- id: POP-TAX-001
  effect: permit
  consumers: [AZ/GOV/STS/avis-*]
  operations: [GetPerson, PersonChanged]
  purpose: tax.assessment
  legal_basis: "{LAW}"
  valid: {{from: 2020-01-01, until: 2099-12-01}}
  approval: Protokol 14/2026
"""
TERMS = f"""instance: AZ
validity: {{days: 30, grace_hours: 72}}
terms:
  purposes:
  - {{code: tax.assessment, en: Tax assessment, az: Vergi hesablanması}}
  - {{code: tax.audit, en: Tax audit}}
  legal_bases:
  - {{code: "{LAW}", az: "{LAW}"}}
"""


@pytest.fixture
def folder(tmp_path):
    """A registry's folder with two systems, a gateway, a service and one rule."""
    reg = tmp_path / "reg"
    registry("init", "--dir", reg, "--instance", "AZ")
    for name, options in ((POP, ()), (TAX, ()), ("AZ/gw1", ("--gateway",))):
        run("ehis-pki", "keygen", "--dir", tmp_path / name.replace("/", "."), name, *options)
    registry("add", "--dir", reg, "--as", "agency", "--name", 'Daxili "İşlər" Nazirliyi', "AZ/GOV/MIA")
    registry("add", "--dir", reg, "--as", "agency", "AZ/GOV/STS")
    registry("add", "--dir", reg, "--as", "system", "--contact", "növbətçi: 102", tmp_path / "AZ.GOV.MIA.population/join.request")
    registry("add", "--dir", reg, "--as", "system", tmp_path / "AZ.GOV.STS.avis-web/join.request")
    registry("add", "--dir", reg, "--as", "gateway", tmp_path / "AZ.gw1/join.request")
    (reg / "registry.yaml").write_text(TERMS)
    (reg / "services/person.yaml").write_text(SERVICE)
    registry("keygen", "--out", tmp_path / "operator.key")
    return reg


def publish(folder, *more):
    registry("build", "--dir", folder, *more)
    return registry_json("sign", "--dir", folder, "--key", folder.parent / "operator.key")


def operator(folder):
    return ("--operator", folder.parent / "operator.key.pub")


def decide(folder, *words, code=0, verb="eval"):
    done = run("ehis-policy", verb, "--registry", folder / "registry.pb", *operator(folder), *words, "--json", code=code)
    return json.loads(done.stdout)


def test_from_join_requests_to_a_signed_document(folder):
    key = folder.parent / "operator.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert publish(folder)["version"] == 1
    shown = registry_json("show", "--dir", folder, *operator(folder))
    assert shown["is_verified"] and shown["instance"] == "AZ" and shown["earlier_statements"] == 0
    assert {s["id"] for s in shown["systems"]} == {POP, TAX}
    population = next(s for s in shown["systems"] if s["id"] == POP)
    assert {k["use"] for k in population["keys"]} == {"tls", "sign", "seal"} and population["contact"] == "növbətçi: 102"
    assert shown["agencies"][0] == {"id": "AZ/GOV/MIA", "name": 'Daxili "İşlər" Nazirliyi'}
    assert shown["services"][0]["rules"][0]["legal_basis"] == [LAW]
    assert shown["gateways"][0]["id"] == "AZ/gw1"


def test_versions_rise_and_form_a_chain(folder):
    first = publish(folder)
    second = publish(folder)
    assert (first["version"], second["version"]) == (1, 2)
    assert registry_json("show", "--dir", folder)["earlier_statements"] == 1
    assert publish(folder)["version"] == 3
    assert registry_json("show", "--dir", folder)["earlier_statements"] == 2


def test_a_second_document_of_one_version_is_not_signed(folder):
    publish(folder)
    registry("build", "--dir", folder, "--out", folder / "a")
    (folder / "registry.yaml").write_text(TERMS.replace("tax.audit,", "tax.refund,"))
    registry("build", "--dir", folder, "--out", folder / "b")
    key = ("--key", folder.parent / "operator.key")
    registry("sign", "--dir", folder, *key, "--in", folder / "a")
    assert error_of("ehis-registry", "sign", "--dir", folder, *key, "--in", folder / "b", code=5) == "REGISTRY_FORK"
    registry("sign", "--dir", folder, *key, "--in", folder / "a")
    publish(folder)
    assert error_of("ehis-registry", "sign", "--dir", folder, *key, "--in", folder / "a", code=5) == "REGISTRY_OLDER"


def test_check_verifies_and_names_what_is_odd(folder):
    registry("build", "--dir", folder)
    assert error_of("ehis-registry", "check", folder / "registry.unsigned", *operator(folder), code=5) == "REGISTRY_UNSIGNED"
    publish(folder)
    warnings = registry_json("check", "--dir", folder, *operator(folder))["warnings"]
    assert 'the purpose "tax.audit" is in no rule' in warnings
    assert any("permits for more than two years" in w for w in warnings)
    registry("check", "--dir", folder, "--strict", code=1)
    registry("keygen", "--out", folder.parent / "other.key")
    assert error_of("ehis-registry", "check", "--dir", folder, "--operator", folder.parent / "other.key.pub", code=5) == "REGISTRY_SIGNATURE"
    assert error_of("ehis-registry", "check", "--dir", folder, *operator(folder), "--at", "2020-01-01", code=5) == "REGISTRY_NOT_YET"
    assert error_of("ehis-registry", "check", "--dir", folder, *operator(folder), "--at", "2099-01-01", code=5) == "REGISTRY_EXPIRED"
    document = bytearray((folder / "registry.pb").read_bytes())
    at = document.find(b"POP-TAX-001")
    document[at] ^= 1
    (folder / "changed.pb").write_bytes(document)
    assert error_of("ehis-registry", "check", folder / "changed.pb", *operator(folder), code=5) == "REGISTRY_ROOT"


def test_lint_names_shadowed_duplicate_dead_and_wide_rules(folder):
    def rule(name, effect="permit", consumers="AZ/GOV/STS/avis-web", until="2027-06-01"):
        return (f"- {{id: {name}, effect: {effect}, consumers: ['{consumers}'], operations: [GetPerson], purpose: tax.assessment,"
                f" legal_basis: '{LAW}', valid: {{from: 2026-01-01, until: {until}}}, approval: A}}\n")

    head = SERVICE[: SERVICE.index("- id: POP")]
    (folder / "services/person.yaml").write_text(
        head + rule("WIDE", consumers="AZ/GOV/STS/*") + rule("NARROW") + rule("SAME", consumers="AZ/GOV/STS/*")
        + rule("NO", "forbid") + rule("NOBODY", consumers="AZ/GOV/STS/none-*") + rule("OVER", consumers=POP, until="2026-02-01"))
    warnings = "\n".join(registry_json("build", "--dir", folder)["warnings"])
    assert f"rule WIDE of {PERSON} permits every system of an agency" in warnings
    assert f"rule NARROW of {PERSON} adds nothing to WIDE" in warnings
    assert f"rule SAME of {PERSON} adds nothing to WIDE" in warnings
    assert f"rule WIDE of {PERSON} adds nothing" not in warnings
    assert f"rule NARROW of {PERSON} never permits: NO forbids all that it covers" in warnings
    assert f'rule NOBODY of {PERSON}: no system is "AZ/GOV/STS/none-*"' in warnings
    assert f"rule OVER of {PERSON} is over" in warnings


def test_an_error_in_a_file_has_its_place_and_nothing_is_built(folder):
    (folder / "services/person.yaml").write_text(SERVICE.replace("purpose: tax.assessment", "purpose: tax.assesment"))
    done = registry("build", "--dir", folder, code=1)
    assert 'services/person.yaml:11:12: unknown purpose "tax.assesment"; did you mean "tax.assessment"?' in done.stderr
    assert not (folder / "registry.unsigned").exists()
    (folder / "services/person.yaml").write_bytes(SERVICE.encode().replace(b"GetPerson,", b"Get\xffPerson,", 1))
    assert "services/person.yaml:3:13: not UTF-8" in registry("build", "--dir", folder, code=1).stderr


def test_dry_runs_write_nothing(folder):
    before = sorted(p.name for p in folder.rglob("*"))
    registry("build", "--dir", folder, "--dry-run")
    registry("add", "--dir", folder, "--as", "agency", "AZ/GOV/EDU", "--dry-run")
    registry("keygen", "--out", folder / "new.key", "--dry-run")
    registry("init", "--dir", folder / "other", "--instance", "AZ", "--dry-run")
    registry("build", "--dir", folder)
    registry("sign", "--dir", folder, "--key", folder.parent / "operator.key", "--dry-run")
    assert sorted(p.name for p in folder.rglob("*")) == sorted(before + ["registry.unsigned"])


def test_keys_are_never_overwritten_and_a_foreign_request_is_refused(folder):
    assert error_of("ehis-registry", "keygen", "--out", folder.parent / "operator.key", code=1) == "EXISTS"
    request = folder.parent / "AZ.GOV.STS.avis-web/join.request"
    assert registry_json("add", "--dir", folder, "--as", "system", request)["keys_added"] == 0
    assert error_of("ehis-registry", "add", "--dir", folder, "--as", "gateway", request, code=2) == "USAGE"
    altered = bytearray(request.read_bytes())
    altered[altered.find(b"avis-web") + 5] ^= 1
    (folder.parent / "altered").write_bytes(altered)
    registry("add", "--dir", folder, "--as", "system", folder.parent / "altered", code=5)
    os.chmod(folder.parent / "operator.key", 0o644)
    registry("build", "--dir", folder)
    assert error_of("ehis-registry", "sign", "--dir", folder, "--key", folder.parent / "operator.key", code=1) == "PERMISSION"


def test_a_new_key_overlaps_the_old_one_which_is_then_retired_or_revoked(folder):
    new = folder.parent / "new"
    run("ehis-pki", "keygen", "--dir", new, TAX)
    assert registry_json("add", "--dir", folder, "--as", "system", new / "join.request")["keys"] == 6
    publish(folder)
    keys = next(s for s in registry_json("show", "--dir", folder)["systems"] if s["id"] == TAX)["keys"]
    signing = [k["id"] for k in keys if k["use"] == "sign"]
    assert len(signing) == 2
    registry("key", "--dir", folder, "retire", TAX, signing[0], "--at", "2026-11-01")
    registry("key", "--dir", folder, "revoke", TAX, signing[1][:16])
    assert error_of("ehis-registry", "key", "--dir", folder, "revoke", TAX, "0000000000000000", code=4) == "NOT_FOUND"
    publish(folder)
    keys = {k["id"]: k for s in registry_json("show", "--dir", folder)["systems"] if s["id"] == TAX for k in s["keys"]}
    assert keys[signing[0]]["retired"] == "2026-11-01T00:00:00.000Z" and keys[signing[0]]["revoked"] is None
    assert keys[signing[1]]["revoked"] is not None
    assert f"{TAX} has no signing key that counts" in registry_json("check", "--dir", folder)["warnings"]


def test_a_policy_question_is_answered_with_rule_condition_and_exit_code(folder):
    publish(folder)
    good = (TAX, PERSON, "GetPerson", "--purpose", "tax.assessment", "--basis", LAW)
    assert decide(folder, *good) == {"decision": "permit", "rule": "POP-TAX-001", "failed": "", "is_verified": True}
    denied = decide(folder, TAX, PERSON, "GetPerson", "--purpose", "tax.audit", "--basis", LAW, code=3)
    assert (denied["error"], denied["code"], denied["rule"], denied["failed"]) == ("POLICY_PURPOSE", "EHIS-4103", "POP-TAX-001", "purpose")
    for words, error in (
        ((TAX, PERSON, "FindPersons", "--purpose", "tax.assessment", "--basis", LAW), "POLICY_OPERATION"),
        ((TAX, PERSON, "Nothing", "--purpose", "tax.assessment", "--basis", LAW), "POLICY_UNKNOWN_OPERATION"),
        ((TAX, POP + "/nothing", "GetPerson"), "POLICY_UNKNOWN_SERVICE"),
        ((POP, PERSON, "GetPerson", "--purpose", "tax.assessment", "--basis", LAW), "POLICY_CONSUMER"),
        ((TAX, PERSON, "GetPerson", "--purpose", "tax.assessment", "--basis", "Law 1"), "POLICY_LEGAL_BASIS"),
        ((TAX, PERSON, "GetPerson", "--what", "receive"), "POLICY_UNKNOWN_OPERATION"),
    ):
        assert decide(folder, *words, code=3)["error"] == error
    assert decide(folder, TAX, PERSON, "PersonChanged", "--what", "receive")["decision"] == "permit"
    assert decide(folder, POP, PERSON, "PersonChanged", "--what", "publish")["decision"] == "permit"
    assert "1 rule considered" in decide(folder, TAX, PERSON, "GetPerson", "--purpose", "tax.audit", "--basis", LAW, code=3, verb="explain")["explanation"]


def test_who_can_and_why_can_list_rules(folder):
    publish(folder)
    who = decide(folder, PERSON, "GetPerson", verb="who-can")
    assert [r["systems"] for r in who["rules"]] == [[TAX]]
    assert decide(folder, PERSON, "FindPersons", verb="who-can", code=3)["rules"] == []
    assert decide(folder, TAX, PERSON, verb="why-can")["rules"][0]["in_force"] is True
    assert decide(folder, POP, PERSON, verb="why-can", code=3)["rules"] == []
    done = run("ehis-policy", "who-can", "--registry", folder / "registry.pb", PERSON + "s", code=4)
    assert f"did you mean {PERSON}?" in done.stderr
    assert "signature was not checked" in done.stderr
