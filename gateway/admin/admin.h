/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Status and metrics over a Unix socket (mode 0600), HTTP by libevent's evhttp: GET /status (JSON), GET /metrics (Prometheus text). Read only.
 * Loop's thread. */
#pragma once
#include "base/loop.h"

struct admin;
struct admin_source { /* each appends a whole answer */
    ehis_err (*status)(void *ctx, struct buf *out);
    ehis_err (*metrics)(void *ctx, struct buf *out);
    void *ctx;
};
/* A socket left by a process that is gone is replaced; LOCKED where somebody answers on it. */
ehis_err admin_start(struct loop *loop, const char *path, const struct admin_source *source, struct admin **out, struct ehis_why *why) EHIS_MUST_USE;
void admin_stop(struct admin *a); /* removes the socket; NULL does nothing */

/* The other end, for the command line: blocking, 5 s. Appends the answer's body. LINK_RESET: nobody answers there. */
ehis_err admin_get(const char *path, const char *target, struct buf *out, struct ehis_why *why) EHIS_MUST_USE;
