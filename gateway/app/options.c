/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/app/options.h"

#define AT(field) offsetof(struct gateway_options, field)
#define KIB 1024u
#define MIB (1024u * 1024u)
#define GIB (1024ull * 1024u * 1024u)
#define HOUR_MS 3600000u

/* path, type, field, default, min, max, choices, reloadable, sentence */
static const struct settings_option options[] = {
    {"name", SETTING_TEXT, AT(name), NULL, 3, 129, NULL, false, "This gateway's identifier, INSTANCE/NAME, as in its certificate and in the registry."},
    {"listen", SETTING_LIST, AT(listen), "127.0.0.1:7400", 1, 8, NULL, false, "Addresses that systems connect to, host:port or [host]:port."},
    {"tls.chain", SETTING_PATH, AT(tls_chain), NULL, 1, 4096, NULL, true, "PEM file with this gateway's certificate and its intermediates."},
    {"tls.key", SETTING_PATH, AT(tls_key), NULL, 1, 4096, NULL, true, "PEM file with the certificate's private key, mode 0600."},
    {"tls.ca", SETTING_PATH, AT(ca), NULL, 1, 4096, NULL, true, "PEM file with the authorities that issue systems' certificates."},
    {"tls.crls", SETTING_PATHS, AT(crls), NULL, 1, 8, NULL, true, "PEM files with a current revocation list of every authority; without one nobody is let in."},
    {"sign_key", SETTING_PATH, AT(sign_key), NULL, 1, 4096, NULL, true, "Key file that signs receipts, mode 0600; its public key stands in the registry."},
    {"registry.file", SETTING_PATH, AT(registry), NULL, 1, 4096, NULL, true, "The signed registry document."},
    {"registry.operator_keys", SETTING_LIST, AT(operator_keys), NULL, 1, 8, NULL, true, "Public keys (64 hexadecimal digits) that may sign the registry."},
    {"journal.dir", SETTING_PATH, AT(journal_dir), NULL, 1, 4096, NULL, false, "Folder of the journal, locked while the gateway runs; put it on a disk of its own."},
    {"journal.segment_bytes", SETTING_BYTES, AT(segment_bytes), "64MiB", 1 * MIB, 1 * GIB, NULL, false, "Size of one pre-written segment."},
    {"journal.segments_max", SETTING_COUNT, AT(segment_count_max), "64", 3, 65536, NULL, false, "Live segments at most; beyond them senders are told BUSY."},
    {"journal.group_max_bytes", SETTING_BYTES, AT(group_max_bytes), "8MiB", 64 * KIB, 256 * MIB, NULL, false, "Largest group that is made durable at once; at most half a segment."},
    {"journal.reserve_bytes", SETTING_BYTES, AT(journal_reserve_bytes), "256MiB", 0, 1024 * GIB, NULL, false, "Free space of the volume below which no new segment is made."},
    {"bus.kind", SETTING_CHOICE, AT(bus_kind), "local", 0, 0, "local|kafka", false, "What carries messages: the journal of this one gateway, or Kafka between several."},
    {"bus.kafka.brokers", SETTING_LIST, AT(kafka.brokers), "", 1, 16, NULL, false, "Brokers to ask first, host:port."},
    {"bus.kafka.ca", SETTING_PATH, AT(kafka.ca), "", 1, 4096, NULL, true, "PEM file with the authority of the brokers' and of the gateways' certificates."},
    {"bus.kafka.certificate", SETTING_PATH, AT(kafka.certificate), "", 1, 4096, NULL, true, "PEM file with this gateway's certificate for the brokers."},
    {"bus.kafka.key", SETTING_PATH, AT(kafka.key), "", 1, 4096, NULL, true, "PEM file with that certificate's private key, mode 0600."},
    {"bus.kafka.prefix", SETTING_TEXT, AT(kafka.prefix), "", 1, BUS_PREFIX_MAX_BYTES, NULL, false, "Begins every topic's name where several installations share a cluster; a to z and 0 to 9."},
    {"bus.kafka.pilot", SETTING_BOOL, AT(kafka.is_pilot), "false", 0, 0, NULL, false, "One replica of everything: for trials, nothing is ever called replicated."},
    {"bus.kafka.replication", SETTING_COUNT, AT(kafka.replication), "3", 3, 9, NULL, false, "Replicas of every topic, unless bus.kafka.pilot."},
    {"bus.kafka.partitions", SETTING_COUNT, AT(kafka.partitions), "12", 1, 256, NULL, false, "Partitions of new event, audit, dlq and blob topics."},
    {"bus.kafka.event_retention", SETTING_DURATION, AT(kafka.event_retention_ms), "15d", 15 * 24 * HOUR_MS, 366ull * 24 * HOUR_MS, NULL, false, "Events are kept for at least this long."},
    {"bus.kafka.audit_retention", SETTING_DURATION, AT(kafka.audit_retention_ms), "365d", 15 * 24 * HOUR_MS, 36600ull * 24 * HOUR_MS, NULL, false, "Frames of the audit topic are kept for at least this long."},
    {"bus.kafka.check_every", SETTING_DURATION, AT(kafka.check_every_ms), "60s", 1000, HOUR_MS, NULL, true, "A running gateway looks this often whether the cluster is still safe."},
    {"limits.frame_max_bytes", SETTING_BYTES, AT(frame_max_bytes), "1MiB", 64 * KIB, 16 * MIB, NULL, false, "Largest frame, type and payload."},
    {"limits.output_max_bytes", SETTING_BYTES, AT(output_max_bytes), "4MiB", 64 * KIB, 256 * MIB, NULL, false, "Output that may wait for one session."},
    {"limits.sessions_max", SETTING_COUNT, AT(sessions_max), "10000", 1, 1000000, NULL, true, "Connections at most."},
    {"limits.sessions_per_system", SETTING_COUNT, AT(sessions_per_system), "16", 1, 1024, NULL, true, "Sessions of one system at most."},
    {"limits.half_open_max", SETTING_COUNT, AT(half_open_max), "2000", 1, 100000, NULL, true, "Connections that have not said HELLO yet, at most."},
    {"limits.half_open_per_source", SETTING_COUNT, AT(half_open_per_source), "64", 1, 100000, NULL, true, "The same from one network address."},
    {"limits.window_messages", SETTING_COUNT, AT(window_messages), "1024", 1, 65536, NULL, false, "Unanswered SUBMITs of one session at most."},
    {"limits.window_bytes", SETTING_BYTES, AT(window_bytes), "8MiB", 64 * KIB, 1 * GIB, NULL, false, "Their bytes at most."},
    {"limits.stored_messages_max", SETTING_COUNT, AT(stored_messages_max), "100000", 16, 10000000, NULL, true, "Messages of one system in streams that are unfinished or whose receipts are not settled, and those that wait for one as recipient, at most; of the latter no sender holds more than is free."},
    {"limits.stored_bytes_max", SETTING_BYTES, AT(stored_bytes_max), "256MiB", 1 * MIB, 1024 * GIB, NULL, true, "Sealed bytes at most of what is unfinished from one system, waiting calls included, and for one, shared likewise."},
    {"limits.streams_max", SETTING_COUNT, AT(streams_max), "256", 1, 65536, NULL, true, "Streams of one system at most."},
    {"limits.calls_max", SETTING_COUNT, AT(calls_max), "1024", 1, 65536, NULL, true, "Requests in flight that one system waits for, at most."},
    {"limits.known_calls_max", SETTING_COUNT, AT(known_calls_max), "100000", 16, 10000000, NULL, true, "Waiting calls of one system at most that are remembered for duplicates, each until 5 s after it expires, with some 700 bytes of memory; 100000 are 2,800 calls a second that live 30 s each. Also asynchronous requests whose answer is to come."},
    {"limits.subscriptions_max", SETTING_COUNT, AT(subscriptions_max), "256", 1, 65536, NULL, true, "Subscriptions of one system at most."},
    {"limits.attempts_max", SETTING_COUNT, AT(attempts_max), "5", 1, 100, NULL, true, "Deliveries of one stream message before it is dead-lettered."},
    {"deadlines.handshake", SETTING_DURATION, AT(handshake_ms), "10s", 100, 60000, NULL, true, "TLS handshake, from the connection on."},
    {"deadlines.first_frame", SETTING_DURATION, AT(first_frame_ms), "10s", 100, 60000, NULL, true, "First whole frame after the handshake."},
    {"deadlines.frame", SETTING_DURATION, AT(frame_ms), "30s", 100, 600000, NULL, true, "A whole frame, from its first byte."},
    {"deadlines.drain_output", SETTING_DURATION, AT(drain_output_ms), "30s", 100, 600000, NULL, true, "Output that a peer does not take."},
    {"deadlines.ping_every", SETTING_DURATION, AT(ping_every_ms), "5s", 100, 60000, NULL, true, "Pause after which a silent peer is asked."},
    {"deadlines.ping_timeout", SETTING_DURATION, AT(ping_timeout_ms), "15s", 200, 120000, NULL, true, "Silence after which a peer is taken for dead."},
    {"deadlines.stop", SETTING_DURATION, AT(stop_ms), "20s", 100, 1 * HOUR_MS, NULL, true, "Draining at SIGTERM takes at most this long."},
    {"admin.socket", SETTING_PATH, AT(admin_socket), "ehis-gateway.sock", 1, 100, NULL, false, "Unix socket for status and metrics, mode 0600."},
    {"log.level", SETTING_CHOICE, AT(log_level), "info", 0, 0, "debug|info|notice|warn|error", true, "Lowest level of log lines on standard error."},
};

const struct settings_table gateway_options_table = {
    .title = "ehis-gateway", .options = options, .count = sizeof options / sizeof *options, .struct_bytes = sizeof(struct gateway_options)};
