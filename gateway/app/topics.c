/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* topics create and check: the deployment's word about the cluster. */
#include "base/tool/result.h"
#include "gateway/app/gateway.h"
#include <stdio.h>

struct told {
    json_t *made, *findings;
};

static void on_finding(void *ctx, const struct bus_finding *f)
{
    struct told *t = ctx;
    if (f->code == EHIS_OK)
        json_array_append_new(t->made, json_pack("{s:s, s:s}", "what", f->setting, "name", f->subject));
    else
        json_array_append_new(t->findings, json_pack("{s:o, s:s, s:s, s:s, s:s, s:s}", "code", tool_code(f->code), "name", ehis_err_name(f->code),
                                                     "subject", f->subject, "setting", f->setting, "found", f->found, "wanted", f->wanted));
}

static ehis_err load(struct gateway *g, struct cli *c, struct registry **registry, struct ehis_why *why)
{
    EHIS_TRY(gateway_settings_load(g, why));
    struct bus_kafka_options *k = &g->options.kafka;
    if (cli_has(c, "certificate"))
        k->certificate = cli_get(c, "certificate");
    if (cli_has(c, "key"))
        k->key = cli_get(c, "key");
    if (strcmp(g->options.bus_kind, "kafka") != 0)
        return ehis_fail(why, EHIS_E_BUS_OPTIONS, "bus.kind is %s: it has no topics", g->options.bus_kind);
    EHIS_TRY(bus_kafka_options_check(k, why));
    return gateway_registry_load(g, &g->options, NULL, clock_wall_ms(g->clock), registry, why);
}

ehis_err gateway_topics_verb(struct cli *c, struct ehis_why *why)
{
    struct gateway g = {.settings_file = cli_get(c, "config"), .clock = &clock_system};
    struct registry *registry = NULL;
    struct told t;
    uint64_t timeout_ms = cli_number(c, "timeout");
    bool is_dry = cli_has(c, "dry-run"), is_create = strcmp(cli_word(c, 0), "create") == 0;
    if (!is_create && strcmp(cli_word(c, 0), "check") != 0)
        return ehis_fail(why, EHIS_E_USAGE, "topics create, or topics check");
    t.made = json_array();
    t.findings = json_array();
    ehis_err err = load(&g, c, &registry, why);
    if (err == EHIS_OK && is_create)
        err = bus_cluster_create(&g.options.kafka, registry, timeout_ms, is_dry, on_finding, &t, why);
    if (err == EHIS_OK && !(is_create && is_dry))
        err = bus_cluster_check(&g.options.kafka, registry, timeout_ms, on_finding, &t, why);
    ehis_err print_err = tool_print(c, json_pack("{s:b, s:o, s:o}", "good", err == EHIS_OK, "made", t.made, "findings", t.findings));
    if (err == EHIS_E_BUS_UNREACHABLE || err == EHIS_E_BUS_TLS || err == EHIS_E_BUS_UNSEEN)
        cli_set_exit(c, CLI_UNREACHABLE);
    registry_unref(registry);
    settings_free(g.settings);
    return err != EHIS_OK ? err : print_err;
}
