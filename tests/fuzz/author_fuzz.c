/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The registry's YAML: one text, its files parted by lines "%%%"; first bytes of each: its kind, 0 to 4. What is accepted can be built, or
 * the build says why not. */
#include <stdlib.h>

#include "policy/registry/author.h"

#define NOW INT64_C(1795680000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char mark[] = "%%%\n";
    struct author *a;
    struct registry_draft *d = NULL;
    struct author_validity v = {0};
    if (author_new(&a) != EHIS_OK)
        abort();
    for (unsigned files = 0; size > 0 && files < 32; files++) {
        const uint8_t *end = memmem(data, size, mark, sizeof mark - 1);
        size_t n = end ? (size_t)(end - data) : size;
        if (n && data[0] >= '0' && data[0] < '0' + AUTHOR_KINDS &&
            author_add(a, (enum author_kind)(data[0] - '0'), "f", span_of(data + 1, n - 1)) != EHIS_OK)
            abort();
        n += end ? sizeof mark - 1 : 0;
        data += n;
        size -= n;
    }
    ehis_err err = author_draft(a, &d, &v);
    EHIS_ASSERT(err == EHIS_OK || err == EHIS_E_REGISTRY_FORM || err == EHIS_E_TOO_LARGE);
    if (err == EHIS_OK) {
        struct registry_validity of = {v.instance, NOW, NOW + 1, 0, 0};
        struct ehis_why why = {""};
        struct buf out;
        buf_init(&out, REGISTRY_DOCUMENT_MAX_BYTES);
        EHIS_ASSERT(registry_build(d, &of, NULL, &out, &why) == EHIS_OK || why.text[0]);
        buf_fini(&out);
        registry_draft_free(d);
    }
    author_free(a);
    return 0;
}
