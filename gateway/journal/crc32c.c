/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/journal/crc32c.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

#define POLYNOMIAL UINT32_C(0x82f63b78) /* reflected */

static uint32_t table[8][256]; /* slicing by 8: table[k][b] = b followed by k zero bytes */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool has_instruction;

static void prepare(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? c >> 1 ^ POLYNOMIAL : c >> 1;
        table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int k = 1; k < 8; k++)
            table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 0xff];
#if defined(__x86_64__)
    __builtin_cpu_init();
    has_instruction = __builtin_cpu_supports("sse4.2");
#endif
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const uint8_t *p, size_t n)
{
    uint64_t c = ~crc;
    for (uint64_t word; n >= 8; p += 8, n -= 8) {
        memcpy(&word, p, 8);
        c = _mm_crc32_u64(c, word);
    }
    uint32_t r = (uint32_t)c;
    for (; n; p++, n--)
        r = _mm_crc32_u8(r, *p);
    return ~r;
}
#endif

static uint32_t by_table(uint32_t crc, const uint8_t *p, size_t n)
{
    uint32_t c = ~crc;
    for (; n >= 8; p += 8, n -= 8) {
        c ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        c = table[7][c & 0xff] ^ table[6][c >> 8 & 0xff] ^ table[5][c >> 16 & 0xff] ^ table[4][c >> 24] ^ table[3][p[4]] ^ table[2][p[5]] ^
            table[1][p[6]] ^ table[0][p[7]];
    }
    for (; n; p++, n--)
        c = c >> 8 ^ table[0][(c ^ *p) & 0xff];
    return ~c;
}

uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n)
{
    pthread_once(&once, prepare);
    return by_table(crc, p, n);
}

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
    pthread_once(&once, prepare);
#if defined(__x86_64__)
    if (has_instruction)
        return by_instruction(crc, p, n);
#endif
    return by_table(crc, p, n);
}
