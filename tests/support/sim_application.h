/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The application above a simulated client: it keeps what its handlers were given, in the client's got and told. */
#pragma once
#include "tests/support/sim_client.h"

void sim_provider(struct sim_client *c); /* population, serving GetPerson by sim_on_message; connected */
void sim_consumer(struct sim_client *c); /* tax; connected */
size_t sim_handed(struct sim_client *c); /* turns, and runs the handlers; how many messages were given until now */
void sim_on_message(void *arg /* struct sim_client */, ehis_incoming *in);
void sim_on_receipt(void *arg /* struct sim_client */, const ehis_receipt *r);

struct sim_ended { int count, err; bool is_fault; char body[64]; }; /* a call */
void sim_on_done(void *arg /* struct sim_ended */, int err, const ehis_reply *reply, const char *why);
void sim_call(struct sim_client *c, struct sim_ended *x); /* GetPerson with the body "pin", for a permitted purpose */
ehis_message sim_message(const char *body);               /* the same */

/* A draft's on_made: kept, freed. */
void sim_on_kept(struct ehis *e, struct draft *d, ehis_err err, const struct ehis_why *why, struct span envelope);
/* From tax, in a stream. */
void sim_numbered(struct sim_client *c, const uint8_t stream[16], uint64_t number, const char *operation, struct buf *out);
/* The acknowledgement of this delivery among the frames that were not taken yet, which are dropped: its outcome and code; 0: none. */
uint32_t sim_ack_of(struct sim_client *c, uint64_t delivery, uint32_t *code);

/* Two gateways; the test is the first (c->at). Receipts into told; a provider serves. */
void sim_begin_two(struct sim_client *c, const char *system, bool is_replicating);
void sim_leave(struct sim_client *c, unsigned at); /* from now on the test is this one, and gone; */
void sim_come(struct sim_client *c, unsigned at);  /* there again */
void sim_send_one(struct sim_client *c);           /* in a stream, by tax */
/* Answers a STREAM_OPEN to the gateway that the test is; from where it goes on there, 0: there was none. Its lowest into opened_lowest. */
uint64_t sim_answer_open(struct sim_client *c, uint64_t expected, uint32_t code);
uint64_t sim_open_stream(struct sim_client *c, uint64_t expected); /* with code 0 */
/* The next SUBMIT to the gateway that the test is: its number (UINT64_MAX: none), digest, and, where wanted, its bytes. */
uint64_t sim_submitted(struct sim_client *c, struct hash *digest, struct sim_frame *bytes);
