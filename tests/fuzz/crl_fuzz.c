/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A bundle of lists, as it comes in a CRL frame. The first byte chooses: 0 the bytes as they are, else a good bundle, changed as the rest
 * says. What is taken is a bundle that is taken again, with the same hash; a changed one is never taken, for it is signed. */
#include "pki/tls.h"
#include "tests/support/forge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct forge_pki p; /* lives as long as the process */
    struct pki_trust *t = NULL, *again = NULL;
    struct ehis_why why;
    struct buf crls;
    if (size < 1 || pki_init(&why) != EHIS_OK)
        return 0;
    if (!p.trust)
        forge_pki_init(&p, NULL);
    buf_init(&crls, 2 * PKI_CRL_MAX_BYTES);
    EHIS_ASSERT(buf_put_span(&crls, data[0] ? buf_span(&p.crls) : span_of(data + 1, size - 1)) == EHIS_OK);
    if (data[0])
        forge_mutate(&crls, span_of(data + 1, size - 1));
    ehis_err err = pki_trust_new(buf_span(&p.ca), buf_span(&crls), FORGE_NOW_MS, PKI_TRUST_STALE_ALLOWED, NULL, &t, &why);
    if (err == EHIS_OK) {
        EHIS_ASSERT(pki_trust_new(buf_span(&p.ca), pki_trust_crl_bundle(t), FORGE_NOW_MS, 0, t, &again, &why) == EHIS_OK);
        EHIS_ASSERT(memcmp(pki_trust_crl_hash(t), pki_trust_crl_hash(p.trust), sizeof(struct hash)) == 0);
        EHIS_ASSERT(memcmp(pki_trust_crl_hash(t), pki_trust_crl_hash(again), sizeof(struct hash)) == 0);
    } else {
        EHIS_ASSERT(!data[0] || !span_eq(buf_span(&crls), buf_span(&p.crls)));
    }
    pki_trust_unref(t);
    pki_trust_unref(again);
    buf_fini(&crls);
    return 0;
}
