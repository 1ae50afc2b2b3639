/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "pki/tls.h"
#include "policy/tool/tool.h"

static const struct cli_option init_options[] = {TOOL_DIR, {"instance", "NAME", "the instance, such as AZ", true, false}, TOOL_DRY_RUN};
static const struct cli_option add_options[] = {
    TOOL_DIR,
    {"as", "KIND", "agency, system or gateway", true, false},
    {"name", "TEXT", "an agency's name, for people", false, false},
    {"contact", "TEXT", "whom to reach about a system", false, false},
    TOOL_DRY_RUN,
};
static const struct cli_option key_options[] = {TOOL_DIR, {"at", "TIME", "since when, now unless given", false, false}, TOOL_DRY_RUN};
static const struct cli_option keygen_options[] = {{"out", "FILE", "the private key, 0600; the public one goes to FILE.pub", true, false},
                                                   TOOL_DRY_RUN};
static const struct cli_option build_options[] = {
    TOOL_DIR,
    {"previous", "FILE", "the signed document that this one follows, DIR/registry.pb unless given", false, false},
    {"out", "FILE", "where the unsigned document goes, DIR/registry.unsigned unless given", false, false},
    {"days", "N", "validity, 1 to 366, as in registry.yaml unless given", false, false},
    {"grace-hours", "N", "how long gateways go on after it, 0 to 336, as in registry.yaml unless given", false, false},
    TOOL_DRY_RUN,
};
static const struct cli_option sign_options[] = {
    TOOL_DIR,
    {"key", "FILE", "the operator's private key", true, false},
    {"in", "FILE", "the unsigned document, DIR/registry.unsigned unless given", false, false},
    {"out", "FILE", "where the signed document goes, DIR/registry.pb unless given", false, false},
    TOOL_DRY_RUN,
};
static const struct cli_option show_options[] = {TOOL_DIR, TOOL_OPERATOR};
static const struct cli_option check_options[] = {
    TOOL_DIR,
    TOOL_OPERATOR,
    {"at", "TIME", "check as of this time", false, false},
    {"strict", NULL, "exit code 1 where there are warnings", false, false},
};
static const struct cli_verb verbs[] = {
    {"init", "", "Makes the folder that a registry is written in.", 0, 0, TOOL_LIST(init_options), run_init},
    {"add", "ID|REQUEST", "Adds an agency, or takes in a system's or gateway's join request after checking every proof in it.", 1, 1,
     TOOL_LIST(add_options), run_add},
    {"key", "retire|revoke OWNER KEY-ID", "Retires a key, or revokes it: what it signed never counts again.", 3, 3, TOOL_LIST(key_options),
     run_key},
    {"keygen", "", "Makes an operator's key.", 0, 0, TOOL_LIST(keygen_options), run_keygen},
    {"build", "", "Builds an unsigned document, one version after the previous one, from the folder.", 0, 0, TOOL_LIST(build_options),
     run_build},
    {"sign", "", "Signs a built document; refuses one that does not continue what was signed before.", 0, 0, TOOL_LIST(sign_options),
     run_sign},
    {"show", "[FILE]", "Shows a document, DIR/registry.pb unless given.", 0, 1, TOOL_LIST(show_options), run_show},
    {"check", "[FILE]", "Verifies a document and names what is odd in it.", 0, 1, TOOL_LIST(check_options), run_check},
};
static const struct cli_program program = {"ehis-registry", "who exists, with which keys, services and rules", TOOL_LIST(verbs)};

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
