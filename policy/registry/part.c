/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What one system may see (R5), cut out of the document with proofs. It depends on document, system and have_version alone, not on the
 * time, so that it can be cached. */
#include <stdlib.h>

#include "policy/registry/view_priv.h"
#include "proto/wire/codec.h"

#define PART_LEAVES_MAX 4096

static void show_owner(const struct registry *r, struct span id, uint8_t *is_shown)
{
    const struct owner *o = registry_find_owner(r, id);
    if (o)
        is_shown[o->leaf] = 1;
}

/* The systems that a rule names: looked up, or for "*" sought among all. */
static void show_consumers(const struct registry *r, const struct registry_rule *rule, uint8_t *is_shown)
{
    for (size_t i = 0; i < rule->consumer_count; i++) {
        struct span c = rule->consumers[i];
        if (c.p[c.len - 1] != '*')
            show_owner(r, c, is_shown);
        for (size_t k = 0; c.p[c.len - 1] == '*' && k < r->owner_count; k++)
            if (!r->owners[k].pub.is_gateway && registry_consumer_matches(c, r->owners[k].pub.id))
                is_shown[r->owners[k].leaf] = 1;
    }
}

static void mark(const struct registry *r, struct span system, uint8_t *is_shown)
{
    is_shown[r->terms_leaf] = 1;
    show_owner(r, system, is_shown);
    for (size_t i = 0; i < r->owner_count; i++)
        if (r->owners[i].pub.is_gateway)
            is_shown[r->owners[i].leaf] = 1;
    for (size_t i = 0; i < r->service_count; i++) {
        const struct service *s = &r->services[i];
        if (span_eq(s->pub.system, system)) {
            is_shown[s->leaf] = 1;
            if (s->rules_leaf != LEAF_NONE)
                is_shown[s->rules_leaf] = 1;
            for (size_t k = 0; k < s->rule_count; k++)
                show_consumers(r, &s->rules[k], is_shown);
            continue;
        }
        struct registry_rule_cursor c = {0};
        for (size_t k; (k = registry_rule_next(r, &s->pub, system, &c)) != SIZE_MAX;) {
            if (s->rules[k].is_forbid)
                continue;
            is_shown[s->leaf] = 1;
            show_owner(r, s->pub.system, is_shown);
            break;
        }
    }
}

static ehis_err put_leaf(const struct registry *r, uint32_t i, struct buf *out)
{
    struct hash path[20];
    size_t steps = tree_path(&r->tree, i, path);
    struct span bytes = span_of(path, steps * HASH_BYTES);
    size_t size = codec_head_bytes(2, r->leaves[i].len) + r->leaves[i].len + (steps ? codec_head_bytes(3, bytes.len) + bytes.len : 0);
    size += i ? codec_head_bytes(1, i) : 0; /* tag and number are as long as tag and length */
    EHIS_TRY(codec_put_head(out, 3, size));
    EHIS_TRY(codec_put_number(out, 1, i));
    EHIS_TRY(codec_put_bytes(out, 2, r->leaves[i]));
    return codec_put_bytes(out, 3, bytes);
}

static ehis_err put_part(const struct registry *r, const uint8_t *is_shown, uint64_t have_version, struct buf *out)
{
    EHIS_TRY(codec_put_bytes(out, 1, r->signed_statement));
    for (size_t i = 0; i < r->known_count; i++)
        if (r->known[i].version >= have_version)
            EHIS_TRY(codec_put_bytes(out, 2, r->known[i].signed_bytes)); /* nothing for what only an older view knew */
    for (uint32_t i = 0; i < r->leaf_here; i++)
        if (is_shown[i])
            EHIS_TRY(put_leaf(r, i, out));
    return EHIS_OK;
}

ehis_err registry_part(const struct registry *r, struct span system, uint64_t have_version, struct buf *out, struct ehis_why *why)
{
    size_t count = 0, before = out->len;
    EHIS_ASSERT(!r->is_part);
    if (!registry_system(r, system))
        return ehis_fail(why, EHIS_E_NOT_FOUND, "%.*s is not in the registry", SPAN_SHOW(system));
    uint8_t *is_shown = calloc(r->leaf_here + 1, 1);
    if (!is_shown)
        return EHIS_E_NO_MEMORY;
    mark(r, system, is_shown);
    for (size_t i = 0; i < r->leaf_here; i++)
        count += is_shown[i];
    ehis_err err = count > PART_LEAVES_MAX ? EHIS_E_TOO_LARGE : put_part(r, is_shown, have_version, out);
    if (err == EHIS_E_TOO_LARGE)
        ehis_fail(why, err, "%.*s may see %zu parts of the registry", SPAN_SHOW(system), count);
    if (err != EHIS_OK)
        out->len = before;
    free(is_shown);
    return err;
}
