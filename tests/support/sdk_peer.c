/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A system on libehis that does what lines on its standard input say, and prints JSON lines, for scenario tests:
 *   sdk_peer SETTINGS.yaml SERVICE
 *   call OP BODY | send OP BODY | callfile OP PATH | sendfile OP PATH | publish EVENT BODY | serve OP | subscribe EVENT | unsubscribe EVENT | flush final|state | ready | status | many N OP | quit
 * An operation may be named with its service, SERVICE/OP. What a handler does with a body: "fault:..." a fault, "reject" rejects, "retry" gives back until it is repeated three times, "hang" never
 * finishes, "sleep:MS"; everything else is echoed. What is over 1 MiB is read into a file and echoed out of it. */
#include "adapters/sdk/ehis.h"
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PURPOSE "tax.assessment"
#define BASIS "Vergi Məcəlləsi 23"

static pthread_mutex_t out = PTHREAD_MUTEX_INITIALIZER;
static int retries;

#define SAY(...)                     \
    do {                             \
        pthread_mutex_lock(&out);    \
        printf(__VA_ARGS__);         \
        putchar('\n');               \
        fflush(stdout);              \
        pthread_mutex_unlock(&out);  \
    } while (0)

static void hex(const uint8_t *p, size_t n, char *to)
{
    for (size_t i = 0; i < n; i++)
        snprintf(to + 2 * i, 3, "%02x", p[i]);
}

#define PIECE 65536
static uint64_t sum_of(uint64_t sum, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum = (sum ^ p[i]) * UINT64_C(1099511628211);
    return sum;
}

static void on_large(const char *sort, ehis_incoming *in)
{
    const ehis_info *i = ehis_incoming_info(in);
    FILE *f = tmpfile();
    uint8_t *piece = malloc(PIECE);
    char why[EHIS_WHY_BYTES] = "";
    uint64_t bytes = 0, sum = 0;
    int64_t n = -1;
    SAY("{\"event\":\"large-begins\",\"bytes\":%" PRIu64 "}", ehis_incoming_body_bytes(in));
    while (f && piece && (n = ehis_incoming_read(in, piece, PIECE)) > 0) {
        sum = sum_of(sum, piece, (size_t)n);
        bytes += (uint64_t)n;
        if (fwrite(piece, 1, (size_t)n, f) != (size_t)n)
            n = -1;
    }
    SAY("{\"event\":\"large-%s\",\"bytes\":%" PRIu64 ",\"sum\":\"%016" PRIx64 "\",\"err\":%d,\"name\":\"%s\",\"repeated\":%d}", sort, bytes, sum, (int)-n, ehis_error_name((int)-n), i->is_repeated);
    if (n < 0) {
        ehis_reject(in, (int)-n);
    } else if (strcmp(sort, "request") == 0) {
        rewind(f);
        int fd = fileno(f), err = ehis_answer_from(in, 0, NULL, ehis_read_fd, &fd, NULL, 0, why);
        if (err)
            SAY("{\"event\":\"unanswered\",\"err\":%d,\"why\":\"%s\"}", err, why);
        if (err)
            ehis_reject(in, err);
    } else {
        ehis_done(in);
    }
    free(piece);
    if (f)
        fclose(f);
}

static void on_message(void *arg, ehis_incoming *in)
{
    const ehis_info *i = ehis_incoming_info(in);
    size_t bytes;
    if (ehis_incoming_body_bytes(in) > 1024 * 1024) {
        on_large(arg, in);
        return;
    }
    const char *body = ehis_incoming_body(in, &bytes), *fields[] = {"echo"};
    char text[256], stream[33], why[EHIS_WHY_BYTES] = "";
    snprintf(text, sizeof text, "%.*s", (int)(bytes < 200 ? bytes : 200), body);
    hex(i->stream, 16, stream);
    SAY("{\"event\":\"%s\",\"sender\":\"%s\",\"operation\":\"%s\",\"body\":\"%s\",\"bytes\":%zu,\"stream\":\"%s\",\"number\":%" PRIu64
        ",\"repeated\":%d,\"late\":%d,\"fault\":%d,\"rule\":\"%s\"}",
        (const char *)arg, i->sender, i->operation, text, bytes, i->is_stream ? stream : "", i->number, i->is_repeated, i->is_late, i->is_fault, i->rule);
    const char *slow = getenv("PEER_SLOW_MS"); /* for each message */
    if (slow || strncmp(text, "sleep:", 6) == 0) {
        struct timespec t = {0, strtol(slow ? slow : text + 6, NULL, 10) * 1000000};
        t.tv_sec = t.tv_nsec / 1000000000;
        t.tv_nsec %= 1000000000;
        nanosleep(&t, NULL);
    }
    if (strcmp(text, "hang") == 0)
        return;
    if (strcmp(text, "reject") == 0) {
        ehis_reject(in, 0);
    } else if (strcmp(text, "retry") == 0 && ++retries < 3) {
        ehis_retry(in, 50);
    } else if (strcmp((const char *)arg, "request") == 0) {
        int err = ehis_answer(in, strncmp(text, "fault:", 6) == 0, "text/plain", body, bytes, fields, 1, why);
        if (err)
            SAY("{\"event\":\"unanswered\",\"err\":%d,\"why\":\"%s\"}", err, why);
        if (err)
            err = ehis_answer(in, 1, "text/plain", "too large", 9, NULL, 0, why);
    } else {
        ehis_done(in);
    }
}

static void on_receipt(void *arg, const ehis_receipt *r)
{
    char id[33];
    (void)arg;
    hex(r->exchange_id, 16, id);
    SAY("{\"event\":\"receipt\",\"exchange\":\"%s\",\"state\":%d,\"code\":%d,\"gateway\":\"%s\",\"signed\":%d}", id, r->state, r->code, r->gateway,
        r->is_recipient_signed);
}

static void on_passed(void *arg, const ehis_passed *p)
{
    (void)arg;
    SAY("{\"event\":\"passed\",\"sender\":\"%s\",\"number\":%" PRIu64 ",\"state\":%d}", p->sender, p->number, p->state);
}

static pthread_mutex_t many_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t many_done = PTHREAD_COND_INITIALIZER;
static int many_left, many_failed;

static void on_many(void *arg, int err, const ehis_reply *reply, const char *why)
{
    (void)arg;
    (void)reply;
    (void)why;
    pthread_mutex_lock(&many_lock);
    many_failed += err != 0;
    many_left--;
    pthread_cond_signal(&many_done);
    pthread_mutex_unlock(&many_lock);
}

/* N calls, at most 512 under way. */
static void many(ehis *e, const ehis_message *m, int n)
{
    struct timespec a, b;
    char why[EHIS_WHY_BYTES] = "";
    clock_gettime(CLOCK_MONOTONIC, &a);
    many_failed = 0;
    for (int i = 0; i < n; i++) {
        pthread_mutex_lock(&many_lock);
        while (many_left >= 512)
            pthread_cond_wait(&many_done, &many_lock);
        many_left++;
        pthread_mutex_unlock(&many_lock);
        if (ehis_call_start(e, m, on_many, NULL, NULL, why))
            on_many(NULL, 1, NULL, why);
    }
    pthread_mutex_lock(&many_lock);
    while (many_left > 0)
        pthread_cond_wait(&many_done, &many_lock);
    pthread_mutex_unlock(&many_lock);
    clock_gettime(CLOCK_MONOTONIC, &b);
    double s = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
    SAY("{\"event\":\"many\",\"calls\":%d,\"failed\":%d,\"seconds\":%.3f,\"why\":\"%s\"}", n, many_failed, s, why);
}

static void call(ehis *e, const ehis_message *m)
{
    ehis_reply *r = NULL;
    char why[EHIS_WHY_BYTES] = "";
    size_t bytes = 0;
    int err = ehis_call(e, m, &r, why);
    const char *body = r ? ehis_reply_body(r, &bytes) : "";
    SAY("{\"event\":\"reply\",\"err\":%d,\"name\":\"%s\",\"why\":\"%s\",\"fault\":%d,\"bytes\":%zu,\"body\":\"%.*s\"}", err, ehis_error_name(err), why,
        r ? ehis_reply_is_fault(r) : 0, bytes, (int)(bytes < 200 ? bytes : 200), body);
    ehis_reply_free(r);
}

static void call_file(ehis *e, const ehis_message *m)
{
    ehis_reply *r = NULL;
    char why[EHIS_WHY_BYTES] = "";
    uint8_t *piece = malloc(PIECE);
    uint64_t bytes = 0, sum = 0;
    int64_t n = 0;
    int err = ehis_call(e, m, &r, why);
    if (r)
        SAY("{\"event\":\"large-begins\",\"bytes\":%" PRIu64 "}", ehis_reply_body_bytes(r));
    while (r && piece && (n = ehis_reply_read(r, piece, PIECE)) > 0) {
        sum = sum_of(sum, piece, (size_t)n);
        bytes += (uint64_t)n;
    }
    err = err ? err : (int)-n;
    SAY("{\"event\":\"reply\",\"err\":%d,\"name\":\"%s\",\"why\":\"%s\",\"fault\":%d,\"bytes\":%" PRIu64 ",\"sum\":\"%016" PRIx64 "\"}", err, ehis_error_name(err), why,
        r ? ehis_reply_is_fault(r) : 0, bytes, sum);
    ehis_reply_free(r);
    free(piece);
}

static void say_status(ehis *e)
{
    ehis_status s = {.size = sizeof s};
    ehis_get_status(e, &s);
    unsigned sessions = 0; /* a bit for each gateway with a ready session */
    for (size_t i = 0; i < s.session_count; i++)
        sessions |= (unsigned)s.sessions[i].is_ready << i;
    SAY("{\"event\":\"status\",\"ready\":%d,\"streams\":%d,\"gateway\":\"%s\",\"registry\":%" PRIu64 ",\"outbox\":%" PRIu64 ",\"unfinished\":%" PRIu64
        ",\"reconnects\":%" PRIu64 ",\"last_error\":%d,\"why\":\"%s\",\"sessions\":%u}",
        s.is_ready, s.has_streams, s.gateway, s.registry_version, s.outbox_messages, s.incoming_unfinished, s.reconnects, s.last_error, s.last_why, sessions);
}

static void obey(ehis *e, const char *service, const char *verb, const char *what, const char *body)
{
    char why[EHIS_WHY_BYTES] = "";
    int err = -1;
    char *big = NULL, own[256];
    ehis_message m = {.size = sizeof m, .service = service, .operation = strcmp(verb, "many") == 0 ? body : what, .purpose = PURPOSE, .legal_basis = BASIS, .content_type = "text/plain",
                      .body = body, .body_bytes = strlen(body)};
    const char *last = strrchr(m.operation, '/');
    if (last) {
        snprintf(own, sizeof own, "%.*s", (int)(last - m.operation), m.operation);
        m.service = own;
        m.operation = last + 1;
    }
    if (strncmp(body, "big:", 4) == 0) {
        m.body_bytes = strtoul(body + 4, NULL, 10);
        m.body = big = calloc(1, m.body_bytes + 1);
        if (big)
            memset(big, 'x', m.body_bytes);
    }
    int fd = -1;
    if (strcmp(verb, "callfile") == 0 || strcmp(verb, "sendfile") == 0) {
        fd = open(body, O_RDONLY | O_CLOEXEC);
        m.read = ehis_read_fd;
        m.read_arg = &fd;
        m.body = NULL;
        m.body_bytes = 0;
        m.lifetime_ms = 290000;
    }
    if (strcmp(verb, "callfile") == 0) {
        call_file(e, &m);
        close(fd);
        return;
    }
    if (strcmp(verb, "call") == 0) {
        call(e, &m);
        free(big);
        return;
    }
    if (strcmp(verb, "many") == 0) {
        m.body = "ping";
        m.body_bytes = 4;
        many(e, &m, (int)strtol(what, NULL, 10));
        return;
    }
    if (strcmp(verb, "status") == 0) {
        say_status(e);
        return;
    }
    if (strcmp(verb, "send") == 0 || strcmp(verb, "sendfile") == 0)
        err = ehis_send(e, &m, NULL, why);
    if (strcmp(verb, "publish") == 0)
        err = ehis_publish(e, &m, NULL, why);
    if (strcmp(verb, "serve") == 0)
        err = ehis_serve(e, m.service, m.operation, on_message, "request", why);
    if (strcmp(verb, "subscribe") == 0)
        err = ehis_subscribe(e, service, what, on_message, "published", why);
    if (strcmp(verb, "replay") == 0)
        err = ehis_subscribe_from(e, service, what, strtoll(body, NULL, 10), on_message, "published", why);
    if (strcmp(verb, "unsubscribe") == 0)
        err = ehis_unsubscribe(e, service, what, why);
    if (strcmp(verb, "flush") == 0)
        err = ehis_flush(e, strcmp(what, "final") == 0, 20000, why);
    if (strcmp(verb, "ready") == 0)
        err = ehis_wait_ready(e, 20000, why);
    free(big);
    if (fd >= 0)
        close(fd);
    SAY("{\"event\":\"did\",\"verb\":\"%s\",\"err\":%d,\"name\":\"%s\",\"why\":\"%s\"}", verb, err, ehis_error_name(err), why);
}

int main(int argc, char **argv)
{
    ehis_config *config;
    ehis *e;
    char why[EHIS_WHY_BYTES] = "", line[4096];
    if (argc < 3)
        return 2;
    int err = ehis_config_load(argv[1], &config, why);
    if (!err)
        err = ehis_open(config, &e, why);
    SAY("{\"event\":\"opened\",\"err\":%d,\"name\":\"%s\",\"why\":\"%s\"}", err, ehis_error_name(err), why);
    if (err)
        return 1;
    ehis_on_receipt(e, on_receipt, NULL);
    ehis_on_passed(e, on_passed, NULL);
    ehis_on_response(e, on_message, "response");
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        char *what = strchr(line, ' '), *body = what ? strchr(what + 1, ' ') : NULL;
        if (body)
            *body++ = 0;
        if (what)
            *what++ = 0;
        if (strcmp(line, "quit") == 0)
            break;
        obey(e, argv[2], line, what ? what : "", body ? body : "");
    }
    ehis_close(e, 2000);
    ehis_config_free(config);
    SAY("{\"event\":\"closed\"}");
    return 0;
}
