/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "adapters/sdk/ehis.h"
#include "base/disk.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/ehis-settings-XXXXXX", file[64], why[EHIS_WHY_BYTES];

#define WHOLE                                                             \
    "system: AZ/GOV/STS/tax\n"                                            \
    "gateways: ['gw1.example:7400', '[::1]:7400']\n"                      \
    "state_dir: state\n"                                                  \
    "tls: {chain: tls.crt, key: tls.key, ca: ca.crt, crl: crl.pem}\n"     \
    "sign_key: sign.key\n"                                                \
    "seal_keys: [seal.key, old.key]\n"                                    \
    "registry: {operator_keys: [aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]}\n"

static int load(const char *text, ehis_config **out)
{
    why[0] = 0;
    snprintf(file, sizeof file, "%s/adapter.yaml", dir);
    assert_int_equal(file_write(file, span_str(text), 0600, NULL), EHIS_OK);
    int err = ehis_config_load(file, out, why);
    unlink(file);
    return err;
}

static void a_whole_file_gives_every_setting_and_paths_are_beside_it(void **state)
{
    ehis_config *c;
    char expected[100];
    (void)state;
    assert_int_equal(load(WHOLE "outbox: {max_bytes: 2MiB, in_memory: true, wait_state: replicated}\ncall_window: 7\n", &c), 0);
    snprintf(expected, sizeof expected, "%s/old.key", dir);
    assert_int_equal(c->size, sizeof *c);
    assert_string_equal(c->system, "AZ/GOV/STS/tax");
    assert_int_equal(c->gateway_count, 2);
    assert_string_equal(c->gateways[1], "[::1]:7400");
    assert_int_equal(c->seal_key_count, 2);
    assert_string_equal(c->seal_key_files[1], expected);
    assert_int_equal(c->outbox_max_bytes, 2 << 20);
    assert_int_equal(c->memory_outbox, 1);
    assert_int_equal(c->wait_state, EHIS_REPLICATED);
    assert_int_equal(c->call_window, 7);
    assert_int_equal(c->stream_window, 256);
    ehis_config_free(c);
}

static void what_is_wrong_is_told_with_its_place(void **state)
{
    ehis_config *c;
    (void)state;
    assert_int_equal(load(WHOLE "cal_window: 7\n", &c), EHIS_E_SETTINGS);
    assert_non_null(strstr(why, "adapter.yaml:8:"));
    assert_non_null(strstr(why, "call_window"));
    assert_int_equal(load(WHOLE "call_window: 16385\n", &c), EHIS_E_SETTINGS);
    assert_int_equal(load("system: AZ/GOV/STS/tax\n", &c), EHIS_E_SETTINGS);
    assert_int_equal(ehis_config_load("/no/such/file", &c, why), EHIS_E_NOT_FOUND);
    ehis_config_free(NULL);
}

static void a_configuration_that_lacks_something_opens_nothing(void **state)
{
    ehis *e;
    ehis_config c = {.size = sizeof c};
    (void)state;
    assert_int_equal(ehis_open(&c, &e, why), EHIS_E_SDK_CONFIG);
    assert_non_null(strstr(why, "system"));
    c.size = 8;
    assert_int_equal(ehis_open(&c, &e, why), EHIS_E_SDK_CONFIG);
    ehis_close(NULL, 0);
    assert_string_equal(ehis_error_name(6010), "SDK_CONFIG");
    assert_string_equal(ehis_error_name(99999), "UNKNOWN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_file_gives_every_setting_and_paths_are_beside_it),
        cmocka_unit_test(what_is_wrong_is_told_with_its_place),
        cmocka_unit_test(a_configuration_that_lacks_something_opens_nothing),
    };
    if (!mkdtemp(dir))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return failed;
}
