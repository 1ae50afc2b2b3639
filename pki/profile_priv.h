/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Shared by the files of this folder. */
#pragma once
#include "pki/profile.h"

/* A NID of the allow-list of certificate and CRL signatures. */
bool pki_signature_is_allowed(int nid);
/* Kind and size of a public key; NULL is CERT_KEY_WEAK too. */
ehis_err pki_key_check(EVP_PKEY *k, struct ehis_why *why) EHIS_MUST_USE;
