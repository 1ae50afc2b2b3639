/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* ehis-gateway: the command line. */
#include "base/tool/result.h"
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
static ehis_err check(struct cli *c, const char *file, struct ehis_why *why)
{
    struct gateway g = {.settings_file = file, .clock = &clock_system};
    struct sessions_identity identity = {0};
    struct pki_pair of_bus;
    struct buf text;
    EHIS_TRY(gateway_settings_load(&g, why));
    ehis_err err;
    if (cli_has(c, "print")) {
        buf_init(&text, TEXT_MAX_BYTES);
        err = print_buf(&text, settings_print(&gateway_options_table, &g.options, &text));
    } else {
        err = gateway_options_check(&g.options, why);
        if (err == EHIS_OK)
            err = gateway_identity_load(&g, &g.options, NULL, &identity, &g.own_certificate_expiry_ms, why);
        if (err == EHIS_OK)
            err = gateway_bus_pair_load(&g, &g.options, &of_bus, why);
        if (err == EHIS_OK)
            err = gateway_journal_check(&g.options, why);
        if (err == EHIS_OK)
            err = tool_print(c, json_pack("{s:s, s:b, s:o}", "settings", file, "is_good", true, "registry_version", tool_count(registry_version(identity.registry))));
        gateway_identity_free(&identity);
    }
    settings_free(g.settings);
    return err;
}

static ehis_err on_run(struct cli *c, struct ehis_why *why)
{
    const char *file = cli_get(c, "config");
    if (cli_has(c, "check") || cli_has(c, "print"))
        return check(c, file, why);
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
    CLI_NEEDED("config", "FILE", "settings file"),
    CLI_FLAG("check", "check the settings and every file that they name, then end"),
    CLI_FLAG("print", "print the settings in force, then end"),
};
static const struct cli_option settings_options[] = {CLI_FLAG("reference", "the reference page, not a sample file")};
static const struct cli_option status_options[] = {CLI_NEEDED("socket", "PATH", "the gateway's admin.socket"), CLI_FLAG("metrics", "Prometheus text")};
static const struct cli_option journal_options[] = {
    CLI_NEEDED("dir", "DIR", "the journal's folder"),
    CLI_TEXT("kind", "NAME", "only records of this kind: accepted, refused, delivered, session-refused, ..."),
    CLI_TEXT("exchange", "ID", "only records of this exchange"),
    CLI_TEXT("system", "ID", "only records that this system has part in"),
    CLI_FLAG("all", "also records that only recovery needs; with --json, of each the bytes that were signed"),
};
static const struct cli_option topics_options[] = {
    CLI_NEEDED("config", "FILE", "settings file"),
    CLI_TEXT("certificate", "FILE", "another than bus.kafka.certificate: an administrator's, to create"),
    CLI_TEXT("key", "FILE", "its key"),
    CLI_DURATION("timeout", 3600000, "5m", "for everything together"),
    CLI_FLAG("dry-run", "create: only say what is missing"),
};
static const struct cli_verb verbs[] = {
    {NULL, "", "Runs the gateway.", 0, 0, CLI_LIST(run_options), on_run},
    {"settings", "", "Prints a sample settings file.", 0, 0, CLI_LIST(settings_options), on_settings},
    {"status", "", "Asks a running gateway how it is.", 0, 0, CLI_LIST(status_options), on_status},
    {"topics", "create|check", "Makes Kafka's topics and rights for the registry, or checks them.", 1, 1, CLI_LIST(topics_options), gateway_topics_verb},
    {"journal", "show|verify", "Reads or verifies a journal.", 1, 1, CLI_LIST(journal_options), gateway_journal_verb},
};

int main(int argc, char **argv)
{
    static const struct cli_program program = {.name = "ehis-gateway", .sentence = "the gateway of the exchange", CLI_VERBS(verbs), .start = pki_init};
    return cli_main(&program, argc, argv);
}
