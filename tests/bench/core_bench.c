/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* CPU of the exchange core a message: submit, deliver, acknowledge, two receipts; signed in batches, journal in memory, sessions that swallow.
 * Hashing and signatures are measured apart. bench_core [messages] */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/support/sim_exchange.h"

#define BATCH 512
#define A "AZ/GOV/a/one"
#define B "AZ/GOV/b/two"
#define MUST(expr) EHIS_ASSERT((expr) == EHIS_OK)

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* One batch, signed once: each envelope's bytes and digest. */
static void make_batch(struct sim_house *h, const uint8_t stream[16], uint64_t first, struct buf out[BATCH], struct hash digests[BATCH])
{
    static struct envelope e[BATCH];
    static struct buf single[BATCH];
    static struct hash leaves[BATCH], path[20];
    uint8_t signature[64];
    struct tree tree;
    const struct test_owner *owner = test_registry_owner(h->author, A);
    for (size_t i = 0; i < BATCH; i++) {
        buf_init(&single[i], 1 << 20);
        sim_envelope(h, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = B "/svc", .operation = "Put", .stream = stream, .number = first + i, .body_bytes = 1064, .lifetime_ms = 86400000}, &single[i], &digests[i], NULL);
        MUST(envelope_read(buf_span(&single[i]), &e[i], NULL));
        leaf_envelope(&digests[i], &leaves[i]);
    }
    tree_init(&tree);
    MUST(sign_batch(owner->sign, &tree, leaves, BATCH, signature));
    for (size_t i = 0; i < BATCH; i++) {
        e[i].signature.size = BATCH;
        e[i].signature.index = (uint32_t)i;
        e[i].signature.path = span_of(path, 32 * tree_path(&tree, i, path));
        memcpy(e[i].signature.signature, signature, 64);
        buf_clear(&out[i]);
        MUST(envelope_write(&e[i], &out[i]));
        buf_fini(&single[i]);
    }
    tree_fini(&tree);
}

static double crypto_us(const struct buf *envelopes)
{
    double from = now_us();
    for (size_t i = 0; i < BATCH; i++) {
        struct envelope e;
        struct hash sealed, d, leaf, root;
        MUST(envelope_read(buf_span(&envelopes[i]), &e, NULL));
        hash_span(e.sealed, &sealed);
        hash_envelope(e.header, e.sealed.len, &sealed, &d);
        leaf_envelope(&d, &leaf);
        MUST(tree_root_of_path(&leaf, e.signature.index, e.signature.size, e.signature.path, &root));
        leaf_ack(&d, 1, 0, 0, &leaf); /* and the acknowledgement's leaf and node */
        hash_node(&leaf, &root, &root);
    }
    return now_us() - from;
}

int main(int argc, char **argv)
{
    static struct buf envelopes[BATCH];
    static struct hash digests[BATCH];
    static struct sim_ack acks[BATCH];
    static const uint8_t stream[16] = {1};
    uint64_t total = argc > 1 ? strtoull(argv[1], NULL, 10) : 20480, done = 0;
    double submit = 0, deliver = 0, ack = 0, receipt = 0, crypto = 0, sign = 0, from;
    struct sim_house *h = sim_house_new(1);
    h->is_quiet = true;
    h->segment_entries = 5000;
    for (size_t i = 0; i < BATCH; i++)
        buf_init(&envelopes[i], 1 << 20);
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), b = sim_ready(h, B, 8, 1024, 1 << 30);
    MUST(sim_stream_open(h, a, stream, B, NULL, 1));
    for (; done < total; done += BATCH) {
        make_batch(h, stream, done + 1, envelopes, digests);
        crypto += crypto_us(envelopes);
        uint64_t first = h->deliveries;
        from = now_us();
        for (size_t i = 0; i < BATCH; i++)
            MUST(sim_submit_bytes(h, a, buf_span(&envelopes[i])));
        submit += now_us() - from;
        from = now_us();
        sim_durable(h);
        deliver += now_us() - from;
        EHIS_ASSERT(h->deliveries == first + BATCH);
        for (size_t i = 0; i < BATCH; i++)
            acks[i] = (struct sim_ack){h->last_delivery - BATCH + 1 + i, digests[i], OUTCOME_DONE, 0, 0};
        from = now_us();
        MUST(sim_ack(h, b, B, acks, BATCH)); /* with its signature and the writing of the frame, which are not the core's */
        ack += now_us() - from;
        from = now_us();
        sim_durable(h);
        MUST(sim_settled(h, a, stream, done + BATCH + 1));
        receipt += now_us() - from;
        sim_release(h);
        sim_forget(h);
    }
    (void)sign;
    double n = (double)done;
    printf("%llu messages of 1 KiB, in batches of %d: submit %.2f us, deliver and receipt %.2f us, acknowledge %.2f us, receipt and settle %.2f us; of it reading and hashing %.2f us\n",
           (unsigned long long)done, BATCH, submit / n, deliver / n, ack / n, receipt / n, crypto / n);
    for (size_t i = 0; i < BATCH; i++)
        buf_fini(&envelopes[i]);
    sim_house_free(h);
    return 0;
}
