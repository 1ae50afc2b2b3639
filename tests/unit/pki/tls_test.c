/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Handshakes in memory between contexts of pki_tls_new and hostile ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/disk.h"
#include "tests/support/forge.h"
#include "pki/pem.h"
#include "pki/tls.h"

static struct forge_pki p;
static char dir[] = "/tmp/ehis-tls-XXXXXX";
static int64_t now_ms = FORGE_NOW_MS;
static int64_t wall(void *ctx)
{
    (void)ctx;
    return now_ms;
}
static const struct clock test_clock = {.wall_ms = wall, .mono_us = wall};

struct party {
    char chain[128], key[128];
    X509 *cert;
    EVP_PKEY *private_key;
};
static struct party server, client;

static void write_pem(const char *path, unsigned mode, const char *label, struct span der, struct span more)
{
    struct buf text;
    buf_init(&text, 65536);
    assert_int_equal(pki_pem_put(&text, label, der), EHIS_OK);
    if (more.len)
        assert_int_equal(pki_pem_put(&text, label, more), EHIS_OK);
    assert_int_equal(file_write(path, buf_span(&text), mode, NULL), EHIS_OK);
    buf_fini(&text);
}

/* Writes chain and key of this certificate. */
static void party_init(struct party *a, const char *name, const struct forge *f)
{
    struct forge g = *f;
    struct buf der, mid;
    uint8_t *key = NULL;
    buf_init(&der, 65536);
    buf_init(&mid, 65536);
    a->private_key = g.key = forge_key();
    a->cert = forge_cert(&g);
    snprintf(a->chain, sizeof a->chain, "%s/%s.crt", dir, name);
    snprintf(a->key, sizeof a->key, "%s/%s.key", dir, name);
    forge_put_der(&der, a->cert);
    forge_put_der(&mid, p.mid);
    write_pem(a->chain, 0644, "CERTIFICATE", buf_span(&der), buf_span(&mid));
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(a->private_key);
    int n = i2d_PKCS8_PRIV_KEY_INFO(info, &key);
    write_pem(a->key, 0600, "PRIVATE KEY", span_of(key, (size_t)n), span_of(NULL, 0));
    PKCS8_PRIV_KEY_INFO_free(info);
    OPENSSL_free(key);
    buf_fini(&der);
    buf_fini(&mid);
}

static void party_fini(struct party *a)
{
    X509_free(a->cert);
    EVP_PKEY_free(a->private_key);
    unlink(a->chain);
    unlink(a->key);
}

static struct forge gateway_forge(void)
{
    struct forge f = forge_leaf(p.mid, p.mid_key);
    f.names = "URI:ehis-gw:AZ/gw1";
    f.extended = "serverAuth";
    f.serial = "1001";
    return f;
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir) || pki_init(NULL) != EHIS_OK)
        return -1;
    forge_pki_init(&p, NULL);
    struct forge s = gateway_forge(), c = forge_leaf(p.mid, p.mid_key);
    party_init(&server, "server", &s);
    party_init(&client, "client", &c);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    party_fini(&server);
    party_fini(&client);
    forge_pki_fini(&p);
    return rmdir(dir);
}

static ehis_err context(const struct party *a, enum pki_kind kind, struct pki_trust *t, SSL_CTX **out, struct pki_peer *own)
{
    struct pki_tls_options o = {.own_kind = kind, .chain_file = a->chain, .key_file = a->key, .trust = t, .clock = &test_clock};
    return pki_tls_new(&o, out, own, NULL);
}

static SSL_CTX *must_context(const struct party *a, enum pki_kind kind, struct pki_trust *t)
{
    SSL_CTX *ctx = NULL;
    struct ehis_why why = {""};
    struct pki_tls_options o = {.own_kind = kind, .chain_file = a->chain, .key_file = a->key, .trust = t, .clock = &test_clock};
    ehis_err err = pki_tls_new(&o, &ctx, NULL, &why);
    if (err != EHIS_OK)
        fprintf(stderr, "%s %s\n", ehis_err_name(err), why.text);
    assert_int_equal(err, EHIS_OK);
    return ctx;
}

/* A context that a hostile peer would make: no checks, any certificate. */
static SSL_CTX *hostile(bool is_server, const struct party *a)
{
    SSL_CTX *ctx = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    assert_non_null(ctx);
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    if (a) {
        assert_int_equal(SSL_CTX_use_certificate(ctx, a->cert), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(ctx, a->private_key), 1);
        assert_int_equal(SSL_CTX_add1_chain_cert(ctx, p.mid), 1);
    }
    return ctx;
}

struct pair {
    SSL *s, *c;
    int s_result, c_result; /* 1 done, 0 still waiting, -1 failed */
    size_t s_sent;
};

static void pair_run(struct pair *x)
{
    x->s_result = x->c_result = 0;
    for (int turn = 0; turn < 50; turn++) {
        ERR_clear_error();
        if (x->c_result == 0) {
            int r = SSL_do_handshake(x->c);
            x->c_result = r == 1 ? 1 : SSL_get_error(x->c, r) == SSL_ERROR_WANT_READ ? 0 : -1;
        }
        ERR_clear_error();
        if (x->s_result == 0) {
            int r = SSL_do_handshake(x->s);
            x->s_result = r == 1 ? 1 : SSL_get_error(x->s, r) == SSL_ERROR_WANT_READ ? 0 : -1;
        }
    }
    ERR_clear_error();
}

static void pair_init(struct pair *x, SSL_CTX *server_ctx, SSL_CTX *client_ctx)
{
    BIO *a, *b;
    memset(x, 0, sizeof *x);
    x->s = SSL_new(server_ctx);
    x->c = SSL_new(client_ctx);
    assert_int_equal(BIO_new_bio_pair(&a, 1 << 18, &b, 1 << 18), 1);
    SSL_set_bio(x->s, a, a);
    SSL_set_bio(x->c, b, b);
    SSL_set_accept_state(x->s);
    SSL_set_connect_state(x->c);
}

static void pair_fini(struct pair *x)
{
    SSL_free(x->s);
    SSL_free(x->c);
}

static void both_ends_learn_who_the_other_is(void **state)
{
    (void)state;
    struct pair x;
    struct pki_peer own, peer;
    SSL_CTX *sc = must_context(&server, PKI_GATEWAY, p.trust), *cc;
    assert_int_equal(context(&client, PKI_SYSTEM, p.trust, &cc, &own), EHIS_OK);
    assert_string_equal(own.leaf.id, "AZ/GOV/STS/tax");
    pair_init(&x, sc, cc);
    pair_run(&x);
    assert_int_equal(x.s_result, 1);
    assert_int_equal(x.c_result, 1);
    assert_int_equal(pki_peer_check(x.s, now_ms, &peer, NULL), EHIS_OK);
    assert_string_equal(peer.leaf.id, "AZ/GOV/STS/tax");
    assert_int_equal(peer.leaf.kind, PKI_SYSTEM);
    assert_memory_equal(&peer.leaf.key_id, &own.leaf.key_id, sizeof own.leaf.key_id);
    assert_int_equal(pki_peer_check(x.c, now_ms, &peer, NULL), EHIS_OK);
    assert_string_equal(peer.leaf.id, "AZ/gw1");
    assert_int_equal(peer.leaf.kind, PKI_GATEWAY);
    assert_int_equal(pki_peer_check(x.c, now_ms, &peer, NULL), EHIS_E_PEER_ANONYMOUS); /* once a connection */
    assert_int_equal(pki_handshake_error(x.s, NULL), EHIS_OK);
    pair_fini(&x);
    SSL_CTX_free(sc);
    SSL_CTX_free(cc);
}

static void the_protocol_is_the_narrow_one(void **state)
{
    (void)state;
    struct pair x;
    SSL_CTX *sc = must_context(&server, PKI_GATEWAY, p.trust), *cc = must_context(&client, PKI_SYSTEM, p.trust);
    assert_int_equal(SSL_CTX_get_min_proto_version(sc), TLS1_3_VERSION);
    assert_int_equal(SSL_CTX_get_max_proto_version(cc), TLS1_3_VERSION);
    assert_int_equal(SSL_CTX_get_num_tickets(sc), 0);
    assert_int_equal(SSL_CTX_get_session_cache_mode(sc), SSL_SESS_CACHE_OFF);
    assert_int_equal(SSL_CTX_get_max_early_data(sc), 0);
    assert_int_equal(SSL_CTX_get_recv_max_early_data(sc), 0);
    assert_int_equal(SSL_CTX_get_security_level(sc), 2);
    assert_int_equal(SSL_CTX_get_max_cert_list(sc), 8192);
    assert_int_equal(SSL_CTX_get_verify_mode(sc), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT);
    assert_null(SSL_CTX_get_verify_callback(sc)); /* nothing that could turn a refusal round */
    assert_null(SSL_CTX_get_verify_callback(cc));
    assert_true(SSL_CTX_get_options(sc) & SSL_OP_NO_TICKET);
    assert_true(SSL_CTX_get_options(sc) & SSL_OP_NO_RENEGOTIATION);
    pair_init(&x, sc, cc);
    pair_run(&x);
    assert_int_equal(SSL_version(x.s), TLS1_3_VERSION);
    assert_int_equal(SSL_session_reused(x.s), 0);
    /* nothing follows the handshake: a ticket would */
    uint8_t byte;
    assert_int_equal(SSL_read(x.c, &byte, 1), -1);
    assert_int_equal(SSL_SESSION_is_resumable(SSL_get0_session(x.c)), 0);
    pair_fini(&x);
    SSL_CTX_free(sc);
    SSL_CTX_free(cc);
}

/* A hostile client against our server: both results and our error. */
static int against_server(SSL_CTX *hostile_client, struct pki_trust *t, ehis_err *err)
{
    struct pair x;
    SSL_CTX *sc = must_context(&server, PKI_GATEWAY, t);
    pair_init(&x, sc, hostile_client);
    pair_run(&x);
    *err = pki_handshake_error(x.s, NULL);
    int r = x.s_result;
    pair_fini(&x);
    SSL_CTX_free(sc);
    SSL_CTX_free(hostile_client);
    return r;
}

static void tls_1_2_is_refused(void **state)
{
    (void)state;
    ehis_err err;
    SSL_CTX *h = hostile(false, &client);
    SSL_CTX_set_max_proto_version(h, TLS1_2_VERSION);
    assert_int_equal(against_server(h, p.trust, &err), -1);
    struct pair x; /* and by our client */
    h = hostile(true, &server);
    SSL_CTX_set_max_proto_version(h, TLS1_2_VERSION);
    SSL_CTX *cc = must_context(&client, PKI_SYSTEM, p.trust);
    pair_init(&x, h, cc);
    pair_run(&x);
    assert_int_equal(x.c_result, -1);
    pair_fini(&x);
    SSL_CTX_free(h);
    SSL_CTX_free(cc);
}

static void groups_outside_the_list_are_refused(void **state)
{
    (void)state;
    ehis_err err;
    SSL_CTX *h = hostile(false, &client);
    assert_int_equal(SSL_CTX_set1_groups_list(h, "P-521:X448"), 1);
    assert_int_equal(against_server(h, p.trust, &err), -1);
}

static void a_peer_without_a_certificate_is_refused(void **state)
{
    (void)state;
    ehis_err err;
    assert_int_equal(against_server(hostile(false, NULL), p.trust, &err), -1);
    assert_int_equal(err, EHIS_OK); /* no certificate, no verdict on one */
}

static void bad_client_certificates_fail_the_handshake_with_their_code(void **state)
{
    (void)state;
    struct forge f = forge_leaf(p.mid, p.mid_key);
    struct {
        const char *names, *extended;
        int64_t until_ms;
        ehis_err err;
    } rows[] = {
        {"URI:ehis:AZ/GOV/STS/tax,URI:ehis:AZ/GOV/MIA/x", "clientAuth", f.until_ms, EHIS_E_CERT_NAME_SEVERAL},
        {NULL, "clientAuth", f.until_ms, EHIS_E_CERT_NAME_IN_CN},
        {"DNS:tax.example", "clientAuth", f.until_ms, EHIS_E_CERT_NAME_TYPE},
        {"URI:ehis:AZ/GOV/STS/tax", "serverAuth", f.until_ms, EHIS_E_CERT_EXTENDED_USAGE},
        {"URI:ehis-gw:AZ/gw1", "serverAuth", f.until_ms, EHIS_E_CERT_KIND},
        {"URI:ehis:AZ/GOV/STS/tax", "clientAuth", FORGE_NOW_MS - 1000, EHIS_E_CERT_EXPIRED},
        {"URI:ehis:AZ/GOV/STS/tax", "clientAuth", f.from_ms + 91 * FORGE_DAY_MS, EHIS_E_CERT_LIFETIME},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct party bad;
        ehis_err err;
        f.names = rows[i].names;
        f.extended = rows[i].extended;
        f.until_ms = rows[i].until_ms;
        party_init(&bad, "bad", &f);
        assert_int_equal(against_server(hostile(false, &bad), p.trust, &err), -1);
        assert_string_equal(ehis_err_name(err), ehis_err_name(rows[i].err));
        party_fini(&bad);
    }
}

static void a_system_that_poses_as_a_gateway_is_refused_by_the_client(void **state)
{
    (void)state;
    struct pair x;
    SSL_CTX *h = hostile(true, &client), *cc = must_context(&client, PKI_SYSTEM, p.trust);
    pair_init(&x, h, cc);
    pair_run(&x);
    assert_int_equal(x.c_result, -1);
    assert_int_equal(pki_handshake_error(x.c, NULL), EHIS_E_CERT_KIND);
    pair_fini(&x);
    SSL_CTX_free(h);
    SSL_CTX_free(cc);
}

static void revocation_and_stale_lists_fail_the_handshake(void **state)
{
    (void)state;
    struct pki_trust *newer;
    ehis_err err;
    forge_pki_lists(&p, client.cert, 6);
    assert_int_equal(pki_trust_new(buf_span(&p.ca), buf_span(&p.crls), now_ms, 0, p.trust, &newer, NULL), EHIS_OK);
    assert_int_equal(against_server(hostile(false, &client), newer, &err), -1);
    assert_int_equal(err, EHIS_E_CERT_REVOKED);
    pki_trust_unref(newer);
    forge_pki_lists(&p, NULL, 5);
    struct pair x; /* the list goes out of date while the contexts live */
    SSL_CTX *sc = must_context(&server, PKI_GATEWAY, p.trust), *h = hostile(false, &client);
    now_ms += 8 * FORGE_DAY_MS;
    pair_init(&x, sc, h);
    pair_run(&x);
    assert_int_equal(x.s_result, -1);
    assert_int_equal(pki_handshake_error(x.s, NULL), EHIS_E_CRL_EXPIRED);
    uint8_t byte;
    ERR_clear_error();
    assert_true(SSL_read(x.c, &byte, 1) <= 0);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_TLSV1_ALERT_INTERNAL_ERROR); /* not the peer's certificate: it cannot judge */
    ERR_clear_error();
    pair_fini(&x);
    SSL_CTX_free(sc);
    SSL_CTX_free(h);
    now_ms = FORGE_NOW_MS;
}

static void an_adapter_with_a_stale_list_connects_marked(void **state)
{
    (void)state;
    struct pki_trust *stale;
    struct pki_peer peer;
    struct pair x;
    now_ms += 8 * FORGE_DAY_MS;
    assert_int_equal(pki_trust_new(buf_span(&p.ca), buf_span(&p.crls), now_ms, PKI_TRUST_STALE_ALLOWED, NULL, &stale, NULL), EHIS_OK);
    SSL_CTX *h = hostile(true, &server), *cc = must_context(&client, PKI_SYSTEM, stale);
    pair_init(&x, h, cc);
    pair_run(&x);
    assert_int_equal(x.c_result, 1);
    assert_int_equal(pki_peer_check(x.c, now_ms, &peer, NULL), EHIS_OK);
    assert_true(peer.is_stale);
    pair_fini(&x);
    SSL_CTX_free(h);
    SSL_CTX_free(cc);
    pki_trust_unref(stale);
    now_ms = FORGE_NOW_MS;
}

static SSL_SESSION *kept;
static int on_session(SSL *s, SSL_SESSION *session)
{
    (void)s;
    SSL_SESSION_free(kept);
    kept = session;
    return 1;
}

static void a_session_is_never_resumed(void **state)
{
    (void)state;
    struct pair x;
    SSL_CTX *sc = must_context(&server, PKI_GATEWAY, p.trust), *h = hostile(false, &client);
    SSL_CTX_set_session_cache_mode(h, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(h, on_session);
    pair_init(&x, sc, h);
    pair_run(&x);
    assert_int_equal(x.s_result, 1);
    uint8_t byte;
    (void)SSL_read(x.c, &byte, 1);
    SSL_SESSION *session = SSL_get1_session(x.c);
    pair_fini(&x);
    assert_null(kept); /* no ticket came */
    pair_init(&x, sc, h);
    SSL_set_session(x.c, session); /* offered all the same */
    pair_run(&x);
    assert_int_equal(SSL_session_reused(x.s), 0);
    pair_fini(&x);
    SSL_SESSION_free(session);
    SSL_CTX_free(sc);
    SSL_CTX_free(h);
}

static void a_chain_over_8_kib_is_refused(void **state)
{
    (void)state;
    ehis_err err;
    SSL_CTX *h = hostile(false, &client);
    for (int i = 0; i < 20; i++)
        assert_int_equal(SSL_CTX_add1_chain_cert(h, p.mid), 1);
    assert_int_equal(against_server(h, p.trust, &err), -1);
}

static ehis_err pair(const char *chain, const char *key, const char *ca, struct pki_pair *out)
{
    *out = (struct pki_pair){.chain_file = chain, .key_file = key, .ca_file = ca};
    return pki_pair_load(out, now_ms, NULL);
}

static void a_pair_for_another_library_is_whole_in_force_and_of_the_authority(void **state)
{
    (void)state;
    char ca[160], none[160];
    struct buf root;
    struct pki_pair good, other;
    struct party expired;
    struct forge f = forge_leaf(p.mid, p.mid_key);
    f.until_ms = FORGE_NOW_MS - 1000;
    party_init(&expired, "expired", &f);
    snprintf(ca, sizeof ca, "%s/ca.crt", dir);
    snprintf(none, sizeof none, "%s/none", dir);
    buf_init(&root, 65536);
    forge_put_der(&root, p.root);
    write_pem(ca, 0644, "CERTIFICATE", buf_span(&root), span_of(NULL, 0));
    assert_int_equal(pair(client.chain, client.key, ca, &good), EHIS_OK);
    assert_true(good.not_after_ms > FORGE_NOW_MS);
    assert_int_equal(pair(client.chain, server.key, ca, &other), EHIS_E_KEY_MISMATCH);
    assert_memory_not_equal(&other.files, &good.files, HASH_BYTES);
    assert_int_equal(pair(expired.chain, expired.key, ca, &other), EHIS_E_CERT_EXPIRED);
    assert_true(other.not_after_ms < FORGE_NOW_MS);
    assert_int_equal(pair(client.chain, client.key, client.chain, &other), EHIS_E_CHAIN_UNTRUSTED);
    assert_int_equal(pair(client.chain, client.key, client.key, &other), EHIS_E_PEM_MALFORMED);
    assert_int_equal(pair(client.key, client.key, ca, &other), EHIS_E_PEM_MALFORMED);
    assert_int_equal(pair(none, client.key, ca, &other), EHIS_E_NOT_FOUND);
    assert_int_equal(chmod(client.key, 0640), 0);
    assert_int_equal(pair(client.chain, client.key, ca, &other), EHIS_E_PERMISSION);
    assert_int_equal(chmod(client.key, 0600), 0);
    unlink(ca);
    party_fini(&expired);
    buf_fini(&root);
}

static void a_context_is_not_made_with_what_peers_would_refuse(void **state)
{
    (void)state;
    SSL_CTX *ctx = NULL;
    struct party bad, mixed = client;
    struct forge f = forge_leaf(p.mid, p.mid_key);
    assert_int_equal(context(&client, PKI_GATEWAY, p.trust, &ctx, NULL), EHIS_E_CERT_KIND);
    memcpy(mixed.key, server.key, sizeof mixed.key);
    assert_int_equal(context(&mixed, PKI_SYSTEM, p.trust, &ctx, NULL), EHIS_E_KEY_MISMATCH);
    assert_int_equal(chmod(client.key, 0640), 0);
    assert_int_equal(context(&client, PKI_SYSTEM, p.trust, &ctx, NULL), EHIS_E_PERMISSION);
    assert_int_equal(chmod(client.key, 0600), 0);
    snprintf(mixed.key, sizeof mixed.key, "%s/none.key", dir);
    assert_int_equal(context(&mixed, PKI_SYSTEM, p.trust, &ctx, NULL), EHIS_E_NOT_FOUND);
    f.until_ms = FORGE_NOW_MS - 1000;
    party_init(&bad, "expired", &f);
    assert_int_equal(context(&bad, PKI_SYSTEM, p.trust, &ctx, NULL), EHIS_E_CERT_EXPIRED);
    party_fini(&bad);
    assert_null(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ends_learn_who_the_other_is),
        cmocka_unit_test(the_protocol_is_the_narrow_one),
        cmocka_unit_test(tls_1_2_is_refused),
        cmocka_unit_test(groups_outside_the_list_are_refused),
        cmocka_unit_test(a_peer_without_a_certificate_is_refused),
        cmocka_unit_test(bad_client_certificates_fail_the_handshake_with_their_code),
        cmocka_unit_test(a_system_that_poses_as_a_gateway_is_refused_by_the_client),
        cmocka_unit_test(revocation_and_stale_lists_fail_the_handshake),
        cmocka_unit_test(an_adapter_with_a_stale_list_connects_marked),
        cmocka_unit_test(a_session_is_never_resumed),
        cmocka_unit_test(a_chain_over_8_kib_is_refused),
        cmocka_unit_test(a_pair_for_another_library_is_whole_in_force_and_of_the_authority),
        cmocka_unit_test(a_context_is_not_made_with_what_peers_would_refuse),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
