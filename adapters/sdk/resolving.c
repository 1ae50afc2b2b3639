/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A gateway's name to addresses, in a thread of its own: the system's resolver blocks. */
#include "adapters/sdk/ehis_priv.h"
#include "base/thread.h"
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

struct resolving {
    struct order order;
    pthread_mutex_t lock;
    struct ehis *e;    /* [lock] NULL: nobody waits any more */
    struct session *s; /* while e is there */
    char host[256], port[8];
    struct addrinfo *found;
};

static void resolving_free(struct resolving *r)
{
    if (r->found)
        freeaddrinfo(r->found);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static void on_resolved(struct ehis *e, struct order *o)
{
    struct resolving *r = OWNER_OF(o, struct resolving, order);
    pthread_mutex_lock(&r->lock); /* its thread has let go of it then */
    pthread_mutex_unlock(&r->lock);
    if (!e->is_stopped && r->s->resolving == r) {
        r->s->resolving = NULL;
        session_resolved(r->s, r->host, r->found);
    }
    resolving_free(r);
}

static void *resolve_main(void *arg)
{
    struct resolving *r = arg;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV}, *found = NULL;
    if (getaddrinfo(r->host, r->port, &hints, &found) != 0 || !found) {
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV; /* ADDRCONFIG leaves loopback out where there is no network */
        if (getaddrinfo(r->host, r->port, &hints, &found) != 0)
            found = NULL;
    }
    pthread_mutex_lock(&r->lock);
    r->found = found;
    bool is_wanted = r->e != NULL && work_post(r->e, &r->order);
    pthread_mutex_unlock(&r->lock);
    if (!is_wanted)
        resolving_free(r);
    return NULL;
}

void resolving_cancel(struct session *s)
{
    struct resolving *r = s->resolving;
    s->resolving = NULL;
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->e = NULL;
    pthread_mutex_unlock(&r->lock); /* done: its order is queued, and frees it */
}

ehis_err resolving_start(struct session *s)
{
    const char *colon = strrchr(s->address, ':');
    struct resolving *r = calloc(1, sizeof *r);
    pthread_t thread;
    if (!r)
        return EHIS_E_NO_MEMORY;
    size_t host = (size_t)(colon - s->address);
    bool is_bracketed = host > 2 && s->address[0] == '[' && colon[-1] == ']';
    snprintf(r->host, sizeof r->host, "%.*s", (int)(host - (is_bracketed ? 2 : 0)), s->address + is_bracketed);
    snprintf(r->port, sizeof r->port, "%s", colon + 1);
    r->e = s->e;
    r->s = s;
    r->order.run = on_resolved;
    pthread_mutex_init(&r->lock, NULL);
    s->resolving = r;
    if (thread_start(&thread, resolve_main, r)) {
        pthread_detach(thread);
        return EHIS_OK;
    }
    s->resolving = NULL;
    resolving_free(r);
    return EHIS_E_NO_MEMORY;
}
