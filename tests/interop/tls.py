#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""What sslscan, testssl.sh and tlsfuzzer say of a running gateway.

    EHIS_BIN=build/release/bin python3 tests/interop/tls.py [--tlsfuzzer CHECKOUT] [--testssl]

sslscan and testssl.sh are Debian's packages; CHECKOUT is a copy of https://github.com/tlsfuzzer/tlsfuzzer, whose scripts run in this Python (it needs
tlslite-ng): those that bring a client's certificate, for without one nobody gets further here. Exit code 1 where sslscan finds another protocol,
renegotiation or compression, testssl.sh something of severity MEDIUM or more, a script fails, or the gateway does not answer
a real call afterwards."""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests.support.world import World  # noqa: E402

SIGNATURES = ("ed25519 ecdsa_secp256r1_sha256 ecdsa_secp384r1_sha384 rsa_pss_rsae_sha256 rsa_pss_rsae_sha384 rsa_pss_rsae_sha512 "
              "rsa_pkcs1_sha256 rsa_pkcs1_sha384 rsa_pkcs1_sha512")  # SPEC 7.1.2
# Conversations that go on without a certificate are left out: nobody does here.
SCRIPTS = {"ecdsa-in-certificate-verify": ["-s", SIGNATURES, "-e", "check sigalgs in cert request"],  # every bit of a signature; wrong algorithms, curves
           "certificate-request": ["with certificate"]}
# The scripts send the first certificate of a file alone: ours come with their authority's. Many offer what a server with an RSA key signs with: ours has P-256.
RUN = """
import runpy, sys
from tlslite.x509 import X509
from tlslite.x509certchain import X509CertChain
script, chain, sys.argv[1:] = sys.argv[1], sys.argv[2], sys.argv[3:]
parts = [p + "-----END CERTIFICATE-----" for p in open(chain).read().split("-----END CERTIFICATE-----")[:-1]]
above = [X509().parse(p) for p in parts[1:]]
init = X509CertChain.__init__
X509CertChain.__init__ = lambda self, certs=None: init(self, list(certs) + above if certs else certs)
from tlslite.constants import SignatureScheme
from tlslite.extensions import SignatureAlgorithmsCertExtension, SignatureAlgorithmsExtension
ours = SignatureScheme.ecdsa_secp256r1_sha256
def offering(create):
    return lambda self, algorithms: create(self, list(algorithms) + ([] if ours in algorithms else [ours]))
for kind in SignatureAlgorithmsCertExtension, SignatureAlgorithmsExtension:
    kind.create = offering(kind.create)
sys.argv[0] = script
runpy.run_path(script, run_name="__main__")
"""


def sslscan(port):
    done = subprocess.run(["sslscan", "--no-colour", "--xml=-", f"127.0.0.1:{port}"], capture_output=True, text=True, timeout=120)
    test = xml.fromstring(done.stdout).find("ssltest")
    on = [f"{p.get('type')}{p.get('version')}" for p in test.iter("protocol") if p.get("enabled") == "1"]
    bad = [] if on == ["tls1.3"] else [f"the protocols are {on}, not TLS 1.3 alone"]
    for what in ("renegotiation", "compression"):
        bad += [f"{what} is on" for e in test.iter(what) if e.get("supported") == "1" and e.get("secure") != "1"]
    bad += ["heartbleed" for e in test.iter("heartbleed") if e.get("vulnerable") == "1"]
    print("sslscan: protocols", on)
    print("  suites", [c.get("cipher") for c in test.iter("cipher")])
    print("  groups", [g.get("name") for g in test.iter("group")])
    return bad


def testssl(port, folder):
    out = folder / "testssl.json"
    subprocess.run(["testssl", "--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1", "-p", "-s", "-f", "-U", "--jsonfile", out, f"localhost:{port}"],
                   capture_output=True, text=True, timeout=280, stdin=subprocess.DEVNULL)
    found = json.loads(out.read_text())
    grades = {}
    for f in found:
        grades[f["severity"]] = grades.get(f["severity"], 0) + 1
    print("testssl.sh:", grades)
    return ([] if found else ["testssl.sh found nothing"]) + [f"testssl {f['id']}: {f['finding']}" for f in found if f["severity"] in ("MEDIUM", "HIGH", "CRITICAL")]


def tlsfuzzer(port, checkout, key, chain):
    bad = []
    for name, words in SCRIPTS.items():
        script = f"{checkout}/scripts/test-tls13-{name}.py"
        done = subprocess.run([sys.executable, "-c", RUN, script, chain, "-h", "127.0.0.1", "-p", str(port), "-k", key, "-c", chain, *words],
                              capture_output=True, text=True, timeout=250)
        said = dict(re.findall(r"^\s*(TOTAL|SKIP|PASS|XFAIL|FAIL|XPASS): (\d+)", done.stdout, re.M))
        print(f"tlsfuzzer {name}: {said or done.stderr[-300:]}")
        failed = re.findall(r"^\s*FAILED:\n((?:\t'.*\n)+)", done.stdout, re.M)
        print("".join(f"  {line.strip()}\n" for f in failed for line in f.splitlines()), end="")
        if done.returncode:
            bad.append(f"tlsfuzzer {name}")
    return bad


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("--tlsfuzzer")
    a.add_argument("--testssl", action="store_true")
    args = a.parse_args()
    with tempfile.TemporaryDirectory() as temp, World(pathlib.Path(temp)) as w:
        w.start_gateway()
        bad = sslscan(w.port)
        if args.testssl:
            bad += testssl(w.port, w.dir)
        if args.tlsfuzzer:
            bad += tlsfuzzer(w.port, args.tlsfuzzer, w.dir / "tax/tls.key", w.dir / "tax/tls.crt")
        w.start_register()
        done = w.call("tax", "GetPerson", {"pin": w.pins(1)[0]})
        if done.returncode:
            bad.append(f"a real call afterwards: {done.stderr}")
        ended = w.log_lines("gateway", "session.end") if w.log("gateway").exists() else []
        print(f"sessions that the gateway ended meanwhile: {len(ended)}")
    for line in bad:
        print("BAD:", line)
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
