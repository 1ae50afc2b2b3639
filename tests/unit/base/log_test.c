/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "base/log.h"
#include <errno.h>
#include <setjmp.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include <jansson.h>

static int pipe_fds[2];
static char line[8192];

static int set_up(void **state)
{
    (void)state;
    if (pipe(pipe_fds) != 0)
        return -1;
    log_set_fd(pipe_fds[1]);
    log_set_level(LOG_INFO);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    log_set_fd(2);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return 0;
}

/* The one line that was written, read by a JSON parser that no one here wrote. */
static json_t *read_line(void)
{
    ssize_t n = read(pipe_fds[0], line, sizeof line - 1);
    assert_true(n > 0 && n <= 4096);
    line[n] = '\0';
    assert_int_equal(line[n - 1], '\n');
    assert_ptr_equal(strchr(line, '\n'), line + n - 1);
    json_error_t why;
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &why);
    if (!object)
        fail_msg("%s in %s", why.text, line);
    return object;
}

static const char *text_of(json_t *object, const char *name) { return json_string_value(json_object_get(object, name)); }

static void fields_keep_their_types(void **state)
{
    (void)state;
    log_line(LOG_WARN, "session.open", F_STR("system", "AZ/GOV/MIA/x"), F_U64("big", 9007199254740993), F_I64("small", -5), F_BOOL("yes", true),
             F_BOOL("no", false), F_HEX("digest", "\x00\xAB", 2), F_ERR(EHIS_E_IO), F_SPAN("span", span_of("abc", 2)));
    json_t *o = read_line();
    assert_string_equal(text_of(o, "level"), "warn");
    assert_string_equal(text_of(o, "event"), "session.open");
    assert_string_equal(text_of(o, "system"), "AZ/GOV/MIA/x");
    assert_true(json_integer_value(json_object_get(o, "big")) == 9007199254740993);
    assert_int_equal(json_integer_value(json_object_get(o, "small")), -5);
    assert_true(json_is_true(json_object_get(o, "yes")) && json_is_false(json_object_get(o, "no")));
    assert_string_equal(text_of(o, "digest"), "00ab");
    assert_string_equal(text_of(o, "code"), "EHIS-1005");
    assert_string_equal(text_of(o, "error"), "IO");
    assert_string_equal(text_of(o, "span"), "ab");
    assert_int_equal(strlen(text_of(o, "time")), 24);
    json_decref(o);
}

static void hostile_text_stays_one_line_and_harmless(void **state)
{
    (void)state;
    log_line(LOG_INFO, "x", F_STR("t", "a\"b\\c\n{\"level\":\"error\"}\x1b[2J\x7f\xC2\x9B" "31m\xFFz\xC4\xB1\xE2\x82"), F_SPAN("nul", span_of("a\0b", 3)));
    json_t *o = read_line();
    assert_string_equal(text_of(o, "t"), "a\"b\\c\n{\"level\":\"error\"}\x1b[2J\x7f\xC2\x9B" "31m\xEF\xBF\xBDz\xC4\xB1\xEF\xBF\xBD\xEF\xBF\xBD");
    assert_null(strchr(line, 0x1b));
    assert_null(strchr(line, 0x7f));
    assert_null(strstr(line, "\xC2\x9B"));
    assert_string_equal(text_of(o, "nul"), "a\xEF\xBF\xBD" "b"); /* many readers refuse \u0000 */
    json_decref(o);
}

static void long_values_are_cut_and_the_others_stay(void **state)
{
    (void)state;
    char *text = calloc(1, 10001);
    memset(text, 'x', 10000);
    log_line(LOG_INFO, "long", F_STR("a", text), F_HEX("h", text, 10000), F_U64("n", 7), F_ERR(EHIS_E_NO_SPACE));
    json_t *o = read_line();
    const char *a = text_of(o, "a"), *h = text_of(o, "h");
    assert_string_equal(a + strlen(a) - 3, "...");
    assert_string_equal(h + strlen(h) - 3, "...");
    assert_true(strlen(a) > 1000);
    assert_int_equal(json_integer_value(json_object_get(o, "n")), 7);
    assert_string_equal(text_of(o, "error"), "NO_SPACE");
    json_decref(o);
    free(text);
}

static void any_number_and_length_of_fields_gives_one_whole_line(void **state)
{
    (void)state;
    char text[2000];
    static const char *const fill[] = {"x", "\n", "\xC4\xB1", "\xFF", "\""};
    for (size_t kind = 0; kind < 5; kind++)
        for (size_t n = 0; n < 1100; n += 7) {
            text[0] = '\0';
            char *end = text;
            for (size_t i = 0; i + 2 < n; i += strlen(fill[kind]))
                end = stpcpy(end, fill[kind]);
            log_line(LOG_INFO, "event", F_STR("a", text), F_STR("b", text), F_STR("c", text), F_STR("d", text), F_STR("e", text), F_U64("n", n));
            json_decref(read_line());
            log_line(LOG_INFO, text, F_HEX("a", text, strlen(text)), F_STR("b", text), F_STR("c", text), F_HEX("d", text, strlen(text)));
            json_decref(read_line());
        }
}

static void lines_below_the_level_are_not_written_and_errno_stays(void **state)
{
    (void)state;
    enum log_level level = LOG_ERROR;
    log_set_level(LOG_WARN);
    log_line(LOG_NOTICE, "quiet", F_U64("n", 1));
    errno = 77;
    log_line(LOG_WARN, "loud", F_U64("n", 1));
    assert_int_equal(errno, 77);
    json_t *o = read_line();
    assert_string_equal(text_of(o, "event"), "loud");
    json_decref(o);
    assert_int_equal(log_level_from_text(span_str("debug"), &level), EHIS_OK);
    assert_int_equal(level, LOG_DEBUG);
    assert_int_equal(log_level_from_text(span_str("Debug"), &level), EHIS_E_INVALID);
    assert_int_equal(log_level_from_text(span_str(""), &level), EHIS_E_INVALID);
    errno = 77;
    log_set_fd(-1);
    log_line(LOG_WARN, "lost", F_U64("n", 1)); /* a log that cannot be written stops nothing */
    assert_int_equal(errno, 77);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(fields_keep_their_types),
        T(hostile_text_stays_one_line_and_harmless),
        T(long_values_are_cut_and_the_others_stay),
        T(any_number_and_length_of_fields_gives_one_whole_line),
        T(lines_below_the_level_are_not_written_and_errno_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
