/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The bytes that wait to be sent: a queue of 16 KiB blocks, each the content of one TLS record, so that nothing moves while it grows and memory
 * goes as it is sent. Holds at most its content and 32 KiB. Pure. */
#pragma once
#include "base/bytes.h"

struct link_block;
struct link_output {
    struct link_block *head, *tail; /* tail: where the next byte goes; empty blocks may follow it */
    size_t len;
};
/* Makes room, so that puts of n bytes in all cannot fail. NO_MEMORY: the content is as before. */
ehis_err link_output_reserve(struct link_output *o, size_t n) EHIS_MUST_USE;
void link_output_put(struct link_output *o, const void *p, size_t n);
struct span link_output_front(const struct link_output *o); /* up to 16 KiB; empty where len is 0 */
void link_output_drop(struct link_output *o, size_t n);     /* n <= front's */
void link_output_clear(struct link_output *o);              /* frees */
