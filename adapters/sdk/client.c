/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The handle: its making and end, the turn of its I/O thread, what it tells of itself. */
#include "adapters/sdk/ehis_priv.h"
#include "base/log.h"
#include "base/thread.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TICK_US 100000
#define END_US 2000000 /* for GOODBYE and close_notify, once the handlers are done */
#define OUTBOX_BYTES (UINT64_C(1) << 30)

/* ---- the turn ---- */

static void on_turn_due(void *arg)
{
    struct ehis *e = arg;
    e->is_turn_due = false;
    if (!e->is_stopped) /* the loop runs what it still holds when it is freed */
        client_turn(e);
}

void turn_soon(struct ehis *e)
{
    if (!e->is_turn_due)
        loop_later(e->loop, on_turn_due, e);
    e->is_turn_due = true;
}

void after_commit(struct ehis *e, struct committed *c, void (*run)(struct ehis *e, struct committed *c))
{
    c->next = NULL;
    c->run = run;
    *e->committed_end = c;
    e->committed_end = &c->next;
    turn_soon(e);
}

static bool has_link(const struct ehis *e)
{
    for (size_t i = 0; i < e->session_count; i++)
        if (e->sessions[i].link)
            return true;
    return false;
}

static void abort_links(struct ehis *e)
{
    for (size_t i = 0; i < e->session_count; i++)
        if (e->sessions[i].link)
            link_abort(e->sessions[i].link);
}

void client_note(struct ehis *e, ehis_err err, const char *why)
{
    pthread_mutex_lock(&e->lock);
    e->status.last_error = (int)err;
    snprintf(e->status.last_why, sizeof e->status.last_why, "%s%s%s", ehis_err_row(err)->text, why && why[0] ? ": " : "", why ? why : "");
    pthread_mutex_unlock(&e->lock);
    log_line(LOG_WARN, "sdk.session.trouble", F_ERR(err), F_STR("why", why ? why : ""));
}

void client_set_ready(struct ehis *e)
{
    e->status.has_streams = e->is_ready = false;
    for (const struct session *s = e->sessions; s < e->sessions + e->session_count; s++) {
        e->status.has_streams |= s->is_ready && s->has_streams;
        if (s->is_ready && !e->is_ready)
            memcpy(e->status.gateway, s->peer.leaf.id, sizeof e->status.gateway);
        e->is_ready |= s->is_ready;
    }
    e->status.is_ready = e->is_ready;
    e->status.registry_version = e->registry ? registry_version(e->registry) : 0;
    pthread_cond_broadcast(&e->changed);
}

/* None of our sessions has the streams, and gateways say so: another folder has. When one of ours gets them next, it takes them over. Between
 * gateways of ours nothing is taken over. */
void client_note_streams(struct ehis *e)
{
    bool has = false;
    for (const struct session *s = e->sessions; s < e->sessions + e->session_count; s++)
        has |= s->state == FRAME_STATE_READY && s->has_streams;
    if (has && e->is_passed_over)
        inbox_takeover(e->inbox);
    e->is_passed_over = !has;
}

/* The disk has failed: what is promised could not be kept, so nothing goes on. */
void ehis_fatal(struct ehis *e, ehis_err err)
{
    if (e->failed != EHIS_OK)
        return;
    e->failed = err;
    client_note(e, err, "the state folder cannot be written; open it again when the cause is gone");
    log_line(LOG_ERROR, "sdk.state.failed", F_ERR(err));
    abort_links(e);
    turn_soon(e);
}

static void check_flushes(struct ehis *e)
{
    bool is_any = false;
    pthread_mutex_lock(&e->lock);
    outbox_count(e->outbox, &e->status.outbox_messages, &e->status.outbox_bytes);
    e->status.calls_waiting = atomic_load(&e->calls_open);
    e->status.incoming_unfinished = e->incoming_count;
    for (struct flush_wait **at = &e->flushes; *at;) {
        struct flush_wait *w = *at;
        if (e->failed == EHIS_OK && outbox_lowest_ticket(e->outbox, w->is_final) <= w->ticket) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        w->err = e->failed;
        w->is_done = is_any = true;
    }
    if (is_any)
        pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

static void end_turn(struct ehis *e)
{
    calls_end_all(e, e->failed != EHIS_OK ? e->failed : EHIS_E_SDK_CLOSED);
    if (e->failed == EHIS_OK && (inbox_close(e->inbox) != EHIS_OK || store_commit(e->store) != EHIS_OK))
        log_line(LOG_WARN, "sdk.state.unclosed");
    loop_stop(e->loop);
}

static void commit(struct ehis *e)
{
    ehis_err err = e->failed == EHIS_OK ? store_commit(e->store) : EHIS_OK;
    if (err != EHIS_OK)
        ehis_fatal(e, err);
    e->finished_bytes = 0;
    if (e->failed == EHIS_OK)
        outbox_committed(e->outbox);
    err = inbox_committed(e->inbox);
    if (err != EHIS_OK)
        ehis_fatal(e, err);
    struct committed *c = e->committed;
    e->committed = NULL;
    e->committed_end = &e->committed;
    while (c) {
        struct committed *next = c->next;
        c->run(e, c);
        c = next;
    }
}

static void on_commit_timer(void *arg) { turn_soon(arg); }

/* One commit for all that is there. What handlers alone have finished waits a little for more of it, as long as others of them run. */
void client_turn(struct ehis *e)
{
    calls_make(e);
    drafts_flush(e);
    bool is_patient = store_group_bytes(e->store) == e->finished_bytes && e->failed == EHIS_OK && !e->is_ending;
    if (is_patient)
        receiving_streams(e);
    if (!is_patient || store_group_bytes(e->store) != e->finished_bytes || e->finished_bytes == 0 || e->handling_count == 0 ||
        clock_mono_us(e->clock) >= e->commit_by_us)
        commit(e);
    if (e->failed == EHIS_OK && !e->is_ending)
        receiving_streams(e);
    if (e->failed != EHIS_OK)
        calls_end_all(e, e->failed);
    for (size_t i = 0; i < e->session_count; i++)
        acks_flush(&e->sessions[i]);
    serving_run(e);
    calls_run(e);
    sending_streams(e);
    large_out_pump(e);
    large_in_pump(e);
    check_flushes(e);
    if (e->is_ending && !has_link(e) && !e->drafts && !e->committed)
        end_turn(e);
}

void client_tick(struct ehis *e)
{
    for (size_t i = 0; i < e->session_count; i++)
        session_tick(&e->sessions[i]);
    calls_tick(e);
    serving_tick(e);
    acks_tick(e);
    outbox_forget_asked(e->outbox, now_ms(e));
    receiving_again(e);
    inbox_touch_gaps(e->inbox);
    if (e->is_ending && clock_mono_us(e->clock) >= e->end_by_us)
        abort_links(e);
    client_turn(e);
    large_out_tick(e);
}

static void on_tick(void *arg)
{
    struct ehis *e = arg;
    loop_timer_set(e->tick, TICK_US);
    client_tick(e);
}

static void *io_main(void *arg)
{
    struct ehis *e = arg;
    if (e->log)
        log_set_thread_sink(e->log, e->log_arg);
    for (size_t i = 0; i < e->session_count; i++)
        session_start(&e->sessions[i]);
    loop_run(e->loop);
    return NULL;
}

/* ---- making ---- */

static ehis_err copy_texts(struct ehis *e, const ehis_config *c, struct ehis_why *why)
{
    if (c->size != sizeof *c)
        return ehis_fail(why, EHIS_E_SDK_CONFIG, "size is not sizeof(ehis_config)");
    const struct { const char *text, *name; } required[] = {{c->system, "system"}, {c->tls_chain_file, "tls_chain_file"}, {c->tls_key_file, "tls_key_file"},
        {c->ca_file, "ca_file"}, {c->crl_file, "crl_file"}, {c->sign_key_file, "sign_key_file"}, {c->state_dir, "state_dir"}};
    for (size_t i = 0; i < sizeof required / sizeof *required; i++)
        if (!required[i].text || !required[i].text[0])
            return ehis_fail(why, EHIS_E_SDK_CONFIG, "%s is missing", required[i].name);
    EHIS_TRY(identifier_check(span_str(c->system), IDENTIFIER_SYSTEM, why));
    if (c->gateway_count == 0 || c->gateway_count > GATEWAYS_MAX || c->seal_key_count == 0 || c->seal_key_count > SEAL_KEYS_MAX ||
        c->operator_key_count == 0 || c->operator_key_count > OPERATOR_KEYS_MAX)
        return ehis_fail(why, EHIS_E_SDK_CONFIG, "1 to %d gateways, 1 to %d seal keys, 1 to %d operator keys", GATEWAYS_MAX, SEAL_KEYS_MAX, OPERATOR_KEYS_MAX);
    memcpy(e->system, c->system, strlen(c->system));
    struct span instance = identifier_prefix(span_str(e->system), 1);
    memcpy(e->instance, instance.p, instance.len);
    e->state_dir = strdup(c->state_dir);
    e->chain_file = strdup(c->tls_chain_file);
    e->key_file = strdup(c->tls_key_file);
    for (size_t i = 0; i < c->gateway_count; i++) {
        const char *g = c->gateways[i], *colon = g ? strrchr(g, ':') : NULL;
        uint64_t port;
        if (!colon || colon == g || colon - g > 255 || decimal_from_text(span_str(colon + 1), 65535, &port) != EHIS_OK || port == 0)
            return ehis_fail(why, EHIS_E_SDK_CONFIG, "gateways: %s is not host:port", g ? g : "(null)");
        EHIS_TRY(session_init(e, g));
    }
    return e->state_dir && e->chain_file && e->key_file ? EHIS_OK : EHIS_E_NO_MEMORY;
}

static ehis_err load_keys(struct ehis *e, const ehis_config *c, struct ehis_why *why)
{
    for (size_t i = 0; i < c->operator_key_count; i++)
        if (!c->operator_keys[i] || hex_from_text(span_str(c->operator_keys[i]), e->operator_keys[i], 32) != EHIS_OK)
            return ehis_fail(why, EHIS_E_SDK_CONFIG, "registry.operator_keys: a key is not 64 hexadecimal digits");
    e->registry_trust = (struct registry_trust){(const uint8_t (*)[32])e->operator_keys, c->operator_key_count, span_str(e->instance)};
    EHIS_TRY(pki_keyfile_load_sign(c->sign_key_file, USE_SIGN, &e->sign_key, why));
    for (; e->seal_key_count < c->seal_key_count; e->seal_key_count++)
        EHIS_TRY(pki_keyfile_load_seal(c->seal_key_files[e->seal_key_count], &e->seal_keys[e->seal_key_count], why));
    return EHIS_OK;
}

static ehis_err make_parts(struct ehis *e, const ehis_config *c)
{
    struct inbox_events inbox = {.ctx = e, .on_gap = incoming_on_gap, .on_dropped = incoming_on_dropped, .position = c->position,
                                 .position_arg = c->position_arg};
    e->leaves = calloc(BATCH_MAX_LEAVES, sizeof *e->leaves);
    if (!e->leaves)
        return EHIS_E_NO_MEMORY;
    EHIS_TRY(root_cache_new(4096, &e->roots));
    EHIS_TRY(seal_cache_new(4096, &e->opening));
    EHIS_TRY(outbox_new(c->outbox_max_bytes ? c->outbox_max_bytes : OUTBOX_BYTES, c->memory_outbox, (uint8_t)c->wait_state, &e->outbox));
    EHIS_TRY(inbox_new(&inbox, &e->inbox));
    EHIS_TRY(loop_new(&e->loop));
    EHIS_TRY(loop_timer_new(e->loop, on_tick, e, &e->tick));
    EHIS_TRY(loop_timer_new(e->loop, on_commit_timer, e, &e->commit_timer));
    loop_timer_set(e->tick, TICK_US);
    return EHIS_OK;
}

ehis_err client_new(const ehis_config *c, struct disk *disk, const struct clock *clock, const struct random *random, struct ehis **out, struct ehis_why *why)
{
    pthread_condattr_t monotonic;
    EHIS_TRY(crypto_init(why));
    EHIS_TRY(pki_init(why));
    struct ehis *e = calloc(1, sizeof *e);
    if (!e)
        return EHIS_E_NO_MEMORY;
    e->clock = clock;
    e->random = random;
    e->disk = disk;
    e->refs = 1;
    e->event_fd = -1;
    e->call_window = c->call_window ? c->call_window : 64;
    e->stream_window = c->stream_window ? c->stream_window : 256;
    e->is_dispatched = c->dispatch;
    e->log = c->log;
    e->log_arg = c->log_arg;
    e->orders_end = &e->orders;
    e->jobs_end = &e->jobs;
    e->drafts_end = &e->drafts;
    e->committed_end = &e->committed;
    e->calls_due_end = &e->calls_due;
    e->served_due_end = &e->served_due;
    buf_init(&e->frame, FRAME_MAX_BYTES_LIMIT);
    buf_init(&e->scratch, STORE_RECORD_MAX_BYTES);
    buf_init(&e->item, 64 * 1024);
    tree_init(&e->tree);
    pthread_mutex_init(&e->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&e->changed, &monotonic);
    pthread_cond_init(&e->work, &monotonic);
    pthread_condattr_destroy(&monotonic);
    ehis_err err = copy_texts(e, c, why);
    if (err == EHIS_OK && (e->call_window > 16384 || e->stream_window > 16384 || c->wait_state > EHIS_REPLICATED))
        err = ehis_fail(why, EHIS_E_SDK_CONFIG, "the windows are at most 16384; wait_state is accepted, replicated or 0");
    if (err == EHIS_OK)
        err = load_keys(e, c, why);
    if (err == EHIS_OK)
        err = make_parts(e, c);
    if (err == EHIS_OK)
        err = state_open(e, why);
    if (err == EHIS_OK)
        err = state_load_trust(e, c->ca_file, c->crl_file, why);
    if (err != EHIS_OK)
        client_free(e);
    else
        *out = e;
    return err;
}

static void free_handlers(struct ehis *e)
{
    while (e->handlers) {
        struct handler *h = e->handlers;
        e->handlers = h->next;
        free(h->service);
        free(h->operation);
        free(h);
    }
}

/* The I/O thread is no more, and no handler runs. */
void client_free(struct ehis *e)
{
    e->is_stopped = true;
    work_run_orders(e);
    drafts_fini(e);
    if (e->outbox && e->inbox) {
        calls_end_all(e, EHIS_E_SDK_CLOSED);
        inbox_free(e->inbox);
        receiving_fini(e);
        serving_fini(e);
    }
    events_fini(e);
    large_out_fini(e);
    outbox_free(e->outbox);
    state_close(e);
    free_handlers(e);
    loop_timer_free(e->tick);
    loop_timer_free(e->commit_timer);
    for (size_t i = 0; i < e->session_count; i++)
        session_fini(&e->sessions[i]);
    loop_free(e->loop);
    root_cache_free(e->roots);
    seal_cache_free(e->opening);
    sign_key_free(e->sign_key);
    for (size_t i = 0; i < e->seal_key_count; i++)
        seal_key_free(e->seal_keys[i]);
    buf_fini(&e->frame);
    buf_fini(&e->scratch);
    buf_fini(&e->item);
    free(e->state_dir);
    free(e->chain_file);
    free(e->key_file);
    pthread_mutex_lock(&e->lock);
    ehis_release(e);
}

/* What a late handler may still touch goes last. */
void ehis_release(struct ehis *e)
{
    bool is_last = --e->refs == 0;
    pthread_mutex_unlock(&e->lock);
    if (!is_last)
        return;
    if (e->event_fd >= 0)
        close(e->event_fd);
    pthread_mutex_destroy(&e->lock);
    pthread_cond_destroy(&e->changed);
    pthread_cond_destroy(&e->work);
    free(e);
}

int ehis_open(const ehis_config *config, ehis **out, char *why_text)
{
    struct ehis_why why = {""};
    struct ehis *e = NULL;
    ehis_err err = client_new(config, NULL, &clock_system, &random_system, &e, &why);
    if (err == EHIS_OK) {
        err = work_start(e);
        if (err == EHIS_OK && !thread_start(&e->io_thread, io_main, e))
            err = EHIS_E_NO_MEMORY;
        if (err != EHIS_OK) {
            work_finish(e, 0);
            client_free(e);
        }
    }
    if (err == EHIS_OK)
        *out = e;
    return ehis_tell(why_text, err, &why);
}

static void on_stop(struct ehis *e, struct order *o)
{
    (void)o;
    e->is_ending = true;
    e->end_by_us = clock_mono_us(e->clock) + END_US;
    if (has_link(e))
        client_turn(e); /* what the application has just finished is acknowledged or answered before GOODBYE */
    for (size_t i = 0; i < e->session_count; i++)
        session_stop(&e->sessions[i]);
    turn_soon(e);
}

void ehis_close(ehis *e, uint32_t timeout_ms)
{
    if (!e)
        return;
    bool is_idle = work_finish(e, clock_mono_us(e->clock) + (int64_t)timeout_ms * 1000);
    struct order stop = {.run = on_stop};
    (void)!work_post(e, &stop); /* it is open still */
    pthread_join(e->io_thread, NULL);
    pthread_mutex_lock(&e->lock);
    e->is_stopped = true;
    pthread_cond_broadcast(&e->changed); /* who reads a large body */
    pthread_mutex_unlock(&e->lock);
    if (is_idle)
        client_free(e);
    else
        state_close(e); /* a handler still holds a message: the rest stays for it; the folder is free again */
}

int ehis_wait_ready(ehis *e, uint32_t timeout_ms, char *why)
{
    int64_t until_us = clock_mono_us(&clock_system) + (int64_t)timeout_ms * 1000;
    struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
    int result = EHIS_E_TIMEOUT;
    pthread_mutex_lock(&e->lock);
    e->refs++; /* as ehis_flush */
    while (!e->status.is_ready && !e->is_closing && pthread_cond_timedwait(&e->changed, &e->lock, &until) != ETIMEDOUT)
        ;
    if (e->status.is_ready || e->is_closing)
        result = e->is_closing ? EHIS_E_SDK_CLOSED : EHIS_OK;
    else if (e->status.last_error)
        result = e->status.last_error;
    if (why && result != EHIS_OK)
        snprintf(why, EHIS_WHY_BYTES, "%s", e->status.last_why[0] && !e->is_closing ? e->status.last_why : ehis_err_row((ehis_err)result)->text);
    ehis_release(e);
    return result;
}

int ehis_fd(const ehis *e) { return e->event_fd; }
int ehis_dispatch(ehis *e, int max) { return work_dispatch(e, max); }

/* ---- looking ---- */

void ehis_get_status(ehis *e, ehis_status *out)
{
    size_t size = out->size < sizeof *out ? out->size : sizeof *out;
    pthread_mutex_lock(&e->lock);
    e->status.size = size;
    e->status.session_count = e->session_count;
    memcpy(out, &e->status, size);
    pthread_mutex_unlock(&e->lock);
}

const char *ehis_error_name(int err) { return ehis_err_row((ehis_err)err)->name; }
const char *ehis_error_text(int err) { return ehis_err_row((ehis_err)err)->text; }
const char *ehis_error_hint(int err) { return ehis_err_row((ehis_err)err)->hint; }
const char *ehis_version(void) { return SOFTWARE; }
