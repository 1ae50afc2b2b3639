/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/cli.h"

static struct {
    size_t words;
    char word[32], name[32], second[32];
    bool is_loud, is_json, is_run;
    uint64_t number;
} seen;
static ehis_err answer;
static int own_exit;

static void keep(char out[32], const char *s)
{
    snprintf(out, 32, "%s", s ? s : "(none)");
}

static ehis_err run(struct cli *c, struct ehis_why *why)
{
    memset(&seen, 0, sizeof seen);
    EHIS_TRY(cli_get_number(c, "count", 2, 10, 5, &seen.number, why));
    seen.is_run = true;
    seen.words = cli_word_count(c);
    keep(seen.word, cli_word(c, 0));
    keep(seen.name, cli_get(c, "name"));
    keep(seen.second, cli_get_nth(c, "name", 1));
    seen.is_loud = cli_has(c, "loud");
    seen.is_json = cli_json(c);
    cli_set_exit(c, own_exit);
    return answer == EHIS_OK ? EHIS_OK : ehis_fail(why, answer, "because of \"quotes\"");
}

static const struct cli_option options[] = {
    {"name", "NAME", "a name", true, true},
    {"count", "N", "a number", false, false},
    {"loud", NULL, "a flag", false, false},
};
static const struct cli_verb verbs[] = {
    {"greet", "WHO", "Greets.", 1, 2, options, 3, run},
    {"leave", "", "Leaves.", 0, 0, NULL, 0, run},
};
static const struct cli_program program = {"tool", "a tool", verbs, 2};
static const struct cli_verb nameless[] = {{NULL, "WHO", "Greets.", 0, 2, options, 3, run}};
static const struct cli_program program_nameless = {"tool", "a tool", nameless, 1};

/* Runs with these words; stderr goes to err_text. */
static char err_text[4096];
static int call_with(const struct cli_program *p, const char *const *words)
{
    char *argv[40], copies[40][64];
    int argc = 0, saved = dup(2), fds[2];
    for (; words[argc]; argc++) {
        snprintf(copies[argc], sizeof copies[argc], "%s", words[argc]);
        argv[argc] = copies[argc];
    }
    argv[argc] = NULL;
    memset(&seen, 0, sizeof seen);
    assert_int_equal(pipe(fds), 0);
    fflush(stderr);
    dup2(fds[1], 2);
    int code = cli_main(p, argc, argv);
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    close(fds[1]);
    ssize_t n = read(fds[0], err_text, sizeof err_text - 1);
    close(fds[0]);
    err_text[n > 0 ? n : 0] = '\0';
    return code;
}
#define CALL(...) call_with(&program, (const char *const[]){"tool", __VA_ARGS__, NULL})

static void options_and_words_reach_the_verb(void **state)
{
    (void)state;
    assert_int_equal(CALL("greet", "--name", "a", "you", "--name=b", "--count=10", "--loud", "--json"), CLI_OK);
    assert_int_equal(seen.words, 1);
    assert_string_equal(seen.word, "you");
    assert_string_equal(seen.name, "b");
    assert_string_equal(seen.second, "b");
    assert_int_equal(seen.number, 10);
    assert_true(seen.is_loud && seen.is_json);
    assert_int_equal(CALL("greet", "--name", "a", "--", "--loud"), CLI_OK);
    assert_string_equal(seen.word, "--loud");
    assert_false(seen.is_loud);
    assert_int_equal(seen.number, 5);
    assert_int_equal(CALL("greet", "--name=", "-"), CLI_OK);
    assert_string_equal(seen.name, "");
    assert_string_equal(seen.word, "-");
}

static void usage_errors_exit_2_and_name_the_nearest(void **state)
{
    (void)state;
    assert_int_equal(CALL("greet", "--nam", "a", "x"), CLI_USAGE);
    assert_non_null(strstr(err_text, "did you mean --name?"));
    assert_int_equal(CALL("gret"), CLI_USAGE);
    assert_non_null(strstr(err_text, "did you mean greet?"));
    assert_int_equal(CALL("greet", "x"), CLI_USAGE);
    assert_non_null(strstr(err_text, "--name NAME is required"));
    assert_int_equal(CALL("greet", "--name", "a"), CLI_USAGE);
    assert_int_equal(CALL("greet", "x", "--name"), CLI_USAGE);
    assert_int_equal(CALL("greet", "x", "y", "z", "--name=a"), CLI_USAGE);
    assert_int_equal(CALL("greet", "x", "--name=a", "--loud=yes"), CLI_USAGE);
    assert_int_equal(CALL("greet", "x", "--name=a", "--loud", "--loud"), CLI_USAGE);
    assert_int_equal(CALL("greet", "x", "--name=a", "-l"), CLI_USAGE);
    assert_int_equal(CALL("leave", "--name=a"), CLI_USAGE);
    assert_false(seen.is_run);
    assert_int_equal(call_with(&program, (const char *const[]){"tool", NULL}), CLI_USAGE);
}

static void a_number_is_held_to_its_bounds(void **state)
{
    (void)state;
    static const char *const bad[] = {"--count=1", "--count=11", "--count=-2", "--count=", "--count=2x", "--count=99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(CALL("greet", "x", "--name=a", bad[i]), CLI_USAGE);
    assert_int_equal(CALL("greet", "x", "--name=a", "--count=2"), CLI_OK);
    assert_int_equal(seen.number, 2);
}

static void too_many_options_are_refused(void **state)
{
    (void)state;
    const char *words[CLI_VALUES_MAX + 8];
    char *argv[CLI_VALUES_MAX + 8];
    int n = 0;
    words[n++] = "tool", words[n++] = "greet", words[n++] = "x";
    for (int i = 0; i < CLI_VALUES_MAX; i++)
        words[n++] = "--name=a";
    for (int i = 0; i < n; i++)
        argv[i] = strdup(words[i]);
    argv[n] = NULL;
    assert_int_equal(cli_main(&program, n, argv), CLI_OK);
    argv[n++] = strdup("--loud");
    assert_int_equal(cli_main(&program, n, argv), CLI_USAGE);
    for (int i = 0; i < n; i++)
        free(argv[i]);
}

static void an_error_of_a_verb_is_printed_and_mapped(void **state)
{
    (void)state;
    answer = EHIS_E_NOT_FOUND;
    assert_int_equal(CALL("greet", "x", "--name=a"), CLI_NOT_FOUND);
    assert_non_null(strstr(err_text, "EHIS-1006"));
    answer = EHIS_E_SIGNATURE_BAD;
    assert_int_equal(CALL("greet", "x", "--name=a", "--json"), CLI_UNVERIFIED);
    assert_non_null(strstr(err_text, "\"code\":\"EHIS-2052\""));
    assert_non_null(strstr(err_text, "because of \\\"quotes\\\""));
    answer = EHIS_OK;
    own_exit = CLI_REFUSED;
    assert_int_equal(CALL("greet", "x", "--name=a"), CLI_REFUSED);
    own_exit = 0;
    assert_int_equal(cli_exit_code(EHIS_E_TIMEOUT), CLI_BUSY);
    assert_int_equal(cli_exit_code(EHIS_E_LINK_RESET), CLI_UNREACHABLE);
    assert_int_equal(cli_exit_code(EHIS_E_IO), CLI_FAILURE);
}

static void help_and_version_exit_0_without_running(void **state)
{
    (void)state;
    assert_int_equal(CALL("--help"), CLI_OK);
    assert_int_equal(CALL("greet", "--help"), CLI_OK);
    assert_int_equal(CALL("--version"), CLI_OK);
    assert_false(seen.is_run);
}

static void a_program_without_verbs_takes_words_at_once(void **state)
{
    (void)state;
    assert_int_equal(call_with(&program_nameless, (const char *const[]){"tool", "you", "--name", "a", NULL}), CLI_OK);
    assert_string_equal(seen.word, "you");
    assert_int_equal(call_with(&program_nameless, (const char *const[]){"tool", "--help", NULL}), CLI_OK);
    assert_false(seen.is_run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_and_words_reach_the_verb),
        cmocka_unit_test(usage_errors_exit_2_and_name_the_nearest),
        cmocka_unit_test(a_number_is_held_to_its_bounds),
        cmocka_unit_test(too_many_options_are_refused),
        cmocka_unit_test(an_error_of_a_verb_is_printed_and_mapped),
        cmocka_unit_test(help_and_version_exit_0_without_running),
        cmocka_unit_test(a_program_without_verbs_takes_words_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
