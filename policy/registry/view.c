/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What a view is asked. */
#include <stdlib.h>

#include "base/disk.h"
#include "policy/registry/view_priv.h"
#include "proto/wire/envelope.h"

#define RETIRED_COUNTS_MS (INT64_C(14) * 24 * 3600 * 1000) /* the longest life of an envelope */

struct registry *registry_ref(struct registry *r)
{
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

void registry_unref(struct registry *r)
{
    if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct index *indices[] = {&r->owner_index, &r->service_index, &r->agency_index, &r->key_index,
                               &r->entry_index, &r->term_index[0], &r->term_index[1]};
    for (size_t i = 0; i < sizeof indices / sizeof *indices; i++)
        index_fini(indices[i]);
    owned_fini(&r->owned);
    tree_fini(&r->tree);
    free(r->known);
    free(r->leaves);
    free(r->owners);
    free(r->services);
    free(r->agencies);
    free(r->keys);
    free(r->entries);
    free(r->bytes);
    free(r);
}

uint64_t registry_version(const struct registry *r) { return r->version; }
const struct hash *registry_hash(const struct registry *r) { return &r->hash; }
int64_t registry_not_after_ms(const struct registry *r) { return r->not_after_ms; }
struct span registry_bytes(const struct registry *r) { return span_of(r->bytes, r->len); }
ehis_err registry_store(const struct registry *r, const char *file, struct ehis_why *why)
{
    return file_write(file, registry_bytes(r), 0600, why);
}

ehis_err registry_check_time(const struct registry *r, int64_t now_ms)
{
    if (now_ms < r->not_before_ms)
        return EHIS_E_REGISTRY_NOT_YET;
    return now_ms > r->not_after_ms + (int64_t)r->grace_ms ? EHIS_E_REGISTRY_EXPIRED : EHIS_OK; /* each is in the year 9999 at most */
}

ehis_err registry_check_known(const struct registry *r, uint64_t version, const uint8_t hash[32])
{
    const struct hash *held = version == r->version ? &r->hash : NULL;
    if (version > r->version)
        return EHIS_E_REGISTRY_NEWER;
    size_t low = 0, high = r->known_count;
    while (!held && low < high) {
        size_t mid = low + (high - low) / 2;
        if (r->known[mid].version == version)
            held = &r->known[mid].hash;
        else if (r->known[mid].version < version)
            low = mid + 1;
        else
            high = mid;
    }
    if (!held) /* inside the chain, but none of its links: it contradicts */
        return r->known_count && version > r->known[0].version ? EHIS_E_REGISTRY_FORK : EHIS_E_REGISTRY_UNKNOWN_VERSION;
    return memcmp(held->b, hash, HASH_BYTES) == 0 ? EHIS_OK : EHIS_E_REGISTRY_FORK;
}

const struct owner *registry_find_owner(const struct registry *r, struct span id)
{
    uint64_t hash = index_hash(id);
    for (uint32_t at = 0, i; (i = index_next(&r->owner_index, hash, &at)) != INDEX_NONE;)
        if (span_eq(r->owners[i].pub.id, id))
            return &r->owners[i];
    return NULL;
}

const struct service *registry_find_service(const struct registry *r, struct span id)
{
    uint64_t hash = index_hash(id);
    for (uint32_t at = 0, i; (i = index_next(&r->service_index, hash, &at)) != INDEX_NONE;)
        if (span_eq(r->services[i].pub.id, id))
            return &r->services[i];
    return NULL;
}

uint32_t registry_find_agency(const struct registry *r, struct span id)
{
    uint64_t hash = index_hash(id);
    for (uint32_t at = 0, i; (i = index_next(&r->agency_index, hash, &at)) != INDEX_NONE;)
        if (span_eq(r->agencies[i].id, id))
            return i;
    return INDEX_NONE;
}

uint32_t registry_find_entry(const struct registry *r, const struct service *s, struct span consumer, bool is_prefix)
{
    uint64_t hash = registry_entry_hash(s->number, consumer, is_prefix);
    for (uint32_t at = 0, i; (i = index_next(&r->entry_index, hash, &at)) != INDEX_NONE;)
        if (r->entries[i].service == s->number && r->entries[i].is_prefix == is_prefix && span_eq(r->entries[i].consumer, consumer))
            return i;
    return INDEX_NONE;
}

uint32_t registry_find_key(const struct registry *r, const uint8_t id[32])
{
    for (uint32_t at = 0, i; (i = index_next(&r->key_index, be_get(id, 8), &at)) != INDEX_NONE;)
        if (memcmp(r->keys[i].key->id.b, id, HASH_BYTES) == 0)
            return i;
    return INDEX_NONE;
}

static const struct registry_owner *owner_of_kind(const struct registry *r, struct span id, bool is_gateway)
{
    const struct owner *o = registry_find_owner(r, id);
    return o && o->pub.is_gateway == is_gateway ? &o->pub : NULL;
}
const struct registry_owner *registry_system(const struct registry *r, struct span id) { return owner_of_kind(r, id, false); }
const struct registry_owner *registry_gateway(const struct registry *r, struct span id) { return owner_of_kind(r, id, true); }

const struct registry_service *registry_service(const struct registry *r, struct span id)
{
    const struct service *s = registry_find_service(r, id);
    return s ? &s->pub : NULL;
}

const struct registry_operation *registry_operation(const struct registry_service *s, struct span name)
{
    for (size_t i = 0; i < s->operation_count; i++)
        if (span_eq(s->operations[i].name, name))
            return &s->operations[i];
    return NULL;
}

size_t registry_term(const struct registry *r, bool is_purpose, struct span code)
{
    uint64_t hash = index_hash(code);
    for (uint32_t at = 0, i; (i = index_next(&r->term_index[is_purpose], hash, &at)) != INDEX_NONE;)
        if (span_eq(r->terms[is_purpose][i], code))
            return i;
    return REGISTRY_TERM_NONE;
}
bool registry_is_term(const struct registry *r, bool is_purpose, struct span code)
{
    return registry_term(r, is_purpose, code) != REGISTRY_TERM_NONE;
}

bool registry_term_at(const struct registry *r, bool is_purpose, size_t i, struct span *code)
{
    if (i >= r->term_count[is_purpose])
        return false;
    *code = r->terms[is_purpose][i];
    return true;
}

size_t registry_owner_count(const struct registry *r) { return r->owner_count; }
const struct registry_owner *registry_owner_at(const struct registry *r, size_t i) { return &r->owners[i].pub; }
size_t registry_service_count(const struct registry *r) { return r->service_count; }
const struct registry_service *registry_service_at(const struct registry *r, size_t i) { return &r->services[i].pub; }

/* pub is the first member of what registry.h hands out. */
static const struct service *service_of(const struct registry_service *s) { return (const struct service *)(const void *)s; }

const struct registry_rule *registry_rules(const struct registry_service *s, size_t *count)
{
    *count = service_of(s)->rule_count;
    return service_of(s)->rules;
}

bool registry_consumer_matches(struct span consumer, struct span system)
{
    if (consumer.len == 0 || consumer.p[consumer.len - 1] != '*')
        return span_eq(consumer, system);
    size_t n = consumer.len - 1; /* "x*" is also x itself; the last part is never empty in a system */
    return system.len >= n && memcmp(consumer.p, system.p, n) == 0 && !memchr(system.p + n, '/', system.len - n);
}

size_t registry_rule_next(const struct registry *r, const struct registry_service *pub, struct span consumer,
                          struct registry_rule_cursor *c)
{
    const struct service *s = service_of(pub);
    if (!c->is_begun) {
        c->is_begun = true;
        c->next = registry_find_entry(r, s, consumer, false) + 1; /* INDEX_NONE + 1 = 0 */
    }
    while (c->next == 0) { /* the next group: "*" behind so many bytes of the consumer */
        unsigned n = c->length;
        while (n < 256 && (s->lengths[n / 64] >> (n % 64)) == 0)
            n = (n / 64 + 1) * 64;
        if (n >= 256)
            return SIZE_MAX;
        n += (unsigned)__builtin_ctzll(s->lengths[n / 64] >> (n % 64));
        c->length = n + 1;
        if (n > consumer.len)
            return SIZE_MAX;
        if (!memchr(consumer.p + n, '/', consumer.len - n)) /* "*" stays within the last part */
            c->next = registry_find_entry(r, s, span_of(consumer.p, n), true) + 1;
    }
    const struct entry *e = &r->entries[c->next - 1];
    c->next = e->next;
    return e->rule;
}

ehis_err registry_signing_key(const struct registry *r, struct span owner, const uint8_t key_id[32], int64_t created_ms, int64_t now_ms,
                              const struct registry_key **out)
{
    uint32_t i = registry_find_key(r, key_id);
    if (i == INDEX_NONE)
        return EHIS_E_KEY_UNKNOWN;
    const struct registry_key *k = r->keys[i].key;
    int64_t created = created_ms ? created_ms : now_ms;
    if (!span_eq(r->keys[i].owner->pub.id, owner))
        return EHIS_E_KEY_FOREIGN;
    if (k->use != USE_SIGN)
        return EHIS_E_KEY_USE;
    if (k->revoked_ms)
        return EHIS_E_KEY_REVOKED;
    if (k->retired_ms && (created > k->retired_ms || now_ms > k->retired_ms + RETIRED_COUNTS_MS))
        return EHIS_E_KEY_RETIRED;
    if (created < k->not_before_ms)
        return EHIS_E_KEY_NOT_YET;
    *out = k;
    return EHIS_OK;
}

ehis_err registry_verify(const struct registry *r, const struct registry_word *w, int64_t now_ms, struct root_cache *roots)
{
    const struct envelope_signature *s = w->signature;
    struct leaf_signature sig = {.algorithm = s->algorithm, .size = s->size, .index = s->index, .path = s->path, .signature = s->signature};
    const struct registry_key *key;
    EHIS_TRY(registry_signing_key(r, w->owner, s->key_id, w->created_ms, now_ms, &key));
    memcpy(sig.key_id.b, s->key_id, HASH_BYTES);
    return sign_verify_leaf(w->leaf, &sig, key->public_key.p, s->size > 1 || w->is_met_again ? roots : NULL);
}

/* May it be used for something new at this time? */
static bool is_in_force(const struct registry_key *k, int64_t now_ms)
{
    return !k->revoked_ms && k->not_before_ms <= now_ms && (!k->retired_ms || now_ms < k->retired_ms);
}

ehis_err registry_sealing_key(const struct registry *r, struct span system, int64_t now_ms, const struct registry_key **out)
{
    const struct registry_owner *o = registry_system(r, system);
    const struct registry_key *best = NULL;
    for (size_t i = 0; o && i < o->key_count; i++) {
        const struct registry_key *k = &o->keys[i];
        if (k->use == USE_SEAL && is_in_force(k, now_ms) && (!best || k->not_before_ms >= best->not_before_ms))
            best = k;
    }
    if (!best)
        return EHIS_E_KEY_UNKNOWN;
    *out = best;
    return EHIS_OK;
}

ehis_err registry_check_pin(const struct registry *r, struct span owner, bool is_gateway, struct span spki_der, int64_t now_ms)
{
    struct hash id;
    crypto_key_id(USE_TLS, ALGORITHM_SPKI, spki_der, &id);
    uint32_t i = registry_find_key(r, id.b);
    if (i == INDEX_NONE)
        return EHIS_E_KEY_PIN;
    const struct registry_owner *o = &r->keys[i].owner->pub;
    return o->is_gateway == is_gateway && span_eq(o->id, owner) && is_in_force(r->keys[i].key, now_ms) ? EHIS_OK : EHIS_E_KEY_PIN;
}

void registry_statement(const struct registry *r, struct registry_statement *out)
{
    *out = (struct registry_statement){r->instance,   r->not_before_ms,   r->not_after_ms, r->grace_ms,
                                       r->leaf_count, r->operator_key_id, r->earlier_count};
}

struct span registry_contact(const struct registry *r, struct span system)
{
    const struct owner *o = registry_find_owner(r, system);
    return o ? o->contact : (struct span){0};
}

struct span registry_agency_at(const struct registry *r, size_t i, struct span *name)
{
    if (i >= r->agency_count)
        return (struct span){0};
    *name = r->agencies[i].name;
    return r->agencies[i].id;
}
