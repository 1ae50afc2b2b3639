/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/bus/cluster_priv.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define MINUTE_MS 60000ull
#define DAY_MS (24 * 60 * MINUTE_MS)
#define KEPT_MS (15 * DAY_MS) /* the longest life of an envelope and a day (SPEC 4.4) */
#define MESSAGE_MAX_BYTES "1048588" /* Kafka's own bound; larger ones only make every buffer of a broker larger */

bool topic_is_single(enum bus_topic_kind kind)
{
    return kind != TOPIC_EVENT && kind != TOPIC_AUDIT && kind != TOPIC_DLQ && kind != TOPIC_BLOB && kind != TOPIC_CONTROL_REGISTRY;
}

int topic_partitions(const struct bus_kafka_options *o, enum bus_topic_kind kind)
{
    if (kind == TOPIC_CONTROL_REGISTRY)
        return BUS_NUDGE_PARTITIONS;
    return topic_is_single(kind) ? 1 : (int)o->partitions;
}

int topic_replication(const struct bus_kafka_options *o)
{
    return o->is_pilot ? 1 : (int)o->replication;
}

static uint64_t retention_ms(const struct bus_kafka_options *o, enum bus_topic_kind kind)
{
    switch (kind) {
    case TOPIC_CALL: return 15 * MINUTE_MS; /* a caller waits five at most */
    case TOPIC_EVENT: return o->event_retention_ms;
    case TOPIC_AUDIT: return o->audit_retention_ms;
    case TOPIC_DLQ: return 90 * DAY_MS;
    default: return KEPT_MS;
    }
}

size_t topic_configs(const struct bus_kafka_options *o, enum bus_topic_kind kind, struct topic_config out[TOPIC_CONFIGS_MAX])
{
    bool is_compact = kind >= TOPIC_CONTROL_LEASE;
    size_t n = 0;
    out[n++] = (struct topic_config){"min.insync.replicas", "", true, EHIS_E_BUS_MIN_ISR};
    snprintf(out[0].value, sizeof out[0].value, "%d", o->is_pilot ? 1 : 2);
    out[n++] = (struct topic_config){"unclean.leader.election.enable", "false", false, EHIS_E_BUS_UNCLEAN};
    out[n++] = (struct topic_config){"message.timestamp.type", "LogAppendTime", false, EHIS_E_BUS_TIMESTAMP};
    out[n++] = (struct topic_config){"max.message.bytes", MESSAGE_MAX_BYTES, true, EHIS_E_BUS_MESSAGE_BYTES};
    /* A broker packs what came in any other way again, and only then asks how large it is: a record unpacks to 22 times max.message.bytes at most. As the
     * producer packed it (Kafka's default), 200 KB of gzip are 200 MB in every gateway that reads them. */
    out[n++] = (struct topic_config){"compression.type", BUS_CODEC, false, EHIS_E_BUS_COMPRESSION};
    out[n++] = (struct topic_config){"cleanup.policy", "", false, EHIS_E_BUS_CLEANUP};
    snprintf(out[n - 1].value, sizeof out[0].value, "%s", is_compact ? "compact" : "delete");
    if (is_compact) { /* what is read whole at every start stays short: closed each ten minutes, and compacted then. Not a rule: only made so */
        out[n++] = (struct topic_config){"segment.ms", "600000", false, EHIS_OK};
        return n;
    }
    out[n++] = (struct topic_config){"retention.ms", "", true, EHIS_E_BUS_RETENTION};
    snprintf(out[n - 1].value, sizeof out[0].value, "%" PRIu64, retention_ms(o, kind));
    out[n++] = (struct topic_config){"retention.bytes", "-1", false, EHIS_E_BUS_RETENTION};
    return n;
}

static ehis_err want(struct cluster *c, enum bus_topic_kind kind, struct span owner, struct span event)
{
    if (c->topic_count == c->topic_cap) {
        size_t cap = c->topic_cap ? 2 * c->topic_cap : 64, bytes;
        struct topic_wanted *more = size_mul(cap, sizeof *more, &bytes) ? realloc(c->topics, bytes) : NULL;
        if (!more)
            return EHIS_E_NO_MEMORY;
        c->topics = more;
        c->topic_cap = cap;
    }
    struct topic_wanted *t = &c->topics[c->topic_count++];
    *t = (struct topic_wanted){.kind = kind};
    bus_topic_name(c->options->prefix, kind, owner, event, t->name);
    return EHIS_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct topic_wanted *)a)->name, ((const struct topic_wanted *)b)->name);
}

ehis_err cluster_want(struct cluster *c, const struct registry *r)
{
    for (enum bus_topic_kind kind = TOPIC_AUDIT; kind <= BUS_TOPIC_KINDS; kind++)
        EHIS_TRY(want(c, kind, span_str(""), span_str("")));
    for (size_t i = 0; i < registry_owner_count(r); i++) {
        const struct registry_owner *o = registry_owner_at(r, i);
        if (!o->is_gateway)
            EHIS_TRY(want(c, TOPIC_CALL, o->id, span_str("")));
        EHIS_TRY(want(c, o->is_gateway ? TOPIC_REPLY : TOPIC_INBOX, o->id, span_str("")));
    }
    for (size_t i = 0; i < registry_service_count(r); i++) {
        const struct registry_service *s = registry_service_at(r, i);
        for (size_t j = 0; j < s->operation_count; j++)
            for (enum bus_topic_kind kind = TOPIC_KEY; kind <= TOPIC_EVENT && s->operations[j].is_event; kind++)
                EHIS_TRY(want(c, kind, s->id, s->operations[j].name));
    }
    qsort(c->topics, c->topic_count, sizeof *c->topics, by_name);
    return EHIS_OK;
}

struct topic_wanted *cluster_topic(const struct cluster *c, const char *name)
{
    struct topic_wanted key;
    return (size_t)snprintf(key.name, sizeof key.name, "%s", name) < sizeof key.name
               ? bsearch(&key, c->topics, c->topic_count, sizeof *c->topics, by_name)
               : NULL;
}
