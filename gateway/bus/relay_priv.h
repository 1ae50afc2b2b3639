/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Shared by relay.c (life, ports), relay_out.c (parcels on their way out), relay_audit.c (audit frames), relay_in.c (partitions that are read), relay_take.c
 * (what a record says), relay_lease.c (beats, claims, ownership), relay_cursor.c (subscriptions and their positions) and relay_feed.c (event topics, read
 * once for all subscribers). */
#pragma once
#include "gateway/bus/relay.h"

#include "gateway/bus/lease.h"
#include "gateway/bus/parcel.h"
#include "gateway/bus/window.h"
#include "gateway/exchange/table.h"

#define RELAY_WAITING_MAX 50000             /* parcels of the core not yet given to the client; beyond BUS_FULL */
#define RELAY_BATCH_MAX BATCH_MAX_LEAVES    /* leaves under one signature: what a reader takes */
#define RELAY_HELD_MAX 1024                 /* of one partition: what was read and is not finished; */
#define RELAY_HELD_BYTES (4 * 1024 * 1024)  /* then it pauses, until half of it is done */
#define RELAY_BUDGET_BYTES (256 * 1024 * 1024) /* of all partitions */
#define RELAY_DEAD_A_SECOND 20              /* of one topic copied to dlq; beyond counted alone; */
#define RELAY_DEAD_MAX 8192                 /* of all topics that wait for it */
#define RELAY_STALLS_A_TICK 8               /* tried again: each is looked for among all that wait */
#define RELAY_RETRY_MS 1000
#define RELAY_TICK_MS 50
#define RELAY_COMMIT_MS 200
#define RELAY_LOOK_MS 10000 /* at where the logs that are read whole begin: nothing else tells who stands at the end that records were deleted */
#define RELAY_TABLE_HEADS 4096
#define RELAY_CURSORS_MAX 65536
#define RELAY_PARTITIONS_MAX 256
#define RELAY_POSITIONS_MAX_BYTES (RELAY_PARTITIONS_MAX * (10 + WINDOW_OFFSETS_MAX / 8))

enum out_kind { OUT_ENVELOPE, OUT_AUDIT, OUT_REPORT, OUT_DEAD, OUT_ANSWER, OUT_CLAIM, OUT_BEAT, OUT_CURSOR };

/* A parcel on its way: waiting in order of number, then with the client. Its token is its address. */
struct out {
    struct node in_list;
    uint64_t number;
    enum out_kind kind;
    enum kafka_lane lane;
    int32_t partition;
    struct journal_pos pos;    /* ENVELOPE: where it stands, unless a skip */
    bool has_pos, is_sent, is_last; /* BEAT: the one that leaves */
    struct hash digest, leaf;
    struct audit_group *group; /* AUDIT: whose part. ENVELOPE: looked up by group_number when confirmed */
    uint64_t group_number;
    uint64_t epoch;            /* the relay's when it was given */
    struct held *held;         /* REPORT, DEAD: finished when confirmed; NULL when its inbox was lost */
    struct inbox *inbox;       /* CLAIM */
    struct follower *cursor;   /* CURSOR */
    uint8_t *payload;          /* AUDIT, CURSOR, until given */
    size_t payload_len, topic_len, key_len, head_len;
    char bytes[];              /* topic, NUL, key, head */
};

/* One group of the journal, until its parts are confirmed; what is written of it is read from the journal. */
struct audit_group {
    struct node in_list;
    uint64_t group, last_sequence;
    uint32_t parts_open;
    bool is_durable, is_sent, has_failed, is_done;
    bool is_unsure;            /* confirmed by brokers that may lose it: written again when they may not */
    struct node waiting;       /* envelopes that are confirmed themselves */
    size_t count, cap;
    struct journal_pos *pos;
};

enum reading_kind { READ_LEASE, READ_REPLY, READ_CALL, READ_INBOX, /* and for events: */
                    READ_CURSOR, /* the subscriptions: whole */
                    READ_KEY,    /* the keys of an event: whole */
                    READ_FEED,   /* a partition of its topic: what comes is given to each EVENT that is next to have it */
                    READ_EVENT   /* the same partition for one subscriber: fed, by no watch of its own */ };
enum reading_state { READING_ASKS, READING_READS, READING_RESTS, READING_IDLE };

/* A partition that is read. */
struct reading {
    struct relay *relay;
    enum reading_kind kind;
    enum reading_state state;
    struct inbox *inbox;       /* CALL, INBOX, EVENT */
    struct event *event;       /* KEY, FEED, EVENT */
    struct follower *cursor;   /* EVENT */
    int32_t partition;
    enum kafka_lane lane;
    int64_t at;                /* the next offset, or KAFKA_FROM_BEGIN */
    struct reading *turn;      /* a FEED that goes back: for whom; NULL: it stands idle */
    uint32_t turn_count;
    int64_t begins_at, looked_ms; /* LEASE, CURSOR: or UNKNOWN */
    uint32_t watch;            /* its place in relay.readings, from 1, and a count: an answer to a former one is not for it */
    int64_t retry_ms;          /* RESTS: asks again then */
    bool has_window, is_paused, is_commit_due, is_looking;
    struct window window;
    struct node held;          /* in order of offsets; given to the core, or to dlq, or a report is on its way */
    struct node later;         /* read, not yet taken by the core: offered again in order */
    size_t held_count, held_bytes;
    size_t dead_count, dead_bytes; /* of these, what waits for dlq */
    int64_t second_ms;
    uint32_t dead_in_second;
    char topic[BUS_TOPIC_NAME_MAX_BYTES + 1];
};

/* A record that was read. Its handle is its address. */
struct held {
    struct node in_list;
    struct reading *reading;
    int64_t offset, broker_ms;
    struct span value, key;
    void *hold;
    struct out *out;           /* the report or dead letter that finishes it */
    bool is_dead;
    size_t gateway_len;
    char gateway[IDENTIFIER_MAX_BYTES];
};

struct inbox {
    struct table_node by_name;
    struct node in_list;
    bool wants_streams, wants_calls;       /* by the core */
    bool claimed_streams, claimed_calls;   /* last written */
    bool is_claiming;                      /* on its way */
    bool is_owned;
    struct reading *call, *stream;
    uint64_t probe_token;
    int64_t probed_ms;
    struct node cursors;
    size_t name_len;
    char name[IDENTIFIER_MAX_BYTES];
};

enum { UNKNOWN = -1, ASKED = -2 }; /* instead of an offset */

/* An event of a service that anybody subscribes to. Its topic is read while the inbox of a subscriber is owned here. */
struct event {
    struct node in_list, cursors;
    size_t started;            /* of its cursors */
    struct reading *keys;
    int64_t keys_end;          /* or UNKNOWN, ASKED */
    int64_t keys_from;         /* where they begin, once the end is known */
    int64_t keys_asked_ms, asked_ms;
    bool is_asked;             /* where its topic ends */
    bool is_feeding;
    int32_t count;             /* partitions; 0: not known yet */
    struct { struct reading *main, *lag; } *parts;
    struct span service, name;
    char text[];
};

/* A subscription (SPEC 17.9): as the newest record that counts says, and, while its inbox is owned here, where it stands now. */
struct follower {
    struct table_node by_id;
    struct node in_event, in_inbox;
    struct hash id;            /* of its record's key */
    struct inbox *inbox;
    struct event *event;
    enum { CURSOR_NEW, CURSOR_THERE, CURSOR_ENDED } state;
    enum { WANT_NOTHING, WANT_BEGIN, WANT_END } want; /* asked for here and not read back yet */
    int64_t from_ms;           /* BEGIN: where; 0: where the topic ends */
    bool is_asked;             /* BEGIN: what is being asked is where it begins */
    uint64_t newest_ms, end_ms, end_written_ms, end_boot; /* of what counted: against repetitions */
    bool is_started, is_writing, is_dirty, is_overwritten; /* is_started: its inbox is owned here; is_overwritten: by what does not count */
    int32_t count;             /* of parts */
    struct reading **parts;    /* NULL: not delivered here */
    uint8_t *positions;        /* one window after the other; a partition beyond them begins at its beginning */
    size_t positions_len;
};

/* A topic that takes nothing for the moment, and what waits for it: so there are no more of them than of these (RELAY_WAITING_MAX). */
struct stall { struct table_node by_topic; struct node in_list; int64_t until_ms; struct node outs; size_t topic_len; char topic[]; };

struct relay {
    struct bus bus;
    struct loop *loop;
    const struct clock *clock;
    struct relay_config config;
    char *gateway;
    uint64_t boot;
    struct kafka *kafka;
    struct exchange *exchange;
    const struct registry *registry;
    const struct sign_key *key;
    struct root_cache *roots;
    struct loop_timer *tick, *flush;
    bool is_leaving, has_left;
    /* out */
    struct node waiting, sent;
    struct node *insert_at;                /* where the last failed one went */
    uint64_t next_number, waiting_count, sent_count;
    struct table stalls;
    struct node stall_list;
    struct hash *leaves;
    struct out **batch;
    struct tree tree;
    struct buf head, scratch, entry, framed;
    bool is_unsafe, has_unsure;            /* the cluster; the core has something that was confirmed then */
    uint64_t epoch;                        /* so often the cluster became safe again: what was given before may have been confirmed before */
    /* audit */
    struct node groups;
    uint64_t group_count, audit_in_flight, replayed_up_to;
    /* in */
    struct reading **readings;
    size_t reading_cap;
    uint32_t reading_count;                /* ever */
    struct node inboxes;
    struct table by_name;
    size_t inbox_count, owned_count;
    uint64_t held_count, held_bytes, dead_count, dead, refused;
    int64_t commit_ms;
    struct hash *probed;                   /* scratch */
    /* events */
    struct node events;
    struct table cursors;
    struct reading *lease_log, *cursor_log;
    int64_t cursors_end, cursor_ms; /* cursors_end: or UNKNOWN, ASKED */
    bool is_cursors_read;
    /* leases */
    struct lease_table *leases;
    bool is_ready, is_beating;
    int64_t beat_ms, check_ms, renewed_ms;
    uint64_t lease_time_ms, rival;         /* of the last beat or claim: rises; a boot that stood for our name last */
};

static inline int64_t relay_mono_ms(const struct relay *r) { return clock_mono_ms(r->clock); }
static inline int64_t relay_wall_ms(const struct relay *r) { return clock_wall_ms(r->clock); }
static inline struct span relay_name(const struct relay *r) { return span_str(r->gateway); }
static inline const char *relay_prefix(const struct relay *r) { return r->config.options->prefix; }

/* relay.c */
void relay_new_boot(struct relay *r); /* another instance of this gateway, for all others */

/* relay_out.c */
struct out_place { enum bus_topic_kind topic; enum kafka_lane lane; int32_t partition; struct span owner, event, key; };
/* Queues a parcel; gateway, boot and time of h are filled in. payload_digest NULL: no payload. BUS_FULL for what the core gives alone. */
ehis_err relay_put(struct relay *r, enum out_kind kind, const struct out_place *at, struct parcel_head *h, const struct hash *payload_digest, struct out **out) EHIS_MUST_USE;
ehis_err relay_send(struct bus *b, const struct exchange_item *item, bool *is_here) EHIS_MUST_USE;
void relay_flush(struct relay *r);
void relay_flush_soon(struct relay *r);
void relay_on_sent(void *ctx, uint64_t token, ehis_err err, int64_t offset);
void relay_out_tick(struct relay *r);
void relay_out_fini(struct relay *r);

/* relay_audit.c */
void relay_audit_pump(struct relay *r);
void relay_audit_sent(struct relay *r, struct out *o, ehis_err err);
/* The envelope is confirmed: told to the core now, or when its group is. Takes o. */
void relay_audit_wait(struct relay *r, struct out *o);
void relay_carried(struct relay *r, struct out *o);
void relay_audit_fini(struct relay *r);

/* relay_in.c */
struct reading *relay_read(struct relay *r, const struct reading *as); /* kind, whose, partition, lane, at; NULL without memory */
void relay_read_from(struct reading *g, int64_t from);
void relay_read_stop(struct reading *g);
void relay_unread(struct reading *g);
void relay_on_record(void *ctx, struct kafka_record *record);
void relay_on_end(void *ctx, uint32_t watch, int64_t offset);
void relay_on_watch_error(void *ctx, uint32_t watch, ehis_err err, const char *text);
void relay_on_position(void *ctx, uint32_t watch, ehis_err err, const struct kafka_position *p);
void relay_held_finish(struct held *h); /* its offset is finished */
/* It waits for dlq, as long as that is away: reading goes on meanwhile, as far as the window reaches. What such ones hold is bounded apart: beyond, its
 * value is empty now. */
void relay_held_dead(struct held *h);
void relay_forget_offsets(struct reading *g); /* the log is another now: what is held stays with the core */
void relay_in_tick(struct relay *r);

/* relay_take.c */
/* Verifies it and gives it to whom it is for; h may be gone then. False: the core cannot take it now, it stands first in later; nothing behind it may be
 * offered before, so that streams and probes keep their order. */
bool relay_offer(struct held *h);
void relay_done(struct bus *b, uint64_t handle, const struct exchange_report *report);
bool relay_has(struct bus *b, uint64_t handle);

/* relay_audit.c */
void relay_audit_safe(struct relay *r); /* the cluster is: frames that it confirmed before are written again, at the next tick */

/* relay_cursor.c */
ehis_err relay_subscribe(struct bus *b, struct span system, struct span service, struct span event, bool is_end, int64_t from_ms) EHIS_MUST_USE;
ehis_err relay_on_cursor(struct relay *r, const struct parcel *p) EHIS_MUST_USE;
void relay_on_offsets(void *ctx, uint64_t token, ehis_err err, const struct kafka_range *ranges, size_t count);
void relay_cursor_sent(struct follower *c, ehis_err err);
void relay_cursors_own(struct relay *r, struct inbox *i, bool is_owned);
void relay_cursors_tick(struct relay *r);
void relay_cursors_anew(struct relay *r); /* their log was cut, or made anew: all that are known are written again */
void relay_cursor_again(struct relay *r, struct span key); /* likewise, of a subscription that is known */
void relay_cursors_write(struct relay *r); /* those that have moved */
void relay_cursors_fini(struct relay *r);

/* One question a topic: whoever wants to begin while it is under way waits for the next. */
void relay_event_ask(struct relay *r, struct event *e, int64_t from_ms);

/* relay_feed.c */
bool relay_is_read(const struct reading *g, int64_t end); /* all that is before, if that is known */
void relay_event_start(struct relay *r, struct follower *c); /* its inbox is owned here */
void relay_event_go(struct relay *r, struct event *e);     /* gives those that were started their parts, as soon as the keys are read and the partitions known */
void relay_event_grow(struct event *e, int32_t count);      /* so many partitions; never fewer */
void relay_event_stop(struct follower *c);                   /* its positions are in c->positions then */
ehis_err relay_event_positions(const struct follower *c, struct buf *out) EHIS_MUST_USE;
void relay_feed(struct reading *f, struct kafka_record *record);
void relay_feed_pace(struct event *e, int32_t partition);
void relay_feed_reset(struct reading *f); /* its offsets are not in the log any more */
void relay_feed_gone(struct reading *f);  /* the topic is not there: made again, it may hold more than was read of the old one, and none of it was read */
void relay_event_key(struct reading *keys); /* one was taken */

/* relay_lease.c */
struct inbox *relay_inbox(struct relay *r, struct span system, bool is_made);
void relay_want(struct bus *b, struct span system, bool streams, bool calls);
ehis_err relay_on_lease(struct relay *r, const struct parcel *p, int64_t offset, int64_t broker_ms) EHIS_MUST_USE; /* an error: set aside */
void relay_claim_sent(struct relay *r, struct inbox *inbox, ehis_err err);
void relay_lease_tick(struct relay *r);
void relay_claim_again(struct relay *r, struct span key); /* what is no claim stands under a record's key: where it is of a claim of ours, that is written again */
void relay_lease_anew(struct relay *r); /* the log was cut, or made anew: what it said counts no longer */
void relay_inboxes_fini(struct relay *r);
