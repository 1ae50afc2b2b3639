/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A link against peers that do not keep to the rules of frames, and do not read, write or answer in time. (Of TLS: link_hostile_tls_test.c.) */
#include "tests/unit/proto/link/link_rig.h"
#include "proto/wire/frame.h"
#include <malloc.h>
#include <unistd.h>

static uint8_t bytes[2 * 1024 * 1024];

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

static void silence_in_the_handshake_and_before_the_first_frame_has_a_deadline(void **state)
{
    (void)state;
    struct end server = {0}, second = {0};
    struct raw r;
    rig.limits.handshake_ms = 100;
    rig.limits.first_frame_ms = 100;
    int64_t start = now_ms();
    raw_open(&r, &server, rig.client_ctx);
    expect_end(&server, LINK_END_HANDSHAKE_TIMEOUT, EHIS_E_LINK_TIMEOUT, 10000);
    assert_true(now_ms() - start >= 90);
    raw_close(&r);
    end_fini(&server);
    rig.limits.handshake_ms = 5000;
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
    int64_t start = now_ms();
    raw_open_trusted(&r, &server, rig.client_ctx);
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
        T(silence_in_the_handshake_and_before_the_first_frame_has_a_deadline),
        T(a_peer_that_does_not_read_hits_the_bound_and_the_drain_deadline),
        T(a_peer_that_reads_by_drops_hits_the_drain_deadline_too_and_so_does_a_close),
        T(a_silent_peer_hits_the_ping_timeout),
        T(a_ping_is_answered_with_its_token_and_a_bad_one_ends_the_link),
        T(a_ping_flood_without_reading_ends_the_link),
        T(writing_to_a_peer_that_is_gone_raises_no_signal),
        T(a_flooding_link_does_not_starve_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
