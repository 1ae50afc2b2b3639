/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "adapters/registers/population/serve.h"
#include "base/clock.h"
#include "base/tool/cli.h"
#include <inttypes.h>
#include <stdio.h>

#define DB CLI_NEEDED("db", "FILE", "the register's database (SQLite)")

static ehis_err run_seed(struct cli *c, struct ehis_why *why)
{
    struct people *p;
    uint64_t count = cli_number(c, "people"), seed = cli_number(c, "seed");
    EHIS_TRY(people_open(cli_get(c, "db"), true, &p, why));
    ehis_err err = people_seed(p, count, seed, why);
    people_close(p);
    if (err == EHIS_OK)
        printf(cli_json(c) ? "{\"people\":%" PRIu64 ",\"seed\":%" PRIu64 "}\n" : "%" PRIu64 " invented people from the seed %" PRIu64 "\n", count, seed);
    return err;
}

static ehis_err run_serve(struct cli *c, struct ehis_why *why)
{
    return population_serve(cli_get(c, "config"), cli_get(c, "db"), cli_get(c, "service"), cli_number(c, "events") ? BODY_PROTOBUF : BODY_JSON, why);
}

static ehis_err read_change(struct arena *a, Person **out, struct ehis_why *why)
{
    struct buf text;
    ProtobufCMessage *m;
    buf_init(&text, BODY_MAX_BYTES);
    ehis_err err = cli_read("-", BODY_MAX_BYTES, &text, why);
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
    EHIS_TRY(people_open(cli_get(c, "db"), false, &p, why));
    ehis_err err = people_pins(p, cli_number(c, "count"), print_pin, why);
    people_close(p);
    return err;
}

static const struct cli_option seed_options[] = {
    DB, CLI_COUNT("people", 1, PEOPLE_MAX, "5000", "how many"), CLI_COUNT("seed", 0, INT64_MAX, "1", "the same seed, the same people")};
static const struct cli_option serve_options[] = {
    DB,
    CLI_NEEDED("config", "FILE", "the adapter's settings"),
    {.name = "service", .type = CLI_IS_TEXT, .value = "ID", .default_text = POPULATION_SERVICE, .sentence = "the service's identifier"},
    CLI_CHOICE("events", "application/json|application/x-protobuf", "application/json", "content type of events"),
};
static const struct cli_option change_options[] = {
    DB, CLI_NEEDED("body", "-", "reads {\"pin\":\"...\",\"address\":{\"region\":\"...\",\"city\":\"...\",\"street\":\"...\"},\"surname\":\"...\"}")};
static const struct cli_option pins_options[] = {DB, CLI_COUNT("count", 1, PEOPLE_MAX, "10", "how many")};
static const struct cli_verb verbs[] = {
    {"seed", "", "Makes a database of invented people.", 0, 0, CLI_LIST(seed_options), run_seed},
    {"serve", "", "Answers GetPerson and FindPersons and publishes PersonChanged, until SIGTERM.", 0, 0, CLI_LIST(serve_options), run_serve},
    {"change", "", "Changes a person's address or surname; the serving process publishes it.", 0, 0, CLI_LIST(change_options), run_change},
    {"pins", "", "Prints PINs, one a line.", 0, 0, CLI_LIST(pins_options), run_pins},
};

int main(int argc, char **argv)
{
    static const struct cli_program program = {
        .name = "ehis-population", .sentence = "the population register of the sample: a provider over SQLite", CLI_VERBS(verbs)};
    return cli_main(&program, argc, argv);
}
