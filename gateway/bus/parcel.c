/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/bus/parcel.h"
#include "ehis_scan.h"
#include "proto/wire/codec.h"
#include "proto/wire/identifier.h"
#include "proto/wire/statement.h"

enum { KIND = 1, GATEWAY, BOOT, TIME, ACCEPTED, VERSION, DIGEST, SENDER, SYSTEM, STREAM, NUMBER, STATE, CODE, ACK, TOKEN, HELD, TAKES_STREAMS,
       TAKES_CALLS, LEAVING, SERVICE, EVENT, GROUP, PART, PART_COUNT, BLOB_PARTITION, BLOB_OFFSET,
       FIELDS };

#define R(number, kind, member) CODEC_ROW(number, CODEC_##kind, struct parcel_head, member)
static const struct codec_member members[] = {
    R(KIND, U32, kind), R(GATEWAY, SPAN, gateway), R(BOOT, U64, boot), R(TIME, U64, time_ms), R(ACCEPTED, U64, accepted_ms),
    R(VERSION, U64, registry_version), R(DIGEST, FIXED, digest), R(SENDER, SPAN, sender), R(SYSTEM, SPAN, system), R(STREAM, SPAN, stream),
    R(NUMBER, U64, number), R(STATE, U32, state), R(CODE, U32, code), R(ACK, SPAN, ack), R(TOKEN, U64, token),
    R(TAKES_STREAMS, BOOL, takes_streams), R(TAKES_CALLS, BOOL, takes_calls), R(LEAVING, BOOL, is_leaving), R(SERVICE, SPAN, service),
    R(EVENT, SPAN, event), R(GROUP, U64, group), R(PART, U32, part), R(PART_COUNT, U32, part_count),
    R(BLOB_PARTITION, U64, blob_partition), R(BLOB_OFFSET, U64, blob_offset),
};
#define BEFORE_HELD 15
static CODEC_TABLE(head_codec, scan_ehis_v1_parcel_head, members);
static const struct codec before_held = {&scan_ehis_v1_parcel_head, members, BEFORE_HELD};
static const struct codec after_held = {&scan_ehis_v1_parcel_head, members + BEFORE_HELD, sizeof members / sizeof *members - BEFORE_HELD};

ehis_err parcel_head_write(const struct parcel_head *h, struct buf *out)
{
    if (h->held.len % HASH_BYTES != 0)
        return EHIS_E_INVALID;
    EHIS_TRY(codec_write(&before_held, h, out));
    for (size_t at = 0; at < h->held.len; at += HASH_BYTES)
        EHIS_TRY(codec_put_bytes(out, HELD, span_of(h->held.p + at, HASH_BYTES)));
    return codec_write(&after_held, h, out);
}

bool parcel_held_next(const struct parcel *p, size_t *at, struct hash *out)
{
    struct span s;
    if (!scan_next(p->head.held, HELD, at, &s))
        return false;
    memcpy(out->b, s.p, HASH_BYTES);
    return true;
}

/* What the head of each kind has beside kind, gateway, boot and time (SPEC 17.2); all else is not its business. */
#define F(field) (UINT32_C(1) << (field))
#define S(state) (UINT32_C(1) << STATE_##state)
static const struct kind_rule {
    uint32_t must, may, states;
    enum { NO_PAYLOAD, MAY_PAYLOAD, PAYLOAD } payload;
} rules[] = {
    [PARCEL_ENVELOPE] = {F(ACCEPTED) | F(VERSION), F(BLOB_PARTITION) | F(BLOB_OFFSET), 0, PAYLOAD},
    [PARCEL_SKIP] = {F(SENDER) | F(SYSTEM) | F(STREAM) | F(NUMBER) | F(STATE), F(DIGEST), S(FAILED) | S(REFUSED) | S(EXPIRED), NO_PAYLOAD},
    [PARCEL_REPORT] = {F(DIGEST) | F(SYSTEM) | F(STATE), F(CODE) | F(ACK), S(DELIVERED) | S(FAILED) | S(EXPIRED), NO_PAYLOAD},
    [PARCEL_PROBE] = {F(SYSTEM) | F(TOKEN), 0, 0, NO_PAYLOAD},
    [PARCEL_PROBED] = {F(SYSTEM) | F(TOKEN), F(HELD), 0, NO_PAYLOAD},
    [PARCEL_BEAT] = {0, F(LEAVING), 0, NO_PAYLOAD},
    [PARCEL_CLAIM] = {F(SYSTEM), F(TAKES_STREAMS) | F(TAKES_CALLS), 0, NO_PAYLOAD},
    [PARCEL_CURSOR] = {F(SYSTEM) | F(SERVICE) | F(EVENT), 0, 0, MAY_PAYLOAD},
    [PARCEL_AUDIT] = {F(GROUP) | F(PART_COUNT), F(PART), 0, PAYLOAD},
    [PARCEL_DEAD] = {F(CODE), F(DIGEST) | F(SENDER) | F(SYSTEM) | F(STREAM) | F(NUMBER), 0, MAY_PAYLOAD},
};
#define COMMON (F(KIND) | F(GATEWAY) | F(BOOT) | F(TIME))

static ehis_err check_rule(const struct parcel_head *h, uint32_t present, size_t payload_bytes, struct ehis_why *why)
{
    const struct kind_rule *rule = &rules[h->kind]; /* the scanner lets no other number through */
    const uint32_t lacks = (COMMON | rule->must) & ~present, extra = present & ~(COMMON | rule->must | rule->may);
    if (lacks || extra)
        return ehis_fail(why, EHIS_E_BUS_PARCEL, "kind %u: %s field %d", h->kind, lacks ? "lacks" : "has no", __builtin_ctz(lacks ? lacks : extra));
    if (payload_bytes ? rule->payload == NO_PAYLOAD : rule->payload == PAYLOAD)
        return ehis_fail(why, EHIS_E_BUS_PARCEL, "kind %u: a payload of %zu bytes", h->kind, payload_bytes);
    if (rule->states && !(rule->states >> h->state & 1))
        return ehis_fail(why, EHIS_E_BUS_PARCEL, "kind %u: state %s", h->kind, state_name(h->state));
    if (h->kind == PARCEL_AUDIT && h->part >= h->part_count)
        return ehis_fail(why, EHIS_E_BUS_PARCEL, "part %u of %u", h->part, h->part_count);
    return EHIS_OK;
}

static ehis_err check_names(const struct parcel_head *h, struct ehis_why *why)
{
    EHIS_TRY(identifier_check(h->gateway, IDENTIFIER_GATEWAY, why));
    if (h->sender.len)
        EHIS_TRY(identifier_check(h->sender, IDENTIFIER_SYSTEM, why));
    if (h->system.len)
        EHIS_TRY(identifier_check(h->system, IDENTIFIER_SYSTEM, why));
    if (h->service.len)
        EHIS_TRY(identifier_check(h->service, IDENTIFIER_SERVICE, why));
    return h->event.len ? identifier_part_check(h->event, why) : EHIS_OK;
}

static ehis_err read_head(struct span bytes, size_t payload_bytes, struct parcel_head *out, struct ehis_why *why)
{
    struct scan_value values[FIELDS];
    uint32_t present = 0;
    EHIS_TRY(scan(&scan_ehis_v1_parcel_head, bytes, values, FIELDS, why));
    for (unsigned i = 1; i < FIELDS; i++)
        present |= (uint32_t)values[i].is_present << i;
    EHIS_TRY(codec_read(&head_codec, bytes, sizeof *out, out, why));
    out->held = bytes;
    EHIS_TRY(check_rule(out, present, payload_bytes, why));
    return check_names(out, why);
}

static ehis_err read_signature(struct span bytes, struct leaf_signature *out, struct ehis_why *why)
{
    struct envelope_signature s;
    EHIS_TRY(envelope_signature_read(bytes, &s, why));
    out->algorithm = s.algorithm;
    memcpy(out->key_id.b, s.key_id, HASH_BYTES);
    out->size = s.size;
    out->index = s.index;
    out->path = s.path;
    out->signature = bytes.p + bytes.len - sizeof s.signature; /* canonical: its last field, of fixed length */
    return EHIS_OK;
}

ehis_err parcel_read(struct span topic, struct span bytes, struct parcel *out, struct ehis_why *why)
{
    struct scan_value values[4];
    if (bytes.len > PARCEL_MAX_BYTES)
        return ehis_fail(why, EHIS_E_BUS_TOO_LARGE, "%zu bytes", bytes.len);
    EHIS_TRY(scan(&scan_ehis_v1_parcel, bytes, values, 4, why));
    out->head_bytes = values[1].bytes;
    out->payload = values[2].bytes;
    EHIS_TRY(read_head(out->head_bytes, out->payload.len, &out->head, why));
    EHIS_TRY(read_signature(values[3].bytes, &out->signature, why));
    struct hash payload_digest;
    if (out->head.kind == PARCEL_ENVELOPE) {
        EHIS_TRY(envelope_read(out->payload, &out->envelope, why));
        hash_span(out->envelope.sealed, &out->sealed_hash);
        hash_envelope(out->envelope.header, out->envelope.sealed.len, &out->sealed_hash, &out->digest);
        payload_digest = out->digest;
    } else {
        memset(&out->digest, 0, sizeof out->digest);
        hash_span(out->payload, &payload_digest);
    }
    leaf_parcel(topic, out->head_bytes, &payload_digest, &out->leaf);
    return EHIS_OK;
}

ehis_err parcel_verify(const struct parcel *p, const uint8_t public_key[32], struct root_cache *cache)
{
    return sign_verify_leaf(&p->leaf, &p->signature, public_key, cache);
}

ehis_err parcel_parts(struct span head, const struct span *payload, size_t payload_count, const struct leaf_signature *signature, struct buf *scratch,
                      struct span parts[8], size_t *count)
{
    /* Envelope and Parcel both hold the signature as their field 3: an envelope without the rest is that field alone. */
    struct envelope e = {.signature = {.algorithm = signature->algorithm, .size = signature->size, .index = signature->index, .path = signature->path}};
    size_t bytes = 0;
    EHIS_ASSERT(payload_count <= 6);
    memcpy(e.signature.key_id, signature->key_id.b, HASH_BYTES);
    memcpy(e.signature.signature, signature->signature, sizeof e.signature.signature);
    for (size_t i = 0; i < payload_count; i++)
        if (!size_add(bytes, payload[i].len, &bytes))
            return EHIS_E_BUS_TOO_LARGE;
    buf_clear(scratch);
    EHIS_TRY(codec_put_bytes(scratch, 1, head));
    if (bytes)
        EHIS_TRY(codec_put_head(scratch, 2, bytes));
    const size_t before = scratch->len;
    EHIS_TRY(envelope_write(&e, scratch));
    if (bytes > PARCEL_MAX_BYTES || scratch->len + bytes > PARCEL_MAX_BYTES)
        return EHIS_E_BUS_TOO_LARGE;
    const struct span all = buf_span(scratch);
    *count = 0;
    parts[(*count)++] = span_of(all.p, before);
    for (size_t i = 0; bytes && i < payload_count; i++)
        parts[(*count)++] = payload[i];
    parts[(*count)++] = span_of(all.p + before, all.len - before);
    return EHIS_OK;
}
