/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "adapters/registers/population/serve.h"
#include "adapters/sdk/ehis.h"
#include "base/clock.h"
#include "base/log.h"
#include <poll.h>
#include <signal.h>

#define LOOK_MS 200      /* how often the outbox is looked at, and the session */
#define PUBLISH_TURN 64  /* changes published in one turn */
#define CLOSE_MS 10000
_Static_assert(EHIS_WHY_BYTES <= sizeof((struct ehis_why *)0)->text, "a why of libehis fits into one of ours");

struct serving {
    struct answers answers;
    const char *service;
    enum body_format events;
    ehis *e;
    bool is_ready;
    ehis_err outbox_err; /* that was logged last */
};

static volatile sig_atomic_t is_stopping;
static void on_signal(int number)
{
    (void)number;
    is_stopping = 1;
}

static void log_marks(const ehis_info *i)
{
    if (i->is_repeated || i->is_late)
        log_line(LOG_NOTICE, "population.marked", F_HEX("exchange", i->exchange_id, 16), F_STR("system", i->sender), F_BOOL("is_repeated", i->is_repeated), F_BOOL("is_late", i->is_late));
}

/* Reading changes nothing: a request that comes again is answered again. */
static void on_request(void *arg, ehis_incoming *in)
{
    struct serving *s = arg;
    const ehis_info *i = ehis_incoming_info(in);
    struct answer a;
    size_t bytes;
    const void *body = ehis_incoming_body(in, &bytes);
    struct ehis_why why = {""};
    log_marks(i);
    int err = answers_make(&s->answers, i->operation, i->content_type, span_of(body, bytes), &a);
    if (err == EHIS_OK) {
        struct span out = buf_span(&a.body);
        log_line(LOG_INFO, "population.answered", F_HEX("exchange", i->exchange_id, 16), F_STR("system", i->sender), F_STR("operation", i->operation), F_STR("purpose", i->purpose ? i->purpose : ""),
                 F_STR("fault", a.code));
        err = ehis_answer(in, a.is_fault, a.content_type, out.p, out.len, a.fields, a.field_count, why.text);
    }
    if (err != EHIS_OK) { /* not consumed then; too large an answer, most likely */
        log_line(LOG_WARN, "population.unanswered", F_HEX("exchange", i->exchange_id, 16), F_ERR((ehis_err)err), F_STR("why", why.text));
        ehis_reject(in, err);
    }
    buf_fini(&a.body);
}

/* One change out of the outbox. The line goes when libehis has the event durably. */
static ehis_err publish_next(struct serving *s)
{
    struct people_change c;
    struct buf body;
    struct ehis_why why;
    EHIS_TRY(people_next_change(s->answers.people, &c));
    buf_init(&body, BODY_MAX_BYTES);
    ehis_err err = answers_event(&c, s->events, &body);
    if (err == EHIS_OK) {
        struct span b = buf_span(&body);
        ehis_message m = {.size = sizeof m, .service = s->service, .operation = "PersonChanged", .content_type = body_format_to_text(s->events), .body = b.p, .body_bytes = b.len,
                          .sequence = c.sequence};
        err = (ehis_err)ehis_publish(s->e, &m, NULL, why.text);
    }
    buf_fini(&body);
    if (err == EHIS_OK)
        err = people_forget_change(s->answers.people, c.sequence);
    if (err == EHIS_OK)
        log_line(LOG_INFO, "population.published", F_U64("sequence", c.sequence));
    return err;
}

/* True: there may be more. */
static bool publish(struct serving *s)
{
    ehis_err err = EHIS_OK;
    for (int i = 0; i < PUBLISH_TURN && err == EHIS_OK; i++)
        err = publish_next(s);
    if (err != EHIS_OK && err != EHIS_E_NOT_FOUND && err != s->outbox_err)
        log_line(LOG_WARN, "population.not_published", F_ERR(err));
    s->outbox_err = err;
    return err == EHIS_OK;
}

static bool look(struct serving *s)
{
    ehis_status now = {.size = sizeof now};
    ehis_get_status(s->e, &now);
    if (now.is_ready != s->is_ready)
        log_line(LOG_NOTICE, now.is_ready ? "population.ready" : "population.not_ready", F_STR("gateway", now.gateway), F_STR("why", now.is_ready ? "" : now.last_why));
    s->is_ready = now.is_ready;
    return s->is_ready && publish(s);
}

static void run(struct serving *s)
{
    sigset_t none;
    sigemptyset(&none);
    int64_t due = 0;
    while (!is_stopping) {
        int64_t now = clock_mono_ms(&clock_system);
        if (now >= due)
            due = look(s) ? now : now + LOOK_MS;
        struct timespec wait = {.tv_nsec = due > now ? LOOK_MS * 1000000L : 0};
        struct pollfd p = {.fd = ehis_fd(s->e), .events = POLLIN};
        if (ppoll(&p, 1, &wait, &none) > 0) /* signals come here alone */
            ehis_dispatch(s->e, PUBLISH_TURN);
    }
}

static ehis_err open_exchange(struct serving *s, const char *config, struct ehis_why *why)
{
    static const char *const operations[] = {"GetPerson", "FindPersons"};
    ehis_config *c;
    EHIS_TRY((ehis_err)ehis_config_load(config, &c, why->text));
    c->dispatch = 1; /* one thread for requests and outbox: one connection to the database */
    int err = ehis_open(c, &s->e, why->text);
    ehis_config_free(c);
    for (size_t i = 0; err == EHIS_OK && i < sizeof operations / sizeof *operations; i++)
        err = ehis_serve(s->e, s->service, operations[i], on_request, s, why->text);
    return (ehis_err)err;
}

ehis_err population_serve(const char *config, const char *db, const char *service, enum body_format events, struct ehis_why *why)
{
    struct serving s = {.service = service, .events = events};
    struct people *people = NULL;
    struct sigaction act = {.sa_handler = on_signal};
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGINT);
    sigprocmask(SIG_BLOCK, &ours, NULL); /* before libehis makes threads, which inherit it */
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    ehis_err err = people_open(db, false, &people, why);
    if (err == EHIS_OK)
        err = answers_init(&s.answers, people);
    if (err == EHIS_OK)
        err = open_exchange(&s, config, why);
    if (err == EHIS_OK) {
        log_line(LOG_NOTICE, "population.started", F_STR("service", service));
        run(&s);
        log_line(LOG_NOTICE, "population.stopping", F_BOOL("is_ready", s.is_ready));
    }
    ehis_close(s.e, CLOSE_MS);
    answers_fini(&s.answers);
    people_close(people);
    return err;
}
