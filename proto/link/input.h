/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The one input buffer of a connection: bytes are read into it and frames are handed out of it in place. It grows with what has
 * arrived, never with what a head announces: at most the frame and 16 KiB, or 32 KiB. Pure. */
#pragma once
#include "proto/wire/frame.h"

#define LINK_RECORD_BYTES 16384 /* the content of a TLS record */

struct link_input {
    uint8_t *p;
    size_t start, len, cap;
    size_t need; /* bytes of the frame at the front, as far as is known */
};
/* Where to read to: *n >= 1 bytes. frame_max: type and payload. Up to 16 KiB of frame_max: holds no more than one frame. NO_MEMORY. */
ehis_err link_input_room(struct link_input *in, size_t frame_max, uint8_t **room, size_t *n) EHIS_MUST_USE;
static inline void link_input_commit(struct link_input *in, size_t n) { in->len += n; }
/* Takes the next whole frame, valid until the next call of room; *is_whole false: none is there. FRAME_TOO_LARGE, FRAME_EMPTY. */
ehis_err link_input_next(struct link_input *in, size_t frame_max, struct frame *out, bool *is_whole) EHIS_MUST_USE;
void link_input_clear(struct link_input *in); /* frees */
