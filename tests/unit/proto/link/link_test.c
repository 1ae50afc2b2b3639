/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Two links that keep to the rules. */
#include "tests/unit/proto/link/link_rig.h"
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

static uint8_t big[1024 * 1024];

static void frames_go_both_ways_and_hello_may_be_sent_from_the_verdict(void **state)
{
    (void)state;
    struct end server = {0}, client = {0};
    rig_trusted_pair(&server, &client);
    assert_int_equal(server.last_type, TYPE_HELLO);
    assert_memory_equal(server.last, "client", 6);
    assert_memory_equal(client.last, "server", 6);
    assert_int_equal(strncmp(link_peer_address(server.link), "127.0.0.1:", 10), 0);
    end_send(&server, TYPE_DATA, "", 0);
    run_until(client.frames == 2, 10000);
    assert_int_equal(client.last_len, 0);
    end_fini(&client);
    end_fini(&server);
}

static void frames_of_the_largest_size_arrive_whole_and_one_byte_more_is_not_sent(void **state)
{
    (void)state;
    struct end server = {0}, client = {0};
    rig_trusted_pair(&server, &client);
    link_set_send_max(client.link, sizeof big);
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(i * 31 + (i >> 9));
    for (int i = 0; i < 3; i++) {
        end_send(&client, TYPE_DATA, big, sizeof big - 1);
        end_send(&server, TYPE_DATA, big, sizeof big - 1);
    }
    struct span part = span_of(big, sizeof big);
    assert_int_equal(link_send(client.link, TYPE_DATA, &part, 1), EHIS_E_TOO_LARGE);
    run_until(server.frames == 4 && client.frames == 4, 50000);
    assert_int_equal(server.last_len, sizeof big - 1);
    assert_memory_equal(server.last, big, sizeof big - 1);
    assert_memory_equal(client.last, big, sizeof big - 1);
    end_fini(&client);
    end_fini(&server);
}

static void small_frames_of_a_turn_share_records(void **state)
{
    (void)state;
    struct end server = {0}, client = {0};
    struct link_stats before, after;
    rig_trusted_pair(&server, &client);
    link_stats(server.link, &before);
    for (int i = 0; i < 1000; i++)
        end_send(&client, TYPE_DATA, big, 100);
    run_until(server.frames == 1001, 10000);
    link_stats(server.link, &after);
    assert_int_equal(after.records_in - before.records_in, (1000 * 105 + 16383) / 16384);
    assert_int_equal(after.frames_in, 1001);
    link_stats(client.link, &after);
    assert_int_equal(after.frames_out, 1001);
    end_fini(&client);
    end_fini(&server);
}

static void a_frame_is_sent_from_parts(void **state)
{
    (void)state;
    struct end server = {0}, client = {0};
    rig_trusted_pair(&server, &client);
    struct span parts[] = {span_str("one "), span_of(NULL, 0), span_str("two")};
    assert_int_equal(link_send(client.link, TYPE_DATA, parts, 3), EHIS_OK);
    run_until(server.frames == 2, 10000);
    assert_int_equal(server.last_len, 7);
    assert_memory_equal(server.last, "one two", 7);
    end_fini(&client);
    end_fini(&server);
}

static void a_close_sends_what_is_queued_and_both_ends_know_why(void **state)
{
    (void)state;
    struct end server = {0}, client = {0};
    rig_trusted_pair(&server, &client);
    for (int i = 0; i < 3; i++)
        end_send(&client, TYPE_DATA, big, sizeof big - 1);
    link_close(client.link);
    struct span part = span_str("late");
    assert_int_equal(link_send(client.link, TYPE_DATA, &part, 1), EHIS_E_LINK_ENDED);
    run_until(server.is_ended && client.is_ended, 50000);
    assert_int_equal(server.frames, 4);
    assert_int_equal(server.end, LINK_END_PEER);
    assert_int_equal(server.err, EHIS_OK);
    assert_int_equal(client.end, LINK_END_LOCAL);
    assert_int_equal(client.err, EHIS_OK);
    end_fini(&client);
    end_fini(&server);
}

static void the_last_words_arrive_though_the_peer_keeps_talking(void **state)
{
    (void)state;
    struct end server = {0}, client = {0};
    rig_trusted_pair(&server, &client);
    for (int i = 0; i < 3; i++)
        end_send(&client, TYPE_DATA, big, sizeof big - 1);
    end_send(&server, TYPE_ERROR, "why", 3);
    link_fail(server.link, EHIS_E_PROTOCOL_HELLO);
    run_until(server.is_ended && client.is_ended, 50000);
    assert_int_equal(server.frames, 1); /* nothing is handed over any more */
    assert_int_equal(server.end, LINK_END_PROTOCOL);
    assert_int_equal(server.err, EHIS_E_PROTOCOL_HELLO);
    assert_int_equal(client.last_type, TYPE_ERROR);
    assert_int_equal(client.end, LINK_END_PEER);
    end_fini(&client);
    end_fini(&server);
}

static void an_abrupt_end_is_told_apart(void **state)
{
    (void)state;
    struct end server = {0}, client = {0};
    rig_trusted_pair(&server, &client);
    link_abort(client.link);
    run_until(server.is_ended && client.is_ended, 10000);
    assert_int_equal(server.end, LINK_END_TRUNCATED);
    assert_int_equal(server.err, EHIS_E_LINK_TRUNCATED);
    assert_int_equal(client.end, LINK_END_LOCAL);
    end_fini(&client);
    end_fini(&server);
}

static void close_in_frame(struct end *e, uint8_t type, struct span payload)
{
    if (type != TYPE_DATA)
        return;
    link_close(e->link);
    for (size_t i = 0; i < payload.len; i++) /* still ours */
        assert_int_equal(payload.p[i], 0xa5);
}

static void abort_in_frame(struct end *e, uint8_t type, struct span payload)
{
    if (type != TYPE_DATA)
        return;
    link_abort(e->link);
    for (size_t i = 0; i < payload.len; i++)
        assert_int_equal(payload.p[i], 0xa5);
}

static void a_frame_handler_may_close_or_abort_and_no_frame_follows(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct end server = {.on_frame = i ? abort_in_frame : close_in_frame}, client = {0};
        rig_trusted_pair(&server, &client);
        memset(big, 0xa5, sizeof big);
        for (int k = 0; k < 20; k++)
            end_send(&client, TYPE_DATA, big, 40000);
        run_until(server.is_ended && client.is_ended, 30000);
        assert_int_equal(server.frames, 2);
        assert_int_equal(server.end, LINK_END_LOCAL);
        assert_true(client.end == (i ? LINK_END_TRUNCATED : LINK_END_PEER) || client.end == LINK_END_RESET);
        end_fini(&client);
        end_fini(&server);
    }
}

static void a_refused_peer_is_told_and_the_error_is_kept(void **state)
{
    (void)state;
    struct end server = {.verdict = EHIS_E_PERMISSION, .says_error = true}, client = {0};
    rig_pair(&server, &client);
    run_until(server.is_ended && client.is_ended, 30000);
    assert_int_equal(server.end, LINK_END_PEER_REFUSED);
    assert_int_equal(server.err, EHIS_E_PERMISSION);
    assert_string_equal(server.detail, "not this one");
    assert_int_equal(client.last_type, TYPE_ERROR);
    assert_int_equal(client.end, LINK_END_PEER);
    end_fini(&client);
    end_fini(&server);
}

static void an_output_bound_holds_and_room_is_announced(void **state)
{
    (void)state;
    struct end server = {0}, client = {0};
    rig.limits.output_max_bytes = 100 * 1005;
    rig_trusted_pair(&server, &client);
    for (int i = 0; i < 100; i++)
        end_send(&client, TYPE_DATA, big, 1000);
    struct span part = span_of(big, 0);
    assert_int_equal(link_send(client.link, TYPE_DATA, &part, 1), EHIS_E_LINK_FULL);
    assert_int_equal(link_output_bytes(client.link), 100 * 1005);
    assert_int_equal(client.rooms, 0);
    run_until(server.frames == 101, 10000);
    assert_int_equal(client.rooms, 1);
    assert_int_equal(link_output_bytes(client.link), 0);
    end_fini(&client);
    end_fini(&server);
}

static void pings_go_both_ways_and_measure(void **state)
{
    (void)state;
    struct end server = {0}, client = {0};
    struct link_stats a, b;
    rig.limits.ping_every_ms = 20;
    rig.limits.ping_timeout_ms = 1000;
    rig_trusted_pair(&server, &client);
    for (int64_t until = now_ms() + 1200; now_ms() < until;)
        rig_turn();
    assert_non_null(server.link); /* idle, but alive for longer than the timeout */
    assert_non_null(client.link);
    assert_int_equal(server.frames, 1); /* PING stays below */
    link_stats(server.link, &a);
    link_stats(client.link, &b);
    assert_true(a.last_rtt_us > 0 && b.last_rtt_us > 0);
    assert_true(a.frames_in > 10);
    end_fini(&client);
    end_fini(&server);
}

static void a_refused_connection_ends_later_with_its_reason(void **state)
{
    (void)state;
    struct end client = {0};
    uint16_t port = rig.port;
    rig.port = 1; /* nobody listens there */
    rig_dial(&client);
    run_until(client.is_ended, 10000);
    assert_int_equal(client.end, LINK_END_CONNECT);
    assert_int_equal(client.err, EHIS_E_LINK_RESET);
    assert_string_equal(client.detail, "Connection refused");
    rig.port = port;
    end_fini(&client);
}

static void links_end_at_once_in_every_state(void **state)
{
    (void)state;
    for (int verb = 0; verb < 3; verb++) {
        for (int turns = 0; turns < 12; turns++) {
            struct end server = {0}, client = {0};
            rig_dial(&client);
            rig_accept(&server, accept4(rig.listener, NULL, NULL, SOCK_CLOEXEC));
            for (int i = 0; i < turns; i++)
                loop_run_once(rig.loop, false);
            if (client.link) {
                if (verb == 0)
                    link_close(client.link);
                else if (verb == 1)
                    link_fail(client.link, EHIS_E_PROTOCOL_ORDER);
                else
                    link_abort(client.link);
            }
            run_until(server.is_ended && client.is_ended, 30000);
            assert_int_equal(client.end, verb == 1 ? LINK_END_PROTOCOL : LINK_END_LOCAL);
            end_fini(&client);
            end_fini(&server);
        }
    }
}

/* Reported, not asserted: SPEC's bound is 40 KiB a session. */
static void a_thousand_idle_sessions_are_measured(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    if (files.rlim_cur < 2 * COUNT + 64 || setrlimit(RLIMIT_NOFILE, &files) != 0)
        skip();
    static struct end servers[COUNT], clients[COUNT];
    memset(servers, 0, sizeof servers);
    memset(clients, 0, sizeof clients);
    struct mallinfo2 before = mallinfo2();
    for (int i = 0; i < COUNT; i++)
        rig_trusted_pair(&servers[i], &clients[i]);
    struct mallinfo2 after = mallinfo2();
    size_t used = after.uordblks + after.hblkhd - before.uordblks - before.hblkhd;
    if (used)
        print_message("%d idle trusted links: %zu bytes each, OpenSSL included\n", 2 * COUNT, used / (2 * COUNT));
    for (int i = 0; i < COUNT; i++) {
        end_fini(&clients[i]);
        end_fini(&servers[i]);
    }
}

static void every_end_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (int i = 0; i < LINK_END_COUNT; i++)
        for (int k = 0; k < i; k++)
            assert_string_not_equal(link_end_name((enum link_end)i), link_end_name((enum link_end)k));
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_start, rig_stop)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(frames_go_both_ways_and_hello_may_be_sent_from_the_verdict),
        T(frames_of_the_largest_size_arrive_whole_and_one_byte_more_is_not_sent),
        T(small_frames_of_a_turn_share_records),
        T(a_frame_is_sent_from_parts),
        T(a_close_sends_what_is_queued_and_both_ends_know_why),
        T(the_last_words_arrive_though_the_peer_keeps_talking),
        T(an_abrupt_end_is_told_apart),
        T(a_frame_handler_may_close_or_abort_and_no_frame_follows),
        T(a_refused_peer_is_told_and_the_error_is_kept),
        T(an_output_bound_holds_and_room_is_announced),
        T(pings_go_both_ways_and_measure),
        T(a_refused_connection_ends_later_with_its_reason),
        T(links_end_at_once_in_every_state),
        T(a_thousand_idle_sessions_are_measured),
        T(every_end_has_a_name_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
