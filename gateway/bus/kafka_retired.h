/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Handles of librdkafka that were given up. Destroying one waits for its threads and sockets, and in 2.0.2 never ends where one of its topics was deleted and
 * made anew (its broker's thread keeps the old partition): so each is destroyed by a thread of its own, for which nobody waits but the end. */
#pragma once
#include "base/err.h"

#include <stdbool.h>

struct kafka_retired;
ehis_err kafka_retired_new(struct kafka_retired **out) EHIS_MUST_USE; /* NO_MEMORY */
/* Takes what (NULL: nothing); destroy may block, and ends in whatever thread. Where no thread can be had it is called here. Any thread. */
void kafka_retire(struct kafka_retired *r, void (*destroy)(void *what), void *what);
/* Waits for what is under way, 5 s at most. False: something of it does not end; it is left behind. No other thread uses r any more. */
bool kafka_retired_free(struct kafka_retired *r);
