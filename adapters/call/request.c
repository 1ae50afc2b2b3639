/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What goes out: calls, asynchronous requests, events. */
#include "adapters/call/call.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUBJECTS_MAX 16
#define GRACE_MS 1000
#define PIECE_BYTES 65536

struct outgoing {
    struct client client;
    struct buf body; /* of a request its beginning: the rest is read as it is sent */
    size_t body_at;
    int fd;
    uint8_t subjects[SUBJECTS_MAX][32], exchange_id[16];
    ehis_message message;
    int state, code; /* of the one that was sent */
    bool is_done, is_for_delivery, is_written;
    ehis_err err;         /* of a call */
    FILE *part;           /* of its answer, with --output */
    struct buf part_name; /* ends with NUL */
    struct ehis_why why;
};

static const char *part_name(const struct outgoing *o) { return (const char *)buf_span(&o->part_name).p; }

/* A protobuf body never begins with '{': that byte would begin a group. */
static const char *content_type(struct cli *c, struct span body)
{
    const char *given = cli_get(c, "content-type");
    if (given)
        return given;
    size_t at = 0;
    while (at < body.len && (body.p[at] == ' ' || body.p[at] == '\n' || body.p[at] == '\r' || body.p[at] == '\t'))
        at++;
    return at < body.len && body.p[at] == '{' ? "application/json" : "application/x-protobuf";
}

static ehis_err prepare(struct outgoing *o, struct cli *c, struct ehis_why *why)
{
    buf_init(&o->body, BODY_MAX);
    EHIS_TRY(cli_read(cli_get(c, "body"), BODY_MAX, &o->body, why));
    struct span b = buf_span(&o->body);
    o->message = (ehis_message){.size = sizeof o->message, .service = cli_word(c, 0), .operation = cli_word(c, 1), .content_type = content_type(c, b), .body = b.p, .body_bytes = b.len};
    return EHIS_OK;
}

static int64_t read_body(void *arg, void *into, size_t max)
{
    struct outgoing *o = arg;
    size_t n = o->body.len - o->body_at < max ? o->body.len - o->body_at : max;
    if (n == 0)
        return ehis_read_fd(&o->fd, into, max);
    memcpy(into, buf_span(&o->body).p + o->body_at, n);
    o->body_at += n;
    return (int64_t)n;
}

/* As much of it as tells its type. */
static ehis_err open_body(struct outgoing *o, const char *file, struct ehis_why *why)
{
    uint8_t *room;
    o->fd = strcmp(file, "-") == 0 ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
    if (o->fd < 0)
        return ehis_fail(why, errno == ENOENT ? EHIS_E_NOT_FOUND : EHIS_E_IO, "%s: %s", file, strerror(errno));
    for (int64_t n = 1; n != 0 && o->body.len < PIECE_BYTES;) {
        EHIS_TRY(buf_reserve(&o->body, PIECE_BYTES, &room));
        n = ehis_read_fd(&o->fd, room, PIECE_BYTES);
        if (n < 0)
            return ehis_fail(why, EHIS_E_IO, "%s: %s", file, strerror(errno));
        buf_commit(&o->body, (size_t)n);
    }
    return EHIS_OK;
}

static ehis_err prepare_request(struct outgoing *o, struct cli *c, struct ehis_why *why)
{
    const char *given[CLI_VALUES_MAX];
    buf_init(&o->body, 2 * PIECE_BYTES);
    EHIS_TRY(open_body(o, cli_get(c, "body"), why));
    o->message = (ehis_message){.size = sizeof o->message, .service = cli_word(c, 0), .operation = cli_word(c, 1), .content_type = content_type(c, buf_span(&o->body)),
                                .read = read_body, .read_arg = o};
    ehis_message *m = &o->message;
    m->subject_count = cli_get_all(c, "subject", given);
    for (size_t i = 0; i < m->subject_count; i++)
        if (m->subject_count > SUBJECTS_MAX || hex_from_text(span_str(given[i]), o->subjects[i], 32) != EHIS_OK)
            return ehis_fail(why, EHIS_E_USAGE, "--subject is 64 hexadecimal digits, and at most %d of them", SUBJECTS_MAX);
    m->subjects = (const uint8_t(*)[32])o->subjects;
    m->purpose = cli_get(c, "purpose");
    m->legal_basis = cli_get(c, "basis");
    m->case_ref = cli_get(c, "case-ref");
    m->official = cli_get(c, "official");
    m->on_behalf_of = cli_get(c, "on-behalf-of");
    return EHIS_OK;
}

/* What a provider says in JSON: NOT_FOUND has an exit code of its own. */
static int fault_exit(const ehis_reply *r)
{
    size_t n;
    const char *body = ehis_reply_body(r, &n);
    return strcmp(ehis_reply_content_type(r), "application/json") == 0 && body && memmem(body, n, "\"code\":\"NOT_FOUND\"", 18) ? CLI_NOT_FOUND : CLI_FAILURE;
}

/* What a killed run has left is taken over; what another one writes is not. */
static ehis_err open_part(const char *name, FILE **out, struct ehis_why *why)
{
    struct stat held, named;
    int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    ehis_err err = f ? EHIS_OK : ehis_fail(why, EHIS_E_IO, "%s: %s", name, strerror(errno));
    if (err == EHIS_OK && (flock(fd, LOCK_EX | LOCK_NB) != 0 || fstat(fd, &held) != 0 || stat(name, &named) != 0 || held.st_ino != named.st_ino))
        err = ehis_fail(why, EHIS_E_LOCKED, "%s: another ehis-call writes it", name);
    if (err == EHIS_OK && ftruncate(fd, 0) != 0)
        err = ehis_fail(why, EHIS_E_IO, "%s: %s", name, strerror(errno));
    if (err == EHIS_OK)
        *out = f;
    else if (f)
        (void)!fclose(f);
    else if (fd >= 0)
        close(fd);
    return err;
}

/* Beside the file, before anything is asked: an answer that cannot be kept would be read for nothing. */
static ehis_err open_output(struct outgoing *o, const char *file, struct ehis_why *why)
{
    buf_init(&o->part_name, 8192);
    EHIS_TRY(buf_printf(&o->part_name, "%s.part%c", file, 0));
    return open_part(part_name(o), &o->part, why);
}

/* In the file's place when all of it is as it was sent, and on the disk. */
static ehis_err write_output(struct outgoing *o, const ehis_reply *reply, const char *file)
{
    uint8_t *piece = malloc(PIECE_BYTES);
    ehis_err err = EHIS_OK;
    int64_t n;
    EHIS_ASSERT(piece);
    while (err == EHIS_OK && (n = ehis_reply_read(reply, piece, PIECE_BYTES)) != 0)
        if (n < 0)
            err = ehis_fail(&o->why, (ehis_err)-n, "the answer's body");
        else if (fwrite(piece, 1, (size_t)n, o->part) != (size_t)n)
            err = ehis_fail(&o->why, EHIS_E_IO, "%s: %s", part_name(o), strerror(errno));
    if (err == EHIS_OK && (fflush(o->part) != 0 || fsync(fileno(o->part)) != 0))
        err = ehis_fail(&o->why, EHIS_E_IO, "%s: %s", part_name(o), strerror(errno));
    if (err == EHIS_OK && rename(part_name(o), file) != 0)
        err = ehis_fail(&o->why, EHIS_E_IO, "%s: %s", file, strerror(errno));
    o->is_written = err == EHIS_OK;
    free(piece);
    return err;
}

/* With it goes the lock. */
static void close_output(struct outgoing *o)
{
    if (o->part && !o->is_written)
        (void)!unlink(part_name(o)); /* what came is not whole */
    if (o->part)
        (void)!fclose(o->part);
    buf_fini(&o->part_name);
}

static ehis_err show(struct outgoing *o, const ehis_reply *reply)
{
    const char *file = cli_get(o->client.c, "output");
    return file && !ehis_reply_is_fault(reply) ? write_output(o, reply, file) : print_reply(&o->client, reply, &o->why);
}

static void on_answer(void *arg, int err, const ehis_reply *reply, const char *why)
{
    struct outgoing *o = arg;
    o->is_done = true;
    o->err = err == EHIS_OK ? show(o, reply) : ehis_fail(&o->why, (ehis_err)err, "%s", why);
    if (reply && ehis_reply_is_fault(reply))
        cli_set_exit(o->client.c, fault_exit(reply));
}

static ehis_err call(struct outgoing *o, struct cli *c, struct ehis_why *why)
{
    if (cli_get(c, "output"))
        EHIS_TRY(open_output(o, cli_get(c, "output"), why));
    EHIS_TRY(client_open(&o->client, c, why));
    o->message.lifetime_ms = client_left_ms(&o->client) + 1;
    o->client.deadline_ms += GRACE_MS; /* libehis ends it first, and says why */
    EHIS_TRY((ehis_err)ehis_call_start(o->client.e, &o->message, on_answer, o, o->exchange_id, why->text));
    EHIS_TRY(client_drive(&o->client, &o->is_done));
    *why = o->why;
    return o->err;
}

static void on_receipt(void *arg, const ehis_receipt *r)
{
    struct outgoing *o = arg;
    if (memcmp(r->exchange_id, o->exchange_id, 16) != 0) /* of an earlier run: it is in the outbox still */
        return;
    (void)print_receipt(&o->client, r, NULL);
    o->state = r->state;
    o->code = r->code;
    o->is_done |= o->is_for_delivery ? r->state >= EHIS_DELIVERED : r->is_enough;
}

/* A message in a stream, until the receipt that is waited for. What is not accepted in time stays in the outbox and goes on with the next run. */
static ehis_err send_and_wait(struct outgoing *o, struct cli *c, int (*send)(ehis *e, const ehis_message *m, uint8_t exchange_id[16], char *why), struct ehis_why *why)
{
    o->is_for_delivery = cli_number(c, "wait");
    o->message.lifetime_ms = cli_number(c, "lifetime");
    EHIS_TRY(client_open(&o->client, c, why));
    ehis_on_receipt(o->client.e, on_receipt, o);
    EHIS_TRY((ehis_err)send(o->client.e, &o->message, o->exchange_id, why->text));
    (void)print_sent(&o->client, o->exchange_id, NULL);
    EHIS_TRY(client_drive(&o->client, &o->is_done));
    if (o->state > EHIS_DELIVERED)
        return ehis_fail(why, o->code ? (ehis_err)o->code : EHIS_E_EXCHANGE_EXPIRED, "%s", print_state(o->state));
    return EHIS_OK;
}

static ehis_err end(struct outgoing *o, ehis_err err)
{
    client_close(&o->client);
    close_output(o);
    if (o->fd > STDIN_FILENO)
        close(o->fd);
    buf_fini(&o->body);
    return err;
}

ehis_err run_call(struct cli *c, struct ehis_why *why)
{
    struct outgoing o = {0};
    ehis_err err = prepare_request(&o, c, why);
    if (err == EHIS_OK)
        err = cli_has(c, "send") ? send_and_wait(&o, c, ehis_send, why) : call(&o, c, why);
    return end(&o, err);
}

ehis_err run_publish(struct cli *c, struct ehis_why *why)
{
    struct outgoing o = {0};
    ehis_err err = prepare(&o, c, why);
    if (err == EHIS_OK)
        err = send_and_wait(&o, c, ehis_publish, why);
    return end(&o, err);
}
