/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Each state of a message in a stream with each thing that may happen to it: what it ends as, and what its sender is told. */
#include "tests/unit/gateway/exchange/exchange_test.h"


enum from { PENDING, WAITING, FLYING, BACKING_OFF, DELIVERED, FAILED, EXPIRED, REFUSED, STATES };
enum happens { NOTHING, SAME_BYTES, OTHER_BYTES, RECIPIENT_ENDS, RESTART, RESTART_KEEPING, EXPIRY, SETTLED, REOPENED, RELEASED, RIGHT_GONE, EVENTS };
static const char *const state_names[STATES] = {"pending", "waiting", "flying", "backing off", "delivered", "failed", "expired", "refused"};
static const char *const event_names[EVENTS] = {"nothing", "the same bytes", "other bytes", "recipient ends", "restart", "restart keeping the group", "expiry",
                                                "settled", "reopened", "released", "right gone"};
/* D delivered, F failed, X expired, R refused, - settled: nothing is told any more */
static const char ends[STATES][EVENTS + 1] = {
    [PENDING] = "DDDDDDX-DDF", [WAITING] = "DDDDDDX-DDF", [FLYING] = "DDDDDDX-DDD", [BACKING_OFF] = "DDDDDDX-DDF",
    [DELIVERED] = "DDDDDDD-DDD", [FAILED] = "FFFFFFF-FFF", [EXPIRED] = "XXXXXXX-XXX", [REFUSED] = "RRRRRRR-RRR"};

static const uint8_t stream[16] = {1};
static struct {
    struct sim_house *h;
    session_id a, b;
    struct buf bytes;
    struct hash d, first;
    uint64_t delivery;
} t;

static void submit(uint64_t number, const char *purpose, struct buf *bytes, struct hash *d)
{
    buf_clear(bytes);
    sim_envelope(t.h, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Put", .stream = stream, .number = number, .purpose = purpose, .fill = (uint8_t)number}, bytes, d, NULL);
    assert_int_equal(sim_submit_bytes(t.h, t.a, buf_span(bytes)), EHIS_OK);
}

static void end_b(void)
{
    sim_end(t.h, t.b);
    t.b = UINT64_MAX; /* what was sent to it stays unread */
}

static void acknowledge_all(enum outcome outcome)
{
    for (struct sim_out *o; (o = sim_take(t.h, 0, t.b));) {
        struct sim_ack ack = {o->delivery, o->digest, outcome, 0, 0};
        if (o->what == SIM_SKIP)
            sim_skip_leaf(o, &ack.digest);
        if (o->what == SIM_DELIVERY || o->what == SIM_SKIP)
            assert_int_equal(sim_ack(t.h, t.b, B, &ack, 1), EHIS_OK);
    }
}

/* Number 2 stands in this state; number 1 was delivered before, so that the recipient knows the stream. */
static void drive(enum from state)
{
    t.a = sim_ready(t.h, A, 8, 8, 1 << 20);
    t.b = sim_ready(t.h, B, 8, 8, 1 << 20);
    assert_int_equal(sim_stream_open(t.h, t.a, stream, B, NULL, 1), EHIS_OK);
    submit(1, NULL, &t.bytes, &t.first);
    sim_durable(t.h);
    acknowledge_all(OUTCOME_DONE);
    sim_durable(t.h);
    if (state == WAITING || state == EXPIRED)
        end_b();
    submit(2, state == REFUSED ? "nosing" : NULL, &t.bytes, &t.d);
    if (state != PENDING)
        sim_durable(t.h);
    if (state == BACKING_OFF || state == DELIVERED || state == FAILED)
        acknowledge_all(state == BACKING_OFF ? OUTCOME_RETRY : state == DELIVERED ? OUTCOME_DONE : OUTCOME_REJECTED);
    if (state == EXPIRED)
        sim_pass(t.h, 3700000);
    if (state != PENDING)
        sim_durable(t.h);
}

static void reconnect(void)
{
    t.a = sim_ready(t.h, A, 8, 8, 1 << 20);
    t.b = sim_ready(t.h, B, 8, 8, 1 << 20);
    sim_forget(t.h);
}

static void happen(enum happens event)
{
    struct buf other;
    struct hash d;
    buf_init(&other, 1 << 20);
    switch (event) {
    case SAME_BYTES:
        assert_int_equal(sim_submit_bytes(t.h, t.a, buf_span(&t.bytes)), EHIS_OK);
        break;
    case OTHER_BYTES:
        sim_forget(t.h);
        submit(2, "another", &other, &d);
        sim_durable(t.h);
        for (struct sim_out *o; (o = sim_take(t.h, SIM_RECEIPT, t.a));)
            if (memcmp(o->digest.b, d.b, 32) == 0)
                assert_int_equal(o->code, EHIS_E_EXCHANGE_CONFLICT);
        assert_int_equal(sim_record_count(t.h, RECORD_CONFLICT), 1);
        break;
    case RECIPIENT_ENDS:
        end_b();
        break;
    case RESTART:
    case RESTART_KEEPING:
        sim_restart(t.h, event == RESTART_KEEPING);
        reconnect();
        assert_int_equal(sim_stream_open(t.h, t.a, stream, B, NULL, 1), EHIS_OK);
        ehis_err err = sim_submit_bytes(t.h, t.a, buf_span(&t.bytes)); /* as libehis does where the position says so */
        assert_int_equal(err, EHIS_OK);
        break;
    case EXPIRY:
        sim_durable(t.h);
        sim_pass(t.h, 3600000 + 62000);
        break;
    case SETTLED:
        sim_durable(t.h);
        assert_int_equal(sim_settled(t.h, t.a, stream, 3), EHIS_OK);
        break;
    case REOPENED:
        assert_int_equal(sim_stream_open(t.h, t.a, stream, B, NULL, 1), EHIS_OK);
        break;
    case RELEASED:
        for (int i = 0; i < 20; i++)
            sim_release(t.h);
        sim_restart(t.h, true);
        reconnect();
        break;
    case RIGHT_GONE:
        test_registry_drop_rules(t.h->author, SVC);
        sim_house_publish(t.h);
        break;
    default:
        break;
    }
    buf_fini(&other);
}

/* Everything that can still go on does; then what the sender is told when it asks. */
static char end(enum from state)
{
    char told = '-';
    for (int i = 0; i < 4; i++) {
        sim_durable(t.h);
        acknowledge_all(OUTCOME_DONE);
        sim_pass(t.h, state == BACKING_OFF ? 2000 : 100);
        if (i == 0 && !sim_count(t.h, SIM_DELIVERY, t.b)) {
            end_b();
            t.b = sim_ready(t.h, B, 8, 8, 1 << 20);
        }
    }
    sim_durable(t.h);
    sim_end(t.h, t.a);
    sim_forget(t.h);
    t.a = sim_ready(t.h, A, 8, 8, 1 << 20);
    assert_int_equal(sim_stream_open(t.h, t.a, stream, B, NULL, 1), EHIS_OK);
    for (struct sim_out *o; (o = sim_take(t.h, SIM_RECEIPT, t.a));)
        if (memcmp(o->digest.b, t.d.b, 32) == 0)
            told = "-ArDFRX"[o->state];
    return told;
}

static void each_state_with_each_event_ends_as_stated(void **unused)
{
    bool is_right = true;
    (void)unused;
    for (unsigned state = 0; state < STATES; state++)
        for (unsigned event = 0; event < EVENTS; event++) {
            struct exchange_status s;
            t.h = sim_house_new(5);
            t.h->segment_entries = 4;
            buf_init(&t.bytes, 1 << 20);
            drive((enum from)state);
            happen((enum happens)event);
            char told = end((enum from)state);
            if (told != ends[state][event])
                print_error("%s, then %s: ended as %c, not %c\n", state_names[state], event_names[event], told, ends[state][event]), is_right = false;
            exchange_status(t.h->x, &s);
            assert_int_equal(s.stored_bytes, 0);
            assert_int_equal(s.in_flight, 0);
            buf_fini(&t.bytes);
            sim_house_free(t.h);
        }
    assert_true(is_right);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_state_with_each_event_ends_as_stated)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
