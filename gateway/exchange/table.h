/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The core's containers: intrusive lists, hash tables under a secret key, pools of equal objects. Who puts things in states the bound of
 * their number; none of these grows by itself. One thread. */
#pragma once
#include "base/bytes.h"

#define container_of(p, type, member) ((type *)((uintptr_t)(p) - offsetof(type, member)))

/* A circular list with a head of its own kind. An element that is in no list is zero or points to itself. */
struct node { struct node *prev, *next; };
static inline void node_init(struct node *n) { n->prev = n->next = n; }
static inline bool node_is_linked(const struct node *n) { return n->next && n->next != n; }
static inline bool list_is_empty(const struct node *head) { return head->next == head; }
static inline void node_insert_after(struct node *at, struct node *n) { n->prev = at; n->next = at->next; at->next->prev = n; at->next = n; }
static inline void list_add(struct node *head, struct node *n) { node_insert_after(head->prev, n); }
static inline void node_remove(struct node *n)
{
    if (!n->next)
        return;
    n->prev->next = n->next;
    n->next->prev = n->prev;
    node_init(n);
}
static inline void node_move(struct node *head, struct node *n) { node_remove(n); list_add(head, n); }

/* Chains from a fixed array of heads: no growth, so no pause. Callers compare keys along the chain of table_head. */
struct table_node { struct table_node *next; };
struct table {
    struct table_node **heads;
    size_t mask, count;
    uint64_t key[2];
};
ehis_err table_init(struct table *t, size_t heads /* a power of two */, const uint8_t seed[16]) EHIS_MUST_USE;
void table_fini(struct table *t);
/* SipHash-1-3 of at most 256 bytes, so that who chooses keys cannot make chains. */
uint64_t table_hash(const struct table *t, const void *key, size_t n);
static inline struct table_node **table_head(const struct table *t, uint64_t hash) { return &t->heads[hash & t->mask]; }
/* Soon one of this hash is looked for, added or removed: its head is fetched meanwhile. */
static inline void table_expect(const struct table *t, uint64_t hash) { __builtin_prefetch(table_head(t, hash), 1); }
void table_add(struct table *t, uint64_t hash, struct table_node *n);
void table_remove(struct table *t, uint64_t hash, struct table_node *n); /* n is in it */

struct pool {
    size_t object_bytes;
    void *free, *slabs;
};
void pool_init(struct pool *p, size_t object_bytes);
void pool_fini(struct pool *p); /* with everything that was taken */
void *pool_take(struct pool *p); /* zeroed; NULL without memory */
void pool_give(struct pool *p, void *object);
