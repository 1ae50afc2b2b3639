/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* ehis-call: what its files share. One thread: handlers run in client_drive. */
#pragma once
#include "adapters/sdk/ehis.h"
#include "base/cli.h"
#include "base/clock.h"

#define BODY_MAX (15u * 1024 * 1024)

/* main.c */
struct client {
    struct cli *c;
    ehis *e;
    int64_t deadline_ms; /* monotonic; INT64_MAX: none */
    bool is_json;
};
/* Opens what --config names, with --state in the place of its state folder, and waits for a session until --timeout (default_ms; 0:
 * without end, and then the session is not waited for). Errors of settings and files; the last failure of the session. */
ehis_err client_open(struct client *k, struct cli *c, uint64_t default_ms, struct ehis_why *why) EHIS_MUST_USE;
/* Runs handlers until *is_done; else SDK_CLOSED after a signal (SIGINT, SIGTERM: is_interrupted), TIMEOUT at the deadline, or the
 * refusal of a subscription. */
ehis_err client_drive(struct client *k, const bool *is_done) EHIS_MUST_USE;
void client_close(struct client *k);
uint32_t client_left_ms(const struct client *k); /* until the deadline */
extern volatile int is_interrupted;
/* "10s", "500ms", "2m", "1h", "14d"; USAGE. */
ehis_err duration_option(struct cli *c, const char *name, uint64_t default_ms, uint64_t max_ms, uint64_t *out, struct ehis_why *why) EHIS_MUST_USE;

/* request.c, watch.c: the verbs. */
ehis_err run_call(struct cli *c, struct ehis_why *why);
ehis_err run_publish(struct cli *c, struct ehis_why *why);
ehis_err run_subscribe(struct cli *c, struct ehis_why *why);
ehis_err run_receive(struct cli *c, struct ehis_why *why);
ehis_err run_status(struct cli *c, struct ehis_why *why);

/* print.c: one line on standard output, flushed; false: it cannot be written. */
bool print_receipt(const struct client *k, const ehis_receipt *r);
bool print_incoming(const struct client *k, const ehis_incoming *in);
bool print_reply(const struct client *k, const ehis_reply *r);
bool print_status(const struct client *k, const ehis_status *s);
bool print_sent(const struct client *k, const uint8_t exchange_id[16]);
const char *print_state(int state); /* "accepted" */

/* words.c: what agencies meet, in Azerbaijani. NULL: no translation. */
const char *words_az(ehis_err err);
const char *words_hint_az(ehis_err err);
bool words_is_az(const struct cli *c); /* --lang az, or EHIS_LANG */
/* Prints the error in the language asked for and sets the exit code: what a verb returns then is EHIS_OK. */
ehis_err words_tell(struct cli *c, ehis_err err, const struct ehis_why *why) EHIS_MUST_USE;
