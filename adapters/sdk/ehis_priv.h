/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What the files of libehis share. Everything below is the I/O thread's but what is marked [lock] or [any].
 *
 *   order    a public call on its way to the I/O thread            job       a callback on its way to the application
 *   draft    an envelope to be made at the end of this turn        call      a request whose answer somebody waits for
 *   served   a waiting request that came, run once                 incoming  a message with the application
 *
 * A turn: drafts are sealed and signed in one tree; the store's group becomes durable; what waited for that happens (senders return,
 * acknowledgements, the next of each stream); then frames go out. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "adapters/sdk/ehis.h"
#include "adapters/sdk/inbox.h"
#include "adapters/sdk/outbox.h"
#include "base/loop.h"
#include "pki/keyfile.h"
#include "pki/tls.h"
#include "policy/decide/decide.h"
#include "proto/crypto/large.h"
#include "proto/crypto/recent.h"
#include "proto/link/link.h"
#include "proto/wire/session_frames.h"
#include "proto/wire/statement.h"

#define SOFTWARE "libehis/0.1.0"
#define CALLS_MAX 4096
#define JOBS_MAX 65536
#define DRAFTS_MAX 16384
#define DRAFT_TURN_BYTES (16u * 1024 * 1024)
#define SERVED_MAX 262144
#define SERVED_MAX_BYTES (256u * 1024 * 1024)
#define CLOCK_SKEW_MS 60000
#define NO_HANDLER_RETRY_MS 30000 /* it comes sooner where READY is said again (SPEC 8.6.4) */
#define KEYS_AGAIN_MS 1000 /* a missing key is asked for so often, however many events wait for it */
#define HELD_MS 20000       /* a delivery waits so long for a registry or a topic key */
#define SEAL_KEYS_MAX 8
#define OPERATOR_KEYS_MAX 8
#define GATEWAYS_MAX EHIS_GATEWAYS_MAX
#define ASKS_MAX 4
#define BODY_MAX_BYTES (15u * 1024 * 1024)

struct order {
    struct order *next;
    void (*run)(struct ehis *e, struct order *o); /* frees it or hands it on; e->is_stopped: the I/O thread is no more */
};
struct job {
    struct job *next;
    void (*run)(struct ehis *e, struct job *j); /* in a handler's thread; frees it */
    void (*drop)(struct ehis *e, struct job *j); /* instead, when closing */
};
/* Where a body comes from: memory, or what the application reads. */
struct body_source { struct span memory; int64_t (*read)(void *arg, void *into, size_t max); void *arg; };
struct large_upload { /* to one gateway */
    uint64_t session;
    uint32_t next, unanswered;
    bool is_asking, is_known /* how far it is there */, is_whole;
    int64_t again_ms;
};
struct large_out {
    struct large_out *next;
    struct large_manifest manifest; /* the root is not known yet while is_restored */
    uint8_t digest[32];             /* of its message, once it is made */
    bool is_restored;
    int fd;
    char name[80];
    struct large_upload uploads[GATEWAYS_MAX];
};
struct large_in {
    struct large_in *next;
    struct ehis *e;
    struct order drop;
    uint8_t digest[32];
    uint64_t bytes; /* of the body */
    uint32_t count; /* chunks */
    /* the I/O thread's */
    uint32_t asked; /* chunks that came */
    uint64_t session;
    bool is_asked;
    int64_t again_ms, since_ms;
    ehis_err last;
    /* [lock] */
    bool is_wanted;
    uint8_t *chunk;
    size_t chunk_len;
    ehis_err err;
    /* the reader's */
    struct large_opener *opener;
    struct buf plain;
    size_t at;
    uint32_t taken;
    bool is_whole;
    ehis_err failed;
};
struct in_body { /* of what came: the reader's once it is handed over */
    struct buf memory;
    struct large_in *large; /* NULL: memory is all of it */
    size_t read_at;
};
struct draft {
    struct draft *next;
    struct ehis *e;
    struct large_out *large; /* its body, until it is made */
    struct envelope_header header; /* its spans point into text */
    struct span body;
    enum out_class class_; /* 0: no stream */
    struct out_stream *stream;
    uint64_t number, sequence, sequence_before;
    void *owner;
    /* err: why it was not made; digest and envelope are of this call only. */
    void (*on_made)(struct ehis *e, struct draft *d, ehis_err err, const struct ehis_why *why, struct span envelope);
    uint8_t exchange_id[16];
    struct hash digest;
    struct seal_message_key key;
    uint8_t commitment[32], ephemeral[32], recipient_key_id[32], epoch[16];
    struct buf header_bytes, sealed;
    uint8_t text[];
};
struct handler {
    struct handler *next;
    enum { HANDLER_SERVE, HANDLER_SUBSCRIBE, HANDLER_RESPONSE } kind;
    char *service, *operation; /* operation NULL: every one of the service */
    ehis_handler fn;
    void *arg;
    uint32_t told; /* a bit for each session on which SUBSCRIBE went out */
    int64_t from_ms; /* of a replay that no gateway has confirmed yet: asked of one after the other */
    bool is_replayed; /* what came before may come again, to be handed over again */
};
struct call {
    struct entry by_digest;
    struct call *next, *prev, *next_due;
    struct job job;
    struct ehis *e;
    struct draft *draft; /* not made yet */
    bool is_made, is_large, is_to_send /* among the due */, is_unanswered;
    uint64_t session, avoided; /* where it was submitted last; where it was not taken */
    uint32_t turned_away; /* a bit for each slot of a gateway that knows no session of its provider */
    struct ehis_reply **reply_to; /* ehis_call: takes the reply, and done is quick: no handler's thread */
    uint8_t *bytes;
    size_t len;
    char service[IDENTIFIER_MAX_BYTES + 1];
    uint8_t exchange_id[16];
    int64_t expires_ms, deadline_us, send_at_ms;
    void (*done)(void *arg, int err, const ehis_reply *reply, const char *why);
    void *arg;
    ehis_err err;
    struct ehis_reply *reply;
    struct ehis_why why;
};
struct ask { /* a gateway that has asked for the answer */
    uint64_t session, delivery; /* session 0: none */
    int64_t send_at_ms;
    bool is_due, is_unanswered;
};
struct served {
    struct entry by_request, by_response; /* by_response: once made */
    struct served *next, *prev, *next_due;
    struct hash digest;
    uint8_t *response; /* NULL: runs */
    size_t len;
    int64_t expires_ms;
    ehis_err rejected;
    bool is_made, is_to_send /* among the due */, is_accepted /* by a gateway */;
    struct ask asks[ASKS_MAX]; /* the newest */
};
struct committed { /* what waits for the group to be durable */
    struct committed *next;
    void (*run)(struct ehis *e, struct committed *c);
};
struct ehis_incoming {
    struct job job;
    struct committed committed;
    struct in_item item; /* in a stream */
    struct served *served;
    struct ehis *e;
    struct ehis_incoming *next, *prev; /* of all that are with the application, or held */
    struct envelope_header header; /* its spans point into `envelope` */
    struct envelope parts;
    struct hash digest;
    uint64_t delivery, session, named_version;
    int64_t accepted_ms;
    uint32_t max_response_bytes;
    bool is_skip, is_held, is_without_key /* held for that */, is_with_application;
    atomic_bool is_finished; /* [any] */
    int64_t held_until_ms, key_again_ms;
    ehis_info info;
    struct in_body body;
    struct buf texts, rule;
    uint8_t *envelope;
    size_t envelope_bytes;
    ehis_handler fn;
    void *arg;
    /* The end, from whatever thread. */
    struct order end;
    uint32_t outcome, code, retry_ms;
    ehis_err refused; /* by us, before any handler */
    struct draft *answer;
};
struct ehis_reply {
    bool is_fault;
    uint8_t exchange_id[16];
    char content_type[65], schema[129];
    struct in_body body;
};
struct sealing { /* a seal context to one key */
    struct hash key_id;
    struct seal_context *context;
    uint64_t used;
};
struct topic { /* that we publish */
    struct topic *next;
    char *service, *event;
    uint8_t epoch[16], *key; /* key: a secret slot; NULL: no epoch yet */
    struct hash receivers;
    int64_t since_ms, checked_ms;
    uint64_t checked_version;
};
struct flush_wait {
    struct order order, end;
    struct flush_wait *next;
    uint64_t ticket;
    bool is_final, is_done;
    ehis_err err;
};

/* With one gateway: one session after another, each with an id of its own. */
struct session {
    struct ehis *e;
    char *address; /* host:port */
    uint32_t slot; /* its place in the list */
    struct link *link;
    ehis_err (*tap)(void *arg, uint8_t type, struct span payload); /* a test's: frames go there, and there is no link */
    void *tap_arg;
    struct resolving *resolving;
    struct { struct sockaddr_storage a[4]; socklen_t len[4]; size_t count, at; } addresses;
    struct loop_timer *dial_timer;
    uint32_t failures, retry_ms;
    uint64_t id; /* counted over all, from 1 */
    enum frame_state state;
    bool is_hello, is_ready, is_ready_sent, has_streams, is_fetching_registry, is_fetching_crl, is_leaving;
    bool is_replicating; /* its gateway says *replicated* */
    bool takes_large;
    struct pki_peer peer;
    uint64_t gateway_version, unanswered_bytes;
    uint32_t window_messages, window_bytes, unanswered;
    size_t max_frame_bytes;
    int64_t registry_asked_ms, ready_at_ms, settled_at_ms;
    struct ack *acks;
    size_t ack_count;
};

struct ehis {
    /* Fixed at opening. [any] */
    char system[IDENTIFIER_MAX_BYTES + 1], instance[IDENTIFIER_PART_MAX_BYTES + 1], *state_dir;
    char *chain_file, *key_file;
    uint8_t operator_keys[OPERATOR_KEYS_MAX][32];
    struct registry_trust registry_trust;
    struct sign_key *sign_key;
    struct seal_key *seal_keys[SEAL_KEYS_MAX];
    size_t seal_key_count;
    bool is_dispatched;
    uint32_t call_window, stream_window;
    void (*log)(void *arg, int level, const char *line);
    void *log_arg;
    const struct clock *clock;
    const struct random *random;

    pthread_mutex_t lock;
    pthread_cond_t changed;             /* status, finished waits, handlers' end */
    struct order *orders, **orders_end; /* [lock] */
    struct job *jobs, **jobs_end;       /* [lock] */
    size_t job_count;                   /* [lock] */
    bool is_posted, is_closing, is_stopped, is_worker_done; /* [lock] */
    unsigned running;                   /* [lock] handlers */
    ehis_status status;                 /* [lock] */
    unsigned refs;                      /* [lock] owner and worker */
    int event_fd;
    pthread_t io_thread, worker;
    pthread_cond_t work;                /* jobs for the worker */
    atomic_uint calls_open;
    unsigned calls_unmade;              /* the I/O thread's: drafts that wait for a session */

    void (*on_receipt)(void *arg, const ehis_receipt *r); /* [lock] */
    void *on_receipt_arg;
    void (*on_passed)(void *arg, const ehis_passed *p);   /* [lock] */
    void *on_passed_arg;

    /* The I/O thread's. */
    struct loop *loop;
    struct loop_timer *tick, *commit_timer;
    bool is_turn_due, is_ending;
    int64_t end_by_us;
    ehis_err failed; /* the disk: for ever */
    struct disk *disk;
    struct store *store;
    uint8_t state_id[16];
    uint64_t highest_version;
    uint8_t highest_hash[32];
    bool has_identity;
    struct registry *registry;
    struct buf ca; /* the authorities' file */
    struct pki_trust *trust;
    SSL_CTX *tls;
    int64_t own_until_ms; /* the certificate's end */
    struct root_cache *roots;
    struct handler *handlers;

    struct session sessions[GATEWAYS_MAX]; /* one for each gateway of the list */
    size_t session_count;
    uint64_t session_last;
    bool is_ready;            /* one of them is */
    bool is_passed_over;      /* another state folder has had the streams since one of ours had them */
    uint32_t incoming_count;
    uint64_t incoming_bytes;

    /* What the other files keep. */
    struct draft *drafts, **drafts_end;
    size_t draft_count;
    struct sealing sealings[64];
    uint64_t sealing_uses;
    struct tree tree;
    struct hash *leaves;
    struct buf frame, scratch, item;
    struct call *calls, *calls_due, **calls_due_end;
    struct table calls_by_digest;
    struct table served_by_request, served_by_response;
    struct served *served, *served_last, *served_due, **served_due_end;
    size_t served_count, served_bytes;
    struct seal_cache *opening;
    struct ehis_incoming *incoming;
    struct large_out *larges_out;
    struct large_in *larges_in;
    struct outbox *outbox;
    struct inbox *inbox;
    uint32_t handling_count; /* messages of streams */
    size_t finished_bytes; /* of the store's group */
    int64_t commit_by_us;
    struct topic *topics;
    struct recent *topic_keys;
    struct committed *committed, **committed_end;
    struct flush_wait *flushes;
    int64_t untold_asked_ms;
};

/* work.c: orders and jobs. */
bool work_post(struct ehis *e, struct order *o); /* [any] false: closed; o is the caller's */
void work_run_orders(struct ehis *e);
void work_job(struct ehis *e, struct job *j);   /* [any] */
ehis_err work_start(struct ehis *e) EHIS_MUST_USE;
bool work_finish(struct ehis *e, int64_t deadline_us); /* no handler runs any more; false: one still does */
int work_dispatch(struct ehis *e, int max);

/* orders.c */
int ehis_tell(char *out, ehis_err err, const struct ehis_why *why); /* why: into the caller's text */

/* client.c. Everything but the threads, which ehis_open starts; config must be whole. disk NULL: the state folder. */
ehis_err client_new(const ehis_config *config, struct disk *disk, const struct clock *clock, const struct random *random, struct ehis **out,
                    struct ehis_why *why) EHIS_MUST_USE;
void client_free(struct ehis *e);
void client_turn(struct ehis *e);
void client_tick(struct ehis *e); /* each 100 ms: deadlines; a turn */
void turn_soon(struct ehis *e);
void ehis_release(struct ehis *e); /* one reference, with the lock held; it is given back */
void ehis_fatal(struct ehis *e, ehis_err err); /* the disk has failed */
/* Runs when the group that is being collected is durable; c is then its own. */
void after_commit(struct ehis *e, struct committed *c, void (*run)(struct ehis *e, struct committed *c));
void client_note(struct ehis *e, ehis_err err, const char *why); /* the last trouble, for the application */
void client_set_ready(struct ehis *e);    /* with the lock: a session's state has changed */
void client_note_streams(struct ehis *e); /* a READY_STATE has come */
static inline bool is_connected(const struct session *s) { return s->link || s->tap; }
static inline int64_t now_ms(const struct ehis *e) { return clock_wall_ms(e->clock); }
static inline int64_t mono_ms(const struct ehis *e) { return clock_mono_ms(e->clock); } /* of pauses and patience */

/* state.c */
ehis_err state_open(struct ehis *e, struct ehis_why *why) EHIS_MUST_USE; /* e->disk may be set before: a test's */
ehis_err state_load_trust(struct ehis *e, const char *ca_file, const char *crl_file, struct ehis_why *why) EHIS_MUST_USE;
ehis_err state_take_registry(struct ehis *e, struct span part, struct ehis_why *why) EHIS_MUST_USE;
ehis_err state_take_crl(struct ehis *e, struct span der, struct ehis_why *why) EHIS_MUST_USE;
/* Where the own certificate has run out: the one that stands in its file now. Its keys are those of before. */
ehis_err state_renew_tls(struct ehis *e, struct ehis_why *why) EHIS_MUST_USE;
void state_close(struct ehis *e);

/* session.c */
ehis_err session_init(struct ehis *e, const char *address) EHIS_MUST_USE; /* the next of e->sessions */
void session_fini(struct session *s);
void session_start(struct session *s);
void session_tick(struct session *s);
void session_fail(struct session *s, ehis_err err); /* it ends */
void session_stop(struct session *s); /* GOODBYE, then closes */
ehis_err session_send(struct session *s, uint8_t type, struct span payload) EHIS_MUST_USE;
ehis_err session_frame(struct session *s, uint8_t type, struct span payload, struct ehis_why *why) EHIS_MUST_USE; /* what the gateway sent */
void session_ended(struct session *s); /* its state, whatever ended it */
void session_note(struct session *s, ehis_err err, const char *why);
void session_set_ready(struct session *s, bool is_ready);
struct session *session_ready(struct ehis *e, uint64_t but_for); /* the first in the list; but_for: an id that is taken only where there is no other */
struct session *session_of(struct ehis *e, uint64_t id);         /* NULL: it has ended */
struct addrinfo;
void session_resolved(struct session *s, const char *host, const struct addrinfo *found);

/* readiness.c */
ehis_err readiness_hello(struct session *s, struct link *l) EHIS_MUST_USE; /* sends it */
void readiness_say(struct session *s); /* READY, where it was said before: windows have changed */
void readiness_want_registry(struct session *s); /* a newer one is named somewhere, or the gateway says that ours is stale: asks, at most once a second */
void readiness_again(struct session *s); /* where the gateway has said "stale": fetches, and says READY then */
void readiness_check(struct session *s); /* each tick: ends a ready session whose registry or revocation lists have run out */
ehis_err readiness_on_hello(struct session *s, struct span payload, struct ehis_why *why) EHIS_MUST_USE;
ehis_err readiness_on_registry(struct session *s, struct span payload, struct ehis_why *why) EHIS_MUST_USE;
ehis_err readiness_on_crl(struct session *s, struct span payload, struct ehis_why *why) EHIS_MUST_USE;
ehis_err readiness_on_state(struct session *s, struct span payload, struct ehis_why *why) EHIS_MUST_USE; /* READY_STATE */

/* resolving.c */
ehis_err resolving_start(struct session *s) EHIS_MUST_USE; /* then session_resolved */
void resolving_cancel(struct session *s);

/* drafts.c */
ehis_err draft_new(const struct envelope_header *h, struct span body, struct draft **out) EHIS_MUST_USE;
void draft_free(struct draft *d);
void drafts_add(struct ehis *e, struct draft *d);
ehis_err drafts_keep(struct ehis *e, const struct draft *d, struct span envelope) EHIS_MUST_USE; /* in the outbox; an error is fatal */
void drafts_flush(struct ehis *e);
void drafts_make_key(struct ehis *e, const struct topic *t, const struct registry_key *const *keys, size_t count, struct draft **out);
void drafts_fini(struct ehis *e);

/* large_out.c */
/* A draft whose body is this source's: large where it is over 256 KiB. May block for as long as reading and writing take. */
ehis_err large_draft(struct ehis *e, const struct envelope_header *h, const struct body_source *from, struct draft **out, struct ehis_why *why) EHIS_MUST_USE; /* [any] */
void large_out_free(struct ehis *e, struct large_out *l); /* [any] before it is named; its file goes too */
ehis_err large_out_name(struct ehis *e, struct draft *d) EHIS_MUST_USE; /* durable under its message's digest */
uint64_t large_out_bytes(const struct ehis *e);
void large_out_restore(struct ehis *e);
bool large_out_wanted(struct session *s, const uint8_t digest[32]);
ehis_err large_out_on_state(struct session *s, struct span payload, struct ehis_why *why) EHIS_MUST_USE;
void large_out_pump(struct ehis *e);
void large_out_tick(struct ehis *e);
void large_out_fini(struct ehis *e);

/* large_in.c */
ehis_err large_in_new(struct ehis *e, const struct envelope_header *h, const struct hash *digest, uint64_t session, struct span plaintext, struct large_in **out) EHIS_MUST_USE;
void large_in_free(struct large_in *l); /* [any] */
int64_t large_in_read(struct large_in *l, void *into, size_t max); /* [any] one at a time */
void large_in_pump(struct ehis *e);
ehis_err large_in_on_chunk(struct session *s, struct span payload, struct ehis_why *why) EHIS_MUST_USE;
void large_in_session_ended(struct ehis *e, uint64_t session);

/* in_body.c: [any], one at a time */
uint64_t in_body_bytes(const struct in_body *b);
int64_t in_body_read(struct in_body *b, void *into, size_t max);
const void *in_body_all(struct in_body *b, size_t *bytes); /* NULL: too large, failed, or read in part before; "" where it is empty */
void in_body_fini(struct in_body *b);

/* sending.c */
/* SUBMIT: LINK_FULL, SDK_BUSY (the window): later. EXCHANGE_NO_LARGE, TOO_LARGE (its frames are smaller): not there. */
ehis_err sending_submit(struct session *s, struct span envelope) EHIS_MUST_USE;
void sending_answered(struct ehis *e, uint64_t session, bool *is_unanswered, size_t envelope_bytes);
void sending_leave(struct ehis *e, struct out_stream *s); /* its gateway, whose window is whole again; it is repeated elsewhere */
void sending_elsewhere(struct session *from, struct out_stream *s, int64_t at_ms); /* the same for its refusal: at once, but where no other is better, then */
void sending_streams(struct ehis *e); /* STREAM_OPEN, STREAM_SETTLED, SUBMITs */
ehis_err sending_on_stream_state(struct session *s, struct span payload, struct ehis_why *why) EHIS_MUST_USE;

/* calls.c */
ehis_err call_new(struct ehis *e, const ehis_message *m, struct call **out, struct ehis_why *why) EHIS_MUST_USE; /* [any] */
void call_free(struct call *c);
void calls_make(struct ehis *e); /* drafts of those that wait for a session */
void calls_run(struct ehis *e);  /* sends what is due */
void calls_tick(struct ehis *e); /* deadlines */
void calls_repeat(struct ehis *e, struct call *c, int64_t at_ms);
void calls_session_ended(struct ehis *e, uint64_t session);
struct call *calls_find(struct ehis *e, const uint8_t digest[32]);
void calls_on_receipt(struct session *s, struct call *c, uint8_t state, uint32_t code);
void calls_on_response(struct ehis *e, struct ehis_incoming *in);
void calls_end_all(struct ehis *e, ehis_err err);
void calls_add(struct ehis *e, struct call *c);
ehis_err message_check(const struct ehis *e, const ehis_message *m, bool is_event, struct ehis_why *why) EHIS_MUST_USE; /* [any] */
ehis_err message_draft(struct ehis *e, const ehis_message *m, enum envelope_kind kind, uint64_t lifetime_ms, struct draft **out, struct ehis_why *why) EHIS_MUST_USE;

/* receiving.c: DELIVER and SKIPS up to their turn. */
ehis_err receiving_on_deliver(struct session *s, struct span payload, struct ehis_why *why) EHIS_MUST_USE;
ehis_err receiving_on_skips(struct session *s, struct span payload, struct ehis_why *why) EHIS_MUST_USE;
void receiving_again(struct ehis *e); /* held deliveries: a registry or a key has come, or time has passed */
void receiving_streams(struct ehis *e); /* the next of each stream */
void receiving_session_ended(struct ehis *e, uint64_t session);
void receiving_free(struct ehis_incoming *in);
void receiving_fini(struct ehis *e);
ehis_err incoming_vet(struct ehis *e, struct ehis_incoming *in, struct ehis_why *why) EHIS_MUST_USE; /* vetting.c: verified, permitted, opened */
void incoming_on_gap(void *e, const struct in_stream *s, uint64_t number);
void incoming_on_dropped(void *e, struct in_item *item);

/* incoming.c */
void incoming_hand_over(struct ehis *e, struct ehis_incoming *in); /* to its handler */
void incoming_end(struct ehis *e, struct ehis_incoming *in);       /* by its outcome, code and retry_ms; in is gone */
void incoming_finish(struct ehis *e, struct ehis_incoming *in); /* of a stream: recorded, then acknowledged */
void incoming_acknowledge(struct ehis *e, const struct ehis_incoming *in);
void incoming_acknowledge_recorded(struct ehis *e, struct ehis_incoming *in); /* after the commit; in is gone then */

/* serving.c: waiting requests, run once. */
void serving_take(struct ehis *e, struct ehis_incoming *in);
void serving_made(struct ehis *e, struct served *s, ehis_err err, const struct hash *digest, struct span envelope);
void serving_end(struct ehis *e, struct served *s, ehis_err code, uint32_t retry_ms); /* acknowledged: rejected, or retry_ms: to come again */
void serving_refused(struct ehis *e, struct served *s, uint64_t session, uint32_t code); /* the gateway does not take the answer */
void serving_run(struct ehis *e);  /* sends what is due */
void serving_tick(struct ehis *e); /* forgets what has expired */
void serving_repeat(struct ehis *e, struct served *s, uint64_t session, int64_t at_ms); /* to this one; 0: to all that have asked */
void serving_answered(struct ehis *e, struct served *s, uint64_t session);
void serving_session_ended(struct ehis *e, uint64_t session);
struct served *serving_find_response(struct ehis *e, const uint8_t digest[32]);
void serving_fini(struct ehis *e);

/* events.c */
/* Epoch and topic key (in d->key.key) of an event; KEY envelopes that must go before it. */
ehis_err events_prepare(struct ehis *e, struct draft *d, struct draft **keys) EHIS_MUST_USE;
void events_forget(struct ehis *e, const uint8_t epoch[16]); /* its KEY envelopes did not become durable: a new one is made */
const uint8_t *events_key(struct ehis *e, struct span service, struct span epoch);
void events_want_key(struct session *s, const struct envelope_header *h);
ehis_err events_on_keys(struct ehis *e, struct span payload, struct ehis_why *why) EHIS_MUST_USE;
bool events_is_replayed(const struct ehis *e, struct span service, struct span event); /* asked for from some time on, and not refused */
void events_subscribe(struct ehis *e); /* SUBSCRIBE for handlers that were not told */
ehis_err events_on_subscription(struct session *s, struct span payload, struct ehis_why *why) EHIS_MUST_USE; /* how SUBSCRIBE ended */
void events_fini(struct ehis *e);

/* acks.c: acknowledgements out, receipts and flows in. */
void acks_add(struct ehis *e, uint64_t session, uint64_t delivery, const uint8_t digest[32], enum outcome outcome, uint32_t code, uint32_t retry_ms);
void acks_flush(struct session *s);
void acks_give_up(struct ehis *e, struct out_stream *s, ehis_err code);
void acks_tick(struct ehis *e); /* what nobody will tell the end of */
ehis_err acks_on_receipts(struct session *s, struct span payload, struct ehis_why *why) EHIS_MUST_USE;
ehis_err acks_on_flow(struct session *s, struct span payload, struct ehis_why *why) EHIS_MUST_USE;
ehis_err acks_verify_batch(const struct session *from, const struct batch_signature *b, size_t count) EHIS_MUST_USE;
