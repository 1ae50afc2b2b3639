/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What comes in: events, responses to asynchronous requests; and the state of the session. */
#include "adapters/call/call.h"

#define STATUS_MS 10000
#define RETRY_MS 1000

struct watching {
    struct client client;
    uint64_t left; /* UINT64_MAX: without end */
    bool is_done, has_failed;
};

/* Acknowledged only once its line is out: what was printed and not acknowledged comes again, marked. */
static void on_incoming(void *arg, ehis_incoming *in)
{
    struct watching *w = arg;
    if (w->left == 0 || !print_incoming(&w->client, in)) {
        w->has_failed |= w->left != 0;
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
    struct watching w = {0};
    uint64_t timeout_ms;
    ehis_err err = cli_get_number(c, "count", 1, UINT32_MAX, UINT64_MAX, &w.left, why);
    if (err == EHIS_OK)
        err = duration_option(c, "timeout", 0, UINT64_C(14) * 86400000, &timeout_ms, why);
    if (err == EHIS_OK)
        err = client_open(&w.client, c, 0, why);
    if (err == EHIS_OK && is_event)
        err = (ehis_err)ehis_subscribe(w.client.e, cli_word(c, 0), cli_word(c, 1), on_incoming, &w, why->text);
    else if (err == EHIS_OK)
        ehis_on_response(w.client.e, on_incoming, &w);
    if (err == EHIS_OK)
        err = client_drive(&w.client, &w.is_done);
    if ((err == EHIS_E_TIMEOUT && w.left == UINT64_MAX) || (err == EHIS_E_SDK_CLOSED && is_interrupted))
        err = EHIS_OK; /* the time was up, or a signal came: that was asked for */
    if (w.has_failed)
        err = ehis_fail(why, EHIS_E_IO, "standard output");
    client_close(&w.client);
    return words_tell(c, err, why);
}

ehis_err run_subscribe(struct cli *c, struct ehis_why *why) { return watch(c, true, why); }
ehis_err run_receive(struct cli *c, struct ehis_why *why) { return watch(c, false, why); }

ehis_err run_status(struct cli *c, struct ehis_why *why)
{
    struct client k;
    ehis_status s = {.size = sizeof s};
    ehis_err err = client_open(&k, c, STATUS_MS, why);
    if (err == EHIS_OK) {
        ehis_get_status(k.e, &s);
        if (!print_status(&k, &s))
            err = ehis_fail(why, EHIS_E_IO, "standard output");
    }
    client_close(&k);
    return words_tell(c, err, why);
}
