/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The form of the generated tables. */
#pragma once
#include "proto/wire/scan.h"

#define SCAN_NUMBER_MAX 63 /* field numbers fit a bit set */

enum scan_type { SCAN_U32, SCAN_U64, SCAN_BOOL, SCAN_ENUM, SCAN_BYTES, SCAN_STRING, SCAN_MESSAGE };
struct scan_field {
    uint8_t number, type;
    uint8_t is_repeated, is_required, is_identifier, is_oneof;
    uint32_t min_bytes, max_bytes, max_count;
    uint64_t enum_values; /* bit set of the allowed ones */
    const struct scan_message *sub;
    const char *name;
};
struct scan_message {
    const char *name;
    const struct scan_field *fields; /* ascending */
    uint8_t field_count, top_number;
    const uint8_t *index; /* field number -> place in fields + 1 */
    uint64_t required;    /* bit set of field numbers */
};
