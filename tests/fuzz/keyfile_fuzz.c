/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Key lines, and the authority's list of certificates: what is taken is printed as the same bytes. */
#include "pki/issued.h"
#include "pki/keyfile.h"
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum key_use use;
    uint8_t seed[32];
    struct ehis_why why;
    struct issued_list l;
    if (pki_keyfile_parse(span_of(data, size), &use, seed, &why) == EHIS_OK) {
        char hex[65], text[128];
        hex_to_text(seed, sizeof seed, hex);
        int n = snprintf(text, sizeof text, "ehis-key-v1 %s %s\n", pki_key_use_name(use), hex);
        EHIS_ASSERT((size_t)n == size);
    }
    if (issued_parse(span_of(data, size), &l, &why) == EHIS_OK) {
        struct buf b;
        buf_init(&b, 2 * size + 64);
        EHIS_ASSERT(issued_print(&l, &b) == EHIS_OK);
        EHIS_ASSERT(b.len == size); /* hexadecimal digits may differ in case alone */
        buf_fini(&b);
        issued_fini(&l);
    }
    return 0;
}
