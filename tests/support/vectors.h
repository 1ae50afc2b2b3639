/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Test vectors that no one here wrote lie beside the project (../shared/vectors, or $EHIS_SHARED/vectors) and not in it. */
#pragma once
#include "base/bytes.h"
#include <jansson.h>

/* The folder; NULL, said on stderr, where it is not there: skip. */
const char *vectors_folder(void);
/* A JSON file below it, e.g. "wycheproof/ed25519_test.json"; the caller's json_decref. NULL where there is no folder; a broken or
 * missing file in it aborts. Integers are read as reals. */
json_t *vectors_load(const char *path);
/* One of the project's own, proto/vectors/PATH, which tests/support/make_vectors.py makes from SPEC. */
json_t *vectors_load_own(const char *path);
/* A member's text; aborts where it is none. */
const char *vectors_text(const json_t *object, const char *name);
/* A member's hexadecimal text as bytes, malloc'ed (never NULL); aborts where it is none. */
struct span vectors_hex(const json_t *object, const char *name);
void vectors_free(struct span s);
