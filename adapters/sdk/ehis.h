/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* libehis: what an agency's system needs to take part in the exchange: call, serve, publish, subscribe. Signatures, seals, streams,
 * registry, retries and reconnecting are handled inside. C, and nothing in this header needs another header of the project.
 *
 * Threads. A handle has one I/O thread of its own, which takes no signals. Every function but ehis_close may be called from any thread. Handlers run one at
 * a time: in a worker thread of the handle, or, with ehis_config.dispatch, inside ehis_dispatch() on the caller's thread, one thread at a time. A
 * handler may call everything but ehis_close, ehis_dispatch, and what waits for other handlers: ehis_call, ehis_flush.
 * Errors are the stable EHIS numbers (0 = done) of docs/reference/errors.md; ehis_error_text says them in words. An error leaves *out as it was.
 * `why` (room for EHIS_WHY_BYTES, may be NULL) gets a sentence then. Beside those that are named, any may answer NO_MEMORY,
 * IDENTIFIER_INVALID, SDK_CLOSED (ehis_close has begun) and, once the state folder could not be written, IO or NO_SPACE for ever.
 * Memory: everything passed in is copied before a function returns, but for handlers and their `arg`, which are called until ehis_close returns;
 * everything handed to a handler lives until the handler returns (an incoming message until it is finished).
 * Units: _ms of a moment is Unix time in milliseconds, of a span milliseconds; _bytes are bytes. Texts are UTF-8. */
#ifndef EHIS_H
#define EHIS_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EHIS_API __attribute__((visibility("default")))
#define EHIS_WHY_BYTES 320

typedef struct ehis ehis;                   /* a system's connection to the exchange */
typedef struct ehis_incoming ehis_incoming; /* a message that came and waits to be finished */
typedef struct ehis_reply ehis_reply;       /* a response */

/* ---- settings ---- */
typedef struct ehis_config {
    size_t size;                  /* sizeof(ehis_config), for binary compatibility */
    const char *system;           /* "AZ/GOV/STS/tax" */
    const char *const *gateways;  /* "host:port", 1 to 16: a session is held to each; what is sent goes to the first that is ready */
    size_t gateway_count;
    const char *tls_chain_file, *tls_key_file; /* PEM */
    const char *ca_file, *crl_file;            /* PEM; newer revocation lists are fetched from the gateway and kept in the state folder */
    const char *sign_key_file;
    const char *const *seal_key_files;         /* 1 to 8, the newest first; older ones open what was sealed before */
    size_t seal_key_count;
    const char *const *operator_keys;          /* 1 to 8, of 64 hexadecimal digits each: who may sign the registry */
    size_t operator_key_count;
    const char *state_dir;        /* this folder is the identity of the streams: never copy it, never use it twice (it is locked) */
    int dispatch;                 /* 1: handlers run in ehis_dispatch */
    int memory_outbox;            /* 1: streams are not kept across a restart: each start begins new ones */
    uint32_t wait_state;          /* when the outbox lets go: EHIS_ACCEPTED, EHIS_REPLICATED, or 0: *replicated* where gateways replicate, else *accepted* */
    uint32_t call_window;         /* requests handled at once that a caller waits for, at most 16,384; 0 = 64 */
    uint32_t stream_window;       /* stream messages in flight, at most 16,384; 0 = 256 */
    uint64_t outbox_max_bytes;    /* 0 = 1 GiB; beyond it, and beyond 262,144 messages without a final receipt, SDK_BUSY */
    /* The application keeps positions itself: asked for each (sender, stream) that is new in this process; returns the highest number of a message whose
     * effect the application has stored, 0 for none (what is_late is stored beside it). libehis then records no watermark before it acknowledges, but
     * still what was rejected or passed. NULL: libehis keeps them. Called in the I/O thread, as `log` is: both return soon and call nothing of this header. */
    uint64_t (*position)(void *arg, const char *sender, const uint8_t stream[16]);
    void *position_arg;
    /* From 0, for debugging, to 3, a warning, and 4, an error; a JSON object without a newline. NULL: standard error. */
    void (*log)(void *arg, int level, const char *json_line);
    void *log_arg;
} ehis_config;

/* Settings of all the above from a YAML file (docs/reference/adapter-settings.md); free with ehis_config_free (NULL does nothing). What the file does not
 * name may be set before ehis_open, and is the caller's. Errors: of the file, by its line. */
EHIS_API int ehis_config_load(const char *file, ehis_config **out, char *why);
EHIS_API void ehis_config_free(ehis_config *config);

/* ---- life ---- */
/* Opens keys and state folder (locked) and starts connecting. Returns at once. *out is the caller's: ehis_close. Errors: files, keys, SDK_CONFIG, LOCKED,
 * STATE_FOREIGN (a state folder of another system), STATE_CORRUPT. */
EHIS_API int ehis_open(const ehis_config *config, ehis **out, char *why);
/* Waits until a session is ready (registry and CRL current), at most timeout_ms; then the last failure, its reason in why, or TIMEOUT: connecting goes on. */
EHIS_API int ehis_wait_ready(ehis *e, uint32_t timeout_ms, char *why);
/* Finishes: new work is refused, handlers that run are waited for (at most timeout_ms), state is synced, the session closed, memory freed.
 * What waits in other threads (ehis_call, ehis_send, ehis_flush, ehis_wait_ready) ends with SDK_CLOSED; none may be called any more when this returns.
 * Unfinished incoming messages come again, marked. Where a handler still runs at the end of timeout_ms, what it holds stays allocated, and it may finish; the
 * state folder is free. NULL does nothing. */
EHIS_API void ehis_close(ehis *e, uint32_t timeout_ms);
/* With config.dispatch: readable when a handler is due; level-triggered. It stays the handle's. Without, it never becomes readable. */
EHIS_API int ehis_fd(const ehis *e);
/* Runs due handlers, at most max (0 = all that are due now). Returns how many ran: without config.dispatch, and once ehis_close has begun, 0. */
EHIS_API int ehis_dispatch(ehis *e, int max);

/* ---- sending ---- */
/* UNTOLD is libehis's own word, a day after the message expired: a gateway had accepted it, and none has said how it ended. */
enum { EHIS_UNTOLD = 0, EHIS_ACCEPTED = 1, EHIS_REPLICATED = 2, EHIS_DELIVERED = 3, EHIS_FAILED = 4, EHIS_REFUSED = 5, EHIS_EXPIRED = 6 };

typedef struct ehis_message {
    size_t size;               /* sizeof(ehis_message) */
    const char *service;       /* "AZ/GOV/MIA/population/person"; when publishing: one's own */
    const char *operation;     /* or the event */
    const char *purpose, *legal_basis, *case_ref, *official, *on_behalf_of; /* NULL = absent */
    const uint8_t (*subjects)[32];
    size_t subject_count;      /* at most 16 */
    const char *content_type;  /* NULL = application/x-protobuf */
    const char *schema;        /* NULL = the registry's for this operation */
    const void *body;
    size_t body_bytes;
    /* In the place of body: gives up to max bytes of it at a time, 0 at its end, less than 0 where it fails (SDK_BODY). Called before the function that
     * was given the message returns. A body above 256 KiB, of either kind, is sealed in chunks into a file of the state folder and never stands in memory
     * whole; at most 1 GiB. Not for events. */
    int64_t (*read)(void *arg, void *into, size_t max);
    void *read_arg;
    uint32_t max_response_bytes; /* 0 = the service's default; a large body counts with its chunks */
    uint64_t lifetime_ms;      /* from now; 0 = 30 s for calls, 24 h otherwise; at most 5 min and 14 days */
    const uint8_t *trace_id;   /* 16 bytes or NULL */
    /* What is sent in a stream, out of a queue of the application's own: its number there. Rising for each recipient system (ehis_send), for each
     * service and event (ehis_publish); one that is not above the last that was kept is not sent again: 0 is returned, and an exchange id of
     * zeros. So a crash between sending and striking it off sends nothing twice. 0: none. */
    uint64_t sequence;
} ehis_message;

/* What became of a message. */
typedef struct ehis_receipt {
    size_t size;
    uint8_t exchange_id[16], digest[32];
    int state;                 /* EHIS_ACCEPTED ...; EHIS_UNTOLD */
    int code;                  /* EHIS number; 0 = none */
    int64_t time_ms;           /* by the gateway's clock */
    const char *gateway;       /* whose word it is; "": libehis's own */
    int is_recipient_signed;   /* delivered, failed: carries the recipient's own signature, verified */
    int is_enough;             /* the state that is waited for (ehis_config.wait_state) has come, or a final one */
} ehis_receipt;

/* A call that waits for its answer. Repeats the same bytes where a gateway was busy or lost, until the lifetime ends. *out is the caller's: ehis_reply_free;
 * it may be a fault of the provider (ehis_reply_is_fault). Errors: SDK_MESSAGE, SDK_BODY, SDK_BUSY (4,096 calls wait), SDK_NOT_READY (no session in all that
 * time), TOO_LARGE and EXCHANGE_NO_LARGE (no gateway takes it), POLICY_*, EXCHANGE_NO_SESSION, EXCHANGE_EXPIRED, and what gateway or provider say. */
EHIS_API int ehis_call(ehis *e, const ehis_message *m, ehis_reply **out, char *why);
/* The same without waiting. SDK_MESSAGE, SDK_BODY and SDK_BUSY are returned; where 0 is, done(arg, err, reply, why) is called exactly once, as a handler is,
 * with the rest; reply (NULL with an error) is freed after it. exchange_id may be NULL, here and below. */
EHIS_API int ehis_call_start(ehis *e, const ehis_message *m, void (*done)(void *arg, int err, const ehis_reply *reply, const char *why),
                             void *arg, uint8_t exchange_id[16], char *why);
/* An asynchronous request or an event, in a stream. Returns when it stands durably in the outbox (or in memory, by option). Receipts of every state reach the
 * handler of ehis_on_receipt; the response to a request reaches ehis_on_response. Errors: SDK_MESSAGE, SDK_BODY, SDK_BUSY (the outbox is full, or 256 streams
 * are open), SDK_NO_REGISTRY (no gateway was met yet), REGISTRY_EXPIRED, TOO_LARGE, POLICY_UNKNOWN_SERVICE: nothing is sent then. */
EHIS_API int ehis_send(ehis *e, const ehis_message *m, uint8_t exchange_id[16], char *why);
EHIS_API int ehis_publish(ehis *e, const ehis_message *m, uint8_t exchange_id[16], char *why);
/* handler NULL: nobody is told. Set before anything is sent: a final receipt that nobody takes is not kept. */
EHIS_API void ehis_on_receipt(ehis *e, void (*handler)(void *arg, const ehis_receipt *r), void *arg);
/* Waits until all that was sent before has its final receipt, or, until_final 0, the state waited for (wait_state); TIMEOUT. */
EHIS_API int ehis_flush(ehis *e, int until_final, uint32_t timeout_ms, char *why);

/* A reader over a descriptor, for ehis_message.read: arg is an int *, which stays the caller's. -1: errno says why. */
EHIS_API int64_t ehis_read_fd(void *arg, void *into, size_t max);

EHIS_API int ehis_reply_is_fault(const ehis_reply *r);
/* The whole body; it lives as long as the reply. A large one is fetched first, up to 15 MiB, which blocks as reading does; NULL where it is larger, did not
 * come as it was sent, or was begun with ehis_reply_read. */
EHIS_API const void *ehis_reply_body(const ehis_reply *r, size_t *bytes);
EHIS_API uint64_t ehis_reply_body_bytes(const ehis_reply *r); /* of a large one as its sender says, before it is fetched */
/* The next bytes of the body, at most max (at least 1); 0 at its end, which is told only when all of it was as sealed and signed: before, nothing of it is
 * sure to be whole. After ehis_reply_body it begins at the beginning. An error, which stays: its number, negative; LARGE_ALTERED, SDK_CLOSED, what the
 * gateway says, SDK_NOT_READY after 30 s without a chunk. Blocks; one thread at a time. A reply may be read and freed after ehis_close. */
EHIS_API int64_t ehis_reply_read(const ehis_reply *r, void *into, size_t max);
EHIS_API const char *ehis_reply_content_type(const ehis_reply *r);
EHIS_API const char *ehis_reply_schema(const ehis_reply *r);
EHIS_API const uint8_t *ehis_reply_exchange_id(const ehis_reply *r);
EHIS_API void ehis_reply_free(ehis_reply *r);

/* ---- receiving ---- */
/* The handler must finish the message, once: ehis_answer for requests; ehis_done for events and responses; or ehis_reject, ehis_retry; at once or later
 * from any thread. A message of a stream is handed over only after the one before it is finished. */
typedef void (*ehis_handler)(void *arg, ehis_incoming *in);
/* operation NULL: every one of the service that has no handler of its own. A later handler for the same replaces the earlier; NULL: as if there were none.
 * Errors, of those below as well: SDK_MESSAGE, IDENTIFIER_INVALID. */
EHIS_API int ehis_serve(ehis *e, const char *service, const char *operation, ehis_handler handler, void *arg, char *why);
EHIS_API int ehis_subscribe(ehis *e, const char *service, const char *event, ehis_handler handler, void *arg, char *why);
/* The same, and begins it anew with what the gateways' bus got at from_unix_ms or later, as far as it has not expired: what was handed over before is so
 * again, marked repeated, in the order of its stream; then it goes on. Each time that it is called: after a restart ehis_subscribe goes on from where it
 * stood. Only where the bus keeps events (Kafka); elsewhere the log and ehis_get_status say EXCHANGE_NO_REPLAY, and it begins now. */
EHIS_API int ehis_subscribe_from(ehis *e, const char *service, const char *event, int64_t from_unix_ms, ehis_handler handler, void *arg, char *why);
EHIS_API int ehis_unsubscribe(ehis *e, const char *service, const char *event, char *why);
/* Responses to asynchronous requests. */
EHIS_API void ehis_on_response(ehis *e, ehis_handler handler, void *arg);

typedef struct ehis_info {
    size_t size;
    const char *sender, *service, *operation, *purpose, *legal_basis, *case_ref, *official, *on_behalf_of, *content_type, *schema;
    uint8_t exchange_id[16], digest[32];
    int is_stream;        /* then stream and number hold, for an effect that is made exactly once */
    uint8_t stream[16];
    uint64_t number;
    int is_repeated;      /* may have been handed over before (a crash while it was handled, a takeover) */
    int is_late;          /* its number had been passed as skipped or lost */
    int is_response, is_fault; /* a fault is a response */
    uint8_t in_reply_to[32];   /* a response: the digest of the request that it answers. Compare sender and exchange_id with what was asked */
    int64_t created_ms, expires_ms, accepted_ms;
    const char *rule;     /* that this side's own evaluation found */
} ehis_info;
EHIS_API const ehis_info *ehis_incoming_info(const ehis_incoming *in);
EHIS_API const void *ehis_incoming_body(const ehis_incoming *in, size_t *bytes); /* a large one: as ehis_reply_body */
EHIS_API uint64_t ehis_incoming_body_bytes(const ehis_incoming *in);
/* As ehis_reply_read, before the message is finished. A message whose body was altered is rejected with LARGE_ALTERED, however its handler finishes it. */
EHIS_API int64_t ehis_incoming_read(ehis_incoming *in, void *into, size_t max);
/* Each of these finishes the message, from any thread, after which it must not be touched; ehis_answer with an error does not. content_type NULL = that of
 * the request. fields: at most 32 names of what is returned, for the audit record. Errors: SDK_MESSAGE, SDK_BODY, SDK_RESPONSE_TOO_LARGE, SDK_FINISHED. */
EHIS_API int ehis_answer(ehis_incoming *in, int is_fault, const char *content_type, const void *body, size_t bytes, const char *const *fields,
                         size_t field_count, char *why);
/* The same with a reader, as ehis_message.read. */
EHIS_API int ehis_answer_from(ehis_incoming *in, int is_fault, const char *content_type, int64_t (*read)(void *arg, void *into, size_t max), void *read_arg,
                              const char *const *fields, size_t field_count, char *why);
EHIS_API void ehis_done(ehis_incoming *in); /* a request that is done without an answer counts as rejected */
EHIS_API void ehis_reject(ehis_incoming *in, int code);         /* for good: the sender gets failed, with this number; 0: SDK_REJECTED */
EHIS_API void ehis_retry(ehis_incoming *in, uint32_t delay_ms); /* later; delays its own stream only */
/* What was passed over in a stream, with the gateway's reason (a skip) or without one (a gap). */
typedef struct ehis_passed { size_t size; const char *sender; uint8_t stream[16]; uint64_t number; int state; /* 0: a gap */ } ehis_passed;
/* In a handler; it asks for nothing. sender lives until it returns. */
EHIS_API void ehis_on_passed(ehis *e, void (*handler)(void *arg, const ehis_passed *p), void *arg);

/* ---- looking ---- */
#define EHIS_GATEWAYS_MAX 16
typedef struct ehis_session_status { /* with one gateway */
    char address[272], gateway[201]; /* as configured; its name, once met */
    int is_ready, has_streams, last_error;
} ehis_session_status;
typedef struct ehis_status {
    size_t size;
    int is_ready, has_streams; /* of any session */
    char gateway[201];         /* of the first that is ready, or was last */
    uint64_t registry_version, outbox_messages, outbox_bytes, calls_waiting, incoming_unfinished, reconnects;
    int last_error; /* of the last session that ended or was refused */
    char last_why[EHIS_WHY_BYTES];
    size_t session_count;
    ehis_session_status sessions[EHIS_GATEWAYS_MAX]; /* in the order of the list */
} ehis_status;
EHIS_API void ehis_get_status(ehis *e, ehis_status *out); /* out->size: sizeof(ehis_status), set before */
/* Constant texts, never NULL; of a number that is none "UNKNOWN". */
EHIS_API const char *ehis_error_name(int err); /* "POLICY_PURPOSE" */
EHIS_API const char *ehis_error_text(int err);
EHIS_API const char *ehis_error_hint(int err);
EHIS_API const char *ehis_version(void);

#ifdef __cplusplus
}
#endif
#endif
