/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "pki/authority.h"
#include "pki/keyfile.h"
#include "pki/tls.h"
#include "pki/tool/tool.h"

#define CA_DIR CLI_NEEDED("ca", "DIR", "the authority's folder")
#define OUT(what) CLI_NEEDED("out", "FILE", what)
#define DAYS CLI_COUNT("days", 1, PKI_LEAF_DAYS_MAX, "30", "life of the certificate")

static const struct cli_option init_options[] = {
    CLI_NEEDED("dir", "DIR", "the folder to make the authority in"),
    CLI_NEEDED("instance", "NAME", "the instance it is the authority of, such as AZ"),
    CLI_COUNT("root-days", 1, 7300, "3650", "life of the root"),
    CLI_COUNT("intermediate-days", 1, 7300, "1825", "life of the intermediate, at most the root's"),
    CLI_DRY_RUN,
};
static const struct cli_option keygen_options[] = {
    CLI_NEEDED("dir", "DIR", "the folder to make the keys in"),
    CLI_FLAG("gateway", "for a gateway: no sealing key"),
    CLI_FLAG("bus", "for a broker, or a gateway at the brokers: bus.key and bus.csr alone"),
    CLI_DRY_RUN,
};
static const struct cli_option issue_options[] = {
    CA_DIR, CLI_NEEDED("request", "FILE", "the join request"), OUT("where the certificate and its intermediate go"), DAYS, CLI_DRY_RUN,
};
static const struct cli_option csr_options[] = {
    CA_DIR,
    CLI_NEEDED("csr", "FILE", "the PKCS#10 request, PEM or DER"),
    CLI_FLAG("gateway", "the name is a gateway's"),
    CLI_FLAG("bus", "for a broker, or a gateway at the brokers"),
    CLI_TEXTS("host", "NAME", "with --bus: a name or address that the broker is dialled by"),
    OUT("where the certificate and its intermediate go"),
    DAYS,
    CLI_DRY_RUN,
};
static const struct cli_option revoke_options[] = {
    CA_DIR,
    CLI_TEXT("reason", "REASON", "unspecified (unless given), keyCompromise, affiliationChanged, superseded or cessationOfOperation"),
    CLI_DRY_RUN,
};
static const struct cli_option crl_options[] = {
    CA_DIR,
    OUT("where the lists of root and intermediate go"),
    CLI_COUNT("days", 1, PKI_CRL_DAYS_MAX, "7", "until they are out of date"),
    CLI_DRY_RUN,
};
static const struct cli_option show_options[] = {CLI_TEXT("ca", "DIR", "list what this authority has issued")};
static const struct cli_option verify_options[] = {
    CLI_NEEDED("trust", "FILE", "the authority's ca.crt"),
    {.name = "crl", .type = CLI_IS_TEXT, .value = "FILE", .is_required = true, .is_repeatable = true, .sentence = "the revocation lists"},
    CLI_CHOICE("kind", "system|gateway", NULL, "what the certificate must be; either unless given"),
    CLI_TIME("at", "verify as of this time (RFC 3339)"),
};
static const struct cli_verb verbs[] = {
    {"init", "", "Makes an authority: a root, an intermediate, an empty list of certificates.", 0, 0, CLI_LIST(init_options), run_init},
    {"keygen", "ID", "Makes the keys of a system or gateway and one join request with proof of possession.", 1, 1, CLI_LIST(keygen_options),
     run_keygen},
    {"issue", "", "Issues a certificate for a join request, after checking every proof in it.", 0, 0, CLI_LIST(issue_options), run_issue},
    {"sign-csr", "ID", "Issues a certificate for a plain certificate request, under the name given here.", 1, 1, CLI_LIST(csr_options),
     run_sign_csr},
    {"revoke", "SERIAL|ID", "Revokes one certificate, or all of a system or gateway. Make and hand out a new crl afterwards.", 1, 1,
     CLI_LIST(revoke_options), run_revoke},
    {"crl", "", "Makes new revocation lists of root and intermediate.", 0, 0, CLI_LIST(crl_options), run_crl},
    {"show", "[FILE]", "Shows a certificate chain, revocation lists or a join request, or what an authority has issued.", 0, 1,
     CLI_LIST(show_options), run_show},
    {"verify", "FILE", "Verifies a certificate chain as a peer would: path, revocation, profile.", 1, 1, CLI_LIST(verify_options), run_verify},
};
json_t *tool_keys(const struct pki_join *join)
{
    json_t *keys = json_array();
    for (size_t i = 0; i < join->key_count; i++)
        json_array_append_new(keys, json_pack("{s:s, s:o}", "use", pki_key_use_name(join->keys[i].use), "id", tool_hex(join->keys[i].id.b, HASH_BYTES)));
    return keys;
}

json_t *tool_leaf(const struct pki_leaf *l)
{
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "kind", pki_kind_name(l->kind), "id", l->id, "serial",
                     tool_hex(l->serial, l->serial_len), "not_before", tool_time(l->not_before_ms), "not_after", tool_time(l->not_after_ms),
                     "key_id", tool_hex(l->key_id.b, HASH_BYTES), "fingerprint", tool_hex(l->fingerprint.b, HASH_BYTES));
}

int main(int argc, char **argv)
{
    static const struct cli_program program = {
        .name = "ehis-pki", .sentence = "who everybody is: keys, certificates, revocation lists", CLI_VERBS(verbs), .start = pki_init};
    return cli_main(&program, argc, argv);
}
