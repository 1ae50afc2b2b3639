# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""A certificate that runs out in seconds, or has long run out, where an authority's own are good for a day at least: the same one, its end moved, signed again."""
import datetime
import pathlib


def shorten(path, key, seconds, into=None):
    """The first certificate of a file with so long to live (below 0: it ended so long ago), signed by its issuer's key; in place, or into another file. What stands behind
    it stays."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    path, end = pathlib.Path(path), "-----END CERTIFICATE-----\n"
    first, _, rest = path.read_text().partition(end)
    cert = x509.load_pem_x509_certificate((first + end).encode())
    ends = datetime.datetime.utcnow() + datetime.timedelta(seconds=seconds)
    b = x509.CertificateBuilder().subject_name(cert.subject).issuer_name(cert.issuer).public_key(cert.public_key()).serial_number(x509.random_serial_number())
    b = b.not_valid_before(min(cert.not_valid_before, ends - datetime.timedelta(days=1))).not_valid_after(ends)
    for e in cert.extensions:
        b = b.add_extension(e.value, e.critical)
    issuer = serialization.load_pem_private_key(pathlib.Path(key).read_bytes(), None)
    into = pathlib.Path(into or path)
    into.write_text(b.sign(issuer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode() + rest)
    return into
