/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* bench_journal [FOLDER [ENTRIES]]: entries of 1.5 KiB (600 record, 924 attachment) through the writer's thread on a real disk, groups as
 * they come with 1,024 in flight and then one at a time; CPU an entry; flush times; how long the recovery of ENTRIES takes. */
#include "gateway/journal/frame.h"
#include "gateway/journal/writer.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define RECORD_BYTES 600
#define ATTACHMENT_BYTES 924
#define RELEASE_NONE UINT64_MAX

struct bench {
    struct journal *j;
    struct journal_writer *w;
    struct loop *loop;
    uint64_t appended, durable, target, in_flight, groups;
    uint64_t sealed[2]; /* entries appended when the group with this parity was last added to */
    double *flush_us;
    size_t flush_count, flush_cap;
    bool is_kept; /* no segment is released */
};
static uint8_t content[RECORD_BYTES + ATTACHMENT_BYTES];

static void must(ehis_err err, const char *what)
{
    if (err == EHIS_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, ehis_err_name(err));
    exit(1);
}

static double now_us(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void append_more(struct bench *b)
{
    struct span r = span_of(content, RECORD_BYTES), a = span_of(content + RECORD_BYTES, ATTACHMENT_BYTES);
    struct journal_pos pos;
    uint64_t segment;
    if (!b->is_kept && journal_release_wanted(b->j, &segment))
        journal_release(b->j, segment);
    while (b->appended < b->target && b->appended - b->durable < b->in_flight) {
        be_put(content, b->appended, 8);
        ehis_err err = journal_append(b->j, &r, 1, &a, 1, &pos);
        if (err == EHIS_E_JOURNAL_GROUP_FULL || err == EHIS_E_JOURNAL_FULL)
            break;
        must(err, "append");
        b->appended++;
        b->sealed[journal_open_group(b->j) & 1] = b->appended;
    }
    journal_writer_kick(b->w);
}

static void on_durable(void *arg, uint64_t group)
{
    struct bench *b = arg;
    struct journal_status status;
    b->durable = b->sealed[group & 1];
    b->groups++;
    journal_status(b->j, &status);
    if (b->flush_count < b->flush_cap)
        b->flush_us[b->flush_count++] = (double)status.last_write_us;
    append_more(b);
}

static void on_failed(void *arg, ehis_err err)
{
    (void)arg;
    must(err, "write");
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_times(const char *name, double *v, size_t n)
{
    if (!n)
        return;
    qsort(v, n, sizeof *v, by_value);
    printf("  %-34s p50 %7.0f us   p99 %7.0f us   (%zu)\n", name, v[n / 2], v[n * 99 / 100], n);
}

static void run(struct bench *b, const char *name, uint64_t entries, uint64_t in_flight)
{
    double wall = now_us(CLOCK_MONOTONIC), cpu = now_us(CLOCK_PROCESS_CPUTIME_ID), loop_cpu = now_us(CLOCK_THREAD_CPUTIME_ID);
    uint64_t before = b->durable;
    b->target = b->appended + entries;
    b->in_flight = in_flight;
    b->groups = b->flush_count = 0;
    append_more(b);
    while (b->durable < b->target) {
        loop_run_once(b->loop, journal_is_writing(b->j));
        if (!journal_is_writing(b->j)) { /* it was full: until the writer's thread has reclaimed */
            usleep(500);
            append_more(b);
        }
    }
    wall = now_us(CLOCK_MONOTONIC) - wall;
    cpu = now_us(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    loop_cpu = now_us(CLOCK_THREAD_CPUTIME_ID) - loop_cpu;
    double n = (double)(b->durable - before);
    printf("%s\n  %.0f entries/s, CPU %.2f us an entry (loop %.2f), %.1f entries a flush\n", name, n / wall * 1e6, cpu / n, loop_cpu / n,
           n / (double)b->groups);
    print_times("a group (CRC, hash, write, sync)", b->flush_us, b->flush_count);
}

/* What the disk alone takes: a page in a file written before. */
static void measure_disk(struct disk *d)
{
    static uint8_t page[FRAME_ALIGN_BYTES];
    struct disk_file *f;
    double us[2000];
    must(d->ops->open(d, "page.tmp", true, &f), "open");
    for (uint64_t i = 0; i < 2000; i++)
        must(f->ops->write_at(f, i * sizeof page, page, sizeof page), "write");
    must(f->ops->sync(f), "sync");
    for (uint64_t i = 0; i < 2000; i++) {
        double from = now_us(CLOCK_MONOTONIC);
        page[0]++;
        must(f->ops->write_at(f, i * sizeof page, page, sizeof page), "write");
        must(f->ops->sync(f), "sync");
        us[i] = now_us(CLOCK_MONOTONIC) - from;
    }
    f->ops->close(f);
    must(d->ops->remove(d, "page.tmp"), "remove");
    printf("disk\n");
    print_times("4 KiB pwrite and fdatasync", us, 2000);
}

static ehis_err count_one(void *ctx, const struct journal_entry *e)
{
    (void)e;
    ++*(uint64_t *)ctx;
    return EHIS_OK;
}

static void on_name(void *ctx, const char *name)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", (const char *)ctx, name);
    unlink(path);
}

static void session(const char *folder, uint64_t entries, bool is_kept)
{
    struct ehis_why why = {""};
    struct bench b = {.is_kept = is_kept, .flush_cap = 1 << 20};
    struct journal_config config = {.segment_bytes = 64 << 20, .group_max_bytes = 4 << 20};
    struct disk *d;
    uint64_t seen = 0;
    config.segment_count_max = is_kept ? (uint32_t)(entries * 2048 / config.segment_bytes) + 4 : 8;
    b.flush_us = calloc(b.flush_cap, sizeof *b.flush_us);
    must(b.flush_us ? EHIS_OK : EHIS_E_NO_MEMORY, "memory");
    must(disk_open_folder(folder, true, &d, &why), why.text);
    if (!is_kept)
        measure_disk(d);
    must(journal_open(d, &config, &clock_system, NULL, NULL, &b.j, &why), why.text);
    must(loop_new(&b.loop), "loop");
    must(journal_writer_start(b.j, b.loop, on_durable, on_failed, &b, &b.w), "writer");
    if (is_kept) {
        run(&b, "all segments kept, 1,024 in flight", entries, 1024);
    } else {
        run(&b, "first segments written with zeros, 1,024 in flight", 200000, 1024);
        run(&b, "recycled segments, 1,024 in flight", entries, 1024);
        run(&b, "recycled segments, 64 in flight", entries / 4, 64);
        run(&b, "one in flight", 5000, 1);
    }
    must(journal_writer_stop(b.w), "stop");
    loop_free(b.loop);
    journal_close(b.j);
    disk_free(d);
    must(disk_open_folder(folder, false, &d, &why), why.text);
    double wall = now_us(CLOCK_MONOTONIC);
    must(journal_open(d, &config, &clock_system, count_one, &seen, &b.j, &why), why.text);
    wall = now_us(CLOCK_MONOTONIC) - wall;
    printf("recovery\n  %llu entries in %.2f s\n", (unsigned long long)seen, wall / 1e6);
    journal_close(b.j);
    struct journal_check check;
    wall = now_us(CLOCK_MONOTONIC);
    must(journal_walk(d, NULL, NULL, &check, &why), why.text);
    wall = now_us(CLOCK_MONOTONIC) - wall;
    printf("verify\n  %llu entries, %llu of them archived, in %.2f s\n", (unsigned long long)check.entries,
           (unsigned long long)check.archived_entries, wall / 1e6);
    union {
        const char *in;
        void *out;
    } name = {.in = folder};
    d->ops->list(d, on_name, name.out);
    disk_free(d);
    rmdir(folder);
    free(b.flush_us);
}

int main(int argc, char **argv)
{
    char folder[4096];
    uint64_t entries = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
    snprintf(folder, sizeof folder, "%s/bench_journal.tmp", argc > 1 ? argv[1] : ".");
    session(folder, entries, false);
    session(folder, entries, true);
    return 0;
}
