/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The reference pages from the tables of the code: ehis_reference DIR writes them, ehis_reference --check DIR says which are out of date. */
#include <stdio.h>

#include "adapters/sdk/settings.h"
#include "gateway/app/options.h"
#include "proto/wire/frame.h"
#include "proto/wire/scan_priv.h"

#define PAGE_MAX_BYTES (1024 * 1024)
#define MESSAGES_MAX 64

static ehis_err put_errors(struct buf *out)
{
    static const char *const classes[] = {"", "peer", "environment", "limit", "configuration", "flow", "bug"};
    static const struct { uint32_t from; const char *title; } parts[] = {
        {1000, "base"}, {2000, "protocol"}, {3000, "identity"}, {4000, "registry and policy"}, {5000, "gateway"}, {6000, "adapters"}};
    size_t count, part = 0;
    const struct ehis_err_row *rows = ehis_err_rows(&count);
    EHIS_TRY(buf_printf(out, "# Errors\n\nEvery failure that a person or a peer meets has one of these numbers, on every surface: command line, log, journal, receipt, HTTP. "
                             "They are never given another meaning.\n\nClasses: *peer*: what the other side sent must change. *flow*: no fault; the same again, when told. *limit*: a stated bound. "
                             "*configuration*: a file that somebody wrote. *environment*: disk, network, clock, memory. *bug*: ours.\n"));
    for (size_t i = 0; i < count; i++) {
        if (part < sizeof parts / sizeof *parts && (uint32_t)rows[i].err >= parts[part].from) {
            while (part + 1 < sizeof parts / sizeof *parts && (uint32_t)rows[i].err >= parts[part + 1].from)
                part++;
            EHIS_TRY(buf_printf(out, "\n## %u: %s\n\n| Number | Name | Class | What | What to try |\n|---|---|---|---|---|\n", parts[part].from, parts[part].title));
            part++;
        }
        EHIS_TRY(buf_printf(out, "| EHIS-%u | %s | %s | %s | %s |\n", (unsigned)rows[i].err, rows[i].name, classes[rows[i].class_], rows[i].text, rows[i].hint));
    }
    return EHIS_OK;
}

static ehis_err put_gateway_settings(struct buf *out) { return settings_reference(&gateway_options_table, out); }
static ehis_err put_adapter_settings(struct buf *out) { return settings_reference(&sdk_settings_table, out); }

/* ---- frames ---- */

static ehis_err put_type(struct buf *out, const struct scan_field *f)
{
    static const char *const names[] = {"uint32", "uint64", "bool", "one of", "bytes", "text", "message"};
    EHIS_TRY(buf_printf(out, "%s", f->is_identifier ? "identifier" : f->sub ? f->sub->name : names[f->type]));
    const char *comma = " ";
    for (unsigned v = 1; f->type == SCAN_ENUM && v <= SCAN_NUMBER_MAX; v++)
        if (f->enum_values >> v & 1) {
            EHIS_TRY(buf_printf(out, "%s%u", comma, v));
            comma = ", ";
        }
    return EHIS_OK;
}

static ehis_err put_bounds(struct buf *out, const struct scan_field *f)
{
    if (f->is_repeated)
        EHIS_TRY(buf_printf(out, "at most %u; each ", f->max_count));
    if (f->type < SCAN_BYTES)
        return EHIS_OK;
    if (f->min_bytes == f->max_bytes)
        return buf_printf(out, "%u bytes", f->max_bytes);
    return buf_printf(out, "%u to %u bytes", f->min_bytes, f->max_bytes);
}

static ehis_err put_message(struct buf *out, const struct scan_message *m)
{
    EHIS_TRY(buf_printf(out, "\n### %s\n\n", m->name));
    if (m->field_count == 0)
        return buf_printf(out, "No fields.\n");
    EHIS_TRY(buf_printf(out, "| No. | Field | Type | Bounds | Required |\n|---|---|---|---|---|\n"));
    for (const struct scan_field *f = m->fields; f < m->fields + m->field_count; f++) {
        EHIS_TRY(buf_printf(out, "| %u | %s | ", f->number, f->name));
        EHIS_TRY(put_type(out, f));
        EHIS_TRY(buf_printf(out, " | "));
        EHIS_TRY(put_bounds(out, f));
        EHIS_TRY(buf_printf(out, " | %s |\n", f->is_oneof ? "one of" : f->is_required ? "yes" : ""));
    }
    return EHIS_OK;
}

struct gathered { const struct scan_message *all[MESSAGES_MAX]; size_t count; };
static void gather(struct gathered *g, const struct scan_message *m)
{
    for (size_t i = 0; i < g->count; i++)
        if (g->all[i] == m)
            return;
    EHIS_ASSERT(g->count < MESSAGES_MAX);
    g->all[g->count++] = m;
    for (size_t i = 0; i < m->field_count; i++)
        if (m->fields[i].sub)
            gather(g, m->fields[i].sub);
}

static ehis_err put_frames(struct buf *out)
{
    static const char *const from[] = {"", "system", "gateway", "both"};
    static const char states[] = "HFRD";
    struct gathered g = {.count = 0};
    EHIS_TRY(buf_printf(out, "# Frames\n\nA frame is `u32 length, u8 type, payload`. States: H until HELLO, F fetching, R ready, D draining (proto/SPEC.md 8.1). Meanings stand in "
                             "proto/ehis/v1/session.proto.\n\n| Type | Frame | Payload | From | States |\n|---|---|---|---|---|\n"));
    for (unsigned type = 1; frame_rule((uint8_t)type); type++) {
        const struct frame_rule *r = frame_rule((uint8_t)type);
        EHIS_TRY(buf_printf(out, "| %u | %s | %s | %s |", type, r->name, r->table->name, from[r->from]));
        for (unsigned s = 0; s < FRAME_STATE_COUNT; s++)
            if (r->states >> s & 1)
                EHIS_TRY(buf_printf(out, " %c", states[s]));
        EHIS_TRY(buf_printf(out, " |\n"));
        gather(&g, r->table);
    }
    EHIS_TRY(buf_printf(out, "\n## Messages\n\nThe scanner holds every message to this table before it is read.\n"));
    for (size_t i = 0; i < g.count; i++)
        EHIS_TRY(put_message(out, g.all[i]));
    return EHIS_OK;
}

static const struct { const char *name; ehis_err (*put)(struct buf *out); } pages[] = {
    {"errors", put_errors}, {"gateway-settings", put_gateway_settings}, {"frames", put_frames},
    {"adapter-settings", put_adapter_settings},
};

static bool same_as_file(const char *path, struct span text)
{
    static char old[PAGE_MAX_BYTES];
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    size_t n = fread(old, 1, sizeof old, f);
    fclose(f);
    return span_eq(span_of(old, n), text);
}

static bool write_file(const char *path, struct span text)
{
    FILE *f = fopen(path, "wb");
    bool ok = f && fwrite(text.p, 1, text.len, f) == text.len;
    return f && fclose(f) == 0 && ok;
}

int main(int argc, char **argv)
{
    bool is_check = argc == 3 && strcmp(argv[1], "--check") == 0;
    const char *folder = argc == 2 ? argv[1] : is_check ? argv[2] : NULL;
    int rc = 0;
    if (!folder) {
        fprintf(stderr, "usage: ehis_reference [--check] DIR\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        char path[4096];
        struct buf page;
        buf_init(&page, PAGE_MAX_BYTES);
        snprintf(path, sizeof path, "%s/%s.md", folder, pages[i].name);
        ehis_err err = buf_printf(&page, "<!-- SPDX-License-Identifier: Apache-2.0 -->\n<!-- SPDX-FileCopyrightText: 2026 The EHIS gateway authors -->\n"
                                         "<!-- Made from the tables of the code by the target `reference`: change them, not this page. -->\n");
        if (err == EHIS_OK)
            err = pages[i].put(&page);
        bool ok = err == EHIS_OK && (is_check ? same_as_file(path, buf_span(&page)) : write_file(path, buf_span(&page)));
        if (!ok) {
            fprintf(stderr, "%s: %s\n", path, is_check ? "out of date; build the target `reference`" : "cannot be written");
            rc = 1;
        }
        buf_fini(&page);
    }
    return rc;
}
