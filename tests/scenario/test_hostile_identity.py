# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""Who may not come in, and why it is said: certificates, names, TLS (SPEC 7). Codes are numbers of docs/reference/errors.md."""
import datetime
import os
import signal
import socket
import ssl
import subprocess
import time

import pytest

pytest.importorskip("cryptography")
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from cryptography.x509.oid import NameOID
from ehis_peer import Ended, Peer, tls_context
from ports import free_port
from world import SYSTEMS, wait_until

TAX = SYSTEMS["tax"]


def load_key(path):
    return serialization.load_pem_private_key(path.read_bytes(), None)


def authorities(file):
    end = b"-----END CERTIFICATE-----"
    return [x509.load_pem_x509_certificate(part + end) for part in file.read_bytes().split(end)[:-1]]


def certificate(world, names=(f"ehis:{TAX}",), usage=(Usage.CLIENT_AUTH,), days=(-1, 20), common_name=None, key=None, ca="ca"):
    """A chain by the world's own intermediate with whatever is wrong in its leaf. The key is the tax office's, which is pinned."""
    issuer_key = load_key(world.dir / ca / "intermediate.key")
    issuer = next(c for c in authorities(world.dir / ca / "ca.crt") if c.issuer != c.subject)
    public = (key or load_key(world.dir / "tax/tls.key")).public_key()
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None, microsecond=0)
    b = x509.CertificateBuilder().serial_number(x509.random_serial_number()).issuer_name(issuer.subject).public_key(public)
    b = b.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name) if common_name else x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Any")]))
    b = b.not_valid_before(now + datetime.timedelta(days[0])).not_valid_after(now + datetime.timedelta(days[1]))
    b = b.add_extension(x509.BasicConstraints(False, None), True)
    b = b.add_extension(x509.KeyUsage(True, False, False, False, False, False, False, False, False), True)
    if usage:
        b = b.add_extension(x509.ExtendedKeyUsage(usage), False)
    b = b.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
    b = b.add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value), False)
    if names:
        b = b.add_extension(x509.SubjectAlternativeName([n if isinstance(n, x509.GeneralName) else x509.UniformResourceIdentifier(n) for n in names]), False)
    leaf = b.sign(issuer_key, hashes.SHA256())
    file = world.dir / f"{os.urandom(4).hex()}.crt"
    file.write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + issuer.public_bytes(serialization.Encoding.PEM))
    return file


def knock(world, chain, key=None, **more):
    """Tries; the number of the ERROR frame, None where TLS itself said no."""
    try:
        peer = Peer.of(world, "tax", chain=chain, key=key, **more)
        return peer.refusal()
    except Ended:
        return None


def test_a_good_certificate_of_this_making_comes_in(arena):
    """So that the refusals below are for what they say they are."""
    peer = Peer.of(arena.world, "tax", chain=certificate(arena.world)).ready()
    assert peer.is_served()
    peer.close()


WRONG = {
    "expired": (3009, dict(days=(-20, -1))),
    "not valid yet": (3010, dict(days=(1, 20))),
    "valid for too long": (3008, dict(days=(-1, 91))),
    "for serverAuth": (3013, dict(usage=(Usage.SERVER_AUTH,))),
    "for both uses": (3013, dict(usage=(Usage.SERVER_AUTH, Usage.CLIENT_AUTH))),
    "for no stated use": (3013, dict(usage=())),
    "a system that poses as a gateway": (3013, dict(names=("ehis-gw:AZ/gw1",))),
    "two names": (3016, dict(names=(f"ehis:{TAX}", "ehis:AZ/GOV/MIA/population"))),
    "a second name of another type": (3016, dict(names=(f"ehis:{TAX}", x509.DNSName("tax.example")))),
    "no name": (3014, dict(names=())),
    "a common name alone": (3015, dict(names=(), common_name=TAX)),
    "a name that is not a URI": (3017, dict(names=(x509.DNSName("tax.example"),))),
    "a service's name": (3018, dict(names=(f"ehis:{TAX}/service",))),
    "a path in the name": (3018, dict(names=("ehis:AZ/GOV/STS/../MIA",))),
    "another scheme": (3018, dict(names=(f"http:{TAX}",))),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_certificate_that_is_not_as_it_must_be_is_refused(arena, what):
    code, how = WRONG[what]
    with arena.attack() as since:
        said = knock(arena.world, certificate(arena.world, **how))
        since.logged(code)
        assert said in (code, None)


def test_a_gateways_own_certificate_does_not_make_a_system(arena):
    with arena.attack() as since:
        said = knock(arena.world, arena.world.dir / "gw/tls.crt", arena.world.dir / "gw/tls.key", system="AZ/gw1")
        line = since.logged()
        assert line["code"] in ("EHIS-3013", "EHIS-3019") and said in (None, int(line["code"][5:])), line


def test_another_authority_with_the_same_names_is_not_ours(arena):
    w = arena.world
    w.run("ehis-pki", "init", "--dir", "other-ca", "--instance", "AZ", check=True)
    with arena.attack() as since:
        assert knock(w, certificate(w, ca="other-ca")) is None
        since.logged(3031)


def test_nobody_comes_in_without_a_certificate(arena):
    with arena.attack() as since:
        with pytest.raises(Ended):
            Peer(arena.world.port, TAX, tls_context()).refusal()
        since.logged(2077)


def test_a_certificate_whose_key_is_not_pinned_is_refused_and_on_record(arena):
    w = arena.world
    key = ec.generate_private_key(ec.SECP256R1())
    file = w.dir / "unpinned.key"
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    with arena.attack() as since:
        assert knock(w, certificate(w, key=key), file) == 4056
        since.logged(4056, system=TAX)
        since.recorded(4056, "session-refused", system=TAX)


def test_a_system_that_is_not_in_the_registry_is_refused_and_on_record(arena):
    w = arena.world
    with arena.attack() as since:
        assert knock(w, certificate(w, names=("ehis:AZ/GOV/STS/ghost",)), system="AZ/GOV/STS/ghost") == 5201
        since.recorded(5201, "session-refused", system="AZ/GOV/STS/ghost")


def test_hello_under_another_name_than_the_certificates_is_refused_and_on_record(arena):
    with arena.attack() as since:
        peer = Peer.of(arena.world, "tax", system="AZ/GOV/MIA/population")
        peer.send(1, peer.hello_payload())
        assert peer.refusal() == 2081
        since.recorded(2081, "session-refused", system=TAX)


def test_tls_1_2_is_not_spoken(arena):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(arena.world.dir / "tax/tls.crt", arena.world.dir / "tax/tls.key")
    with arena.attack() as since:
        with pytest.raises(Ended):
            Peer(arena.world.port, TAX, context)
        since.logged(2078, event="session.end")


NOT_TLS = {"HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "an endless record": b"\x16\x03\x01\xff\xff" + b"\x01" * 70000, "zeros": bytes(5000), "noise": os.urandom(20000)}


@pytest.mark.parametrize("what", NOT_TLS)
def test_what_is_not_tls_ends_the_connection(arena, what):
    with arena.attack() as since:
        with socket.create_connection(("127.0.0.1", arena.world.port), 5) as s:
            try:
                s.sendall(NOT_TLS[what])
                while s.recv(4096):
                    pass
            except ConnectionError:
                pass
        since.logged(event="session.end")


def test_a_silent_connection_is_ended_at_its_deadline(arena):
    with arena.attack() as since:
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", arena.world.port), 10) as s:
            assert s.recv(1) == b""
        assert 2 < time.monotonic() - began < 5
        since.logged(2073)


def test_no_session_is_ever_resumed(arena):
    w = arena.world
    context = tls_context(w.dir / "tax/tls.crt", w.dir / "tax/tls.key", w.dir / "ca/ca.crt")
    with arena.attack():
        first = Peer(w.port, TAX, context).ready()
        assert first.is_served() and not first.tls.session.has_ticket
        again = Peer(w.port, TAX, context, session=first.tls.session).ready()
        assert not again.tls.session_reused and again.is_served()
        first.close()
        again.close()


def test_early_data_and_a_foreign_ticket_are_not_taken(arena, tmp_path):
    """A ticket that allows early data, from a server of our own making with the gateway's certificate, is shown to the gateway."""
    w, port = arena.world, free_port()
    pair = ["-cert", w.dir / "tax/tls.crt", "-key", w.dir / "tax/tls.key"]
    session, early = tmp_path / "session.pem", tmp_path / "early"
    early.write_bytes(b"\0\0\0\x05early")
    server = subprocess.Popen(["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", w.dir / "gw/tls.crt", "-key", w.dir / "gw/tls.key", "-early_data", "-quiet"],
                              stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def ticket():
            p = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *pair, "-sess_out", session], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
            try:
                wait_until(lambda: session.exists() and session.stat().st_size or p.poll() is not None, 5)
            finally:
                p.kill()
                p.wait()
            return session.exists() and session.stat().st_size
        wait_until(ticket, 15, "a ticket from s_server")
    finally:
        server.kill()
        server.wait()
    with arena.attack():
        p = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{w.port}", *pair, "-sess_in", session, "-early_data", early], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            out, _ = p.communicate("", timeout=10)
        except subprocess.TimeoutExpired:
            p.kill()
            out, _ = p.communicate()
        assert "Early data was accepted" not in out and "Reused, TLS" not in out, out
        assert "Early data was rejected" in out, out


def test_a_revoked_system_is_cut_off_within_5_seconds_and_stays_out(land):
    """R10, in a country of its own."""
    from arena import Arena
    land.start_gateway()
    arena = Arena(land)
    live = Peer.of(land, "tax").ready()
    assert live.is_served()
    land.run("ehis-pki", "revoke", TAX, "--ca", "ca", "--reason", "keyCompromise", check=True)
    land.make_crl()
    with arena.attack() as since:
        began = time.monotonic()
        land.running["gateway"].send_signal(signal.SIGHUP)
        assert live.refusal(seconds=6) == 3022
        assert time.monotonic() - began < 5
        since.recorded(3022, "session-ended", system=TAX)
    with arena.attack() as since:
        assert knock(land, None) in (3022, None)
        since.logged(3022)
    new = Peer.of(land, "students").ready()
    assert new.is_served()


def test_a_system_that_the_registry_disables_is_cut_off_within_5_seconds(land):
    """R10: the right goes with the registry."""
    from arena import Arena
    land.start_gateway()
    arena = Arena(land)
    live = Peer.of(land, "tax").ready()
    file = next((land.dir / "registry/systems").glob("*tax*"))
    file.write_text(file.read_text() + "disabled: true\n")
    land.publish_registry()
    with arena.attack() as since:
        began = time.monotonic()
        land.running["gateway"].send_signal(signal.SIGHUP)
        assert live.refusal(seconds=6) == 5202
        assert time.monotonic() - began < 5
        since.recorded(5202, "session-ended", system=TAX)
    with arena.attack() as since:
        assert knock(land, None) == 5202
        since.recorded(5202, "session-refused", system=TAX)
