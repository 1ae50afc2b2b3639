/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The exchange core (SPEC 12, 13): everything that decides what happens to a message. Pure: it takes bytes and a time and gives back
 * records for the journal and frames for sessions through its ports; no socket, thread, clock or file. One thread.
 *
 *   entry    scan -> verify -> duplicates -> stream order -> bounds -> policy -> ACCEPTED or REFUSED record
 *   (the group becomes durable)
 *   receipts are sent; the bus takes the message; the inbox of its recipient delivers it, policy asked again
 *   ack / response / expiry / failure -> record -> (durable) -> final receipt
 */
#pragma once
#include "base/bytes.h"
#include "gateway/journal/journal.h"
#include "policy/registry/registry.h"
#include "proto/wire/envelope.h"

struct exchange;
struct record; /* proto/wire/record.h */

struct exchange_bounds { /* for each system */
    /* Of what waits for one recipient, calls and events included, no sender holds more than is still free: one alone half of it. An event
     * beyond is not kept for that subscriber (EXCHANGE_INBOX_FULL), anything else is told EXCHANGE_SHARE_FULL. */
    uint32_t stored_messages_max; /* in streams, unfinished or unsettled, of one sender; waiting for one recipient; 100,000 */
    uint64_t stored_bytes_max;    /* sealed bodies, likewise; 256 MiB */
    uint32_t streams_max;         /* 256 */
    uint32_t calls_max;           /* waiting requests in flight from one system; 1,024 */
    uint32_t known_calls_max;     /* waiting calls remembered until they expire, and asynchronous requests whose answer is still to come; 100,000 */
    uint32_t subscriptions_max;   /* 256 */
    uint32_t attempts_max;        /* deliveries of one message before it is dead-lettered; 5 */
};

typedef uint64_t session_id; /* rising; never used twice in a process */

struct exchange_receipt {
    struct hash digest;
    struct span recipient; /* as in the header; borrowed for the call */
    uint8_t state;         /* STATE_* of statement.proto */
    uint32_t code;
    int64_t time_ms;
    struct span ack;       /* Acknowledgement bytes, or empty */
};
struct exchange_flow { struct hash digest; ehis_err code; uint32_t retry_ms; const uint8_t *stream; uint64_t expected; };
struct exchange_delivery {
    uint64_t delivery;
    int64_t accepted_ms;
    uint64_t registry_version;
    uint32_t attempt;
    bool is_late;
    struct span envelope_parts[4]; /* together the Envelope as submitted */
    size_t part_count;
};
/* An accepted, durable envelope on its way to the inbox of its recipient: what the bus (gateway/bus) carries. With `local` it is there
 * at once: the journal is the queue. A bus that carries reads its bytes at pos and brings it to the gateway that owns the inbox, which may
 * be this one, by exchange_on_arrival. Or, where skip is set, the word that a number of a stream is passed over: no bytes. */
struct exchange_item {
    struct hash digest;
    struct journal_pos pos;
    uint64_t group;        /* of its record: replicated when that group's audit frame is, too */
    struct span recipient; /* the system whose inbox it goes to; of an event the service, and event names it */
    struct span event;
    bool is_key;           /* wraps the topic key for the subscribers of event: to be read before the events of its epoch, by everyone who serves one */
    struct span gateway;   /* of the response to a waiting caller: where that one waits; else empty */
    const uint8_t *stream; /* 16 bytes: the key that keeps order; NULL: a caller waits */
    int64_t accepted_ms;
    uint64_t registry_version;
    const struct exchange_skip *skip;
    uint64_t blob_partition, blob_offset; /* of a large body */
};
/* A large body (SPEC 18): whose, its manifest, and where the list of its chunks stands. */
struct exchange_blob { struct span sender; uint8_t root[HASH_BYTES]; uint64_t bytes, partition, offset; };

/* ---- with a bus that carries (several gateways; SPEC 17) ---- */

/* What came out of an inbox, or out of this gateway's reply topic. The bus has checked that the named gateway signed it for this topic. */
struct exchange_arrival {
    uint64_t handle;       /* the bus's name for it, not 0: given back once by ports.bus_done, or void when the inbox is lost */
    struct span inbox;     /* the system whose inbox it came in; empty: this gateway's replies */
    struct span gateway;   /* that accepted it */
    struct span bytes;     /* the Envelope as submitted; these and the spans of the next borrowed until bus_done or the inbox's loss */
    struct envelope envelope;        /* by envelope_read */
    struct hash digest, sealed_hash; /* computed from it */
    int64_t accepted_ms;
    uint64_t registry_version;
    bool is_key;           /* of an event's keys, for whoever here subscribes to it; inbox is empty */
    uint64_t blob_partition, blob_offset; /* of a large body */
    const struct exchange_skip *skip; /* instead of an envelope; borrowed for the call */
};
/* How a message ended where it was delivered: told to the gateway that accepted it. */
struct exchange_report {
    struct hash digest;
    struct span gateway;   /* that says so */
    struct span recipient; /* the system */
    uint8_t state;         /* DELIVERED, FAILED, EXPIRED */
    uint32_t code;
    struct span ack;       /* Acknowledgement, or empty */
};
struct exchange_skip { struct span sender, recipient; const uint8_t *stream; uint64_t number; struct hash digest; uint8_t state; uint64_t delivery; };

/* What the core asks of the house. All return at once and never call back into the core. */
struct exchange_ports {
    void *ctx;
    ehis_err (*append)(void *ctx, const struct record *r, const struct span *attachment, size_t parts, bool is_lazy, struct journal_pos *pos);
    uint64_t (*open_group)(void *ctx);
    uint64_t (*room_bytes)(void *ctx);
    uint64_t (*live_max_bytes)(void *ctx); /* of records and bodies that are still needed: carrying them must free something. NULL: no bound */
    ehis_err (*read)(void *ctx, const struct journal_pos *pos, struct buf *into, struct journal_entry *out);
    /* Session output; LINK_FULL or LINK_ENDED: the core keeps the item and offers it again at exchange_session_room. Receipts and skips given during one
     * durable group are signed together by the session layer. */
    ehis_err (*send_receipt)(void *ctx, session_id s, const struct exchange_receipt *r);
    ehis_err (*send_flow)(void *ctx, session_id s, const struct exchange_flow *f);
    ehis_err (*send_delivery)(void *ctx, session_id s, const struct exchange_delivery *d);
    ehis_err (*send_skip)(void *ctx, session_id s, const struct exchange_skip *k);
    ehis_err (*send_frame)(void *ctx, session_id s, uint8_t type, struct span payload); /* STREAM_STATE, SUBSCRIPTION, KEYS, READY_STATE, a kept FLOW */
    /* Ends a session soon (ERROR with this code, then exchange_session_ended as ever): another session of its state folder is here. */
    void (*end_session)(void *ctx, session_id s, ehis_err code);
    /* The bus takes it. *is_here: it is in its inbox already, exchange_on_arrival will not come. An error: offered again a second later. */
    ehis_err (*to_bus)(void *ctx, const struct exchange_item *item, bool *is_here);
    /* All of these NULL: the journal is the bus. Else a bus that carries:
     * What arrived is finished, durably. report: how, which its accepting gateway is told, where that is another; NULL: nothing to tell. */
    void (*bus_done)(void *ctx, uint64_t handle, const struct exchange_report *report);
    /* Whoever reads the log from its position on finds this one as long as it is not done; not where the log was cut or made anew since. */
    bool (*bus_has)(void *ctx, uint64_t handle);
    /* This gateway has a ready session of the system that takes streams, calls: it wants the inbox; or neither: it gives it up. */
    void (*want_inbox)(void *ctx, struct span system, bool streams, bool calls);
    /* Some gateway has a ready session of it that takes calls, as far as is known. */
    bool (*is_reachable)(void *ctx, struct span system);
    /* OK, or why nothing can be carried now (brokers away, too much on its way): callers that wait are told BUSY with it. */
    ehis_err (*bus_state)(void *ctx);
    /* A durable subscription begins or ends; exchange_on_cursor says when it is so. from_ms: not 0: it begins, also where it is there, with what came at that time. */
    ehis_err (*subscribe)(void *ctx, struct span system, struct span service, struct span event, bool is_end, int64_t from_ms);
    /* Messages to this system have been on their way for long: asks whoever owns its inbox what of ours is there (exchange_on_probed). */
    void (*probe)(void *ctx, struct span system);
    /* Large bodies; NULL: none are taken. All chunks of it are here and no message has them yet: place is filled in; EXCHANGE_BLOB_MISSING. A message has
     * it; none has it any more. The last two also in replay. */
    ehis_err (*blob_find)(void *ctx, struct exchange_blob *b);
    void (*blob_keep)(void *ctx, const struct exchange_blob *b);
    void (*blob_let_go)(void *ctx, const struct exchange_blob *b);
    uint8_t seed[16]; /* unguessable: keys of the hash tables */
};

ehis_err exchange_new(struct span gateway, const struct exchange_bounds *bounds, const struct exchange_ports *ports, struct exchange **out) EHIS_MUST_USE;
void exchange_free(struct exchange *x);
/* New bounds; what is stored beyond them stays. */
void exchange_set_bounds(struct exchange *x, const struct exchange_bounds *bounds);
/* A new registry: the core takes its own reference; sessions of systems that lost their rights are the session layer's. Drops verified roots. */
void exchange_set_registry(struct exchange *x, struct registry *r, int64_t now_ms);
/* Not OK (CRL_STALE): nothing is taken or handed out until OK. A registry that has run out does the same by itself. */
void exchange_halt(struct exchange *x, ehis_err why);

/* Recovery: every live entry in order, before anything else; then exchange_recovered. */
ehis_err exchange_replay(struct exchange *x, const struct journal_entry *e, struct ehis_why *why) EHIS_MUST_USE;
void exchange_recovered(struct exchange *x, int64_t now_ms);

/* Sessions: after HELLO, with the authenticated system. peer_* go into records. */
struct exchange_peer { session_id id; struct span system; struct span address; uint8_t certificate[32]; uint8_t state_id[16]; bool takes_large; };
ehis_err exchange_session_open(struct exchange *x, const struct exchange_peer *peer, int64_t now_ms) EHIS_MUST_USE; /* appends SESSION_OPENED */
void exchange_session_ended(struct exchange *x, session_id s, ehis_err code, struct span text, int64_t now_ms);
void exchange_session_room(struct exchange *x, session_id s, int64_t now_ms); /* output has room again */

/* Frames: payloads as they came, frame_check already passed. An error is a violation by the peer: the session layer answers ERROR and
 * closes. What is only refused (receipt) or not now (flow) returns OK. */
ehis_err exchange_on_ready(struct exchange *x, session_id s, struct span payload, int64_t now_ms, struct ehis_why *why) EHIS_MUST_USE;
ehis_err exchange_on_stream_open(struct exchange *x, session_id s, struct span payload, int64_t now_ms, struct ehis_why *why) EHIS_MUST_USE;
ehis_err exchange_on_stream_settled(struct exchange *x, session_id s, struct span payload, int64_t now_ms, struct ehis_why *why) EHIS_MUST_USE;
ehis_err exchange_on_submit(struct exchange *x, session_id s, struct span payload, int64_t now_ms, struct ehis_why *why) EHIS_MUST_USE;
ehis_err exchange_on_acks(struct exchange *x, session_id s, struct span payload, int64_t now_ms, struct ehis_why *why) EHIS_MUST_USE;
ehis_err exchange_on_subscribe(struct exchange *x, session_id s, struct span payload, int64_t now_ms, struct ehis_why *why) EHIS_MUST_USE;
ehis_err exchange_on_keys_get(struct exchange *x, session_id s, struct span payload, int64_t now_ms, struct ehis_why *why) EHIS_MUST_USE;

/* The large body of a message that is being delivered to this session; b borrows until the next verb. EXCHANGE_BLOB_UNKNOWN. */
ehis_err exchange_blob(struct exchange *x, session_id s, const uint8_t digest[HASH_BYTES], struct exchange_blob *b, int64_t now_ms) EHIS_MUST_USE;
/* A chunk of it is lost or altered: the message fails. */
void exchange_on_blob_bad(struct exchange *x, session_id s, const uint8_t digest[HASH_BYTES], ehis_err code, int64_t now_ms);
/* What its system may store yet. */
uint64_t exchange_room_bytes(const struct exchange *x, session_id s);

/* This group (and all before it) is durable: everything that waited for it happens now. */
void exchange_on_durable(struct exchange *x, uint64_t group, int64_t now_ms);
/* The bus brings something to an inbox that is owned here, or to a caller who waits here. OK: taken, bus_done comes (perhaps during this call).
 * REGISTRY_BEHIND (its gateway knew a newer registry): offer it again later. Anything else: it is not what it seems, recorded; the bus
 * keeps it aside (dead letters) and goes on. Nothing unverified is delivered. */
ehis_err exchange_on_arrival(struct exchange *x, const struct exchange_arrival *a, int64_t now_ms) EHIS_MUST_USE;
/* A record on the bus that was refused before it came here: recorded, a number a second. inbox, gateway: where they are known. */
void exchange_on_junk(struct exchange *x, struct span inbox, struct span gateway, ehis_err code, const char *why, int64_t now_ms);
/* The broker has it and its group's audit frame; is_replicated: on more than one machine (never in a pilot). */
void exchange_on_carried(struct exchange *x, const struct hash *digest, bool is_replicated, int64_t now_ms);
/* The broker has both, and may lose them by its settings: it is not carried, and handed over again at exchange_on_safe. */
void exchange_on_unsure(struct exchange *x, const struct hash *digest, int64_t now_ms);
void exchange_on_safe(struct exchange *x, int64_t now_ms);
/* All records up to this number are on the audit topic: no later one is noted as replicated. Never called: the bus writes no audit. */
void exchange_on_audited(struct exchange *x, uint64_t sequence);
/* The bus lost it (an error that may have been final, a topic that was made anew): it is handed over again. */
void exchange_on_lost(struct exchange *x, const struct hash *digest, int64_t now_ms);
ehis_err exchange_on_report(struct exchange *x, const struct exchange_report *r, int64_t now_ms) EHIS_MUST_USE;
/* The inbox is ours now, or no longer: then all handles of it are void, and its next owner gets what is unfinished. */
void exchange_on_inbox(struct exchange *x, struct span system, bool is_owned, int64_t now_ms);
/* The bus keeps a subscription, or no longer, by this gateway's word or another's; at the start all that are there. Events come by
 * exchange_on_arrival with the subscriber as inbox while that inbox is owned here, from where its subscription began. */
void exchange_on_cursor(struct exchange *x, struct span system, struct span service, struct span event, bool is_there, int64_t now_ms);
/* No gateway has a session of it that takes calls any more: those under way fail (PROVIDER_GONE). */
void exchange_on_unreachable(struct exchange *x, struct span system, int64_t now_ms);
/* Answer to ports.probe, asked at asked_ms: everything of ours that stood in the inbox before it has been read by its owner, who still has
 * these. What we handed over before, is not finished and not among them, was lost: it is recorded (GAP) and handed over again. How many. */
size_t exchange_on_probed(struct exchange *x, struct span system, int64_t asked_ms, const struct hash *held, size_t count, int64_t now_ms);
/* For an owner who is asked: digests of this gateway's that it holds unfinished in this inbox; at most max; returns how many. */
size_t exchange_held(const struct exchange *x, struct span system, struct span gateway, struct hash *out, size_t max);
/* Time passes: expiry, retries, refusal aggregates, duplicates forgotten. Bounded work; returns ms until it wants to be called again (<= 1,000). */
uint32_t exchange_tick(struct exchange *x, int64_t now_ms);
/* Draining: new work is answered BUSY (GATEWAY_DRAINING); true when nothing accepted waits for durability. */
bool exchange_drain(struct exchange *x);

/* Moves what is unfinished in a segment ahead; at most budget entries, and some 4 MiB; true when nothing of it is left there and what was moved is durable. */
bool exchange_carry(struct exchange *x, uint64_t segment, size_t budget, int64_t now_ms);

/* Other records of the house go through here too, so that sequence and time are given in one place. */
ehis_err exchange_note(struct exchange *x, struct record *r, int64_t now_ms) EHIS_MUST_USE;

struct exchange_status {
    uint64_t accepted, refused, delivered, failed, expired, duplicates, conflicts, busy, skips;
    uint64_t stored_messages, stored_bytes, known_calls, in_flight, streams, subscriptions, next_sequence;
};
void exchange_status(const struct exchange *x, struct exchange_status *out);
/* For status by system: each known system with its queue. */
struct exchange_inbox_status { struct span system; uint64_t waiting, waiting_bytes, in_flight; int64_t oldest_accepted_ms; bool is_ready; };
void exchange_each_inbox(const struct exchange *x, void (*each)(void *ctx, const struct exchange_inbox_status *i), void *ctx);
