/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Anybody's certificate through the profile, anybody's request: no crash, and what passes has one name of the right form. The first byte
 * chooses: 0 the bytes as they are, else a good one of a system, a gateway, an authority or a request, changed as the rest says. */
#include "pki/csr.h"
#include "pki/tls.h"
#include "tests/support/forge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct buf bases[4];

static void make_bases(void)
{
    struct forge_pki p;
    EVP_PKEY *key = forge_key();
    forge_pki_init(&p, NULL);
    struct forge system = forge_leaf(p.mid, p.mid_key), gateway = system;
    gateway.names = "URI:ehis-gw:AZ/gw1";
    gateway.extended = "serverAuth";
    X509 *certs[] = {forge_cert(&system), forge_cert(&gateway), p.mid};
    for (size_t i = 0; i < 4; i++)
        buf_init(&bases[i], 65536);
    for (size_t i = 0; i < 3; i++)
        forge_put_der(&bases[i], certs[i]);
    EHIS_ASSERT(pki_csr_make(key, PKI_SYSTEM, span_str("AZ/GOV/STS/tax"), &bases[3], NULL) == EHIS_OK);
    X509_free(certs[0]);
    X509_free(certs[1]);
    EVP_PKEY_free(key);
    forge_pki_fini(&p);
}

static void check(struct span der)
{
    struct ehis_why why;
    struct pki_leaf leaf;
    X509 *x = NULL;
    X509_REQ *r = NULL;
    if (pki_csr_read(der, PKI_SYSTEM, span_str("AZ/GOV/STS/tax"), &r, &why) == EHIS_OK)
        EHIS_ASSERT(der.len <= PKI_CSR_MAX_BYTES);
    X509_REQ_free(r);
    if (pki_cert_from_der(der, &x, &why) != EHIS_OK)
        return;
    (void)!pki_profile_authority(x, FORGE_NOW_MS, &why);
    if (pki_profile_leaf(x, FORGE_NOW_MS, &leaf, &why) == EHIS_OK) {
        EHIS_ASSERT(identifier_check(span_str(leaf.id), leaf.kind == PKI_GATEWAY ? IDENTIFIER_GATEWAY : IDENTIFIER_SYSTEM, NULL) ==
                    EHIS_OK);
        EHIS_ASSERT(leaf.not_after_ms - leaf.not_before_ms <= PKI_LEAF_DAYS_MAX * FORGE_DAY_MS);
        EHIS_ASSERT(leaf.not_before_ms <= FORGE_NOW_MS && FORGE_NOW_MS < leaf.not_after_ms);
        EHIS_ASSERT(leaf.serial_len > 0 && leaf.serial_len <= 20 && leaf.spki_len > 0);
    }
    X509_free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || pki_init(NULL) != EHIS_OK)
        return 0;
    if (!bases[0].len)
        make_bases();
    if (data[0] % 5 == 0) {
        check(span_of(data + 1, size - 1));
        return 0;
    }
    struct buf b;
    buf_init(&b, 65536);
    EHIS_ASSERT(buf_put_span(&b, buf_span(&bases[data[0] % 5 - 1])) == EHIS_OK);
    forge_mutate(&b, span_of(data + 1, size - 1));
    check(buf_span(&b));
    buf_fini(&b);
    return 0;
}
