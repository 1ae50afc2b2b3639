/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The other frames of a session (SPEC 8): plain structs, readers and writers. Views borrow. SUBMIT is envelope.h's; RECEIPTS, SKIPS and ACK
 * statement.h's. Pure, any thread. */
#pragma once
#include "proto/wire/envelope.h"
#include "proto/wire/frame.h"

#define PROTOCOL_VERSION 1
#define HELLO_FEATURES_MAX 16
/* A feature of HELLO: this gateway replicates what it accepts, and says so in receipts (SPEC 8.2.3). */
#define FEATURE_REPLICATES "replicates"
#define FEATURE_LARGE "large" /* chunks of large bodies (SPEC 18) */
#define LARGE_FRAME_BYTES 327680 /* that whoever names it takes */

struct hello {
    uint32_t version;
    struct span features[HELLO_FEATURES_MAX];
    size_t feature_count;
    struct span software, name;
    uint32_t max_frame_bytes, window_messages, window_bytes;
    uint64_t clock_ms;
    uint8_t state_id[16];
    uint64_t registry_version;
    uint8_t registry_hash[32], crl_hash[32];
};
struct ping { uint64_t token, clock_ms; };
struct error { uint32_t code; struct span text; uint32_t frame_type; };
struct goodbye { uint32_t code, retry_ms; };
struct registry_get { uint64_t have_version; };
struct crl { struct span der; };
struct ready { uint32_t call_window, stream_window_messages, stream_window_bytes; };
struct ready_state { uint32_t code; bool has_streams; uint32_t retry_ms; };
struct stream_open { uint8_t stream[16]; struct span recipient, event; uint64_t lowest, next; };
struct stream_state { uint8_t stream[16]; uint64_t expected; uint32_t code; };
struct stream_settled { uint8_t stream[16]; uint64_t lowest; };
struct flow { uint8_t digest[32]; uint32_t code, retry_ms; struct span stream; uint64_t expected; };
struct subscribe { struct span service, event; bool is_end; uint64_t from_ms; };
struct subscription { struct span service, event; uint32_t code; };
struct keys_get { struct span service, event; uint8_t epoch[16]; };
struct blob_put { uint8_t root[32]; uint64_t bytes; uint32_t index; struct span chunk; };
struct blob_state { uint8_t root[32]; uint32_t next, code, retry_ms; };
struct blob_get { uint8_t digest[32]; uint32_t index; };
struct blob_chunk { uint8_t digest[32]; uint32_t index; struct span chunk; uint32_t code, retry_ms; };
struct deliver { uint64_t delivery, accepted_ms, registry_version; uint32_t attempt; bool is_late; struct span envelope; };

#define SESSION_FRAME(name) \
    ehis_err name##_read(struct span bytes, struct name *out, struct ehis_why *why) EHIS_MUST_USE; \
    ehis_err name##_write(const struct name *in, struct buf *out) EHIS_MUST_USE;
SESSION_FRAME(hello)
SESSION_FRAME(ping)
SESSION_FRAME(error)
SESSION_FRAME(goodbye)
SESSION_FRAME(registry_get)
SESSION_FRAME(crl)
SESSION_FRAME(ready)
SESSION_FRAME(ready_state)
SESSION_FRAME(stream_open)
SESSION_FRAME(stream_state)
SESSION_FRAME(stream_settled)
SESSION_FRAME(flow)
SESSION_FRAME(subscribe)
SESSION_FRAME(subscription)
SESSION_FRAME(keys_get)
SESSION_FRAME(blob_put)
SESSION_FRAME(blob_state)
SESSION_FRAME(blob_get)
SESSION_FRAME(blob_chunk)
/* The reader leaves the envelope as bytes (scanned). The writer writes everything before the envelope's content, whose length it is
 * given in envelope.len; the caller appends the content. */
ehis_err deliver_read(struct span bytes, struct deliver *out, struct ehis_why *why) EHIS_MUST_USE;
ehis_err deliver_write_head(const struct deliver *in, struct buf *out) EHIS_MUST_USE;
/* KEYS: envelopes by keys_next on the payload. */
ehis_err keys_read(struct span payload, struct ehis_why *why) EHIS_MUST_USE;
bool keys_next(struct span payload, size_t *at, struct span *envelope);
ehis_err keys_put(struct span envelope, struct buf *out) EHIS_MUST_USE;
/* The sealed content of a KEY envelope: a list of these. */
struct key_wrap { struct span recipient_key_id, ephemeral, commitment, wrapped; };
ehis_err key_wraps_read(struct span bytes, struct ehis_why *why) EHIS_MUST_USE;
bool key_wraps_next(struct span bytes, size_t *at, struct key_wrap *out);
ehis_err key_wraps_put(const struct key_wrap *in, struct buf *out) EHIS_MUST_USE;
