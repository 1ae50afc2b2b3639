/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A disk in memory that crashes as real ones do. What is not synced may be lost, torn between sectors of 512 bytes, or kept out of
 * order; names (created, renamed, removed) are durable only after sync_dir; a failed sync loses what it should have written, though it
 * still reads back. One seed decides everything. One thread at a time. */
#pragma once
#include "base/disk.h"

struct sim_disk;

enum sim_crash {
    SIM_CRASH_RANDOM,    /* the seed chooses one of those below */
    SIM_CRASH_LOSE_ALL,  /* only what was synced is there */
    SIM_CRASH_KEEP_ALL,  /* everything is there (and still not durable): the process died, not the machine */
    SIM_CRASH_TORN,      /* operations up to a point, in order; the one at the point is cut between sectors */
    SIM_CRASH_REORDERED, /* each sector, name list and file size stands at a point of its own */
};
enum sim_op { SIM_READ, SIM_WRITE, SIM_SYNC, SIM_DIR, SIM_ANY }; /* WRITE: and truncate; DIR: create, rename, remove, sync_dir */

ehis_err sim_disk_new(uint64_t seed, struct sim_disk **out) EHIS_MUST_USE;
void sim_disk_free(struct sim_disk *s);
/* Borrowed. disk_free on it only gives its lock back: the content outlives the component that used it. */
struct disk *sim_disk_disk(struct sim_disk *s);

/* Power off and on: open files answer IO from now on (and must still be closed), the lock is free, faults are forgotten. */
void sim_disk_crash(struct sim_disk *s, enum sim_crash how);
/* From the nth (1 = the next) operation of this kind on, once or for ever, answers err. A write that fails may have written a part.
 * SIM_ANY for ever with IO = the power goes off there; then sim_disk_crash. One fault a kind; nth 0 forgets it. */
void sim_disk_fail(struct sim_disk *s, enum sim_op kind, uint64_t nth, ehis_err err, bool is_for_ever);
/* How many operations of this kind there were: a test first counts, then fails the nth for every n. */
uint64_t sim_disk_count(const struct sim_disk *s, enum sim_op kind);
/* NO_SPACE where files grow beyond it; default 1 GiB. */
void sim_disk_set_capacity(struct sim_disk *s, uint64_t bytes);
