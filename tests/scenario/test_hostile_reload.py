# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""R9: a broken reload leaves the old state whole and says why; at the start the same files keep the gateway from starting."""
import os
import shutil
import signal
import time

import pytest

pytest.importorskip("cryptography")
from arena import Arena
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from ehis_peer import Ended, Peer, Refused, one, parse, seed_of, tls_context
from make_vectors import key_id, message, raw_public, sha256, u8
from world import wait_until


def sighup(world):
    world.running["gateway"].send_signal(signal.SIGHUP)


def sign_statement(world, statement, key=None):
    key = key or Ed25519PrivateKey.from_private_bytes(seed_of(world.dir / "operator.key"))
    by = key_id(4, 1, raw_public(key))
    return message({1: statement, 2: 1, 3: by, 4: key.sign(b"ehis/registry/v1\0" + u8(1) + by + sha256(statement))})


def forged(world, document, key=None, **change):
    """The document with another statement, by field names, the next of the chain unless a version is given; signed by the operator, or by key."""
    parts = parse(document)
    numbers = {"instance": 1, "version": 2, "previous": 3, "not_before_ms": 4, "not_after_ms": 5, "grace_ms": 6, "leaf_count": 7, "root": 8}
    held = one(parse(one(parts, 1)), 1)
    fields = {k: v[0] for k, v in parse(held).items()}
    fields.update({2: fields[2] + 1, 3: sha256(held)})
    fields.update({numbers[k]: v for k, v in change.items()})
    return message({1: sign_statement(world, message(fields), key), 2: parts[2], 3: parts.get(3, []) + [one(parts, 1)]})


@pytest.fixture(scope="module")
def reloaded(arena):
    """Version 1 was held, version 2 is; forks of both lie beside."""
    w = arena.world
    w.first = (w.dir / "registry/registry.pb").read_bytes()
    shutil.copytree(w.dir / "registry", w.dir / "fork")
    with arena.attack() as since:
        w.publish_registry()
        sighup(w)
        since.logged(event="reload.done")
        since.recorded(kind="reloaded")
    w.second = (w.dir / "registry/registry.pb").read_bytes()
    w.other = []
    terms = w.dir / "fork/registry.yaml"
    terms.write_text(terms.read_text().replace("Tax assessment", "Tax as others see it"))
    for _ in range(2):
        w.run("ehis-registry", "build", "--dir", "fork", check=True)
        w.run("ehis-registry", "sign", "--dir", "fork", "--key", "operator.key", check=True)
        w.other.append((w.dir / "fork/registry.pb").read_bytes())
    w.run("ehis-registry", "build", "--dir", "registry", check=True)
    w.unsigned = (w.dir / "registry/registry.unsigned").read_bytes()
    return arena


def now_ms():
    return int(time.time() * 1000)


def altered(document):
    at = document.find("Daxili".encode())
    return document[:at] + b"d" + document[at + 1:]


DOCUMENTS = {
    "older": (4003, lambda w: w.first),
    "a fork of the version held": (4004, lambda w: w.other[0]),
    "a newer one of another chain": (4004, lambda w: w.other[1]),
    "unsigned": (4002, lambda w: w.unsigned),
    "signed by another": (4001, lambda w: forged(w, w.second, Ed25519PrivateKey.generate())),
    "expired": (4006, lambda w: forged(w, w.second, not_before_ms=now_ms() - 20000, not_after_ms=now_ms() - 10000, grace_ms=5000)),
    "of the future": (4007, lambda w: forged(w, w.second, not_before_ms=now_ms() + 3600000)),
    "of another instance": (4011, lambda w: forged(w, w.second, instance="XX")),
    "with an altered leaf": (4010, lambda w: altered(forged(w, w.second))),
    "the one held with an altered leaf": (4010, lambda w: altered(w.second)),
    "cut in the middle": (2020, lambda w: w.second[:len(w.second) // 2]),
    "noise": (None, lambda w: os.urandom(5000)),
    "empty": (None, lambda w: b""),
}


@pytest.mark.parametrize("what", DOCUMENTS)
def test_a_registry_that_may_not_be_loaded_leaves_the_old_one(reloaded, what):
    w = reloaded.world
    code, make = DOCUMENTS[what]
    file = w.dir / "registry/registry.pb"
    before = w.status()
    live = Peer.of(w, "tax").ready()
    try:
        with reloaded.attack() as since:
            file.write_bytes(make(w))
            sighup(w)
            line = since.logged(code, event="reload.refused")
            record = since.recorded(code, "reload-failed")
            assert line["code"] == record["code"] and line["registry_version"] == 2
            after = w.status()
            assert after["registry"] == before["registry"] and after["reloads"]["refused"] == before["reloads"]["refused"] + 1
            assert live.is_served() and Peer.of(w, "students").ready().is_served()
    finally:
        file.write_bytes(w.second)
        live.close()
    with reloaded.attack() as since:
        sighup(w)
        since.logged(event="reload.done")


SETTINGS = {"an unknown key": ("limits: {session_max: 5}\n", "sessions_max"), "a key twice": ("name: AZ/gw1\n", "name"), "no YAML": ("limits: {a: [\n", ""),
            "a number out of range": ("log: {level: loud}\n", "debug"), "bytes that are no UTF-8": ("log: {level: \udcff}\n", "")}


@pytest.mark.parametrize("what", SETTINGS)
def test_broken_settings_are_refused_with_their_place(arena, what):
    w = arena.world
    text, hint = SETTINGS[what]
    file = w.dir / "gateway.yaml"
    good = file.read_bytes()
    try:
        with arena.attack() as since:
            lines = [line for line in good.decode().splitlines(keepends=True) if not (text.startswith("limits") and line.startswith("limits"))]
            bad = "".join(lines) + text
            file.write_bytes(bad.encode("utf-8", "surrogateescape"))
            sighup(w)
            line = since.logged(5206, event="reload.refused")
            assert f"gateway.yaml:{len(lines) + 1}:" in line["why"] or what == "no YAML", line
            assert hint in line["why"] and "??" not in line["why"], line
            since.recorded(5206, "reload-failed")
    finally:
        file.write_bytes(good)


def test_a_setting_that_needs_a_restart_is_not_taken_by_half(arena):
    w = arena.world
    file = w.dir / "gateway.yaml"
    good = file.read_text()
    try:
        with arena.attack() as since:
            file.write_text(good.replace("segment_bytes: 4MiB", "segment_bytes: 8MiB") + "log: {level: debug}\n")
            sighup(w)
            assert "restart" in since.logged(5206, event="reload.refused")["why"]
            assert not [line for line in w.log_lines("gateway")[since.lines:] if line["level"] == "debug"]
    finally:
        file.write_text(good)


FILES = {"no certificate": ("gw/tls.crt", b""), "another's certificate": ("gw/tls.crt", "tax/tls.crt"), "another's key": ("gw/tls.key", "tax/tls.key"),
         "no key": ("gw/tls.key", None), "no authority": ("ca/ca.crt", b""), "no revocation lists": ("crl.pem", b""), "noise for revocation lists": ("crl.pem", os.urandom(900)),
         "the lists of the authority alone": ("crl.pem", "half"), "no signing key": ("gw/sign.key", b"ehis-key-v1 seal " + b"00" * 32 + b"\n"), "another's signing key": ("gw/sign.key", "tax/sign.key")}


@pytest.mark.parametrize("what", FILES)
def test_keys_certificates_and_lists_that_do_not_fit_leave_the_old_ones(arena, what):
    w = arena.world
    name, content = FILES[what]
    file = w.dir / name
    good = file.read_bytes()
    context, sign_seed = tls_context(w.dir / "tax/tls.crt", w.dir / "tax/tls.key", w.dir / "ca/ca.crt"), seed_of(w.dir / "tax/sign.key")
    try:
        with arena.attack() as since:
            if content is None:
                file.unlink()
            elif content == "half":
                end = b"-----END X509 CRL-----\n"
                file.write_bytes(good[:good.index(end) + len(end)])
            else:
                file.write_bytes((w.dir / content).read_bytes() if isinstance(content, str) else content)
            sighup(w)
            line = since.logged(event="reload.refused")
            assert line["code"] != "EHIS-0" and since.recorded(kind="reload-failed")["code"] == line["code"]
            assert Peer(w.port, "AZ/GOV/STS/tax", context, sign_seed).ready().is_served()  # by the old certificate, keys and lists
    finally:
        file.write_bytes(good)
        file.chmod(0o600)
    with arena.attack() as since:
        sighup(w)
        since.logged(event="reload.done")


def test_an_older_revocation_list_is_refused_and_a_revoked_system_stays_out(land):
    """Whoever puts the list of yesterday back lets nobody in again."""
    land.start_gateway()
    arena = Arena(land)
    yesterday = (land.dir / "crl.pem").read_bytes()
    land.run("ehis-pki", "revoke", "AZ/GOV/STS/tax", "--ca", "ca", check=True)
    land.make_crl()
    with arena.attack() as since:
        sighup(land)
        since.logged(event="reload.done")
    (land.dir / "crl.pem").write_bytes(yesterday)
    with arena.attack() as since:
        sighup(land)
        since.logged(3043, event="reload.refused")
    with arena.attack() as since:
        with pytest.raises((Ended, Refused)):
            Peer.of(land, "tax").ready()
        since.logged(3022)


def start_refused(world):
    """The gateway does not start: exit code, and what it says."""
    done = world.run("ehis-gateway", "--config", "gateway.yaml", timeout=30)
    assert done.returncode not in (0, -signal.SIGSEGV, -signal.SIGABRT), done.stderr
    return done.stderr


@pytest.mark.parametrize("what", ["unsigned", "signed by another", "expired", "of the future", "of another instance", "with an altered leaf", "the one held with an altered leaf", "cut in the middle", "noise", "empty"])
def test_no_gateway_starts_with_a_registry_that_it_may_not_load(land, what):
    (land.dir / "journal").mkdir(mode=0o700)
    land.second = (land.dir / "registry/registry.pb").read_bytes()
    land.run("ehis-registry", "build", "--dir", "registry", check=True)
    land.unsigned = (land.dir / "registry/registry.unsigned").read_bytes()
    code, make = DOCUMENTS[what]
    (land.dir / "registry/registry.pb").write_bytes(make(land))
    said = start_refused(land)
    assert "EHIS-" in said and (code is None or f"EHIS-{code}" in said), said


def test_at_the_start_a_fork_is_refused_and_an_older_file_yields_to_what_was_held(land):
    file = land.dir / "registry/registry.pb"
    shutil.copytree(land.dir / "registry", land.dir / "fork")
    first = file.read_bytes()
    land.publish_registry()
    land.start_gateway()
    assert land.status()["registry"]["version"] == 2
    land.stop("gateway")
    terms = land.dir / "fork/registry.yaml"
    terms.write_text(terms.read_text().replace("Tax assessment", "Another"))
    land.run("ehis-registry", "build", "--dir", "fork", check=True)
    land.run("ehis-registry", "sign", "--dir", "fork", "--key", "operator.key", check=True)
    file.write_bytes((land.dir / "fork/registry.pb").read_bytes())
    assert "EHIS-4004" in start_refused(land)
    file.write_bytes(first)
    land.start_gateway()
    assert land.status()["registry"]["version"] == 2
    assert wait_until(lambda: land.log_lines("gateway", "registry.file.older"), 5)
    Arena(land).check_served()
