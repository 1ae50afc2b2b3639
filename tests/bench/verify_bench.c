/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* How fast the machine is at the moment, in the unit that the exchange spends most of: microseconds of CPU an Ed25519 verification, on one
 * core while the others rest, and on each of THREADS at once. Prints one JSON object.  bench_verify [THREADS, 2] */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "proto/crypto/sign.h"

#define COUNT 4000
#define THREADS_MAX 64

static const uint8_t seed[32] = {1};
static pthread_barrier_t all_ready;

static double cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void *verify(void *us)
{
    struct sign_key *key;
    struct hash root = {{2}};
    uint8_t signature[64];
    EHIS_ASSERT(sign_key_new(seed, USE_SIGN, &key) == EHIS_OK);
    sign_root(key, 1, &root, signature);
    pthread_barrier_wait(&all_ready);
    double begin = cpu_us();
    for (int i = 0; i < COUNT; i++)
        EHIS_ASSERT(sign_verify_root(sign_key_public(key), sign_key_id(key), 1, &root, signature) == EHIS_OK);
    *(double *)us = (cpu_us() - begin) / COUNT;
    sign_key_free(key);
    return NULL;
}

static double mean_us(int threads)
{
    pthread_t others[THREADS_MAX];
    double us[THREADS_MAX], sum = 0;
    pthread_barrier_init(&all_ready, NULL, (unsigned)threads);
    for (int i = 1; i < threads; i++)
        EHIS_ASSERT(pthread_create(&others[i], NULL, verify, &us[i]) == 0);
    verify(&us[0]);
    for (int i = 0; i < threads; i++) {
        if (i)
            pthread_join(others[i], NULL);
        sum += us[i];
    }
    pthread_barrier_destroy(&all_ready);
    return sum / threads;
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 2;
    if (threads < 1 || threads > THREADS_MAX || crypto_init(NULL) != EHIS_OK)
        return 2;
    printf("{\"alone_us\":%.1f,\"together_us\":%.1f}\n", mean_us(1), mean_us(threads));
    return 0;
}
