/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Threads beside a loop. */
#pragma once
#include "base/err.h"
#include <pthread.h>
#include <stdbool.h>

/* Starts run(arg) in a thread that takes no signals but of its own faults: they are the loop's, or the program's that libehis is part of. The caller joins or
 * detaches it. The caller's own mask is as before. False: no thread could be started. Any thread. */
bool thread_start(pthread_t *out, void *(*run)(void *arg), void *arg) EHIS_MUST_USE;
