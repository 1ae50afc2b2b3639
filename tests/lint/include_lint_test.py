#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""The lint must fail where it should: one small tree for each rule."""
import os
import subprocess
import sys
import tempfile
import tomllib
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
HEAD = '/* SPDX-License-Identifier: Apache-2.0 */\n/* SPDX-FileCopyrightText: 2026 X */\n'
sys.path.insert(0, HERE)
from include_lint import Lint  # noqa: E402

with open(os.path.join(HERE, 'house.toml'), 'rb') as house_file:
    HOUSE = tomllib.load(house_file)
CLEAN = {
    'base/a.h': '#pragma once\n#include <stdint.h>\n#include <sys/stat.h>\n',
    'base/loop.c': '#include "base/a.h"\n#include <event2/event.h>\n',
    'base/secret.c': '#include <sodium.h>\n#include "ehis_errors.inc"\n',
    'proto/wire/scan.h': '#include "base/a.h"\n#include <protobuf-c/protobuf-c.h>\n',
    'proto/crypto/hash.c': '#include "proto/wire/scan.h"\n#include <openssl/evp.h>\n',
    'proto/link/link.h': '#include "proto/crypto/x.h"\n#include <openssl/ssl.h>\n',
    'proto/crypto/x.h': '',
    'pki/profile.h': '#include "proto/wire/scan.h"\n',
    'pki/tool/main.c': '#include "pki/profile.h"\n',
    'base/tool/result.h': '#include "base/a.h"\n#include <jansson.h>\n',
    'policy/decide/decide.h': '#include "policy/registry/registry.h"\n',
    'policy/registry/registry.h': '#include "pki/profile.h"\n',
    'gateway/session/session.c': '#include "gateway/exchange/exchange.h"\n#include "policy/decide/decide.h"\n',
    'gateway/exchange/exchange.h': '#include "gateway/journal/journal.h"\n',
    'gateway/journal/journal.h': '',
    'adapters/sdk/link.c': '#include "policy/decide/decide.h"\n',
    'adapters/sdk/ehis.h': '',
    'adapters/call/main.c': '#include "adapters/sdk/ehis.h"\n',
    'tests/unit/x_test.c': '#include <cmocka.h>\n#include <openssl/ssl.h>\n#include "gateway/exchange/exchange.h"\n#include "adapters/sdk/ehis.h"\n',
}


def findings(changes):
    """1 and the lint's lines over the clean tree with these files instead, 0 where there are none."""
    with tempfile.TemporaryDirectory() as tree:
        for path, text in {**{p: HEAD + t for p, t in CLEAN.items()}, **changes}.items():
            full = os.path.join(tree, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, 'w', encoding='utf-8') as f:
                f.write(text)
        lines = Lint(tree, HOUSE).run()
        return (1 if lines else 0), lines


class LintTest(unittest.TestCase):
    def expect(self, path, body, *words):
        code, lines = findings({path: HEAD + body})
        self.assertEqual(code, 1, (path, body))
        self.assertTrue(any(all(word in line for word in words) for line in lines), lines)

    def accept(self, path, body):
        self.assertEqual(findings({path: HEAD + body}), (0, []))

    def test_a_clean_tree_passes(self):
        self.assertEqual(findings({}), (0, []))

    def test_the_program_says_it_by_its_exit_code(self):
        for files, code in [({}, 2), ({'base/b.c': HEAD}, 0), ({'base/b.c': 'int x;\\n'}, 1)]:
            with tempfile.TemporaryDirectory() as tree:
                for path, text in files.items():
                    os.makedirs(os.path.join(tree, os.path.dirname(path)))
                    with open(os.path.join(tree, path), 'w', encoding='utf-8') as f:
                        f.write(text)
                run = subprocess.run([sys.executable, '-B', os.path.join(HERE, 'include_lint.py'), tree], capture_output=True, text=True, check=False)
                self.assertEqual(run.returncode, code)
                self.assertEqual(run.stdout.count('base/b.c:1:'), 2 if code == 1 else 0)

    def test_a_floor_may_not_include_a_higher_one(self):
        self.expect('base/b.c', '#include "pki/profile.h"\n', 'base/b.c:3:', 'base may not include pki')
        self.expect('proto/wire/b.c', '\n#include "policy/registry/registry.h"\n', 'proto/wire/b.c:4:', 'proto may not include policy')
        self.expect('pki/b.c', '#include "gateway/journal/journal.h"\n', 'pki may not include gateway')
        self.expect('policy/registry/b.c', '  #  include   "adapters/sdk/ehis.h"\n', 'policy may not include adapters')

    def test_gateway_and_adapters_never_meet(self):
        self.expect('gateway/app/b.c', '#include "adapters/sdk/ehis.h"\n', 'gateway may not include adapters')
        self.expect('adapters/sdk/b.c', '#include "gateway/exchange/exchange.h"\n', 'adapters may not include gateway')

    def test_modules_have_an_order(self):
        for low, high in [('gateway/exchange', 'gateway/session'), ('gateway/journal', 'gateway/bus'), ('proto/wire', 'proto/crypto'),
                          ('policy/registry', 'policy/tool'), ('adapters/sdk', 'adapters/call'), ('pki', 'pki/tool')]:
            code, lines = findings({f'{high}/new.h': HEAD, f'{low}/b.c': HEAD + f'#include "{high}/new.h"\n'})
            self.assertEqual(code, 1)
            self.assertIn(f'{low}/b.c:3: {low} may not include {high} ({high}/new.h)', lines)
            self.assertEqual(findings({f'{low}/new.h': HEAD, f'{high}/b.c': HEAD + f'#include "{low}/new.h"\n'}), (0, []))

    def test_neighbours_of_different_lists_do_not_know_each_other(self):
        code, lines = findings({'adapters/registers/r.h': HEAD, 'adapters/call/b.c': HEAD + '#include "adapters/registers/r.h"\n'})
        self.assertEqual((code, lines), (1, ['adapters/call/b.c:3: adapters/call may not include adapters/registers (adapters/registers/r.h)']))

    def test_the_house_may_not_include_tests(self):
        self.assertEqual(findings({'tests/support/s.h': HEAD, 'base/b.c': HEAD + '#include "tests/support/s.h"\n'}),
                         (1, ['base/b.c:3: base may not include tests/support/s.h']))

    def test_a_vendor_stays_with_its_owner(self):
        for path, header, vendor in [('gateway/session/b.c', 'event2/event.h', 'libevent'), ('proto/crypto/sign.c', 'openssl/evp.h', 'openssl'),
                                     ('pki/b.c', 'sodium.h', 'libsodium'), ('gateway/exchange/b.c', 'librdkafka/rdkafka.h', 'librdkafka'),
                                     ('gateway/journal/b.c', 'protobuf-c/protobuf-c.h', 'protobuf-c'), ('base/settings.c', 'yaml.h', 'libyaml'),
                                     ('gateway/journal/b.c', 'jansson.h', 'jansson'), ('gateway/app/b.c', 'sqlite3.h', 'sqlite'),
                                     ('base/b.c', 'cmocka.h', 'cmocka')]:
            self.expect(path, f'#include <{header}>\n', f'{header} belongs to {vendor}')
        self.expect('gateway/exchange/b.c', '#include "ehis/v1/record.pb-c.h"\n', 'belongs to protobuf-c')
        self.expect('base/b.c', '#include <curl/curl.h>\n', 'no vendor that the house knows')

    def test_an_owner_is_a_whole_name(self):
        self.accept('base/sheet_value.c', '#include <yaml.h>\n')
        self.accept('base/loop/more.c', '#include <event2/event.h>\n')

    def test_an_include_that_is_not_there_is_found(self):
        self.expect('base/b.c', '#include "a.h"\n', '"a.h" is not in the tree')

    def test_an_include_in_a_comment_is_none(self):
        self.accept('base/b.c', '/*\n#include "pki/profile.h"\n*/\n// x\n')

    def test_headers_that_include_each_other_are_a_cycle(self):
        code, lines = findings({'base/x.h': HEAD + '#include "base/y.h"\n', 'base/y.h': HEAD + '#include "base/z.h"\n',
                                'base/z.h': HEAD + '#include "base/x.h"\n'})
        self.assertEqual((code, lines), (1, ['base/z.h:3: headers include each other: base/x.h -> base/y.h -> base/z.h -> base/x.h']))
        self.expect('base/x.h', '#include "base/x.h"\n', 'base/x.h -> base/x.h')

    def test_modules_that_include_each_other_are_a_cycle(self):
        code, lines = findings({'gateway/journal/b.c': HEAD + '#include "gateway/exchange/exchange.h"\n'})
        self.assertEqual(code, 1)
        self.assertTrue(any('modules include each other' in line for line in lines), lines)
        self.assertTrue(any('gateway/journal may not include gateway/exchange' in line for line in lines), lines)

    def test_banned_calls_are_found_in_code_alone(self):
        for call in 'strcpy strcat sprintf vsprintf gets strtok alloca atoi atol rand srand system popen setlocale signal'.split():
            self.expect('base/b.c', f'int x;\nvoid f(void) {{ {call} (1); }}\n', 'base/b.c:4:', f'{call}() is not called here')
            self.expect('tests/unit/b.c', f'void f(void) {{ {call}(1); }}\n', call)
        self.accept('base/b.c', '/* strcpy(x) */ // rand()\nconst char *s = "system(1) \\" gets(2)"; char c = \'"\'; int x_rand(int signal);\n'
                                'void f(void) { on_signal(snprintf(1)); o->signal(1); o.system(2); int rand; my_strtok_r(1); }\n')

    def test_names_that_say_nothing_are_found(self):
        self.expect('base/string_util.c', '', '"util"')
        self.expect('base/helpers/b.c', '', '"helpers"')
        self.expect('base/b.c', 'int task_manager;\n', '"task_manager"')
        self.accept('base/b.c', 'evutil_socket_t fd; int NID_commonName; /* a helper */\n')

    def test_a_file_without_its_two_lines_is_found(self):
        one, two = HEAD.splitlines()
        for text, count in [('int x;\n', 2), (one + '\n', 1), (two + '\n', 1), ('\n' * 9 + HEAD, 2)]:
            code, lines = findings({'base/b.c': text})
            self.assertEqual((code, len(lines)), (1, count), lines)
        self.assertEqual(findings({'deploy/run': '#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\n# SPDX-FileCopyrightText: 2026 X\n'})[0], 0)
        self.assertEqual(findings({'docs/x.md': 'text\n'})[0], 1)
        self.assertEqual(findings({'x.json': '{}', 'tests/fuzz/seeds/a/b': 'bytes', 'build/x.c': 'x', 'base/e.def': ''})[0], 0)


if __name__ == '__main__':
    unittest.main()
