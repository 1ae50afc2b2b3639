/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The first byte is a frame's type. What its reader takes, its writer writes; and what that writes is read as the same again. (An optional
 * array of zeros counts as absent and is not written: the one difference there may be.) */
#include "proto/wire/session_frames.h"
#include "proto/wire/statement.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PAIR(type, name)                                                                              \
    case FRAME_##type: {                                                                              \
        struct name first, second;                                                                    \
        if (name##_read(bytes, &first, NULL) != EHIS_OK)                                              \
            break;                                                                                    \
        EHIS_ASSERT(name##_write(&first, &one) == EHIS_OK && one.len <= bytes.len);                   \
        EHIS_ASSERT(name##_read(buf_span(&one), &second, NULL) == EHIS_OK);                           \
        EHIS_ASSERT(name##_write(&second, &two) == EHIS_OK && span_eq(buf_span(&one), buf_span(&two))); \
        break;                                                                                        \
    }

/* Lists: every item is handed out once and reads, or is refused by, its own reader. */
static void batch(uint8_t type, struct span bytes)
{
    struct batch_signature signature;
    struct span item;
    size_t count = 0;
    if (batch_read(type, bytes, &signature, NULL) != EHIS_OK)
        return;
    for (size_t at = 0; batch_next(bytes, &at, &item); count++) {
        struct receipt receipt;
        struct skip skip;
        struct ack ack;
        ehis_err err = type == FRAME_RECEIPTS ? receipt_read(item, &receipt, NULL) : type == FRAME_SKIPS ? skip_read(item, &skip, NULL) : ack_read(item, &ack, NULL);
        EHIS_ASSERT(err == EHIS_OK);
    }
    EHIS_ASSERT(count <= STATEMENT_BATCH_MAX);
}

static void envelopes(uint8_t type, struct span bytes, struct buf *out)
{
    struct envelope e;
    struct deliver d;
    struct span one;
    if (type == FRAME_SUBMIT && envelope_read(bytes, &e, NULL) == EHIS_OK) {
        EHIS_ASSERT(e.signature.index < e.signature.size && e.signature.size <= BATCH_MAX_LEAVES && e.signature.path.len % 32 == 0);
        EHIS_ASSERT(envelope_bytes(&e) == bytes.len && envelope_write(&e, out) == EHIS_OK && span_eq(buf_span(out), bytes));
    } else if (type == FRAME_DELIVER && deliver_read(bytes, &d, NULL) == EHIS_OK) {
        EHIS_ASSERT(deliver_write_head(&d, out) == EHIS_OK && buf_put_span(out, d.envelope) == EHIS_OK && span_eq(buf_span(out), bytes));
    } else if (type == FRAME_KEYS && keys_read(bytes, NULL) == EHIS_OK) {
        for (size_t at = 0; keys_next(bytes, &at, &one);)
            EHIS_ASSERT(keys_put(one, out) == EHIS_OK);
        EHIS_ASSERT(span_eq(buf_span(out), bytes));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf one, two;
    if (size == 0)
        return 0;
    struct span bytes = span_of(data + 1, size - 1);
    buf_init(&one, size + 16);
    buf_init(&two, size + 16);
    switch (data[0]) {
        PAIR(HELLO, hello)
        PAIR(PING, ping)
        PAIR(ERROR, error)
        PAIR(GOODBYE, goodbye)
        PAIR(REGISTRY_GET, registry_get)
        PAIR(CRL, crl)
        PAIR(READY, ready)
        PAIR(READY_STATE, ready_state)
        PAIR(STREAM_OPEN, stream_open)
        PAIR(STREAM_STATE, stream_state)
        PAIR(STREAM_SETTLED, stream_settled)
        PAIR(FLOW, flow)
        PAIR(SUBSCRIBE, subscribe)
        PAIR(SUBSCRIPTION, subscription)
        PAIR(KEYS_GET, keys_get)
        PAIR(BLOB_PUT, blob_put)
        PAIR(BLOB_STATE, blob_state)
        PAIR(BLOB_GET, blob_get)
        PAIR(BLOB_CHUNK, blob_chunk)
    case FRAME_RECEIPTS:
    case FRAME_SKIPS:
    case FRAME_ACK:
        batch(data[0], bytes);
        break;
    case FRAME_SUBMIT:
    case FRAME_DELIVER:
    case FRAME_KEYS:
        envelopes(data[0], bytes, &one);
        break;
    case 255: { /* the content of a KEY envelope */
        struct key_wrap w;
        if (key_wraps_read(bytes, NULL) == EHIS_OK) {
            for (size_t at = 0; key_wraps_next(bytes, &at, &w);)
                EHIS_ASSERT(key_wraps_put(&w, &one) == EHIS_OK && w.wrapped.len == 72);
            EHIS_ASSERT(span_eq(buf_span(&one), bytes));
        }
        break;
    }
    default:
        break;
    }
    buf_fini(&one);
    buf_fini(&two);
    return 0;
}
