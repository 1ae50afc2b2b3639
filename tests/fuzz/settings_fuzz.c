/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Settings from any bytes: what is taken prints as YAML that reads back as the same values. */
#include "base/settings.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct values {
    const char *name, *folder, *level;
    bool is_pilot;
    uint64_t count, bytes, wait_ms;
    struct settings_list hosts, files;
};
#define AT(field) offsetof(struct values, field)
static const struct settings_option options[] = {
    {"name", SETTING_TEXT, AT(name), "gw", 2, 200, NULL, false, "The name"},
    {"journal.folder", SETTING_PATH, AT(folder), "journal", 1, 100, NULL, false, "Where the journal stands"},
    {"journal.bytes", SETTING_BYTES, AT(bytes), "64MiB", 0, 0, NULL, true, "Size of a segment"},
    {"log.level", SETTING_CHOICE, AT(level), "info", 0, 0, "debug|info|warn", true, "Lowest level"},
    {"pilot", SETTING_BOOL, AT(is_pilot), "false", 0, 0, NULL, false, "One broker is enough"},
    {"link.frames.count", SETTING_COUNT, AT(count), "16", 1, 64, NULL, true, "Frames in flight"},
    {"link.frames.wait", SETTING_DURATION, AT(wait_ms), "5s", 0, 0, NULL, true, "How long to wait"},
    {"link.hosts", SETTING_LIST, AT(hosts), "a b", 1, 0, NULL, true, "Who may"},
    {"link.files", SETTING_PATHS, AT(files), "", 0, 9, NULL, false, "What else is read"},
};
static const struct settings_table table = {"Fuzz", options, sizeof options / sizeof options[0], sizeof(struct values)};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct values first, second;
    struct settings *a = NULL, *b = NULL;
    struct buf report, text, again;
    buf_init(&report, 16 * 1024);
    buf_init(&text, SIZE_MAX / 4);
    buf_init(&again, SIZE_MAX / 4);
    ehis_err err = settings_parse(&table, "/f/x.yaml", span_of(data, size), &first, &a, &report);
    EHIS_ASSERT((err == EHIS_OK) == (report.len == 0) && (err == EHIS_OK || err == EHIS_E_SETTINGS));
    if (err == EHIS_OK) {
        EHIS_ASSERT(settings_print(&table, &first, &text) == EHIS_OK);
        err = settings_parse(&table, "/f/x.yaml", buf_span(&text), &second, &b, &report);
        /* A text of many quotes may print longer than a file may be. */
        EHIS_ASSERT(err == EHIS_OK || text.len > 256 * 1024);
        if (err == EHIS_OK) {
            EHIS_ASSERT(settings_print(&table, &second, &again) == EHIS_OK);
            EHIS_ASSERT(span_eq(buf_span(&text), buf_span(&again)));
            buf_clear(&again);
            EHIS_ASSERT(settings_diff_fixed(&table, &first, &second, &again) == EHIS_OK && again.len == 0);
        }
    }
    settings_free(a);
    settings_free(b);
    buf_fini(&report);
    buf_fini(&text);
    buf_fini(&again);
    return 0;
}
