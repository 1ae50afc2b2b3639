/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/wire/envelope.h"
#include "ehis_scan.h"
#include "proto/wire/codec.h"
#include "proto/wire/identifier.h"

#define MINUTE_MS 60000ull
#define DAY_MS (24 * 60 * MINUTE_MS)
#define WAITING_LIFETIME_MS (5 * MINUTE_MS)
#define STREAM_LIFETIME_MS (14 * DAY_MS)
#define KEY_LIFETIME_MS (14 * DAY_MS + 60 * MINUTE_MS) /* as long as events of its epoch can live */

typedef struct envelope_header header;
typedef struct envelope_seal seal;
_Static_assert(sizeof(enum envelope_kind) == sizeof(uint32_t) && sizeof(enum envelope_status) == sizeof(uint32_t), "enums are read as CODEC_U32");

static const struct codec_member seal_members[] = {
    CODEC_ROW(1, CODEC_SPAN, seal, recipient_key_id),
    CODEC_ROW(2, CODEC_SPAN, seal, ephemeral),
    CODEC_ROW(3, CODEC_SPAN, seal, commitment),
    CODEC_ROW(4, CODEC_SPAN, seal, epoch),
};
static CODEC_TABLE(seal_codec, scan_ehis_v1_seal, seal_members);

typedef struct envelope_large large;
static const struct codec_member large_members[] = {CODEC_ROW(1, CODEC_U64, large, bytes), CODEC_ROW(2, CODEC_SPAN, large, root)};
static CODEC_TABLE(large_codec, scan_ehis_v1_large, large_members);

static const struct codec_member members[] = {
    CODEC_ROW(1, CODEC_FIXED, header, exchange_id),
    CODEC_ROW(2, CODEC_U32, header, kind),
    CODEC_ROW(3, CODEC_U32, header, status),
    CODEC_ROW(4, CODEC_SPAN, header, sender),
    CODEC_ROW(5, CODEC_SPAN, header, recipient),
    CODEC_ROW(6, CODEC_SPAN, header, operation),
    CODEC_ROW(7, CODEC_SPAN, header, in_reply_to),
    CODEC_ROW(8, CODEC_SPAN, header, stream),
    CODEC_ROW(9, CODEC_U64, header, number),
    CODEC_ROW(10, CODEC_U64, header, created_ms),
    CODEC_ROW(11, CODEC_U64, header, expires_ms),
    CODEC_ROW(12, CODEC_U32, header, max_response_bytes),
    CODEC_ROW(13, CODEC_SPAN, header, purpose),
    CODEC_ROW(14, CODEC_SPAN, header, legal_basis),
    CODEC_ROW(15, CODEC_SPAN, header, case_ref),
    CODEC_ROW(16, CODEC_SPAN, header, official),
    CODEC_ROW(17, CODEC_SPAN, header, on_behalf_of),
    CODEC_ROW_SPANS(18, header, subjects, subject_count),
    CODEC_ROW_SPANS(19, header, fields, field_count),
    CODEC_ROW(20, CODEC_SPAN, header, schema),
    CODEC_ROW(21, CODEC_SPAN, header, content_type),
    CODEC_ROW_NESTED(22, header, seal, &seal_codec),
    CODEC_ROW(23, CODEC_U64, header, registry_version),
    CODEC_ROW(24, CODEC_SPAN, header, registry_hash),
    CODEC_ROW(25, CODEC_SPAN, header, trace_id),
    CODEC_ROW_NESTED(26, header, large, &large_codec),
};
static CODEC_TABLE(header_codec, scan_ehis_v1_header, members);

/* SPEC 4.3: what each kind must have and must lack, as bits of these. */
enum {
    HAS_STATUS = 1 << 0, HAS_REPLY_TO = 1 << 1, HAS_STREAM = 1 << 2, HAS_MAX_RESPONSE = 1 << 3, HAS_PURPOSE = 1 << 4, HAS_BASIS = 1 << 5,
    HAS_CASE = 1 << 6, HAS_OFFICIAL = 1 << 7, HAS_BEHALF = 1 << 8, HAS_SUBJECTS = 1 << 9, HAS_FIELDS = 1 << 10, HAS_SEAL_KEY = 1 << 11,
    HAS_EPHEMERAL = 1 << 12, HAS_COMMITMENT = 1 << 13, HAS_EPOCH = 1 << 14, HAS_SCHEMA = 1 << 15, HAS_CONTENT_TYPE = 1 << 16, HAS_LARGE = 1 << 17,
};
static const char *const has_names[] = {"status", "in_reply_to", "stream", "max_response_bytes", "purpose", "legal_basis", "case_ref", "official",
                                        "on_behalf_of", "subject_tokens", "fields", "seal.recipient_key_id", "seal.ephemeral", "seal.commitment",
                                        "seal.epoch", "schema", "content_type", "large"};
static const struct {
    unsigned must, may;
    enum identifier_parts recipient;
} kinds[] = {
    [KIND_REQUEST] = {HAS_PURPOSE | HAS_BASIS | HAS_SEAL_KEY | HAS_EPHEMERAL | HAS_COMMITMENT,
                      HAS_STREAM | HAS_MAX_RESPONSE | HAS_CASE | HAS_OFFICIAL | HAS_BEHALF | HAS_SUBJECTS | HAS_SCHEMA | HAS_CONTENT_TYPE | HAS_LARGE,
                      IDENTIFIER_SERVICE},
    [KIND_RESPONSE] = {HAS_STATUS | HAS_REPLY_TO | HAS_SEAL_KEY | HAS_EPHEMERAL | HAS_COMMITMENT,
                       HAS_STREAM | HAS_FIELDS | HAS_SCHEMA | HAS_CONTENT_TYPE | HAS_LARGE, IDENTIFIER_SYSTEM},
    [KIND_EVENT] = {HAS_STREAM | HAS_COMMITMENT | HAS_EPOCH,
                    HAS_PURPOSE | HAS_BASIS | HAS_CASE | HAS_OFFICIAL | HAS_SUBJECTS | HAS_FIELDS | HAS_SCHEMA | HAS_CONTENT_TYPE, IDENTIFIER_SERVICE},
    [KIND_KEY] = {HAS_EPOCH, 0, IDENTIFIER_SERVICE},
};

static unsigned has(const header *h)
{
    const bool bits[] = {h->status != 0, h->in_reply_to.len > 0, h->stream.len > 0, h->max_response_bytes > 0, h->purpose.len > 0,
                         h->legal_basis.len > 0, h->case_ref.len > 0, h->official.len > 0, h->on_behalf_of.len > 0, h->subject_count > 0,
                         h->field_count > 0, h->seal.recipient_key_id.len > 0, h->seal.ephemeral.len > 0, h->seal.commitment.len > 0,
                         h->seal.epoch.len > 0, h->schema.len > 0, h->content_type.len > 0, h->large.root.len > 0};
    unsigned out = 0;
    for (unsigned i = 0; i < sizeof bits; i++)
        out |= (unsigned)bits[i] << i;
    return out;
}

static ehis_err check_fields(const header *h, struct ehis_why *why)
{
    unsigned present = has(h), must = kinds[h->kind].must, may = kinds[h->kind].may;
    bool fits = !(must & ~present) && !(present & ~(must | may));
    for (unsigned i = 0; !fits && i < sizeof has_names / sizeof *has_names; i++) {
        if (must >> i & ~present >> i & 1)
            return ehis_fail(why, EHIS_E_HEADER_FIELDS, "%s is missing", has_names[i]);
        if (present >> i & ~(must | may) >> i & 1)
            return ehis_fail(why, EHIS_E_HEADER_FIELDS, "%s has no place in this kind", has_names[i]);
    }
    if ((h->stream.len > 0) != (h->number > 0))
        return ehis_fail(why, EHIS_E_HEADER_FIELDS, "stream and number go together");
    if (h->exchange_id[6] >> 4 != 7 || h->exchange_id[8] >> 6 != 2)
        return ehis_fail(why, EHIS_E_HEADER_FIELDS, "exchange_id is not a UUIDv7");
    if (h->large.bytes > ENVELOPE_LARGE_MAX_BYTES)
        return ehis_fail(why, EHIS_E_HEADER_FIELDS, "a large body of over 1 GiB");
    return EHIS_OK;
}

static ehis_err check_names(const header *h, struct ehis_why *why)
{
    EHIS_TRY(identifier_check(h->sender, IDENTIFIER_SYSTEM, why));
    EHIS_TRY(identifier_check(h->recipient, kinds[h->kind].recipient, why));
    EHIS_TRY(identifier_part_check(h->operation, why));
    if (h->on_behalf_of.len > 0) {
        unsigned parts;
        EHIS_TRY(identifier_parse(h->on_behalf_of, &parts, why));
        if (parts != IDENTIFIER_AGENCY && parts != IDENTIFIER_SYSTEM)
            return ehis_fail(why, EHIS_E_HEADER_FIELDS, "on_behalf_of is neither an agency nor a system");
    }
    if (h->kind >= KIND_EVENT && !span_eq(identifier_prefix(h->recipient, IDENTIFIER_SYSTEM), h->sender))
        return ehis_fail(why, EHIS_E_HEADER_FIELDS, "an event names a service that is not its sender's");
    return EHIS_OK;
}

static ehis_err check_lifetime(const header *h, struct ehis_why *why)
{
    uint64_t most = envelope_is_waiting(h) ? WAITING_LIFETIME_MS : h->kind == KIND_KEY ? KEY_LIFETIME_MS : STREAM_LIFETIME_MS;
    if (h->created_ms > INT64_MAX / 2 || h->expires_ms <= h->created_ms || h->expires_ms - h->created_ms > most)
        return ehis_fail(why, EHIS_E_HEADER_LIFETIME, "created %llu, expires %llu, at most %llu ms apart", (unsigned long long)h->created_ms,
                         (unsigned long long)h->expires_ms, (unsigned long long)most);
    return EHIS_OK;
}

ehis_err envelope_header_read(struct span bytes, struct envelope_header *out, struct ehis_why *why)
{
    if (bytes.len > ENVELOPE_HEADER_MAX_BYTES)
        return ehis_fail(why, EHIS_E_HEADER_TOO_LARGE, "%zu bytes", bytes.len);
    EHIS_TRY(codec_read(&header_codec, bytes, sizeof *out, out, why));
    EHIS_TRY(check_fields(out, why));
    EHIS_TRY(check_names(out, why));
    return check_lifetime(out, why);
}

ehis_err envelope_header_write(const struct envelope_header *h, struct buf *out)
{
    size_t before = out->len;
    EHIS_TRY(codec_write(&header_codec, h, out));
    return out->len - before > ENVELOPE_HEADER_MAX_BYTES ? EHIS_E_HEADER_TOO_LARGE : EHIS_OK;
}
