/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Bare Ed25519 verification, for sign.c and the vectors of its tests. */
#pragma once
#include "base/bytes.h"

/* SIGNATURE_BAD. libsodium's verdict, and the key must be a point of the prime-order group. Any thread. */
ehis_err ed25519_verify(const uint8_t public_key[32], struct span message, const uint8_t signature[64]) EHIS_MUST_USE;
