/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The verbs that write: init, keygen, issue, sign-csr, revoke, crl. */
#include "base/disk.h"
#include "pki/authority.h"
#include "pki/csr.h"
#include "pki/join.h"
#include "pki/keyfile.h"
#include "pki/pem.h"
#include "pki/tool/tool.h"
#include "pki/trust.h"

ehis_err run_init(struct cli *c, struct ehis_why *why)
{
    uint64_t root_days = cli_number(c, "root-days"), intermediate_days = cli_number(c, "intermediate-days");
    const char *dir = cli_get(c, "dir"), *instance = cli_get(c, "instance");
    if (intermediate_days > root_days && cli_has(c, "intermediate-days"))
        return ehis_fail(why, EHIS_E_USAGE, "--intermediate-days is at most --root-days");
    if (intermediate_days > root_days)
        intermediate_days = root_days;
    EHIS_TRY(identifier_part_check(span_str(instance), why));
    if (!cli_has(c, "dry-run"))
        EHIS_TRY(pki_authority_init(dir, span_str(instance), (unsigned)root_days, (unsigned)intermediate_days, clock_wall_ms(&clock_system),
                                    why));
    return tool_print(c, json_pack("{s:s, s:s, s:b}", "authority", dir, "instance", instance, "written", !cli_has(c, "dry-run")));
}

/* For the brokers: a key that Kafka takes too (P-256, PKCS#8), and a plain request. */
static ehis_err keygen_bus(struct cli *c, struct span id, struct ehis_why *why)
{
    char paths[2][4096];
    const char *dir = cli_get(c, "dir");
    struct disk *folder;
    EVP_PKEY *key = NULL;
    struct buf csr, pem;
    EHIS_TRY(identifier_check(id, IDENTIFIER_GATEWAY, why));
    for (int i = 0; i < 2; i++)
        if (snprintf(paths[i], sizeof paths[i], "%s/bus.%s", dir, i ? "csr" : "key") >= (int)sizeof paths[i])
            return ehis_fail(why, EHIS_E_TOO_LARGE, "the path of the folder");
    if (cli_has(c, "dry-run"))
        return tool_print(c, json_pack("{s:s, s:s, s:s, s:b}", "kind", "bus", "id", cli_word(c, 0), "folder", dir, "written", 0));
    EHIS_TRY(disk_open_folder(dir, true, &folder, why));
    disk_free(folder);
    buf_init(&csr, PKI_CSR_MAX_BYTES);
    buf_init(&pem, 2 * PKI_CSR_MAX_BYTES);
    ehis_err err = pki_tlskey_make(paths[0], &key, why);
    if (err == EHIS_OK)
        err = pki_csr_make(key, PKI_BUS, id, &csr, why);
    if (err == EHIS_OK)
        err = pki_pem_put(&pem, "CERTIFICATE REQUEST", buf_span(&csr));
    if (err == EHIS_OK)
        err = file_write(paths[1], buf_span(&pem), 0644, why);
    EVP_PKEY_free(key);
    buf_fini(&csr);
    buf_fini(&pem);
    EHIS_TRY(err);
    return tool_print(c, json_pack("{s:s, s:s, s:s, s:b}", "kind", "bus", "id", cli_word(c, 0), "folder", dir, "written", 1));
}

ehis_err run_keygen(struct cli *c, struct ehis_why *why)
{
    struct span id = span_str(cli_word(c, 0));
    enum pki_kind kind = cli_has(c, "gateway") ? PKI_GATEWAY : PKI_SYSTEM;
    struct pki_join join = {0};
    struct buf request;
    if (cli_has(c, "bus"))
        return keygen_bus(c, id, why);
    EHIS_TRY(identifier_check(id, pki_kind_parts(kind), why));
    buf_init(&request, PKI_JOIN_MAX_BYTES);
    ehis_err err = EHIS_OK;
    if (!cli_has(c, "dry-run")) {
        err = pki_join_make(cli_get(c, "dir"), kind, id, clock_wall_ms(&clock_system), &random_system, &request, why);
        if (err == EHIS_OK)
            err = pki_join_read(buf_span(&request), &join, why);
    }
    if (err == EHIS_OK)
        err = tool_print(c, json_pack("{s:s, s:s, s:s, s:o, s:b}", "kind", pki_kind_name(kind), "id", cli_word(c, 0), "folder",
                                      cli_get(c, "dir"), "keys", tool_keys(&join), "written", !cli_has(c, "dry-run")));
    buf_fini(&request);
    return err;
}

/* Issues, writes --out and says what was issued. */
static ehis_err issue(struct cli *c, struct span csr, enum pki_kind kind, struct span id, struct ehis_why *why)
{
    struct pki_authority *a;
    struct pki_leaf leaf;
    struct buf chain;
    bool is_dry = cli_has(c, "dry-run");
    unsigned days = (unsigned)cli_number(c, "days");
    const char *hosts[CLI_VALUES_MAX];
    size_t host_count = kind == PKI_BUS ? cli_get_all(c, "host", hosts) : 0;
    int64_t now_ms = clock_wall_ms(&clock_system);
    EHIS_TRY(pki_authority_open(cli_get(c, "ca"), &a, why));
    buf_init(&chain, PKI_CA_FILE_MAX_BYTES);
    ehis_err err = kind == PKI_BUS ? pki_authority_issue_bus(a, csr, id, hosts, host_count, days, now_ms, is_dry, &chain, &leaf, why)
                                   : pki_authority_issue(a, csr, kind, id, days, now_ms, is_dry, &chain, &leaf, why);
    if (err == EHIS_OK)
        err = cli_write(c, cli_get(c, "out"), buf_span(&chain), 0644, why);
    pki_authority_close(a);
    buf_fini(&chain);
    EHIS_TRY(err);
    json_t *result = tool_leaf(&leaf);
    json_object_set_new(result, "written", json_boolean(!is_dry));
    return tool_print(c, result);
}

ehis_err run_issue(struct cli *c, struct ehis_why *why)
{
    struct buf request;
    struct pki_join join;
    buf_init(&request, PKI_JOIN_MAX_BYTES);
    ehis_err err = file_read(cli_get(c, "request"), PKI_JOIN_MAX_BYTES, &request, why);
    if (err == EHIS_OK)
        err = pki_join_read(buf_span(&request), &join, why);
    if (err == EHIS_OK)
        err = issue(c, join.csr, join.kind, join.id, why);
    buf_fini(&request);
    return err;
}

static ehis_err on_csr(void *arg, struct span der, struct ehis_why *why)
{
    (void)why;
    return buf_put_span(arg, der);
}

ehis_err run_sign_csr(struct cli *c, struct ehis_why *why)
{
    struct buf text, der;
    enum pki_kind kind = cli_has(c, "bus") ? PKI_BUS : cli_has(c, "gateway") ? PKI_GATEWAY : PKI_SYSTEM;
    if (kind != PKI_BUS && cli_has(c, "host"))
        return ehis_fail(why, EHIS_E_USAGE, "--host goes with --bus");
    buf_init(&text, 4 * PKI_CSR_MAX_BYTES);
    buf_init(&der, PKI_CSR_MAX_BYTES);
    ehis_err err = file_read(cli_get(c, "csr"), 4 * PKI_CSR_MAX_BYTES, &text, why);
    if (err == EHIS_OK)
        err = pki_pem_each(buf_span(&text), "CERTIFICATE REQUEST", 1, on_csr, &der, why);
    if (err == EHIS_OK)
        err = issue(c, buf_span(&der), kind, span_str(cli_word(c, 0)), why);
    buf_fini(&text);
    buf_fini(&der);
    return err;
}

ehis_err run_revoke(struct cli *c, struct ehis_why *why)
{
    struct pki_authority *a;
    size_t count;
    const char *reason = cli_get(c, "reason");
    bool is_dry = cli_has(c, "dry-run");
    EHIS_TRY(pki_authority_open(cli_get(c, "ca"), &a, why));
    ehis_err err =
        pki_authority_revoke(a, cli_word(c, 0), reason ? reason : "unspecified", clock_wall_ms(&clock_system), is_dry, &count, why);
    pki_authority_close(a);
    EHIS_TRY(err);
    return tool_print(c, json_pack("{s:s, s:I, s:b}", "which", cli_word(c, 0), "revoked", (json_int_t)count, "written", !is_dry));
}

ehis_err run_crl(struct cli *c, struct ehis_why *why)
{
    uint64_t days = cli_number(c, "days");
    struct pki_authority *a;
    struct buf pem;
    bool is_dry = cli_has(c, "dry-run");
    int64_t now_ms = clock_wall_ms(&clock_system);
    EHIS_TRY(pki_authority_open(cli_get(c, "ca"), &a, why));
    buf_init(&pem, 2 * PKI_CRL_MAX_BYTES);
    ehis_err err = pki_authority_crl(a, (unsigned)days, now_ms, is_dry, &pem, why);
    if (err == EHIS_OK)
        err = cli_write(c, cli_get(c, "out"), buf_span(&pem), 0644, why);
    pki_authority_close(a);
    buf_fini(&pem);
    EHIS_TRY(err);
    return tool_print(c, json_pack("{s:s, s:o, s:b}", "file", cli_get(c, "out"), "next_update",
                                   tool_time(now_ms + (int64_t)days * 86400000), "written", !is_dry));
}
