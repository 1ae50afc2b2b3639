/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The thread that waits for a disk or a broker in the loop's place: one job after the other, of each owner in the order of coming, and of all owners in
 * turn: who has many that take long holds nobody for more than two of them. */
#pragma once
#include "gateway/bus/blob.h"
#include "gateway/exchange/table.h"

struct blob;
enum blob_op { BLOB_PUT_CHUNK, BLOB_PUT_LIST, BLOB_GET_CHUNK, BLOB_DROP };
struct blob_job {
    struct node in_list, in_all;
    enum blob_op op;
    uint64_t owner, turn; /* whose: the system's that puts or asks; of its queue */
    struct blob *blob; /* of a put: the loop's */
    uint64_t session;
    uint8_t digest[HASH_BYTES];
    struct hash key, leaf;
    struct large_manifest manifest;
    struct blob_place place;
    uint32_t index;
    uint8_t *data;
    size_t len;
    ehis_err err;
};

struct blob_jobs;
/* All on the loop's thread. store is borrowed. on_end: when a job was run; it is its owner's again. NO_MEMORY: also where no thread can be had. */
ehis_err blob_jobs_new(struct loop *loop, struct blob_store *store, void (*on_end)(void *ctx, struct blob_job *j), void *ctx, struct blob_jobs **out) EHIS_MUST_USE;
/* Waits for the job that runs. The others are given to on_left, that on_end has not had. */
void blob_jobs_free(struct blob_jobs *q, void (*on_left)(struct blob_job *j));
/* One job more with a chunk? Of BLOB_JOBS_MAX an owner never has more than are free: so one alone has half of them, and who has none gets in. */
bool blob_jobs_fits(const struct blob_jobs *q, uint64_t owner);
void blob_jobs_add(struct blob_jobs *q, struct blob_job *j); /* takes j, until on_end or on_left */
void blob_job_free(struct blob_job *j);
