/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Verified leaves into the tables that are looked up: first all that stand alone, then rules, which name the others. */
#include <stdio.h>
#include <stdlib.h>

#include "ehis_scan.h"
#include "policy/registry/view_priv.h"
#include "proto/wire/identifier.h"
#include "proto/wire/scan.h"

#define OPERATIONS_MAX 64

enum leaf_kind { LEAF_AGENCY = 1, LEAF_SYSTEM = 2, LEAF_GATEWAY = 3, LEAF_SERVICE = 4, LEAF_TERMS = 5, LEAF_RULES = 6 };

static ehis_err content(struct ehis_why *why, const char *fmt, ...) EHIS_PRINTF(2, 3);
static ehis_err content(struct ehis_why *why, const char *fmt, ...)
{
    char text[sizeof why->text];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return ehis_fail(why, EHIS_E_REGISTRY_CONTENT, "%s", text);
}

/* Room for one more in a growing array. */
static ehis_err grow(void *array, size_t *cap, size_t count, size_t item)
{
    void **p = array;
    if (count < *cap)
        return EHIS_OK;
    size_t wanted = *cap ? *cap * 2 : 64;
    void *more = reallocarray(*p, wanted, item);
    if (!more)
        return EHIS_E_NO_MEMORY;
    *p = more;
    *cap = wanted;
    return EHIS_OK;
}

/* An identifier of the form and of this instance. */
static ehis_err check_id(const struct registry *r, struct span id, enum identifier_parts parts, struct ehis_why *why)
{
    EHIS_TRY(identifier_check(id, parts, why));
    if (!span_eq(identifier_prefix(id, 1), r->instance))
        return ehis_fail(why, EHIS_E_REGISTRY_INSTANCE, "%.*s is not of %.*s", SPAN_SHOW(id), SPAN_SHOW(r->instance));
    return EHIS_OK;
}

static bool time_of(uint64_t number, int64_t *out)
{
    *out = (int64_t)number;
    return number <= REGISTRY_TIME_MAX_MS;
}

static ehis_err read_key(const struct registry *r, const struct owner *o, struct span bytes, struct registry_key *k, struct ehis_why *why)
{
    static const enum key_algorithm algorithm_of[] = {
        [USE_SIGN] = ALGORITHM_ED25519, [USE_SEAL] = ALGORITHM_X25519, [USE_TLS] = ALGORITHM_SPKI};
    struct scan_value v[8];
    struct hash id;
    EHIS_TRY(scan(&scan_ehis_v1_key, bytes, v, 8, why));
    uint64_t use = v[2].number, algorithm = v[3].number;
    if (use < USE_SIGN || use > USE_TLS || (use == USE_SEAL && o->pub.is_gateway) || algorithm != algorithm_of[use] ||
        (use != USE_TLS && v[4].bytes.len != 32))
        return content(why, "%.*s: a key of use %llu and algorithm %llu", SPAN_SHOW(o->pub.id), (unsigned long long)use,
                       (unsigned long long)algorithm);
    *k = (struct registry_key){.use = (enum key_use)use, .algorithm = (enum key_algorithm)algorithm, .public_key = v[4].bytes};
    if (!time_of(v[5].number, &k->not_before_ms) || !time_of(v[6].number, &k->retired_ms) || !time_of(v[7].number, &k->revoked_ms))
        return content(why, "%.*s: a key's times", SPAN_SHOW(o->pub.id));
    crypto_key_id(k->use, k->algorithm, k->public_key, &id);
    if (!span_eq(v[1].bytes, span_of(id.b, HASH_BYTES)))
        return content(why, "%.*s: a key's id is not the one of its bytes", SPAN_SHOW(o->pub.id));
    if (registry_find_key(r, id.b) != INDEX_NONE)
        return content(why, "%.*s: a key stands twice", SPAN_SHOW(o->pub.id));
    k->id = id;
    return EHIS_OK;
}

static ehis_err read_owner(struct registry *r, uint32_t leaf, struct span bytes, bool is_gateway, struct ehis_why *why)
{
    struct scan_value v[5];
    struct owner *o = &r->owners[r->owner_count];
    struct span one;
    size_t at = 0, pins = 0;
    EHIS_TRY(scan(is_gateway ? &scan_ehis_v1_gateway : &scan_ehis_v1_system, bytes, v, is_gateway ? 3 : 5, why));
    EHIS_TRY(check_id(r, v[1].bytes, is_gateway ? IDENTIFIER_GATEWAY : IDENTIFIER_SYSTEM, why));
    *o = (struct owner){.pub = {.id = v[1].bytes, .is_gateway = is_gateway, .is_disabled = !is_gateway && v[3].number}, .leaf = leaf};
    if (!is_gateway)
        o->contact = v[4].bytes;
    if (registry_find_owner(r, o->pub.id))
        return content(why, "%.*s stands twice", SPAN_SHOW(o->pub.id));
    struct registry_key *keys = owned_new(&r->owned, v[2].count, sizeof *keys);
    if (!keys)
        return EHIS_E_NO_MEMORY;
    o->pub.keys = keys;
    while (o->pub.key_count < v[2].count && scan_next(bytes, 2, &at, &one)) {
        struct registry_key *k = &keys[o->pub.key_count];
        EHIS_TRY(read_key(r, o, one, k, why));
        pins += k->use == USE_TLS && !k->retired_ms && !k->revoked_ms;
        EHIS_TRY(grow(&r->keys, &r->key_cap, r->key_count, sizeof *r->keys));
        r->keys[r->key_count] = (struct key_ref){k, o};
        index_add(&r->key_index, be_get(k->id.b, 8), (uint32_t)r->key_count++);
        o->pub.key_count++;
    }
    if (is_gateway && pins > 2)
        return content(why, "%.*s has more than two TLS keys that are not retired", SPAN_SHOW(o->pub.id));
    index_add(&r->owner_index, index_hash(o->pub.id), (uint32_t)r->owner_count++);
    return EHIS_OK;
}

static ehis_err read_agency(struct registry *r, struct span bytes, struct ehis_why *why)
{
    struct scan_value v[3];
    EHIS_TRY(scan(&scan_ehis_v1_agency, bytes, v, 3, why));
    EHIS_TRY(check_id(r, v[1].bytes, IDENTIFIER_AGENCY, why));
    if (registry_find_agency(r, v[1].bytes) != INDEX_NONE)
        return content(why, "%.*s stands twice", SPAN_SHOW(v[1].bytes));
    r->agencies[r->agency_count] = (struct agency){v[1].bytes, v[2].bytes};
    index_add(&r->agency_index, index_hash(v[1].bytes), (uint32_t)r->agency_count++);
    return EHIS_OK;
}

static ehis_err read_service(struct registry *r, uint32_t leaf, struct span bytes, struct ehis_why *why)
{
    struct scan_value v[3], f[6];
    struct service *s = &r->services[r->service_count];
    struct span one;
    size_t at = 0;
    EHIS_TRY(scan(&scan_ehis_v1_service, bytes, v, 3, why));
    EHIS_TRY(check_id(r, v[1].bytes, IDENTIFIER_SERVICE, why));
    *s = (struct service){.pub = {.id = v[1].bytes, .system = identifier_prefix(v[1].bytes, IDENTIFIER_SYSTEM)},
                          .number = (uint32_t)r->service_count,
                          .leaf = leaf,
                          .rules_leaf = LEAF_NONE};
    if (registry_find_service(r, s->pub.id))
        return content(why, "%.*s stands twice", SPAN_SHOW(s->pub.id));
    struct registry_operation *operations = owned_new(&r->owned, v[2].count, sizeof *operations);
    if (!operations)
        return EHIS_E_NO_MEMORY;
    s->pub.operations = operations;
    while (s->pub.operation_count < v[2].count && scan_next(bytes, 2, &at, &one)) {
        EHIS_TRY(scan(&scan_ehis_v1_operation, one, f, 6, why));
        EHIS_TRY(identifier_part_check(f[1].bytes, why));
        if (f[2].number != 1 && f[2].number != 2)
            return content(why, "%.*s: the kind of %.*s", SPAN_SHOW(s->pub.id), SPAN_SHOW(f[1].bytes));
        if (registry_operation(&s->pub, f[1].bytes))
            return content(why, "%.*s: operation %.*s stands twice", SPAN_SHOW(s->pub.id), SPAN_SHOW(f[1].bytes));
        operations[s->pub.operation_count++] =
            (struct registry_operation){f[1].bytes, f[2].number == 2, f[3].bytes, f[4].bytes, (uint32_t)f[5].number};
    }
    EHIS_ASSERT(s->pub.operation_count <= OPERATIONS_MAX);
    index_add(&r->service_index, index_hash(s->pub.id), (uint32_t)r->service_count++);
    return EHIS_OK;
}

static ehis_err read_terms(struct registry *r, uint32_t leaf, struct span bytes, struct ehis_why *why)
{
    struct scan_value v[3], f[4];
    struct span one;
    if (r->terms_leaf != LEAF_NONE)
        return content(why, "the terms stand twice");
    r->terms_leaf = leaf;
    EHIS_TRY(scan(&scan_ehis_v1_terms, bytes, v, 3, why));
    for (unsigned kind = 0; kind < 2; kind++) {
        unsigned field = kind ? 1 : 2;
        size_t at = 0;
        EHIS_ASSERT(v[field].count <= REGISTRY_TERM_WORDS * 64);
        r->terms[kind] = owned_new(&r->owned, v[field].count, sizeof *r->terms[kind]);
        if (!r->terms[kind] || index_init(&r->term_index[kind], v[field].count) != EHIS_OK)
            return EHIS_E_NO_MEMORY;
        while (r->term_count[kind] < v[field].count && scan_next(bytes, field, &at, &one)) {
            EHIS_TRY(scan(&scan_ehis_v1_term, one, f, 4, why));
            if (registry_is_term(r, kind, f[1].bytes))
                return content(why, "the term \"%.*s\" stands twice", SPAN_SHOW(f[1].bytes));
            index_add(&r->term_index[kind], index_hash(f[1].bytes), (uint32_t)r->term_count[kind]);
            r->terms[kind][r->term_count[kind]++] = f[1].bytes;
        }
    }
    return EHIS_OK;
}

ehis_err registry_consumer_check(struct span text, struct ehis_why *why)
{
    char whole[IDENTIFIER_MAX_BYTES + 1];
    if (text.len == 0 || text.len > IDENTIFIER_MAX_BYTES || text.p[text.len - 1] != '*')
        return identifier_check(text, IDENTIFIER_SYSTEM, why);
    memcpy(whole, text.p, text.len);
    whole[text.len - 1] = 'x'; /* what is allowed with any letter in its place */
    return identifier_check(span_of(whole, text.len), IDENTIFIER_SYSTEM, why);
}

static ehis_err read_consumers(struct registry *r, struct service *s, struct span bytes, size_t count, struct registry_rule *rule,
                               struct ehis_why *why)
{
    struct span *all = owned_new(&r->owned, count, sizeof *all), one;
    uint32_t number = (uint32_t)s->rule_count;
    size_t at = 0;
    if (!all)
        return EHIS_E_NO_MEMORY;
    rule->consumers = all;
    while (rule->consumer_count < count && scan_next(bytes, 3, &at, &one)) {
        EHIS_TRY(registry_consumer_check(one, why));
        if (!span_eq(identifier_prefix(one, 1), r->instance))
            return ehis_fail(why, EHIS_E_REGISTRY_INSTANCE, "rule %.*s: consumer %.*s", SPAN_SHOW(rule->id), SPAN_SHOW(one));
        for (size_t i = 0; i < rule->consumer_count; i++)
            if (span_eq(all[i], one))
                return content(why, "rule %.*s: consumer %.*s stands twice", SPAN_SHOW(rule->id), SPAN_SHOW(one));
        all[rule->consumer_count++] = one;
        bool is_prefix = one.p[one.len - 1] == '*';
        one.len -= is_prefix;
        if (is_prefix)
            s->lengths[one.len / 64] |= UINT64_C(1) << (one.len % 64);
        EHIS_TRY(grow(&r->entries, &r->entry_cap, r->entry_count, sizeof *r->entries));
        r->entries[r->entry_count++] = (struct entry){.consumer = one, .is_prefix = is_prefix, .service = s->number, .rule = number};
    }
    return EHIS_OK;
}

static ehis_err read_term_set(const struct registry *r, struct span bytes, bool is_purpose, struct registry_rule *rule,
                              struct ehis_why *why)
{
    struct registry_term_set *set = is_purpose ? &rule->purposes : &rule->legal_bases;
    struct span one;
    size_t at = 0, count = 0;
    while (scan_next(bytes, is_purpose ? 5 : 6, &at, &one)) {
        size_t term = registry_term(r, is_purpose, one);
        if (term == REGISTRY_TERM_NONE)
            return content(why, "rule %.*s: %s \"%.*s\" is not among the terms", SPAN_SHOW(rule->id), is_purpose ? "purpose" : "legal basis",
                           SPAN_SHOW(one));
        set->bits[term / 64] |= UINT64_C(1) << (term % 64);
        count++;
    }
    set->is_any = count == 0;
    return EHIS_OK;
}

static ehis_err read_rule(struct registry *r, struct service *s, struct span bytes, struct ehis_why *why)
{
    struct scan_value v[10];
    struct registry_rule *rule = &s->rules[s->rule_count];
    struct span one;
    size_t at = 0;
    EHIS_TRY(scan(&scan_ehis_v1_rule, bytes, v, 10, why));
    *rule = (struct registry_rule){.id = v[1].bytes, .approval = v[9].bytes, .is_forbid = v[2].number == 2};
    for (size_t i = 0; i < s->rule_count; i++)
        if (span_eq(s->rules[i].id, rule->id))
            return content(why, "rule %.*s stands twice", SPAN_SHOW(rule->id));
    if ((v[2].number != 1 && v[2].number != 2) || !time_of(v[7].number, &rule->valid_from_ms) ||
        !time_of(v[8].number, &rule->valid_until_ms) || rule->valid_from_ms >= rule->valid_until_ms)
        return content(why, "rule %.*s: its effect or the times of its validity", SPAN_SHOW(rule->id));
    while (scan_next(bytes, 4, &at, &one)) {
        const struct registry_operation *o = registry_operation(&s->pub, one);
        if (!o)
            return content(why, "rule %.*s: %.*s has no operation %.*s", SPAN_SHOW(rule->id), SPAN_SHOW(s->pub.id), SPAN_SHOW(one));
        rule->operations |= UINT64_C(1) << (o - s->pub.operations);
    }
    EHIS_TRY(read_term_set(r, bytes, true, rule, why));
    EHIS_TRY(read_term_set(r, bytes, false, rule, why));
    if (v[3].count == 0 || (!rule->is_forbid && (rule->operations == 0 || rule->purposes.is_any || rule->legal_bases.is_any)))
        return content(why, "rule %.*s must name consumers, operations, purposes and legal bases", SPAN_SHOW(rule->id));
    if (rule->operations == 0) /* a forbidding rule that names none forbids all */
        rule->operations = UINT64_MAX;
    EHIS_TRY(read_consumers(r, s, bytes, v[3].count, rule, why));
    s->rule_count++;
    return EHIS_OK;
}

static ehis_err read_rules(struct registry *r, uint32_t leaf, struct span bytes, struct ehis_why *why)
{
    struct scan_value v[3];
    struct span one;
    size_t at = 0;
    EHIS_TRY(scan(&scan_ehis_v1_rules, bytes, v, 3, why));
    const struct service *found = registry_find_service(r, v[1].bytes);
    if (!found)
        return content(why, "rules of %.*s, which is not in the document", SPAN_SHOW(v[1].bytes));
    struct service *s = &r->services[found->number];
    if (s->rules_leaf != LEAF_NONE)
        return content(why, "the rules of %.*s stand twice", SPAN_SHOW(v[1].bytes));
    s->rules_leaf = leaf;
    s->rules = owned_new(&r->owned, v[2].count, sizeof *s->rules);
    if (!s->rules)
        return EHIS_E_NO_MEMORY;
    while (s->rule_count < v[2].count && scan_next(bytes, 2, &at, &one)) {
        ehis_err err = read_rule(r, s, one, why);
        if (err != EHIS_OK)
            return ehis_fail(why, err, "%.*s: %s", SPAN_SHOW(s->pub.id), why ? why->text : "");
    }
    return EHIS_OK;
}

static ehis_err read_leaf(struct registry *r, uint32_t leaf, bool is_rules, struct ehis_why *why)
{
    struct scan_value v[7];
    EHIS_TRY(scan(&scan_ehis_v1_leaf, r->leaves[leaf], v, 7, why));
    unsigned kind = 0;
    for (unsigned i = 1; i < 7; i++) /* at most one: the scanner saw to that */
        if (v[i].is_present)
            kind = i;
    if (kind == 0)
        return content(why, "it is nothing");
    if (is_rules != (kind == LEAF_RULES))
        return EHIS_OK;
    switch ((enum leaf_kind)kind) {
    case LEAF_AGENCY: return read_agency(r, v[kind].bytes, why);
    case LEAF_SYSTEM: return read_owner(r, leaf, v[kind].bytes, false, why);
    case LEAF_GATEWAY: return read_owner(r, leaf, v[kind].bytes, true, why);
    case LEAF_SERVICE: return read_service(r, leaf, v[kind].bytes, why);
    case LEAF_TERMS: return read_terms(r, leaf, v[kind].bytes, why);
    case LEAF_RULES: return read_rules(r, leaf, v[kind].bytes, why);
    }
    return EHIS_E_INTERNAL;
}

/* In a whole document every system has its agency and every service its system. */
static ehis_err check_places(const struct registry *r, struct ehis_why *why)
{
    for (size_t i = 0; i < r->owner_count; i++) {
        const struct registry_owner *o = &r->owners[i].pub;
        if (!o->is_gateway && registry_find_agency(r, identifier_prefix(o->id, IDENTIFIER_AGENCY)) == INDEX_NONE)
            return content(why, "%.*s: its agency is not in the document", SPAN_SHOW(o->id));
    }
    for (size_t i = 0; i < r->service_count; i++)
        if (!registry_system(r, r->services[i].pub.system))
            return content(why, "%.*s: its system is not in the document", SPAN_SHOW(r->services[i].pub.id));
    return EHIS_OK;
}

static ehis_err index_entries(struct registry *r)
{
    EHIS_TRY(index_init(&r->entry_index, r->entry_count));
    for (size_t i = 0; i < r->entry_count; i++) {
        struct entry *e = &r->entries[i];
        uint32_t first = registry_find_entry(r, &r->services[e->service], e->consumer, e->is_prefix);
        if (first == INDEX_NONE) {
            e->last = (uint32_t)i;
            index_add(&r->entry_index, registry_entry_hash(e->service, e->consumer, e->is_prefix), (uint32_t)i);
        } else {
            r->entries[r->entries[first].last].next = (uint32_t)i + 1;
            r->entries[first].last = (uint32_t)i;
        }
    }
    return EHIS_OK;
}

ehis_err registry_compile(struct registry *r, struct ehis_why *why)
{
    size_t n = r->leaf_here ? r->leaf_here : 1;
    r->owners = calloc(n, sizeof *r->owners);
    r->services = calloc(n, sizeof *r->services);
    r->agencies = calloc(n, sizeof *r->agencies);
    r->terms_leaf = LEAF_NONE;
    if (!r->owners || !r->services || !r->agencies)
        return EHIS_E_NO_MEMORY;
    EHIS_TRY(index_init(&r->owner_index, n));
    EHIS_TRY(index_init(&r->service_index, n));
    EHIS_TRY(index_init(&r->agency_index, n));
    EHIS_TRY(index_init(&r->key_index, r->len / 64 + 1)); /* a key takes more bytes than that */
    for (unsigned pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < r->leaf_here; i++) {
            ehis_err err = read_leaf(r, i, pass, why);
            if (err != EHIS_OK)
                return ehis_fail(why, err, "leaf %u: %s", i, why ? why->text : "");
        }
    }
    if (r->terms_leaf == LEAF_NONE)
        return content(why, "it has no terms");
    if (!r->is_part)
        EHIS_TRY(check_places(r, why));
    return index_entries(r);
}
