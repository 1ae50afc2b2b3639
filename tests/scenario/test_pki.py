# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""ehis-pki as people use it: the binary, its files, its exit codes; openssl(1) as a judge that is not ours."""
import json
import os
import pathlib
import stat
import subprocess

import pytest

SYSTEM = "AZ/GOV/STS/tax"


def bin_dir():
    root = pathlib.Path(__file__).resolve().parents[2]
    return pathlib.Path(os.environ.get("EHIS_BIN", root / "build/dev/bin"))


def pki(*words, code=0, cwd=None):
    done = subprocess.run([bin_dir() / "ehis-pki", *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def pki_json(*words, **more):
    return json.loads(pki(*words, "--json", **more).stdout)


def error_of(*words, code):
    return json.loads(pki(*words, "--json", code=code).stderr)["error"]["name"]


@pytest.fixture
def ca(tmp_path):
    pki("init", "--dir", tmp_path / "ca", "--instance", "AZ")
    return tmp_path / "ca"


@pytest.fixture
def tax(tmp_path, ca):
    """A system with keys, certificate and fresh lists."""
    pki("keygen", "--dir", tmp_path / "tax", SYSTEM)
    pki("issue", "--ca", ca, "--request", tmp_path / "tax/join.request", "--out", tmp_path / "tax/tls.crt")
    pki("crl", "--ca", ca, "--out", tmp_path / "crl.pem")
    return tmp_path / "tax"


def verify(ca, chain, *more, code=0):
    return pki("verify", "--trust", ca / "ca.crt", "--crl", ca.parent / "crl.pem", chain, *more, code=code)


def verify_error(ca, chain, *more):
    return error_of("verify", "--trust", ca / "ca.crt", "--crl", ca.parent / "crl.pem", chain, *more, code=5)


def test_from_keys_to_a_verified_certificate(ca, tax):
    result = pki_json("verify", "--trust", ca / "ca.crt", "--crl", ca.parent / "crl.pem", tax / "tls.crt")
    assert result["verified"] is True
    assert result["certificates"][0]["id"] == SYSTEM
    request = pki_json("show", tax / "join.request")
    assert [k["use"] for k in request["keys"]] == ["tls", "sign", "seal"]
    assert result["certificates"][0]["key_id"] == request["keys"][0]["id"]


def test_openssl_agrees(ca, tax):
    def ask(purpose):
        return subprocess.run(["openssl", "verify", "-x509_strict", "-crl_check_all", "-CAfile", ca / "ca.crt", "-CRLfile", ca.parent / "crl.pem",
                               "-untrusted", tax / "tls.crt", "-purpose", purpose, tax / "tls.crt"], capture_output=True).returncode
    assert ask("sslclient") == 0
    assert ask("sslserver") != 0
    pki("revoke", "--ca", ca, SYSTEM, "--reason", "keyCompromise")
    pki("crl", "--ca", ca, "--out", ca.parent / "crl.pem")
    assert ask("sslclient") != 0


def test_secrets_are_for_their_owner_alone(ca, tax):
    for path in [ca / "root.key", ca / "intermediate.key", ca / "issued.txt", tax / "tls.key", tax / "sign.key", tax / "seal.key"]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(tax.stat().st_mode) == 0o700


def test_a_gateway_has_no_sealing_key_and_is_not_a_system(ca, tax, tmp_path):
    pki("keygen", "--gateway", "--dir", tmp_path / "gw", "AZ/gw1")
    assert not (tmp_path / "gw/seal.key").exists()
    pki("issue", "--ca", ca, "--request", tmp_path / "gw/join.request", "--out", tmp_path / "gw/tls.crt")
    verify(ca, tmp_path / "gw/tls.crt", "--kind", "gateway")
    assert verify_error(ca, tmp_path / "gw/tls.crt", "--kind", "system") == "CERT_KIND"
    assert verify_error(ca, tax / "tls.crt", "--kind", "gateway") == "CERT_KIND"


def test_certificates_of_the_bus_are_a_kind_of_their_own(ca, tax, tmp_path):
    def issue(name, *words, **more):
        pki("keygen", "--bus", "--dir", tmp_path / name, f"AZ/{name}")
        return pki("sign-csr", "--bus", "--ca", ca, "--csr", tmp_path / name / "bus.csr", "--out", tmp_path / name / "bus.crt", f"AZ/{name}", *words, **more)
    issue("kafka1", "--host", "kafka1.example", "--host", "10.0.0.1", "--host", "::1")
    issue("gw1")
    broker, gateway = tmp_path / "kafka1/bus.crt", tmp_path / "gw1/bus.crt"

    def shown(chain, *words):
        return subprocess.run(["openssl", "x509", "-noout", "-in", chain, "-nameopt", "RFC2253", *words], capture_output=True, text=True, check=True).stdout
    assert shown(broker, "-subject") == "subject=CN=kafka1,OU=ehis-bus,O=AZ\n" and shown(gateway, "-subject") == "subject=CN=gw1,OU=ehis-bus,O=AZ\n"
    names = shown(broker, "-ext", "subjectAltName,extendedKeyUsage")
    assert "URI:ehis-bus:AZ/kafka1, DNS:kafka1.example, IP Address:10.0.0.1, IP Address:0:0:0:0:0:0:0:1" in names and "TLS Web Server Authentication, TLS Web Client" in names
    names = shown(gateway, "-ext", "subjectAltName,extendedKeyUsage")
    assert "URI:ehis-bus:AZ/gw1\n" in names and "Server" not in names
    assert (tmp_path / "gw1/bus.key").stat().st_mode & 0o777 == 0o600 and (tmp_path / "gw1/bus.key").read_text().startswith("-----BEGIN PRIVATE KEY-----")
    for chain in (broker, gateway):  # never a system, never a gateway
        for kind in ("system", "gateway"):
            assert verify_error(ca, chain, "--kind", kind).startswith("CERT_")
        assert pki_json("show", chain)["certificates"][0]["kind"] == "bus"
    assert "OU=" not in shown(tax / "tls.crt", "-subject")  # nor the other way round: brokers go by the unit
    assert [(i["kind"], i["id"]) for i in pki_json("show", "--ca", ca)["issued"]][-2:] == [("bus", "AZ/kafka1"), ("bus", "AZ/gw1")]
    pki("revoke", "--ca", ca, "AZ/gw1")
    assert [i["status"] for i in pki_json("show", "--ca", ca)["issued"]][-2:] == ["valid", "revoked"]
    for host in ("a,DNS:b", "", "a b", "x" * 254, "ə"):
        assert error_of("sign-csr", "--bus", "--ca", ca, "--csr", tmp_path / "gw1/bus.csr", "--out", tmp_path / "no.crt", "AZ/gw1", "--host", host, code=5) == "INVALID", host
    assert error_of("sign-csr", "--bus", "--ca", ca, "--csr", tmp_path / "gw1/bus.csr", "--out", tmp_path / "no.crt", "AZ/gw2", code=5) == "CSR_NAME"
    assert error_of("sign-csr", "--gateway", "--ca", ca, "--csr", tmp_path / "gw1/bus.csr", "--out", tmp_path / "no.crt", "AZ/gw1", code=5) == "CSR_NAME"
    assert error_of("sign-csr", "--ca", ca, "--csr", tmp_path / "gw1/bus.csr", "--out", tmp_path / "no.crt", SYSTEM, "--host", "x", code=2) == "USAGE"
    assert error_of("keygen", "--bus", "--dir", tmp_path / "gw1", "AZ/gw1", code=1) == "EXISTS" and not (tmp_path / "no.crt").exists()


def test_revoked_expired_and_foreign_are_told_apart(ca, tax, tmp_path):
    assert error_of("verify", "--trust", ca / "ca.crt", "--crl", tmp_path / "crl.pem", tax / "tls.crt", "--at", "2090-01-01", code=5) == "CERT_EXPIRED"
    pki("init", "--dir", tmp_path / "other", "--instance", "AZ")
    pki("crl", "--ca", tmp_path / "other", "--out", tmp_path / "other.pem")
    assert error_of("verify", "--trust", tmp_path / "other/ca.crt", "--crl", tmp_path / "other.pem", tax / "tls.crt", code=5) == "CHAIN_UNTRUSTED"
    assert error_of("verify", "--trust", ca / "ca.crt", "--crl", tmp_path / "other.pem", tax / "tls.crt", code=5) == "CRL_FOREIGN"
    pki("revoke", "--ca", ca, pki_json("show", "--ca", ca)["issued"][0]["serial"], "--reason", "superseded")
    verify(ca, tax / "tls.crt")  # not before a new list
    pki("crl", "--ca", ca, "--out", tmp_path / "crl.pem")
    assert verify_error(ca, tax / "tls.crt") == "CERT_REVOKED"
    shown = pki_json("show", "--ca", ca)["issued"][0]
    assert (shown["status"], shown["reason"]) == ("revoked", "superseded")


def test_nothing_is_overwritten(ca, tax, tmp_path):
    before = (tax / "tls.key").read_bytes()
    assert error_of("keygen", "--dir", tax, SYSTEM, code=1) == "EXISTS"
    assert (tax / "tls.key").read_bytes() == before
    assert error_of("init", "--dir", ca, "--instance", "AZ", code=1) == "EXISTS"


def test_dry_runs_write_nothing(ca, tax, tmp_path):
    def state():
        return {p: p.read_bytes() for p in sorted(tmp_path.rglob("*")) if p.is_file()}
    before = state()
    pki("init", "--dir", tmp_path / "new", "--instance", "AZ", "--dry-run")
    pki("keygen", "--dir", tmp_path / "new", SYSTEM, "--dry-run")
    pki("issue", "--ca", ca, "--request", tax / "join.request", "--out", tmp_path / "x.crt", "--dry-run")
    pki("revoke", "--ca", ca, SYSTEM, "--dry-run")
    pki("crl", "--ca", ca, "--out", tmp_path / "x.pem", "--dry-run")
    assert state() == before
    assert not (tmp_path / "new").exists()


def test_a_join_request_that_was_touched_is_not_issued(ca, tax, tmp_path):
    request = bytearray((tax / "join.request").read_bytes())
    at = request.index(b"tax")
    request[at:at + 3] = b"vax"
    (tmp_path / "bad.request").write_bytes(request)
    assert error_of("issue", "--ca", ca, "--request", tmp_path / "bad.request", "--out", tmp_path / "x.crt", code=5) == "JOIN_PROOF"
    assert not (tmp_path / "x.crt").exists()
    assert len(pki_json("show", "--ca", ca)["issued"]) == 1


def test_a_plain_request_is_signed_for_its_name_alone(ca, tax, tmp_path):
    subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=anything",
                    "-keyout", tmp_path / "k.pem", "-out", tmp_path / "r.pem"], check=True, capture_output=True)
    pki("sign-csr", "--ca", ca, "--csr", tmp_path / "r.pem", "--out", tmp_path / "x.crt", "--days", "7", SYSTEM)
    verify(ca, tmp_path / "x.crt")
    subprocess.run(["openssl", "req", "-new", "-key", tmp_path / "k.pem", "-subj", "/CN=x", "-addext", "subjectAltName=URI:ehis:AZ/GOV/MIA/population",
                    "-out", tmp_path / "r2.pem"], check=True, capture_output=True)
    assert error_of("sign-csr", "--ca", ca, "--csr", tmp_path / "r2.pem", "--out", tmp_path / "y.crt", SYSTEM, code=5) == "CSR_NAME"
    assert error_of("sign-csr", "--ca", ca, "--csr", tmp_path / "r.pem", "--out", tmp_path / "y.crt", "EE/GOV/STS/tax", code=1) == "AUTHORITY_INSTANCE"


@pytest.mark.parametrize("words", [
    ["isue"], ["issue"], ["init", "--dir"], ["keygen", "--dir", "x"], ["keygen", "--dir", "x", SYSTEM, "more"], ["crl", "--ca", "ca", "--out", "x", "--days", "36"],
    ["issue", "--ca", "ca", "--request", "x", "--out", "y", "--days", "0"], ["show"], ["verify", "x", "--trust", "a", "--crl", "b", "--at", "yesterday"], []])
def test_wrong_words_exit_2(words, tmp_path):
    assert pki(*words, code=2, cwd=tmp_path).stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_exits_4(ca, tmp_path):
    assert error_of("show", "--ca", tmp_path / "none", code=4) == "NOT_FOUND"
    assert error_of("show", tmp_path / "none.crt", code=4) == "NOT_FOUND"
    assert error_of("issue", "--ca", ca, "--request", tmp_path / "none", "--out", "x", code=4) == "NOT_FOUND"


def test_keys_that_others_can_read_are_refused(ca, tax, tmp_path):
    (ca / "intermediate.key").chmod(0o644)
    assert error_of("issue", "--ca", ca, "--request", tax / "join.request", "--out", tmp_path / "x", code=1) == "PERMISSION"


def test_the_chain_and_the_lists_are_shown(ca, tax, tmp_path):
    chain = pki_json("show", tax / "tls.crt")["certificates"]
    assert [c["kind"] for c in chain] == ["system", "authority"]
    lists = pki_json("show", tmp_path / "crl.pem")["crls"]
    assert len(lists) == 2 and all(c["number"] == 1 and c["revoked"] == 0 for c in lists)
    assert SYSTEM in pki("show", tax / "tls.crt").stdout
