/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "adapters/registers/body/body.h"
#include <jansson.h>

static const char *const formats[] = {"application/x-protobuf", "application/json"};

ehis_err body_format_from_text(const char *content_type, enum body_format *out)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (content_type && strcmp(content_type, formats[i]) == 0) {
            *out = (enum body_format)i;
            return EHIS_OK;
        }
    }
    return EHIS_E_UNSUPPORTED;
}

const char *body_format_to_text(enum body_format format) { return formats[format]; }

/* ---- JSON to protobuf's bytes ---- */

static ehis_err put_varint(struct buf *out, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        EHIS_TRY(buf_put_u8(out, (uint8_t)(v | 0x80)));
    return buf_put_u8(out, (uint8_t)v);
}

static ehis_err put_bytes(struct buf *out, uint32_t number, struct span s)
{
    EHIS_TRY(put_varint(out, (uint64_t)number << 3 | 2));
    EHIS_TRY(put_varint(out, s.len));
    return buf_put_span(out, s);
}

static ehis_err put_object(struct buf *out, const ProtobufCMessageDescriptor *type, const json_t *object, struct ehis_why *why);

static ehis_err wrong_type(const ProtobufCFieldDescriptor *f, struct ehis_why *why)
{
    const char *wanted = f->type == PROTOBUF_C_TYPE_STRING ? "a text" : f->type == PROTOBUF_C_TYPE_MESSAGE ? "an object" : f->type == PROTOBUF_C_TYPE_BOOL ? "true or false"
                       : f->type == PROTOBUF_C_TYPE_ENUM ? "one of the enum's names" : f->type == PROTOBUF_C_TYPE_UINT32 ? "a whole number up to 4294967295" : "a whole number";
    return ehis_fail(why, EHIS_E_INVALID, "\"%s\" must be %s", f->name, wanted);
}

static ehis_err number_of(const ProtobufCFieldDescriptor *f, const json_t *v, uint64_t *out, struct ehis_why *why)
{
    const ProtobufCEnumValue *e = f->type == PROTOBUF_C_TYPE_ENUM && json_is_string(v) ? protobuf_c_enum_descriptor_get_value_by_name(f->descriptor, json_string_value(v)) : NULL;
    if (f->type == PROTOBUF_C_TYPE_BOOL && json_is_boolean(v))
        *out = json_is_true(v);
    else if (e)
        *out = (uint64_t)e->value;
    else if ((f->type == PROTOBUF_C_TYPE_UINT32 || f->type == PROTOBUF_C_TYPE_UINT64) && json_is_integer(v) && json_integer_value(v) >= 0 &&
             (f->type == PROTOBUF_C_TYPE_UINT64 || json_integer_value(v) <= UINT32_MAX))
        *out = (uint64_t)json_integer_value(v);
    else
        return wrong_type(f, why);
    return EHIS_OK;
}

static ehis_err put_value(struct buf *out, const ProtobufCFieldDescriptor *f, const json_t *v, struct ehis_why *why)
{
    uint64_t number;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
        struct buf inner;
        if (!json_is_object(v))
            return wrong_type(f, why);
        buf_init(&inner, BODY_MAX_BYTES);
        ehis_err err = put_object(&inner, f->descriptor, v, why);
        if (err == EHIS_OK)
            err = put_bytes(out, f->id, buf_span(&inner));
        buf_fini(&inner);
        return err;
    }
    if (f->type == PROTOBUF_C_TYPE_STRING) {
        struct span text = span_of(json_string_value(v), json_string_length(v));
        if (!json_is_string(v))
            return wrong_type(f, why);
        return text.len || f->label == PROTOBUF_C_LABEL_REPEATED ? put_bytes(out, f->id, text) : EHIS_OK;
    }
    EHIS_TRY(number_of(f, v, &number, why));
    if (number == 0) /* a default is not written */
        return EHIS_OK;
    EHIS_TRY(put_varint(out, (uint64_t)f->id << 3));
    return put_varint(out, number);
}

/* Recursion is bounded by the type, which does not contain itself (scan_table.py checks it). */
static ehis_err put_object(struct buf *out, const ProtobufCMessageDescriptor *type, const json_t *object, struct ehis_why *why)
{
    size_t i, known = 0;
    json_t *item;
    for (unsigned n = 0; n < type->n_fields; n++) { /* by ascending number */
        const ProtobufCFieldDescriptor *f = &type->fields[n];
        const json_t *v = json_object_get(object, f->name);
        if (!v)
            continue;
        known++;
        if (f->label != PROTOBUF_C_LABEL_REPEATED) {
            EHIS_TRY(put_value(out, f, v, why));
            continue;
        }
        if (!json_is_array(v))
            return ehis_fail(why, EHIS_E_INVALID, "\"%s\" must be a list", f->name);
        json_array_foreach(v, i, item) EHIS_TRY(put_value(out, f, item, why));
    }
    return known == json_object_size(object) ? EHIS_OK : ehis_fail(why, EHIS_E_INVALID, "%s: a name that is not defined", type->short_name);
}

static ehis_err read_json(const struct body_type *t, struct span body, struct buf *out, struct ehis_why *why)
{
    json_error_t at;
    json_t *root = json_loadb((const char *)body.p, body.len, JSON_REJECT_DUPLICATES, &at);
    if (!root)
        return ehis_fail(why, EHIS_E_INVALID, "JSON, line %d, column %d: %s", at.line, at.column, body.len ? at.text : "there is none");
    ehis_err err = json_is_object(root) ? put_object(out, t->type, root, why) : ehis_fail(why, EHIS_E_INVALID, "JSON: an object is expected");
    json_decref(root);
    return err;
}

ehis_err body_read(const struct body_type *t, enum body_format format, struct span body, struct arena *a, ProtobufCMessage **out, struct ehis_why *why)
{
    struct buf bytes;
    if (body.len > BODY_MAX_BYTES)
        return ehis_fail(why, EHIS_E_TOO_LARGE, "%zu bytes; at most %u", body.len, BODY_MAX_BYTES);
    if (format == BODY_PROTOBUF)
        return scan_unpack(t->table, t->type, body, a, out, why);
    buf_init(&bytes, BODY_MAX_BYTES);
    ehis_err err = read_json(t, body, &bytes, why);
    if (err == EHIS_OK)
        err = scan_unpack(t->table, t->type, buf_span(&bytes), a, out, why);
    buf_fini(&bytes);
    return err;
}

/* ---- a message to JSON ---- */

static json_t *json_of(const ProtobufCMessage *m);

static json_t *value_of(const ProtobufCFieldDescriptor *f, const void *at)
{
    const ProtobufCEnumValue *e;
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        return json_string(*(char *const *)at);
    case PROTOBUF_C_TYPE_MESSAGE:
        return json_of(*(ProtobufCMessage *const *)at);
    case PROTOBUF_C_TYPE_BOOL:
        return json_boolean(*(const protobuf_c_boolean *)at);
    case PROTOBUF_C_TYPE_ENUM:
        e = protobuf_c_enum_descriptor_get_value(f->descriptor, *(const int *)at);
        return e ? json_string(e->name) : NULL;
    case PROTOBUF_C_TYPE_UINT32:
        return json_integer(*(const uint32_t *)at);
    case PROTOBUF_C_TYPE_UINT64:
        return json_integer((json_int_t)*(const uint64_t *)at);
    default:
        return NULL; /* the scanner's tables have no other type */
    }
}

static bool is_default(const ProtobufCFieldDescriptor *f, const void *at)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        return **(char *const *)at == 0;
    case PROTOBUF_C_TYPE_MESSAGE:
        return *(void *const *)at == NULL;
    case PROTOBUF_C_TYPE_UINT64:
        return *(const uint64_t *)at == 0;
    default:
        return *(const uint32_t *)at == 0;
    }
}

static json_t *list_of(const ProtobufCFieldDescriptor *f, const uint8_t *const *items, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++) /* texts and messages: pointers */
        if (json_array_append_new(list, value_of(f, &items[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *json_of(const ProtobufCMessage *m)
{
    json_t *object = json_object();
    for (unsigned n = 0; object && n < m->descriptor->n_fields; n++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[n];
        const uint8_t *at = (const uint8_t *)m + f->offset;
        bool is_list = f->label == PROTOBUF_C_LABEL_REPEATED;
        if (!is_list && is_default(f, at))
            continue;
        json_t *v = is_list ? list_of(f, *(const uint8_t *const *const *)at, *(const size_t *)((const uint8_t *)m + f->quantifier_offset)) : value_of(f, at);
        if (json_object_set_new(object, f->name, v) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static int on_json_bytes(const char *p, size_t n, void *out) { return buf_put(out, p, n) == EHIS_OK ? 0 : -1; }

ehis_err body_write(const ProtobufCMessage *m, enum body_format format, struct buf *out)
{
    if (format == BODY_PROTOBUF)
        return scan_pack(m, out);
    json_t *root = json_of(m);
    if (!root)
        return EHIS_E_NO_MEMORY;
    ehis_err err = json_dump_callback(root, on_json_bytes, out, JSON_COMPACT) == 0 ? EHIS_OK : EHIS_E_TOO_LARGE;
    json_decref(root);
    return err;
}
