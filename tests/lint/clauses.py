#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""Each clause of proto/SPEC.md that the tree cites is there: "SPEC 4.3", "SPEC 12.6, 13". clauses.py TREE"""
import os
import re
import sys

CITED = re.compile(r'\bSPEC(?:\.md)?`?,? +(\d+(?:\.\d+)*(?:(?:, | and | to )\d+(?:\.\d+)*\b(?! *(?:bytes|KiB|MiB|s\b|ms\b)))*)')
OWN = re.compile(r'(?<![-\w.,])(\d{1,2}\.\d{1,2}(?:\.\d{1,2})?)(?![\w%]|\.\d|,\d)')  # in SPEC.md itself: whatever looks like one
KINDS = ('.c', '.h', '.def', '.md', '.proto', '.py', '.txt', '.toml', '.cmake')
SKIPPED = {'.git', 'build', '__pycache__', '.cache'}


def clauses(text):
    """Headings, paragraphs that begin with their number, and the items of a numbered list below a heading."""
    found, heading = set(), ''
    for line in text.splitlines():
        m = re.match(r'(?:#{2,3} )?(\d+(?:\.\d+)*)(\.?) ', line)
        if not m:
            continue
        if m[2]:
            found.add(f'{heading}, {m[1]}')
            continue
        if line.startswith('#'):
            heading = m[1]
        found.add(m[1])
    return found


def main(tree):
    with open(os.path.join(tree, 'proto', 'SPEC.md'), encoding='utf-8') as f:
        spec = f.read()
    known = clauses(spec)
    findings = count = 0
    for folder, below, names in os.walk(tree):
        below[:] = [b for b in below if b not in SKIPPED]
        for path in (os.path.join(folder, n) for n in names if n.endswith(KINDS)):
            with open(path, encoding='utf-8', errors='replace') as f:
                lines = f.read().splitlines()
            name = os.path.relpath(path, tree)
            for number, line in enumerate(lines, 1):
                cited = [c for m in CITED.findall(line) for c in re.split(', | and | to ', m)]
                if name == os.path.join('proto', 'SPEC.md'):
                    cited += OWN.findall(re.sub(r'`[^`]*`|(TLS|RFC \d+ section|Debian) [\d.]+', '', line))
                for c in cited:
                    count += 1
                    if c not in known:
                        print(f'{name}:{number}: SPEC {c} is not there')
                        findings += 1
    print(f'{count} clauses cited, {findings} findings')
    return 1 if findings or count == 0 else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
