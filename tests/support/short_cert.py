# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""A certificate that runs out in seconds, where an authority's own are good for a day at least: the same one, its end moved, signed again.

    shorten("a/tls.crt", "ca/intermediate.key", 4)      # in place; the chain behind it stays
"""
import base64
import pathlib
import re
import subprocess
import time


def length(n):
    octets = n.to_bytes((n.bit_length() + 7) // 8, "big")
    return bytes([n]) if n < 0x80 else bytes([0x80 | len(octets)]) + octets


def element(tag, content):
    return bytes([tag]) + length(len(content)) + content


def split(der):
    """What is inside an element, and what comes behind it."""
    n, at = der[1], 2
    if n & 0x80:
        at += n & 0x7F
        n = int.from_bytes(der[2:at], "big")
    return der[at:at + n], der[at + n:]


def shorten(path, key, seconds):
    path = pathlib.Path(path)
    blocks = re.findall("-----BEGIN CERTIFICATE-----\n(.*?)-----END CERTIFICATE-----\n", path.read_text(), re.S)
    inside, _ = split(base64.b64decode(blocks[0]))
    _, behind = split(inside)
    tbs, algorithm = inside[:len(inside) - len(behind)], behind[:len(behind) - len(split(behind)[1])]
    times = list(re.finditer(rb"\x17\x0d(\d{12}Z)", tbs))  # from, until
    assert len(times) == 2, path
    until = time.strftime("%y%m%d%H%M%SZ", time.gmtime(time.time() + seconds)).encode()
    tbs = tbs[:times[1].start(1)] + until + tbs[times[1].end(1):]
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", key], input=tbs, capture_output=True, check=True).stdout
    text = base64.encodebytes(element(0x30, tbs + algorithm + element(0x03, b"\0" + signature))).decode()
    rest = "".join(f"-----BEGIN CERTIFICATE-----\n{b}-----END CERTIFICATE-----\n" for b in blocks[1:])
    path.write_text(f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n{rest}")
