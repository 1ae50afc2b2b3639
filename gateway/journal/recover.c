/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Opening: what the folder holds, what of it counts, and where to go on. */
#include "gateway/journal/journal_priv.h"

#include <stdlib.h>

#include "base/log.h"

struct owner {
    ehis_err (*each)(void *ctx, const struct journal_entry *e);
    void *ctx;
};

static ehis_err on_entry(void *ctx, const struct journal_entry *e, bool is_archived)
{
    const struct owner *o = ctx;
    (void)is_archived;
    return o->each ? o->each(o->ctx, e) : EHIS_OK;
}

static ehis_err check_config(const struct journal_config *c, struct ehis_why *why)
{
    if (c->segment_bytes < SEGMENT_MIN_BYTES || c->segment_bytes > SEGMENT_MAX_BYTES || c->segment_bytes % FRAME_ALIGN_BYTES)
        return ehis_fail(why, EHIS_E_SETTINGS, "the journal's segments must be 1 MiB to 1 GiB, in whole 4 KiB");
    if (c->segment_count_max < 3 || c->segment_count_max > 1u << 20)
        return ehis_fail(why, EHIS_E_SETTINGS, "the journal needs at least 3 segments");
    if (c->group_max_bytes < FRAME_ALIGN_BYTES || c->group_max_bytes > c->segment_bytes / 2 || c->group_max_bytes > FRAME_MAX_BYTES)
        return ehis_fail(why, EHIS_E_SETTINGS, "a group of the journal must be 4 KiB to half a segment, at most 64 MiB");
    return EHIS_OK;
}

/* What a crash left half made, and the segment whose archive is there already. Names are made durable first: what we see decides what we
 * drop. */
static ehis_err tidy(struct journal *j, struct segment_list *l)
{
    static const char *const halves[] = {"spare.tmp", "archive.tmp"};
    uint64_t archived = l->archived_count ? l->archived[l->archived_count - 1] : 0;
    EHIS_TRY(j->disk->ops->sync_dir(j->disk));
    for (size_t i = 0; i < 2; i++) {
        ehis_err err = j->disk->ops->remove(j->disk, halves[i]);
        if (err != EHIS_OK && err != EHIS_E_NOT_FOUND)
            return err;
    }
    if (l->live_count == 0 || l->live[0] != archived)
        return EHIS_OK;
    EHIS_TRY(j->disk->ops->remove(j->disk, segment_name(archived, SEGMENT_LIVE).text));
    memmove(l->live, l->live + 1, --l->live_count * sizeof *l->live);
    return j->disk->ops->sync_dir(j->disk);
}

static ehis_err check_numbers(const struct segment_list *l, struct ehis_why *why)
{
    uint64_t expected = l->archived_count ? l->archived[l->archived_count - 1] + 1 : l->live_count ? l->live[0] : 0;
    for (size_t i = 0; i < l->live_count; i++, expected++)
        if (l->live[i] != expected)
            return ehis_fail(why, EHIS_E_JOURNAL_CORRUPT, "segment %llu is missing", (unsigned long long)expected);
    if (l->live_count == 0 && l->archived_count)
        return ehis_fail(why, EHIS_E_JOURNAL_CORRUPT, "segment %llu is missing: there is an archive, but no live segment",
                         (unsigned long long)expected);
    return EHIS_OK;
}

static ehis_err open_files(struct journal *j, const struct segment_list *l)
{
    j->segment_cap = (size_t)j->config.segment_count_max + l->live_count + 1;
    j->segments = calloc(j->segment_cap, sizeof *j->segments);
    if (!j->segments)
        return EHIS_E_NO_MEMORY;
    j->first_file = l->live_count ? l->live[0] : 1;
    j->last_segment = j->first_file - 1;
    for (size_t i = 0; i < l->live_count; i++, j->last_segment++) {
        struct segment *s = segment_at(j, l->live[i]);
        uint64_t bytes;
        EHIS_TRY(j->disk->ops->open(j->disk, segment_name(l->live[i], SEGMENT_LIVE).text, false, &s->file));
        EHIS_TRY(s->file->ops->size(s->file, &bytes));
        s->bytes = bytes <= SEGMENT_MAX_BYTES ? (uint32_t)bytes : 0; /* 0: the scan refuses it */
    }
    return EHIS_OK;
}

static ehis_err count_archive(struct journal *j, const struct segment_list *l)
{
    for (size_t i = 0; i < l->archived_count; i++) {
        struct disk_file *f;
        uint64_t bytes;
        EHIS_TRY(j->disk->ops->open(j->disk, segment_name(l->archived[i], SEGMENT_ARCHIVED).text, false, &f));
        ehis_err err = f->ops->size(f, &bytes);
        f->ops->close(f);
        EHIS_TRY(err);
        j->archive_bytes += bytes;
    }
    return EHIS_OK;
}

/* The newest frame may be whole in memory and not on the disk: after a kill, or after a sync that failed, which a later sync would not
 * make good. Written again it is, before anybody acts on it. */
static ehis_err make_last_durable(struct journal *j, const struct scan *s)
{
    struct disk_file *f = segment_at(j, s->last_segment)->file;
    size_t got;
    if (!s->has_anchor)
        return EHIS_OK;
    uint8_t *p = malloc(s->last_bytes);
    if (!p)
        return EHIS_E_NO_MEMORY;
    ehis_err err = f->ops->read_at(f, s->last_offset, p, s->last_bytes, &got);
    if (err == EHIS_OK)
        err = got == s->last_bytes ? f->ops->write_at(f, s->last_offset, p, got) : EHIS_E_IO;
    free(p);
    return err == EHIS_OK ? f->ops->sync(f) : err;
}

/* Segments behind the newest frame that were made for other settings. */
static ehis_err drop_misfits(struct journal *j)
{
    while (j->last_segment > j->written_segment && segment_at(j, j->last_segment)->bytes != j->config.segment_bytes) {
        struct segment *s = segment_at(j, j->last_segment);
        EHIS_TRY(j->disk->ops->remove(j->disk, segment_name(j->last_segment, SEGMENT_LIVE).text));
        s->file->ops->close(s->file);
        *s = (struct segment){0};
        j->last_segment--;
    }
    return j->disk->ops->sync_dir(j->disk);
}

static void go_on_behind(struct journal *j, const struct scan *s)
{
    bool is_new = !s->has_anchor;
    j->first_segment = j->first_file;
    j->place_segment = is_new ? j->first_file : s->last_segment;
    j->place_offset = is_new ? 0 : s->last_offset + s->last_bytes;
    j->next_group = s->next_group;
    j->next_entry = j->durable_entries = s->next_entry;
    j->durable_group = s->next_group - 1;
    j->written_segment = j->place_segment;
    j->durable_segment = j->place_segment;
    j->chain = s->chain;
    memcpy(j->tag, s->tag, FRAME_TAG_BYTES);
    if (is_new) /* a chain of its own for each journal, and a tag that nobody knows */
        random_fill(&random_system, j->chain.b, HASH_BYTES);
}

/* So that the first group has its place at once. */
static ehis_err make_room(struct journal *j)
{
    bool is_first = j->last_segment < j->first_file, is_last = j->place_segment == j->last_segment;
    if (!is_first && (!is_last || j->place_offset + j->config.group_max_bytes <= segment_at(j, j->place_segment)->bytes))
        return EHIS_OK;
    ehis_err err = reclaim_make_next(j);
    return err == EHIS_E_NO_SPACE && !is_first ? EHIS_OK : err; /* then JOURNAL_FULL, until space returns */
}

static ehis_err recover(struct journal *j, struct owner *owner, struct segment_list *l, struct scan *s, struct ehis_why *why)
{
    EHIS_TRY(segment_list_read(j->disk, l));
    EHIS_TRY(tidy(j, l));
    EHIS_TRY(check_numbers(l, why));
    EHIS_TRY(open_files(j, l));
    EHIS_TRY(count_archive(j, l));
    EHIS_TRY(scan_run(s, j->first_file, j->last_segment, false, on_entry, owner, why));
    EHIS_TRY(make_last_durable(j, s));
    go_on_behind(j, s);
    if (s->is_torn)
        log_line(LOG_NOTICE, "journal.torn", F_U64("segment", j->place_segment), F_U64("offset", j->place_offset));
    EHIS_TRY(drop_misfits(j));
    EHIS_TRY(make_room(j));
    return reclaim_count_spares(j);
}

ehis_err journal_open(struct disk *disk, const struct journal_config *config, const struct clock *clock,
                      ehis_err (*each)(void *ctx, const struct journal_entry *e), void *ctx, struct journal **out, struct ehis_why *why)
{
    struct segment_list l = {0};
    struct scan s;
    EHIS_TRY(check_config(config, why));
    struct journal *j = calloc(1, sizeof *j);
    if (!j)
        return EHIS_E_NO_MEMORY;
    j->disk = disk;
    j->config = *config;
    j->config.group_max_bytes -= config->group_max_bytes % FRAME_ALIGN_BYTES;
    j->clock = clock;
    j->open = &j->groups[0];
    buf_init(&j->reclaim.out, 0);
    scan_init(&s, disk);
    if (why)
        why->text[0] = '\0';
    ehis_err err = disk->ops->lock(disk, "lock");
    if (err == EHIS_OK)
        err = recover(j, &(struct owner){each, ctx}, &l, &s, why);
    scan_fini(&s);
    segment_list_fini(&l);
    if (err != EHIS_OK) {
        journal_close(j);
        return why && why->text[0] ? err : ehis_fail(why, err, "the journal cannot be opened: %s", ehis_err_row(err)->text);
    }
    *out = j;
    return EHIS_OK;
}

void journal_close(struct journal *j)
{
    if (!j)
        return;
    reclaim_abandon(j);
    for (size_t i = 0; i < j->segment_cap; i++)
        if (j->segments[i].file)
            j->disk->ops->close(j->segments[i].file);
    free(j->segments);
    for (size_t i = 0; i < GROUPS; i++)
        free(j->groups[i].p);
    free(j);
}

struct walk {
    ehis_err (*each)(void *ctx, const struct journal_entry *e, bool is_archived);
    void *ctx;
    struct journal_check *check;
};

static ehis_err on_walked(void *ctx, const struct journal_entry *e, bool is_archived)
{
    struct walk *w = ctx;
    w->check->entries++;
    w->check->archived_entries += is_archived;
    return w->each ? w->each(w->ctx, e, is_archived) : EHIS_OK;
}

ehis_err journal_walk(struct disk *disk, ehis_err (*each)(void *ctx, const struct journal_entry *e, bool is_archived), void *ctx,
                      struct journal_check *out, struct ehis_why *why)
{
    struct journal_check check = {0};
    struct walk w = {each, ctx, &check};
    struct segment_list l = {0};
    struct scan s;
    scan_init(&s, disk);
    if (why)
        why->text[0] = '\0';
    ehis_err err = segment_list_read(disk, &l);
    if (err == EHIS_OK && l.live_count == 0)
        err = ehis_fail(why, l.archived_count ? EHIS_E_JOURNAL_CORRUPT : EHIS_E_NOT_FOUND, "there is no live segment");
    if (err == EHIS_OK) {
        uint64_t first = l.archived_count && l.archived[0] < l.live[0] ? l.archived[0] : l.live[0];
        err = scan_run(&s, first, l.live[l.live_count - 1], true, on_walked, &w, why);
    }
    if (err == EHIS_OK) {
        check.groups = s.next_group - s.first_group;
        check.is_torn = s.is_torn;
        memcpy(check.head_hash, s.chain.b, HASH_BYTES);
        *out = check;
    } else if (why && !why->text[0]) {
        ehis_fail(why, err, "the journal cannot be read: %s", ehis_err_row(err)->text);
    }
    scan_fini(&s);
    segment_list_fini(&l);
    return err;
}
