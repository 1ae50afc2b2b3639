/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/app/gateway.h"
#include "proto/wire/record.h"

#define LAZY_US 5000 /* what nobody waits for is durable after this at the latest */

/* Once a turn, so that everything that came in it shares a group. */
static void on_kick(void *arg)
{
    struct gateway *g = arg;
    bool is_eager = g->is_kick_due;
    g->is_kick_due = g->is_lazy_kick_due = false;
    if (g->has_failed || !g->writer) /* the loop's last tasks run when it ends, after the writer */
        return;
    if (is_eager)
        journal_writer_kick(g->writer);
    else
        journal_writer_kick_lazily(g->writer, LAZY_US);
}

static ehis_err append(void *ctx, const struct record *r, const struct span *attachment, size_t parts, bool is_lazy, struct journal_pos *pos)
{
    struct gateway *g = ctx;
    buf_clear(&g->record);
    EHIS_TRY(record_write(r, &g->record));
    struct span whole = buf_span(&g->record);
    ehis_err err = journal_append(g->journal, &whole, 1, attachment, parts, pos);
    if (err == EHIS_E_JOURNAL_GROUP_FULL && g->writer) { /* more came in one turn than a group holds: the disk sets the pace */
        EHIS_TRY(journal_writer_make_room(g->writer));
        err = journal_append(g->journal, &whole, 1, attachment, parts, pos);
    }
    EHIS_TRY(err);
    if (g->relay)
        relay_note(g->relay, journal_open_group(g->journal), r->sequence, pos);
    if (!g->is_kick_due && !g->is_lazy_kick_due)
        loop_later(g->loop, on_kick, g);
    g->is_kick_due |= !is_lazy;
    g->is_lazy_kick_due |= is_lazy;
    return EHIS_OK;
}

static uint64_t open_group(void *ctx) { return journal_open_group(((struct gateway *)ctx)->journal); }
static uint64_t room_bytes(void *ctx) { return journal_room_bytes(((struct gateway *)ctx)->journal); }

static uint64_t live_max_bytes(void *ctx) { return journal_live_max_bytes(((struct gateway *)ctx)->journal); }

ehis_err gateway_read_entry(void *ctx, const struct journal_pos *pos, struct buf *into, struct journal_entry *out)
{
    return journal_read(((struct gateway *)ctx)->journal, pos, into, out);
}

static ehis_err send_receipt(void *ctx, session_id s, const struct exchange_receipt *r) { return sessions_send_receipt(((struct gateway *)ctx)->sessions, s, r); }
static ehis_err send_flow(void *ctx, session_id s, const struct exchange_flow *f) { return sessions_send_flow(((struct gateway *)ctx)->sessions, s, f); }
static ehis_err send_delivery(void *ctx, session_id s, const struct exchange_delivery *d) { return sessions_send_delivery(((struct gateway *)ctx)->sessions, s, d); }
static ehis_err send_skip(void *ctx, session_id s, const struct exchange_skip *k) { return sessions_send_skip(((struct gateway *)ctx)->sessions, s, k); }
static ehis_err send_frame(void *ctx, session_id s, uint8_t type, struct span p) { return sessions_send_frame(((struct gateway *)ctx)->sessions, s, type, p); }
static void end_session(void *ctx, session_id s, ehis_err code) { sessions_end(((struct gateway *)ctx)->sessions, s, code); }

static ehis_err to_bus(void *ctx, const struct exchange_item *item, bool *is_here)
{
    struct bus *b = ((struct gateway *)ctx)->bus;
    return b->ops->send(b, item, is_here);
}

static void bus_done(void *ctx, uint64_t handle, const struct exchange_report *report)
{
    struct bus *b = ((struct gateway *)ctx)->bus;
    b->ops->done(b, handle, report);
}

static bool bus_has(void *ctx, uint64_t handle)
{
    struct bus *b = ((struct gateway *)ctx)->bus;
    return b->ops->has(b, handle);
}

static void want_inbox(void *ctx, struct span system, bool streams, bool calls)
{
    struct bus *b = ((struct gateway *)ctx)->bus;
    b->ops->want_inbox(b, system, streams, calls);
}

static bool is_reachable(void *ctx, struct span system)
{
    struct bus *b = ((struct gateway *)ctx)->bus;
    return b->ops->is_reachable(b, system);
}

static ehis_err bus_state(void *ctx)
{
    struct bus *b = ((struct gateway *)ctx)->bus;
    return b->ops->state(b);
}

static void probe(void *ctx, struct span system)
{
    struct bus *b = ((struct gateway *)ctx)->bus;
    b->ops->probe(b, system);
}

static ehis_err subscribe(void *ctx, struct span system, struct span service, struct span event, bool is_end, int64_t from_ms)
{
    struct bus *b = ((struct gateway *)ctx)->bus;
    return b->ops->subscribe(b, system, service, event, is_end, from_ms);
}

static struct blob_name blob_name_of(const struct exchange_blob *b)
{
    struct blob_name n = {.sender = b->sender, .manifest = {.bytes = b->bytes}, .place = {b->partition, b->offset}};
    memcpy(n.manifest.root.b, b->root, HASH_BYTES);
    return n;
}

static ehis_err blob_find(void *ctx, struct exchange_blob *b)
{
    struct blob_name n = blob_name_of(b);
    EHIS_TRY(blobs_find(((struct gateway *)ctx)->blobs, &n));
    b->partition = n.place.partition;
    b->offset = n.place.offset;
    return EHIS_OK;
}

static void blob_keep(void *ctx, const struct exchange_blob *b)
{
    const struct blob_name n = blob_name_of(b);
    blobs_keep(((struct gateway *)ctx)->blobs, &n);
}

static void blob_let_go(void *ctx, const struct exchange_blob *b)
{
    const struct blob_name n = blob_name_of(b);
    blobs_let_go(((struct gateway *)ctx)->blobs, &n);
}

void gateway_ports(struct gateway *g, struct exchange_ports *ports)
{
    *ports = (struct exchange_ports){.ctx = g, .append = append, .open_group = open_group, .room_bytes = room_bytes, .live_max_bytes = live_max_bytes, .read = gateway_read_entry,
                                     .send_receipt = send_receipt, .send_flow = send_flow, .send_delivery = send_delivery, .send_skip = send_skip,
                                     .send_frame = send_frame, .end_session = end_session, .to_bus = to_bus,
                                     .blob_find = blob_find, .blob_keep = blob_keep, .blob_let_go = blob_let_go};
    if (g->bus->ops->done) {
        ports->bus_done = bus_done;
        ports->bus_has = bus_has;
        ports->want_inbox = want_inbox;
        ports->is_reachable = is_reachable;
        ports->bus_state = bus_state;
        ports->probe = probe;
        ports->subscribe = subscribe;
    }
    random_fill(&random_system, ports->seed, sizeof ports->seed);
}
