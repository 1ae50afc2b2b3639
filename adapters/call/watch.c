/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What comes in: events, responses to asynchronous requests; and the state of the session. */
#include "adapters/call/call.h"

#define RETRY_MS 1000

struct watching {
    struct client client;
    uint64_t left; /* UINT64_MAX: without end */
    bool is_done;
    ehis_err err; /* of printing */
    struct ehis_why why;
};

/* Acknowledged only once its line is out: what was printed and not acknowledged comes again, marked. */
static void on_incoming(void *arg, ehis_incoming *in)
{
    struct watching *w = arg;
    if (w->left > 0)
        w->err = print_incoming(in, &w->why);
    if (w->left == 0 || w->err != EHIS_OK) {
        w->is_done = true;
        ehis_retry(in, RETRY_MS);
        return;
    }
    ehis_done(in);
    if (w->left != UINT64_MAX && --w->left == 0)
        w->is_done = true;
}

static ehis_err watch(struct cli *c, bool is_event, struct ehis_why *why)
{
    struct watching w = {.left = cli_has(c, "count") ? cli_number(c, "count") : UINT64_MAX};
    ehis_err err = client_open(&w.client, c, why);
    if (err == EHIS_OK && is_event)
        err = (ehis_err)ehis_subscribe(w.client.e, cli_word(c, 0), cli_word(c, 1), on_incoming, &w, why->text);
    else if (err == EHIS_OK)
        ehis_on_response(w.client.e, on_incoming, &w);
    if (err == EHIS_OK)
        err = client_drive(&w.client, &w.is_done);
    if ((err == EHIS_E_TIMEOUT && w.left == UINT64_MAX) || (err == EHIS_E_SDK_CLOSED && is_interrupted))
        err = EHIS_OK; /* the time was up, or a signal came: that was asked for */
    if (w.err != EHIS_OK) {
        err = w.err;
        *why = w.why;
    }
    client_close(&w.client);
    return err;
}

ehis_err run_subscribe(struct cli *c, struct ehis_why *why) { return watch(c, true, why); }
ehis_err run_receive(struct cli *c, struct ehis_why *why) { return watch(c, false, why); }

ehis_err run_status(struct cli *c, struct ehis_why *why)
{
    struct client k;
    ehis_status s = {.size = sizeof s};
    ehis_err err = client_open(&k, c, why);
    if (err == EHIS_OK) {
        ehis_get_status(k.e, &s);
        err = print_status(&k, &s, why);
    }
    client_close(&k);
    return err;
}
