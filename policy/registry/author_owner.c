/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The files of systems and gateways: read, and written again by tools. */
#include "base/clock.h"
#include "policy/registry/author.h"
#include "proto/wire/identifier.h"

static const struct {
    const char *name;
    enum key_use use;
    enum key_algorithm algorithm;
} uses[] = {{"sign", USE_SIGN, ALGORITHM_ED25519}, {"seal", USE_SEAL, ALGORITHM_X25519}, {"tls", USE_TLS, ALGORITHM_SPKI}};

ehis_err author_owner_add_key(struct author_owner *o, const struct registry_key *k)
{
    struct registry_owner *w = &o->owner;
    for (size_t i = 0; i < w->key_count; i++)
        if (memcmp(o->keys[i].id.b, k->id.b, HASH_BYTES) == 0)
            return EHIS_E_EXISTS;
    if (w->key_count == REGISTRY_KEYS_MAX || k->public_key.len > sizeof o->bytes[0])
        return EHIS_E_TOO_LARGE;
    size_t i = w->key_count++;
    memcpy(o->bytes[i], k->public_key.p, k->public_key.len);
    o->keys[i] = *k;
    o->keys[i].public_key.p = o->bytes[i];
    w->keys = o->keys;
    return EHIS_OK;
}

static bool read_key(struct sheet_report *r, const struct sheet *s, const struct sheet_node *n, struct author_owner *o)
{
    static const char *const names[] = {"use", "id", "public", "not_before", "retired", "revoked"};
    const struct sheet_node *v[6];
    struct registry_key k = {0};
    struct span use, id, text;
    struct hash given;
    struct buf bytes;
    size_t u = 0;
    if (!sheet_map(r, s, n, names, 6, 0xF, v) || !sheet_text(r, s, v[0], "use", 8, &use) || !sheet_text(r, s, v[1], "id", 64, &id) ||
        !sheet_text(r, s, v[2], "public", 800, &text) || !sheet_time(r, s, v[3], "not_before", &k.not_before_ms) ||
        !sheet_time(r, s, v[4], "retired", &k.retired_ms) || !sheet_time(r, s, v[5], "revoked", &k.revoked_ms))
        return false;
    while (u < 3 && !span_eq(span_str(uses[u].name), use))
        u++;
    if (u == 3 || (o->owner.is_gateway && uses[u].use == USE_SEAL)) {
        sheet_complain(r, s, v[0], "\"use\" must be sign, tls%s", o->owner.is_gateway ? "" : " or seal");
        return false;
    }
    buf_init(&bytes, sizeof o->bytes[0]);
    ehis_err err = base64_get(&bytes, text);
    k.use = uses[u].use;
    k.algorithm = uses[u].algorithm;
    k.public_key = buf_span(&bytes);
    crypto_key_id(k.use, k.algorithm, k.public_key, &k.id);
    if (err == EHIS_OK)
        err = hex_from_text(id, given.b, HASH_BYTES);
    if (err != EHIS_OK || memcmp(given.b, k.id.b, HASH_BYTES) != 0)
        sheet_complain(r, s, v[2], "the key's bytes do not give its id");
    else if ((err = author_owner_add_key(o, &k)) != EHIS_OK)
        sheet_complain(r, s, n, "%s", err == EHIS_E_EXISTS ? "the key stands here twice" : "too many keys");
    else
        err = EHIS_OK;
    buf_fini(&bytes);
    return err == EHIS_OK;
}

bool author_owner_read(struct sheet_report *r, const struct sheet *s, bool is_gateway, struct author_owner *out)
{
    static const char *const system_names[] = {"system", "keys", "contact", "disabled"}, *const gateway_names[] = {"gateway", "keys"};
    const struct sheet_node *v[4] = {0}, *n;
    struct ehis_why why = {""};
    size_t count;
    unsigned before = r->errors;
    memset(&out->owner, 0, sizeof out->owner);
    out->owner.is_gateway = is_gateway;
    out->owner.keys = out->keys;
    out->contact = (struct span){0};
    if (!sheet_map(r, s, s->root, is_gateway ? gateway_names : system_names, is_gateway ? 2 : 4, 3, v) ||
        !sheet_text(r, s, v[0], is_gateway ? "gateway" : "system", IDENTIFIER_MAX_BYTES, &out->owner.id) ||
        !sheet_text(r, s, v[2], "contact", 200, &out->contact) || !sheet_list(r, s, v[1], "keys", REGISTRY_KEYS_MAX, &n, &count))
        return false;
    if (identifier_check(out->owner.id, is_gateway ? IDENTIFIER_GATEWAY : IDENTIFIER_SYSTEM, &why) != EHIS_OK)
        sheet_complain(r, s, v[0], "%s", why.text);
    (void)sheet_either(r, s, v[3], "disabled", "false", "true", &out->owner.is_disabled);
    for (; count > 0; count--, n = n->next)
        (void)read_key(r, s, n, out);
    return r->errors == before;
}

static ehis_err put_time(struct buf *out, const char *name, int64_t ms)
{
    char text[TIME_TEXT_LEN];
    if (!ms)
        return EHIS_OK;
    time_to_text(ms, text);
    return buf_printf(out, "  %s: %s\n", name, text);
}

/* Text that people wrote, as a quoted YAML scalar. */
static ehis_err put_quoted(struct buf *out, struct span s)
{
    EHIS_TRY(buf_put_u8(out, '"'));
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < 0x20 || s.p[i] == 0x7f) {
            EHIS_TRY(buf_printf(out, "\\x%02X", s.p[i]));
            continue;
        }
        if (s.p[i] == '"' || s.p[i] == '\\')
            EHIS_TRY(buf_put_u8(out, '\\'));
        EHIS_TRY(buf_put_u8(out, s.p[i]));
    }
    return buf_printf(out, "\"\n");
}

ehis_err author_owner_write(const struct author_owner *o, struct buf *out)
{
    const struct registry_owner *w = &o->owner;
    char id[2 * HASH_BYTES + 1];
    EHIS_TRY(buf_printf(out, "# Written by ehis-registry; keys change by: ehis-registry add, key\n%s: %.*s\n",
                        w->is_gateway ? "gateway" : "system", SPAN_SHOW(w->id)));
    if (o->contact.len) {
        EHIS_TRY(buf_printf(out, "contact: "));
        EHIS_TRY(put_quoted(out, o->contact));
    }
    if (w->is_disabled)
        EHIS_TRY(buf_printf(out, "disabled: true\n"));
    EHIS_TRY(buf_printf(out, "keys:%s\n", w->key_count ? "" : " []"));
    for (size_t i = 0; i < w->key_count; i++) {
        const struct registry_key *k = &o->keys[i];
        hex_to_text(k->id.b, HASH_BYTES, id);
        EHIS_TRY(buf_printf(out, "- use: %s\n  id: %s\n  public: ", uses[k->use - USE_SIGN].name, id));
        EHIS_TRY(base64_put(out, k->public_key));
        EHIS_TRY(buf_printf(out, "\n"));
        EHIS_TRY(put_time(out, "not_before", k->not_before_ms));
        EHIS_TRY(put_time(out, "retired", k->retired_ms));
        EHIS_TRY(put_time(out, "revoked", k->revoked_ms));
    }
    return EHIS_OK;
}
