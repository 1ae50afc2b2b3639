/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/wire/frame.h"
#include "ehis_scan.h"

ehis_err frame_read(struct span input, size_t max_bytes, struct frame *out, size_t *used, size_t *need)
{
    *used = 0;
    *need = FRAME_HEAD_BYTES;
    if (input.len < 4)
        return EHIS_OK;
    size_t length = (size_t)be_get(input.p, 4);
    if (length < 1)
        return EHIS_E_FRAME_EMPTY;
    if (length > max_bytes)
        return EHIS_E_FRAME_TOO_LARGE;
    *need = 4 + length;
    if (input.len < *need)
        return EHIS_OK;
    out->type = input.p[4];
    out->payload = span_of(input.p + FRAME_HEAD_BYTES, length - 1);
    *used = *need;
    return EHIS_OK;
}

ehis_err frame_head(uint8_t type, size_t payload_bytes, size_t max_bytes, uint8_t out[FRAME_HEAD_BYTES])
{
    if (payload_bytes >= max_bytes || payload_bytes >= FRAME_MAX_BYTES_LIMIT)
        return EHIS_E_TOO_LARGE;
    be_put(out, payload_bytes + 1, 4);
    out[4] = type;
    return EHIS_OK;
}

/* SPEC 8.1. Bits of states; DRAINING: one side has said GOODBYE. */
enum { H = 1 << FRAME_STATE_HELLO, F = 1 << FRAME_STATE_FETCH, R = 1 << FRAME_STATE_READY, D = 1 << FRAME_STATE_DRAINING };
#define S FRAME_FROM_SYSTEM
#define G FRAME_FROM_GATEWAY
#define B FRAME_FROM_BOTH
#define ROW(name, from, states, table) [FRAME_##name] = {FRAME_##name, #name, from, states, &scan_ehis_v1_##table}
static const struct frame_rule rules[] = {
    ROW(HELLO, B, H, hello), ROW(PING, B, F | R | D, ping), ROW(PONG, B, F | R | D, ping), ROW(ERROR, B, H | F | R | D, error),
    ROW(GOODBYE, B, F | R | D, goodbye), ROW(REGISTRY_GET, S, F | R | D, registry_get), ROW(REGISTRY, G, F | R | D, registry_part),
    ROW(CRL_GET, S, F | R | D, crl_get), ROW(CRL, G, F | R | D, crl), ROW(READY, S, F | R | D, ready), ROW(READY_STATE, G, F | R | D, ready_state),
    ROW(STREAM_OPEN, S, R | D, stream_open), ROW(STREAM_STATE, G, R | D, stream_state), ROW(STREAM_SETTLED, S, R | D, stream_settled),
    ROW(SUBMIT, S, R | D, envelope), ROW(FLOW, G, R | D, flow), ROW(RECEIPTS, G, R | D, receipts), ROW(DELIVER, G, R | D, deliver),
    ROW(SKIPS, G, R | D, skips), ROW(ACK, S, R | D, acks), ROW(SUBSCRIBE, S, R | D, subscribe), ROW(SUBSCRIPTION, G, R | D, subscription),
    ROW(KEYS_GET, S, R | D, keys_get), ROW(KEYS, G, R | D, keys),
    ROW(BLOB_PUT, S, R | D, blob_put), ROW(BLOB_STATE, G, R | D, blob_state), ROW(BLOB_GET, S, R | D, blob_get), ROW(BLOB_CHUNK, G, R | D, blob_chunk),
};

const struct frame_rule *frame_rule(uint8_t type) { return type < sizeof rules / sizeof *rules && rules[type].name ? &rules[type] : NULL; }

ehis_err frame_check(uint8_t type, enum frame_from sender, enum frame_state state, const struct frame_rule **rule)
{
    const struct frame_rule *r = frame_rule(type);
    if (!r)
        return EHIS_E_FRAME_UNKNOWN;
    if (!(r->from & sender))
        return EHIS_E_FRAME_DIRECTION;
    if (!(r->states >> state & 1))
        return EHIS_E_FRAME_OUT_OF_STATE;
    *rule = r;
    return EHIS_OK;
}
