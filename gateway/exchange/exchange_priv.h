/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What the files of the core share.
 *
 *   message   one envelope, from its record to the end of its memory: it goes when it is final, settled (or forgotten), owes no receipt,
 *             waits for no group and has no delivery left
 *   delivery  a message's way to one recipient: in a lane (streams), in a system's calls, in flight at a session; it ends by an
 *             acknowledgement, or turns into a skip
 *   lane      one stream on its way to one recipient: in order, blocked as a whole after a negative acknowledgement
 *   stream    one sender's numbers: what is expected, what is settled
 *   topic     an event of a service: subscriptions and key envelopes
 *   guest     a message that came over a bus that carries: its body is the bus's, its place in no journal; the gateway that accepted it hears how
 *             it ended. One that was accepted here comes back as a guest as well: then both end by one record
 *
 * State follows the journal's order: what a record says is true in memory when it is appended; what goes out waits until it is durable. */
#pragma once
#include "gateway/exchange/exchange.h"
#include "gateway/exchange/table.h"
#include "policy/decide/decide.h"
#include "proto/wire/identifier.h"
#include "proto/wire/record.h"
#include "proto/wire/session_frames.h"
#include "proto/wire/statement.h"

#define CLOCK_SKEW_MS 60000
#define DUPLICATE_MS 60000                      /* after its expiry an id is remembered for so long, */
#define FORGET_MS 5000                          /* a waiting call's for so long: its last receipt goes out; again it would be refused as expired */
#define SET_BACK_MS 60000                       /* also where the clock was set back by so much */
#define UNSETTLED_MS (14 * INT64_C(86400000))   /* and a receipt that nobody fetches for so long */
#define BACKOFF_MAX_MS 60000
#define WINDOW_MAX 1024                         /* deliveries in flight at one session, of each sort */
#define BUSY_RETRY_MS 250
#define REFUSALS_A_SECOND 20                    /* of one peer and code with a record each; then one aggregate a second */
#define REFUSED_NUMBERS_A_SECOND 200            /* these cannot be aggregated: beyond, BUSY */
#define REFUSED_SUBSCRIPTIONS_A_SECOND 512
#define REFUSALS_HELD_MAX 4096                  /* receipts waiting for their aggregate, of all peers */
#define REFUSAL_SLOTS 16                         /* codes of one peer in one second; one more is BUSY */
#define FRAMES_HELD_MAX_BYTES (1024 * 1024)     /* small frames kept for a session whose output is full */
#define RESPONSE_ROOM_BYTES (16u * 1024 * 1024) /* what is larger goes in chunks */
#define FINAL_BYTES 1536                        /* in the journal for the end of a message: a record with an acknowledgement */
#define KEYS_FRAME_BYTES (256 * 1024)
#define KEYS_OF_EPOCH_BYTES (1024 * 1024)       /* all go out at once: they must find room */
#define WHEEL_SLOTS 4096                        /* seconds; what is due later stays in its slot for another round */
#define DUE_A_TICK 2000
#define STEPS_A_SECOND 200000                   /* over what a sender has stored, that its own frames ask for; beyond, BUSY */
#define EPOCH_BYTES 16
#define STREAM_BYTES 16

struct segment { uint64_t number; struct node messages, streams, subscriptions; }; /* live things whose newest whole record stands there */
struct place { uint32_t segment, offset, record_bytes, attachment_bytes; };       /* journal_pos, packed */

struct name { struct table_node by_text; struct system *system; uint16_t len; char text[]; };
static inline struct span name_span(const struct name *n) { return span_of(n->text, n->len); }

struct refusals { uint32_t code, count; int64_t since_ms; struct node held; };

struct system {
    struct name *name;
    struct node in_all, in_refusing, in_pump, sessions, streams /* as sender, the longest unused first */, subscriptions;
    struct node guest_streams;
    struct node calls, lanes; /* as recipient: requests that wait for a session; lanes with something to send */
    struct session *stream_session;
    struct refusals refusals[REFUSAL_SLOTS];
    uint32_t stream_count, subscription_count;
    uint32_t stored_messages, known_calls, calls_open; /* as sender: in streams, and keys; calls and what else is known by its id; calls unfinished */
    uint64_t stored_bytes;                             /* as sender: of unfinished messages, and of chunks that are kept */
    int64_t steps_ms;                                  /* as sender: since then, */
    uint64_t steps;                                    /* so many of STEPS_A_SECOND */
    uint64_t forgotten_ms;                             /* as sender: the latest time in an exchange id of a call that is known no more */
    uint32_t calls_waiting;                            /* as recipient: requests of callers that wait */
    struct node guests, outgoing;                      /* as recipient: what came over the bus; what was accepted here and is on its way to it */
    int64_t probed_ms;
    bool is_owned;                                     /* its inbox is this gateway's */
    uint64_t waiting, waiting_bytes, in_flight;        /* as recipient: deliveries unfinished, those in flight included */
    uint64_t readies;                                  /* as recipient: how often it has said READY */
};

struct session {
    struct table_node by_id;
    struct node in_system, in_flight /* deliveries */, responses /* deliveries */, owed /* messages */;
    struct system *system;
    session_id id;
    uint64_t next_delivery;
    struct ready windows;
    uint64_t in_flight_bytes;
    uint32_t calls_in_flight, streams_in_flight;
    bool is_ready, is_full /* until exchange_session_room */, is_doomed, takes_large;
    uint8_t certificate[32], state_id[16], address_bytes;
    char address[64];
    struct node asked; /* subscriptions that the bus has not confirmed yet */
    struct buf frames; /* u8 type, u32 length, payload, ... kept while the output is full; a KEYS_GET is answered from here */
};

enum { IS_WAITING = 1, /* a call, or its response */
       IS_ARRIVED = 2, IS_REPLIED = 4, NEEDS_REPLY = 8, IS_FORGOTTEN = 16, IS_TRANSIENT = 32, /* a refusal that is not remembered */
       HAS_ACK = 64, IS_OVER = 128, /* an event that expired */
       IS_OPEN = 256, /* accepted, its body still needed: counted against the bounds */
       IS_PARKED = 512, /* delivered and settled, waits for its answer alone: counted as known, so that it keeps nothing else out */
       IS_SENT = 1024, /* the bus has it */
       IS_CARRIED = 2048, IS_REPLICATED = 4096, /* the broker has confirmed it; on more than one machine */
       IS_UNSURE = 8192 /* confirmed by brokers that may lose it: handed over again when they may not */ };

/* A message's body that travels in chunks. */
struct large {
    uint8_t root[HASH_BYTES];
    uint64_t bytes, partition, offset;
    bool is_kept /* by ports.blob_keep */, is_bad;
};

#define GUEST_ARRIVALS_MAX 4 /* of one message over several gateways; one more is told nothing: its gateway asks */
struct guest {
    struct system *to;         /* whose inbox it came in */
    struct span bytes, header; /* the Envelope, its header: the bus's; of a key its own */
    struct hash sealed_hash;
    struct span signature_bytes;
    uint32_t arrival_count;
    struct { uint64_t handle; struct name *gateway; } arrivals[GUEST_ARRIVALS_MAX];
    uint8_t copy[]; /* of a key */
};

struct message {
    struct table_node by_digest, by_key, by_epoch; /* by_epoch: of keys */
    struct node in_segment, in_wheel, in_owed, in_bus /* unsent, of its recipient's outgoing, or of its guests */, in_stream; /* in_stream: of its stream, by number; of a key: of its topic */
    struct hash digest;
    uint8_t id[16]; /* exchange id; of an event its epoch */
    union {
        struct { struct stream *stream; uint64_t number; };
        uint8_t epoch[EPOCH_BYTES]; /* KIND_KEY */
    };
    struct place home, final; /* the newest record with its header (and body); the one with the acknowledgement */
    struct system *sender, *to; /* to is NULL for events and keys */
    struct name *recipient;     /* as in the header; NULL: a refusal that names something unknown */
    union {
        struct message *peer;   /* request <-> response */
        struct topic *topic;    /* events and keys */
        char *text;             /* transient: recipient of an aggregated refusal; owned */
    };
    struct guest *guest;      /* NULL: accepted here */
    struct large *large;      /* NULL: its body is in the envelope */
    struct name *gateway;     /* a waiting response: where the caller waits; with a bus that carries */
    struct delivery *deliveries;
    session_id session; /* that submitted it last */
    uint64_t sequence, group; /* of its record */
    int64_t carried_ms; /* when the broker confirmed it */
    int64_t since_ms;   /* of its state */
    int64_t expires_ms;
    uint64_t registry_version;
    uint32_t wheel_at_s, sealed_bytes, code, live_bytes;
    uint32_t largest_bytes;  /* request: of its response; event: reserved for the ends of its deliveries */
    uint16_t pending, flags; /* pending: entries of the ring */
    uint8_t kind, state, durable;
};

struct delivery {
    struct table_node by_number;
    struct node in_queue; /* of its lane, of its system's calls, of a session: in flight or responses */
    struct message *message;
    struct delivery *next, *prev; /* of the message */
    struct lane *lane;     /* NULL: a call or its response */
    struct system *to;
    struct session *session; /* in flight there */
    uint64_t number, group; /* of the session; that must be durable before it goes out */
    uint8_t attempt, strikes;
    uint8_t skip;          /* state, where it is a skip */
    bool is_queued;        /* in the lane or in calls */
    bool is_crowded;       /* an event that its subscriber's inbox has no room for */
    struct share *share;
};

struct stream {
    struct table_node by_id;
    struct node in_system, in_segment /* of its newest STREAM record: what was accepted later stands in later ones */, in_unsettled, messages, lanes;
    struct message *hint;
    struct system *sender, *to; /* both NULL until the registry knows the recipient: what a peer names costs no memory elsewhere */
    struct topic *topic;
    struct session *session; /* that opened it last */
    uint64_t expected, settled, segment;
    bool has_relation; /* with a bus that carries: something of it was accepted, so that its skips go on too */
    bool is_guest; /* of guests alone: what their sender opens here begins anew */
    uint8_t id[STREAM_BYTES], recipient_bytes, event_bytes;
    char recipient[IDENTIFIER_MAX_BYTES], event[IDENTIFIER_PART_MAX_BYTES];
};

/* What one sender has in one recipient's inbox; lives while something points to it. */
struct share {
    struct table_node by_ends;
    struct system *from, *to;
    uint64_t refs, waiting, waiting_bytes; /* refs: of lanes and deliveries */
    uint32_t calls_waiting;
};

struct lane {
    struct table_node by_ends; /* stream and recipient */
    struct node in_stream, in_system /* of system.lanes */, in_blocked, queue;
    struct delivery *hint;
    struct stream *stream;
    struct system *to;
    struct share *share;
    int64_t blocked_until_ms;
    uint64_t readies; /* of its recipient, when it was blocked for want of a handler; else UINT64_MAX */
    uint64_t lowest; /* of what a session gives back */
    uint32_t in_flight;
    bool has_relation; /* its recipient has had, or was to have, something of the stream */
};

struct topic {
    struct table_node by_name;
    struct name *service;
    struct node subscriptions, keys; /* keys: messages */
    uint32_t guest_keys; /* of these, from other gateways */
    uint8_t event_bytes;
    char event[64];
};
static inline struct span stream_recipient(const struct stream *st) { return span_of(st->recipient, st->recipient_bytes); }
static inline struct span stream_event(const struct stream *st) { return span_of(st->event, st->event_bytes); }
static inline struct span topic_event(const struct topic *t) { return span_of(t->event, t->event_bytes); }

struct subscriber {
    struct node in_topic, in_system, in_segment;
    struct topic *topic;
    struct system *system;
    session_id keys_session; /* that has got the keys of this epoch */
    uint8_t keys_epoch[EPOCH_BYTES];
};

/* What happens when a group is durable. */
struct pending {
    uint64_t group;
    struct message *message; /* NULL: a frame */
    uint8_t state;           /* the message's; 0: deliveries of it turned into skips */
    session_id session;
    uint8_t frame_type;
    struct span frame;       /* owned */
};

struct submission;
struct exchange {
    struct exchange_bounds bounds;
    struct exchange_ports ports;
    struct registry *registry;
    struct root_cache *roots;
    struct exchange_status status;
    uint64_t next_sequence, durable_group, append_group, carry_group, reserved_bytes, live_bytes;
    int64_t now_ms; /* of the verb that runs */
    int64_t latest_ms; /* that a tick, or before the start a record, has seen */
    bool is_carried;       /* by a bus with brokers, which may bring it to another gateway */
    bool is_bus_full;      /* something waits in unsent until the bus takes more: what has an order goes behind it */
    bool is_draining, is_replaying, has_replayed;
    struct node unsettled; /* streams whose sender had no steps left to look for what is settled */
    struct node unsent;    /* accepted here, not confirmed by a broker: in the order of acceptance; skips that the bus has not taken */
    bool has_unsure;       /* something in unsent may be */
    bool is_replicated;    /* what is confirmed is on more than one machine: no pilot */
    uint64_t carried_sequence; /* of the newest RECORD_REPLICATED */
    uint64_t audited_sequence; /* not beyond */
    int64_t bad_since_ms;  /* records of what the bus brought and nobody may have, counted by the second */
    uint32_t bad_count;
    ehis_err halted;
    uint32_t refusals_held;
    struct table names, topics, sessions, streams, lanes, shares, by_digest, by_key, by_delivery, by_guest, by_epoch;
    struct pool messages, deliveries;
    struct node systems, blocked /* lanes */, refusing /* systems with held refusals */, to_pump, visiting, *wheel; /* messages by when they are due */
    int64_t wheel_s; /* the next second to look at */
    struct segment **segments;
    size_t segment_count, segment_cap;
    struct pending *pending; /* a ring */
    size_t pending_at, pending_count, pending_cap;
    struct buf record_buf, head_buf, text_buf, keys_buf;
    struct hash *leaves;
    struct ack *acks;
    struct tree tree;
    uint16_t gateway_bytes;
    char gateway[IDENTIFIER_MAX_BYTES];
};
static inline struct span exchange_gateway(const struct exchange *x) { return span_of(x->gateway, x->gateway_bytes); }

/* exchange.c */
ehis_err exchange_append(struct exchange *x, struct record *r, const struct span *attachment, size_t parts, bool is_lazy, struct journal_pos *pos) EHIS_MUST_USE;
struct place exchange_place(const struct journal_pos *pos);
/* Into record_buf; valid until the next. */
ehis_err exchange_load(struct exchange *x, struct place place, struct record *r, struct span *attachment) EHIS_MUST_USE;
struct segment *exchange_segment(struct exchange *x, uint64_t number); /* made where absent; NULL without memory */
struct name *exchange_name(struct exchange *x, struct span text); /* made where absent */
struct name *exchange_name_find(struct exchange *x, struct span text);
struct system *exchange_system(struct exchange *x, struct span id);

/* message.c */
/* guest: consumed on success. */
struct message *exchange_message_new(struct exchange *x, const struct envelope_header *h, const struct hash *digest, uint64_t sealed_bytes, bool is_refused, struct guest *guest);
void exchange_message_drop(struct exchange *x, struct message *m); /* from everything */
void exchange_message_settle(struct exchange *x, struct message *m); /* drops it if nothing holds it */
struct message *exchange_message_by_digest(struct exchange *x, const struct hash *digest);
struct message *exchange_message_by_key(struct exchange *x, const struct system *sender, const struct envelope_header *h);
void exchange_message_stand(struct exchange *x, struct message *m, const struct journal_pos *home); /* its home record */
void exchange_message_open(struct exchange *x, struct message *m);  /* counts it, and what is reserved for its end */
void exchange_message_reserve(struct exchange *x, struct message *m); /* an event: for each of its deliveries */
void exchange_message_close(struct exchange *x, struct message *m); /* if it is open */
void exchange_message_answer(struct exchange *x, struct message *request, struct message *response);
/* A record of the end of a delivery (d) or of the whole message (d NULL) and what follows from it. */
ehis_err exchange_finish(struct exchange *x, struct message *m, struct delivery *d, uint32_t kind, uint32_t code, struct span ack, struct session *s) EHIS_MUST_USE;
/* As another gateway says. */
ehis_err exchange_finish_by(struct exchange *x, struct message *m, uint32_t kind, const struct exchange_report *by) EHIS_MUST_USE;
/* FAILED where the right was gone at delivery: the record says by which rule. */
ehis_err exchange_deny(struct exchange *x, struct message *m, struct delivery *d, ehis_err code, const struct decide_answer *a) EHIS_MUST_USE;
/* The same without the record: also for replay. */
void exchange_finished(struct exchange *x, struct message *m, struct delivery *d, uint32_t kind, uint32_t code, int64_t at_ms);
bool exchange_ends_by_delivery(const struct exchange *x, const struct message *m);
void exchange_message_schedule(struct exchange *x, struct message *m);
static inline uint64_t exchange_id_ms(const uint8_t id[16]) { return be_get(id, 6); } /* UUIDv7 */
static inline bool message_is(const struct message *m, unsigned flag) { return (m->flags & flag) != 0; }
static inline bool message_is_numbered(const struct message *m) { return m->kind != KIND_KEY && m->stream; }
static inline struct message *message_of_stream(struct node *n) { return container_of(n, struct message, in_stream); }

/* durable.c */
ehis_err exchange_pend_reserve(struct exchange *x, size_t n) EHIS_MUST_USE; /* exchange_append does it for two */
void exchange_pend(struct exchange *x, struct message *m, uint8_t state);
ehis_err exchange_pend_frame(struct exchange *x, const struct session *s, uint8_t type, struct span frame) EHIS_MUST_USE; /* copied */

/* stream.c */
struct stream *exchange_stream_find(struct exchange *x, const struct system *sender, const uint8_t id[STREAM_BYTES], bool is_guest);
struct stream *exchange_stream_new(struct exchange *x, struct system *sender, const uint8_t id[STREAM_BYTES], struct span recipient, struct span event, bool is_guest);
struct stream *exchange_stream_of_header(struct exchange *x, struct system *sender, const struct envelope_header *h, bool is_guest);
bool exchange_stream_fits(const struct stream *st, const struct envelope_header *h); /* its recipient is the stream's */
void exchange_stream_drop(struct exchange *x, struct stream *st);
void exchange_stream_stand(struct exchange *x, struct stream *st, uint64_t segment);
void exchange_stream_add(struct stream *st, struct message *m);
/* Whether its sender may make this one search more; who makes it counts sender->steps. False: it has had those of this second (STEPS_A_SECOND). */
bool exchange_steps_fit(const struct exchange *x, struct system *sender);
void exchange_stream_settle(struct exchange *x, struct stream *st, uint64_t lowest);
ehis_err exchange_stream_record(struct exchange *x, struct stream *st) EHIS_MUST_USE;
struct lane *exchange_lane_find(const struct exchange *x, const struct stream *st, const struct system *to); /* or NULL */
struct lane *exchange_lane(struct exchange *x, struct stream *st, struct system *to); /* made where absent; NULL without memory */
void exchange_lane_add(struct exchange *x, struct lane *l, struct delivery *d);
void exchange_lane_wake(struct exchange *x, struct lane *l); /* among its system's lanes where it has something to send */
void exchange_lane_block(struct exchange *x, struct lane *l, int64_t until_ms);
void exchange_lane_drop(struct exchange *x, struct lane *l);

/* share.c */
struct share *exchange_share(struct exchange *x, struct system *from, struct system *to); /* a reference; made where absent; NULL without memory */
void exchange_share_unref(struct exchange *x, struct share *s);
void exchange_shares_free(struct exchange *x);
/* One message more of so many bytes, or one waiting call more. */
bool exchange_share_fits(const struct exchange *x, const struct system *from, const struct system *to, uint64_t bytes);
bool exchange_share_fits_call(const struct exchange *x, const struct system *from, const struct system *to);

/* inbox.c */
ehis_err exchange_halted(const struct exchange *x); /* why nothing goes on; OK */
struct delivery *exchange_delivery_new(struct exchange *x, struct message *m, struct system *to, struct lane *l);
void exchange_delivery_drop(struct exchange *x, struct delivery *d); /* from its queue and its message */
void exchange_delivery_detach(struct exchange *x, struct delivery *d); /* from where it is queued or in flight */
struct delivery *exchange_delivery_of(const struct message *m, const struct system *to);
void exchange_delivery_queue(struct exchange *x, struct delivery *d);
void exchange_delivery_skip(struct exchange *x, struct delivery *d, uint8_t state, uint64_t group); /* or drops it where nobody waits for it */
struct delivery *exchange_delivery_find(struct exchange *x, const struct session *s, uint64_t number);
void exchange_pump_later(struct exchange *x, struct system *to);
void exchange_pump(struct exchange *x); /* last in every verb: sends what may be sent now */
/* code, retry_ms: as its acknowledgement says; a session that ended: EHIS_OK. Not is_strike: nobody has tried. */
ehis_err exchange_give_back(struct exchange *x, struct delivery *d, bool is_strike, bool is_delayed, uint32_t code, uint32_t retry_ms) EHIS_MUST_USE;
void exchange_session_gives_back(struct exchange *x, struct session *s);

/* peers.c */
ehis_err exchange_ready_state(struct exchange *x, struct session *s, ehis_err code) EHIS_MUST_USE; /* a code: nothing is taken from it now */

/* acks.c: one that stands alone, of this message by this system. */
ehis_err exchange_verify_acknowledgement(struct exchange *x, const struct system *s, const struct hash *digest, struct span bytes, struct ack *out) EHIS_MUST_USE;

/* blobs.c */
ehis_err exchange_large_new(struct message *m, const struct envelope_large *l) EHIS_MUST_USE; /* nothing where its body is in the envelope */
void exchange_large_place(struct message *m, uint64_t partition, uint64_t offset);
void exchange_large_keep(struct exchange *x, struct message *m);
void exchange_large_let_go(struct exchange *x, struct message *m); /* its chunks are needed no longer */
void exchange_large_free(struct message *m);
static inline uint64_t response_room(uint32_t largest) { return largest < RESPONSE_ROOM_BYTES ? largest : RESPONSE_ROOM_BYTES; } /* in the journal */
static inline uint64_t message_bytes(const struct message *m) { return m->sealed_bytes + (m->large ? m->large->bytes : 0); }
/* b: of its large body, zeros where it has none; EXCHANGE_BLOB_MISSING: not all of it is here. */
ehis_err exchange_submitted_blob(struct exchange *x, const struct submission *u, struct exchange_blob *b) EHIS_MUST_USE;

/* calls.c */
uint32_t exchange_largest_response(const struct exchange *x, const struct envelope_header *h, bool *needs_reply); /* entry.c */
struct session *exchange_call_session(struct system *to);
void exchange_respond(struct exchange *x, struct message *response);
void exchange_call_again(struct exchange *x, struct message *request);

/* events.c */
struct topic *exchange_topic(struct exchange *x, struct span service, struct span event, bool is_made);
ehis_err exchange_subscribers(struct exchange *x, const struct topic *t, struct span *out) EHIS_MUST_USE; /* into text_buf */
size_t exchange_subscriber_count(const struct topic *t);
void exchange_fan_out(struct exchange *x, struct message *m, uint64_t group);
bool exchange_may_receive(struct exchange *x, const struct system *s, struct span service, struct span event, struct decide_answer *a);
struct subscriber *exchange_subscriber(const struct topic *t, const struct system *s);
ehis_err exchange_subscribe(struct exchange *x, struct topic *t, struct system *s, uint64_t segment) EHIS_MUST_USE;
void exchange_unsubscribe(struct exchange *x, struct subscriber *sub);
void exchange_asked_free(struct session *s);
/* The Envelope as it was submitted, and its header; borrowed from record_buf and head_buf. */
ehis_err exchange_envelope(struct exchange *x, const struct message *m, struct span parts[4], struct span *header) EHIS_MUST_USE;

/* keys.c */
void exchange_key_add(struct exchange *x, struct message *m);
void exchange_key_remove(struct exchange *x, struct message *m); /* from its epoch alone */
/* The next of this epoch behind another (NULL: the first), in no order; NULL: no more. */
const struct message *exchange_key_next(const struct exchange *x, const struct topic *t, const uint8_t epoch[EPOCH_BYTES], const struct message *behind);
/* Into a KEYS, and beside the others of its epoch, wherever they were accepted. */
bool exchange_key_fits(struct exchange *x, const struct envelope_header *h, const struct hash *digest, uint64_t bytes);
ehis_err exchange_keys_before(struct exchange *x, struct session *s, const struct delivery *event) EHIS_MUST_USE; /* first the keys that this event needs */
ehis_err exchange_keys_answer(struct exchange *x, struct session *s, struct span get) EHIS_MUST_USE;

/* receipts.c */
void exchange_owe(struct exchange *x, struct message *m); /* the receipt of its state, to whoever submitted it */
void exchange_session_flush(struct exchange *x, struct session *s);
struct session *exchange_session_find(const struct exchange *x, session_id id);
ehis_err exchange_frame(struct exchange *x, struct session *s, uint8_t type, struct span payload) EHIS_MUST_USE;
ehis_err exchange_flow(struct exchange *x, struct session *s, const struct exchange_flow *f) EHIS_MUST_USE;
bool exchange_is_sent(struct session *s, ehis_err err); /* false: the output is full, offer it again */

/* entry.c */
bool exchange_takes_calls(const struct system *to); /* a ready session here */
ehis_err exchange_verify(struct exchange *x, struct submission *u) EHIS_MUST_USE; /* the sender's key counts, the signature is right */
ehis_err exchange_check_registry(const struct exchange *x, const struct submission *u) EHIS_MUST_USE;

/* guest.c */
void exchange_guest_drop(struct exchange *x, struct message *m); /* memory and handles; the message goes by exchange_message_drop */
struct message *exchange_guest_find(struct exchange *x, const struct hash *digest, const struct system *to);
void exchange_guest_arrive(struct guest *g, uint32_t place, const struct exchange_arrival *a, struct name *gateway); /* place: of an arrival, or behind the last */
void exchange_guest_again(struct exchange *x, struct message *m, const struct exchange_arrival *a, struct name *gateway); /* from this gateway or from another that accepted it as well */
void exchange_guest_done(struct exchange *x, struct message *m, const struct exchange_report *report); /* its handles; a report for other gateways, or NULL */
void exchange_guest_ended(struct exchange *x, struct message *m); /* its record is durable: the bus and the accepting gateway hear of it */
void exchange_guest_answered(struct exchange *x, struct message *request, struct message *response); /* the response is durable */
void exchange_guests_forget(struct exchange *x, struct system *to, const struct topic *t); /* t NULL: all; their handles are void */
void exchange_want_inbox(struct exchange *x, struct system *s);

/* underway.c */
void exchange_to_bus(struct exchange *x, struct message *m, struct name *gateway); /* gateway: of another caller than m->gateway; NULL */
void exchange_skips_to_bus(struct exchange *x, struct message *m); /* before m in its stream, m included */
void exchange_unsent_add(struct exchange *x, struct message *m);
void exchange_send_unsent(struct exchange *x); /* what the bus has not taken: after a restart, and each second while it was full */
void exchange_replay_replicated(struct exchange *x, uint64_t up_to, bool is_replicated);
void exchange_note_replicated(struct exchange *x); /* lazily, when there is more */
void exchange_probe(struct exchange *x); /* each few seconds: what is on its way for long */

/* refusal.c */
struct submission {
    struct session *session;
    struct envelope envelope;
    struct envelope_header header;
    struct hash digest, sealed_hash;
    struct stream *stream; /* whose expected number this is, or one that was passed over */
    struct message *request; /* that a response answers */
    struct span rule;
    ehis_err told; /* instead of the code that is recorded, where the sender may not know it (R5); 0: the same */
    bool is_verified;
    struct ehis_why why;
};
ehis_err exchange_refuse(struct exchange *x, struct submission *u, ehis_err code) EHIS_MUST_USE;
ehis_err exchange_busy(struct exchange *x, const struct submission *u, ehis_err code, uint32_t retry_ms) EHIS_MUST_USE;
void exchange_submission_record(struct exchange *x, const struct submission *u, struct record *r);
/* Counts one that needs a record of its own and has no FLOW; false: too many in this second, the session is to end. */
bool exchange_refusal_fits(struct exchange *x, struct system *s, uint32_t code);
void exchange_refusals_due(struct exchange *x, struct system *s);
/* What follows from the record, also in replay. */
void exchange_refused(struct exchange *x, struct message *m, uint32_t code, int64_t at_ms, uint64_t group);
void exchange_admitted(struct exchange *x, struct message *m, struct message *request, uint64_t group);
