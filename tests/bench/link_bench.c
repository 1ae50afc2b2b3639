/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Frames a second and CPU a frame and side over loopback, both ends in one thread: bench_link [payload bytes] [frames] [frames a turn]. */
#include "proto/link/link.h"
#include "proto/wire/frame.h"
#include "tests/support/test_certs.h"
#include <arpa/inet.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { TYPE = 15 };
static struct loop *loop;
static struct link *from, *to; /* after their handshakes */
static size_t received, sent, wanted, payload_bytes, frames_a_turn;
static uint8_t payload[65536];

static ehis_err on_peer(void *arg, struct link *l, SSL *ssl, struct ehis_why *why)
{
    (void)ssl;
    (void)why;
    *(struct link **)arg = l;
    link_set_trusted(l, FRAME_MAX_BYTES_DEFAULT);
    return EHIS_OK;
}

static void on_frame(void *arg, struct link *l, uint8_t type, struct span p)
{
    (void)arg;
    (void)l;
    (void)type;
    (void)p;
    received++;
}

static void on_end(void *arg, struct link *l, enum link_end end, ehis_err err, const char *detail)
{
    (void)arg;
    (void)l;
    if (end != LINK_END_LOCAL && end != LINK_END_TRUNCATED)
        fprintf(stderr, "ended: %s %s %s\n", link_end_name(end), ehis_err_name(err), detail);
}

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void send_some(void *arg)
{
    (void)arg;
    struct span part = span_of(payload, payload_bytes);
    for (size_t i = 0; i < frames_a_turn && sent < wanted && sent - received < 512; i++, sent++)
        if (link_send(from, TYPE, &part, 1) != EHIS_OK)
            break;
    if (received < wanted)
        loop_later(loop, send_some, NULL);
}

int main(int argc, char **argv)
{
    payload_bytes = argc > 1 ? strtoul(argv[1], NULL, 10) : 1200;
    wanted = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000000;
    frames_a_turn = argc > 3 ? strtoul(argv[3], NULL, 10) : 64;
    if (payload_bytes > sizeof payload || !wanted || !frames_a_turn)
        return 2;
    const struct link_events events = {.on_peer = on_peer, .on_frame = on_frame, .on_end = on_end};
    struct test_ca ca;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EHIS_ASSERT(bind(listener, (struct sockaddr *)&in, len) == 0 && listen(listener, 1) == 0);
    EHIS_ASSERT(getsockname(listener, (struct sockaddr *)&in, &len) == 0);
    EHIS_ASSERT(loop_new(&loop) == EHIS_OK);
    test_ca_init(&ca, "root");
    SSL_CTX *server = test_ca_context(&ca, "ehis-gw:AZ/gw1", true), *client = test_ca_context(&ca, "ehis:AZ/GOV/TAX/office", false);
    struct link *l;
    EHIS_ASSERT(link_dial(loop, (struct sockaddr *)&in, len, client, &link_limits_default, &events, &from, &l) == EHIS_OK);
    EHIS_ASSERT(link_accept(loop, accept(listener, NULL, NULL), server, &link_limits_default, &events, &to, &l) == EHIS_OK);
    while (!from || !to)
        loop_run_once(loop, true);
    int64_t wall = clock_mono_us(&clock_system);
    double cpu = cpu_s();
    loop_later(loop, send_some, NULL);
    while (received < wanted)
        loop_run_once(loop, true);
    cpu = cpu_s() - cpu;
    double seconds = (double)(clock_mono_us(&clock_system) - wall) / 1e6;
    struct link_stats stats;
    link_stats(to, &stats);
    printf("%zu frames of %zu bytes: %.0f frames/s, CPU %.2f us a frame and side, %.1f frames a record\n", wanted, payload_bytes,
           (double)wanted / seconds, cpu * 1e6 / (double)wanted / 2, (double)stats.frames_in / (double)stats.records_in);
    link_abort(from);
    link_abort(to);
    loop_run_once(loop, false);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
    test_ca_fini(&ca);
    loop_free(loop);
    close(listener);
    return 0;
}
