/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* CRC-32C (Castagnoli, RFC 3720 B.4): finds torn and rotten bytes, not forged ones. Pure, any thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Of p behind what crc is already of; 0 to begin. By the processor's instruction where it has one. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);
uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n);
