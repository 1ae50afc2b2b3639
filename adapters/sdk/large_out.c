/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Large bodies on their way out (SPEC 18): sealed by the application's thread into a file of the state folder, named by its message's digest as soon as
 * there is one, and uploaded to each gateway that says it has not got the chunks. A file goes with its message. */
#include "adapters/sdk/ehis_priv.h"
#include "base/log.h"
#include "base/secret.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LARGE_FROM_BYTES 262144 /* what is larger goes in chunks */
#define READ_BYTES 65536
#define WINDOW 3
#define PAUSE_MS 100
#define AGAIN_MS 5000 /* after a refusal, or where the file could not be read */
#define NAME_BYTES (2 * HASH_BYTES + 8)

static void path_of(const struct ehis *e, const char *name, char *out, size_t bytes) { snprintf(out, bytes, "%s/large/%s", e->state_dir, name); }

void large_out_free(struct ehis *e, struct large_out *l)
{
    char path[4096];
    if (!l)
        return;
    path_of(e, l->name, path, sizeof path);
    if (l->fd >= 0)
        close(l->fd);
    if (l->name[0])
        (void)!unlink(path); /* what stays goes at the next start */
    free(l);
}

static ehis_err write_chunk(void *arg, struct span chunk)
{
    const struct large_out *l = arg;
    while (chunk.len > 0) {
        ssize_t n = write(l->fd, chunk.p, chunk.len);
        if (n < 0 && errno != EINTR)
            return EHIS_E_IO;
        if (n > 0)
            chunk = span_of(chunk.p + n, chunk.len - (size_t)n);
    }
    return EHIS_OK;
}

static ehis_err sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool is_durable = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return is_durable ? EHIS_OK : EHIS_E_IO;
}

static ehis_err create(struct ehis *e, struct large_out *l, struct ehis_why *why)
{
    char path[4096];
    uint8_t id[8];
    l->fd = -1;
    path_of(e, "", path, sizeof path);
    bool is_made = mkdir(path, 0700) == 0;
    if ((!is_made && errno != EEXIST) || (is_made && sync_folder(e->state_dir) != EHIS_OK))
        return ehis_fail(why, EHIS_E_IO, "%s: %s", path, strerror(errno));
    random_fill(&random_system, id, sizeof id);
    memcpy(l->name, "new-", 4);
    hex_to_text(id, sizeof id, l->name + 4);
    path_of(e, l->name, path, sizeof path);
    l->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return l->fd < 0 ? ehis_fail(why, EHIS_E_IO, "%s: %s", path, strerror(errno)) : EHIS_OK;
}

int64_t ehis_read_fd(void *arg, void *into, size_t max)
{
    ssize_t n;
    do
        n = read(*(const int *)arg, into, max);
    while (n < 0 && errno == EINTR);
    return n;
}

/* At most max bytes more of what it gives, 0 at its end. */
static ehis_err read_some(const struct body_source *from, uint8_t *into, size_t max, size_t *got, struct ehis_why *why)
{
    int64_t n = from->read ? from->read(from->arg, into, max) : 0;
    if (n < 0 || (uint64_t)n > max)
        return ehis_fail(why, EHIS_E_SDK_BODY, "the body's source ended with %lld", (long long)n);
    *got = (size_t)n;
    return EHIS_OK;
}

/* What is there already, then all that the source still gives. */
static ehis_err spool(struct large_out *l, struct span first, const struct body_source *from, struct large_body *body, struct ehis_why *why)
{
    struct large_sealer *s = NULL;
    size_t n = 1;
    uint8_t *piece = malloc(READ_BYTES);
    ehis_err err = piece ? large_sealer_new(&random_system, write_chunk, l, &s) : EHIS_E_NO_MEMORY;
    if (err == EHIS_OK)
        err = large_sealer_put(s, first);
    while (err == EHIS_OK && n > 0) {
        err = read_some(from, piece, READ_BYTES, &n, why);
        if (err == EHIS_OK)
            err = large_sealer_put(s, span_of(piece, n));
    }
    if (err == EHIS_OK)
        err = large_sealer_finish(s, body, &l->manifest);
    if (err == EHIS_OK && fdatasync(l->fd) != 0)
        err = EHIS_E_IO;
    large_sealer_free(s);
    if (piece)
        secret_wipe(piece, READ_BYTES);
    free(piece);
    return err;
}

static ehis_err draft_of_file(struct ehis *e, const struct envelope_header *h, struct span first, const struct body_source *from, struct draft **out,
                              struct ehis_why *why)
{
    uint8_t fixed[LARGE_BODY_BYTES];
    struct large_body body = {0};
    struct large_out *l = calloc(1, sizeof *l);
    if (!l)
        return EHIS_E_NO_MEMORY;
    ehis_err err = create(e, l, why);
    if (err == EHIS_OK)
        err = spool(l, first, from, &body, why);
    large_body_write(&body, fixed);
    if (err == EHIS_OK)
        err = draft_new(h, span_of(fixed, sizeof fixed), out);
    secret_wipe(&body, sizeof body);
    secret_wipe(fixed, sizeof fixed);
    if (err != EHIS_OK) {
        large_out_free(e, l);
        return err;
    }
    (*out)->e = e;
    (*out)->large = l;
    (*out)->header.large = (struct envelope_large){l->manifest.bytes, span_of(l->manifest.root.b, HASH_BYTES)};
    return EHIS_OK;
}

ehis_err large_draft(struct ehis *e, const struct envelope_header *h, const struct body_source *from, struct draft **out, struct ehis_why *why)
{
    size_t len = 0, n = 1;
    ehis_err err = EHIS_OK;
    if (!from->read)
        return from->memory.len <= LARGE_FROM_BYTES || h->kind == KIND_EVENT ? draft_new(h, from->memory, out) : draft_of_file(e, h, from->memory, from, out, why);
    if (h->kind == KIND_EVENT)
        return ehis_fail(why, EHIS_E_SDK_MESSAGE, "an event's body stands in memory whole: none is large");
    uint8_t *first = malloc(LARGE_FROM_BYTES + 1);
    if (!first)
        return EHIS_E_NO_MEMORY;
    for (; err == EHIS_OK && n > 0 && len <= LARGE_FROM_BYTES; len += n)
        err = read_some(from, first + len, LARGE_FROM_BYTES + 1 - len, &n, why);
    if (err == EHIS_OK)
        err = len <= LARGE_FROM_BYTES ? draft_new(h, span_of(first, len), out) : draft_of_file(e, h, span_of(first, len), from, out, why);
    secret_wipe(first, LARGE_FROM_BYTES + 1);
    free(first);
    return err;
}

/* ---- the I/O thread's ---- */

static bool is_needed(struct ehis *e, const uint8_t digest[32])
{
    const struct out_message *m = outbox_by_digest(e->outbox, digest);
    return (m && m->is_held) || calls_find(e, digest) || serving_find_response(e, digest);
}

uint64_t large_out_bytes(const struct ehis *e)
{
    uint64_t bytes = 0;
    for (const struct large_out *l = e->larges_out; l; l = l->next)
        bytes += l->manifest.bytes;
    return bytes;
}

ehis_err large_out_name(struct ehis *e, struct draft *d)
{
    char from[4096], to[4096];
    struct large_out *l = d->large;
    if (!l)
        return EHIS_OK;
    path_of(e, l->name, from, sizeof from);
    hex_to_text(d->digest.b, HASH_BYTES, l->name);
    path_of(e, l->name, to, sizeof to);
    memcpy(l->digest, d->digest.b, HASH_BYTES);
    d->large = NULL;
    l->next = e->larges_out;
    e->larges_out = l;
    if (rename(from, to) != 0)
        return EHIS_E_IO;
    path_of(e, "", to, sizeof to);
    return sync_folder(to);
}

/* After the replay: files of what is still in the outbox; their manifest is read from its envelope. */
void large_out_restore(struct ehis *e)
{
    char path[4096];
    path_of(e, "", path, sizeof path);
    DIR *d = opendir(path);
    for (struct dirent *f = d ? readdir(d) : NULL; f; f = readdir(d)) {
        struct large_out *l = strlen(f->d_name) < NAME_BYTES && f->d_name[0] != '.' ? calloc(1, sizeof *l) : NULL;
        struct stat st;
        if (!l)
            continue;
        memcpy(l->name, f->d_name, strlen(f->d_name));
        path_of(e, l->name, path, sizeof path);
        l->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (hex_from_text(span_str(l->name), l->digest, HASH_BYTES) != EHIS_OK || !is_needed(e, l->digest)) {
            large_out_free(e, l);
            continue;
        }
        if (l->fd < 0 || fstat(l->fd, &st) != 0) { /* its message waits for it: perhaps the next start can read it */
            log_line(LOG_ERROR, "sdk.large.unreadable", F_STR("file", l->name), F_STR("why", strerror(errno)));
            if (l->fd >= 0)
                close(l->fd);
            free(l);
            continue;
        }
        l->manifest.bytes = (uint64_t)st.st_size;
        l->is_restored = true;
        l->next = e->larges_out;
        e->larges_out = l;
    }
    if (d)
        closedir(d);
}

static ehis_err read_manifest(struct ehis *e, struct large_out *l)
{
    struct out_message *m = outbox_by_digest(e->outbox, l->digest);
    struct span bytes;
    struct envelope parts;
    struct envelope_header h;
    if (!m)
        return EHIS_E_NOT_FOUND;
    EHIS_TRY(outbox_bytes(e->outbox, m, &e->scratch, &bytes));
    EHIS_TRY(envelope_read(bytes, &parts, NULL));
    EHIS_TRY(envelope_header_read(parts.header, &h, NULL));
    if (h.large.bytes != l->manifest.bytes || h.large.root.len != HASH_BYTES)
        return EHIS_E_LARGE_ALTERED;
    memcpy(l->manifest.root.b, h.large.root.p, HASH_BYTES);
    l->is_restored = false;
    return EHIS_OK;
}

static ehis_err put(struct session *s, struct large_out *l, uint32_t index, bool is_question)
{
    struct ehis *e = s->e;
    struct blob_put f = {.bytes = l->manifest.bytes, .index = index};
    struct large_upload *u = &l->uploads[s->slot];
    size_t len = is_question ? 0 : large_chunk_bytes(l->manifest.bytes, index);
    uint8_t *chunk = malloc(len + 1);
    memcpy(f.root, l->manifest.root.b, HASH_BYTES);
    ehis_err err = !chunk ? EHIS_E_NO_MEMORY : len && pread(l->fd, chunk, len, (off_t)index * LARGE_CHUNK_BYTES) != (ssize_t)len ? EHIS_E_IO : EHIS_OK;
    f.chunk = span_of(chunk, len);
    buf_clear(&e->frame);
    if (err == EHIS_OK)
        err = blob_put_write(&f, &e->frame);
    free(chunk);
    EHIS_TRY(err);
    EHIS_TRY(session_send(s, FRAME_BLOB_PUT, buf_span(&e->frame)));
    u->unanswered++;
    return EHIS_OK;
}

/* When all that is under way has its answer. */
static void ask_later(struct large_upload *u, int64_t at_ms)
{
    u->is_known = false;
    u->again_ms = at_ms;
}

static void go_on(struct session *s, struct large_out *l)
{
    struct large_upload *u = &l->uploads[s->slot];
    uint32_t count = large_chunk_count(l->manifest.bytes);
    if (u->session != s->id || !s->is_ready || u->is_whole)
        return;
    if (!u->is_known) { /* how far is it there? */
        if (u->unanswered == 0 && mono_ms(s->e) >= u->again_ms && put(s, l, 0, true) == EHIS_OK)
            u->is_asking = true;
        return;
    }
    while (u->unanswered < WINDOW && u->next < count) {
        ehis_err err = put(s, l, u->next, false);
        if (err == EHIS_E_IO) {
            log_line(LOG_ERROR, "sdk.large.unreadable", F_ERR(err), F_STR("file", l->name));
            ask_later(u, mono_ms(s->e) + AGAIN_MS);
        }
        if (err != EHIS_OK)
            return; /* output full: the next turn */
        u->next++;
    }
}

void large_out_pump(struct ehis *e)
{
    for (struct large_out *l = e->larges_out; l; l = l->next)
        for (size_t i = 0; i < e->session_count; i++)
            go_on(&e->sessions[i], l);
}

static struct large_out *find(const struct ehis *e, const uint8_t digest[32])
{
    struct large_out *l = e->larges_out;
    while (l && memcmp(l->digest, digest, HASH_BYTES) != 0)
        l = l->next;
    return l;
}

/* A gateway has not got the chunks: it gets them. False: we have none of that. */
bool large_out_wanted(struct session *s, const uint8_t digest[32])
{
    struct large_out *l = find(s->e, digest);
    if (!l || (l->is_restored && read_manifest(s->e, l) != EHIS_OK))
        return false;
    struct large_upload *u = &l->uploads[s->slot];
    if (u->session != s->id || u->is_whole)
        *u = (struct large_upload){.session = s->id, .unanswered = u->session == s->id ? u->unanswered : 0};
    go_on(s, l);
    return true;
}

static void submit_again(struct ehis *e, const struct large_out *l, uint64_t session)
{
    struct out_message *m = outbox_by_digest(e->outbox, l->digest);
    struct call *c = m ? NULL : calls_find(e, l->digest);
    struct served *v = m || c ? NULL : serving_find_response(e, l->digest);
    if (m)
        m->stream->paused_until_ms = 0;
    if (c)
        calls_repeat(e, c, 0);
    if (v)
        serving_repeat(e, v, session, 0);
}

ehis_err large_out_on_state(struct session *s, struct span payload, struct ehis_why *why)
{
    struct blob_state f;
    struct ehis *e = s->e;
    struct large_out *l = e->larges_out;
    EHIS_TRY(blob_state_read(payload, &f, why));
    while (l && (l->is_restored || l->uploads[s->slot].session != s->id || memcmp(l->manifest.root.b, f.root, HASH_BYTES) != 0))
        l = l->next;
    struct large_upload *u = l ? &l->uploads[s->slot] : NULL;
    if (!u)
        return EHIS_OK; /* it has gone */
    if (u->unanswered == 0 || f.next > large_chunk_count(l->manifest.bytes))
        return EHIS_E_GATEWAY_UNASKED;
    u->unanswered--;
    if (f.code != 0 && f.code != EHIS_E_EXCHANGE_CONFLICT) {
        bool is_flow = f.code == EHIS_E_EXCHANGE_BUSY || f.code == EHIS_E_EXCHANGE_OUT_OF_SEQUENCE;
        ehis_err code = EHIS_E_INTERNAL; /* of a newer gateway */
        (void)ehis_err_from_number(f.code, &code);
        if (!is_flow)
            log_line(LOG_WARN, "sdk.large.refused", F_ERR(code), F_STR("gateway", s->peer.leaf.id));
        ask_later(u, mono_ms(e) + (is_flow ? PAUSE_MS : AGAIN_MS));
    } else if (f.code != 0 || f.next == large_chunk_count(l->manifest.bytes)) {
        u->is_whole = true;
        submit_again(e, l, s->id);
    } else if (u->is_asking) {
        u->is_asking = false;
        u->is_known = true;
        u->next = f.next;
    }
    turn_soon(e);
    return EHIS_OK;
}

/* Files whose messages need them no longer, and whose outbox says so on the disk: after a crash before that they would be needed again. */
void large_out_tick(struct ehis *e)
{
    if (e->failed != EHIS_OK || store_group_bytes(e->store) > 0)
        return;
    for (struct large_out **at = &e->larges_out, *l; (l = *at);) {
        if (is_needed(e, l->digest)) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        large_out_free(e, l);
    }
}

/* What is in the outbox keeps its file. */
void large_out_fini(struct ehis *e)
{
    while (e->larges_out) {
        struct large_out *l = e->larges_out;
        e->larges_out = l->next;
        close(l->fd);
        free(l);
    }
}
