/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* An application on libehis for tests/fault/jepsen.py, to be killed at any moment and started again over the same folder. What it asks for and
 * what becomes of it goes into LOG, a JSON line an event, each one write; checker.py judges them.
 *   jepsen_client SETTINGS LOG ask NAME PAUSE_MS SEED NEWS SERVICE...  numbered messages and calls to the services, and events of its own service NEWS,
 *                                                                      each PAUSE_MS on average
 *   jepsen_client SETTINGS LOG serve SERVICE NEWS...                   subscribed to the events of NEWS; libehis keeps the positions of streams
 *   jepsen_client SETTINGS LOG exact SERVICE NEWS...                   LOG is where the application keeps them, with the effect
 * SIGTERM: nothing new but a last event; waits until all that it has sent, or answered, is final. Who asks then waits for another. */
#include "adapters/sdk/ehis.h"
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CALLS_MAX 8
#define CALL_LIFETIME_MS 10000
#define SERVICES_MAX 8
#define STREAMS_MAX 4096
#define REJECT_EVERY 29 /* as checker.py has it */
#define RETRY_EVERY 23
#define LARGE_EVERY 401 /* as checker.py has it */
#define LARGE_AT 40
#define BODY_MAX_BYTES (2 << 20)
#define SUM_START 14695981039346656037u /* FNV-1a */
#define SUM_FACTOR 1099511628211u

enum what { CALL, SEND, PUBLISH };

static int out = -1;
static long long run; /* names this life: a process's number may come again */
static volatile sig_atomic_t is_ending;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int calls_waiting;
static struct { char stream[33]; uint64_t number; } positions[STREAMS_MAX]; /* of exact: the last whose effect stands in LOG */
static size_t position_count;
static struct { uint64_t id; char service[256]; } last_sent[SERVICES_MAX];
static uint64_t last_id;
static char retried[4096]; /* by id, of this run */

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...)
{
    char line[1024];
    struct timespec t;
    va_list args;
    clock_gettime(CLOCK_MONOTONIC, &t);
    const long long now = (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    if (!run)
        run = now << 22 | getpid(); /* 22 bits: the most that Linux gives */
    int n = snprintf(line, sizeof line, "{\"t\":%lld,\"run\":%lld,", now, run);
    va_start(args, format);
    n += vsnprintf(line + n, sizeof line - (size_t)n - 3, format, args);
    va_end(args);
    n += snprintf(line + n, sizeof line - (size_t)n, "}\n");
    if (write(out, line, (size_t)n) != n)
        abort();
}

static void hex(const uint8_t *p, size_t n, char *to)
{
    for (size_t i = 0; i < n; i++)
        snprintf(to + 2 * i, 3, "%02x", p[i]);
}

static uint64_t sum_of(const char *body, size_t bytes)
{
    uint64_t sum = SUM_START;
    for (size_t i = 0; i < bytes; i++)
        sum = (sum ^ (uint8_t)body[i]) * SUM_FACTOR;
    return sum;
}

/* ---- what the log says of former runs ---- */

static void remember_position(const char *stream, uint64_t number)
{
    size_t i = 0;
    while (i < position_count && strcmp(positions[i].stream, stream) != 0)
        i++;
    if (i == STREAMS_MAX)
        abort();
    if (i == position_count)
        snprintf(positions[position_count++].stream, sizeof positions->stream, "%s", stream);
    positions[i].number = number;
}

static void remember_sent(const char *service, uint64_t id)
{
    size_t i = 0;
    while (i < SERVICES_MAX && last_sent[i].id && strcmp(last_sent[i].service, service) != 0)
        i++;
    if (i == SERVICES_MAX)
        abort();
    last_sent[i].id = id;
    snprintf(last_sent[i].service, sizeof last_sent->service, "%s", service);
}

static int read_log(const char *path)
{
    char line[1024], a[256], stream[33], what[8];
    unsigned long long id;
    long whole = 0;
    FILE *f = fopen(path, "a+");
    if (!f)
        return -1;
    rewind(f);
    while (fgets(line, sizeof line, f) && strchr(line, '\n')) {
        whole = ftell(f);
        const char *e = strstr(line, "\"e\":");
        if (e && sscanf(e, "\"e\":\"%7[a-z]\",\"sender\":\"%255[^\"]\",\"stream\":\"%32[0-9a-f]\",\"number\":%llu", what, a, stream, &id) == 4 &&
            (strcmp(what, "handed") == 0 || strcmp(what, "event") == 0))
            remember_position(stream, id);
        if (e && sscanf(e, "\"e\":\"invoke\",\"what\":\"%7[a-z]\",\"id\":%llu,\"to\":\"%255[^\"]\"", what, &id, a) == 3) {
            if (strcmp(what, "call") != 0)
                remember_sent(a, id);
            last_id = id > last_id ? id : last_id;
        }
    }
    fclose(f);
    return truncate(path, whole); /* a line that a kill cut */
}

static uint64_t position(void *arg, const char *sender, const uint8_t stream[16])
{
    char text[33];
    uint64_t number = 0;
    (void)arg, (void)sender;
    hex(stream, 16, text);
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < position_count; i++)
        if (strcmp(positions[i].stream, text) == 0)
            number = positions[i].number;
    pthread_mutex_unlock(&lock);
    return number;
}

/* ---- who serves ---- */

/* A body that cannot be had whole now is asked for again. */
static const char *read_body(ehis_incoming *in, size_t *bytes)
{
    char rest;
    const char *body = ehis_incoming_body(in, bytes);
    if (body)
        return body;
    note("\"e\":\"unread\",\"bytes\":%" PRIu64 ",\"code\":%lld", ehis_incoming_body_bytes(in), (long long)-ehis_incoming_read(in, &rest, 1));
    ehis_retry(in, 200);
    return NULL;
}

/* kind: "handed", what is asked, or "event". */
static void on_incoming(void *kind, ehis_incoming *in)
{
    const ehis_info *i = ehis_incoming_info(in);
    const int is_event = strcmp(kind, "event") == 0;
    char stream[33] = "", digest[65], text[64] = "", name[32] = "", why[EHIS_WHY_BYTES] = "";
    unsigned long long id = 0;
    size_t bytes;
    const char *body = read_body(in, &bytes);
    if (!body)
        return;
    snprintf(text, sizeof text, "%.*s", (int)(bytes < 63 ? bytes : 63), body);
    sscanf(text, "%31s %llu", name, &id);
    if (i->is_stream && id % RETRY_EVERY == 0 && !retried[id / RETRY_EVERY % sizeof retried]) {
        retried[id / RETRY_EVERY % sizeof retried] = 1;
        ehis_retry(in, 20);
        return;
    }
    if (i->is_stream)
        hex(i->stream, 16, stream);
    hex(i->digest, 32, digest);
    pthread_mutex_lock(&lock);
    if (i->is_stream)
        remember_position(stream, i->number);
    pthread_mutex_unlock(&lock);
    note("\"e\":\"%s\",\"sender\":\"%s\",\"stream\":\"%s\",\"number\":%" PRIu64 ",\"name\":\"%s\",\"id\":%llu,\"bytes\":%zu,\"sum\":%" PRIu64
         ",\"digest\":\"%s\",\"repeated\":%d,\"late\":%d", (const char *)kind, i->sender, stream, i->number, name, id, bytes, sum_of(body, bytes), digest,
         i->is_repeated, i->is_late);
    if (i->is_stream && id % REJECT_EVERY == 0) {
        ehis_reject(in, 0);
        return;
    }
    if (is_event) {
        ehis_done(in);
        return;
    }
    snprintf(text, sizeof text, "%s %llu", name, id);
    int err = ehis_answer(in, 0, "text/plain", text, strlen(text), NULL, 0, why);
    if (err)
        note("\"e\":\"unanswered\",\"id\":%llu,\"code\":%d", id, err);
}

/* ---- who asks ---- */

static void on_response(void *arg, ehis_incoming *in)
{
    const ehis_info *i = ehis_incoming_info(in);
    char stream[33], digest[65], name[32] = "", text[64];
    unsigned long long id = 0;
    size_t bytes;
    const char *body = ehis_incoming_body(in, &bytes);
    (void)arg;
    snprintf(text, sizeof text, "%.*s", (int)(bytes < 63 ? bytes : 63), body);
    sscanf(text, "%31s %llu", name, &id);
    hex(i->stream, 16, stream);
    hex(i->digest, 32, digest);
    note("\"e\":\"response\",\"sender\":\"%s\",\"stream\":\"%s\",\"number\":%" PRIu64 ",\"name\":\"%s\",\"id\":%llu,\"digest\":\"%s\",\"repeated\":%d,\"late\":%d",
         i->sender, stream, i->number, name, id, digest, i->is_repeated, i->is_late);
    ehis_done(in);
}

static void on_receipt(void *arg, const ehis_receipt *r)
{
    char digest[65], exchange[33];
    (void)arg;
    hex(r->digest, 32, digest);
    hex(r->exchange_id, 16, exchange);
    note("\"e\":\"receipt\",\"exchange\":\"%s\",\"digest\":\"%s\",\"state\":%d,\"code\":%d,\"gateway\":\"%s\",\"signed\":%d", exchange, digest, r->state, r->code,
         r->gateway, r->is_recipient_signed);
}

static void on_passed(void *arg, const ehis_passed *p)
{
    char stream[33];
    (void)arg;
    hex(p->stream, 16, stream);
    note("\"e\":\"passed\",\"sender\":\"%s\",\"stream\":\"%s\",\"number\":%" PRIu64 ",\"state\":%d", p->sender, stream, p->number, p->state);
}

static void on_reply(void *arg, int err, const ehis_reply *reply, const char *why)
{
    char name[32] = "", text[64] = "";
    unsigned long long id = 0;
    size_t bytes = 0;
    const char *body = reply ? ehis_reply_body(reply, &bytes) : "";
    (void)why;
    snprintf(text, sizeof text, "%.*s", (int)(bytes < 63 ? bytes : 63), body);
    sscanf(text, "%31s %llu", name, &id);
    if (err)
        note("\"e\":\"fail\",\"what\":\"call\",\"id\":%llu,\"code\":%d", (unsigned long long)(uintptr_t)arg, err);
    else
        note("\"e\":\"ok\",\"what\":\"call\",\"id\":%llu,\"name\":\"%s\",\"answered\":%llu", (unsigned long long)(uintptr_t)arg, name, id);
    pthread_mutex_lock(&lock);
    calls_waiting--;
    pthread_mutex_unlock(&lock);
}

/* The body says who and which; its length and all that follows come from that, so that a checker can tell. */
static size_t make_body(char *body, const char *name, uint64_t id, enum what what)
{
    const size_t bytes = what == SEND && id % LARGE_EVERY == LARGE_AT ? 300000 + id * 7919 % 700000 : 64 + id * 37 % 1500;
    uint64_t x = id | 1;
    for (size_t i = 0; i < bytes; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        body[i] = (char)(x >> 56);
    }
    body[snprintf(body, 64, "%s %" PRIu64 " ", name, id)] = '.';
    return bytes;
}

static void ask(ehis *e, const char *name, const char *service, uint64_t id, enum what what)
{
    static const char *const names[] = {[CALL] = "call", [SEND] = "send", [PUBLISH] = "publish"};
    static char body[BODY_MAX_BYTES];
    char exchange[33] = "", why[EHIS_WHY_BYTES] = "";
    uint8_t exchange_id[16] = {0};
    ehis_message m = {.size = sizeof m, .service = service, .operation = what == PUBLISH ? "Changed" : "Put", .content_type = "text/plain", .body = body,
                      .body_bytes = make_body(body, name, id, what), .sequence = what == CALL ? 0 : id, .lifetime_ms = what == CALL ? CALL_LIFETIME_MS : 0};
    if (what != PUBLISH) {
        m.purpose = "fault.load";
        m.legal_basis = "Fault 1";
    }
    note("\"e\":\"invoke\",\"what\":\"%s\",\"id\":%" PRIu64 ",\"to\":\"%s\",\"bytes\":%zu,\"sum\":%" PRIu64, names[what], id, service, m.body_bytes,
         sum_of(body, m.body_bytes));
    if (what == CALL) {
        pthread_mutex_lock(&lock);
        calls_waiting++;
        pthread_mutex_unlock(&lock);
        int err = ehis_call_start(e, &m, on_reply, (void *)(uintptr_t)id, NULL, why);
        if (err)
            on_reply((void *)(uintptr_t)id, err, NULL, why);
        return;
    }
    int err = what == PUBLISH ? ehis_publish(e, &m, exchange_id, why) : ehis_send(e, &m, exchange_id, why);
    hex(exchange_id, 16, exchange);
    if (err)
        note("\"e\":\"fail\",\"what\":\"%s\",\"id\":%" PRIu64 ",\"code\":%d", names[what], id, err);
    else
        note("\"e\":\"kept\",\"id\":%" PRIu64 ",\"exchange\":\"%s\"", id, exchange);
}

static void pause_ms(unsigned ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&t, NULL);
}

static void flush(ehis *e)
{
    char why[EHIS_WHY_BYTES] = "";
    int err = ehis_flush(e, 1, 150000, why);
    for (int i = 0; i < 1500; i++) {
        pthread_mutex_lock(&lock);
        const int waiting = calls_waiting;
        pthread_mutex_unlock(&lock);
        if (!waiting)
            break;
        pause_ms(10);
    }
    note("\"e\":\"flushed\",\"code\":%d", err);
}

/* words: NAME PAUSE_MS SEED NEWS SERVICE... */
static void run_asker(ehis *e, char **words, int count)
{
    const char *name = words[0], *news = words[3];
    const unsigned pause = (unsigned)strtoul(words[1], NULL, 10);
    unsigned seed = (unsigned)strtoul(words[2], NULL, 10) + (unsigned)last_id;
    for (int i = 0; i < SERVICES_MAX && last_sent[i].id; i++) /* what a kill may have caught between asking and being told: kept once all the same */
        ask(e, name, last_sent[i].service, last_sent[i].id, strcmp(last_sent[i].service, news) == 0 ? PUBLISH : SEND);
    while (!is_ending) {
        const char *service = words[4 + rand_r(&seed) % (unsigned)(count - 4)];
        const int chance = (last_id + 1) % LARGE_EVERY == LARGE_AT ? 5 : rand_r(&seed) % 6;
        pthread_mutex_lock(&lock);
        const int has_room = calls_waiting < CALLS_MAX;
        pthread_mutex_unlock(&lock);
        if (chance == 0)
            ask(e, name, news, ++last_id, PUBLISH);
        else
            ask(e, name, service, ++last_id, chance < 3 && has_room ? CALL : SEND);
        pause_ms((unsigned)rand_r(&seed) % (2 * pause + 1));
    }
    ask(e, name, news, ++last_id, PUBLISH); /* behind it, whatever is missing before it is missed */
    flush(e);
}

/* words: SERVICE NEWS... */
static int serve(ehis *e, char **words, int count, char *why)
{
    static char handed[] = "handed", event[] = "event";
    int err = ehis_serve(e, words[0], NULL, on_incoming, handed, why);
    for (int i = 1; !err && i < count; i++)
        err = ehis_subscribe(e, words[i], "Changed", on_incoming, event, why);
    return err;
}

static void on_signal(int number)
{
    (void)number;
    is_ending = 1;
}

int main(int argc, char **argv)
{
    ehis_config *config;
    ehis *e = NULL;
    char why[EHIS_WHY_BYTES] = "";
    const int is_asker = argc > 8 && strcmp(argv[3], "ask") == 0;
    if ((argc < 5 || (strcmp(argv[3], "serve") != 0 && strcmp(argv[3], "exact") != 0)) && !is_asker)
        return 2;
    const struct sigaction end = {.sa_handler = on_signal};
    sigaction(SIGTERM, &end, NULL);
    if (read_log(argv[2]) != 0 || (out = open(argv[2], O_WRONLY | O_APPEND | O_CLOEXEC)) < 0)
        return 1;
    note("\"e\":\"open\",\"role\":\"%s\"", argv[3]);
    int err = ehis_config_load(argv[1], &config, why);
    if (!err && strcmp(argv[3], "exact") == 0)
        config->position = position;
    if (!err)
        err = ehis_open(config, &e, why);
    if (!err && !is_asker)
        err = serve(e, argv + 4, argc - 4, why);
    if (err) {
        fprintf(stderr, "%s %s\n", ehis_error_name(err), why);
        return 1;
    }
    ehis_on_receipt(e, on_receipt, NULL);
    ehis_on_passed(e, on_passed, NULL);
    ehis_on_response(e, on_response, NULL);
    if (is_asker)
        run_asker(e, argv + 4, argc - 4);
    while (!is_ending)
        pause_ms(20);
    if (!is_asker)
        flush(e);
    else /* responses come behind receipts: the harness says when */
        for (is_ending = 0; !is_ending;)
            pause_ms(20);
    ehis_close(e, 20000);
    ehis_config_free(config);
    note("\"e\":\"close\"");
    return 0;
}
