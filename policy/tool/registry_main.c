/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "pki/tls.h"
#include "policy/tool/tool.h"

static const struct cli_option init_options[] = {TOOL_DIR, CLI_NEEDED("instance", "NAME", "the instance, such as AZ"), CLI_DRY_RUN};
static const struct cli_option add_options[] = {
    TOOL_DIR,
    {.name = "as", .type = CLI_IS_CHOICE, .value = "agency|system|gateway", .is_required = true, .sentence = "what it is"},
    CLI_TEXT("name", "TEXT", "an agency's name, for people"),
    CLI_TEXT("contact", "TEXT", "whom to reach about a system"),
    CLI_DRY_RUN,
};
static const struct cli_option key_options[] = {TOOL_DIR, CLI_TIME("at", "since when, now unless given"), CLI_DRY_RUN};
static const struct cli_option keygen_options[] = {CLI_NEEDED("out", "FILE", "the private key, 0600; the public one goes to FILE.pub"), CLI_DRY_RUN};
static const struct cli_option build_options[] = {
    TOOL_DIR,
    CLI_TEXT("previous", "FILE", "the signed document that this one follows, DIR/registry.pb unless given"),
    CLI_TEXT("out", "FILE", "where the unsigned document goes, DIR/registry.unsigned unless given"),
    CLI_COUNT("days", 1, 366, NULL, "validity, as in registry.yaml unless given"),
    CLI_COUNT("grace-hours", 0, 24 * 14, NULL, "how long gateways go on after it, as in registry.yaml unless given"),
    CLI_DRY_RUN,
};
static const struct cli_option sign_options[] = {
    TOOL_DIR,
    CLI_NEEDED("key", "FILE", "the operator's private key"),
    CLI_TEXT("in", "FILE", "the unsigned document, DIR/registry.unsigned unless given"),
    CLI_TEXT("out", "FILE", "where the signed document goes, DIR/registry.pb unless given"),
    CLI_DRY_RUN,
};
static const struct cli_option show_options[] = {TOOL_DIR, TOOL_OPERATOR};
static const struct cli_option check_options[] = {
    TOOL_DIR,
    TOOL_OPERATOR,
    CLI_TIME("at", "check as of this time"),
    CLI_FLAG("strict", "exit code 1 where there are warnings"),
};
static const struct cli_verb verbs[] = {
    {"init", "", "Makes the folder that a registry is written in.", 0, 0, CLI_LIST(init_options), run_init},
    {"add", "ID|REQUEST", "Adds an agency, or takes in a system's or gateway's join request after checking every proof in it.", 1, 1,
     CLI_LIST(add_options), run_add},
    {"key", "retire|revoke OWNER KEY-ID", "Retires a key, or revokes it: what it signed never counts again.", 3, 3, CLI_LIST(key_options),
     run_key},
    {"keygen", "", "Makes an operator's key.", 0, 0, CLI_LIST(keygen_options), run_keygen},
    {"build", "", "Builds an unsigned document, one version after the previous one, from the folder.", 0, 0, CLI_LIST(build_options),
     run_build},
    {"sign", "", "Signs a built document; refuses one that does not continue what was signed before.", 0, 0, CLI_LIST(sign_options),
     run_sign},
    {"show", "[FILE]", "Shows a document, DIR/registry.pb unless given.", 0, 1, CLI_LIST(show_options), run_show},
    {"check", "[FILE]", "Verifies a document and names what is odd in it.", 0, 1, CLI_LIST(check_options), run_check},
};

int main(int argc, char **argv)
{
    static const struct cli_program program = {
        .name = "ehis-registry", .sentence = "who exists, with which keys, services and rules", CLI_VERBS(verbs), .start = pki_init};
    return cli_main(&program, argc, argv);
}
