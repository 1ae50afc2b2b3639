/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Leaves of signed statements (SPEC 6): H(0x00 || H(label || fields)), the label with its NUL, so that no statement passes for another. */
#include "proto/crypto/sign.h"

#define LABEL(text) {(const uint8_t *)(text), sizeof(text)}
/* lp(s): its length as u16 goes first. Identifiers are far below; whoever lets a longer one come this far has not checked it. */
#define LP(length, s) span_of(lp(length, s), 2), s

static const uint8_t *lp(uint8_t length[2], struct span s)
{
    EHIS_ASSERT(s.len <= UINT16_MAX);
    be_put(length, s.len, 2);
    return length;
}

static void leaf_of(const struct span *parts, size_t count, struct hash *out)
{
    struct hash content;
    hash_spans(parts, count, &content);
    hash_leaf(span_of(content.b, HASH_BYTES), out);
}

void leaf_envelope(const struct hash *digest, struct hash *out) { hash_leaf(span_of(digest->b, HASH_BYTES), out); }

void leaf_ack(const struct hash *digest, uint8_t outcome, uint32_t code, uint64_t time_ms, struct hash *out)
{
    uint8_t tail[13] = {outcome};
    be_put(tail + 1, code, 4);
    be_put(tail + 5, time_ms, 8);
    leaf_of((struct span[]){LABEL("ehis/ack/v1"), {digest->b, HASH_BYTES}, {tail, sizeof tail}}, 3, out);
}

void leaf_receipt(const struct hash *digest, struct span sender, struct span recipient, uint8_t state, uint32_t code, uint64_t time_ms,
                  struct span gateway, struct hash *out)
{
    uint8_t a[2], b[2], c[2], middle[13] = {state};
    be_put(middle + 1, code, 4);
    be_put(middle + 5, time_ms, 8);
    struct span parts[] = {LABEL("ehis/receipt/v1"), {digest->b, HASH_BYTES}, LP(a, sender), LP(b, recipient), {middle, sizeof middle}, LP(c, gateway)};
    leaf_of(parts, sizeof parts / sizeof *parts, out);
}

void leaf_skip(struct span sender, struct span recipient, const uint8_t stream[16], uint64_t number, const struct hash *digest, uint8_t state,
               struct span gateway, struct hash *out)
{
    uint8_t a[2], b[2], c[2], middle[16 + 8 + HASH_BYTES + 1];
    memcpy(middle, stream, 16);
    be_put(middle + 16, number, 8);
    memcpy(middle + 24, digest->b, HASH_BYTES);
    middle[24 + HASH_BYTES] = state;
    struct span parts[] = {LABEL("ehis/skip/v1"), LP(a, sender), LP(b, recipient), {middle, sizeof middle}, LP(c, gateway)};
    leaf_of(parts, sizeof parts / sizeof *parts, out);
}

void leaf_parcel(struct span topic, struct span head, const struct hash *payload_digest, struct hash *out)
{
    uint8_t a[2];
    leaf_of((struct span[]){LABEL("ehis/parcel/v1"), LP(a, topic), head, {payload_digest->b, HASH_BYTES}}, 5, out);
}
