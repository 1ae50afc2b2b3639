/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What the service answers: a body in, a body out. Knows nothing of the exchange. One thread an object. */
#pragma once
#include "adapters/registers/body/body.h"
#include "adapters/registers/population/people.h"

#define ANSWER_MAX_BYTES (256u * 1024)
#define ANSWER_FIELDS_MAX 16

extern const struct body_type body_person, body_fault, body_person_changed;

struct answer {
    bool is_fault;
    const char *code; /* of the fault, for the log; "" */
    const char *content_type;
    struct buf body;
    const char *fields[ANSWER_FIELDS_MAX]; /* names of what is returned about a person */
    size_t field_count;
};
struct answers {
    struct people *people;
    struct arena arena;
};
ehis_err answers_init(struct answers *s, struct people *people) EHIS_MUST_USE;
void answers_fini(struct answers *s);
/* Always gives an answer, at worst a fault; out->body is the caller's to end. Errors: NO_MEMORY alone. */
ehis_err answers_make(struct answers *s, const char *operation, const char *content_type, struct span body, struct answer *out) EHIS_MUST_USE;
/* PersonChanged, appended. */
ehis_err answers_event(const struct people_change *change, enum body_format format, struct buf *out) EHIS_MUST_USE;
