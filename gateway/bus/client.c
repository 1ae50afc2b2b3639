/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/bus/cluster.h"
#include "pki/keyfile.h"
#include <librdkafka/rdkafka.h>

/* librdkafka would take a port of its own where there is none, and another for one that is too high. */
static bool is_address(const char *text)
{
    const char *colon = strrchr(text, ':');
    const bool is_bracketed = *text == '[' && colon && colon[-1] == ']';
    uint64_t port;
    return colon && colon > text && (is_bracketed || strchr(text, ':') == colon) && !text[strcspn(text, ",/ ")] && decimal_from_text(span_str(colon + 1), 65535, &port) == EHIS_OK && port > 0;
}

ehis_err bus_kafka_options_check(const struct bus_kafka_options *o, struct ehis_why *why)
{
    const struct { const char *name; bool is_given; } needed[] = {
        {"brokers", o->brokers.count > 0}, {"ca", *o->ca != '\0'}, {"certificate", *o->certificate != '\0'}, {"key", *o->key != '\0'}};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!needed[i].is_given)
            return ehis_fail(why, EHIS_E_BUS_OPTIONS, "bus.kafka.%s is not given", needed[i].name);
    for (size_t i = 0; i < o->brokers.count; i++)
        if (!is_address(o->brokers.items[i]))
            return ehis_fail(why, EHIS_E_BUS_OPTIONS, "bus.kafka.brokers: %s is not host:port or [host]:port", o->brokers.items[i]);
    return bus_prefix_check(o->prefix, why);
}

ehis_err bus_kafka_key_check(const struct bus_kafka_options *o, struct ehis_why *why)
{
    EVP_PKEY *key;
    EHIS_TRY(pki_tlskey_load(o->key, &key, why));
    EVP_PKEY_free(key);
    return EHIS_OK;
}

static ehis_err join_brokers(const struct settings_list *l, struct buf *out)
{
    for (size_t i = 0; i < l->count; i++)
        EHIS_TRY(buf_printf(out, "%s%s", i ? "," : "", l->items[i]));
    return buf_put(out, "", 1);
}

ehis_err bus_kafka_conf(const struct bus_kafka_options *o, const char *client_id, struct rd_kafka_conf_s **out, struct ehis_why *why)
{
    EHIS_TRY(bus_kafka_options_check(o, why));
    char text[256];
    struct buf brokers;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    buf_init(&brokers, 64 * 1024);
    ehis_err err = join_brokers(&o->brokers, &brokers);
    const char *const rows[][2] = {
        {"bootstrap.servers", err == EHIS_OK ? (const char *)buf_span(&brokers).p : ""},
        {"client.id", client_id},
        {"security.protocol", "ssl"},
        {"ssl.ca.location", o->ca}, /* alone: the system's bundle would cost 1 MiB a handle, and trust the world */
        {"ssl.certificate.location", o->certificate},
        {"ssl.key.location", o->key},
        {"ssl.endpoint.identification.algorithm", "https"},
        {"enable.ssl.certificate.verification", "true"},
        {"socket.nagle.disable", "true"}, /* on by default before 2.10.0: stalls of 40 ms (librdkafka #4986) */
        {"socket.keepalive.enable", "true"},
        {"reconnect.backoff.ms", "100"},
        {"reconnect.backoff.max.ms", "2000"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows && err == EHIS_OK; i++)
        if (rd_kafka_conf_set(conf, rows[i][0], rows[i][1], text, sizeof text) != RD_KAFKA_CONF_OK)
            err = ehis_fail(why, EHIS_E_BUS_CLIENT, "%s: %s", rows[i][0], text);
    buf_fini(&brokers);
    if (err == EHIS_OK)
        *out = conf;
    else
        rd_kafka_conf_destroy(conf);
    return err;
}
