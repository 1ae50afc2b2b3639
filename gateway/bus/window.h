/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The read position of one partition (SPEC 17.4): offsets are finished out of order; the position is the lowest unfinished, what is finished above
 * it stands as a bitmap in the commit's metadata. Pure; one thread. */
#pragma once
#include "base/bytes.h"

#define WINDOW_OFFSETS_MAX 4096     /* from the position to the highest that was begun */
#define WINDOW_METADATA_MAX 1024    /* bytes of text; a broker takes 4,096 */

/* Everything below position is finished; of position .. next-1, which were read, what has no bit is open; bits at and above next were finished
 * before this window began. */
struct window { int64_t position, next; uint64_t finished[WINDOW_OFFSETS_MAX / 64]; uint32_t open_count; };

void window_init(struct window *w, int64_t position);
/* Metadata of the last commit, a peer's word: BUS_POSITION where it is not ours; then the window begins empty at position. */
ehis_err window_from_text(struct window *w, int64_t position, struct span metadata) EHIS_MUST_USE;
/* An offset is read. *is_known: finished before, below the position, or open already. BUS_POSITION: no offset can be so high. BUS_FULL: beyond the window: stop reading until some finish.
 * Offsets between the highest begun and this one, which the log does not hold (compacted, aborted), count as finished. */
ehis_err window_begin(struct window *w, int64_t offset, bool *is_known) EHIS_MUST_USE;
/* Finished; an offset that is not begun, or is finished already, changes nothing. */
void window_finish(struct window *w, int64_t offset);
int64_t window_position(const struct window *w);      /* to commit */
/* As bytes: u64 position, u16 n, n bytes of the bitmap. *at: where in bytes, moved on. BUS_POSITION: not so written. */
ehis_err window_put(const struct window *w, struct buf *out) EHIS_MUST_USE;
ehis_err window_get(struct window *w, struct span bytes, size_t *at) EHIS_MUST_USE;
ehis_err window_to_text(const struct window *w, struct buf *out) EHIS_MUST_USE;
