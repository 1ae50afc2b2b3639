/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A link against peers that do not keep to the rules. */
#include "tests/unit/proto/link/link_rig.h"
#include "proto/wire/frame.h"
#include <malloc.h>
#include <unistd.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/core_names.h>

static uint8_t bytes[2 * 1024 * 1024];

static void expect_end(struct end *e, enum link_end end, ehis_err err, int ms)
{
    run_until(e->is_ended, ms);
    assert_string_equal(link_end_name(e->end), link_end_name(end));
    assert_int_equal(e->err, err);
}

/* Reads until TLS says how it ended; notes the type of the last frame if all fits. */
static bool was_closed_in_order(struct raw *r, uint8_t *last_type)
{
    uint8_t in[4096];
    size_t len = 0;
    for (int64_t until = now_ms() + 3000; now_ms() < until; rig_turn()) {
        int n = raw_read(r, in + len, sizeof in - len);
        if (n > 0) {
            len += (size_t)n;
        } else if (SSL_get_error(r->ssl, n) != SSL_ERROR_WANT_READ) {
            struct frame f;
            size_t used = 1, need;
            for (struct span s = span_of(in, len); used && frame_read(s, sizeof in, &f, &used, &need) == EHIS_OK; s.p += used, s.len -= used)
                if (used)
                    *last_type = f.type;
            return SSL_get_error(r->ssl, n) == SSL_ERROR_ZERO_RETURN;
        }
    }
    return false;
}

static void a_frame_cut_at_each_byte_is_a_truncation(void **state)
{
    (void)state;
    size_t whole = raw_frame(bytes, TYPE_DATA, 12);
    for (int in_order = 0; in_order < 2; in_order++) {
        for (size_t n = 0; n <= whole; n++) {
            struct end server = {0};
            struct raw r;
            raw_open_trusted(&r, &server, rig.client_ctx);
            raw_write(&r, bytes, n);
            if (in_order)
                SSL_shutdown(r.ssl);
            raw_close(&r);
            bool is_clean = in_order && (n == 0 || n == whole);
            expect_end(&server, is_clean ? LINK_END_PEER : LINK_END_TRUNCATED, is_clean ? EHIS_OK : EHIS_E_LINK_TRUNCATED, 10000);
            assert_int_equal(server.frames, n == whole ? 2 : 1);
            end_fini(&server);
        }
    }
}

static void a_dripped_frame_hits_the_deadline_of_its_first_byte(void **state)
{
    (void)state;
    struct end server = {.says_error = true};
    struct raw r;
    rig.limits.frame_ms = 150;
    raw_open_trusted(&r, &server, rig.client_ctx);
    size_t n = raw_frame(bytes, TYPE_DATA, 1000);
    int64_t start = now_ms();
    for (size_t i = 0; i < n && !server.is_faulted; i++) {
        raw_write(&r, bytes + i, 1);
        for (int64_t until = now_ms() + 10; now_ms() < until;)
            rig_turn();
    }
    assert_true(server.is_faulted);
    assert_true(now_ms() - start >= 140 && now_ms() - start < 1000);
    uint8_t last_type = 0;
    assert_true(was_closed_in_order(&r, &last_type));
    assert_int_equal(last_type, TYPE_ERROR);
    raw_close(&r);
    expect_end(&server, LINK_END_FRAME_TIMEOUT, EHIS_E_LINK_TIMEOUT, 10000);
    end_fini(&server);
}

static void dripped_frames_that_are_in_time_are_taken(void **state)
{
    (void)state;
    struct end server = {0};
    struct raw r;
    rig.limits.frame_ms = 1000;
    raw_open_trusted(&r, &server, rig.client_ctx);
    size_t n = raw_frame(bytes, TYPE_DATA, 30);
    for (size_t i = 0; i < n; i++) {
        raw_write(&r, bytes + i, 1);
        rig_turn();
    }
    run_until(server.frames == 2, 10000);
    raw_close(&r);
    end_fini(&server);
}

static void a_frame_over_the_bound_is_refused_by_its_head_and_one_at_the_bound_is_taken(void **state)
{
    (void)state;
    for (int over = 0; over < 2; over++) {
        struct end server = {.says_error = true};
        struct raw r;
        rig.limits.max_frame_bytes = 100000;
        raw_open_trusted(&r, &server, rig.client_ctx);
        size_t n = raw_frame(bytes, TYPE_DATA, rig.limits.max_frame_bytes - 1 + (size_t)over);
        raw_write(&r, bytes, over ? FRAME_HEAD_BYTES : n);
        if (over) {
            uint8_t last_type = 0;
            assert_true(was_closed_in_order(&r, &last_type));
            assert_int_equal(last_type, TYPE_ERROR);
        } else {
            run_until(server.frames == 2, 10000);
        }
        raw_close(&r);
        expect_end(&server, over ? LINK_END_FRAME : LINK_END_TRUNCATED, over ? EHIS_E_FRAME_TOO_LARGE : EHIS_E_LINK_TRUNCATED, 10000);
        end_fini(&server);
    }
}

static void a_frame_without_a_type_is_refused(void **state)
{
    (void)state;
    struct end server = {0};
    struct raw r;
    raw_open_trusted(&r, &server, rig.client_ctx);
    raw_write(&r, "\0\0\0\0\0", 5);
    uint8_t last_type;
    assert_true(was_closed_in_order(&r, &last_type));
    raw_close(&r);
    expect_end(&server, LINK_END_FRAME, EHIS_E_FRAME_EMPTY, 10000);
    end_fini(&server);
}

static void the_first_frame_has_a_bound_of_its_own(void **state)
{
    (void)state;
    for (int over = 0; over < 2; over++) {
        struct end server = {.is_distrusting = true};
        struct raw r;
        raw_open(&r, &server, rig.client_ctx);
        assert_true(raw_shake(&r));
        raw_write(&r, bytes, raw_frame(bytes, TYPE_HELLO, 4096 - 1 + (size_t)over));
        if (over) {
            expect_end(&server, LINK_END_FRAME, EHIS_E_FRAME_TOO_LARGE, 40000);
        } else {
            run_until(server.frames == 1, 10000);
            assert_int_equal(server.last_len, 4095);
        }
        raw_close(&r);
        end_fini(&server);
    }
}

static void an_untrusted_peer_cannot_make_the_link_hold_more_than_96_kib(void **state)
{
    (void)state;
    struct end server = {.is_distrusting = true};
    struct raw r;
    raw_open(&r, &server, rig.client_ctx);
    struct mallinfo2 before = mallinfo2(); /* the link is there; counted below from before it on, without its own struct */
    assert_true(raw_shake(&r));
    SSL_set_mode(r.ssl, SSL_MODE_RELEASE_BUFFERS);
    raw_write(&r, bytes, raw_frame(bytes, TYPE_HELLO, 4095) - 1);
    raw_write(&r, bytes, 0);
    for (int i = 0; i < 20; i++)
        rig_turn();
    struct mallinfo2 after = mallinfo2();
    if (after.uordblks) { /* the raw client's share is in it */
        print_message("untrusted link and raw client: %zu bytes\n", after.uordblks - before.uordblks);
        assert_true(after.uordblks - before.uordblks < 2 * 96 * 1024);
    }
    raw_close(&r);
    end_fini(&server);
}

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

static void silence_in_the_handshake_and_before_the_first_frame_has_a_deadline(void **state)
{
    (void)state;
    struct end server = {0}, second = {0};
    struct raw r;
    rig.limits.handshake_ms = 100;
    rig.limits.first_frame_ms = 100;
    raw_open(&r, &server, rig.client_ctx);
    int64_t start = now_ms();
    expect_end(&server, LINK_END_HANDSHAKE_TIMEOUT, EHIS_E_LINK_TIMEOUT, 10000);
    assert_true(now_ms() - start >= 90);
    raw_close(&r);
    end_fini(&server);
    raw_open(&r, &second, rig.client_ctx);
    assert_true(raw_shake(&r));
    uint8_t ping[16];
    size_t n = raw_frame(ping, TYPE_DATA, 0);
    second.is_distrusting = true;
    for (int64_t until = now_ms() + 1000; !second.is_faulted && now_ms() < until;) { /* frames alone do not make it trusted */
        raw_write(&r, ping, n);
        rig_turn();
    }
    assert_true(second.is_faulted);
    raw_close(&r);
    expect_end(&second, LINK_END_FIRST_FRAME_TIMEOUT, EHIS_E_LINK_TIMEOUT, 10000);
    end_fini(&second);
}

static void a_peer_that_does_not_read_hits_the_bound_and_the_drain_deadline(void **state)
{
    (void)state;
    struct end server = {0};
    struct raw r;
    rig.limits.drain_ms = 300;
    rig.limits.output_max_bytes = 256 * 1024;
    raw_open_trusted(&r, &server, rig.client_ctx);
    struct span part = span_of(bytes, 10000);
    bool was_full = false;
    int64_t start = now_ms(), full_at = 0;
    while (!server.is_ended && now_ms() - start < 5000) { /* the kernel takes some megabytes first */
        ehis_err err = EHIS_OK;
        while (server.link && err == EHIS_OK) {
            size_t before = link_output_bytes(server.link);
            err = link_send(server.link, TYPE_DATA, &part, 1);
            assert_true(link_output_bytes(server.link) <= rig.limits.output_max_bytes);
            if (err == EHIS_OK)
                full_at = now_ms();
            else
                assert_int_equal(link_output_bytes(server.link), before);
        }
        was_full = was_full || err == EHIS_E_LINK_FULL;
        rig_turn();
    }
    assert_true(was_full);
    expect_end(&server, LINK_END_DRAIN_TIMEOUT, EHIS_E_LINK_TIMEOUT, 0);
    assert_true(now_ms() - full_at <= 1000);
    raw_close(&r);
    end_fini(&server);
}

static void a_peer_that_reads_by_drops_hits_the_drain_deadline_too_and_so_does_a_close(void **state)
{
    (void)state;
    for (int is_closing = 0; is_closing < 2; is_closing++) {
        struct end server = {0};
        struct raw r;
        static uint8_t drop[16384];
        rig.limits.drain_ms = 300;
        rig.limits.output_max_bytes = 16 * 1024 * 1024;
        raw_open_trusted(&r, &server, rig.client_ctx);
        for (int i = 0; i < 7; i++)
            end_send(&server, TYPE_DATA, bytes, sizeof bytes - 1);
        if (is_closing)
            link_close(server.link);
        int64_t start = now_ms();
        while (!server.is_ended && now_ms() - start < 3000) {
            raw_read(&r, drop, sizeof drop);
            rig_turn();
        }
        expect_end(&server, LINK_END_DRAIN_TIMEOUT, EHIS_E_LINK_TIMEOUT, 1000);
        raw_close(&r);
        end_fini(&server);
    }
}

static void a_silent_peer_hits_the_ping_timeout(void **state)
{
    (void)state;
    struct end server = {0};
    struct raw r;
    rig.limits.ping_every_ms = 30;
    rig.limits.ping_timeout_ms = 120;
    raw_open_trusted(&r, &server, rig.client_ctx);
    int64_t start = now_ms();
    expect_end(&server, LINK_END_PING_TIMEOUT, EHIS_E_LINK_TIMEOUT, 10000);
    assert_true(now_ms() - start >= 100);
    uint8_t in[256];
    int n = raw_read(&r, in, sizeof in);
    assert_true(n > FRAME_HEAD_BYTES && in[4] == TYPE_PING);
    raw_close(&r);
    end_fini(&server);
}

static void a_ping_is_answered_with_its_token_and_a_bad_one_ends_the_link(void **state)
{
    (void)state;
    struct end server = {.says_error = true};
    struct raw r;
    uint8_t in[256];
    int n = -1;
    raw_open_trusted(&r, &server, rig.client_ctx);
    raw_write(&r, "\0\0\0\4\2\x08\xac\x02", 8);
    for (int i = 0; i < 100 && n <= 0; i++, rig_turn())
        n = raw_read(&r, in, sizeof in);
    assert_true(n > 8);
    assert_int_equal(in[4], TYPE_PONG);
    assert_memory_equal(in + 5, "\x08\xac\x02\x10", 4);
    raw_write(&r, "\0\0\0\4\2\x1a\xac\x02", 8);
    uint8_t last_type = 0;
    assert_true(was_closed_in_order(&r, &last_type));
    assert_int_equal(last_type, TYPE_ERROR);
    raw_close(&r);
    expect_end(&server, LINK_END_PROTOCOL, EHIS_E_SCAN_UNKNOWN_FIELD, 10000);
    end_fini(&server);
}

static void a_ping_flood_without_reading_ends_the_link(void **state)
{
    (void)state;
    struct end server = {0};
    struct raw r;
    rig.limits.output_max_bytes = 64 * 1024;
    rig.limits.ping_every_ms = 100000;
    raw_open_trusted(&r, &server, rig.client_ctx);
    for (size_t i = 0; i < 16000; i += 8)
        memcpy(bytes + i, "\0\0\0\4\2\x08\xac\x02", 8);
    for (int i = 0; i < 3000 && !server.is_ended; i++)
        raw_write(&r, bytes, 16000);
    expect_end(&server, LINK_END_OUTPUT_FULL, EHIS_E_LINK_FULL, 30000);
    raw_close(&r);
    end_fini(&server);
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

static void answer_at_length(struct end *e, uint8_t type, struct span payload)
{
    (void)payload;
    if (type == TYPE_DATA)
        end_send(e, TYPE_DATA, bytes, 200000);
}

static void writing_to_a_peer_that_is_gone_raises_no_signal(void **state)
{
    (void)state;
    struct end server = {.on_frame = answer_at_length};
    struct raw r;
    raw_open_trusted(&r, &server, rig.client_ctx);
    raw_write(&r, bytes, raw_frame(bytes, TYPE_DATA, 10));
    raw_close(&r); /* SIGPIPE has its default: it would end this program */
    expect_end(&server, LINK_END_TRUNCATED, EHIS_E_LINK_TRUNCATED, 10000);
    assert_int_equal(server.frames, 2);
    end_fini(&server);
}

static void answer(struct end *e, uint8_t type, struct span payload)
{
    if (type == TYPE_DATA)
        end_send(e, TYPE_DATA, payload.p, payload.len);
}

/* While another fills its connection as fast as it can, an answer is a few turns away. */
static void a_flooding_link_does_not_starve_another(void **state)
{
    (void)state;
    struct end flooded = {0}, server = {.on_frame = answer}, client = {0};
    struct raw r;
    rig.limits.turn_bytes = 8192;
    raw_open_trusted(&r, &flooded, rig.client_ctx);
    rig_trusted_pair(&server, &client);
    size_t n = raw_frame(bytes, TYPE_DATA, 50), all = n;
    while (all + n <= sizeof bytes) {
        memcpy(bytes + all, bytes, n);
        all += n;
    }
    all = all / n * n;
    size_t at = 0, worst = 0;
    for (size_t calls = 0; calls < 200; calls++) {
        size_t turns = 0, frames = client.frames;
        end_send(&client, TYPE_DATA, "?", 1);
        for (; client.frames == frames && turns < 1000; turns++) {
            for (int put = 1; put > 0;) { /* keep the kernel's buffer full */
                put = SSL_write(r.ssl, bytes + at, (int)(all - at > 16384 ? 16384 : all - at));
                at = put > 0 ? (at + (size_t)put) % all : at;
            }
            size_t before = flooded.bytes;
            loop_run_once(rig.loop, false);
            assert_true(flooded.bytes - before <= 2 * (rig.limits.turn_bytes + 16384)); /* from the descriptor and from what TLS holds */
        }
        worst = turns > worst ? turns : worst;
    }
    print_message("an answer beside a flood of %zu frames: at most %zu turns\n", flooded.frames, worst);
    assert_true(worst <= 8);
    assert_true(flooded.frames > 1000);
    raw_close(&r);
    end_fini(&flooded);
    end_fini(&client);
    end_fini(&server);
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_start, rig_stop)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_frame_cut_at_each_byte_is_a_truncation),
        T(a_dripped_frame_hits_the_deadline_of_its_first_byte),
        T(dripped_frames_that_are_in_time_are_taken),
        T(a_frame_over_the_bound_is_refused_by_its_head_and_one_at_the_bound_is_taken),
        T(a_frame_without_a_type_is_refused),
        T(the_first_frame_has_a_bound_of_its_own),
        T(an_untrusted_peer_cannot_make_the_link_hold_more_than_96_kib),
        T(a_server_that_cannot_judge_says_that_it_is_not_the_peer),
        T(a_peer_without_certificate_or_of_another_authority_does_not_come_in),
        T(tls_1_2_is_refused),
        T(what_is_not_tls_ends_as_a_failed_handshake),
        T(silence_in_the_handshake_and_before_the_first_frame_has_a_deadline),
        T(a_peer_that_does_not_read_hits_the_bound_and_the_drain_deadline),
        T(a_peer_that_reads_by_drops_hits_the_drain_deadline_too_and_so_does_a_close),
        T(a_silent_peer_hits_the_ping_timeout),
        T(a_ping_is_answered_with_its_token_and_a_bad_one_ends_the_link),
        T(a_ping_flood_without_reading_ends_the_link),
        T(key_updates_have_a_budget_between_frames),
        T(empty_records_have_a_budget_between_frames),
        T(a_changed_record_ends_the_link),
        T(writing_to_a_peer_that_is_gone_raises_no_signal),
        T(a_flooding_link_does_not_starve_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
