/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The settings that every adapter has in common: one table gives ehis_config_load and the reference page. */
#pragma once
#include "base/settings.h"

struct sdk_settings {
    const char *system, *tls_chain, *tls_key, *tls_ca, *tls_crl, *sign_key, *state_dir, *wait_state;
    struct settings_list gateways, seal_keys, operator_keys;
    bool memory_outbox;
    uint64_t call_window, stream_window, outbox_max_bytes;
};
extern const struct settings_table sdk_settings_table;
