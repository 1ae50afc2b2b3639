/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/forge.h"
#include "pki/pem.h"

static struct forge_pki p;
static X509 *good; /* a system's certificate under p */

static int setup(void **state)
{
    (void)state;
    forge_pki_init(&p, NULL);
    struct forge f = forge_leaf(p.mid, p.mid_key);
    good = forge_cert(&f);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    X509_free(good);
    forge_pki_fini(&p);
    return 0;
}

static ehis_err load_at(struct span ca, struct span crls, int64_t now_ms, unsigned flags, const struct pki_trust *previous)
{
    struct pki_trust *t = NULL;
    ehis_err err = pki_trust_new(ca, crls, now_ms, flags, previous, &t, NULL);
    pki_trust_unref(t);
    return err;
}

/* Loads p's authorities with the root's good list and this one of the intermediate. */
static ehis_err load_with(const struct forge_crl *mid, unsigned flags, const struct pki_trust *previous)
{
    struct buf crls;
    struct span bundle = pki_trust_crl_bundle(p.trust); /* the root's list is its first, the same bytes each time */
    const uint8_t *end = bundle.p;
    X509_CRL *root = d2i_X509_CRL(NULL, &end, (long)bundle.len);
    assert_non_null(root);
    X509_CRL_free(root);
    buf_init(&crls, 1 << 20);
    assert_int_equal(buf_put(&crls, bundle.p, (size_t)(end - bundle.p)), EHIS_OK);
    forge_put_crl(&crls, mid);
    ehis_err err = load_at(buf_span(&p.ca), buf_span(&crls), FORGE_NOW_MS, flags, previous);
    buf_fini(&crls);
    return err;
}

static ehis_err verify_at(const struct pki_trust *t, X509 *leaf, enum pki_kind kind, int64_t now_ms, struct pki_peer *out)
{
    STACK_OF(X509) *chain = sk_X509_new_null();
    struct pki_peer peer;
    sk_X509_push(chain, p.mid);
    ehis_err err = pki_trust_verify(t, leaf, chain, kind, now_ms, out ? out : &peer, NULL);
    sk_X509_free(chain);
    return err;
}

static ehis_err verify_forged(const struct forge *f, enum pki_kind kind)
{
    X509 *x = forge_cert(f);
    ehis_err err = verify_at(p.trust, x, kind, FORGE_NOW_MS, NULL);
    X509_free(x);
    return err;
}

static void a_good_chain_is_believed(void **state)
{
    (void)state;
    struct pki_peer peer;
    bool is_stale = true;
    assert_int_equal(verify_at(p.trust, good, PKI_SYSTEM, FORGE_NOW_MS, &peer), EHIS_OK);
    assert_string_equal(peer.leaf.id, "AZ/GOV/STS/tax");
    assert_false(peer.is_stale);
    assert_int_equal(peer.chain_count, 3);
    assert_int_equal(pki_trust_recheck(p.trust, &peer, FORGE_NOW_MS, &is_stale, NULL), EHIS_OK);
    assert_false(is_stale);
    assert_int_equal(pki_trust_recheck(p.trust, &peer, FORGE_NOW_MS + 6 * FORGE_DAY_MS, NULL, NULL), EHIS_OK);
    assert_int_equal(pki_trust_recheck(p.trust, &peer, FORGE_NOW_MS + 7 * FORGE_DAY_MS, NULL, NULL), EHIS_E_CRL_EXPIRED);
    assert_int_equal(pki_trust_recheck(p.trust, &peer, FORGE_NOW_MS + 30 * FORGE_DAY_MS, NULL, NULL), EHIS_E_CERT_EXPIRED);
}

static void expiries_and_the_bundle_are_told(void **state)
{
    (void)state;
    struct pki_trust *again;
    assert_int_equal(pki_trust_crl_expiry_ms(p.trust), FORGE_NOW_MS + 7 * FORGE_DAY_MS);
    assert_int_equal(pki_trust_ca_expiry_ms(p.trust), FORGE_NOW_MS + 1000 * FORGE_DAY_MS);
    assert_int_equal(pki_trust_new(buf_span(&p.ca), pki_trust_crl_bundle(p.trust), FORGE_NOW_MS, 0, p.trust, &again, NULL), EHIS_OK);
    assert_memory_equal(pki_trust_crl_hash(again), pki_trust_crl_hash(p.trust), sizeof(struct hash));
    pki_trust_unref(again);
}

static void a_revoked_certificate_is_refused_at_once_and_live(void **state)
{
    (void)state;
    struct pki_peer peer;
    struct pki_trust *newer;
    assert_int_equal(verify_at(p.trust, good, PKI_SYSTEM, FORGE_NOW_MS, &peer), EHIS_OK);
    forge_pki_lists(&p, good, 6);
    assert_int_equal(pki_trust_new(buf_span(&p.ca), buf_span(&p.crls), FORGE_NOW_MS, 0, p.trust, &newer, NULL), EHIS_OK);
    assert_int_equal(verify_at(newer, good, PKI_SYSTEM, FORGE_NOW_MS, NULL), EHIS_E_CERT_REVOKED);
    assert_int_equal(pki_trust_recheck(newer, &peer, FORGE_NOW_MS, NULL, NULL), EHIS_E_CERT_REVOKED);
    pki_trust_unref(newer);
    forge_pki_lists(&p, NULL, 5);
}

static void a_revoked_intermediate_is_refused(void **state)
{
    (void)state;
    struct forge_crl root = forge_crl_of(p.root, p.root_key), mid = forge_crl_of(p.mid, p.mid_key);
    struct pki_trust *t;
    struct buf crls;
    buf_init(&crls, 1 << 20);
    root.revoked = p.mid;
    forge_put_crl(&crls, &root);
    forge_put_crl(&crls, &mid);
    assert_int_equal(pki_trust_new(buf_span(&p.ca), buf_span(&crls), FORGE_NOW_MS, 0, NULL, &t, NULL), EHIS_OK);
    assert_int_equal(verify_at(t, good, PKI_SYSTEM, FORGE_NOW_MS, NULL), EHIS_E_CERT_REVOKED);
    pki_trust_unref(t);
    buf_fini(&crls);
}

static void a_list_of_every_authority_is_required(void **state)
{
    (void)state;
    struct buf crls;
    struct forge_crl root = forge_crl_of(p.root, p.root_key), mid = forge_crl_of(p.mid, p.mid_key);
    buf_init(&crls, 1 << 20);
    assert_int_equal(load_at(buf_span(&p.ca), buf_span(&crls), FORGE_NOW_MS, 0, NULL), EHIS_E_CRL_MISSING);
    forge_put_crl(&crls, &root);
    assert_int_equal(load_at(buf_span(&p.ca), buf_span(&crls), FORGE_NOW_MS, 0, NULL), EHIS_E_CRL_MISSING);
    forge_put_crl(&crls, &mid);
    assert_int_equal(load_at(buf_span(&p.ca), buf_span(&crls), FORGE_NOW_MS, 0, NULL), EHIS_OK);
    forge_put_crl(&crls, &mid);
    assert_int_equal(load_at(buf_span(&p.ca), buf_span(&crls), FORGE_NOW_MS, 0, NULL), EHIS_E_CRL_SEVERAL);
    buf_fini(&crls);
}

static void lists_out_of_time_are_refused(void **state)
{
    (void)state;
    struct forge_crl f = forge_crl_of(p.mid, p.mid_key);
    f.until_ms = FORGE_NOW_MS;
    assert_int_equal(load_with(&f, 0, NULL), EHIS_E_CRL_EXPIRED);
    assert_int_equal(load_with(&f, PKI_TRUST_STALE_ALLOWED, NULL), EHIS_OK);
    f.until_ms = FORGE_NOW_MS + 1000;
    assert_int_equal(load_with(&f, 0, NULL), EHIS_OK);
    f.from_ms = FORGE_NOW_MS;
    assert_int_equal(load_with(&f, 0, NULL), EHIS_OK);
    f.from_ms = FORGE_NOW_MS + 1000;
    f.until_ms = FORGE_NOW_MS + FORGE_DAY_MS;
    assert_int_equal(load_with(&f, PKI_TRUST_STALE_ALLOWED, NULL), EHIS_E_CRL_NOT_YET_VALID);
    f = forge_crl_of(p.mid, p.mid_key);
    f.until_ms = 0;
    assert_int_equal(load_with(&f, 0, NULL), EHIS_E_CRL_MALFORMED);
    f.until_ms = f.from_ms + 35 * FORGE_DAY_MS;
    assert_int_equal(load_with(&f, 0, NULL), EHIS_OK);
    f.until_ms += 1000;
    assert_int_equal(load_with(&f, 0, NULL), EHIS_E_CRL_LIFETIME);
}

static void an_older_list_or_another_with_the_same_number_is_refused(void **state)
{
    (void)state;
    struct forge_crl f = forge_crl_of(p.mid, p.mid_key);
    f.number = 4;
    assert_int_equal(load_with(&f, 0, NULL), EHIS_OK);
    assert_int_equal(load_with(&f, 0, p.trust), EHIS_E_CRL_OLDER);
    f.number = 5;
    f.until_ms += 1000;
    assert_int_equal(load_with(&f, 0, p.trust), EHIS_E_CRL_OLDER);
    struct buf crls; /* both of number 6: the root's list may stay as it is */
    struct forge_crl root = forge_crl_of(p.root, p.root_key);
    buf_init(&crls, 1 << 20);
    root.number = f.number = 6;
    forge_put_crl(&crls, &root);
    forge_put_crl(&crls, &f);
    assert_int_equal(load_at(buf_span(&p.ca), buf_span(&crls), FORGE_NOW_MS, 0, p.trust), EHIS_OK);
    buf_fini(&crls);
}

static void foreign_forged_and_malformed_lists_are_refused(void **state)
{
    (void)state;
    EVP_PKEY *stranger = forge_key();
    struct forge_crl f = forge_crl_of(p.mid, stranger);
    assert_int_equal(load_with(&f, 0, NULL), EHIS_E_CRL_SIGNATURE);
    f.issuer_cn = "somebody else";
    assert_int_equal(load_with(&f, 0, NULL), EHIS_E_CRL_FOREIGN);
    f = forge_crl_of(p.mid, p.mid_key);
    f.number = 0;
    assert_int_equal(load_with(&f, 0, NULL), EHIS_E_CRL_MALFORMED);
    f.number = 5;
    f.is_critical = true;
    assert_int_equal(load_with(&f, 0, NULL), EHIS_E_CRL_MALFORMED);
    f.is_critical = false;
    f.version = X509_CRL_VERSION_1;
    assert_int_equal(load_with(&f, 0, NULL), EHIS_E_CRL_MALFORMED);
    EVP_PKEY_free(stranger);
}

static void a_bundle_cut_anywhere_or_with_more_behind_it_is_refused(void **state)
{
    (void)state;
    struct span whole = pki_trust_crl_bundle(p.trust);
    for (size_t n = 0; n < whole.len; n++)
        assert_int_not_equal(load_at(buf_span(&p.ca), span_of(whole.p, n), FORGE_NOW_MS, 0, NULL), EHIS_OK);
    struct buf more;
    buf_init(&more, 1 << 22);
    assert_int_equal(buf_put_span(&more, whole), EHIS_OK);
    assert_int_equal(buf_put_u8(&more, 0x30), EHIS_OK);
    assert_int_equal(load_at(buf_span(&p.ca), buf_span(&more), FORGE_NOW_MS, 0, NULL), EHIS_E_PEM_MALFORMED);
    uint8_t *room;
    assert_int_equal(buf_reserve(&more, PKI_CRL_MAX_BYTES, &room), EHIS_OK);
    buf_commit(&more, PKI_CRL_MAX_BYTES);
    assert_int_equal(load_at(buf_span(&p.ca), buf_span(&more), FORGE_NOW_MS, 0, NULL), EHIS_E_TOO_LARGE);
    buf_fini(&more);
}

static void authorities_without_a_root_or_of_the_wrong_form_are_refused(void **state)
{
    (void)state;
    struct buf ca;
    buf_init(&ca, 1 << 20);
    assert_int_equal(load_at(buf_span(&ca), buf_span(&p.crls), FORGE_NOW_MS, 0, NULL), EHIS_E_TRUST_EMPTY);
    forge_put_der(&ca, p.mid);
    assert_int_equal(load_at(buf_span(&ca), buf_span(&p.crls), FORGE_NOW_MS, 0, NULL), EHIS_E_TRUST_EMPTY);
    forge_put_der(&ca, p.mid);
    assert_int_equal(load_at(buf_span(&ca), buf_span(&p.crls), FORGE_NOW_MS, 0, NULL), EHIS_E_PEM_MALFORMED);
    buf_clear(&ca);
    forge_put_der(&ca, good); /* a system's certificate among the authorities */
    assert_int_equal(load_at(buf_span(&ca), buf_span(&p.crls), FORGE_NOW_MS, 0, NULL), EHIS_E_CERT_AUTHORITY);
    assert_int_equal(load_at(span_str("hello"), buf_span(&p.crls), FORGE_NOW_MS, 0, NULL), EHIS_E_PEM_MALFORMED);
    assert_int_equal(load_at(buf_span(&p.ca), buf_span(&p.ca), FORGE_NOW_MS, 0, NULL), EHIS_E_PEM_MALFORMED); /* certificates for lists */
    assert_int_equal(load_at(buf_span(&p.ca), buf_span(&p.crls), FORGE_NOW_MS + 1001 * FORGE_DAY_MS, 0, NULL), EHIS_E_CERT_EXPIRED);
    buf_fini(&ca);
}

static void stale_lists_let_an_adapter_in_marked_and_still_revoke(void **state)
{
    (void)state;
    struct pki_trust *t;
    struct pki_peer peer;
    int64_t later = FORGE_NOW_MS + 8 * FORGE_DAY_MS;
    assert_int_equal(verify_at(p.trust, good, PKI_SYSTEM, later, NULL), EHIS_E_CRL_EXPIRED);
    assert_int_equal(pki_trust_new(buf_span(&p.ca), buf_span(&p.crls), later, PKI_TRUST_STALE_ALLOWED, NULL, &t, NULL), EHIS_OK);
    assert_int_equal(verify_at(t, good, PKI_SYSTEM, later, &peer), EHIS_OK);
    assert_true(peer.is_stale);
    assert_int_equal(verify_at(t, good, PKI_SYSTEM, FORGE_NOW_MS, &peer), EHIS_OK);
    assert_false(peer.is_stale);
    pki_trust_unref(t);
    forge_pki_lists(&p, good, 5);
    assert_int_equal(pki_trust_new(buf_span(&p.ca), buf_span(&p.crls), later, PKI_TRUST_STALE_ALLOWED, NULL, &t, NULL), EHIS_OK);
    assert_int_equal(verify_at(t, good, PKI_SYSTEM, later, NULL), EHIS_E_CERT_REVOKED);
    pki_trust_unref(t);
    forge_pki_lists(&p, NULL, 5);
}

static void strangers_expired_and_forged_chains_are_refused(void **state)
{
    (void)state;
    struct forge_pki other;
    struct forge f;
    forge_pki_init(&other, NULL);
    f = forge_leaf(other.mid, other.mid_key); /* another authority with the same names */
    X509 *x = forge_cert(&f);
    STACK_OF(X509) *chain = sk_X509_new_null();
    struct pki_peer peer;
    sk_X509_push(chain, other.mid);
    sk_X509_push(chain, other.root);
    assert_int_equal(pki_trust_verify(p.trust, x, chain, PKI_SYSTEM, FORGE_NOW_MS, &peer, NULL), EHIS_E_CHAIN_UNTRUSTED);
    assert_int_equal(pki_trust_verify(p.trust, good, NULL, PKI_SYSTEM, FORGE_NOW_MS, &peer, NULL),
                     EHIS_E_CHAIN_UNTRUSTED); /* no intermediate */
    assert_int_equal(verify_at(other.trust, good, PKI_SYSTEM, FORGE_NOW_MS, &peer), EHIS_E_CHAIN_UNTRUSTED);
    assert_int_equal(verify_at(p.trust, good, PKI_SYSTEM, FORGE_NOW_MS, &peer), EHIS_OK);
    assert_int_equal(pki_trust_recheck(other.trust, &peer, FORGE_NOW_MS, NULL, NULL), EHIS_E_CHAIN_UNTRUSTED);
    sk_X509_free(chain);
    X509_free(x);
    forge_pki_fini(&other);
    f = forge_leaf(NULL, NULL); /* its own issuer */
    f.no_aki = true;
    assert_int_equal(verify_forged(&f, PKI_SYSTEM), EHIS_E_CHAIN_UNTRUSTED);
    f = forge_leaf(p.mid, p.mid_key);
    f.until_ms = FORGE_NOW_MS - 1000;
    assert_int_equal(verify_forged(&f, PKI_SYSTEM), EHIS_E_CERT_EXPIRED);
    f = forge_leaf(p.mid, p.mid_key);
    f.from_ms = FORGE_NOW_MS + 1000;
    assert_int_equal(verify_forged(&f, PKI_SYSTEM), EHIS_E_CERT_NOT_YET_VALID);
    EVP_PKEY *stranger = forge_key();
    f = forge_leaf(p.mid, stranger); /* names the right issuer, signed by another */
    assert_int_equal(verify_forged(&f, PKI_SYSTEM), EHIS_E_CHAIN_SIGNATURE);
    EVP_PKEY_free(stranger);
}

static void a_system_cannot_pose_as_a_gateway_nor_the_reverse(void **state)
{
    (void)state;
    assert_int_equal(verify_at(p.trust, good, PKI_GATEWAY, FORGE_NOW_MS, NULL), EHIS_E_CERT_KIND);
    struct forge f = forge_leaf(p.mid, p.mid_key);
    f.names = "URI:ehis-gw:AZ/gw1";
    f.extended = "serverAuth";
    assert_int_equal(verify_forged(&f, PKI_GATEWAY), EHIS_OK);
    assert_int_equal(verify_forged(&f, PKI_SYSTEM), EHIS_E_CERT_KIND);
    f.names = "URI:ehis:AZ/GOV/STS/tax";
    assert_int_equal(verify_forged(&f, PKI_GATEWAY), EHIS_E_CERT_EXTENDED_USAGE);
    f.extended = "clientAuth,serverAuth";
    assert_int_equal(verify_forged(&f, PKI_GATEWAY), EHIS_E_CERT_EXTENDED_USAGE);
}

static void what_path_validation_lets_through_the_profile_refuses(void **state)
{
    (void)state;
    struct forge f = forge_leaf(p.mid, p.mid_key);
    f.names = "URI:ehis:AZ/GOV/STS/tax,URI:ehis:AZ/GOV/MIA/population";
    assert_int_equal(verify_forged(&f, PKI_SYSTEM), EHIS_E_CERT_NAME_SEVERAL);
    f = forge_leaf(p.mid, p.mid_key);
    f.names = NULL;
    assert_int_equal(verify_forged(&f, PKI_SYSTEM), EHIS_E_CERT_NAME_IN_CN);
    f = forge_leaf(p.mid, p.mid_key);
    f.until_ms = f.from_ms + 91 * FORGE_DAY_MS;
    assert_int_equal(verify_forged(&f, PKI_SYSTEM), EHIS_E_CERT_LIFETIME);
    f = forge_leaf(p.mid, p.mid_key);
    f.extra_oid = "1.2.3.4";
    f.extra = "critical,0500";
    assert_int_equal(verify_forged(&f, PKI_SYSTEM), EHIS_E_CERT_EXTENSION_CRITICAL);
}

/* root -> n intermediates -> leaf, each authority with its list and known */
static ehis_err verify_deep(size_t n, const char *basic)
{
    EVP_PKEY *keys[8];
    X509 *certs[8];
    struct buf ca, crls;
    STACK_OF(X509) *chain = sk_X509_new_null();
    struct pki_trust *t = NULL;
    struct pki_peer peer;
    buf_init(&ca, 1 << 20);
    buf_init(&crls, 1 << 20);
    for (size_t i = 0; i <= n; i++) {
        char name[] = "authority 0";
        name[10] = (char)('0' + i);
        struct forge f = forge_ca(i ? certs[i - 1] : NULL, i ? keys[i - 1] : NULL, name);
        if (i)
            f.basic = basic;
        keys[i] = f.key = forge_key();
        certs[i] = forge_cert(&f);
        struct forge_crl crl = forge_crl_of(certs[i], keys[i]);
        forge_put_der(&ca, certs[i]);
        forge_put_crl(&crls, &crl);
        if (i)
            sk_X509_push(chain, certs[i]);
    }
    struct forge f = forge_leaf(certs[n], keys[n]);
    X509 *leaf = forge_cert(&f);
    assert_int_equal(pki_trust_new(buf_span(&ca), buf_span(&crls), FORGE_NOW_MS, 0, NULL, &t, NULL), EHIS_OK);
    ehis_err err = pki_trust_verify(t, leaf, chain, PKI_SYSTEM, FORGE_NOW_MS, &peer, NULL);
    for (size_t i = 0; i <= n; i++) {
        X509_free(certs[i]);
        EVP_PKEY_free(keys[i]);
    }
    X509_free(leaf);
    sk_X509_free(chain);
    pki_trust_unref(t);
    buf_fini(&ca);
    buf_fini(&crls);
    return err;
}

static void chains_are_held_to_three_intermediates_and_their_path_lengths(void **state)
{
    (void)state;
    assert_int_equal(verify_deep(1, "critical,CA:TRUE,pathlen:0"), EHIS_OK);
    assert_int_equal(verify_deep(3, "critical,CA:TRUE,pathlen:5"), EHIS_OK);
    assert_int_equal(verify_deep(4, "critical,CA:TRUE,pathlen:5"), EHIS_E_CHAIN_TOO_LONG);
    assert_int_equal(verify_deep(2, "critical,CA:TRUE,pathlen:0"), EHIS_E_CHAIN_TOO_LONG);
}

static void an_intermediate_that_is_not_known_has_no_list(void **state)
{
    (void)state;
    struct forge f = forge_ca(p.root, p.root_key, "unknown");
    EVP_PKEY *key = f.key = forge_key();
    X509 *mid = forge_cert(&f);
    struct forge l = forge_leaf(mid, key);
    X509 *leaf = forge_cert(&l);
    STACK_OF(X509) *chain = sk_X509_new_null();
    struct pki_peer peer;
    sk_X509_push(chain, mid);
    assert_int_equal(pki_trust_verify(p.trust, leaf, chain, PKI_SYSTEM, FORGE_NOW_MS, &peer, NULL), EHIS_E_CRL_MISSING);
    sk_X509_free(chain);
    X509_free(leaf);
    X509_free(mid);
    EVP_PKEY_free(key);
}

static void a_leaf_may_not_issue(void **state)
{
    (void)state;
    struct forge f = forge_leaf(p.mid, p.mid_key);
    EVP_PKEY *key = f.key = forge_key();
    X509 *tax = forge_cert(&f);
    struct forge l = forge_leaf(tax, key);
    l.names = "URI:ehis:AZ/GOV/MIA/population";
    l.serial = "77";
    X509 *leaf = forge_cert(&l);
    STACK_OF(X509) *chain = sk_X509_new_null();
    struct pki_peer peer;
    sk_X509_push(chain, tax);
    sk_X509_push(chain, p.mid);
    assert_int_not_equal(pki_trust_verify(p.trust, leaf, chain, PKI_SYSTEM, FORGE_NOW_MS, &peer, NULL), EHIS_OK);
    sk_X509_free(chain);
    X509_free(leaf);
    X509_free(tax);
    EVP_PKEY_free(key);
}

static void a_chain_file_is_bounded_and_whole(void **state)
{
    (void)state;
    STACK_OF(X509) * chain;
    struct buf pem;
    buf_init(&pem, 1 << 20);
    assert_int_equal(pki_chain_from_pem(buf_span(&pem), &chain, NULL), EHIS_E_PEM_MALFORMED);
    for (size_t i = 0; i < PKI_CHAIN_MAX; i++) {
        struct buf der;
        buf_init(&der, 65536);
        forge_put_der(&der, good);
        assert_int_equal(pki_pem_put(&pem, "CERTIFICATE", buf_span(&der)), EHIS_OK);
        assert_int_equal(pki_chain_from_pem(buf_span(&pem), &chain, NULL), EHIS_OK);
        assert_int_equal(sk_X509_num(chain), i + 1);
        pki_chain_free(chain);
        buf_fini(&der);
    }
    struct span whole = buf_span(&pem);
    assert_int_equal(pki_chain_from_pem(span_of(whole.p, whole.len - 10), &chain, NULL), EHIS_E_PEM_MALFORMED);
    assert_int_equal(buf_put_span(&pem, span_of(whole.p, whole.len / PKI_CHAIN_MAX)), EHIS_OK);
    assert_int_equal(pki_chain_from_pem(buf_span(&pem), &chain, NULL), EHIS_E_PEM_MALFORMED);
    buf_fini(&pem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_chain_is_believed),
        cmocka_unit_test(expiries_and_the_bundle_are_told),
        cmocka_unit_test(a_revoked_certificate_is_refused_at_once_and_live),
        cmocka_unit_test(a_revoked_intermediate_is_refused),
        cmocka_unit_test(a_list_of_every_authority_is_required),
        cmocka_unit_test(lists_out_of_time_are_refused),
        cmocka_unit_test(an_older_list_or_another_with_the_same_number_is_refused),
        cmocka_unit_test(foreign_forged_and_malformed_lists_are_refused),
        cmocka_unit_test(a_bundle_cut_anywhere_or_with_more_behind_it_is_refused),
        cmocka_unit_test(authorities_without_a_root_or_of_the_wrong_form_are_refused),
        cmocka_unit_test(stale_lists_let_an_adapter_in_marked_and_still_revoke),
        cmocka_unit_test(strangers_expired_and_forged_chains_are_refused),
        cmocka_unit_test(a_system_cannot_pose_as_a_gateway_nor_the_reverse),
        cmocka_unit_test(what_path_validation_lets_through_the_profile_refuses),
        cmocka_unit_test(chains_are_held_to_three_intermediates_and_their_path_lengths),
        cmocka_unit_test(an_intermediate_that_is_not_known_has_no_list),
        cmocka_unit_test(a_leaf_may_not_issue),
        cmocka_unit_test(a_chain_file_is_bounded_and_whole),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
