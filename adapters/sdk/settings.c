/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "adapters/sdk/settings.h"
#include "adapters/sdk/ehis.h"
#include <stdio.h>
#include <stdlib.h>

#define AT(member) offsetof(struct sdk_settings, member)
static const struct settings_option options[] = {
    {"system", SETTING_TEXT, AT(system), NULL, 1, 200, NULL, false, "The system that this adapter is, as in the registry: INSTANCE/CLASS/AGENCY/SYSTEM."},
    {"gateways", SETTING_LIST, AT(gateways), NULL, 1, 16, NULL, false, "The gateways as host:port, at most 16: a session is held to each; what is sent goes to the first that is ready."},
    {"state_dir", SETTING_PATH, AT(state_dir), NULL, 1, 0, NULL, false,
     "The folder that is the identity of this adapter's streams: one for each process, never copied."},
    {"tls.chain", SETTING_PATH, AT(tls_chain), NULL, 1, 0, NULL, false, "The system's certificate and what leads to the root, in PEM."},
    {"tls.key", SETTING_PATH, AT(tls_key), NULL, 1, 0, NULL, false, "Its private key, in PEM, readable by its owner alone."},
    {"tls.ca", SETTING_PATH, AT(tls_ca), NULL, 1, 0, NULL, false, "The authorities' certificates, in PEM."},
    {"tls.crl", SETTING_PATH, AT(tls_crl), NULL, 1, 0, NULL, false,
     "Their revocation lists to begin with; newer ones are fetched from the gateway and kept in the state folder."},
    {"sign_key", SETTING_PATH, AT(sign_key), NULL, 1, 0, NULL, false, "The key that signs what the system says."},
    {"seal_keys", SETTING_PATHS, AT(seal_keys), NULL, 1, 8, NULL, false, "The keys that open what was sealed to the system, the newest first."},
    {"registry.operator_keys", SETTING_LIST, AT(operator_keys), NULL, 1, 8, NULL, false, "Who may sign the registry: public keys of 64 hexadecimal digits."},
    {"outbox.in_memory", SETTING_BOOL, AT(memory_outbox), "false", 0, 0, NULL, false,
     "Whether what is sent in streams is kept in memory alone: each start then begins new streams."},
    {"outbox.max_bytes", SETTING_BYTES, AT(outbox_max_bytes), "1GiB", 1048576, 0, NULL, false, "What may wait in the outbox; beyond it, and beyond 262,144 messages whose end nobody has told, sending answers busy."},
    {"outbox.wait_state", SETTING_CHOICE, AT(wait_state), "auto", 0, 0, "auto|accepted|replicated", false,
     "The state of a message at which the outbox lets go of it; auto: replicated where gateways replicate, else accepted."},
    {"call_window", SETTING_COUNT, AT(call_window), "64", 1, 16384, NULL, false, "Requests that a caller waits for, handled at once."},
    {"stream_window", SETTING_COUNT, AT(stream_window), "256", 1, 16384, NULL, false, "Stream messages in flight from the gateway."},
};
const struct settings_table sdk_settings_table = {"Adapter settings", options, sizeof options / sizeof *options, sizeof(struct sdk_settings)};

struct loaded {
    ehis_config config; /* first */
    struct sdk_settings values;
    struct settings *owner;
};

int ehis_config_load(const char *file, ehis_config **out, char *why)
{
    struct loaded *l = calloc(1, sizeof *l);
    struct buf report;
    buf_init(&report, 8192);
    ehis_err err = l ? settings_load(&sdk_settings_table, file, &l->values, &l->owner, &report) : EHIS_E_NO_MEMORY;
    if (err == EHIS_OK) {
        const struct sdk_settings *v = &l->values;
        l->config = (ehis_config){.size = sizeof l->config,
                                  .system = v->system,
                                  .gateways = v->gateways.items,
                                  .gateway_count = v->gateways.count,
                                  .tls_chain_file = v->tls_chain,
                                  .tls_key_file = v->tls_key,
                                  .ca_file = v->tls_ca,
                                  .crl_file = v->tls_crl,
                                  .sign_key_file = v->sign_key,
                                  .seal_key_files = v->seal_keys.items,
                                  .seal_key_count = v->seal_keys.count,
                                  .operator_keys = v->operator_keys.items,
                                  .operator_key_count = v->operator_keys.count,
                                  .state_dir = v->state_dir,
                                  .memory_outbox = v->memory_outbox,
                                  .wait_state = strcmp(v->wait_state, "replicated") == 0 ? EHIS_REPLICATED : strcmp(v->wait_state, "accepted") == 0 ? EHIS_ACCEPTED : 0,
                                  .call_window = (uint32_t)v->call_window,
                                  .stream_window = (uint32_t)v->stream_window,
                                  .outbox_max_bytes = v->outbox_max_bytes};
        *out = &l->config;
    } else {
        struct span first = buf_span(&report); /* the first line: the place of the first error */
        const uint8_t *end = first.p ? memchr(first.p, '\n', first.len) : NULL;
        if (why && end)
            snprintf(why, EHIS_WHY_BYTES, "%.*s", (int)(end - first.p), (const char *)first.p);
        else if (why)
            snprintf(why, EHIS_WHY_BYTES, "%s: %s", file, ehis_err_row(err)->text);
        free(l);
    }
    buf_fini(&report);
    return (int)err;
}

void ehis_config_free(ehis_config *config)
{
    struct loaded *l = (struct loaded *)(void *)config;
    if (!l)
        return;
    settings_free(l->owner);
    free(l);
}
