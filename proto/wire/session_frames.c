/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/wire/session_frames.h"
#include "ehis_scan.h"
#include "proto/wire/codec.h"

#define PAIR_OF(name, table) \
    static CODEC_TABLE(name##_codec, table, name##_members); \
    ehis_err name##_read(struct span bytes, struct name *out, struct ehis_why *why) { return codec_read(&name##_codec, bytes, sizeof *out, out, why); } \
    ehis_err name##_write(const struct name *in, struct buf *out) { return codec_write(&name##_codec, in, out); }
#define PAIR(name) PAIR_OF(name, scan_ehis_v1_##name)
#define U32(n, type, member) CODEC_ROW(n, CODEC_U32, struct type, member)
#define U64(n, type, member) CODEC_ROW(n, CODEC_U64, struct type, member)
#define BOOL(n, type, member) CODEC_ROW(n, CODEC_BOOL, struct type, member)
#define SPAN(n, type, member) CODEC_ROW(n, CODEC_SPAN, struct type, member)
#define FIXED(n, type, member) CODEC_ROW(n, CODEC_FIXED, struct type, member)

static const struct codec_member hello_members[] = {
    U32(1, hello, version), CODEC_ROW_SPANS(2, struct hello, features, feature_count), SPAN(3, hello, software), SPAN(4, hello, name),
    U32(5, hello, max_frame_bytes), U32(6, hello, window_messages), U32(7, hello, window_bytes), U64(8, hello, clock_ms),
    FIXED(9, hello, state_id), U64(10, hello, registry_version), FIXED(11, hello, registry_hash), FIXED(12, hello, crl_hash)};
PAIR(hello)
static const struct codec_member ping_members[] = {U64(1, ping, token), U64(2, ping, clock_ms)};
PAIR(ping)
static const struct codec_member error_members[] = {U32(1, error, code), SPAN(2, error, text), U32(3, error, frame_type)};
PAIR(error)
static const struct codec_member goodbye_members[] = {U32(1, goodbye, code), U32(2, goodbye, retry_ms)};
PAIR(goodbye)
static const struct codec_member registry_get_members[] = {U64(1, registry_get, have_version)};
PAIR(registry_get)
static const struct codec_member crl_members[] = {SPAN(1, crl, der)};
PAIR(crl)
static const struct codec_member ready_members[] = {U32(1, ready, call_window), U32(2, ready, stream_window_messages), U32(3, ready, stream_window_bytes)};
PAIR(ready)
static const struct codec_member ready_state_members[] = {U32(1, ready_state, code), BOOL(2, ready_state, has_streams), U32(3, ready_state, retry_ms)};
PAIR(ready_state)
static const struct codec_member stream_open_members[] = {FIXED(1, stream_open, stream), SPAN(2, stream_open, recipient), SPAN(3, stream_open, event),
                                                          U64(4, stream_open, lowest), U64(5, stream_open, next)};
PAIR(stream_open)
static const struct codec_member stream_state_members[] = {FIXED(1, stream_state, stream), U64(2, stream_state, expected), U32(3, stream_state, code)};
PAIR(stream_state)
static const struct codec_member stream_settled_members[] = {FIXED(1, stream_settled, stream), U64(2, stream_settled, lowest)};
PAIR(stream_settled)
static const struct codec_member flow_members[] = {FIXED(1, flow, digest), U32(2, flow, code), U32(3, flow, retry_ms), SPAN(4, flow, stream),
                                                   U64(5, flow, expected)};
PAIR(flow)
static const struct codec_member subscribe_members[] = {SPAN(1, subscribe, service), SPAN(2, subscribe, event), BOOL(3, subscribe, is_end), U64(4, subscribe, from_ms)};
PAIR(subscribe)
static const struct codec_member subscription_members[] = {SPAN(1, subscription, service), SPAN(2, subscription, event), U32(3, subscription, code)};
PAIR(subscription)
static const struct codec_member keys_get_members[] = {SPAN(1, keys_get, service), SPAN(2, keys_get, event), FIXED(3, keys_get, epoch)};
PAIR(keys_get)
static const struct codec_member blob_put_members[] = {FIXED(1, blob_put, root), U64(2, blob_put, bytes), U32(3, blob_put, index), SPAN(4, blob_put, chunk)};
PAIR(blob_put)
static const struct codec_member blob_state_members[] = {FIXED(1, blob_state, root), U32(2, blob_state, next), U32(3, blob_state, code), U32(4, blob_state, retry_ms)};
PAIR(blob_state)
static const struct codec_member blob_get_members[] = {FIXED(1, blob_get, digest), U32(2, blob_get, index)};
PAIR(blob_get)
static const struct codec_member blob_chunk_members[] = {FIXED(1, blob_chunk, digest), U32(2, blob_chunk, index), SPAN(3, blob_chunk, chunk), U32(4, blob_chunk, code),
                                                         U32(5, blob_chunk, retry_ms)};
PAIR(blob_chunk)

static const struct codec_member deliver_members[] = {U64(1, deliver, delivery),       U64(2, deliver, accepted_ms), U64(3, deliver, registry_version),
                                                      U32(4, deliver, attempt),        BOOL(5, deliver, is_late),    SPAN(6, deliver, envelope)};
static CODEC_TABLE(deliver_codec, scan_ehis_v1_deliver, deliver_members);

ehis_err deliver_read(struct span bytes, struct deliver *out, struct ehis_why *why) { return codec_read(&deliver_codec, bytes, sizeof *out, out, why); }

ehis_err deliver_write_head(const struct deliver *in, struct buf *out)
{
    static const struct codec head = {&scan_ehis_v1_deliver, deliver_members, sizeof deliver_members / sizeof *deliver_members - 1};
    EHIS_TRY(codec_write(&head, in, out));
    return codec_put_head(out, 6, in->envelope.len);
}

ehis_err keys_read(struct span payload, struct ehis_why *why) { return scan(&scan_ehis_v1_keys, payload, NULL, 0, why); }
bool keys_next(struct span payload, size_t *at, struct span *envelope) { return scan_next(payload, 1, at, envelope); }
ehis_err keys_put(struct span envelope, struct buf *out) { return codec_put_bytes(out, 1, envelope); }

static const struct codec_member key_wrap_members[] = {SPAN(1, key_wrap, recipient_key_id), SPAN(2, key_wrap, ephemeral), SPAN(3, key_wrap, commitment),
                                                       SPAN(4, key_wrap, wrapped)};
static CODEC_TABLE(key_wrap_codec, scan_ehis_v1_key_wrap, key_wrap_members);

ehis_err key_wraps_read(struct span bytes, struct ehis_why *why) { return scan(&scan_ehis_v1_key_wraps, bytes, NULL, 0, why); }

bool key_wraps_next(struct span bytes, size_t *at, struct key_wrap *out)
{
    struct span one;
    return scan_next(bytes, 1, at, &one) && codec_read(&key_wrap_codec, one, sizeof *out, out, NULL) == EHIS_OK;
}

ehis_err key_wraps_put(const struct key_wrap *in, struct buf *out)
{
    const struct {
        struct key_wrap wrap;
    } whole = {*in};
    static const struct codec_member members[] = {{.number = 1, .kind = CODEC_NESTED, .size = sizeof(struct key_wrap), .sub = &key_wrap_codec}};
    static const struct codec codec = {NULL, members, 1};
    return codec_write(&codec, &whole, out);
}
