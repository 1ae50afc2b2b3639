/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/tool/result.h"

static struct {
    size_t words;
    char word[32], name[32], second[32];
    bool is_loud, is_json, is_run;
    uint64_t number, wait_ms, choice;
    int64_t at_ms;
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
    seen.number = cli_number(c, "count");
    seen.wait_ms = cli_number(c, "wait");
    seen.choice = cli_number(c, "colour");
    seen.at_ms = cli_time(c, "at");
    seen.is_run = true;
    seen.words = cli_word_count(c);
    keep(seen.word, cli_word(c, 0));
    keep(seen.name, cli_get(c, "name"));
    const char *names[CLI_VALUES_MAX];
    keep(seen.second, cli_get_all(c, "name", names) > 1 ? names[1] : NULL);
    seen.is_loud = cli_has(c, "loud");
    seen.is_json = cli_json(c);
    cli_set_exit(c, own_exit);
    return answer == EHIS_OK ? EHIS_OK : ehis_fail(why, answer, "because of \"quotes\"");
}

static const struct cli_option options[] = {
    {.name = "name", .type = CLI_IS_TEXT, .value = "NAME", .is_required = true, .is_repeatable = true, .sentence = "a name"},
    CLI_COUNT("count", 2, 10, "5", "a number"),
    CLI_DURATION("wait", 60000, "10s", "a time"),
    CLI_CHOICE("colour", "red|green|blue", "green", "a choice"),
    CLI_TIME("at", "a moment"),
    CLI_FLAG("loud", "a flag"),
};
static const struct cli_verb verbs[] = {
    {"greet", "WHO", "Greets.", 1, 2, CLI_LIST(options), run},
    {"leave", "", "Leaves.", 0, 0, NULL, 0, run},
};
static ehis_err start_answer;
static ehis_err start(struct ehis_why *why) { return start_answer == EHIS_OK ? EHIS_OK : ehis_fail(why, start_answer, "no start"); }
static bool translate(const struct cli *c, ehis_err err, struct cli_words *out)
{
    (void)c;
    *out = (struct cli_words){"tapılmadı", "axtar", "məsləhət"};
    return err == EHIS_E_NOT_FOUND && getenv("TOOL_TEST_AZ");
}
static const struct cli_program program = {.name = "tool", .sentence = "a tool", CLI_VERBS(verbs), .start = start, .translate = translate};
static const struct cli_verb nameless[] = {{NULL, "WHO", "Greets.", 0, 2, CLI_LIST(options), run}};
static const struct cli_program program_nameless = {.name = "tool", .sentence = "a tool", CLI_VERBS(nameless)};

/* Sends what is written to a descriptor into a pipe, until the end. */
struct capture {
    int fd, saved, from;
};
static void capture_start(struct capture *k, int fd)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    *k = (struct capture){fd, dup(fd), fds[0]};
    dup2(fds[1], fd);
    close(fds[1]);
}
static void capture_end(struct capture *k, char out[4096])
{
    fflush(NULL);
    dup2(k->saved, k->fd);
    close(k->saved);
    ssize_t n = read(k->from, out, 4095);
    close(k->from);
    out[n > 0 ? n : 0] = '\0';
}

/* Runs with these words; stderr goes to err_text. */
static char err_text[4096];
static int call_with(const struct cli_program *p, const char *const *words)
{
    char *argv[40], copies[40][64];
    int argc = 0;
    struct capture err;
    for (; words[argc]; argc++) {
        snprintf(copies[argc], sizeof copies[argc], "%s", words[argc]);
        argv[argc] = copies[argc];
    }
    argv[argc] = NULL;
    memset(&seen, 0, sizeof seen);
    capture_start(&err, 2);
    int code = cli_main(p, argc, argv);
    capture_end(&err, err_text);
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

static void a_time_and_a_choice_are_held_to_theirs(void **state)
{
    (void)state;
    static const char *const bad[] = {"--wait=0s", "--wait=61s", "--wait=5", "--wait=x", "--colour=", "--colour=yellow", "--at=now", "--at=1969-12-31"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(CALL("greet", "x", "--name=a", bad[i]), CLI_USAGE);
    assert_int_equal(CALL("greet", "x", "--name=a", "--colour=gren"), CLI_USAGE);
    assert_non_null(strstr(err_text, "did you mean \"green\"?"));
    assert_int_equal(CALL("greet", "x", "--name=a", "--wait=1m", "--colour=blue", "--at=1970-01-01T00:00:01Z"), CLI_OK);
    assert_int_equal(seen.wait_ms, 60000);
    assert_int_equal(seen.choice, 2);
    assert_int_equal(seen.at_ms, 1000);
    int64_t before_ms = clock_wall_ms(&clock_system);
    assert_int_equal(CALL("greet", "x", "--name=a"), CLI_OK);
    assert_int_equal(seen.wait_ms, 10000);
    assert_int_equal(seen.choice, 1);
    assert_in_range(seen.at_ms, before_ms, before_ms + 60000);
}

static void nothing_runs_where_the_start_fails(void **state)
{
    (void)state;
    start_answer = EHIS_E_UNSUPPORTED;
    assert_int_equal(CALL("greet", "x", "--name=a"), CLI_FAILURE);
    assert_false(seen.is_run);
    assert_int_equal(CALL("greet", "--help"), CLI_OK);
    start_answer = EHIS_OK;
}

static void an_error_is_told_in_the_language_asked_for(void **state)
{
    (void)state;
    setenv("TOOL_TEST_AZ", "1", 1);
    answer = EHIS_E_NOT_FOUND;
    assert_int_equal(CALL("greet", "x", "--name=a"), CLI_NOT_FOUND);
    assert_non_null(strstr(err_text, "tapılmadı"));
    assert_non_null(strstr(err_text, "məsləhət: axtar"));
    assert_int_equal(CALL("greet", "x", "--name=a", "--json"), CLI_NOT_FOUND);
    assert_non_null(strstr(err_text, "\"text\":\"tapılmadı\""));
    answer = EHIS_E_IO;
    assert_int_equal(CALL("greet", "x", "--name=a"), CLI_FAILURE);
    assert_null(strstr(err_text, "tapılmadı"));
    answer = EHIS_OK;
    unsetenv("TOOL_TEST_AZ");
}

static void help_says_bounds_and_defaults(void **state)
{
    (void)state;
    char text[4096];
    struct capture out;
    capture_start(&out, 1);
    int code = CALL("greet", "--help");
    capture_end(&out, text);
    assert_int_equal(code, CLI_OK);
    assert_non_null(strstr(text, "a number (2 to 10; 5 unless given)\n"));
    assert_non_null(strstr(text, "a time (1ms to 1m; 10s unless given)\n"));
    assert_non_null(strstr(text, "  a choice (green unless given)\n"));
    assert_non_null(strstr(text, "a name (required; may be repeated)\n"));
    assert_non_null(strstr(text, "a flag\n"));
}

static ehis_err show(struct cli *c, struct ehis_why *why)
{
    (void)why;
    json_t *o = json_pack("{s:s, s:[{s:i, s:s}, {s:i}], s:{s:b}, s:[]}", "name", "x", "rows", "n", 1, "t", "a b", "n", 2, "more", "is", 1, "none");
    static const uint8_t zeros[4], bytes[4] = {0, 0xab};
    tool_set(o, "zeros", tool_hex(zeros, 4));
    tool_set(o, "hex", tool_hex(bytes, 4));
    tool_set(o, "nothing", tool_count(0));
    tool_set(o, "never", tool_time(0));
    tool_set(o, "empty", tool_text(span_str("")));
    tool_set(o, "list", json_array());
    tool_set(o, "odd", tool_text(span_of("a\xff\xc3z", 4)));
    return tool_print(c, o);
}

static void a_result_is_text_or_json(void **state)
{
    (void)state;
    static const struct cli_verb showing[] = {{"show", "", "Shows.", 0, 0, NULL, 0, show}};
    static const struct cli_program p = {.name = "tool", .sentence = "a tool", CLI_VERBS(showing)};
    char text[4096];
    struct capture out;
    capture_start(&out, 1);
    int code = call_with(&p, (const char *const[]){"tool", "show", NULL});
    capture_end(&out, text);
    assert_int_equal(code, CLI_OK);
    assert_string_equal(text, "name: x\nrows:\n- n: 1\n  t: a b\n- n: 2\nmore:\n  is: true\nnone: \nhex: 00ab0000\nodd: a??z\n");
    capture_start(&out, 1);
    code = call_with(&p, (const char *const[]){"tool", "show", "--json", NULL});
    capture_end(&out, text);
    json_t *o = json_loads(text, 0, NULL);
    assert_int_equal(code, CLI_OK);
    assert_string_equal(json_string_value(json_object_get(o, "odd")), "a??z");
    assert_int_equal(json_object_size(o), 6);
    json_decref(o);
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
        cmocka_unit_test(a_time_and_a_choice_are_held_to_theirs),
        cmocka_unit_test(nothing_runs_where_the_start_fails),
        cmocka_unit_test(an_error_is_told_in_the_language_asked_for),
        cmocka_unit_test(help_says_bounds_and_defaults),
        cmocka_unit_test(a_result_is_text_or_json),
        cmocka_unit_test(too_many_options_are_refused),
        cmocka_unit_test(an_error_of_a_verb_is_printed_and_mapped),
        cmocka_unit_test(help_and_version_exit_0_without_running),
        cmocka_unit_test(a_program_without_verbs_takes_words_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
