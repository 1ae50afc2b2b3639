/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "tests/support/sim_client.h"
#include "pki/authority.h"
#include "pki/csr.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MUST(expr) EHIS_ASSERT((expr) == EHIS_OK)

static struct session *session(const struct sim_client *c) { return &c->e->sessions[c->at]; }
static const char *name(const struct sim_client *c) { return c->at ? SIM_GATEWAY_2 : SIM_GATEWAY; }

static const char *path(const struct sim_client *c, const char *name)
{
    static char out[8][128];
    static unsigned at;
    char *to = out[at++ % 8];
    snprintf(to, sizeof out[0], "%s/%s", c->dir, name);
    return to;
}

static void write_file(const struct sim_client *c, const char *name, const struct buf *b) { MUST(file_write(path(c, name), buf_span(b), 0600, NULL)); }

/* A certificate chain of a fresh key; its SPKI appended. */
static void issue(struct sim_client *c, struct pki_authority *a, const char *name, enum pki_kind kind, const char *id, struct pki_leaf *leaf)
{
    EVP_PKEY *key;
    struct buf csr, chain;
    char file[64];
    buf_init(&csr, 8192);
    buf_init(&chain, 65536);
    snprintf(file, sizeof file, "%s.key", name);
    MUST(pki_tlskey_make(path(c, file), &key, NULL));
    MUST(pki_csr_make(key, kind, span_str(id), &csr, NULL));
    MUST(pki_authority_issue(a, buf_span(&csr), kind, span_str(id), 30, c->clock.wall_ms, false, &chain, leaf, NULL));
    snprintf(file, sizeof file, "%s.crt", name);
    write_file(c, file, &chain);
    buf_fini(&csr);
    buf_fini(&chain);
    EVP_PKEY_free(key);
}

static void make_country(struct sim_client *c, const char *system)
{
    struct pki_authority *a;
    struct pki_leaf own, gateway, second;
    struct buf crl;
    uint8_t public_key[32];
    buf_init(&crl, 1 << 20);
    MUST(pki_authority_init(path(c, "ca"), span_str("AZ"), 3650, 1000, c->clock.wall_ms, NULL));
    MUST(pki_authority_open(path(c, "ca"), &a, NULL));
    issue(c, a, "own", PKI_SYSTEM, system, &own);
    issue(c, a, "gw0", PKI_GATEWAY, SIM_GATEWAY, &gateway);
    issue(c, a, "gw1", PKI_GATEWAY, SIM_GATEWAY_2, &second);
    MUST(pki_authority_crl(a, 30, c->clock.wall_ms, false, &crl, NULL));
    write_file(c, "crl.pem", &crl);
    pki_authority_close(a);
    buf_fini(&crl);
    MUST(pki_keyfile_make(path(c, "sign.key"), USE_SIGN, &c->clock.random, public_key, NULL));
    MUST(pki_keyfile_make(path(c, "seal.key"), USE_SEAL, &c->clock.random, public_key, NULL));

    c->registry = test_registry_new(7, c->clock.wall_ms);
    test_registry_gateway(c->registry, SIM_GATEWAY, span_of(gateway.spki, gateway.spki_len));
    test_registry_gateway(c->registry, SIM_GATEWAY_2, span_of(second.spki, second.spki_len));
    const char *systems[] = {SIM_POPULATION, SIM_TAX, SIM_OTHER};
    for (size_t i = 0; i < 3; i++)
        test_registry_system(c->registry, systems[i], strcmp(systems[i], system) == 0 ? span_of(own.spki, own.spki_len) : (struct span){0});
    test_registry_service(c->registry, SIM_PERSON, "GetPerson|!PersonChanged");
    struct test_rule rule = {.id = "R-1", .consumers = SIM_TAX, .operations = "GetPerson|PersonChanged", .purposes = "tax", .legal_bases = "Law 23"};
    test_registry_rule(c->registry, SIM_PERSON, &rule);
    c->document = test_registry_publish(c->registry);
}

static struct sim_client *tapped;
static ehis_err on_tap(void *arg, uint8_t type, struct span payload)
{
    struct sim_client *c = tapped;
    if (c->frame_count == c->frame_cap) {
        c->frame_cap = c->frame_cap ? c->frame_cap * 2 : 64;
        c->frames = realloc(c->frames, c->frame_cap * sizeof *c->frames);
        EHIS_ASSERT(c->frames);
    }
    struct sim_frame *f = &c->frames[c->frame_count++];
    *f = (struct sim_frame){type, malloc(payload.len + 1), payload.len, arg};
    EHIS_ASSERT(f->p);
    if (payload.len)
        memcpy(f->p, payload.p, payload.len);
    return EHIS_OK;
}

static void start(struct sim_client *c, const char *system, const ehis_config *more)
{
    const char *gateways[] = {"127.0.0.1:1", "127.0.0.1:2"}, *seal_keys[1];
    char operator_key[65];
    const char *operator_keys[] = {operator_key};
    hex_to_text(sign_key_public(test_registry_operator(c->registry)), 32, operator_key);
    ehis_config config = more ? *more : (ehis_config){0};
    seal_keys[0] = path(c, "seal.key");
    config.size = sizeof config;
    config.system = system;
    config.gateways = gateways;
    if (config.gateway_count == 0)
        config.gateway_count = 1;
    config.tls_chain_file = path(c, "own.crt");
    config.tls_key_file = path(c, "own.key");
    config.ca_file = path(c, "ca/ca.crt");
    config.crl_file = path(c, "crl.pem");
    config.sign_key_file = path(c, "sign.key");
    config.seal_key_files = seal_keys;
    config.seal_key_count = 1;
    config.operator_keys = operator_keys;
    config.operator_key_count = 1;
    config.state_dir = c->dir;
    config.dispatch = 1;
    struct ehis_why why = {""};
    ehis_err err = client_new(&config, sim_disk_disk(c->disk), &c->clock.clock, &c->clock.random, &c->e, &why);
    if (err != EHIS_OK)
        fprintf(stderr, "client_new: %s %s\n", ehis_err_name(err), why.text);
    MUST(err);
    MUST(work_start(c->e));
    /* The keys that the registry of the test knows. */
    const struct test_owner *own = test_registry_owner(c->registry, system);
    sign_key_free(c->e->sign_key);
    c->e->sign_key = own->sign;
    seal_key_free(c->e->seal_keys[0]);
    c->e->seal_keys[0] = own->seal;
    tapped = c;
    for (size_t i = 0; i < 2; i++)
        c->e->sessions[i].tap_arg = &c->e->sessions[i];
}

void sim_client_init(struct sim_client *c, const char *system, const ehis_config *more)
{
    struct ehis_why why;
    *c = (struct sim_client){.dir = "/tmp/ehis-client-XXXXXX"};
    MUST(crypto_init(&why));
    EHIS_ASSERT(mkdtemp(c->dir));
    sim_clock_init(&c->clock, 1);
    MUST(sim_disk_new(1, &c->disk));
    make_country(c, system);
    start(c, system, more);
}

static void drop_frames(struct sim_client *c)
{
    while (c->frame_count > 0)
        free(c->frames[--c->frame_count].p);
}

static void stop(struct sim_client *c)
{
    c->e->sign_key = NULL; /* the registry's */
    c->e->seal_key_count = 0;
    c->e->disk = NULL; /* the test's */
    EHIS_ASSERT(work_finish(c->e, 0));
    c->e->sessions[0].tap = c->e->sessions[1].tap = NULL;
    client_free(c->e);
    drop_frames(c);
}

void sim_client_restart(struct sim_client *c, bool is_crash)
{
    char system[IDENTIFIER_MAX_BYTES + 1];
    memcpy(system, c->e->system, sizeof system);
    ehis_config more = {.gateway_count = c->e->session_count};
    if (!is_crash) {
        MUST(inbox_close(c->e->inbox));
        MUST(store_commit(c->e->store));
    }
    stop(c);
    sim_disk_crash(c->disk, is_crash ? SIM_CRASH_LOSE_ALL : SIM_CRASH_KEEP_ALL);
    start(c, system, &more);
}

static int remove_one(const char *name, const struct stat *s, int type, struct FTW *ftw)
{
    (void)s;
    (void)type;
    (void)ftw;
    return remove(name);
}

void sim_client_fini(struct sim_client *c)
{
    stop(c);
    free(c->frames);
    registry_unref(c->document);
    test_registry_free(c->registry);
    sim_disk_free(c->disk);
    nftw(c->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void sim_client_turn(struct sim_client *c)
{
    for (int i = 0; i < 4; i++)
        client_turn(c->e);
}

ehis_err sim_client_frame(struct sim_client *c, uint8_t type, struct span payload)
{
    c->why.text[0] = 0;
    ehis_err err = session_frame(session(c), type, payload, &c->why);
    if (err != EHIS_OK) {
        session_ended(session(c));
        session(c)->tap = NULL;
    }
    sim_client_turn(c);
    return err;
}

void sim_client_pass_ms(struct sim_client *c, int64_t ms)
{
    for (; ms > 0; ms -= 100) {
        sim_clock_advance_ms(&c->clock, ms < 100 ? ms : 100);
        client_tick(c->e);
        sim_client_turn(c);
    }
}

static void hello(struct sim_client *c)
{
    struct hello h = {.version = 1, .name = span_str(name(c)), .max_frame_bytes = 1 << 20, .window_messages = 64, .window_bytes = 8 << 20,
                      .clock_ms = (uint64_t)c->clock.wall_ms, .registry_version = registry_version(c->document)};
    struct buf b;
    h.features[0] = span_str(FEATURE_REPLICATES);
    h.feature_count = c->is_replicating;
    memcpy(h.registry_hash, registry_hash(c->document)->b, 32);
    memcpy(h.crl_hash, pki_trust_crl_hash(c->e->trust)->b, 32);
    buf_init(&b, 4096);
    MUST(hello_write(&h, &b));
    MUST(sim_client_frame(c, FRAME_HELLO, buf_span(&b)));
    buf_fini(&b);
}

/* The gateway's identity as the handshake would have found it. */
static void meet_gateway(struct sim_client *c)
{
    struct buf pem;
    STACK_OF(X509) *chain;
    struct pki_peer *peer = &session(c)->peer, *known = &c->gateway[c->at];
    if (known->leaf.id[0]) {
        *peer = *known;
        return;
    }
    buf_init(&pem, 65536);
    MUST(file_read(path(c, c->at ? "gw1.crt" : "gw0.crt"), 65536, &pem, NULL));
    MUST(pki_chain_from_pem(buf_span(&pem), &chain, NULL));
    MUST(pki_trust_verify(c->e->trust, sk_X509_value(chain, 0), chain, PKI_GATEWAY, c->clock.wall_ms, peer, NULL));
    *known = *peer;
    pki_chain_free(chain);
    buf_fini(&pem);
}

static void send_part(struct sim_client *c, uint64_t have_version, ehis_err *err)
{
    struct buf part;
    buf_init(&part, 1 << 20);
    MUST(registry_part(c->document, span_str(c->e->system), have_version, &part, NULL));
    *err = sim_client_frame(c, FRAME_REGISTRY, buf_span(&part));
    buf_fini(&part);
}

void sim_client_connect(struct sim_client *c)
{
    struct sim_frame f;
    struct registry_get get;
    struct buf b;
    ehis_err err;
    session(c)->tap = on_tap;
    meet_gateway(c);
    hello(c);
    if (sim_client_take(c, FRAME_REGISTRY_GET, &f)) {
        MUST(registry_get_read(span_of(f.p, f.len), &get, NULL));
        free(f.p);
        send_part(c, get.have_version, &err);
        MUST(err);
    }
    EHIS_ASSERT(sim_client_take(c, FRAME_READY, &f));
    free(f.p);
    struct ready_state state = {.has_streams = !c->is_without_streams};
    buf_init(&b, 64);
    MUST(ready_state_write(&state, &b));
    MUST(sim_client_frame(c, FRAME_READY_STATE, buf_span(&b)));
    buf_fini(&b);
    c->delivery[c->at] = 0;
}

void sim_client_disconnect(struct sim_client *c)
{
    struct sim_frame f;
    session_ended(session(c));
    session(c)->tap = NULL;
    for (unsigned type = 0; type < 256; type++)
        while (sim_client_take(c, (uint8_t)type, &f))
            free(f.p);
    sim_client_turn(c);
}

ehis_err sim_client_registry(struct sim_client *c)
{
    uint64_t had = registry_version(c->document);
    ehis_err err;
    registry_unref(c->document);
    c->document = test_registry_publish(c->registry);
    send_part(c, had, &err);
    return err;
}

bool sim_client_take(struct sim_client *c, uint8_t type, struct sim_frame *out)
{
    for (size_t i = 0; i < c->frame_count; i++)
        if (c->frames[i].type == type && c->frames[i].from == session(c)) {
            *out = c->frames[i];
            memmove(&c->frames[i], &c->frames[i + 1], (--c->frame_count - i) * sizeof *c->frames);
            return true;
        }
    return false;
}

size_t sim_client_count(const struct sim_client *c, uint8_t type)
{
    size_t n = 0;
    for (size_t i = 0; i < c->frame_count; i++)
        n += c->frames[i].type == type && c->frames[i].from == session(c);
    return n;
}

static const uint8_t topic_key[32] = {7, 7, 7};

/* Signs alone and writes. */
static void sign_one(struct sim_client *c, const char *from, struct span header, struct span sealed, struct buf *out, struct hash *digest)
{
    const struct test_owner *own = test_registry_owner(c->registry, from);
    struct envelope e = {.header = header, .sealed = sealed, .signature = {.algorithm = ALGORITHM_ED25519, .size = 1}};
    struct hash sealed_hash, leaf;
    struct tree t;
    hash_span(sealed, &sealed_hash);
    hash_envelope(header, sealed.len, &sealed_hash, digest);
    leaf_envelope(digest, &leaf);
    tree_init(&t);
    MUST(sign_batch(own->sign, &t, &leaf, 1, e.signature.signature));
    memcpy(e.signature.key_id, sign_key_id(own->sign)->b, 32);
    buf_clear(out);
    MUST(envelope_write(&e, out));
    tree_fini(&t);
}

ehis_err sim_keys(struct sim_client *c, const char *signer, const char *service, const char *event, const uint8_t epoch[16], const char *to)
{
    struct envelope_header h = {.kind = KIND_KEY, .sender = span_str(SIM_POPULATION), .recipient = span_str(service), .operation = span_str(event),
                                .created_ms = (uint64_t)c->clock.wall_ms, .expires_ms = (uint64_t)c->clock.wall_ms + 3600000,
                                .registry_version = registry_version(c->document), .registry_hash = span_of(registry_hash(c->document)->b, 32)};
    struct seal_binding b = {.kind = KIND_KEY, .sender = h.sender, .recipient = h.recipient};
    struct seal_message_key key;
    struct seal_context *context;
    const struct registry_key *sealing;
    struct buf header, wraps, envelope, frame;
    struct hash digest;
    uint8_t wrapped[72];
    buf_init(&header, 8192);
    buf_init(&wraps, 8192);
    buf_init(&envelope, 65536);
    buf_init(&frame, 65536);
    uuid7_make(h.exchange_id, c->clock.wall_ms, &c->clock.random);
    memcpy(b.exchange_id, h.exchange_id, 16);
    h.seal.epoch = span_of(epoch, 16);
    MUST(envelope_header_write(&h, &header));
    MUST(registry_sealing_key(c->document, span_str(to), c->clock.wall_ms, &sealing));
    MUST(seal_context_new(sealing->public_key.p, c->clock.wall_ms, &c->clock.random, &context));
    MUST(seal_context_derive(context, c->clock.wall_ms, &b, &key));
    seal_wrap_key(&key, buf_span(&header), topic_key, &c->clock.random, wrapped);
    struct key_wrap w = {span_of(sealing->id.b, 32), span_of(seal_context_ephemeral(context), 32), span_of(key.commitment.b, 32), span_of(wrapped, 72)};
    MUST(key_wraps_put(&w, &wraps));
    sign_one(c, signer, buf_span(&header), buf_span(&wraps), &envelope, &digest);
    MUST(keys_put(buf_span(&envelope), &frame));
    ehis_err err = sim_client_frame(c, FRAME_KEYS, buf_span(&frame));
    seal_context_free(context);
    buf_fini(&header);
    buf_fini(&wraps);
    buf_fini(&envelope);
    buf_fini(&frame);
    return err;
}

void sim_envelope(struct sim_client *c, const char *from, struct envelope_header *h, const char *body, struct buf *out, struct hash *digest)
{
    static const uint8_t nothing[16];
    static uint8_t ephemeral[32], key_id[32], commitment[32], hash[32];
    struct seal_message_key key;
    struct buf header, sealed;
    int64_t now = c->clock.wall_ms;
    buf_init(&header, 16384);
    buf_init(&sealed, 1 << 20);
    if (memcmp(h->exchange_id, nothing, 16) == 0)
        uuid7_make(h->exchange_id, now, &c->clock.random);
    if (!h->sender.len)
        h->sender = span_str(from);
    if (!h->created_ms)
        h->created_ms = (uint64_t)now;
    if (!h->expires_ms)
        h->expires_ms = h->created_ms + 30000;
    if (!h->registry_version) {
        h->registry_version = registry_version(c->document);
        memcpy(hash, registry_hash(c->document)->b, 32);
        h->registry_hash = span_of(hash, 32);
    }
    struct seal_binding b = {.kind = (uint8_t)h->kind, .sender = h->sender, .recipient = h->recipient};
    memcpy(b.exchange_id, h->exchange_id, 16);
    if (h->kind == KIND_EVENT) {
        seal_topic_derive(topic_key, &b, &key);
        memcpy(commitment, key.commitment.b, 32);
        h->seal.commitment = span_of(commitment, 32);
    } else if (!h->seal.recipient_key_id.len) {
        struct seal_context *context;
        const struct registry_key *to;
        MUST(registry_sealing_key(c->document, identifier_prefix(h->recipient, IDENTIFIER_SYSTEM), now, &to));
        MUST(seal_context_new(to->public_key.p, now, &c->clock.random, &context));
        MUST(seal_context_derive(context, now, &b, &key));
        memcpy(ephemeral, seal_context_ephemeral(context), 32);
        memcpy(key_id, to->id.b, 32);
        memcpy(commitment, key.commitment.b, 32);
        h->seal = (struct envelope_seal){.recipient_key_id = span_of(key_id, 32), .ephemeral = span_of(ephemeral, 32), .commitment = span_of(commitment, 32)};
        seal_context_free(context);
    }
    MUST(envelope_header_write(h, &header));
    MUST(seal_close(&key, buf_span(&header), h->large.root.len ? span_of(body, LARGE_BODY_BYTES) : span_str(body), &c->clock.random, &sealed));
    sign_one(c, from, buf_span(&header), buf_span(&sealed), out, digest);
    buf_fini(&header);
    buf_fini(&sealed);
}

ehis_err sim_deliver(struct sim_client *c, struct span envelope, uint64_t version, int64_t accepted_ms)
{
    struct deliver d = {.delivery = ++c->delivery[c->at], .accepted_ms = (uint64_t)accepted_ms, .registry_version = version, .attempt = 1, .envelope = envelope};
    struct buf b;
    buf_init(&b, 2 << 20);
    MUST(deliver_write_head(&d, &b));
    MUST(buf_put_span(&b, envelope));
    ehis_err err = sim_client_frame(c, FRAME_DELIVER, buf_span(&b));
    buf_fini(&b);
    return err;
}

ehis_err sim_receipt(struct sim_client *c, const struct hash *digest, const char *recipient, uint8_t state, uint32_t code)
{
    const struct test_owner *gateway = test_registry_owner(c->registry, name(c));
    struct batch_signature s = {.algorithm = ALGORITHM_ED25519, .size = 1};
    struct receipt r = {.recipient = span_str(recipient), .state = state, .code = code, .time_ms = (uint64_t)c->clock.wall_ms};
    struct hash leaf;
    struct tree t;
    struct buf item, frame;
    memcpy(r.digest, digest->b, 32);
    leaf_receipt(digest, span_str(c->e->system), r.recipient, state, code, r.time_ms, span_str(name(c)), &leaf);
    tree_init(&t);
    MUST(sign_batch(gateway->sign, &t, &leaf, 1, s.signature));
    memcpy(s.key_id, sign_key_id(gateway->sign)->b, 32);
    buf_init(&item, 4096);
    buf_init(&frame, 8192);
    MUST(receipt_write(&r, &item));
    MUST(batch_begin(&s, &frame));
    MUST(batch_put(buf_span(&item), &frame));
    ehis_err err = sim_client_frame(c, FRAME_RECEIPTS, buf_span(&frame));
    tree_fini(&t);
    buf_fini(&item);
    buf_fini(&frame);
    return err;
}

void sim_read_submit(const struct sim_frame *f, struct envelope *e, struct envelope_header *h, struct hash *digest)
{
    struct hash sealed;
    MUST(envelope_read(span_of(f->p, f->len), e, NULL));
    MUST(envelope_header_read(e->header, h, NULL));
    hash_span(e->sealed, &sealed);
    hash_envelope(e->header, e->sealed.len, &sealed, digest);
}
