/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The gateway's settings: one option table (base/settings.h), which also gives --check, --print, --sample and the reference page. */
#pragma once
#include "gateway/bus/cluster.h"

struct gateway_options {
    const char *name; /* "AZ/gw1" */
    struct settings_list listen;
    const char *tls_chain, *tls_key, *ca;
    struct settings_list crls;
    const char *sign_key;
    const char *registry;
    struct settings_list operator_keys;
    const char *journal_dir;
    uint64_t segment_bytes, segment_count_max, group_max_bytes, journal_reserve_bytes;
    const char *bus_kind;
    struct bus_kafka_options kafka;
    uint64_t frame_max_bytes, output_max_bytes;
    uint64_t sessions_max, sessions_per_system, half_open_max, half_open_per_source;
    uint64_t window_messages, window_bytes;
    uint64_t handshake_ms, first_frame_ms, frame_ms, drain_output_ms, ping_every_ms, ping_timeout_ms;
    uint64_t stored_messages_max, stored_bytes_max, streams_max, calls_max, known_calls_max, subscriptions_max, attempts_max;
    uint64_t stop_ms;
    const char *admin_socket;
    const char *log_level;
};
extern const struct settings_table gateway_options_table;
