/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* ehis-call: what its files share. One thread: handlers run in client_drive. */
#pragma once
#include "adapters/sdk/ehis.h"
#include "base/clock.h"
#include "base/tool/result.h"

#define BODY_MAX (15u * 1024 * 1024)
#define DAY_MS (UINT64_C(24) * 3600000)

/* main.c */
struct client {
    struct cli *c;
    ehis *e;
    int64_t deadline_ms; /* monotonic; INT64_MAX: none */
    bool is_json;
};
/* Opens what --config names, with --state in the place of its state folder, and waits for a session until --timeout (where there is
 * none, the session is not waited for). Errors of settings and files; the last failure of the session. */
ehis_err client_open(struct client *k, struct cli *c, struct ehis_why *why) EHIS_MUST_USE;
/* Runs handlers until *is_done; else SDK_CLOSED after a signal (SIGINT, SIGTERM: is_interrupted), TIMEOUT at the deadline, or the
 * refusal of a subscription. */
ehis_err client_drive(struct client *k, const bool *is_done) EHIS_MUST_USE;
void client_close(struct client *k);
uint32_t client_left_ms(const struct client *k); /* until the deadline */
extern volatile int is_interrupted;
/* request.c, watch.c: the verbs. */
ehis_err run_call(struct cli *c, struct ehis_why *why);
ehis_err run_publish(struct cli *c, struct ehis_why *why);
ehis_err run_subscribe(struct cli *c, struct ehis_why *why);
ehis_err run_receive(struct cli *c, struct ehis_why *why);
ehis_err run_status(struct cli *c, struct ehis_why *why);

/* print.c: one line on standard output, flushed. IO where it cannot be written; what was sent is sent all the same. */
ehis_err print_receipt(const struct client *k, const ehis_receipt *r, struct ehis_why *why);
ehis_err print_incoming(const ehis_incoming *in, struct ehis_why *why) EHIS_MUST_USE;
ehis_err print_reply(const struct client *k, const ehis_reply *r, struct ehis_why *why) EHIS_MUST_USE;
ehis_err print_status(const struct client *k, const ehis_status *s, struct ehis_why *why) EHIS_MUST_USE;
ehis_err print_sent(const struct client *k, const uint8_t exchange_id[16], struct ehis_why *why);
const char *print_state(int state); /* "accepted" */

/* words.c: what agencies meet, in Azerbaijani, where --lang az or EHIS_LANG asks for it. */
bool words_is_az(const struct cli *c);
bool words_translate(const struct cli *c, ehis_err err, struct cli_words *out); /* false: not asked for, or no translation */
