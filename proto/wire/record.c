/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/wire/record.h"
#include "ehis_scan.h"
#include "proto/wire/codec.h"

#define R(number, kind, member) CODEC_ROW(number, CODEC_##kind, struct record, member)
static const struct codec_member members[] = {
    R(1, U64, sequence), R(2, U64, time_ms), R(3, U32, kind), R(4, FIXED, digest), R(5, SPAN, header), R(6, U64, sealed_bytes),
    R(7, FIXED, sealed_hash), R(8, SPAN, signature), R(9, U32, code), R(10, SPAN, rule), R(11, U64, registry_version),
    R(12, FIXED, registry_hash), R(13, U64, session), R(14, SPAN, system), R(15, SPAN, address), R(16, FIXED, certificate),
    R(17, SPAN, ack), R(18, U64, count), R(19, SPAN, text), R(20, SPAN, stream), R(21, U64, number), R(22, SPAN, service),
    R(23, SPAN, event), R(24, U32, attempt), R(25, U64, accepted_ms), R(26, U32, state), R(27, SPAN, sender),
    R(29, SPAN, gateway), R(30, U64, blob_partition), R(31, U64, blob_offset),
};
static CODEC_TABLE(record_codec, scan_ehis_v1_record, members);

ehis_err record_read(struct span bytes, struct record *out, struct ehis_why *why)
{
    EHIS_TRY(codec_read(&record_codec, bytes, sizeof *out, out, why));
    out->pending = bytes;
    return EHIS_OK;
}

ehis_err record_write(const struct record *r, struct buf *out)
{
    struct record before = *r; /* fields ascend, and pending is written already */
    before.gateway = span_of(NULL, 0);
    before.blob_partition = before.blob_offset = 0;
    EHIS_TRY(codec_write(&record_codec, &before, out));
    EHIS_TRY(buf_put_span(out, r->pending));
    EHIS_TRY(codec_put_bytes(out, 29, r->gateway));
    EHIS_TRY(codec_put_number(out, 30, r->blob_partition));
    return codec_put_number(out, 31, r->blob_offset);
}

ehis_err record_pending_put(struct span system, struct buf *out) { return codec_put_bytes(out, 28, system); }
bool record_pending_next(const struct record *r, size_t *at, struct span *system) { return scan_next(r->pending, 28, at, system); }

const char *record_kind_name(uint32_t kind)
{
    static const struct {
        uint32_t kind;
        const char *name;
    } names[] = {
        {RECORD_ACCEPTED, "accepted"}, {RECORD_REFUSED, "refused"}, {RECORD_DELIVERED, "delivered"}, {RECORD_FAILED, "failed"},
        {RECORD_EXPIRED, "expired"}, {RECORD_ATTEMPTED, "attempted"}, {RECORD_CONFLICT, "conflict"}, {RECORD_REFUSALS, "refusals"},
        {RECORD_SESSION_OPENED, "session-opened"}, {RECORD_SESSION_ENDED, "session-ended"}, {RECORD_SESSION_REFUSED, "session-refused"},
        {RECORD_SUBSCRIBED, "subscribed"}, {RECORD_UNSUBSCRIBED, "unsubscribed"}, {RECORD_STARTED, "started"}, {RECORD_STOPPED, "stopped"},
        {RECORD_RELOADED, "reloaded"}, {RECORD_RELOAD_FAILED, "reload-failed"}, {RECORD_STREAM, "stream"}, {RECORD_SETTLED, "settled"},
        {RECORD_CARRIED, "carried"}, {RECORD_SUBSCRIPTION, "subscription"}, {RECORD_REPLICATED, "replicated"}, {RECORD_LOST, "lost"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].kind == kind)
            return names[i].name;
    return "unknown";
}
