/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "tests/support/sim_disk.h"
#include "tests/support/sim_clock.h"
#include <stdlib.h>

#define SECTOR_BYTES 512
#define NAME_BYTES 128
#define MAX_FILES 4096

struct image {
    uint8_t *p;
    size_t len;
};

struct write_op {
    bool is_truncate;
    size_t offset, len; /* truncate: offset is the new size */
    uint8_t *p;
};

struct inode {
    struct inode *next;
    struct image live, durable;
    struct write_op *ops; /* since the last sync */
    size_t op_count;
};

struct entry {
    char name[NAME_BYTES];
    struct inode *inode;
};

struct names {
    struct entry *items;
    size_t count;
};

struct sim_disk {
    struct disk disk;
    uint64_t seed, capacity, boot;
    struct inode *inodes;
    struct names live;
    struct names *states; /* the durable list, then the one after each operation since sync_dir */
    size_t state_count;
    bool is_locked;
    uint64_t counts[SIM_ANY + 1];
    struct { uint64_t at; ehis_err err; bool is_for_ever; } faults[SIM_ANY + 1];
};

struct sim_file {
    struct disk_file file;
    struct sim_disk *s;
    struct inode *inode;
    uint64_t boot;
    bool is_failed;
};

static void *grown(void *p, size_t count, size_t size)
{
    p = reallocarray(p, count ? count : 1, size);
    EHIS_ASSERT(p != NULL);
    return p;
}

static struct sim_disk *sim_of(struct disk *d) { return (struct sim_disk *)d; }
static struct sim_file *file_of(struct disk_file *f) { return (struct sim_file *)f; }

/* Counts the operation; the error to answer, or OK. */
static ehis_err begin(struct sim_disk *s, enum sim_op kind)
{
    const enum sim_op kinds[] = {kind, SIM_ANY};
    ehis_err err = EHIS_OK;
    for (size_t i = 0; i < 2; i++) {
        uint64_t now = ++s->counts[kinds[i]], at = s->faults[kinds[i]].at;
        if (at && (now == at || (now > at && s->faults[kinds[i]].is_for_ever)))
            err = s->faults[kinds[i]].err;
    }
    return err;
}

static ehis_err begin_file(struct sim_file *f, enum sim_op kind)
{
    return f->boot != f->s->boot ? EHIS_E_IO : begin(f->s, kind);
}

static void resize(struct image *image, size_t len)
{
    if (len != image->len)
        image->p = grown(image->p, len, 1);
    if (len > image->len)
        memset(image->p + image->len, 0, len - image->len);
    image->len = len;
}

static void apply_data(struct image *image, const struct write_op *op, size_t from, size_t to)
{
    if (op->is_truncate) {
        from = from > op->offset ? from : op->offset;
        to = to < image->len ? to : image->len;
        if (from < to)
            memset(image->p + from, 0, to - from);
        return;
    }
    from = from > op->offset ? from : op->offset;
    to = to < op->offset + op->len ? to : op->offset + op->len;
    if (from < to)
        memcpy(image->p + from, op->p + (from - op->offset), to - from);
}

static size_t size_after(size_t len, const struct write_op *op)
{
    if (op->is_truncate)
        return op->offset;
    return op->len && op->offset + op->len > len ? op->offset + op->len : len;
}

static void apply(struct image *image, const struct write_op *op)
{
    size_t len = size_after(image->len, op);
    if (len > image->len)
        resize(image, len);
    apply_data(image, op, 0, SIZE_MAX);
    resize(image, len);
}

static void forget_ops(struct inode *inode)
{
    for (size_t i = 0; i < inode->op_count; i++)
        free(inode->ops[i].p);
    free(inode->ops);
    inode->ops = NULL;
    inode->op_count = 0;
}

static void flush(struct inode *inode)
{
    for (size_t i = 0; i < inode->op_count; i++)
        apply(&inode->durable, &inode->ops[i]);
    forget_ops(inode);
}

/* What a power cut leaves of the operations since the last sync. */
static void cut(struct sim_disk *s, struct inode *inode, enum sim_crash how)
{
    size_t n = inode->op_count;
    if (how == SIM_CRASH_LOSE_ALL || n == 0) {
        forget_ops(inode);
    } else if (how == SIM_CRASH_TORN) {
        size_t point = sim_random_below(&s->seed, n);
        struct write_op *last = &inode->ops[point];
        for (size_t i = 0; i < point; i++)
            apply(&inode->durable, &inode->ops[i]);
        if (!last->is_truncate && last->len) {
            size_t end = last->offset + sim_random_below(&s->seed, last->len + 1);
            end -= end % SECTOR_BYTES;
            last->len = end > last->offset ? end - last->offset : 0;
            apply(&inode->durable, last);
        }
        forget_ops(inode);
    } else {
        size_t end = inode->durable.len, len = end, size_point = sim_random_below(&s->seed, n + 1);
        for (size_t i = 0; i < n; i++) {
            size_t after = size_after(i < size_point ? len : end, &inode->ops[i]);
            if (i < size_point)
                len = after;
            end = after > end ? after : end;
        }
        resize(&inode->durable, end);
        for (size_t at = 0; at < end; at += SECTOR_BYTES) {
            size_t point = sim_random_below(&s->seed, n + 1);
            for (size_t i = 0; i < point; i++)
                apply_data(&inode->durable, &inode->ops[i], at, at + SECTOR_BYTES < end ? at + SECTOR_BYTES : end);
        }
        resize(&inode->durable, len);
        forget_ops(inode);
    }
}

static struct names copy_names(const struct names *from)
{
    struct names to = {grown(NULL, from->count, sizeof *from->items), from->count};
    if (from->count)
        memcpy(to.items, from->items, from->count * sizeof *from->items);
    return to;
}

static struct entry *find(struct names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i].name, name) == 0)
            return &names->items[i];
    return NULL;
}

static void drop(struct names *names, struct entry *e) { *e = names->items[--names->count]; }

static void note_names(struct sim_disk *s)
{
    s->states = grown(s->states, s->state_count + 1, sizeof *s->states);
    s->states[s->state_count++] = copy_names(&s->live);
}

/* The list at `point` becomes the durable one. */
static void settle_names(struct sim_disk *s, size_t point)
{
    struct names kept = copy_names(&s->states[point]);
    for (size_t i = 0; i < s->state_count; i++)
        free(s->states[i].items);
    s->states[0] = kept;
    s->state_count = 1;
}

static ehis_err sim_open(struct disk *d, const char *path, bool create, struct disk_file **out)
{
    struct sim_disk *s = sim_of(d);
    if (path[0] == '\0' || path[0] == '.' || strchr(path, '/') || strlen(path) >= NAME_BYTES)
        return EHIS_E_INVALID;
    struct entry *e = find(&s->live, path);
    if (!e && !create)
        return EHIS_E_NOT_FOUND;
    EHIS_TRY(begin(s, e ? SIM_READ : SIM_DIR));
    if (!e) {
        EHIS_ASSERT(s->live.count < MAX_FILES);
        s->live.items = grown(s->live.items, s->live.count + 1, sizeof *s->live.items);
        e = &s->live.items[s->live.count++];
        memset(e, 0, sizeof *e);
        memcpy(e->name, path, strlen(path));
        e->inode = calloc(1, sizeof *e->inode);
        EHIS_ASSERT(e->inode != NULL);
        e->inode->next = s->inodes;
        s->inodes = e->inode;
        note_names(s);
    }
    struct sim_file *f = calloc(1, sizeof *f);
    EHIS_ASSERT(f != NULL);
    *f = (struct sim_file){.file = {d->ops}, .s = s, .inode = e->inode, .boot = s->boot};
    *out = &f->file;
    return EHIS_OK;
}

static void sim_close(struct disk_file *f) { free(f); }

static ehis_err sim_read_at(struct disk_file *df, uint64_t offset, uint8_t *out, size_t n, size_t *got)
{
    struct sim_file *f = file_of(df);
    EHIS_TRY(begin_file(f, SIM_READ));
    const struct image *image = &f->inode->live;
    size_t left = offset < image->len ? image->len - (size_t)offset : 0;
    *got = n < left ? n : left;
    if (*got)
        memcpy(out, image->p + offset, *got);
    return EHIS_OK;
}

static uint64_t used(struct sim_disk *s)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < s->live.count; i++)
        sum += s->live.items[i].inode->live.len;
    return sum;
}

static void record(struct inode *inode, struct write_op op, const uint8_t *p)
{
    if (!op.is_truncate) {
        op.p = grown(NULL, op.len, 1);
        memcpy(op.p, p, op.len);
    }
    inode->ops = grown(inode->ops, inode->op_count + 1, sizeof *inode->ops);
    inode->ops[inode->op_count++] = op;
    apply(&inode->live, &op);
}

static bool fits(struct sim_file *f, uint64_t size)
{
    uint64_t now = f->inode->live.len;
    return size <= now || (size <= f->s->capacity && used(f->s) + (size - now) <= f->s->capacity);
}

static ehis_err sim_write_at(struct disk_file *df, uint64_t offset, const uint8_t *p, size_t n)
{
    struct sim_file *f = file_of(df);
    if (f->is_failed || f->boot != f->s->boot)
        return EHIS_E_IO;
    ehis_err err = begin(f->s, SIM_WRITE);
    if (n == 0)
        return err;
    if (err == EHIS_OK && !fits(f, offset + n))
        err = EHIS_E_NO_SPACE;
    if (err != EHIS_OK) {
        n = (size_t)sim_random_below(&f->s->seed, n);
        if (!fits(f, offset + n))
            n = 0;
    }
    if (n)
        record(f->inode, (struct write_op){.offset = (size_t)offset, .len = n}, p);
    return err;
}

static ehis_err sim_truncate(struct disk_file *df, uint64_t bytes)
{
    struct sim_file *f = file_of(df);
    if (f->is_failed)
        return EHIS_E_IO;
    EHIS_TRY(begin_file(f, SIM_WRITE));
    if (!fits(f, bytes))
        return EHIS_E_NO_SPACE;
    record(f->inode, (struct write_op){.is_truncate = true, .offset = (size_t)bytes}, NULL);
    return EHIS_OK;
}

static ehis_err sim_sync(struct disk_file *df)
{
    struct sim_file *f = file_of(df);
    if (f->is_failed || f->boot != f->s->boot)
        return EHIS_E_IO;
    ehis_err err = begin(f->s, SIM_SYNC);
    if (err == EHIS_OK)
        flush(f->inode);
    else /* the kernel takes the pages for clean now: they still read back, but no later sync writes them */
        cut(f->s, f->inode, SIM_CRASH_REORDERED);
    f->is_failed = err != EHIS_OK;
    return err;
}

static ehis_err sim_size(struct disk_file *df, uint64_t *bytes)
{
    struct sim_file *f = file_of(df);
    EHIS_TRY(begin_file(f, SIM_READ));
    *bytes = f->inode->live.len;
    return EHIS_OK;
}

static ehis_err sim_rename(struct disk *d, const char *from, const char *to)
{
    struct sim_disk *s = sim_of(d);
    struct entry *e = find(&s->live, from), *old = find(&s->live, to);
    if (strchr(to, '/') || to[0] == '.' || to[0] == '\0' || strlen(to) >= NAME_BYTES)
        return EHIS_E_INVALID;
    if (!e)
        return EHIS_E_NOT_FOUND;
    EHIS_TRY(begin(s, SIM_DIR));
    if (e == old)
        return EHIS_OK;
    struct inode *inode = e->inode;
    if (old) {
        old->inode = inode;
        drop(&s->live, e);
    } else {
        memset(e->name, 0, sizeof e->name);
        memcpy(e->name, to, strlen(to));
    }
    note_names(s);
    return EHIS_OK;
}

static ehis_err sim_remove(struct disk *d, const char *path)
{
    struct sim_disk *s = sim_of(d);
    struct entry *e = find(&s->live, path);
    if (!e)
        return EHIS_E_NOT_FOUND;
    EHIS_TRY(begin(s, SIM_DIR));
    drop(&s->live, e);
    note_names(s);
    return EHIS_OK;
}

static ehis_err sim_sync_dir(struct disk *d)
{
    struct sim_disk *s = sim_of(d);
    EHIS_TRY(begin(s, SIM_DIR));
    settle_names(s, s->state_count - 1);
    return EHIS_OK;
}

static ehis_err sim_list(struct disk *d, void (*each)(void *ctx, const char *name), void *ctx)
{
    EHIS_TRY(begin(sim_of(d), SIM_READ));
    struct names now = copy_names(&sim_of(d)->live); /* each may change the folder */
    for (size_t i = 0; i < now.count; i++)
        each(ctx, now.items[i].name);
    free(now.items);
    return EHIS_OK;
}

static ehis_err sim_lock(struct disk *d, const char *path)
{
    struct disk_file *f;
    if (sim_of(d)->is_locked)
        return EHIS_E_LOCKED;
    EHIS_TRY(sim_open(d, path, true, &f));
    sim_close(f);
    sim_of(d)->is_locked = true;
    return EHIS_OK;
}

static ehis_err sim_free_bytes(struct disk *d, uint64_t *bytes)
{
    uint64_t now = used(sim_of(d)), capacity = sim_of(d)->capacity;
    *bytes = now < capacity ? capacity - now : 0;
    return EHIS_OK;
}

static void sim_free(struct disk *d) { sim_of(d)->is_locked = false; }

static const struct disk_ops sim_ops = {
    .open = sim_open, .close = sim_close, .read_at = sim_read_at, .write_at = sim_write_at, .sync = sim_sync, .size = sim_size,
    .truncate = sim_truncate, .rename = sim_rename, .remove = sim_remove, .sync_dir = sim_sync_dir, .list = sim_list, .lock = sim_lock,
    .free_bytes = sim_free_bytes, .free = sim_free,
};

ehis_err sim_disk_new(uint64_t seed, struct sim_disk **out)
{
    struct sim_disk *s = calloc(1, sizeof *s);
    if (!s)
        return EHIS_E_NO_MEMORY;
    s->disk.ops = &sim_ops;
    s->seed = seed;
    s->capacity = UINT64_C(1) << 30;
    note_names(s);
    *out = s;
    return EHIS_OK;
}

void sim_disk_free(struct sim_disk *s)
{
    if (!s)
        return;
    for (struct inode *i = s->inodes, *next; i; i = next) {
        next = i->next;
        forget_ops(i);
        free(i->live.p);
        free(i->durable.p);
        free(i);
    }
    for (size_t i = 0; i < s->state_count; i++)
        free(s->states[i].items);
    free(s->states);
    free(s->live.items);
    free(s);
}

struct disk *sim_disk_disk(struct sim_disk *s) { return &s->disk; }

static void power_off(struct sim_disk *s, enum sim_crash how)
{
    settle_names(s, how == SIM_CRASH_LOSE_ALL ? 0 : (size_t)sim_random_below(&s->seed, s->state_count));
    for (struct inode *i = s->inodes; i; i = i->next) {
        cut(s, i, how);
        resize(&i->live, i->durable.len);
        if (i->durable.len)
            memcpy(i->live.p, i->durable.p, i->durable.len);
    }
    free(s->live.items);
    s->live = copy_names(&s->states[0]);
}

void sim_disk_crash(struct sim_disk *s, enum sim_crash how)
{
    if (how == SIM_CRASH_RANDOM)
        how = (enum sim_crash)(SIM_CRASH_LOSE_ALL + sim_random_below(&s->seed, 4));
    if (how != SIM_CRASH_KEEP_ALL)
        power_off(s, how);
    s->is_locked = false;
    s->boot++;
    memset(s->faults, 0, sizeof s->faults);
}

void sim_disk_fail(struct sim_disk *s, enum sim_op kind, uint64_t nth, ehis_err err, bool is_for_ever)
{
    s->faults[kind].at = nth ? s->counts[kind] + nth : 0;
    s->faults[kind].err = err;
    s->faults[kind].is_for_ever = is_for_ever;
}

uint64_t sim_disk_count(const struct sim_disk *s, enum sim_op kind) { return s->counts[kind]; }
void sim_disk_set_capacity(struct sim_disk *s, uint64_t bytes) { s->capacity = bytes; }
