/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The part of DER (X.690 10, 11) that OpenSSL neither asks for nor loses when it encodes again. Pure, any thread. */
#pragma once
#include "base/bytes.h"

/* True where s is whole objects one after another, at most 16 deep, in which every length and integer is in its shortest form, unused bits
 * are zero, and a BOOLEAN is TRUE as 0xff (in X.509, FALSE is always a default, which DER leaves out). */
bool pki_der_is_strict(struct span s);
