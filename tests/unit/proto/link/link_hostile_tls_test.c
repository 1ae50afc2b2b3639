/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A link against peers that do not keep to the rules of TLS, or are not whom they should be. */
#include "tests/unit/proto/link/link_rig.h"
#include <sys/socket.h>
#include <unistd.h>
#include <openssl/kdf.h>
#include <openssl/core_names.h>

static uint8_t bytes[64];

static int cannot_judge(X509_STORE_CTX *ctx, void *arg)
{
    (void)arg;
    X509_STORE_CTX_set_error(ctx, X509_V_ERR_STORE_LOOKUP);
    return 0;
}

static void a_server_that_cannot_judge_says_that_it_is_not_the_peer(void **state)
{
    (void)state;
    struct end server = {0}, client = {0};
    SSL_CTX_set_cert_verify_callback(rig.server_ctx, cannot_judge, NULL);
    rig_pair(&server, &client);
    expect_end(&server, LINK_END_HANDSHAKE, EHIS_E_LINK_TLS, 10000);
    expect_end(&client, LINK_END_HANDSHAKE, EHIS_E_LINK_PEER_UNABLE, 10000);
    end_fini(&server);
    end_fini(&client);
    SSL_CTX_set_cert_verify_callback(rig.server_ctx, NULL, NULL);
}

static void a_peer_without_certificate_or_of_another_authority_does_not_come_in(void **state)
{
    (void)state;
    struct test_ca other;
    test_ca_init(&other, "root");
    SSL_CTX *contexts[] = {test_ca_context(&rig.ca, NULL, false), test_ca_context(&other, "ehis:AZ/GOV/TAX/office", false)};
    for (size_t i = 0; i < 2; i++) {
        struct end server = {0}, client = {0};
        SSL_CTX *own = rig.client_ctx;
        SSL_CTX_set_verify(contexts[i], SSL_VERIFY_PEER, NULL);
        X509_STORE_add_cert(SSL_CTX_get_cert_store(contexts[i]), rig.ca.cert);
        rig.client_ctx = contexts[i];
        rig_pair(&server, &client);
        expect_end(&server, LINK_END_HANDSHAKE, i == 0 ? EHIS_E_PEER_ANONYMOUS : EHIS_E_LINK_TLS, 10000);
        expect_end(&client, LINK_END_HANDSHAKE, EHIS_E_LINK_TLS, 10000); /* heard by alert */
        assert_int_equal(server.peers, 0);
        assert_true(strlen(server.detail) && strlen(client.detail));
        rig.client_ctx = own;
        SSL_CTX_free(contexts[i]);
        end_fini(&client);
        end_fini(&server);
    }
    test_ca_fini(&other);
}

static void tls_1_2_is_refused(void **state)
{
    (void)state;
    struct end server = {0};
    struct raw r;
    SSL_CTX *ctx = test_ca_context(&rig.ca, "ehis:AZ/GOV/TAX/office", false);
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_min_proto_version(rig.server_ctx, TLS1_2_VERSION); /* a context that would allow it */
    raw_open(&r, &server, ctx);
    assert_false(raw_shake(&r));
    expect_end(&server, LINK_END_HANDSHAKE, EHIS_E_TLS_VERSION, 10000);
    raw_close(&r);
    SSL_CTX_free(ctx);
    end_fini(&server);
}

static void what_is_not_tls_ends_as_a_failed_handshake(void **state)
{
    (void)state;
    struct end server = {0}, gone = {0};
    struct raw r;
    raw_open(&r, &server, rig.client_ctx);
    assert_int_equal(write(r.fd, "GET / HTTP/1.1\r\nHost: gateway\r\n\r\n", 33), 33);
    expect_end(&server, LINK_END_HANDSHAKE, EHIS_E_LINK_TLS, 10000);
    raw_close(&r);
    end_fini(&server);
    raw_open(&r, &gone, rig.client_ctx);
    raw_close(&r);
    expect_end(&gone, LINK_END_HANDSHAKE, EHIS_E_LINK_TLS, 10000);
    end_fini(&gone);
}

static void key_updates_have_a_budget_between_frames(void **state)
{
    (void)state;
    struct end server = {0};
    struct raw r;
    raw_open_trusted(&r, &server, rig.client_ctx);
    size_t n = raw_frame(bytes, TYPE_DATA, 10);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 32; i++) {
            assert_int_equal(SSL_key_update(r.ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
            assert_int_equal(SSL_do_handshake(r.ssl), 1);
        }
        raw_write(&r, bytes, n);
        run_until(server.frames == (size_t)round + 2, 10000);
    }
    for (int i = 0; i < 33; i++) {
        SSL_key_update(r.ssl, SSL_KEY_UPDATE_REQUESTED);
        SSL_do_handshake(r.ssl);
    }
    raw_write(&r, bytes, n);
    run_until(server.is_faulted, 10000);
    assert_int_equal(server.frames, 4);
    raw_close(&r);
    expect_end(&server, LINK_END_RENEGOTIATION, EHIS_E_LINK_KEY_UPDATES, 30000);
    end_fini(&server);
}

static uint8_t traffic_secret[32]; /* of the raw client, TLS_AES_128_GCM_SHA256 */

static void on_keylog(const SSL *ssl, const char *line)
{
    const char *label = "CLIENT_TRAFFIC_SECRET_0 ";
    (void)ssl;
    if (strncmp(line, label, strlen(label)) == 0)
        assert_int_equal(hex_from_text(span_str(line + strlen(label) + 65), traffic_secret, 32), EHIS_OK);
}

/* HKDF-Expand-Label of RFC 8446 7.1 with an empty context. */
static void expand_label(const char *label, uint8_t *out, size_t n)
{
    uint8_t info[32] = {(uint8_t)(n >> 8), (uint8_t)n, (uint8_t)(6 + strlen(label))};
    size_t len = 3 + (size_t)snprintf((char *)info + 3, sizeof info - 3, "tls13 %s", label);
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    char digest[] = "SHA256";
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode), OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
                                 OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, traffic_secret, 32),
                                 OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, len + 1), OSSL_PARAM_construct_end()};
    assert_int_equal(EVP_KDF_derive(ctx, out, n, params), 1); /* the empty context's length byte is the NUL */
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
}

/* A record of our own making, as OpenSSL never sends one: any content length, none too. */
static size_t make_record(uint8_t *out, uint64_t number, const uint8_t *content, size_t n)
{
    uint8_t key[16], iv[12], plain[64];
    int len;
    expand_label("key", key, sizeof key);
    expand_label("iv", iv, sizeof iv);
    for (int i = 0; i < 8; i++)
        iv[4 + i] ^= (uint8_t)(number >> (56 - 8 * i));
    memcpy(plain, content, n);
    plain[n] = 0x17;
    memcpy(out, "\x17\x03\x03", 4);
    out[4] = (uint8_t)(n + 17);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    assert_int_equal(EVP_EncryptInit_ex2(ctx, EVP_aes_128_gcm(), key, iv, NULL), 1);
    EVP_EncryptUpdate(ctx, NULL, &len, out, 5);
    EVP_EncryptUpdate(ctx, out + 5, &len, plain, (int)n + 1);
    EVP_EncryptFinal_ex(ctx, out + 5 + len, &len);
    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, out + 5 + n + 1);
    EVP_CIPHER_CTX_free(ctx);
    return 5 + n + 17;
}

/* A frame of 40 bytes, a byte a record, with so many empty records before each. */
static void send_between_empty_records(struct raw *r, struct end *server, uint64_t *number, size_t empty)
{
    uint8_t frame[64], record[128];
    size_t n = raw_frame(frame, TYPE_DATA, 35);
    for (size_t i = 0; i < n && !server->is_faulted && !server->is_ended; i++) {
        for (size_t k = 0; k < empty; k++) {
            size_t len = make_record(record, (*number)++, frame, 0);
            assert_int_equal(send(r->fd, record, len, MSG_NOSIGNAL), len);
        }
        size_t len = make_record(record, (*number)++, frame + i, 1);
        assert_int_equal(send(r->fd, record, len, MSG_NOSIGNAL), len);
        rig_turn();
    }
}

static void empty_records_have_a_budget_between_frames(void **state)
{
    (void)state;
    SSL_CTX *ctx = test_ca_context(&rig.ca, "ehis:AZ/GOV/TAX/office", false);
    SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set_keylog_callback(ctx, on_keylog);
    for (size_t empty = 1; empty <= 40; empty += empty == 1 ? 1 : 38) {
        struct end server = {0};
        struct raw r;
        uint64_t number = 0;
        raw_open(&r, &server, ctx);
        assert_true(raw_shake(&r));
        send_between_empty_records(&r, &server, &number, 0);
        run_until(server.frames == 1, 10000);
        send_between_empty_records(&r, &server, &number, empty); /* 40, 80, and 40 in a row */
        if (empty == 1) {
            run_until(server.frames == 2, 10000);
            send_between_empty_records(&r, &server, &number, empty);
            run_until(server.frames == 3, 10000); /* counted from the last frame */
        } else {
            raw_close(&r);
            expect_end(&server, LINK_END_RENEGOTIATION, EHIS_E_LINK_KEY_UPDATES, 30000);
            assert_int_equal(server.frames, 1);
        }
        if (empty == 1)
            raw_close(&r);
        end_fini(&server);
    }
    SSL_CTX_free(ctx);
}

static void a_changed_record_ends_the_link(void **state)
{
    (void)state;
    struct end server = {0};
    struct raw r;
    raw_open_trusted(&r, &server, rig.client_ctx);
    assert_int_equal(write(r.fd, "\x17\x03\x03\0\x20This record was not made by TLS!", 37), 37);
    expect_end(&server, LINK_END_TLS, EHIS_E_LINK_TLS, 10000);
    raw_close(&r);
    end_fini(&server);
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_start, rig_stop)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_server_that_cannot_judge_says_that_it_is_not_the_peer),
        T(a_peer_without_certificate_or_of_another_authority_does_not_come_in),
        T(tls_1_2_is_refused),
        T(what_is_not_tls_ends_as_a_failed_handshake),
        T(key_updates_have_a_budget_between_frames),
        T(empty_records_have_a_budget_between_frames),
        T(a_changed_record_ends_the_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
