/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "adapters/registers/population/serve.h"
#include "base/cli.h"
#include "base/clock.h"
#include <inttypes.h>
#include <stdio.h>

#define LIST(a) a, sizeof a / sizeof a[0]
#define DB "db", "FILE", "the register's database (SQLite)", true, false

static ehis_err run_seed(struct cli *c, struct ehis_why *why)
{
    struct people *p;
    uint64_t count, seed;
    EHIS_TRY(cli_get_number(c, "people", 1, PEOPLE_MAX, 5000, &count, why));
    EHIS_TRY(cli_get_number(c, "seed", 0, INT64_MAX, 1, &seed, why));
    EHIS_TRY(people_open(cli_get(c, "db"), true, &p, why));
    ehis_err err = people_seed(p, count, seed, why);
    people_close(p);
    if (err == EHIS_OK)
        printf(cli_json(c) ? "{\"people\":%" PRIu64 ",\"seed\":%" PRIu64 "}\n" : "%" PRIu64 " invented people from the seed %" PRIu64 "\n", count, seed);
    return err;
}

static ehis_err run_serve(struct cli *c, struct ehis_why *why)
{
    const char *service = cli_get(c, "service"), *events = cli_get(c, "events");
    enum body_format format = BODY_JSON;
    if (events && body_format_from_text(events, &format) != EHIS_OK)
        return ehis_fail(why, EHIS_E_USAGE, "--events is application/json or application/x-protobuf");
    return population_serve(cli_get(c, "config"), cli_get(c, "db"), service ? service : POPULATION_SERVICE, format, why);
}

static ehis_err read_change(struct arena *a, Person **out, struct ehis_why *why)
{
    struct buf text;
    ProtobufCMessage *m;
    buf_init(&text, BODY_MAX_BYTES);
    ehis_err err = cli_read_stdin(BODY_MAX_BYTES, &text, why);
    if (err == EHIS_OK)
        err = body_read(&body_person, BODY_JSON, buf_span(&text), a, &m, why);
    buf_fini(&text);
    if (err == EHIS_OK)
        *out = (Person *)(void *)m;
    return err;
}

/* A person is named on standard input alone: arguments are seen by everybody on the machine. */
static ehis_err run_change(struct cli *c, struct ehis_why *why)
{
    struct arena a;
    struct people *p = NULL;
    Person *to;
    uint64_t sequence = 0;
    if (strcmp(cli_get(c, "body"), "-") != 0)
        return ehis_fail(why, EHIS_E_USAGE, "--body is -: a person is named on standard input");
    EHIS_TRY(arena_init(&a, arena_bytes_for(BODY_MAX_BYTES)));
    ehis_err err = read_change(&a, &to, why);
    if (err == EHIS_OK)
        err = people_open(cli_get(c, "db"), false, &p, why);
    if (err == EHIS_OK)
        err = people_change(p, to, clock_wall_ms(&clock_system), &sequence, why);
    people_close(p);
    arena_fini(&a);
    if (err == EHIS_OK && cli_json(c))
        printf("{\"sequence\":%" PRIu64 "}\n", sequence);
    else if (err == EHIS_OK)
        printf(sequence ? "changed, number %" PRIu64 "\n" : "nothing differs\n", sequence);
    return err;
}

static void print_pin(const char *pin) { puts(pin); }

static ehis_err run_pins(struct cli *c, struct ehis_why *why)
{
    struct people *p;
    uint64_t count;
    EHIS_TRY(cli_get_number(c, "count", 1, PEOPLE_MAX, 10, &count, why));
    EHIS_TRY(people_open(cli_get(c, "db"), false, &p, why));
    ehis_err err = people_pins(p, count, print_pin, why);
    people_close(p);
    return err;
}

static const struct cli_option seed_options[] = {{DB}, {"people", "N", "how many, 5000 unless given", false, false}, {"seed", "N", "the same seed, the same people; 1 unless given", false, false}};
static const struct cli_option serve_options[] = {
    {DB},
    {"config", "FILE", "the adapter's settings", true, false},
    {"service", "ID", "the service's identifier, " POPULATION_SERVICE " unless given", false, false},
    {"events", "TYPE", "content type of events, application/json unless given", false, false},
};
static const struct cli_option change_options[] = {{DB}, {"body", "-", "reads {\"pin\":\"...\",\"address\":{\"region\":\"...\",\"city\":\"...\",\"street\":\"...\"},\"surname\":\"...\"}", true, false}};
static const struct cli_option pins_options[] = {{DB}, {"count", "N", "how many, 10 unless given", false, false}};
static const struct cli_verb verbs[] = {
    {"seed", "", "Makes a database of invented people.", 0, 0, LIST(seed_options), run_seed},
    {"serve", "", "Answers GetPerson and FindPersons and publishes PersonChanged, until SIGTERM.", 0, 0, LIST(serve_options), run_serve},
    {"change", "", "Changes a person's address or surname; the serving process publishes it.", 0, 0, LIST(change_options), run_change},
    {"pins", "", "Prints PINs, one a line.", 0, 0, LIST(pins_options), run_pins},
};

int main(int argc, char **argv)
{
    static const struct cli_program program = {"ehis-population", "the population register of the sample: a provider over SQLite", LIST(verbs)};
    return cli_main(&program, argc, argv);
}
