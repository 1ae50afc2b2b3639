/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Bodies of a register: one message type, as protobuf or as JSON by content type. JSON is turned into protobuf's bytes, so that both
 * go through one scanner with the bounds of the .proto. JSON: an object with the .proto's field names, enums by name, numbers as
 * numbers; unknown or doubled names, null, wrong types and text behind the object are refused. Any thread. */
#pragma once
#include "proto/wire/scan.h"

#define BODY_MAX_BYTES (64u * 1024) /* of a body that is read */

enum body_format { BODY_PROTOBUF, BODY_JSON };
struct body_type {
    const ProtobufCMessageDescriptor *type;
    const struct scan_message *table;
};
/* "application/x-protobuf", "application/json"; UNSUPPORTED. */
ehis_err body_format_from_text(const char *content_type, enum body_format *out) EHIS_MUST_USE;
const char *body_format_to_text(enum body_format format);
/* The message lives in the arena (arena_bytes_for(BODY_MAX_BYTES) is always enough). TOO_LARGE, INVALID (JSON), SCAN_*, ARENA_FULL. */
ehis_err body_read(const struct body_type *t, enum body_format format, struct span body, struct arena *a, ProtobufCMessage **out, struct ehis_why *why) EHIS_MUST_USE;
/* Appends. TOO_LARGE: the buffer's maximum. */
ehis_err body_write(const ProtobufCMessage *m, enum body_format format, struct buf *out) EHIS_MUST_USE;
