/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/bus/blob_jobs.h"

#include <stdlib.h>
#include "base/thread.h"
#include "gateway/bus/blob_list.h"

struct blob_jobs {
    struct loop *loop;
    struct blob_store *store;
    void (*on_end)(void *ctx, struct blob_job *j);
    void *ctx;
    size_t count; /* with chunks: the loop's */
    struct node all; /* of them */
    pthread_t thread;
    struct blob_lists lists; /* the thread's */
    pthread_mutex_t lock; /* over the rest */
    pthread_cond_t wake;
    struct node todo, done; /* todo: in order of turns */
    uint64_t turn; /* of the job that was begun last */
    bool is_stopping, is_posted;
};

static ehis_err run(struct blob_jobs *q, struct blob_job *j)
{
    ehis_err err;
    switch (j->op) {
    case BLOB_PUT_CHUNK:
        large_leaf(span_of(j->data, j->len), &j->leaf);
        return q->store->write(q->store, &j->key, j->index == 0, span_of(j->data, j->len), &j->place);
    case BLOB_PUT_LIST:
        err = blob_list_check(j->data, &j->manifest);
        if (err != EHIS_OK)
            return err == EHIS_E_EXCHANGE_BLOB_ALTERED ? EHIS_E_EXCHANGE_BLOB_ROOT : err;
        return q->store->write(q->store, &j->key, false, span_of(j->data, j->len), &j->place);
    case BLOB_GET_CHUNK:
        j->len = large_chunk_bytes(j->manifest.bytes, j->index);
        j->data = malloc(j->len);
        return j->data ? blob_lists_read(&q->lists, q->store, &j->key, &j->manifest, &j->place, j->index, j->data) : EHIS_E_NO_MEMORY;
    default:
        blob_lists_forget(&q->lists, &j->key);
        q->store->drop(q->store, &j->key);
        return EHIS_OK;
    }
}

static void on_done(void *arg)
{
    struct blob_jobs *q = arg;
    struct node done;
    node_init(&done);
    pthread_mutex_lock(&q->lock);
    q->is_posted = false;
    while (!list_is_empty(&q->done))
        node_move(&done, q->done.next);
    pthread_mutex_unlock(&q->lock);
    while (!list_is_empty(&done)) {
        struct blob_job *j = container_of(done.next, struct blob_job, in_list);
        node_remove(&j->in_list);
        q->count -= node_is_linked(&j->in_all);
        node_remove(&j->in_all);
        q->on_end(q->ctx, j);
    }
}

static void *work(void *arg)
{
    struct blob_jobs *q = arg;
    pthread_mutex_lock(&q->lock);
    while (!q->is_stopping) {
        if (list_is_empty(&q->todo)) {
            pthread_cond_wait(&q->wake, &q->lock);
            continue;
        }
        struct blob_job *j = container_of(q->todo.next, struct blob_job, in_list);
        node_remove(&j->in_list);
        q->turn = j->turn;
        pthread_mutex_unlock(&q->lock);
        j->err = run(q, j);
        pthread_mutex_lock(&q->lock);
        list_add(&q->done, &j->in_list);
        if (!q->is_posted)
            loop_post(q->loop, on_done, q);
        q->is_posted = true;
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

ehis_err blob_jobs_new(struct loop *loop, struct blob_store *store, void (*on_end)(void *ctx, struct blob_job *j), void *ctx, struct blob_jobs **out)
{
    struct blob_jobs *q = calloc(1, sizeof *q);
    if (!q)
        return EHIS_E_NO_MEMORY;
    q->loop = loop;
    q->store = store;
    q->on_end = on_end;
    q->ctx = ctx;
    node_init(&q->todo);
    node_init(&q->done);
    node_init(&q->all);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->wake, NULL);
    if (thread_start(&q->thread, work, q)) {
        *out = q;
        return EHIS_OK;
    }
    pthread_cond_destroy(&q->wake);
    pthread_mutex_destroy(&q->lock);
    free(q);
    return EHIS_E_NO_MEMORY;
}

void blob_jobs_free(struct blob_jobs *q, void (*on_left)(struct blob_job *j))
{
    if (!q)
        return;
    pthread_mutex_lock(&q->lock);
    q->is_stopping = true;
    pthread_cond_signal(&q->wake);
    pthread_mutex_unlock(&q->lock);
    pthread_join(q->thread, NULL);
    while (!list_is_empty(&q->todo))
        node_move(&q->done, q->todo.next);
    while (!list_is_empty(&q->done)) {
        struct blob_job *j = container_of(q->done.next, struct blob_job, in_list);
        node_remove(&j->in_list);
        on_left(j);
    }
    blob_lists_forget(&q->lists, NULL);
    pthread_cond_destroy(&q->wake);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

bool blob_jobs_fits(const struct blob_jobs *q, uint64_t owner)
{
    size_t own = 0;
    for (const struct node *n = q->all.next; n != &q->all; n = n->next)
        own += container_of(n, struct blob_job, in_all)->owner == owner;
    return own + q->count < BLOB_JOBS_MAX;
}

static struct blob_job *job_of(struct node *n) { return container_of(n, struct blob_job, in_list); }

static void queue(struct blob_jobs *q, struct blob_job *j)
{
    struct node *n = q->todo.prev;
    while (n != &q->todo && job_of(n)->owner != j->owner)
        n = n->prev;
    j->turn = (n != &q->todo ? job_of(n)->turn : q->turn) + 1; /* a turn that has begun takes nobody in: so it ends */
    for (n = q->todo.prev; n != &q->todo && job_of(n)->turn > j->turn;)
        n = n->prev;
    node_insert_after(n, &j->in_list);
}

void blob_jobs_add(struct blob_jobs *q, struct blob_job *j)
{
    if (j->op != BLOB_DROP) {
        q->count++;
        list_add(&q->all, &j->in_all);
    }
    pthread_mutex_lock(&q->lock);
    queue(q, j);
    pthread_cond_signal(&q->wake);
    pthread_mutex_unlock(&q->lock);
}

void blob_job_free(struct blob_job *j)
{
    free(j->data);
    free(j);
}
