/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "adapters/registers/population/answers.h"
#include "adapters/registers/population/pin.h"
#include "base/clock.h"
#include "base/log.h"
#include "population_scan.h"
#include <stdio.h>

#define LIMIT_DEFAULT 20
#define TYPE(name) Az__Gov__Mia__Population__V1__##name
#define DESCRIPTOR(name) az__gov__mia__population__v1__##name##__descriptor
#define TABLE(name) scan_az_gov_mia_population_v1_##name

const struct body_type body_person = {&DESCRIPTOR(person), &TABLE(person)};
const struct body_type body_fault = {&DESCRIPTOR(fault), &TABLE(fault)};
const struct body_type body_person_changed = {&DESCRIPTOR(person_changed), &TABLE(person_changed)};

enum fault { NO_FAULT, NOT_FOUND, BAD_PIN, TOO_MANY, BAD_REQUEST, UNSUPPORTED_TYPE, UNAVAILABLE };
static const struct { const char *code, *text, *text_az; } faults[] = {
    [NO_FAULT] = {"", "", ""},
    [NOT_FOUND] = {"NOT_FOUND", "no person has this PIN", "bu FİN ilə şəxs tapılmadı"},
    [BAD_PIN] = {"BAD_PIN", "the PIN is mistyped: its check character does not fit", "FİN səhv yazılıb: yoxlama simvolu uyğun gəlmir"},
    [TOO_MANY] = {"TOO_MANY", "at most 100 persons are returned", "ən çoxu 100 şəxs qaytarılır"},
    [BAD_REQUEST] = {"BAD_REQUEST", "the request's body is not as person.proto says", "sorğunun məzmunu person.proto sənədinə uyğun deyil"},
    [UNSUPPORTED_TYPE] = {"UNSUPPORTED_TYPE", "bodies are application/x-protobuf or application/json", "məzmun application/x-protobuf və ya application/json olmalıdır"},
    [UNAVAILABLE] = {"UNAVAILABLE", "the register cannot answer now", "reyestr hazırda cavab verə bilmir"},
};

static enum fault of_error(ehis_err err, const struct ehis_why *why)
{
    if (err == EHIS_OK)
        return NO_FAULT;
    if (err == EHIS_E_NOT_FOUND)
        return NOT_FOUND;
    log_line(LOG_ERROR, "population.unavailable", F_ERR(err), F_STR("why", why->text));
    return UNAVAILABLE;
}

static enum fault get_person(struct answers *s, const ProtobufCMessage *body, enum body_format format, struct answer *out)
{
    const TYPE(GetPersonRequest) *request = (const void *)body;
    TYPE(GetPersonResponse) response;
    struct ehis_why why = {""};
    az__gov__mia__population__v1__get_person_response__init(&response);
    if (!pin_is_valid(request->pin))
        return BAD_PIN;
    ehis_err err = people_get(s->people, request->pin, &s->arena, &response.person, &why);
    out->field_count = response.person ? 1 : 0;
    return of_error(err == EHIS_OK ? body_write(&response.base, format, &out->body) : err, &why);
}

static enum fault find_persons(struct answers *s, const ProtobufCMessage *body, enum body_format format, struct answer *out)
{
    const TYPE(FindPersonsRequest) *request = (const void *)body;
    TYPE(FindPersonsResponse) response;
    Person *found, *list[PEOPLE_FOUND_MAX];
    struct ehis_why why = {""};
    bool has_more = false;
    az__gov__mia__population__v1__find_persons_response__init(&response);
    if (request->limit > PEOPLE_FOUND_MAX)
        return TOO_MANY;
    ehis_err err = people_find(s->people, request->surname_prefix, request->birth_year, request->limit ? request->limit : LIMIT_DEFAULT, &s->arena, &found,
                               &response.n_persons, &has_more, &why);
    for (size_t i = 0; i < response.n_persons; i++)
        list[i] = &found[i];
    response.persons = list;
    response.has_more = has_more;
    out->field_count = response.n_persons;
    return of_error(err == EHIS_OK ? body_write(&response.base, format, &out->body) : err, &why);
}

static const struct operation {
    const char *name;
    struct body_type request;
    enum fault (*answer)(struct answers *s, const ProtobufCMessage *body, enum body_format format, struct answer *out);
} operations[] = {
    {"GetPerson", {&DESCRIPTOR(get_person_request), &TABLE(get_person_request)}, get_person},
    {"FindPersons", {&DESCRIPTOR(find_persons_request), &TABLE(find_persons_request)}, find_persons},
};

ehis_err answers_init(struct answers *s, struct people *people)
{
    s->people = people;
    return arena_init(&s->arena, arena_bytes_for(BODY_MAX_BYTES));
}

void answers_fini(struct answers *s) { arena_fini(&s->arena); }

static ehis_err put_fault(struct answer *out, enum fault fault, enum body_format format, const char *why)
{
    TYPE(Fault) f;
    char text[256], text_az[256];
    snprintf(text, sizeof text, "%s%s%.160s", faults[fault].text, why[0] ? ": " : "", why);
    snprintf(text_az, sizeof text_az, "%s", faults[fault].text_az);
    az__gov__mia__population__v1__fault__init(&f);
    f.code = (char *)(uintptr_t)faults[fault].code;
    f.text = utf8_is_valid(span_str(text), NULL) ? text : (char *)(uintptr_t)faults[fault].text; /* a cut may have gone through a letter */
    f.text_az = text_az;
    out->is_fault = true;
    out->code = faults[fault].code;
    out->field_count = 0;
    buf_clear(&out->body);
    return body_write(&f.base, format, &out->body);
}

ehis_err answers_make(struct answers *s, const char *operation, const char *content_type, struct span body, struct answer *out)
{
    enum body_format format = BODY_PROTOBUF;
    enum fault fault = BAD_REQUEST;
    struct ehis_why why = {""};
    ProtobufCMessage *request;
    *out = (struct answer){.code = ""};
    buf_init(&out->body, ANSWER_MAX_BYTES);
    arena_reset(&s->arena);
    if (body_format_from_text(content_type, &format) != EHIS_OK)
        fault = UNSUPPORTED_TYPE;
    for (size_t i = 0; fault == BAD_REQUEST && i < sizeof operations / sizeof *operations; i++)
        if (strcmp(operation, operations[i].name) == 0 && body_read(&operations[i].request, format, body, &s->arena, &request, &why) == EHIS_OK) {
            fault = operations[i].answer(s, request, format, out);
            break;
        }
    out->content_type = body_format_to_text(format);
    if (fault != NO_FAULT)
        return put_fault(out, fault, format, why.text);
    const ProtobufCMessageDescriptor *person = body_person.type; /* every field of a person is filled */
    size_t fields = out->field_count ? person->n_fields : 0;
    for (out->field_count = 0; out->field_count < fields; out->field_count++)
        out->fields[out->field_count] = person->fields[out->field_count].name;
    return EHIS_OK;
}

ehis_err answers_event(const struct people_change *change, enum body_format format, struct buf *out)
{
    TYPE(PersonChanged) e;
    char at[TIME_TEXT_LEN], names[sizeof change->fields], *fields[8], *rest = names;
    az__gov__mia__population__v1__person_changed__init(&e);
    snprintf(names, sizeof names, "%s", change->fields);
    time_to_text(change->at_ms, at);
    e.pin = (char *)(uintptr_t)change->pin;
    e.sequence = change->sequence;
    e.changed_at = at;
    e.fields = fields;
    for (char *name; e.n_fields < 8 && (name = strsep(&rest, " "));)
        fields[e.n_fields++] = name;
    return body_write(&e.base, format, out);
}
