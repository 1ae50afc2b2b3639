/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* One event loop a thread, on libevent. Everything here belongs to the loop's thread but loop_post and loop_stop. */
#pragma once
#include "base/clock.h"

struct event_base;
struct loop;
struct loop_timer;
struct loop_io;

/* The base ignores EVENT_* environment variables and uses precise monotonic time. SIGPIPE is the application's to ignore. */
ehis_err loop_new(struct loop **out) EHIS_MUST_USE;
/* What loop_later and loop_last still hold is run (it frees things); what was posted is dropped. All timers and ios must be freed before. */
void loop_free(struct loop *l);
struct event_base *loop_base(struct loop *l); /* for proto/link and HTTP listeners alone */
void loop_run(struct loop *l);                /* until loop_stop */
void loop_run_once(struct loop *l, bool wait); /* one turn */
void loop_stop(struct loop *l);               /* any thread */

/* Runs fn(arg) on the loop's thread, in posting order, not before this call returns. Any thread. Never fails (aborts without memory). */
void loop_post(struct loop *l, void (*fn)(void *arg), void *arg);
/* Runs fn(arg) at the end of this turn, after the callbacks that are ready now; what is put off while those run goes to the end of the next. Loop's
 * thread. */
void loop_later(struct loop *l, void (*fn)(void *arg), void *arg);
/* The same, but behind all that loop_later holds for this turn: output, which then carries what that adds. */
void loop_last(struct loop *l, void (*fn)(void *arg), void *arg);
/* Runs what loop_later and loop_last hold, and what that adds, without a turn: before the end of what it points to. */
void loop_run_later(struct loop *l);

/* A deadline timer, created idle. Setting replaces. Fires once; fn may set it again or free it. */
ehis_err loop_timer_new(struct loop *l, void (*fn)(void *arg), void *arg, struct loop_timer **out) EHIS_MUST_USE;
void loop_timer_set(struct loop_timer *t, int64_t delay_us); /* from now; 0 or less: next turn */
void loop_timer_clear(struct loop_timer *t);
void loop_timer_free(struct loop_timer *t);

/* Signals (SIGTERM, SIGHUP, SIGINT): fn(arg, signal) on the loop's thread. */
ehis_err loop_on_signal(struct loop *l, int signal, void (*fn)(void *arg, int signal), void *arg) EHIS_MUST_USE;

/* Readiness of a descriptor that the caller owns. */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };
ehis_err loop_io_new(struct loop *l, int fd, void (*fn)(void *arg, int what), void *arg, struct loop_io **out) EHIS_MUST_USE;
void loop_io_want(struct loop_io *io, int what); /* bits; persistent until changed */
void loop_io_free(struct loop_io *io);           /* before the descriptor is closed */
