#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""Holds the tree to the house of DESIGN 3: include directions, cycles, owners of vendors, banned calls and names, licence lines.

    include_lint.py TREE [--house house.toml]

Prints "file:line: what" for each finding; exit 0 without findings, 1 with some, 2 on wrong usage.
"""
import argparse
import fnmatch
import os
import re
import sys
import tomllib

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.M)
# Comments and literals, so that a word in them is no call. Newlines stay: lines keep their numbers.
NOT_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
WORD = re.compile(r'[A-Za-z_][A-Za-z0-9_]*')
LICENCE_LINES = ('SPDX-License-Identifier: Apache-2.0', 'SPDX-FileCopyrightText: ')


def blanked(text):
    return NOT_CODE.sub(lambda m: re.sub(r'[^\n]', ' ', m.group()), text)


def without_comments(text):
    return NOT_CODE.sub(lambda m: re.sub(r'[^\n]', ' ', m.group()) if m.group().startswith('/') else m.group(), text)


def line_of(text, at):
    return text.count('\n', 0, at) + 1


def matches(name, patterns):
    """A pattern ending in "/" takes what begins so, one with "*" what fits it, any other itself."""
    return any(name.startswith(p) if p.endswith('/') else fnmatch.fnmatchcase(name, p) for p in patterns)


def is_below(path, owner):
    return path.startswith(owner) and path[len(owner):len(owner) + 1] in ('', '/', '.', '_')


class Lint:
    def __init__(self, tree, house):
        self.tree = tree
        self.house = house
        self.findings = []
        self.files = sorted(self.walk())
        self.present = set(self.files)
        self.edges = {}  # file -> {included file: line}

    def say(self, path, line, what):
        self.findings.append(f'{path}:{line}: {what}')

    def walk(self):
        skipped = set(self.house['files']['skipped_folders'])
        for folder, below, names in os.walk(self.tree):
            below[:] = [b for b in below if b not in skipped]
            for name in names:
                if name not in skipped:
                    yield os.path.relpath(os.path.join(folder, name), self.tree).replace(os.sep, '/')

    def run(self):
        for path in self.files:
            with open(os.path.join(self.tree, path), 'rb') as f:
                text = f.read().decode('utf-8', 'replace')
            self.check_licence(path, text)
            self.check_file_name(path)
            if path.endswith(('.c', '.h')):
                self.check_includes(path, text)
                self.check_words(path, blanked(text))
        self.check_cycles(self.edges, 'headers include each other: ')
        self.check_cycles(self.module_edges(), 'modules include each other: ')
        return self.findings

    def check_licence(self, path, text):
        if matches(path, self.house['files']['without_licence_lines']) or not text:
            return
        head = '\n'.join(text.split('\n')[:5])
        for line in LICENCE_LINES:
            if line not in head:
                self.say(path, 1, f'no line "{line.strip()}" at the top')

    def check_file_name(self, path):
        for part in path.split('/'):
            for word in re.split(r'[^a-z0-9]+', part.lower()):
                if word in self.house['banned']['names']:
                    self.say(path, 1, f'"{word}" names nothing: say what it is')

    def check_words(self, path, code):
        calls, names = set(self.house['banned']['calls']), set(self.house['banned']['names'])
        for m in WORD.finditer(code):
            word = m.group()
            if word in calls and code[m.end():m.end() + 8].lstrip().startswith('(') and not code[:m.start()].endswith(('.', '->')):
                self.say(path, line_of(code, m.start()), f'{word}() is not called here')
            elif names.intersection(word.split('_')):
                self.say(path, line_of(code, m.start()), f'"{word}": a name that says nothing')

    # -- includes

    def place(self, path):
        """(part, module) of a file in the house; None outside."""
        parts = path.split('/')
        if len(parts) < 2 or parts[0] not in self.house['parts']:
            return None
        return parts[0], parts[1] if len(parts) > 2 else ''

    def is_free(self, path):
        return any(is_below(path, f) for f in self.house['files']['free'])

    def check_includes(self, path, text):
        text = without_comments(text)
        self.edges[path] = {}
        for m in INCLUDE.finditer(text):
            line, name = line_of(text, m.start()), m.group(2)
            vendor = self.vendor_of(name)
            if vendor:
                self.check_vendor(path, line, name, vendor)
            elif matches(name, self.house['files']['generated']):
                pass
            elif m.group(1) == '<':
                if not matches(name, self.house['files']['system']):
                    self.say(path, line, f'<{name}> belongs to no vendor that the house knows')
            elif name in self.present:
                self.edges[path].setdefault(name, line)
                self.check_direction(path, line, name)
            else:
                self.say(path, line, f'"{name}" is not in the tree (paths begin at its root)')

    def vendor_of(self, name):
        for vendor, row in self.house['vendors'].items():
            if matches(name, row['headers']):
                return vendor
        return None

    def check_vendor(self, path, line, name, vendor):
        if not self.is_free(path) and not any(is_below(path, o) for o in self.house['vendors'][vendor]['owners']):
            self.say(path, line, f'{name} belongs to {vendor}, which is used in {", ".join(self.house["vendors"][vendor]["owners"])} alone')

    def check_direction(self, path, line, name):
        here, there = self.place(path), self.place(name)
        if self.is_free(path):
            return
        if here is None or there is None:
            if here and self.is_free(name):
                self.say(path, line, f'{here[0]} may not include {name}')
            return
        if here[0] != there[0]:
            if there[0] not in self.house['parts'][here[0]]:
                self.say(path, line, f'{here[0]} may not include {there[0]} ({name})')
        elif here[1] != there[1] and not self.is_lower(here[0], there[1], here[1]):
            self.say(path, line, f'{"/".join(here).rstrip("/")} may not include {"/".join(there).rstrip("/")} ({name})')

    def is_lower(self, part, low, high):
        lists = self.house['modules'].get(part, [])
        return any(low in row and high in row and row.index(low) < row.index(high) for row in lists)

    # -- cycles

    def module_edges(self):
        edges = {}
        for path, includes in self.edges.items():
            here = self.place(path)
            for name, line in includes.items():
                there = self.place(name)
                if here and there and here != there:
                    edges.setdefault('/'.join(here).rstrip('/'), {}).setdefault('/'.join(there).rstrip('/'), line)
        return edges

    def check_cycles(self, edges, what):
        """Depth first without recursion; each cycle is told once, where it closes."""
        done = set()
        for root in sorted(edges):
            way, todo = [], [(root, iter(sorted(edges.get(root, {}))))]
            if root in done:
                continue
            way.append(root)
            while todo:
                node, rest = todo[-1]
                for after in rest:
                    if after in way:
                        self.say(node, edges[node][after], what + ' -> '.join(way[way.index(after):] + [after]))
                    elif after not in done:
                        way.append(after)
                        todo.append((after, iter(sorted(edges.get(after, {})))))
                        break
                else:
                    done.add(node)
                    way.pop()
                    todo.pop()


def main():
    words = argparse.ArgumentParser(description='Holds the tree to the house of DESIGN 3.')
    words.add_argument('tree')
    words.add_argument('--house', default=os.path.join(os.path.dirname(os.path.abspath(__file__)), 'house.toml'))
    args = words.parse_args()
    with open(args.house, 'rb') as f:
        house = tomllib.load(f)
    lint = Lint(args.tree, house)
    findings = lint.run()
    if not lint.files:
        print(f'{args.tree}: no files', file=sys.stderr)
        return 2
    for finding in findings:
        print(finding)
    print(f'{len(lint.files)} files, {len(findings)} findings', file=sys.stderr)
    return 1 if findings else 0


if __name__ == '__main__':
    sys.exit(main())
