/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The journal's thread: writes sealed groups, reclaims segments, wakes the loop. All calls belong to the loop's thread. A small group on a
 * quick disk is written by the loop itself while the thread has nothing to do. */
#pragma once
#include "base/loop.h"
#include "gateway/journal/journal.h"

struct journal_writer;
/* on_durable(arg, group) and on_failed(arg, err) run on the loop's thread; after on_failed nothing more comes. The next group is already
 * with the thread when on_durable runs. */
ehis_err journal_writer_start(struct journal *j, struct loop *loop, void (*on_durable)(void *arg, uint64_t group),
                              void (*on_failed)(void *arg, ehis_err err), void *arg, struct journal_writer **out) EHIS_MUST_USE;
/* Seals and starts writing now if there is something and nothing is being written; otherwise it happens when the running write is done. A
 * group of up to 8 KiB may be written here, blocking: then on_durable or on_failed runs within.
 * Also after journal_release, to have it reclaimed at once (else within a second). */
void journal_writer_kick(struct journal_writer *w);
/* The same, but at the latest in delay_us: for entries that nobody waits for. */
void journal_writer_kick_lazily(struct journal_writer *w, int64_t delay_us);
/* For append's JOURNAL_GROUP_FULL: waits (blocks) for the running write, if any, and hands the full group over; then append has room. on_durable
 * still comes from the loop, never from here. JOURNAL_FAILED. */
ehis_err journal_writer_make_room(struct journal_writer *w) EHIS_MUST_USE;
/* Waits for the running write, writes what is open, joins, frees w. on_durable runs within for what became durable; what it appends after
 * the last group is not written. A failure is returned, not called back. */
ehis_err journal_writer_stop(struct journal_writer *w) EHIS_MUST_USE;
