/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "pki/keyfile.h"
#include "base/disk.h"
#include "base/secret.h"
#include "pki/pem.h"
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <unistd.h>

#define MAGIC "ehis-key-v1 "
#define SEED_FILE_MAX_BYTES 128
#define TLSKEY_FILE_MAX_BYTES 8192

static const struct {
    enum key_use use;
    const char *name;
} uses[] = {{USE_SIGN, "sign"}, {USE_SEAL, "seal"}, {USE_OPERATOR, "operator"}, {USE_AUTHORITY, "authority"}, {USE_LOG, "log"}};

const char *pki_key_use_name(enum key_use use)
{
    for (size_t i = 0; i < sizeof uses / sizeof uses[0]; i++)
        if (uses[i].use == use)
            return uses[i].name;
    return use == USE_TLS ? "tls" : "unknown";
}

ehis_err pki_keyfile_parse(struct span text, enum key_use *use, uint8_t seed[32], struct ehis_why *why)
{
    size_t magic = strlen(MAGIC);
    if (text.len < magic || memcmp(text.p, MAGIC, magic) != 0)
        return ehis_fail(why, EHIS_E_KEY_FILE, "it does not begin with %s", MAGIC);
    for (size_t i = 0; i < sizeof uses / sizeof uses[0]; i++) {
        size_t name = strlen(uses[i].name);
        if (text.len != magic + name + 1 + 64 + 1 || memcmp(text.p + magic, uses[i].name, name) != 0 || text.p[magic + name] != ' ')
            continue;
        if (text.p[text.len - 1] != '\n' || hex_from_text(span_of(text.p + magic + name + 1, 64), seed, 32) != EHIS_OK)
            break;
        *use = uses[i].use;
        return EHIS_OK;
    }
    return ehis_fail(why, EHIS_E_KEY_FILE, "it is not USE HEX and a newline");
}

static ehis_err load_seed(const char *path, enum key_use wanted, uint8_t seed[32], struct ehis_why *why)
{
    struct buf text;
    enum key_use use = 0;
    struct ehis_why inner = {""};
    buf_init(&text, SEED_FILE_MAX_BYTES);
    text.is_secret = true;
    ehis_err err = file_check_private(path, why);
    if (err == EHIS_OK)
        err = file_read(path, SEED_FILE_MAX_BYTES, &text, why);
    if (err == EHIS_OK && (err = pki_keyfile_parse(buf_span(&text), &use, seed, &inner)) != EHIS_OK)
        ehis_fail(why, err, "%s: %s", path, inner.text);
    if (err == EHIS_OK && use != wanted)
        err = ehis_fail(why, EHIS_E_KEY_FILE, "%s is for %s, not for %s", path, pki_key_use_name(use), pki_key_use_name(wanted));
    buf_fini(&text);
    return err;
}

ehis_err pki_keyfile_load_sign(const char *path, enum key_use use, struct sign_key **out, struct ehis_why *why)
{
    uint8_t seed[32];
    ehis_err err = load_seed(path, use, seed, why);
    if (err == EHIS_OK)
        err = sign_key_new(seed, use, out);
    secret_wipe(seed, sizeof seed);
    return err;
}

ehis_err pki_keyfile_load_seal(const char *path, struct seal_key **out, struct ehis_why *why)
{
    uint8_t seed[32];
    ehis_err err = load_seed(path, USE_SEAL, seed, why);
    if (err == EHIS_OK)
        err = seal_key_new(seed, out);
    secret_wipe(seed, sizeof seed);
    return err;
}

static ehis_err write_new(const char *path, const struct buf *content, struct ehis_why *why)
{
    if (access(path, F_OK) == 0)
        return ehis_fail(why, EHIS_E_EXISTS, "%s; a key is never overwritten", path);
    return file_write(path, buf_span(content), 0600, why);
}

static ehis_err save(const char *path, enum key_use use, const uint8_t seed[32], struct ehis_why *why)
{
    struct buf text;
    char hex[65];
    buf_init(&text, SEED_FILE_MAX_BYTES);
    text.is_secret = true;
    hex_to_text(seed, 32, hex);
    ehis_err err = buf_printf(&text, MAGIC "%s %s\n", pki_key_use_name(use), hex);
    if (err == EHIS_OK)
        err = write_new(path, &text, why);
    secret_wipe(hex, sizeof hex);
    buf_fini(&text);
    return err;
}

ehis_err pki_keyfile_make(const char *path, enum key_use use, const struct random *r, uint8_t public_key[32], struct ehis_why *why)
{
    uint8_t seed[32];
    struct sign_key *sign = NULL;
    struct seal_key *seal = NULL;
    random_fill(r, seed, sizeof seed);
    ehis_err err = use == USE_SEAL ? seal_key_new(seed, &seal) : sign_key_new(seed, use, &sign);
    if (err == EHIS_OK)
        err = save(path, use, seed, why);
    if (err == EHIS_OK)
        memcpy(public_key, seal ? seal_key_public(seal) : sign_key_public(sign), 32);
    secret_wipe(seed, sizeof seed);
    sign_key_free(sign);
    seal_key_free(seal);
    return err;
}

ehis_err pki_tlskey_make(const char *path, EVP_PKEY **out, struct ehis_why *why)
{
    struct buf pem;
    buf_init(&pem, TLSKEY_FILE_MAX_BYTES);
    pem.is_secret = true;
    ehis_err err = ehis_fail(why, EHIS_E_TLS_SETUP, "no P-256 key can be made");
    EVP_PKEY *key = EVP_EC_gen("P-256");
    BIO *bio = BIO_new(BIO_s_secmem());
    if (key && bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1) {
        char *text;
        long n = BIO_get_mem_data(bio, &text);
        err = buf_put(&pem, text, (size_t)n);
        if (err == EHIS_OK)
            err = write_new(path, &pem, why);
    }
    BIO_free(bio);
    buf_fini(&pem);
    if (err == EHIS_OK)
        *out = key;
    else
        EVP_PKEY_free(key);
    return err;
}

static ehis_err on_key(void *arg, struct span der, struct ehis_why *why)
{
    EVP_PKEY **out = arg;
    const uint8_t *p = der.p;
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &p, (long)der.len);
    *out = info && p == der.p + der.len ? EVP_PKCS82PKEY(info) : NULL;
    PKCS8_PRIV_KEY_INFO_free(info);
    ERR_clear_error();
    return *out ? EHIS_OK : ehis_fail(why, EHIS_E_KEY_FILE, "it is not PKCS#8");
}

ehis_err pki_tlskey_load(const char *path, EVP_PKEY **out, struct ehis_why *why)
{
    struct buf pem;
    EVP_PKEY *key = NULL;
    struct ehis_why inner = {""};
    buf_init(&pem, TLSKEY_FILE_MAX_BYTES);
    pem.is_secret = true;
    ehis_err err = file_check_private(path, why);
    if (err == EHIS_OK)
        err = file_read(path, TLSKEY_FILE_MAX_BYTES, &pem, why);
    if (err == EHIS_OK && (pki_pem_each(buf_span(&pem), "PRIVATE KEY", 1, on_key, &key, &inner) != EHIS_OK || !key)) {
        err = ehis_fail(why, EHIS_E_KEY_FILE, "%s: %s", path, inner.text);
        EVP_PKEY_free(key);
    } else if (err == EHIS_OK) {
        *out = key;
    }
    buf_fini(&pem);
    return err;
}
