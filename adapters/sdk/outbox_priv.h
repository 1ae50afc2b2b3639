/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What outbox.c (its messages) and outbox_records.c (their records in the store) share. */
#pragma once
#include "adapters/sdk/asked.h"
#include "adapters/sdk/outbox.h"

struct outbox {
    struct store *store;
    uint64_t max_bytes, message_count, bytes, cached_bytes, ticket;
    bool is_memory;
    uint8_t wait_state;
    struct out_stream *streams;
    size_t stream_count;
    struct table by_digest;
    struct out_message *earliest, *latest;
    struct out_message *waiting; /* before it none is held and without its end; NULL: nor behind */
    struct out_message *unwritten; /* the earliest that may not stand on the disk yet; NULL: none */
    struct asked asked;
};

/* outbox.c */
ehis_err outbox_add_stream(struct outbox *o, const uint8_t id[16], enum out_class c, struct span recipient, struct span event, struct out_stream **out) EHIS_MUST_USE;
/* A message by its digest; then, when it is whole, it is linked into its stream and the order of sending. */
ehis_err outbox_add(struct outbox *o, struct out_stream *s, uint64_t number, const uint8_t exchange_id[16], const uint8_t digest[32],
                    struct out_message **out) EHIS_MUST_USE;
void outbox_link(struct outbox *o, struct out_message *m);
void outbox_unlink(struct outbox *o, struct out_message *m); /* m is gone */
void outbox_drop_bytes(struct outbox *o, struct out_message *m);

/* outbox_records.c: nothing, without a store or in memory. */
ehis_err outbox_append_stream(struct outbox *o, const struct out_stream *s) EHIS_MUST_USE;
ehis_err outbox_append_body(struct outbox *o, struct out_message *m, struct span envelope) EHIS_MUST_USE; /* whole, and where it stands: held there */
ehis_err outbox_append_remembered(struct outbox *o, const struct out_message *m) EHIS_MUST_USE;           /* all but its envelope */
ehis_err outbox_append_state(struct outbox *o, const struct out_message *m) EHIS_MUST_USE;                /* that it is final: it goes */
ehis_err outbox_append_asked(struct outbox *o, const uint8_t key[32], int64_t expires_ms) EHIS_MUST_USE;
