/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* PINs (FIN) of the sample: 7 characters of 0-9 and A-Z without I and O, the last one a check over the others (person.proto has the
 * rule, which is the sample's own). Every single wrong character is found. Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define PIN_CHARS 7
#define PIN_BASE 34u
/* The PIN of a number below 34^6. */
void pin_from_number(uint64_t number, char out[PIN_CHARS + 1]);
bool pin_is_valid(const char *text); /* length, alphabet (capital letters only), check */
