/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* An application on libehis for tests/fault/jepsen.py, to be killed at any moment and started again over the same folder. What it asks for and
 * what becomes of it goes into LOG, a JSON line an event, each one write; checker.py judges them.
 *   jepsen_client SETTINGS LOG ask NAME PAUSE_MS SEED SERVICE...    numbered messages and calls to the services, each PAUSE_MS on average
 *   jepsen_client SETTINGS LOG serve SERVICE                        libehis keeps the positions of streams
 *   jepsen_client SETTINGS LOG exact SERVICE                        LOG is where the application keeps them, with the effect
 * SIGTERM: nothing new; waits until all that it has sent, or answered, is final. Who asks then waits for another. */
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

static int out = -1;
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
    int n = snprintf(line, sizeof line, "{\"t\":%lld,\"run\":%d,", (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000, (int)getpid());
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
    char line[1024], a[256], stream[33];
    unsigned long long id;
    long whole = 0;
    FILE *f = fopen(path, "a+");
    if (!f)
        return -1;
    rewind(f);
    while (fgets(line, sizeof line, f) && strchr(line, '\n')) {
        whole = ftell(f);
        const char *e = strstr(line, "\"e\":");
        if (e && sscanf(e, "\"e\":\"handed\",\"sender\":\"%255[^\"]\",\"stream\":\"%32[0-9a-f]\",\"number\":%llu", a, stream, &id) == 3)
            remember_position(stream, id);
        if (e && sscanf(e, "\"e\":\"invoke\",\"what\":\"send\",\"id\":%llu,\"to\":\"%255[^\"]\"", &id, a) == 2)
            remember_sent(a, id);
        if (e && sscanf(e, "\"e\":\"invoke\",\"what\":\"%*[a-z]\",\"id\":%llu", &id) == 1 && id > last_id)
            last_id = id;
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

static void on_request(void *arg, ehis_incoming *in)
{
    const ehis_info *i = ehis_incoming_info(in);
    char stream[33] = "", digest[65], text[64] = "", name[32] = "", why[EHIS_WHY_BYTES] = "";
    unsigned long long id = 0;
    size_t bytes;
    const char *body = ehis_incoming_body(in, &bytes);
    (void)arg;
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
    note("\"e\":\"handed\",\"sender\":\"%s\",\"stream\":\"%s\",\"number\":%" PRIu64 ",\"name\":\"%s\",\"id\":%llu,\"bytes\":%zu,\"digest\":\"%s\",\"repeated\":%d,\"late\":%d",
         i->sender, stream, i->number, name, id, bytes, digest, i->is_repeated, i->is_late);
    if (i->is_stream && id % REJECT_EVERY == 0) {
        ehis_reject(in, 0);
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

/* The body says who and which; its length follows from that, so that a checker can tell. */
static void ask(ehis *e, const char *name, const char *service, uint64_t id, int is_call)
{
    static char body[2048];
    char exchange[33] = "", why[EHIS_WHY_BYTES] = "";
    uint8_t exchange_id[16] = {0};
    memset(body, '.', sizeof body);
    body[snprintf(body, sizeof body, "%s %" PRIu64 " ", name, id)] = '.';
    ehis_message m = {.size = sizeof m, .service = service, .operation = "Put", .purpose = "fault.load", .legal_basis = "Fault 1", .content_type = "text/plain",
                      .body = body, .body_bytes = (size_t)(64 + id * 37 % 1500), .sequence = is_call ? 0 : id, .lifetime_ms = is_call ? CALL_LIFETIME_MS : 0};
    note("\"e\":\"invoke\",\"what\":\"%s\",\"id\":%" PRIu64 ",\"to\":\"%s\",\"bytes\":%zu", is_call ? "call" : "send", id, service, m.body_bytes);
    if (is_call) {
        pthread_mutex_lock(&lock);
        calls_waiting++;
        pthread_mutex_unlock(&lock);
        int err = ehis_call_start(e, &m, on_reply, (void *)(uintptr_t)id, NULL, why);
        if (err)
            on_reply((void *)(uintptr_t)id, err, NULL, why);
        return;
    }
    int err = ehis_send(e, &m, exchange_id, why);
    hex(exchange_id, 16, exchange);
    if (err)
        note("\"e\":\"fail\",\"what\":\"send\",\"id\":%" PRIu64 ",\"code\":%d", id, err);
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

static void run_asker(ehis *e, char **words, int count)
{
    const unsigned pause = (unsigned)strtoul(words[1], NULL, 10);
    unsigned seed = (unsigned)strtoul(words[2], NULL, 10) + (unsigned)last_id;
    for (int i = 0; i < SERVICES_MAX && last_sent[i].id; i++) /* what a kill may have caught between asking and being told: kept once all the same */
        ask(e, words[0], last_sent[i].service, last_sent[i].id, 0);
    while (!is_ending) {
        const char *service = words[3 + rand_r(&seed) % (unsigned)(count - 3)];
        pthread_mutex_lock(&lock);
        const int has_room = calls_waiting < CALLS_MAX;
        pthread_mutex_unlock(&lock);
        ask(e, words[0], service, ++last_id, rand_r(&seed) % 3 == 0 && has_room);
        pause_ms((unsigned)rand_r(&seed) % (2 * pause + 1));
    }
    flush(e);
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
    const int is_asker = argc > 7 && strcmp(argv[3], "ask") == 0;
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
        err = ehis_serve(e, argv[4], NULL, on_request, NULL, why);
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
