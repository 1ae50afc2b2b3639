/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* An owner of a journal that knows what it appended: entry n is made from n alone, so whatever is read back can be judged. */
#pragma once
#include "base/log.h"
#include "gateway/journal/journal.h"
#include "tests/support/sim_clock.h"
#include "tests/support/sim_disk.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

struct model {
    struct sim_clock clock;
    struct sim_disk *sim;
    struct disk *disk;
    struct journal *j;
    struct journal_config config;
    size_t record_max, attachment_max;
    uint64_t next;     /* number of the next entry to append, from 1 */
    uint64_t sealed;   /* last entry of the group that is with the writer, or was */
    uint64_t durable;  /* last entry reported durable */
    uint64_t expected; /* while reading: the next entry, 0: any */
    uint64_t first_live;
    struct journal_pos pos[1 << 16]; /* of entry n % 65536 */
};

static uint64_t model_mix(uint64_t n)
{
    n = (n ^ n >> 31) * UINT64_C(0x9e3779b97f4a7c15);
    return n ^ n >> 29;
}

static void model_fill(uint8_t *p, size_t n, uint64_t seed)
{
    uint64_t w = 0;
    for (size_t i = 0; i < n; i++, w >>= 8) {
        if (i % 8 == 0)
            w = model_mix(seed + i / 8);
        p[i] = (uint8_t)w;
    }
}

static bool model_matches(const uint8_t *p, size_t n, uint64_t seed)
{
    uint64_t w = 0;
    for (size_t i = 0; i < n; i++, w >>= 8) {
        if (i % 8 == 0)
            w = model_mix(seed + i / 8);
        if (p[i] != (uint8_t)w)
            return false;
    }
    return true;
}

static size_t model_record_bytes(const struct model *m, uint64_t n) { return 8 + model_mix(n) % (m->record_max - 7); }
static size_t model_attachment_bytes(const struct model *m, uint64_t n)
{
    return m->attachment_max && n % 3 ? model_mix(n * 7) % (m->attachment_max + 1) : 0;
}

static ehis_err model_append(struct model *m)
{
    static uint8_t record[1 << 16], attachment[1 << 20];
    size_t rn = model_record_bytes(m, m->next), an = model_attachment_bytes(m, m->next);
    be_put(record, m->next, 8);
    model_fill(record + 8, rn - 8, m->next);
    model_fill(attachment, an, ~m->next);
    struct span parts[] = {span_of(record, rn / 2), span_of(record + rn / 2, rn - rn / 2)}, more = span_of(attachment, an);
    ehis_err err = journal_append(m->j, parts, 2, &more, 1, &m->pos[m->next % 65536]);
    m->next += err == EHIS_OK;
    return err;
}

/* True where e is entry n as it was appended. */
static bool model_is(const struct model *m, const struct journal_entry *e, uint64_t n, bool is_archived)
{
    if (e->record.len != model_record_bytes(m, n) || be_get(e->record.p, 8) != n || e->pos.attachment_bytes != model_attachment_bytes(m, n))
        return false;
    if (e->attachment.len != (is_archived ? 0 : e->pos.attachment_bytes))
        return false;
    return model_matches(e->record.p + 8, e->record.len - 8, n) && model_matches(e->attachment.p, e->attachment.len, ~n);
}

static ehis_err model_on_walked(void *ctx, const struct journal_entry *e, bool is_archived)
{
    struct model *m = ctx;
    if (e->record.len < 8)
        return EHIS_E_INVALID;
    uint64_t n = be_get(e->record.p, 8);
    if ((m->expected && n != m->expected) || !model_is(m, e, n, is_archived))
        return EHIS_E_INVALID;
    m->expected = n + 1;
    return EHIS_OK;
}

static ehis_err model_on_entry(void *ctx, const struct journal_entry *e)
{
    struct model *m = ctx;
    bool is_first = m->expected == 0;
    ehis_err err = model_on_walked(ctx, e, false);
    if (is_first && err == EHIS_OK)
        m->first_live = m->expected - 1;
    if (err == EHIS_OK)
        m->pos[(m->expected - 1) % 65536] = e->pos;
    return err;
}

/* Opens; after it m->durable is what was found. Whatever was durable must be there, and nothing that never was appended; a group comes
 * whole or not at all. */
static ehis_err model_open(struct model *m, struct ehis_why *why)
{
    m->expected = 0;
    ehis_err err = journal_open(m->disk, &m->config, &m->clock.clock, model_on_entry, m, &m->j, why);
    if (err != EHIS_OK) {
        m->j = NULL;
        return err;
    }
    uint64_t found = m->expected ? m->expected - 1 : 0;
    if (found != m->durable && found != m->sealed)
        fail_msg("entries to %llu found, durable %llu, sealed %llu", (unsigned long long)found, (unsigned long long)m->durable,
                 (unsigned long long)m->sealed);
    m->durable = m->sealed = found;
    m->next = found + 1;
    return EHIS_OK;
}

static void model_close(struct model *m)
{
    journal_close(m->j);
    m->j = NULL;
    disk_free(m->disk);
}

static ehis_err model_flush(struct model *m)
{
    uint64_t group;
    if (!journal_open_bytes(m->j))
        return EHIS_OK;
    m->sealed = m->next - 1;
    journal_seal(m->j);
    EHIS_TRY(journal_write(m->j));
    journal_written(m->j, &group);
    m->durable = m->sealed;
    return EHIS_OK;
}

/* Appends entry after entry, flushing groups as they fill and freeing what is wanted. */
static inline ehis_err model_run(struct model *m, uint64_t to, unsigned group_entries)
{
    uint64_t segment;
    while (m->next <= to) {
        ehis_err err = model_append(m);
        if (err == EHIS_OK && m->next % group_entries)
            continue;
        if (err != EHIS_OK && err != EHIS_E_JOURNAL_GROUP_FULL)
            return err;
        EHIS_TRY(model_flush(m));
        if (journal_release_wanted(m->j, &segment))
            journal_release(m->j, segment);
        while (journal_has_reclaim(m->j))
            EHIS_TRY(journal_reclaim(m->j));
    }
    return model_flush(m);
}

/* Every entry from 1 to the last durable one, archive and live, once and in order. */
static inline void model_verify(struct model *m, struct journal_check *check)
{
    struct ehis_why why = {""};
    m->expected = 1;
    ehis_err err = journal_walk(m->disk, model_on_walked, m, check, &why);
    if (err != EHIS_OK)
        fail_msg("%s: %s", ehis_err_name(err), why.text);
    assert_int_equal(check->entries, m->durable);
}

static void model_init(struct model *m, uint64_t seed)
{
    static int null = -1;
    if (null < 0)
        null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    log_set_fd(null); /* what the tests provoke would bury what they find */
    memset(m, 0, offsetof(struct model, pos));
    assert_int_equal(sim_disk_new(seed, &m->sim), EHIS_OK);
    m->disk = sim_disk_disk(m->sim);
    sim_clock_init(&m->clock, seed);
    m->config = (struct journal_config){.segment_bytes = 1 << 20, .segment_count_max = 4, .group_max_bytes = 128 << 10};
    m->record_max = 700;
    m->attachment_max = 1500;
    m->next = 1;
}

static void model_fini(struct model *m)
{
    if (m->j)
        model_close(m);
    sim_disk_free(m->sim);
}
