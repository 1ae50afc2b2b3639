/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* HKDF-SHA-256 (RFC 5869). Inside the module. At most 10 parts. Pure, any thread. */
#pragma once
#include "base/bytes.h"

#define HKDF_MAX_BYTES (255 * 32)

void hkdf_extract(struct span salt, const struct span *ikm, size_t count, uint8_t prk[32]);
/* n <= HKDF_MAX_BYTES. */
void hkdf_expand(const uint8_t prk[32], const struct span *info, size_t count, uint8_t *out, size_t n);
