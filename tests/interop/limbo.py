#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""x509-limbo's cases against ehis-pki verify, which checks a chain as a peer's is checked: path, lists, profile.

    EHIS_BIN=build/dev/bin python3 tests/interop/limbo.py CHECKOUT [--all]

CHECKOUT is a copy of https://github.com/C2SP/x509-limbo; its package makes the certificates (it needs pydantic, cryptography and pyyaml). They are made
with a few differences, so that what is right by RFC 5280 is right here too (SPEC 7.2): a leaf of which a case says nothing else is a system's, for
clientAuth, for 60 days; an authority lives for eleven years, its usage is critical, one below the root states a path length; every authority has a list. Prints what was accepted though it must not be, and what was refused though it is
valid, with our code; exit code 1 where something of the first kind is not explained below."""
import collections, datetime, inspect, os, pathlib, re, subprocess, sys, tempfile

EXPLAINED = {  # accepted here, refused there
    "pathlen::max-chain-depth-0-exhausted": "the depth is a setting of the case; here it is five certificates for all",
    "pathlen::max-chain-depth-1-exhausted": "the depth is a setting of the case; here it is five certificates for all",
    "rfc5280::eku::ee-wrong-eku": "clientAuth is the right usage of a system",
    "webpki::aki::root-with-aki-missing-keyidentifier": "a rule of the CA/Browser Forum; a root is trusted by its file",
    "webpki::cn::case-mismatch": "the subject is ignored",
    "webpki::malformed-aia": "no such extension is read: nothing is fetched",
    "webpki::san::mismatch-domain-san": "it expects another host; here the name is the identity",
    "webpki::san::mismatch-subdomain-apex-san": "it expects another host; here the name is the identity",
    "webpki::san::san-critical-with-nonempty-subject": "a rule of the CA/Browser Forum; the name may be critical (SPEC 7.2 d)",
}


DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)


def adapt(core, x509, ext, clock):
    """Wraps the package's builder; returns the keys of all authorities by their certificates."""
    keys = {}
    builder = core.Builder
    ca, leaf, crl = builder._ca, builder.leaf_cert, builder.crl
    usages = [inspect.signature(f).parameters["key_usage"].default for f in (builder.root_ca, builder.intermediate_ca)]

    def of_ca(self, issuer, subject, serial, not_before, not_after, key, constraints, usage, san, *rest):
        if any(usage is u for u in usages):  # the case says nothing of it
            usage = ext(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
        if constraints and constraints.critical and constraints.ext.ca and constraints.ext.path_length is None and rest[-1]:
            constraints = ext(x509.BasicConstraints(ca=True, path_length=3), critical=True)
        if not_before == core.EPOCH:
            not_before = clock["now"] - 365 * DAY
        if not_after == core.ONE_THOUSAND_YEARS_OF_TORMENT:
            not_after = clock["now"] + 3650 * DAY
        pair = ca(self, issuer, subject, serial, not_before, not_after, key, constraints, usage, san, *rest)
        keys[pair.cert.public_bytes(encoding())] = pair
        return pair

    def of_leaf(self, parent, **kw):
        san = kw.get("san", True)
        if san is True or (san and list(san.ext) == [x509.DNSName("example.com")]):
            kw["san"] = ext(x509.SubjectAlternativeName([x509.UniformResourceIdentifier("ehis:AZ/GOV/LIMBO/leaf")]), critical=san is not True and san.critical)
        kw.setdefault("eku", ext(x509.ExtendedKeyUsage([x509.OID_CLIENT_AUTH]), critical=False))
        kw.setdefault("not_before", clock["now"] - DAY)
        kw.setdefault("not_after", kw["not_before"] + 60 * DAY)
        return leaf(self, parent, **kw)

    def of_crl(self, signer, **kw):
        kw.setdefault("last_update", clock["now"] - DAY)
        kw.setdefault("next_update", kw["last_update"] + 30 * DAY)
        return crl(self, signer, **kw)

    builder._ca, builder.leaf_cert, builder.crl = of_ca, of_leaf, of_crl
    return keys


def encoding():
    from cryptography.hazmat.primitives.serialization import Encoding
    return Encoding.DER


def verify(folder, case, keys, builder, x509):
    """The code of ehis-pki verify: "" where it accepts."""
    def pem(text):
        return x509.load_pem_x509_certificate(text.encode())
    authorities, lists = {}, list(case.crls)  # the file that we trust holds those between too: lists are known by it
    issuers = {x509.load_pem_x509_crl(c.encode()).issuer for c in case.crls}
    for text in [*case.trusted_certs, *case.untrusted_intermediates]:
        cert = pem(text)
        if text not in case.trusted_certs and cert.issuer == cert.subject:
            continue  # in the file that we trust it would be a root
        pair = keys.get(cert.public_bytes(encoding()))
        authorities[text] = pair
        if pair and pair.cert.subject not in issuers:
            made = builder("list", "").crl(pair)
            from cryptography.hazmat.primitives.serialization import Encoding
            lists.append(made.public_bytes(Encoding.PEM).decode())
    for name, texts in {"ca.pem": authorities, "crl.pem": lists, "chain.pem": [case.peer_certificate, *case.untrusted_intermediates]}.items():
        (folder / name).write_text("".join(t if t.endswith("\n") else t + "\n" for t in texts))
    at = ["--at", case.validation_time.strftime("%Y-%m-%dT%H:%M:%SZ")] if case.validation_time else []
    done = subprocess.run([pathlib.Path(os.environ["EHIS_BIN"]) / "ehis-pki", "verify", folder / "chain.pem", "--trust", folder / "ca.pem", "--crl", folder / "crl.pem",
                           "--json", *at], capture_output=True, text=True)
    if done.returncode == 0:
        return ""
    if done.returncode < 0 or "Sanitizer" in done.stderr:
        sys.exit(f"{case.id}: ehis-pki died: {done.stderr[:2000]}")
    return re.search(r'"([A-Z]+(_[A-Z0-9]+)+)"', done.stdout + done.stderr)[1]


def main():
    checkout = [a for a in sys.argv[1:] if not a.startswith("-")]
    if len(checkout) != 1 or "EHIS_BIN" not in os.environ:
        sys.exit(__doc__)
    sys.path.insert(0, checkout[0])
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID
    x509.OID_CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
    import limbo.testcases._core as core
    from limbo.assets import ext
    clock = {"now": NOW}
    keys = adapt(core, x509, ext, clock)
    from limbo import testcases
    wrong, table, agreed = [], collections.Counter(), 0
    with tempfile.TemporaryDirectory() as temp:
        for name, make in sorted(testcases.registry.items()):
            try:
                clock["now"] = NOW
                clock["now"] = make().validation_time or NOW
                case = make()
            except (OSError, TypeError) as err:  # an asset that this copy lacks; another version of a library
                print(f"{name}: not made: {err}")
                continue
            code = verify(pathlib.Path(temp), case, keys, core.Builder, x509)
            expected = str(getattr(case.expected_result, "value", case.expected_result))
            agreed += (code == "") == (expected == "SUCCESS")
            if expected == "SUCCESS" and code:
                table[code] += 1
            if expected == "FAILURE" and not code:
                wrong.append(name)
            if "--all" in sys.argv:
                print(f"{expected:8} {code or 'accepted':28} {name}")
    print(f"\n{agreed} agree; refused here though valid: {sum(table.values())}")
    for code, count in table.most_common():
        print(f"  {count:4} {code}")
    print(f"accepted here though not valid: {len(wrong)}")
    for name in wrong:
        print(f"  {name}: {EXPLAINED.get(name, 'NOT EXPLAINED')}")
    return any(name not in EXPLAINED for name in wrong)


if __name__ == "__main__":
    sys.exit(main())
