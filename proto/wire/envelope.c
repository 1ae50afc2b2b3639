/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/wire/envelope.h"
#include "ehis_scan.h"
#include "proto/wire/codec.h"

static const struct codec_member signature_members[] = {
    CODEC_ROW(1, CODEC_U32, struct envelope_signature, algorithm), CODEC_ROW(2, CODEC_FIXED, struct envelope_signature, key_id),
    CODEC_ROW(3, CODEC_U32, struct envelope_signature, size),      CODEC_ROW(4, CODEC_U32, struct envelope_signature, index),
    CODEC_ROW(5, CODEC_SPAN, struct envelope_signature, path),     CODEC_ROW(6, CODEC_FIXED, struct envelope_signature, signature),
};
static CODEC_TABLE(signature_codec, scan_ehis_v1_signature, signature_members);

ehis_err envelope_signature_read(struct span bytes, struct envelope_signature *out, struct ehis_why *why)
{
    EHIS_TRY(codec_read(&signature_codec, bytes, sizeof *out, out, why));
    if (out->size > BATCH_MAX_LEAVES || out->index >= out->size || out->path.len % 32 != 0)
        return ehis_fail(why, EHIS_E_SIGNATURE_PATH, "leaf %u of %u with a path of %zu bytes", out->index, out->size, out->path.len);
    return EHIS_OK;
}

ehis_err envelope_signature_write(const struct envelope_signature *s, struct buf *out) { return codec_write(&signature_codec, s, out); }

static const struct codec_member envelope_members[] = {
    CODEC_ROW(1, CODEC_SPAN, struct envelope, header),
    CODEC_ROW(2, CODEC_SPAN, struct envelope, sealed),
    CODEC_ROW(3, CODEC_SPAN, struct envelope, signature_bytes),
};
static CODEC_TABLE(envelope_codec, scan_ehis_v1_envelope, envelope_members);

ehis_err envelope_read(struct span bytes, struct envelope *out, struct ehis_why *why)
{
    EHIS_TRY(codec_read(&envelope_codec, bytes, sizeof *out, out, why));
    return envelope_signature_read(out->signature_bytes, &out->signature, why);
}

size_t envelope_bytes(const struct envelope *e)
{
    size_t n = codec_bytes(&signature_codec, &e->signature);
    return codec_head_bytes(1, e->header.len) + e->header.len + codec_head_bytes(2, e->sealed.len) + e->sealed.len + codec_head_bytes(3, n) + n;
}

ehis_err envelope_parts(struct span header, struct span sealed, struct span signature_bytes, struct buf *b, struct span parts[3])
{
    buf_clear(b);
    EHIS_TRY(codec_put_bytes(b, 1, header));
    EHIS_TRY(codec_put_head(b, 2, sealed.len));
    size_t first = b->len;
    EHIS_TRY(codec_put_bytes(b, 3, signature_bytes));
    struct span all = buf_span(b);
    parts[0] = span_of(all.p, first);
    parts[1] = sealed;
    parts[2] = span_of(all.p + first, all.len - first);
    return EHIS_OK;
}

ehis_err envelope_write(const struct envelope *e, struct buf *out)
{
    EHIS_TRY(codec_put_bytes(out, 1, e->header));
    EHIS_TRY(codec_put_bytes(out, 2, e->sealed));
    EHIS_TRY(codec_put_head(out, 3, codec_bytes(&signature_codec, &e->signature)));
    return envelope_signature_write(&e->signature, out);
}
