/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "pki/tls.h"
#include "pki/tool/tool.h"

#define LIST(a) a, sizeof a / sizeof a[0]
#define CA_DIR "ca", "DIR", "the authority's folder", true, false
#define OUT(what) "out", "FILE", what, true, false
#define DRY_RUN "dry-run", NULL, "check everything, write nothing", false, false
#define DAYS(what) "days", "N", what, false, false

static const struct cli_option init_options[] = {
    {"dir", "DIR", "the folder to make the authority in", true, false},
    {"instance", "NAME", "the instance it is the authority of, such as AZ", true, false},
    {"root-days", "N", "life of the root, 3650 unless given", false, false},
    {"intermediate-days", "N", "life of the intermediate, 1825 unless given", false, false},
    {DRY_RUN},
};
static const struct cli_option keygen_options[] = {
    {"dir", "DIR", "the folder to make the keys in", true, false},
    {"gateway", NULL, "for a gateway: no sealing key", false, false},
    {"bus", NULL, "for a broker, or a gateway at the brokers: bus.key and bus.csr alone", false, false},
    {DRY_RUN},
};
static const struct cli_option issue_options[] = {
    {CA_DIR},
    {"request", "FILE", "the join request", true, false},
    {OUT("where the certificate and its intermediate go")},
    {DAYS("life of the certificate, 1 to 90, 30 unless given")},
    {DRY_RUN},
};
static const struct cli_option csr_options[] = {
    {CA_DIR},
    {"csr", "FILE", "the PKCS#10 request, PEM or DER", true, false},
    {"gateway", NULL, "the name is a gateway's", false, false},
    {"bus", NULL, "for a broker, or a gateway at the brokers", false, false},
    {"host", "NAME", "with --bus: a name or address that the broker is dialled by", false, true},
    {OUT("where the certificate and its intermediate go")},
    {DAYS("life of the certificate, 1 to 90, 30 unless given")},
    {DRY_RUN},
};
static const struct cli_option revoke_options[] = {
    {CA_DIR},
    {"reason", "REASON", "unspecified, keyCompromise, affiliationChanged, superseded or cessationOfOperation", false, false},
    {DRY_RUN},
};
static const struct cli_option crl_options[] = {
    {CA_DIR},
    {OUT("where the lists of root and intermediate go")},
    {DAYS("until they are out of date, 1 to 35, 7 unless given")},
    {DRY_RUN},
};
static const struct cli_option show_options[] = {
    {"ca", "DIR", "list what this authority has issued", false, false},
};
static const struct cli_option verify_options[] = {
    {"trust", "FILE", "the authority's ca.crt", true, false},
    {"crl", "FILE", "the revocation lists", true, true},
    {"kind", "KIND", "system or gateway: what the certificate must be; either unless given", false, false},
    {"at", "TIME", "verify as of this time (RFC 3339)", false, false},
};
static const struct cli_verb verbs[] = {
    {"init", "", "Makes an authority: a root, an intermediate, an empty list of certificates.", 0, 0, LIST(init_options), run_init},
    {"keygen", "ID", "Makes the keys of a system or gateway and one join request with proof of possession.", 1, 1, LIST(keygen_options),
     run_keygen},
    {"issue", "", "Issues a certificate for a join request, after checking every proof in it.", 0, 0, LIST(issue_options), run_issue},
    {"sign-csr", "ID", "Issues a certificate for a plain certificate request, under the name given here.", 1, 1, LIST(csr_options),
     run_sign_csr},
    {"revoke", "SERIAL|ID", "Revokes one certificate, or all of a system or gateway. Make and hand out a new crl afterwards.", 1, 1,
     LIST(revoke_options), run_revoke},
    {"crl", "", "Makes new revocation lists of root and intermediate.", 0, 0, LIST(crl_options), run_crl},
    {"show", "[FILE]", "Shows a certificate chain, revocation lists or a join request, or what an authority has issued.", 0, 1,
     LIST(show_options), run_show},
    {"verify", "FILE", "Verifies a certificate chain as a peer would: path, revocation, profile.", 1, 1, LIST(verify_options), run_verify},
};
static const struct cli_program program = {"ehis-pki", "who everybody is: keys, certificates, revocation lists", LIST(verbs)};

static void print_value(const json_t *v)
{
    if (json_is_string(v))
        fputs(json_string_value(v), stdout);
    else
        json_dumpf(v, stdout, JSON_ENCODE_ANY);
}

static void print_member(const char *name, json_t *value)
{
    size_t i;
    json_t *item, *content;
    const char *field;
    if (!json_is_array(value)) {
        printf("%s: ", name);
        print_value(value);
        fputc('\n', stdout);
    }
    json_array_foreach(value, i, item)
    {
        printf("%s %zu:", name, i + 1);
        json_object_foreach(item, field, content)
        {
            printf(" %s=", field);
            print_value(content);
        }
        fputc('\n', stdout);
    }
}

ehis_err tool_print(struct cli *c, json_t *result)
{
    const char *name;
    json_t *value;
    if (!result)
        return EHIS_E_NO_MEMORY;
    if (cli_json(c)) {
        json_dumpf(result, stdout, JSON_INDENT(2));
        fputc('\n', stdout);
    } else {
        json_object_foreach(result, name, value) print_member(name, value);
    }
    json_decref(result);
    return EHIS_OK;
}

json_t *tool_time(int64_t unix_ms)
{
    char text[TIME_TEXT_LEN];
    time_to_text(unix_ms, text);
    return json_string(text);
}

json_t *tool_hex(const uint8_t *p, size_t n)
{
    char text[2 * 64 + 1];
    EHIS_ASSERT(n <= 64);
    hex_to_text(p, n, text);
    return json_string(text);
}

json_t *tool_leaf(const struct pki_leaf *l)
{
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "kind", pki_kind_name(l->kind), "id", l->id, "serial",
                     tool_hex(l->serial, l->serial_len), "not_before", tool_time(l->not_before_ms), "not_after", tool_time(l->not_after_ms),
                     "key_id", tool_hex(l->key_id.b, HASH_BYTES), "fingerprint", tool_hex(l->fingerprint.b, HASH_BYTES));
}

int main(int argc, char **argv)
{
    struct ehis_why why = {""};
    ehis_err err = pki_init(&why);
    if (err == EHIS_OK)
        err = crypto_init(&why);
    if (err != EHIS_OK) {
        cli_print_error(program.name, false, err, &why);
        return CLI_FAILURE;
    }
    return cli_main(&program, argc, argv);
}
