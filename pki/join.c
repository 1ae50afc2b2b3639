/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "pki/join.h"
#include "base/disk.h"
#include "ehis_scan.h"
#include "pki/csr.h"
#include "pki/keyfile.h"
#include "pki/profile_priv.h"
#include "proto/wire/codec.h"
#include <openssl/err.h>
#include <stdio.h>
#include <unistd.h>

#define LABEL "ehis/join/v1"
#define LABEL_SEAL "ehis/join/seal/v1"
#define PROOF_MAX_BYTES 600
#define KEYS_MAX 3

struct proved { /* a key with its proof; while one is made, in buffers of the maker */
    struct pki_join_key key;
    struct span proof;
};

/* A JoinKey; without its proof for the core. */
static ehis_err put_key(struct buf *out, const struct proved *p, bool is_core)
{
    struct buf key, join_key;
    buf_init(&key, PKI_JOIN_MAX_BYTES);
    buf_init(&join_key, PKI_JOIN_MAX_BYTES);
    ehis_err err = codec_put_bytes(&key, 1, span_of(p->key.id.b, HASH_BYTES));
    if (err == EHIS_OK)
        err = codec_put_number(&key, 2, p->key.use);
    if (err == EHIS_OK)
        err = codec_put_number(&key, 3, p->key.algorithm);
    if (err == EHIS_OK)
        err = codec_put_bytes(&key, 4, p->key.public_key);
    if (err == EHIS_OK)
        err = codec_put_number(&key, 5, (uint64_t)p->key.not_before_ms);
    if (err == EHIS_OK)
        err = codec_put_bytes(&join_key, 1, buf_span(&key));
    if (err == EHIS_OK && !is_core)
        err = codec_put_bytes(&join_key, 2, p->proof);
    if (err == EHIS_OK)
        err = codec_put_bytes(out, 2, buf_span(&join_key));
    buf_fini(&key);
    buf_fini(&join_key);
    return err;
}

static ehis_err put_request(struct buf *out, struct span id, const struct proved *keys, size_t count, struct span csr, int64_t created_ms,
                            bool is_core)
{
    EHIS_TRY(codec_put_bytes(out, 1, id));
    for (size_t i = 0; i < count; i++)
        EHIS_TRY(put_key(out, &keys[i], is_core));
    EHIS_TRY(codec_put_bytes(out, 3, csr));
    return codec_put_number(out, 4, (uint64_t)created_ms);
}

static const EVP_MD *proof_digest(const EVP_PKEY *k)
{
    return EVP_PKEY_get_base_id(k) == EVP_PKEY_ED25519 ? NULL : EVP_sha256();
}

/* label (with its NUL) || core */
static ehis_err tls_message(struct span core, struct buf *out)
{
    EHIS_TRY(buf_put(out, LABEL, sizeof LABEL));
    return buf_put_span(out, core);
}

static ehis_err tls_verify(struct span spki, struct span csr_spki, struct span core, struct span proof, struct ehis_why *why)
{
    struct buf m;
    buf_init(&m, sizeof LABEL + PKI_JOIN_MAX_BYTES);
    const uint8_t *p = spki.p;
    EVP_PKEY *k = d2i_PUBKEY(NULL, &p, (long)spki.len);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    ehis_err err = tls_message(core, &m);
    if (err == EHIS_OK)
        err = p == spki.p + spki.len ? pki_key_check(k, why) : ehis_fail(why, EHIS_E_JOIN_KEYS, "the TLS key does not parse");
    if (err == EHIS_OK && !span_eq(spki, csr_spki))
        err = ehis_fail(why, EHIS_E_JOIN_KEYS, "the TLS key is not the certificate request's");
    if (err == EHIS_OK && (!ctx || EVP_DigestVerifyInit(ctx, NULL, proof_digest(k), NULL, k) != 1 ||
                           EVP_DigestVerify(ctx, proof.p, proof.len, m.p + m.start, m.len) != 1))
        err = ehis_fail(why, EHIS_E_JOIN_PROOF, "TLS key");
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(k);
    buf_fini(&m);
    ERR_clear_error();
    return err;
}

static ehis_err read_key(struct span bytes, struct proved *out, struct ehis_why *why)
{
    struct scan_value join[3], key[8];
    EHIS_TRY(scan(&scan_ehis_v1_join_key, bytes, join, 3, why));
    EHIS_TRY(scan(&scan_ehis_v1_key, join[1].bytes, key, 8, why));
    enum key_use use = (enum key_use)key[2].number;
    enum key_algorithm wanted = use == USE_SIGN ? ALGORITHM_ED25519 : use == USE_SEAL ? ALGORITHM_X25519 : ALGORITHM_SPKI;
    if (use != USE_SIGN && use != USE_SEAL && use != USE_TLS)
        return ehis_fail(why, EHIS_E_JOIN_KEYS, "a key for use %u", use);
    *out = (struct proved){.proof = join[2].bytes,
                           .key = {.use = use, .algorithm = wanted, .public_key = key[4].bytes, .not_before_ms = (int64_t)key[5].number}};
    crypto_key_id(use, wanted, key[4].bytes, &out->key.id);
    if (key[3].number != wanted || (use != USE_TLS && key[4].bytes.len != 32) ||
        !span_eq(key[1].bytes, span_of(out->key.id.b, HASH_BYTES)) || key[6].is_present || key[7].is_present || key[5].number > INT64_MAX)
        return ehis_fail(why, EHIS_E_JOIN_KEYS, "the %s key's algorithm, length, id or times are wrong", pki_key_use_name(use));
    return EHIS_OK;
}

static const struct proved *find_key(const struct proved *keys, size_t count, enum key_use use)
{
    for (size_t i = 0; i < count; i++)
        if (keys[i].key.use == use)
            return &keys[i];
    return NULL;
}

/* One key of each use that this kind has, and no other. */
static ehis_err read_keys(struct span bytes, const struct scan_value *field, enum pki_kind kind, struct proved keys[KEYS_MAX],
                          size_t *count, struct ehis_why *why)
{
    size_t wanted = kind == PKI_SYSTEM ? 3 : 2;
    if (field->count != wanted)
        return ehis_fail(why, EHIS_E_JOIN_KEYS, "%zu keys for a %s", field->count, pki_kind_name(kind));
    struct span one;
    size_t n = 0;
    for (size_t at = 0; n < wanted && scan_next(bytes, 2, &at, &one); n++) {
        EHIS_TRY(read_key(one, &keys[n], why));
        if (find_key(keys, n, keys[n].key.use) || (kind == PKI_GATEWAY && keys[n].key.use == USE_SEAL))
            return ehis_fail(why, EHIS_E_JOIN_KEYS, "a %s key too many", pki_key_use_name(keys[n].key.use));
    }
    *count = n;
    return n == wanted ? EHIS_OK : ehis_fail(why, EHIS_E_JOIN_KEYS, "%zu keys", n);
}

static ehis_err sign_verify(const struct proved *sign, const struct proved *proved, const char *label, struct span core,
                            struct ehis_why *why)
{
    if (proved->proof.len != 64 || sign_verify_bytes(sign->key.public_key.p, label, core, proved->proof.p) != EHIS_OK)
        return ehis_fail(why, EHIS_E_JOIN_PROOF, "%s key", pki_key_use_name(proved->key.use));
    return EHIS_OK;
}

static ehis_err verify_proofs(const struct pki_join *join, const struct proved *keys, struct ehis_why *why)
{
    const struct proved *sign = find_key(keys, join->key_count, USE_SIGN), *seal = find_key(keys, join->key_count, USE_SEAL),
                        *tls = find_key(keys, join->key_count, USE_TLS);
    struct buf core;
    X509_REQ *csr = NULL;
    uint8_t *spki = NULL;
    buf_init(&core, PKI_JOIN_MAX_BYTES);
    ehis_err err = put_request(&core, join->id, keys, join->key_count, join->csr, join->created_ms, true);
    if (err == EHIS_OK)
        err = sign_verify(sign, sign, LABEL, buf_span(&core), why);
    if (err == EHIS_OK && seal)
        err = sign_verify(sign, seal, LABEL_SEAL, buf_span(&core), why);
    if (err == EHIS_OK)
        err = pki_csr_read(join->csr, join->kind, join->id, &csr, why);
    if (err == EHIS_OK) {
        int n = i2d_PUBKEY(X509_REQ_get0_pubkey(csr), &spki);
        err = n > 0 ? tls_verify(tls->key.public_key, span_of(spki, (size_t)n), buf_span(&core), tls->proof, why) : EHIS_E_NO_MEMORY;
    }
    OPENSSL_free(spki);
    X509_REQ_free(csr);
    buf_fini(&core);
    return err;
}

ehis_err pki_join_read(struct span bytes, struct pki_join *out, struct ehis_why *why)
{
    struct scan_value v[5];
    struct proved keys[KEYS_MAX];
    unsigned parts;
    if (bytes.len > PKI_JOIN_MAX_BYTES)
        return ehis_fail(why, EHIS_E_TOO_LARGE, "%zu bytes", bytes.len);
    EHIS_TRY(scan(&scan_ehis_v1_join_request, bytes, v, 5, why));
    EHIS_TRY(identifier_parse(v[1].bytes, &parts, why));
    if (parts != IDENTIFIER_SYSTEM && parts != IDENTIFIER_GATEWAY)
        return ehis_fail(why, EHIS_E_IDENTIFIER_INVALID, "neither a system nor a gateway");
    if (v[4].number > INT64_MAX)
        return ehis_fail(why, EHIS_E_SCAN_RANGE, "created_ms");
    struct pki_join join = {.kind = parts == IDENTIFIER_SYSTEM ? PKI_SYSTEM : PKI_GATEWAY,
                            .id = v[1].bytes,
                            .csr = v[3].bytes,
                            .created_ms = (int64_t)v[4].number};
    EHIS_TRY(read_keys(bytes, &v[2], join.kind, keys, &join.key_count, why));
    EHIS_TRY(verify_proofs(&join, keys, why));
    for (size_t i = 0; i < join.key_count; i++)
        join.keys[i] = keys[i].key;
    *out = join;
    return EHIS_OK;
}

struct making { /* everything that one join request is made from; freed whole */
    struct sign_key *sign;
    EVP_PKEY *tls;
    uint8_t sign_public[32], seal_public[32];
    uint8_t *spki;
    struct buf csr, core, request;
    struct proved keys[KEYS_MAX];
    size_t count;
    uint8_t sign_proof[64], seal_proof[64], tls_proof[PROOF_MAX_BYTES];
};

static struct proved *add_key(struct making *m, enum key_use use, enum key_algorithm algorithm, struct span public_key, int64_t now_ms)
{
    struct proved *p = &m->keys[m->count++];
    *p = (struct proved){.key = {.use = use, .algorithm = algorithm, .public_key = public_key, .not_before_ms = now_ms - PKI_BACKDATE_MS}};
    crypto_key_id(use, algorithm, public_key, &p->key.id);
    return p;
}

static ehis_err path_of(const char *dir, const char *name, char out[4096], struct ehis_why *why)
{
    int n = snprintf(out, 4096, "%s/%s", dir, name);
    return n < 4096 ? EHIS_OK : ehis_fail(why, EHIS_E_TOO_LARGE, "the path of the folder");
}

static ehis_err make_keys(struct making *m, const char *dir, enum pki_kind kind, const struct random *r, struct ehis_why *why)
{
    char path[4096];
    EHIS_TRY(path_of(dir, "sign.key", path, why));
    EHIS_TRY(pki_keyfile_make(path, USE_SIGN, r, m->sign_public, why));
    EHIS_TRY(pki_keyfile_load_sign(path, USE_SIGN, &m->sign, why));
    if (kind == PKI_SYSTEM) {
        EHIS_TRY(path_of(dir, "seal.key", path, why));
        EHIS_TRY(pki_keyfile_make(path, USE_SEAL, r, m->seal_public, why));
    }
    EHIS_TRY(path_of(dir, "tls.key", path, why));
    return pki_tlskey_make(path, &m->tls, why);
}

static ehis_err tls_prove(struct making *m, struct proved *tls, struct ehis_why *why)
{
    struct buf message;
    buf_init(&message, sizeof LABEL + PKI_JOIN_MAX_BYTES);
    size_t n = sizeof m->tls_proof;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    ehis_err err = tls_message(buf_span(&m->core), &message);
    if (err == EHIS_OK && (!ctx || EVP_DigestSignInit(ctx, NULL, proof_digest(m->tls), NULL, m->tls) != 1 ||
                           EVP_DigestSign(ctx, m->tls_proof, &n, message.p + message.start, message.len) != 1))
        err = ehis_fail(why, EHIS_E_TLS_SETUP, "the TLS key does not sign");
    tls->proof = span_of(m->tls_proof, n);
    EVP_MD_CTX_free(ctx);
    buf_fini(&message);
    return err;
}

static ehis_err make_request(struct making *m, enum pki_kind kind, struct span id, int64_t now_ms, struct ehis_why *why)
{
    int n = i2d_PUBKEY(m->tls, &m->spki);
    if (n <= 0)
        return EHIS_E_NO_MEMORY;
    struct proved *tls = add_key(m, USE_TLS, ALGORITHM_SPKI, span_of(m->spki, (size_t)n), now_ms);
    struct proved *sign = add_key(m, USE_SIGN, ALGORITHM_ED25519, span_of(m->sign_public, 32), now_ms), *seal = NULL;
    if (kind == PKI_SYSTEM)
        seal = add_key(m, USE_SEAL, ALGORITHM_X25519, span_of(m->seal_public, 32), now_ms);
    EHIS_TRY(pki_csr_make(m->tls, kind, id, &m->csr, why));
    EHIS_TRY(put_request(&m->core, id, m->keys, m->count, buf_span(&m->csr), now_ms, true));
    sign_bytes(m->sign, LABEL, buf_span(&m->core), m->sign_proof);
    sign->proof = span_of(m->sign_proof, 64);
    if (seal) {
        sign_bytes(m->sign, LABEL_SEAL, buf_span(&m->core), m->seal_proof);
        seal->proof = span_of(m->seal_proof, 64);
    }
    EHIS_TRY(tls_prove(m, tls, why));
    return put_request(&m->request, id, m->keys, m->count, buf_span(&m->csr), now_ms, false);
}

static ehis_err check_free(const char *dir, struct ehis_why *why)
{
    static const char *const names[] = {"tls.key", "sign.key", "seal.key", "join.request"};
    char path[4096];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        EHIS_TRY(path_of(dir, names[i], path, why));
        if (access(path, F_OK) == 0)
            return ehis_fail(why, EHIS_E_EXISTS, "%s; take another folder", path);
    }
    return EHIS_OK;
}

ehis_err pki_join_make(const char *dir, enum pki_kind kind, struct span id, int64_t now_ms, const struct random *r, struct buf *request,
                       struct ehis_why *why)
{
    char path[4096];
    struct disk *folder;
    struct pki_join made;
    struct making m = {0};
    buf_init(&m.csr, PKI_CSR_MAX_BYTES);
    buf_init(&m.core, PKI_JOIN_MAX_BYTES);
    buf_init(&m.request, PKI_JOIN_MAX_BYTES);
    EHIS_TRY(identifier_check(id, kind == PKI_SYSTEM ? IDENTIFIER_SYSTEM : IDENTIFIER_GATEWAY, why));
    EHIS_TRY(path_of(dir, "join.request", path, why));
    EHIS_TRY(check_free(dir, why));
    EHIS_TRY(disk_open_folder(dir, true, &folder, why));
    disk_free(folder);
    ehis_err err = make_keys(&m, dir, kind, r, why);
    if (err == EHIS_OK)
        err = make_request(&m, kind, id, now_ms, why);
    if (err == EHIS_OK)
        err = pki_join_read(buf_span(&m.request), &made, why); /* what others will be asked to believe */
    if (err == EHIS_OK)
        err = file_write(path, buf_span(&m.request), 0644, why);
    if (err == EHIS_OK && request)
        err = buf_put_span(request, buf_span(&m.request));
    sign_key_free(m.sign);
    EVP_PKEY_free(m.tls);
    OPENSSL_free(m.spki);
    buf_fini(&m.csr);
    buf_fini(&m.core);
    buf_fini(&m.request);
    return err;
}
