/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "adapters/registers/population/pin.h"
#include <string.h>

static const char alphabet[] = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ";

/* Odd weights other than 17 have no divisor in common with 34: a wrong digit always moves the sum. */
static char check_of(const char *six)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < PIN_CHARS - 1; i++)
        sum += (2 * i + 1) * (unsigned)(strchr(alphabet, six[i]) - alphabet);
    return alphabet[sum % PIN_BASE];
}

void pin_from_number(uint64_t number, char out[PIN_CHARS + 1])
{
    for (unsigned i = PIN_CHARS - 1; i-- > 0; number /= PIN_BASE)
        out[i] = alphabet[number % PIN_BASE];
    out[PIN_CHARS - 1] = check_of(out);
    out[PIN_CHARS] = 0;
}

bool pin_is_valid(const char *text)
{
    return strlen(text) == PIN_CHARS && strspn(text, alphabet) == PIN_CHARS && check_of(text) == text[PIN_CHARS - 1];
}
