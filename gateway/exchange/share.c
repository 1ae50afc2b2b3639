/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What one sender has in one recipient's inbox: never more than is free there. So one sender alone fills half of it, n of them
 * n / (n + 1), and whoever has nothing in it gets in. */
#include "gateway/exchange/exchange_priv.h"

#include <stdlib.h>

#define CALLERS_PER_PROVIDER 4 /* at their own bound of calls */

static uint64_t share_hash(const struct exchange *x, const struct system *from, const struct system *to)
{
    const void *key[2] = {from, to};
    return table_hash(&x->shares, key, sizeof key);
}

static struct share *find(const struct exchange *x, const struct system *from, const struct system *to, uint64_t hash)
{
    for (struct table_node *n = *table_head(&x->shares, hash); n; n = n->next) {
        struct share *s = container_of(n, struct share, by_ends);
        if (s->from == from && s->to == to)
            return s;
    }
    return NULL;
}

struct share *exchange_share(struct exchange *x, struct system *from, struct system *to)
{
    uint64_t hash = share_hash(x, from, to);
    struct share *s = find(x, from, to, hash);
    if (!s) {
        s = calloc(1, sizeof *s);
        if (!s)
            return NULL;
        s->from = from;
        s->to = to;
        table_add(&x->shares, hash, &s->by_ends);
    }
    s->refs++;
    return s;
}

void exchange_share_unref(struct exchange *x, struct share *s)
{
    if (--s->refs > 0)
        return;
    EHIS_ASSERT(s->waiting == 0 && s->waiting_bytes == 0 && s->calls_waiting == 0);
    table_remove(&x->shares, share_hash(x, s->from, s->to), &s->by_ends);
    free(s);
}

void exchange_shares_free(struct exchange *x)
{
    for (size_t i = 0; x->shares.heads && i <= x->shares.mask; i++)
        for (struct table_node *n = x->shares.heads[i], *next; n; n = next) {
            next = n->next;
            free(container_of(n, struct share, by_ends));
        }
    table_fini(&x->shares);
}

bool exchange_share_fits(const struct exchange *x, const struct system *from, const struct system *to, uint64_t bytes)
{
    const struct share *s = find(x, from, to, share_hash(x, from, to));
    return (s ? s->waiting : 0) + to->waiting < x->bounds.stored_messages_max &&
           (s ? s->waiting_bytes : 0) + to->waiting_bytes + bytes <= x->bounds.stored_bytes_max;
}

bool exchange_share_fits_call(const struct exchange *x, const struct system *from, const struct system *to)
{
    const struct share *s = find(x, from, to, share_hash(x, from, to));
    return (uint64_t)(s ? s->calls_waiting : 0) + to->calls_waiting < (uint64_t)CALLERS_PER_PROVIDER * x->bounds.calls_max;
}
