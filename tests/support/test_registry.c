/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "tests/support/test_registry.h"

#include <stdlib.h>

#include "policy/registry/draft.h"
#include "proto/wire/identifier.h"
#include "tests/support/sim_clock.h"

#define MUST(expr) EHIS_ASSERT((expr) == EHIS_OK)
#define LIST_MAX 64
#define YEAR_MS (INT64_C(365) * 86400000)
#define HOUR_MS INT64_C(3600000)

struct one_owner {
    struct test_owner pub; /* first */
    struct registry_key keys[REGISTRY_KEYS_MAX];
    uint8_t bytes[REGISTRY_KEYS_MAX][600];
    size_t key_count;
    bool is_disabled;
    struct one_owner *next;
};
struct one_rule {
    char *id, *consumers, *operations, *purposes, *legal_bases;
    bool is_forbid;
    int64_t from_ms, until_ms;
    struct one_rule *next;
};
struct one_service {
    char *id, *operations;
    struct one_rule *rules;
    struct one_service *next;
};
struct one_agency {
    char id[201];
    struct one_agency *next;
};

struct test_registry {
    uint64_t random;
    int64_t now_ms;
    struct registry_validity validity;
    uint8_t operator_public[1][32];
    struct sign_key *operator_key, *retired_keys[64];
    struct seal_key *retired_seals[64];
    size_t retired_count, retired_seal_count;
    struct registry_trust trust;
    struct one_owner *owners;
    struct one_service *services;
    struct one_agency *agencies;
    struct registry *last;
    struct buf document;
};

static void seed_of(struct test_registry *t, uint8_t seed[32])
{
    for (unsigned i = 0; i < 32; i += 8)
        be_put(seed + i, sim_random_next(&t->random), 8);
}

static char *copy_of(const char *s)
{
    char *c = strdup(s ? s : "");
    EHIS_ASSERT(c);
    return c;
}

struct test_registry *test_registry_new(uint64_t seed, int64_t now_ms)
{
    uint8_t key[32];
    struct test_registry *t = calloc(1, sizeof *t);
    EHIS_ASSERT(t);
    MUST(crypto_init(NULL));
    t->random = seed;
    t->now_ms = now_ms;
    seed_of(t, key);
    MUST(sign_key_new(key, USE_OPERATOR, &t->operator_key));
    memcpy(t->operator_public[0], sign_key_public(t->operator_key), 32);
    t->trust = (struct registry_trust){(const uint8_t(*)[32])t->operator_public, 1, span_str("AZ")};
    t->validity = (struct registry_validity){span_str("AZ"), now_ms - HOUR_MS, now_ms + 30 * 24 * HOUR_MS, 72 * (uint64_t)HOUR_MS, 0};
    buf_init(&t->document, REGISTRY_DOCUMENT_MAX_BYTES);
    return t;
}

static void free_rules(struct one_rule *rules)
{
    for (struct one_rule *u = rules, *next; u; u = next) {
        next = u->next;
        char *texts[] = {u->id, u->consumers, u->operations, u->purposes, u->legal_bases};
        for (size_t i = 0; i < 5; i++)
            free(texts[i]);
        free(u);
    }
}

void test_registry_free(struct test_registry *t)
{
    if (!t)
        return;
    for (struct one_owner *o = t->owners, *next; o; o = next) {
        next = o->next;
        sign_key_free(o->pub.sign);
        seal_key_free(o->pub.seal);
        free(o);
    }
    for (struct one_service *s = t->services, *next; s; s = next) {
        next = s->next;
        free_rules(s->rules);
        free(s->id);
        free(s->operations);
        free(s);
    }
    for (struct one_agency *a = t->agencies, *next; a; a = next) {
        next = a->next;
        free(a);
    }
    for (size_t i = 0; i < t->retired_count; i++)
        sign_key_free(t->retired_keys[i]);
    for (size_t i = 0; i < t->retired_seal_count; i++)
        seal_key_free(t->retired_seals[i]);
    sign_key_free(t->operator_key);
    registry_unref(t->last);
    buf_fini(&t->document);
    free(t);
}

static struct one_owner *find_owner(struct test_registry *t, const char *id)
{
    struct one_owner *o = t->owners;
    while (o && strcmp(o->pub.id, id) != 0)
        o = o->next;
    EHIS_ASSERT(o);
    return o;
}
const struct test_owner *test_registry_owner(struct test_registry *t, const char *id) { return &find_owner(t, id)->pub; }

static void put_key(struct one_owner *o, enum key_use use, enum key_algorithm algorithm, struct span public_key, int64_t not_before_ms)
{
    EHIS_ASSERT(o->key_count < REGISTRY_KEYS_MAX && public_key.len <= sizeof o->bytes[0]);
    struct registry_key *k = &o->keys[o->key_count];
    memcpy(o->bytes[o->key_count], public_key.p, public_key.len);
    *k = (struct registry_key){
        .use = use, .algorithm = algorithm, .public_key = {o->bytes[o->key_count], public_key.len}, .not_before_ms = not_before_ms};
    crypto_key_id(use, algorithm, public_key, &k->id);
    o->key_count++;
}

void test_registry_new_key(struct test_registry *t, const char *owner, enum key_use use, int64_t not_before_ms)
{
    struct one_owner *o = find_owner(t, owner);
    uint8_t seed[32];
    EHIS_ASSERT(use == USE_SIGN || use == USE_SEAL);
    seed_of(t, seed);
    if (use == USE_SIGN) {
        if (o->pub.sign) {
            EHIS_ASSERT(t->retired_count < 64);
            t->retired_keys[t->retired_count++] = o->pub.sign;
        }
        MUST(sign_key_new(seed, USE_SIGN, &o->pub.sign));
        put_key(o, USE_SIGN, ALGORITHM_ED25519, span_of(sign_key_public(o->pub.sign), 32), not_before_ms);
        return;
    }
    if (o->pub.seal) {
        EHIS_ASSERT(t->retired_seal_count < 64);
        t->retired_seals[t->retired_seal_count++] = o->pub.seal;
    }
    MUST(seal_key_new(seed, &o->pub.seal));
    put_key(o, USE_SEAL, ALGORITHM_X25519, span_of(seal_key_public(o->pub.seal), 32), not_before_ms);
}

void test_registry_pin(struct test_registry *t, const char *owner, struct span tls_spki)
{
    put_key(find_owner(t, owner), USE_TLS, ALGORITHM_SPKI, tls_spki, t->now_ms - YEAR_MS);
}

static void add_agency(struct test_registry *t, struct span id)
{
    struct one_agency **at = &t->agencies;
    for (; *at; at = &(*at)->next)
        if (span_eq(span_str((*at)->id), id))
            return;
    *at = calloc(1, sizeof **at);
    EHIS_ASSERT(*at && id.len <= 200);
    memcpy((*at)->id, id.p, id.len);
}

static const struct test_owner *add_owner(struct test_registry *t, const char *id, bool is_gateway, struct span tls_spki)
{
    struct one_owner **at = &t->owners, *o = calloc(1, sizeof *o);
    EHIS_ASSERT(o && strlen(id) <= 200);
    while (*at)
        at = &(*at)->next;
    *at = o;
    memcpy(o->pub.id, id, strlen(id) + 1);
    o->pub.is_gateway = is_gateway;
    test_registry_new_key(t, id, USE_SIGN, t->now_ms - YEAR_MS);
    if (!is_gateway) {
        test_registry_new_key(t, id, USE_SEAL, t->now_ms - YEAR_MS);
        add_agency(t, identifier_prefix(span_str(id), IDENTIFIER_AGENCY));
    }
    if (tls_spki.len)
        test_registry_pin(t, id, tls_spki);
    return &o->pub;
}
const struct test_owner *test_registry_system(struct test_registry *t, const char *id, struct span spki)
{
    return add_owner(t, id, false, spki);
}
const struct test_owner *test_registry_gateway(struct test_registry *t, const char *id, struct span spki)
{
    return add_owner(t, id, true, spki);
}

static struct registry_key *newest(struct test_registry *t, const char *owner, enum key_use use)
{
    struct one_owner *o = find_owner(t, owner);
    for (size_t i = o->key_count; i-- > 0;)
        if (o->keys[i].use == use)
            return &o->keys[i];
    ehis_assert_failed("no such key", __FILE__, __LINE__);
}
void test_registry_retire(struct test_registry *t, const char *owner, enum key_use use, int64_t at_ms)
{
    newest(t, owner, use)->retired_ms = at_ms;
}
void test_registry_revoke(struct test_registry *t, const char *owner, enum key_use use, int64_t at_ms)
{
    newest(t, owner, use)->revoked_ms = at_ms;
}
void test_registry_disable(struct test_registry *t, const char *system, bool is_disabled)
{
    find_owner(t, system)->is_disabled = is_disabled;
}

void test_registry_validity(struct test_registry *t, int64_t not_before_ms, int64_t not_after_ms, uint64_t grace_ms)
{
    t->validity = (struct registry_validity){span_str("AZ"), not_before_ms, not_after_ms, grace_ms, 0};
}

void test_registry_service(struct test_registry *t, const char *id, const char *operations)
{
    struct one_service **at = &t->services;
    while (*at)
        at = &(*at)->next;
    *at = calloc(1, sizeof **at);
    EHIS_ASSERT(*at);
    (*at)->id = copy_of(id);
    (*at)->operations = copy_of(operations);
}

static struct one_service *find_service(struct test_registry *t, const char *id)
{
    struct one_service *s = t->services;
    while (s && strcmp(s->id, id) != 0)
        s = s->next;
    EHIS_ASSERT(s);
    return s;
}

void test_registry_rule(struct test_registry *t, const char *service, const struct test_rule *rule)
{
    struct one_rule **at = &find_service(t, service)->rules, *u = calloc(1, sizeof *u);
    EHIS_ASSERT(u);
    while (*at)
        at = &(*at)->next;
    *at = u;
    u->id = copy_of(rule->id);
    u->consumers = copy_of(rule->consumers);
    u->operations = copy_of(rule->operations);
    u->purposes = copy_of(rule->purposes);
    u->legal_bases = copy_of(rule->legal_bases);
    u->is_forbid = rule->is_forbid;
    u->from_ms = rule->valid_from_ms ? rule->valid_from_ms : t->now_ms - YEAR_MS;
    u->until_ms = rule->valid_until_ms ? rule->valid_until_ms : t->now_ms + YEAR_MS;
}

void test_registry_drop_rules(struct test_registry *t, const char *service)
{
    struct one_service *s = find_service(t, service);
    free_rules(s->rules);
    s->rules = NULL;
}

/* The parts of "a|b|c". */
static size_t split(const char *text, struct span *out, size_t max)
{
    size_t n = 0;
    while (*text) {
        const char *bar = strchr(text, '|');
        EHIS_ASSERT(n < max);
        out[n++] = span_of(text, bar ? (size_t)(bar - text) : strlen(text));
        text = bar ? bar + 1 : text + strlen(text);
    }
    return n;
}

static void add_terms(struct registry_term_text *terms, size_t *count, const char *texts)
{
    struct span parts[LIST_MAX];
    size_t n = split(texts, parts, LIST_MAX);
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        while (k < *count && !span_eq(terms[k].code, parts[i]))
            k++;
        EHIS_ASSERT(k < 512);
        terms[k] = (struct registry_term_text){.code = parts[i]};
        *count += k == *count;
    }
}

static void draft_terms(struct test_registry *t, struct registry_draft *d)
{
    struct registry_term_text *terms = calloc(1024, sizeof *terms);
    size_t purposes = 0, legal_bases = 0;
    EHIS_ASSERT(terms);
    for (struct one_service *s = t->services; s; s = s->next) {
        for (struct one_rule *u = s->rules; u; u = u->next) {
            add_terms(terms, &purposes, u->purposes);
            add_terms(terms + 512, &legal_bases, u->legal_bases);
        }
    }
    MUST(registry_draft_terms(d, terms, purposes, terms + 512, legal_bases));
    free(terms);
}

static void draft_service(struct registry_draft *d, const struct one_service *s)
{
    struct span names[LIST_MAX];
    struct registry_operation operations[LIST_MAX];
    struct registry_service service = {
        .id = span_str(s->id), .operations = operations, .operation_count = split(s->operations, names, LIST_MAX)};
    for (size_t i = 0; i < service.operation_count; i++) {
        bool is_event = names[i].p[0] == '!', is_answered = names[i].p[0] == '?', is_marked = is_event || is_answered;
        operations[i] = (struct registry_operation){.name = {names[i].p + is_marked, names[i].len - is_marked}, .is_event = is_event};
        if (is_answered)
            operations[i].response_schema = span_str("test.Answer");
    }
    MUST(registry_draft_service(d, &service));
    size_t count = 0;
    for (struct one_rule *u = s->rules; u; u = u->next)
        count++;
    struct registry_rule_text *texts = calloc(count + 1, sizeof *texts);
    struct span *lists = calloc(count + 1, 4 * LIST_MAX * sizeof *lists);
    EHIS_ASSERT(texts && lists);
    count = 0;
    for (struct one_rule *u = s->rules; u; u = u->next, count++) {
        struct span *l = lists + count * 4 * LIST_MAX;
        texts[count] = (struct registry_rule_text){.id = span_str(u->id),
                                                   .approval = span_str("Protokol 14/2026"),
                                                   .is_forbid = u->is_forbid,
                                                   .consumers = l,
                                                   .consumer_count = split(u->consumers, l, LIST_MAX),
                                                   .operations = l + LIST_MAX,
                                                   .operation_count = split(u->operations, l + LIST_MAX, LIST_MAX),
                                                   .purposes = l + 2 * LIST_MAX,
                                                   .purpose_count = split(u->purposes, l + 2 * LIST_MAX, LIST_MAX),
                                                   .legal_bases = l + 3 * LIST_MAX,
                                                   .legal_basis_count = split(u->legal_bases, l + 3 * LIST_MAX, LIST_MAX),
                                                   .valid_from_ms = u->from_ms,
                                                   .valid_until_ms = u->until_ms};
    }
    MUST(registry_draft_rules(d, span_str(s->id), texts, count));
    free(texts);
    free(lists);
}

struct registry *test_registry_publish(struct test_registry *t)
{
    struct registry_draft *d = NULL;
    struct registry *view = NULL;
    struct buf unsigned_document;
    struct ehis_why why = {""};
    buf_init(&unsigned_document, REGISTRY_DOCUMENT_MAX_BYTES);
    MUST(registry_draft_new(&d));
    draft_terms(t, d);
    for (struct one_agency *a = t->agencies; a; a = a->next)
        MUST(registry_draft_agency(d, span_str(a->id), span_str(a->id)));
    for (struct one_owner *o = t->owners; o; o = o->next) {
        struct registry_owner owner = {span_str(o->pub.id), o->pub.is_gateway, o->is_disabled, o->keys, o->key_count};
        MUST(registry_draft_owner(d, &owner, span_str("")));
    }
    for (struct one_service *s = t->services; s; s = s->next)
        draft_service(d, s);
    MUST(registry_build(d, &t->validity, t->last, &unsigned_document, &why));
    buf_clear(&t->document);
    MUST(registry_sign(buf_span(&unsigned_document), t->operator_key, &t->document, &why));
    /* Read at a time when it is valid, whatever validity a test asked for. */
    MUST(registry_from_document(buf_span(&t->document), &t->trust, t->last, t->validity.not_before_ms, &view, &why));
    registry_unref(t->last);
    t->last = registry_ref(view);
    registry_draft_free(d);
    buf_fini(&unsigned_document);
    return view;
}

struct registry *test_registry_part(struct test_registry *t, const char *system)
{
    struct registry *part = NULL;
    struct ehis_why why = {""};
    struct buf b;
    EHIS_ASSERT(t->last);
    buf_init(&b, REGISTRY_DOCUMENT_MAX_BYTES);
    MUST(registry_part(t->last, span_str(system), 0, &b, &why));
    MUST(registry_from_part(buf_span(&b), &t->trust, NULL, t->validity.not_before_ms, &part, &why));
    buf_fini(&b);
    return part;
}

struct span test_registry_bytes(const struct test_registry *t) { return buf_span(&t->document); }
const struct registry_trust *test_registry_trust(const struct test_registry *t) { return &t->trust; }
const struct sign_key *test_registry_operator(const struct test_registry *t) { return t->operator_key; }
