/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/wire/statement.h"
#include "ehis_scan.h"
#include "proto/wire/codec.h"
#include "proto/wire/frame.h"

#define PAIR(name) \
    static CODEC_TABLE(name##_codec, scan_ehis_v1_##name, name##_members); \
    ehis_err name##_read(struct span bytes, struct name *out, struct ehis_why *why) { return codec_read(&name##_codec, bytes, sizeof *out, out, why); } \
    ehis_err name##_write(const struct name *in, struct buf *out) { return codec_write(&name##_codec, in, out); }

static const struct codec_member acknowledgement_members[] = {
    CODEC_ROW(1, CODEC_FIXED, struct acknowledgement, digest), CODEC_ROW(2, CODEC_U32, struct acknowledgement, outcome),
    CODEC_ROW(3, CODEC_U32, struct acknowledgement, code),     CODEC_ROW(4, CODEC_U64, struct acknowledgement, time_ms),
    CODEC_ROW(5, CODEC_SPAN, struct acknowledgement, signature),
};
PAIR(acknowledgement)

static const struct codec_member receipt_members[] = {
    CODEC_ROW(1, CODEC_FIXED, struct receipt, digest),   CODEC_ROW(2, CODEC_SPAN, struct receipt, sender),
    CODEC_ROW(3, CODEC_SPAN, struct receipt, recipient), CODEC_ROW(4, CODEC_U32, struct receipt, state),
    CODEC_ROW(5, CODEC_U32, struct receipt, code),       CODEC_ROW(6, CODEC_U64, struct receipt, time_ms),
    CODEC_ROW(7, CODEC_SPAN, struct receipt, gateway),   CODEC_ROW(8, CODEC_U32, struct receipt, index),
    CODEC_ROW(9, CODEC_SPAN, struct receipt, path),      CODEC_ROW(10, CODEC_SPAN, struct receipt, ack),
};
PAIR(receipt)

static const struct codec_member skip_members[] = {
    CODEC_ROW(1, CODEC_SPAN, struct skip, sender),  CODEC_ROW(2, CODEC_SPAN, struct skip, recipient), CODEC_ROW(3, CODEC_FIXED, struct skip, stream),
    CODEC_ROW(4, CODEC_U64, struct skip, number),   CODEC_ROW(5, CODEC_FIXED, struct skip, digest),   CODEC_ROW(6, CODEC_U32, struct skip, state),
    CODEC_ROW(7, CODEC_SPAN, struct skip, gateway), CODEC_ROW(8, CODEC_U32, struct skip, index),      CODEC_ROW(9, CODEC_SPAN, struct skip, path),
    CODEC_ROW(10, CODEC_U64, struct skip, delivery),
};
PAIR(skip)

static const struct codec_member ack_members[] = {
    CODEC_ROW(1, CODEC_U64, struct ack, delivery), CODEC_ROW(2, CODEC_FIXED, struct ack, digest), CODEC_ROW(3, CODEC_U32, struct ack, outcome),
    CODEC_ROW(4, CODEC_U32, struct ack, code),     CODEC_ROW(5, CODEC_U64, struct ack, time_ms),  CODEC_ROW(6, CODEC_U32, struct ack, retry_ms),
};
PAIR(ack)

static const struct codec_member batch_members[] = {
    CODEC_ROW(1, CODEC_U32, struct batch_signature, algorithm),
    CODEC_ROW(2, CODEC_FIXED, struct batch_signature, key_id),
    CODEC_ROW(3, CODEC_U32, struct batch_signature, size),
    CODEC_ROW(4, CODEC_FIXED, struct batch_signature, signature),
    CODEC_ROW(5, CODEC_U32, struct batch_signature, first),
    CODEC_ROW(6, CODEC_SPAN, struct batch_signature, proof),
};
static CODEC_TABLE(batch_codec, scan_ehis_v1_batch_signature, batch_members);

ehis_err batch_read(uint8_t type, struct span payload, struct batch_signature *out, struct ehis_why *why)
{
    struct scan_value values[2];
    const struct frame_rule *rule = frame_rule(type);
    EHIS_ASSERT(rule && (type == FRAME_RECEIPTS || type == FRAME_SKIPS || type == FRAME_ACK));
    EHIS_TRY(scan(rule->table, payload, values, 2, why));
    return codec_read(&batch_codec, values[1].bytes, sizeof *out, out, why);
}

bool batch_next(struct span payload, size_t *at, struct span *item) { return scan_next(payload, 2, at, item); }

ehis_err batch_begin(const struct batch_signature *s, struct buf *out)
{
    const struct {
        struct batch_signature signature;
    } whole = {*s};
    static const struct codec_member members[] = {{.number = 1, .kind = CODEC_NESTED, .size = sizeof(struct batch_signature), .sub = &batch_codec}};
    static const struct codec codec = {NULL, members, 1};
    return codec_write(&codec, &whole, out);
}

ehis_err batch_put(struct span item, struct buf *out)
{
    EHIS_TRY(codec_put_head(out, 2, item.len));
    return buf_put_span(out, item);
}

const char *state_name(uint32_t state)
{
    static const char *const names[] = {"unknown", "accepted", "replicated", "delivered", "failed", "refused", "expired"};
    return names[state < sizeof names / sizeof *names ? state : 0];
}
