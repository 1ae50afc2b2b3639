/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/bus/blob.h"

#include <stdlib.h>
#include "base/log.h"
#include "gateway/bus/blob_jobs.h"
#include "gateway/exchange/table.h"
#include "proto/wire/identifier.h"

#define HEADS 1024
#define IDLE_MS 60000 /* an upload that nobody goes on with, or uses */
#define TICK_US 1000000
#define TELL_EVERY_MS 60000 /* who is told to come again comes at once, for as long as a topic or a disk is away */

struct blob {
    struct table_node by_key;
    struct node in_uploads;  /* until a message has it */
    struct hash key;
    struct large_manifest manifest;
    struct blob_place place; /* of its chunks' partition; when it is whole, of its list */
    uint32_t count, queued, durable, jobs;
    bool is_whole, is_kept, is_gone;
    int64_t used_ms;
    uint8_t *list;
    size_t sender_len;
    char sender[IDENTIFIER_MAX_BYTES];
};

struct told { uint64_t times; int64_t until_ms; }; /* since the last line; the next */

struct blobs {
    const struct clock *clock;
    struct blob_store *store;
    struct blobs_calls calls;
    struct table by_key;
    struct node uploads;
    struct loop_timer *tick;
    struct blob_jobs *jobs;
    bool is_recovered;
    struct blobs_status status;
    struct told puts, roots, gets;
};

static uint64_t key_hash(const struct blobs *b, const struct hash *key) { return table_hash(&b->by_key, key->b, HASH_BYTES); }

static uint64_t owner_of(const struct blobs *b, struct span system) { return table_hash(&b->by_key, system.p, system.len); }

static struct blob *find_key(const struct blobs *b, const struct hash *key)
{
    for (struct table_node *n = *table_head(&b->by_key, key_hash(b, key)); n; n = n->next)
        if (memcmp(container_of(n, struct blob, by_key)->key.b, key->b, HASH_BYTES) == 0)
            return container_of(n, struct blob, by_key);
    return NULL;
}

static struct blob *find(const struct blobs *b, const struct blob_name *name, struct hash *key)
{
    large_blob_key(name->sender, name->manifest.root.b, key);
    return find_key(b, key);
}

static struct blob *add(struct blobs *b, const struct blob_name *name, const struct hash *key)
{
    struct blob *x = name->sender.len <= sizeof x->sender ? calloc(1, sizeof *x) : NULL;
    if (!x)
        return NULL;
    x->key = *key;
    x->manifest = name->manifest;
    x->count = large_chunk_count(name->manifest.bytes);
    memcpy(x->sender, name->sender.p, name->sender.len);
    x->sender_len = name->sender.len;
    table_add(&b->by_key, key_hash(b, key), &x->by_key);
    return x;
}

/* Its jobs may still run: the last frees it. */
static void drop(struct blobs *b, struct blob *x, bool is_deleted)
{
    table_remove(&b->by_key, key_hash(b, &x->key), &x->by_key);
    b->status.uploads -= !x->is_kept;
    b->status.kept -= x->is_kept;
    node_remove(&x->in_uploads);
    struct blob_job *j = is_deleted && b->store->drop ? calloc(1, sizeof *j) : NULL; /* without memory it is swept at the next start */
    if (j) {
        j->op = BLOB_DROP;
        j->owner = owner_of(b, span_of(x->sender, x->sender_len)); /* behind its puts, before those of another with this key */
        j->key = x->key;
        blob_jobs_add(b->jobs, j);
    }
    free(x->list);
    x->list = NULL;
    x->is_gone = true;
    if (x->jobs == 0)
        free(x);
}

static uint32_t next_of(const struct blob *x) { return x->is_whole ? x->count : x->durable < x->count ? x->durable : x->count - 1; }

static void tell(struct blobs *b, struct told *t, const char *event, const struct blob_job *j)
{
    const int64_t now = clock_mono_ms(b->clock);
    t->times++;
    if (now < t->until_ms)
        return;
    log_line(LOG_WARN, event, F_ERR(j->err), F_HEX("blob", j->key.b, HASH_BYTES), F_U64("index", j->index), F_U64("times", t->times));
    *t = (struct told){0, now + TELL_EVERY_MS};
}

static void finish_put(struct blobs *b, struct blob_job *j)
{
    struct blob *x = j->blob;
    struct hash root = j->manifest.root;
    uint64_t session = j->session;
    bool is_gone = x->is_gone;
    if (!is_gone && j->err == EHIS_OK && x->durable > 0 && (j->place.partition != x->place.partition || j->place.offset <= x->place.offset))
        j->err = EHIS_E_EXCHANGE_BUSY; /* the topic has got more partitions meanwhile, or was made anew without what came before: it begins anew */
    x->jobs--;
    if (is_gone && x->jobs == 0)
        free(x);
    if (is_gone || j->err != EHIS_OK) {
        if (!is_gone) {
            tell(b, j->err == EHIS_E_EXCHANGE_BLOB_ROOT ? &b->roots : &b->puts, "blob.put.failed", j);
            b->status.failed++;
            drop(b, x, true);
        }
        b->calls.on_state(b->calls.ctx, session, &root, 0, j->err == EHIS_E_EXCHANGE_BLOB_ROOT ? j->err : EHIS_E_EXCHANGE_BUSY);
        return;
    }
    x->place = j->place;
    if (j->op == BLOB_PUT_CHUNK) {
        uint8_t *entry = x->list + (size_t)x->durable++ * BLOB_ENTRY_BYTES;
        memcpy(entry, j->leaf.b, HASH_BYTES);
        be_put(entry + HASH_BYTES, j->place.offset, 8);
        if (x->durable == x->count) { /* the same job goes on with the list */
            free(j->data);
            j->data = x->list;
            j->len = (size_t)x->count * BLOB_ENTRY_BYTES;
            j->op = BLOB_PUT_LIST;
            j->place.offset = x->manifest.bytes;
            x->list = NULL;
            x->jobs++;
            blob_jobs_add(b->jobs, j);
            return;
        }
    } else {
        x->is_whole = true;
    }
    b->calls.on_state(b->calls.ctx, session, &root, next_of(x), EHIS_OK);
}

static void finish_get(struct blobs *b, struct blob_job *j)
{
    struct blob_chunk_out *c = calloc(1, sizeof *c);
    EHIS_ASSERT(c);
    *c = (struct blob_chunk_out){.session = j->session, .index = j->index, .code = j->err};
    memcpy(c->digest, j->digest, HASH_BYTES);
    if (j->err == EHIS_OK) {
        c->bytes = j->data;
        c->len = j->len;
        j->data = NULL;
        b->status.chunks_out++;
    } else {
        tell(b, j->err == EHIS_E_EXCHANGE_BUSY ? &b->gets : &(struct told){0}, "blob.get.failed", j); /* what is lost or altered: each */
        b->status.failed++;
    }
    b->calls.on_chunk(b->calls.ctx, c);
}

static void on_end(void *ctx, struct blob_job *j)
{
    enum blob_op op = j->op;
    if (op == BLOB_GET_CHUNK)
        finish_get(ctx, j);
    else if (op != BLOB_DROP)
        finish_put(ctx, j);
    if (op != BLOB_PUT_CHUNK || j->op != BLOB_PUT_LIST) /* else it is queued again */
        blob_job_free(j);
}

static void on_tick(void *arg)
{
    struct blobs *b = arg;
    int64_t now = clock_mono_ms(b->clock);
    for (struct node *n = b->uploads.next, *next; n != &b->uploads; n = next) {
        struct blob *x = container_of(n, struct blob, in_uploads);
        next = n->next;
        if (now - x->used_ms >= IDLE_MS)
            drop(b, x, true);
    }
    loop_timer_set(b->tick, TICK_US);
}

ehis_err blobs_new(struct loop *loop, const struct clock *clock, struct blob_store *store, const uint8_t seed[16], struct blobs **out)
{
    struct blobs *b = calloc(1, sizeof *b);
    if (!b) {
        store->free(store);
        return EHIS_E_NO_MEMORY;
    }
    b->clock = clock;
    b->store = store;
    node_init(&b->uploads);
    ehis_err err = table_init(&b->by_key, HEADS, seed);
    if (err == EHIS_OK)
        err = loop_timer_new(loop, on_tick, b, &b->tick);
    if (err == EHIS_OK)
        err = blob_jobs_new(loop, store, on_end, b, &b->jobs);
    if (err != EHIS_OK) {
        blobs_free(b);
        return err;
    }
    loop_timer_set(b->tick, TICK_US);
    *out = b;
    return EHIS_OK;
}

ehis_err blobs_renew(struct blobs *b) { return b->store->renew ? b->store->renew(b->store) : EHIS_OK; }

static void on_left(struct blob_job *j)
{
    if (j->blob && --j->blob->jobs == 0 && j->blob->is_gone)
        free(j->blob);
    blob_job_free(j);
}

void blobs_free(struct blobs *b)
{
    if (!b)
        return;
    blob_jobs_free(b->jobs, on_left);
    for (size_t i = 0; b->by_key.heads && i < HEADS; i++)
        for (struct table_node *n = b->by_key.heads[i], *next; n; n = next) {
            next = n->next;
            free(container_of(n, struct blob, by_key)->list);
            free(container_of(n, struct blob, by_key));
        }
    table_fini(&b->by_key);
    loop_timer_free(b->tick);
    b->store->free(b->store);
    free(b);
}

void blobs_set_calls(struct blobs *b, const struct blobs_calls *calls) { b->calls = *calls; }

/* One upload more of this sender? */
static bool has_room(const struct blobs *b, const struct blob_name *name, uint64_t room_bytes)
{
    uint64_t bytes = name->manifest.bytes;
    unsigned count = 1;
    for (const struct node *n = b->uploads.next; n != &b->uploads; n = n->next) {
        const struct blob *x = container_of(n, struct blob, in_uploads);
        if (!span_eq(span_of(x->sender, x->sender_len), name->sender))
            continue;
        bytes += x->manifest.bytes;
        count++;
    }
    return count <= BLOB_UPLOADS_MAX && bytes <= room_bytes;
}

static ehis_err put_chunk(struct blobs *b, uint64_t session, struct blob *x, struct span chunk)
{
    struct blob_job *j = calloc(1, sizeof *j);
    uint8_t *data = malloc(chunk.len);
    if (!x->list)
        x->list = malloc((size_t)x->count * BLOB_ENTRY_BYTES);
    if (!j || !data || !x->list) {
        free(j);
        free(data);
        return EHIS_E_EXCHANGE_BUSY;
    }
    memcpy(data, chunk.p, chunk.len);
    *j = (struct blob_job){.op = BLOB_PUT_CHUNK, .blob = x, .session = session, .owner = owner_of(b, span_of(x->sender, x->sender_len)), .key = x->key, .manifest = x->manifest, .index = x->queued, .data = data, .len = chunk.len,
                      .place.offset = (uint64_t)x->queued * LARGE_CHUNK_BYTES};
    x->queued++;
    x->jobs++;
    x->used_ms = clock_mono_ms(b->clock);
    b->status.chunks_in++;
    blob_jobs_add(b->jobs, j);
    return EHIS_OK;
}

ehis_err blobs_put(struct blobs *b, uint64_t session, const struct blob_name *name, uint32_t index, struct span chunk, uint64_t room_bytes)
{
    struct hash key;
    struct blob *x = find(b, name, &key);
    ehis_err code = EHIS_OK;
    if (name->manifest.bytes > LARGE_MAX_BYTES || index >= large_chunk_count(name->manifest.bytes) ||
        (chunk.len && chunk.len != large_chunk_bytes(name->manifest.bytes, index)))
        return EHIS_E_PROTOCOL_ORDER;
    if (x && (x->manifest.bytes != name->manifest.bytes || (chunk.len && x->is_kept))) {
        code = EHIS_E_EXCHANGE_CONFLICT;
    } else if (chunk.len && !(x && x->is_whole)) {
        if (index != (x ? x->queued : 0))
            code = EHIS_E_EXCHANGE_OUT_OF_SEQUENCE;
        else if (!blob_jobs_fits(b->jobs, owner_of(b, name->sender)) || (!x && !has_room(b, name, room_bytes)))
            code = EHIS_E_EXCHANGE_BUSY;
        bool is_new = code == EHIS_OK && !x;
        if (is_new) {
            x = add(b, name, &key);
            if (x)
                list_add(&b->uploads, &x->in_uploads);
            b->status.uploads += x != NULL;
        }
        if (code == EHIS_OK)
            code = x ? put_chunk(b, session, x, chunk) : EHIS_E_EXCHANGE_BUSY;
        if (code == EHIS_OK)
            return EHIS_OK; /* answered when it is durable */
        if (is_new && x) {
            drop(b, x, false);
            x = NULL;
        }
    }
    if (x && !x->is_kept)
        x->used_ms = clock_mono_ms(b->clock);
    b->calls.on_state(b->calls.ctx, session, &name->manifest.root, x ? next_of(x) : 0, code);
    return EHIS_OK;
}

ehis_err blobs_find(struct blobs *b, struct blob_name *name)
{
    struct hash key;
    const struct blob *x = find(b, name, &key);
    if (!x || !x->is_whole || x->is_kept || x->manifest.bytes != name->manifest.bytes)
        return EHIS_E_EXCHANGE_BLOB_MISSING;
    name->place = x->place;
    return EHIS_OK;
}

void blobs_keep(struct blobs *b, const struct blob_name *name)
{
    struct hash key;
    struct blob *x = find(b, name, &key);
    if (x && x->is_kept)
        return;
    if (x && !b->store->drop) {
        drop(b, x, false);
        return;
    }
    if (!x && b->store->drop) { /* out of the journal */
        x = add(b, name, &key);
        EHIS_ASSERT(x); /* else it would be deleted under its message */
        b->status.uploads++;
    }
    if (!x)
        return;
    node_remove(&x->in_uploads);
    x->is_whole = x->is_kept = true;
    b->status.uploads--;
    b->status.kept++;
}

void blobs_let_go(struct blobs *b, const struct blob_name *name)
{
    struct hash key;
    struct blob *x = find(b, name, &key);
    if (x && x->is_kept)
        drop(b, x, b->is_recovered);
}

static bool is_kept(void *arg, const struct hash *key) { return find_key(arg, key) != NULL; }

void blobs_recovered(struct blobs *b)
{
    b->is_recovered = true;
    if (b->store->sweep)
        b->store->sweep(b->store, is_kept, b);
}

ehis_err blobs_get(struct blobs *b, const struct blob_asker *asker, const struct blob_name *name, uint32_t index)
{
    const uint64_t owner = owner_of(b, asker->system);
    struct blob_job *j = blob_jobs_fits(b->jobs, owner) ? calloc(1, sizeof *j) : NULL;
    if (!j)
        return EHIS_E_EXCHANGE_BUSY;
    *j = (struct blob_job){.op = BLOB_GET_CHUNK, .session = asker->session, .owner = owner, .manifest = name->manifest, .place = name->place, .index = index};
    memcpy(j->digest, asker->digest, HASH_BYTES);
    large_blob_key(name->sender, name->manifest.root.b, &j->key);
    blob_jobs_add(b->jobs, j);
    return EHIS_OK;
}

void blob_chunk_free(struct blob_chunk_out *c)
{
    free(c->bytes);
    free(c);
}

void blobs_status(const struct blobs *b, struct blobs_status *out) { *out = b->status; }
