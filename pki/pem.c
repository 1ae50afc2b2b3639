/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "pki/pem.h"
#include <limits.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

typedef ehis_err each_fn(void *arg, struct span der, struct ehis_why *why);

static ehis_err der_each(struct span text, size_t max_count, each_fn *each, void *arg, struct ehis_why *why)
{
    for (size_t n = 0; text.len; n++) {
        const uint8_t *p = text.p;
        long len;
        int tag, class_;
        int r = ASN1_get_object(&p, &len, &tag, &class_, (long)text.len);
        ERR_clear_error();
        /* 0x80: an error; 1: indefinite length, which DER does not have. */
        if (r & 0x81 || tag != V_ASN1_SEQUENCE)
            return ehis_fail(why, EHIS_E_PEM_MALFORMED, "no DER object at the place of number %zu", n + 1);
        if (n == max_count)
            return ehis_fail(why, EHIS_E_PEM_MALFORMED, "more than %zu objects", max_count);
        size_t whole = (size_t)(p - text.p) + (size_t)len;
        EHIS_TRY(each(arg, span_of(text.p, whole), why));
        text = span_of(text.p + whole, text.len - whole);
    }
    return EHIS_OK;
}

ehis_err pki_pem_each(struct span text, const char *label, size_t max_count, each_fn *each, void *arg, struct ehis_why *why)
{
    if (text.len > INT_MAX)
        return EHIS_E_TOO_LARGE;
    if (text.len && text.p[0] == (V_ASN1_SEQUENCE | V_ASN1_CONSTRUCTED))
        return der_each(text, max_count, each, arg, why);
    BIO *bio = BIO_new_mem_buf(text.p ? (const void *)text.p : "", (int)text.len);
    if (!bio)
        return EHIS_E_NO_MEMORY;
    ehis_err err = EHIS_OK;
    for (size_t n = 0; err == EHIS_OK; n++) {
        char *name = NULL, *header = NULL;
        uint8_t *data = NULL;
        long len = 0;
        ERR_clear_error();
        if (PEM_read_bio(bio, &name, &header, &data, &len) != 1) {
            bool is_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
            if (!is_end || (n == 0 && text.len))
                err = ehis_fail(why, EHIS_E_PEM_MALFORMED, is_end ? "no PEM block" : "PEM block %zu is damaged", n + 1);
            ERR_clear_error();
            break;
        }
        if (strcmp(name, label) != 0)
            err = ehis_fail(why, EHIS_E_PEM_MALFORMED, "block %zu is %.40s, not %s", n + 1, name, label);
        else if (header[0])
            err = ehis_fail(why, EHIS_E_PEM_MALFORMED, "block %zu has headers; encrypted?", n + 1);
        else if (n == max_count)
            err = ehis_fail(why, EHIS_E_PEM_MALFORMED, "more than %zu blocks", max_count);
        else
            err = each(arg, span_of(data, (size_t)len), why);
        OPENSSL_clear_free(data, (size_t)len);
        OPENSSL_free(name);
        OPENSSL_free(header);
    }
    BIO_free(bio);
    return err;
}

ehis_err pki_pem_put(struct buf *out, const char *label, struct span der)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    ehis_err err = EHIS_E_NO_MEMORY;
    if (bio && PEM_write_bio(bio, label, "", der.p, (long)der.len) > 0) {
        long n = BIO_get_mem_data(bio, &text);
        err = buf_put(out, text, (size_t)n);
    }
    BIO_free(bio);
    return err;
}
