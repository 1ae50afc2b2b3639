#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""Links between the pages of the tree lead somewhere: the file is there, and the heading. links.py TREE"""
import os
import re
import sys

LINK = re.compile(r'\[[^\]]*\]\(([^)\s]+)\)')
SKIPPED = {'.git', 'build', '__pycache__'}


def text_of(path):
    with open(path, encoding='utf-8') as f:
        return re.sub(r'```.*?```', '', f.read(), flags=re.S)


def anchors(path):
    """The names that GitHub and most others give to headings."""
    found = set()
    for title in re.findall(r'^#+ (.*)$', text_of(path), flags=re.M):
        title = re.sub(r'[`*]', '', title).strip().lower()
        found.add(re.sub(r' ', '-', re.sub(r'[^\w\- ]', '', title)))
    return found


def main(tree):
    findings = count = 0
    for folder, below, names in os.walk(tree):
        below[:] = [b for b in below if b not in SKIPPED]
        for path in (os.path.join(folder, n) for n in names if n.endswith('.md')):
            for target in LINK.findall(text_of(path)):
                if re.match(r'[a-z]+:', target):
                    continue
                count += 1
                name, _, anchor = target.partition('#')
                file = os.path.normpath(os.path.join(folder, name)) if name else path
                if not os.path.exists(file):
                    print(f'{os.path.relpath(path, tree)}: {target} is not there')
                    findings += 1
                elif anchor and file.endswith('.md') and anchor not in anchors(file):
                    print(f'{os.path.relpath(path, tree)}: {target}: no such heading')
                    findings += 1
    print(f'{count} links, {findings} findings')
    return 1 if findings or count == 0 else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
