/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "base/disk.h"
#include "base/settings.h"
#include <setjmp.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

struct values {
    const char *name, *folder, *level;
    bool is_pilot;
    uint64_t count, bytes, wait_ms;
    struct settings_list hosts, files;
    const char *note;
};
#define AT(field) offsetof(struct values, field)
static const struct settings_option options[] = {
    {"name", SETTING_TEXT, AT(name), NULL, 2, 8, NULL, false, "The name"},
    {"journal.folder", SETTING_PATH, AT(folder), "journal", 1, 100, NULL, false, "Where the journal stands"},
    {"journal.bytes", SETTING_BYTES, AT(bytes), "64MiB", 1 << 20, 1 << 30, NULL, true, "Size of a segment"},
    {"log.level", SETTING_CHOICE, AT(level), "info", 0, 0, "debug|info|warn", true, "Lowest level | that is written"},
    {"pilot", SETTING_BOOL, AT(is_pilot), "false", 0, 0, NULL, false, "One broker is enough"},
    {"link.frames.count", SETTING_COUNT, AT(count), "16", 1, 64, NULL, true, "Frames in flight"},
    {"link.frames.wait", SETTING_DURATION, AT(wait_ms), "5s", 0, 3600000, NULL, true, "How long to wait"},
    {"link.hosts", SETTING_LIST, AT(hosts), "a b", 1, 3, NULL, true, "Who may"},
    {"link.files", SETTING_PATHS, AT(files), "", 1, 2, NULL, false, "What else is read"},
    {"note", SETTING_TEXT, AT(note), "", 3, 5, NULL, true, "A note"},
};
static const struct settings_table table = {"Test settings", options, sizeof options / sizeof options[0], sizeof(struct values)};

static struct values v;
static struct settings *s;
static struct buf report;

static ehis_err parsed_span(struct span yaml)
{
    settings_free(s);
    s = NULL;
    buf_clear(&report);
    memset(&v, 0xEE, sizeof v);
    return settings_parse(&table, "/etc/ehis/x.yaml", yaml, &v, &s, &report);
}
static ehis_err parsed(const char *yaml) { return parsed_span(span_str(yaml)); }

static const char *reported(void)
{
    assert_int_equal(buf_put(&report, "", 1), EHIS_OK);
    return (const char *)buf_span(&report).p;
}

static int set_up(void **state)
{
    (void)state;
    buf_init(&report, 64 * 1024);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    settings_free(s);
    s = NULL;
    buf_fini(&report);
    return 0;
}

static void expect_error(const char *yaml, const char *line)
{
    assert_int_equal(parsed(yaml), EHIS_E_SETTINGS);
    assert_null(s);
    const uint8_t *untouched = (const uint8_t *)&v;
    for (size_t i = 0; i < sizeof v; i++)
        assert_int_equal(untouched[i], 0xEE);
    if (!strstr(reported(), line))
        fail_msg("expected <%s> in <%s>", line, (const char *)buf_span(&report).p);
}

static void what_is_not_named_gets_its_default(void **state)
{
    (void)state;
    assert_int_equal(parsed("name: gw\n"), EHIS_OK);
    assert_string_equal(v.name, "gw");
    assert_string_equal(v.folder, "/etc/ehis/journal");
    assert_string_equal(v.level, "info");
    assert_false(v.is_pilot);
    assert_int_equal(v.count, 16);
    assert_int_equal(v.bytes, 64 << 20);
    assert_int_equal(v.wait_ms, 5000);
    assert_int_equal(v.hosts.count, 2);
    assert_string_equal(v.hosts.items[1], "b");
    assert_int_equal(v.files.count, 0);
    assert_string_equal(v.note, "");
    assert_int_equal(report.len, 0);
}

static void every_type_is_read(void **state)
{
    (void)state;
    assert_int_equal(parsed("# a comment\nname: \"Bak\xC4\xB1\"\njournal: {folder: /var/j, bytes: 1048576}\nlog:\n  level: warn\npilot: true\n"
                            "link:\n  frames: {count: 64, wait: 2m}\n  hosts: [x]\n  files:\n  - one\n  - '/two'\nnote: 12345\n"),
                     EHIS_OK);
    assert_string_equal(v.name, "Bak\xC4\xB1");
    assert_string_equal(v.folder, "/var/j");
    assert_int_equal(v.bytes, 1 << 20);
    assert_string_equal(v.level, "warn");
    assert_true(v.is_pilot);
    assert_int_equal(v.count, 64);
    assert_int_equal(v.wait_ms, 120000);
    assert_int_equal(v.hosts.count, 1);
    assert_string_equal(v.files.items[0], "/etc/ehis/one");
    assert_string_equal(v.files.items[1], "/two");
    assert_string_equal(v.note, "12345");
}

static void units_are_exact(void **state)
{
    (void)state;
    static const struct { const char *text; uint64_t ms; } good[] = {{"0", 0}, {"0s", 0}, {"500ms", 500}, {"5s", 5000}, {"1h", 3600000}, {"60m", 3600000}};
    static const char *const bad[] = {"5", "5 s", "5S", "s", "-5s", "+5s", "05s", "5.5s", "1d", "3600001ms", "61m", "99999999999999999999s", "400000000000000d", "5s5", "0x5s"};
    char yaml[128];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        snprintf(yaml, sizeof yaml, "name: gw\nlink: {frames: {wait: %s}}", good[i].text);
        assert_int_equal(parsed(yaml), EHIS_OK);
        assert_int_equal(v.wait_ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(yaml, sizeof yaml, "name: gw\nlink: {frames: {wait: %s}}", bad[i]);
        expect_error(yaml, "x.yaml:2:");
    }
}

static void bounds_hold_at_their_edges(void **state)
{
    (void)state;
    assert_int_equal(parsed("name: gw\nlink: {frames: {count: 1}}"), EHIS_OK);
    assert_int_equal(parsed("name: gw\nlink: {frames: {count: 64}}"), EHIS_OK);
    expect_error("name: gw\nlink: {frames: {count: 0}}", "x.yaml:2:24: \"link.frames.count\" is out of bounds: 1 to 64");
    expect_error("name: gw\nlink: {frames: {count: 65}}", "1 to 64");
    expect_error("name: gw\njournal: {bytes: 1048575}", "1MiB to 1GiB");
    assert_int_equal(parsed("name: gw\njournal: {bytes: 1GiB}"), EHIS_OK);
    expect_error("name: gw\njournal: {bytes: 1073741825}", "1MiB to 1GiB");
    expect_error("name: g", "x.yaml:1:7: \"name\" is out of bounds: 2 to 8 bytes");
    assert_int_equal(parsed("name: '12345678'"), EHIS_OK);
    expect_error("name: '123456789'", "2 to 8 bytes");
    expect_error("name: gw\nlink: {hosts: []}", "1 to 3 items");
    assert_int_equal(parsed("name: gw\nlink: {hosts: [a, b, c]}"), EHIS_OK);
    expect_error("name: gw\nlink: {hosts: [a, b, c, d]}", "1 to 3 items");
    assert_int_equal(parsed("name: gw\nnote: ''\nlink: {files: []}"), EHIS_OK); /* empty is "none" where the default is */
    expect_error("name: gw\nnote: ab", "3 to 5 bytes");
}

static void wrong_types_are_named_with_their_place(void **state)
{
    (void)state;
    expect_error("name: gw\npilot: yes", "x.yaml:2:8: \"pilot\" must be true or false");
    expect_error("name: gw\npilot: 'true'", "may not stand in quotes");
    expect_error("name: [gw]", "x.yaml:1:7: \"name\" must be a single value");
    expect_error("name: {a: b}", "must be a single value");
    expect_error("name: gw\njournal: 5", "\"journal\" must hold keys below it");
    expect_error("name: gw\njournal: [5]", "\"journal\" must hold keys below it");
    expect_error("name: gw\nlink: {hosts: a}", "\"link.hosts\" must be a list");
    expect_error("name: gw\nlink: {hosts: {a: b}}", "must be a list of texts");
    expect_error("name: gw\nlink: {hosts: [a, [b]]}", "x.yaml:2:19: \"link.hosts\" must be a list of texts");
    expect_error("name: gw\nlink: {hosts: [a, '']}", "has an empty item");
    expect_error("name: gw\nlog: {level: wran}", "must be one of debug|info|warn; did you mean \"warn\"?");
    expect_error("name:", "\"name\" has no value");
    expect_error("name: ~", "\"name\" has no value");
    expect_error("- a\n- b", "x.yaml:1:1: the file must hold keys with values");
    expect_error("a", "must hold keys with values");
    expect_error("{? [a] : b, name: gw}", "a key must be a word");
    expect_error("name: \"a\\0b\"", "x.yaml:1:7: a NUL in a text");
    expect_error("name: \"a\\nb\"", "control character");
    expect_error("name: \"a\\x9bb\"", "control character");
}

static void unknown_keys_get_the_nearest_name(void **state)
{
    (void)state;
    expect_error("name: gw\njurnal:\n  bytes: 1MiB\n", "/etc/ehis/x.yaml:2:1: unknown key \"jurnal\"; did you mean \"journal\"?\n");
    expect_error("name: gw\njournal:\n  byte: 1MiB\n", "x.yaml:3:3: unknown key \"byte\"; did you mean \"journal.bytes\"?");
    expect_error("name: gw\nhosts: [a]\n", "unknown key \"hosts\"; did you mean \"link.hosts\"?");
    expect_error("name: gw\nzzzzzz: 1\n", "unknown key \"zzzzzz\"\n");
    expect_error("name: gw\njournal.bytes: 1MiB\n", "unknown key \"journal.bytes\"");
    expect_error("name: gw\n\"a\\e[2Jb\": 1\n", "unknown key \"a?[2Jb\"");
    expect_error("name: gw\n\"\": 1\n", "unknown key \"\"");
    expect_error("name: gw\n\"name\\0x\": 1\n", "x.yaml:2:1: a NUL in a text");
}

static void a_key_may_stand_once(void **state)
{
    (void)state;
    expect_error("name: gw\nname: gw\n", "x.yaml:2:1: \"name\" stands here twice");
    expect_error("name: gw\njournal: {bytes: 1MiB}\npilot: true\njournal: {folder: x}\n", "x.yaml:4:1: \"journal\" stands here twice");
    expect_error("name: gw\nlink: {frames: {count: 1}, frames: {wait: 1s}}\n", "\"link.frames\" stands here twice");
    expect_error("name: gw\njournal: {bytes: 1MiB, bytes: 2MiB}\n", "\"journal.bytes\" stands here twice");
}

static void anchors_aliases_tags_and_documents_are_refused(void **state)
{
    (void)state;
    expect_error("name: &a gw\n", "x.yaml:1:7: anchors are not allowed here");
    expect_error("name: gw\nnote: *a\n", "aliases are not allowed here");
    expect_error("name: !!str gw\n", "tags are not allowed here");
    expect_error("name: gw\njournal: &a {bytes: 1MiB}\n", "anchors are not allowed here");
    expect_error("name: gw\nlink: {hosts: [!x a]}\n", "tags are not allowed here");
    expect_error("&a name: gw\n", "anchors are not allowed here");
    expect_error("&r\nname: gw\n", "anchors are not allowed here");
    expect_error("name: gw\n---\nname: gw\n", "x.yaml:2:1: a second document is not allowed");
    expect_error("name: gw\nlink: {hosts: *a}\n<<: *a\n", "aliases are not allowed here");
}

static void every_error_is_reported_up_to_twenty(void **state)
{
    (void)state;
    expect_error("name: g\npilot: 5\nnote: ab\nunknown: 1\n", "x.yaml:1:7: \"name\"");
    assert_non_null(strstr((const char *)buf_span(&report).p, "x.yaml:2:8: \"pilot\""));
    assert_non_null(strstr((const char *)buf_span(&report).p, "x.yaml:3:7: \"note\""));
    assert_non_null(strstr((const char *)buf_span(&report).p, "x.yaml:4:1: unknown"));
    char yaml[1024] = "name: gw\n";
    for (int i = 0; i < 30; i++)
        snprintf(yaml + strlen(yaml), sizeof yaml - strlen(yaml), "qqqqqqq%d: 1\n", i);
    expect_error(yaml, "qqqqqqq19");
    assert_null(strstr((const char *)buf_span(&report).p, "qqqqqqq20"));
}

static void a_missing_option_without_default_is_an_error(void **state)
{
    (void)state;
    expect_error("pilot: true\n", "x.yaml:1:1: \"name\" is missing; it has no default");
    expect_error("", "\"name\" is missing");
    expect_error("---\n", "\"name\" is missing");
    expect_error("journal:\n", "\"name\" is missing"); /* an empty section is no error of its own */
    assert_null(strstr((const char *)buf_span(&report).p, "journal"));
}

static void bytes_that_are_not_utf8_have_their_true_place(void **state)
{
    (void)state;
    expect_error("name: gw\nnote: \xC4\xB1\xFFz\n", "x.yaml:2:8: not UTF-8 without NUL");
    assert_int_equal(parsed_span(span_of("name: gw\n  \0", 12)), EHIS_E_SETTINGS);
    assert_non_null(strstr(reported(), "x.yaml:2:3: not UTF-8 without NUL"));
    expect_error("\xFF\xFEn\n", "x.yaml:1:1: not UTF-8");
    expect_error("name: gw\n\nnote: a\x01z\n", "x.yaml:3:8: control characters are not allowed");
}

static void broken_yaml_is_reported_where_it_breaks(void **state)
{
    (void)state;
    expect_error("name: gw\njournal: {bytes: 1MiB\nnote: x\n", "x.yaml:3:");
    expect_error("name: gw\n\tnote: x\n", "x.yaml:2:");
    expect_error("name: \"gw\n", "x.yaml:");
}

static void cut_anywhere_nothing_but_a_report_happens(void **state)
{
    (void)state;
    static const char yaml[] = "name: \"gw\"\njournal: {folder: /var/j, bytes: 1048576}\nlink:\n  hosts: [x, y]\n  files:\n  - one\nnote: 12345\n";
    for (size_t n = 0; n < sizeof yaml - 1; n++) {
        uint8_t *copy = malloc(n ? n : 1);
        memcpy(copy, yaml, n);
        ehis_err err = parsed_span(span_of(copy, n));
        assert_true(err == EHIS_OK || (err == EHIS_E_SETTINGS && report.len > 0));
        free(copy);
    }
}

static void nesting_and_size_are_bounded(void **state)
{
    (void)state;
    size_t n = 256 * 1024;
    char *yaml = malloc(n + 1);
    memset(yaml, '[', n);
    assert_int_equal(parsed_span(span_of(yaml, 20000)), EHIS_E_SETTINGS);
    memset(yaml, '#', n + 1);
    memcpy(yaml, "name: gw\n", 9);
    assert_int_equal(parsed_span(span_of(yaml, n)), EHIS_OK);
    assert_int_equal(parsed_span(span_of(yaml, n + 1)), EHIS_E_SETTINGS);
    assert_non_null(strstr(reported(), "more than 262144 bytes"));
    free(yaml);
}

static void what_is_printed_reads_back_the_same(void **state)
{
    (void)state;
    struct values first;
    struct settings *keep;
    struct buf text, differs;
    buf_init(&text, 4096);
    buf_init(&differs, 4096);
    assert_int_equal(parsed("name: 'a\"\\b: '\nlink: {hosts: ['x y', \"#z\"], files: [p], frames: {wait: 90s}}\njournal: {bytes: 3MiB}\n"), EHIS_OK);
    first = v;
    keep = s;
    s = NULL;
    assert_int_equal(settings_print(&table, &first, &text), EHIS_OK);
    assert_int_equal(parsed_span(buf_span(&text)), EHIS_OK);
    assert_string_equal(v.name, "a\"\\b: ");
    assert_int_equal(v.wait_ms, 90000);
    assert_string_equal(v.hosts.items[1], "#z");
    struct values second = v;
    struct buf again;
    buf_init(&again, 4096);
    assert_int_equal(settings_print(&table, &second, &again), EHIS_OK);
    assert_true(span_eq(buf_span(&text), buf_span(&again)));
    buf_fini(&again);
    buf_fini(&text);
    buf_fini(&differs);
    settings_free(keep);
}

static void a_reload_names_what_it_cannot_change(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(parsed("name: gw\n"), EHIS_OK);
    struct values old = v;
    struct settings *keep = s;
    s = NULL;
    assert_int_equal(parsed("name: gw\nlog: {level: warn}\nlink: {hosts: [c], frames: {count: 3}}\n"), EHIS_OK);
    assert_int_equal(settings_diff_fixed(&table, &old, &v, &out), EHIS_OK);
    assert_int_equal(out.len, 0);
    assert_int_equal(parsed("name: gx\npilot: true\nlog: {level: warn}\nlink: {files: [c]}\njournal: {folder: other}\n"), EHIS_OK);
    assert_int_equal(settings_diff_fixed(&table, &old, &v, &out), EHIS_OK);
    assert_true(span_eq(buf_span(&out), span_str("name\njournal.folder\npilot\nlink.files\n")));
    settings_free(keep);
    buf_fini(&out);
}

static void the_sample_needs_only_what_is_required(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 8192);
    assert_int_equal(settings_sample(&table, &out), EHIS_OK);
    assert_int_equal(parsed_span(buf_span(&out)), EHIS_E_SETTINGS);
    assert_string_equal(strchr(reported(), ' '), " \"name\" has no value\n");
    /* With every comment that is a setting opened, it is the defaults. */
    struct buf opened;
    buf_init(&opened, 8192);
    const char *line = (const char *)buf_span(&out).p;
    for (size_t left = out.len; left;) {
        size_t n = (size_t)((const char *)memchr(line, '\n', left) - line) + 1;
        const char *mark = memchr(line, '#', n);
        bool is_setting = mark && memchr(mark, ':', (size_t)(line + n - mark)) && mark[2] >= 'a' && mark[2] <= 'z';
        if (strncmp(line, "name:", 5) == 0)
            assert_int_equal(buf_printf(&opened, "name: gw\n"), EHIS_OK);
        else if (is_setting)
            assert_int_equal(buf_printf(&opened, "%.*s%.*s", (int)(mark - line), line, (int)(line + n - mark - 2), mark + 2), EHIS_OK);
        else
            assert_int_equal(buf_put(&opened, line, n), EHIS_OK);
        line += n;
        left -= n;
    }
    assert_int_equal(parsed_span(buf_span(&opened)), EHIS_OK);
    assert_int_equal(v.bytes, 64 << 20);
    assert_int_equal(v.hosts.count, 2);
    buf_fini(&opened);
    buf_fini(&out);
}

static void the_reference_page_has_a_row_for_each_option(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 8192);
    assert_int_equal(settings_reference(&table, &out), EHIS_OK);
    assert_int_equal(buf_put(&out, "", 1), EHIS_OK);
    const char *text = (const char *)buf_span(&out).p;
    assert_non_null(strstr(text, "| `name` | text | required | 2 to 8 bytes | no | The name |\n"));
    assert_non_null(strstr(text, "| `log.level` | choice | `info` | one of debug, info, warn | yes | Lowest level \\| that is written |\n"));
    assert_non_null(strstr(text, "| `link.files` | list of paths | none | 1 to 2 items | no |"));
    size_t lines = 0;
    for (const char *c = text; *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 4 + table.count);
    buf_fini(&out);
}

static void load_reads_a_file_and_says_why_it_cannot(void **state)
{
    (void)state;
    char path[] = "/tmp/ehis-settings-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "name: gw\n", 9), 9);
    close(fd);
    assert_int_equal(settings_load(&table, path, &v, &s, &report), EHIS_OK);
    assert_string_equal(v.folder, "/tmp/journal");
    unlink(path);
    settings_free(s);
    s = NULL;
    assert_int_equal(settings_load(&table, path, &v, &s, &report), EHIS_E_NOT_FOUND);
    assert_non_null(strstr(reported(), path));
    assert_int_equal(settings_load(&table, path, &v, &s, NULL), EHIS_E_NOT_FOUND);
}

static void a_report_that_is_full_or_absent_changes_no_answer(void **state)
{
    (void)state;
    struct buf small;
    buf_init(&small, 40);
    assert_int_equal(settings_parse(&table, "x.yaml", span_str("a: 1\nb: 2\n"), &v, &s, &small), EHIS_E_SETTINGS);
    assert_int_equal(settings_parse(&table, "x.yaml", span_str("a: 1\nb: 2\n"), &v, &s, NULL), EHIS_E_SETTINGS);
    buf_fini(&small);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(what_is_not_named_gets_its_default), T(every_type_is_read), T(units_are_exact), T(bounds_hold_at_their_edges),
        T(wrong_types_are_named_with_their_place), T(unknown_keys_get_the_nearest_name), T(a_key_may_stand_once),
        T(anchors_aliases_tags_and_documents_are_refused), T(every_error_is_reported_up_to_twenty),
        T(a_missing_option_without_default_is_an_error), T(bytes_that_are_not_utf8_have_their_true_place),
        T(broken_yaml_is_reported_where_it_breaks), T(cut_anywhere_nothing_but_a_report_happens), T(nesting_and_size_are_bounded),
        T(what_is_printed_reads_back_the_same), T(a_reload_names_what_it_cannot_change), T(the_sample_needs_only_what_is_required),
        T(the_reference_page_has_a_row_for_each_option), T(load_reads_a_file_and_says_why_it_cannot),
        T(a_report_that_is_full_or_absent_changes_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
