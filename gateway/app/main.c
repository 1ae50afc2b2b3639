/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* ehis-gateway: the command line. */
#include "base/cli.h"
#include "gateway/app/gateway.h"
#include <stdio.h>

#define TEXT_MAX_BYTES (16 * 1024 * 1024)

static ehis_err print_buf(struct buf *b, ehis_err err)
{
    struct span s = buf_span(b);
    if (err == EHIS_OK && fwrite(s.p, 1, s.len, stdout) != s.len)
        err = EHIS_E_IO;
    buf_fini(b);
    return err;
}

/* Settings and every file that they name, as at a start; nothing is written. */
static ehis_err check(const char *file, bool is_print, struct ehis_why *why)
{
    struct gateway g = {.settings_file = file, .clock = &clock_system};
    struct sessions_identity identity = {0};
    struct buf text;
    buf_init(&text, TEXT_MAX_BYTES);
    ehis_err err = settings_load(&gateway_options_table, file, &g.options, &g.settings, &text);
    if (err != EHIS_OK) {
        struct span s = buf_span(&text);
        fprintf(stderr, "%.*s", (int)s.len, (const char *)s.p);
        buf_fini(&text);
        return ehis_fail(why, err, "%s", file);
    }
    if (is_print) {
        err = print_buf(&text, settings_print(&gateway_options_table, &g.options, &text));
    } else {
        buf_fini(&text);
        err = gateway_options_check(&g.options, why);
        if (err == EHIS_OK)
            err = crypto_init(why);
        if (err == EHIS_OK)
            err = gateway_identity_load(&g, &g.options, NULL, &identity, &g.own_certificate_expiry_ms, why);
        if (err == EHIS_OK)
            printf("%s: good; registry version %llu\n", file, (unsigned long long)registry_version(identity.registry));
        gateway_identity_free(&identity);
    }
    settings_free(g.settings);
    return err;
}

static ehis_err on_run(struct cli *c, struct ehis_why *why)
{
    const char *file = cli_get(c, "config");
    if (cli_has(c, "check") || cli_has(c, "print"))
        return check(file, cli_has(c, "print"), why);
    return gateway_run(file, why);
}

static ehis_err on_settings(struct cli *c, struct ehis_why *why)
{
    struct buf text;
    (void)why;
    buf_init(&text, TEXT_MAX_BYTES);
    ehis_err err = cli_has(c, "reference") ? settings_reference(&gateway_options_table, &text) : settings_sample(&gateway_options_table, &text);
    return print_buf(&text, err);
}

static ehis_err on_status(struct cli *c, struct ehis_why *why)
{
    struct buf text;
    buf_init(&text, TEXT_MAX_BYTES);
    return print_buf(&text, admin_get(cli_get(c, "socket"), cli_has(c, "metrics") ? "/metrics" : "/status", &text, why));
}

static const struct cli_option run_options[] = {
    {"config", "FILE", "settings file", true, false},
    {"check", NULL, "check the settings and every file that they name, then end", false, false},
    {"print", NULL, "print the settings in force, then end", false, false},
};
static const struct cli_option settings_options[] = {{"reference", NULL, "the reference page, not a sample file", false, false}};
static const struct cli_option status_options[] = {
    {"socket", "PATH", "the gateway's admin.socket", true, false},
    {"metrics", NULL, "Prometheus text", false, false},
};
static const struct cli_option journal_options[] = {
    {"dir", "DIR", "the journal's folder", true, false},
    {"kind", "NAME", "only records of this kind: accepted, refused, delivered, ...", false, false},
    {"exchange", "ID", "only records of this exchange", false, false},
    {"system", "ID", "only records that this system has part in", false, false},
    {"all", NULL, "also records that only recovery needs", false, false},
};
#define OPTIONS(table) .options = (table), .option_count = sizeof(table) / sizeof *(table)
static const struct cli_verb verbs[] = {
    {.name = NULL, .words = "", .sentence = "Run the gateway.", OPTIONS(run_options), .run = on_run},
    {.name = "settings", .words = "", .sentence = "Print a sample settings file.", OPTIONS(settings_options), .run = on_settings},
    {.name = "status", .words = "", .sentence = "Ask a running gateway how it is.", OPTIONS(status_options), .run = on_status},
    {.name = "journal", .words = "show|verify", .sentence = "Read or verify a journal.", .words_min = 1, .words_max = 1, OPTIONS(journal_options), .run = gateway_journal_verb},
};

int main(int argc, char **argv)
{
    static const struct cli_program program = {.name = "ehis-gateway", .sentence = "The gateway of the exchange.", .verbs = verbs, .verb_count = sizeof verbs / sizeof *verbs};
    return cli_main(&program, argc, argv);
}
