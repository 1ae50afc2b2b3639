/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Deadlines and PING. One timer a connection, set for the nearest deadline and left alone while deadlines move away. */
#include "proto/link/link_priv.h"
#include "proto/wire/session_frames.h"

static void send_own(struct link *l, uint8_t type, uint64_t token)
{
    struct buf b;
    buf_init(&b, 64);
    const struct ping ping = {.token = token, .clock_ms = (uint64_t)clock_wall_ms(&clock_system)};
    ehis_err err = ping_write(&ping, &b);
    struct span payload = buf_span(&b);
    if (!err)
        err = link_queue(l, type, &payload, 1, l->limits.output_max_bytes + LINK_OWN_FRAMES_BYTES);
    buf_fini(&b);
    if (err) /* a peer that asks and asks, and does not read the answers */
        link_end_now(l, LINK_END_OUTPUT_FULL, err, "");
}

void link_ping_start(struct link *l)
{
    if (!l->events.ping_type)
        return;
    int64_t now = link_now();
    l->heard_at = now;
    l->next_ping_at = l->ping_at = now + l->limits.ping_every_ms * INT64_C(1000);
}

bool link_ping_take(struct link *l, const struct frame *f)
{
    if (l->state != LINK_OPEN || f->type == 0 || (f->type != l->events.ping_type && f->type != l->events.pong_type))
        return false;
    struct ping ping;
    ehis_err err = ping_read(f->payload, &ping, NULL);
    if (err) {
        link_fault(l, LINK_END_PROTOCOL, err);
    } else if (f->type == l->events.ping_type) {
        send_own(l, l->events.pong_type, ping.token);
    } else if (l->pinged_at && ping.token == l->ping_token) {
        l->stats.last_rtt_us = link_now() - l->pinged_at;
        l->pinged_at = 0;
    }
    return true;
}

static void ping_tick(struct link *l, int64_t now)
{
    int64_t silent_at = l->heard_at + l->limits.ping_timeout_ms * INT64_C(1000);
    if (now >= silent_at) {
        link_end_now(l, LINK_END_PING_TIMEOUT, EHIS_OK, ""); /* nobody is there to be told */
        return;
    }
    if (now >= l->next_ping_at) {
        l->next_ping_at = now + l->limits.ping_every_ms * INT64_C(1000);
        l->pinged_at = now;
        send_own(l, l->events.ping_type, ++l->ping_token);
    }
    l->ping_at = l->next_ping_at < silent_at ? l->next_ping_at : silent_at;
}

static int64_t nearest(const struct link *l)
{
    const int64_t at[] = {l->state_at, l->frame_at, l->drain_at, l->ping_at};
    int64_t least = 0;
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++)
        if (at[i] && (!least || at[i] < least))
            least = at[i];
    return least;
}

void link_arm(struct link *l)
{
    int64_t at = nearest(l);
    if (l->state == LINK_ENDED || !at || (l->timer_at && l->timer_at <= at))
        return;
    int64_t delay = at - link_now();
    if (delay < 0)
        delay = 0;
    struct timeval tv = {.tv_sec = delay / 1000000, .tv_usec = delay % 1000000};
    EHIS_ASSERT(event_add(&l->timer, &tv) == 0); /* fails without memory alone: a deadline may not be lost */
    l->timer_at = at;
}

static void check(struct link *l, int64_t now)
{
    static const enum link_end of_state[LINK_STATE_COUNT] = {
        [LINK_CONNECTING] = LINK_END_CONNECT,
        [LINK_HANDSHAKING] = LINK_END_HANDSHAKE_TIMEOUT,
        [LINK_UNTRUSTED] = LINK_END_FIRST_FRAME_TIMEOUT,
        [LINK_CLOSING] = LINK_END_DRAIN_TIMEOUT,
        [LINK_LINGERING] = LINK_END_LOCAL, /* the first reason stands */
    };
    if (l->state_at && now >= l->state_at && link_reads(l))
        link_fault(l, of_state[l->state], EHIS_OK);
    else if (l->state_at && now >= l->state_at)
        link_end_now(l, of_state[l->state], EHIS_E_LINK_TIMEOUT, "");
    else if (l->drain_at && now >= l->drain_at && l->sent_total < l->drain_mark)
        link_end_now(l, LINK_END_DRAIN_TIMEOUT, EHIS_OK, "");
    else if (l->frame_at && now >= l->frame_at)
        link_fault(l, LINK_END_FRAME_TIMEOUT, EHIS_OK);
    else if (l->ping_at && now >= l->ping_at)
        ping_tick(l, now);
}

void link_on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct link *l = arg;
    (void)fd;
    (void)what;
    l->timer_at = 0;
    /* When this loop was held up, what was to come in time may lie in the kernel: look before blaming the peer. */
    if (nearest(l) <= link_now() && l->state != LINK_CONNECTING)
        link_pump_read(l);
    check(l, link_now());
    if (l->is_again)
        link_schedule(l);
    link_arm(l);
}
