/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* libehis in one thread, on a simulated clock and disk, without a socket: the test is the gateway, and everybody else. Aborts where the
 * preparation fails. One at a time. The country: gateways AZ/gw1 and AZ/gw2; systems population (offers .../person: GetPerson, and the event
 * PersonChanged), tax (may call it and receive its events for purpose "tax" and basis "Law 23"), other (may not). */
#pragma once
#include "adapters/sdk/ehis_priv.h"
#include "tests/support/sim_clock.h"
#include "tests/support/sim_disk.h"
#include "tests/support/test_registry.h"

#define SIM_POPULATION "AZ/GOV/MIA/population"
#define SIM_PERSON "AZ/GOV/MIA/population/person"
#define SIM_TAX "AZ/GOV/STS/tax"
#define SIM_OTHER "AZ/GOV/MOE/other"
#define SIM_GATEWAY "AZ/gw1"
#define SIM_GATEWAY_2 "AZ/gw2"

#define SIM_KEPT_MAX 16
struct sim_frame { uint8_t type; uint8_t *p; size_t len; const struct session *from; };
struct sim_client {
    struct sim_clock clock;
    struct sim_disk *disk;
    struct test_registry *registry;
    struct registry *document; /* the newest */
    struct ehis *e;
    unsigned at;       /* the gateway that the test is now: 0 or 1; 1 where two were configured */
    bool is_replicating, is_without_streams; /* what it says of itself */
    char dir[64];
    struct sim_frame *frames; /* that the client has sent, and the test has not taken */
    size_t frame_count, frame_cap;
    uint64_t delivery[2];
    ehis_incoming *got[SIM_KEPT_MAX]; /* of the application (sim_application.h) */
    ehis_receipt told[SIM_KEPT_MAX];
    size_t got_count, told_count;
    uint64_t opened_lowest;
    struct pki_peer gateway[2]; /* their identities, once met */
    struct ehis_why why; /* of the last frame that was refused */
};

void sim_client_init(struct sim_client *c, const char *system, const ehis_config *more /* windows, outbox, gateway_count; NULL */);
void sim_client_restart(struct sim_client *c, bool is_crash); /* a new process on the same folder, not connected */
void sim_client_fini(struct sim_client *c);
/* A frame from the gateway; then a turn. What connection_frame says; an error would have ended the session: then it has. */
ehis_err sim_client_frame(struct sim_client *c, uint8_t type, struct span payload);
void sim_client_turn(struct sim_client *c);
void sim_client_pass_ms(struct sim_client *c, int64_t ms); /* time, with a tick each 100 ms */
/* HELLO, registry, lists, READY. */
void sim_client_connect(struct sim_client *c);
void sim_client_disconnect(struct sim_client *c);
ehis_err sim_client_registry(struct sim_client *c); /* publishes a new version and sends it */
/* The oldest frame of this type to this gateway, taken out: free p. false: none. */
bool sim_client_take(struct sim_client *c, uint8_t type, struct sim_frame *out);
size_t sim_client_count(const struct sim_client *c, uint8_t type);

/* An envelope of another system, sealed to its recipient. What is 0 or empty in h is filled in as is right: exchange id, sender, times,
 * registry, seal. */
void sim_envelope(struct sim_client *c, const char *from, struct envelope_header *h, const char *body, struct buf *out, struct hash *digest);
/* KEYS with the topic key of this epoch, of population by its header, wrapped for one system: the key that sim_envelope seals events with. */
ehis_err sim_keys(struct sim_client *c, const char *signer, const char *service, const char *event, const uint8_t epoch[16], const char *to);
ehis_err sim_deliver(struct sim_client *c, struct span envelope, uint64_t registry_version, int64_t accepted_ms);
/* A receipt of the gateway, signed. */
ehis_err sim_receipt(struct sim_client *c, const struct hash *digest, const char *recipient, uint8_t state, uint32_t code);
/* What stands in a SUBMIT that was taken. */
void sim_read_submit(const struct sim_frame *f, struct envelope *e, struct envelope_header *h, struct hash *digest);
