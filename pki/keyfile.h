/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Private keys in files. Ed25519 and X25519 seeds: one line "ehis-key-v1 USE HEX" (USE: sign, seal, operator, authority, log; 64 digits)
 * and a newline, nothing else, mode 0600. TLS keys: PKCS#8 PEM without a pass phrase, mode 0600. */
#pragma once
#include "base/clock.h"
#include "proto/crypto/seal.h"
#include "proto/crypto/sign.h"
#include <openssl/evp.h>

const char *pki_key_use_name(enum key_use use); /* "sign" */

/* Pure: KEY_FILE. The caller wipes seed. */
ehis_err pki_keyfile_parse(struct span text, enum key_use *use, uint8_t seed[32], struct ehis_why *why) EHIS_MUST_USE;
/* Loads a key of this use. NOT_FOUND, PERMISSION (others can read it), KEY_FILE (also: it is for another use). */
ehis_err pki_keyfile_load_sign(const char *path, enum key_use use, struct sign_key **out, struct ehis_why *why) EHIS_MUST_USE;
ehis_err pki_keyfile_load_seal(const char *path, struct seal_key **out, struct ehis_why *why) EHIS_MUST_USE;
/* Makes a seed, writes it 0600, durably, gives its public key (32 bytes) for the registry. EXISTS where the path is taken: a key is never overwritten. */
ehis_err pki_keyfile_make(const char *path, enum key_use use, const struct random *r, uint8_t public_key[32],
                          struct ehis_why *why) EHIS_MUST_USE;

/* TLS and authority keys. P-256. */
ehis_err pki_tlskey_make(const char *path, EVP_PKEY **out, struct ehis_why *why) EHIS_MUST_USE;
ehis_err pki_tlskey_load(const char *path, EVP_PKEY **out, struct ehis_why *why) EHIS_MUST_USE;
