/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* ehis-registry and ehis-policy: their verbs, and what they share. */
#pragma once
#include "base/cli.h"
#include "base/clock.h"
#include "policy/registry/draft.h"
#include "policy/registry/rule.h"
#include <jansson.h>

#define TOOL_LIST(a) a, sizeof a / sizeof a[0]
#define TOOL_DIR {"dir", "DIR", "the registry's folder, the present one unless given", false, false}
#define TOOL_DRY_RUN {"dry-run", NULL, "check everything, write nothing", false, false}
#define TOOL_OPERATOR {"operator", "HEX|FILE", "an operator's public key that the signature must come from", false, true}
#define TOOL_PATH_BYTES 4096

ehis_err run_init(struct cli *c, struct ehis_why *why);
ehis_err run_add(struct cli *c, struct ehis_why *why);
ehis_err run_key(struct cli *c, struct ehis_why *why);
ehis_err run_keygen(struct cli *c, struct ehis_why *why);
ehis_err run_build(struct cli *c, struct ehis_why *why);
ehis_err run_sign(struct cli *c, struct ehis_why *why);
ehis_err run_show(struct cli *c, struct ehis_why *why);
ehis_err run_check(struct cli *c, struct ehis_why *why);

/* Prints a result and frees it: as JSON, or as indented "name: value" lines. */
ehis_err tool_print(struct cli *c, json_t *result) EHIS_MUST_USE;
json_t *tool_time(int64_t unix_ms); /* RFC 3339 text; null for 0 */
json_t *tool_hex(const uint8_t *p, size_t n);
json_t *tool_text(struct span s);
json_t *tool_terms(const struct registry *r, bool is_purpose, const struct registry_term_set *set);
json_t *tool_rule(const struct registry *r, const struct registry_service *s, const struct registry_rule *rule);
/* "DIR/name" of --dir. */
ehis_err tool_path(struct cli *c, const char *name, char out[TOOL_PATH_BYTES], struct ehis_why *why) EHIS_MUST_USE;
/* --name as a time; now where absent. */
ehis_err tool_time_option(struct cli *c, const char *name, int64_t *unix_ms, struct ehis_why *why) EHIS_MUST_USE;
/* Reads a document; with --operator given its signature and its validity at now_ms are verified, else neither. */
ehis_err tool_load(struct cli *c, const char *file, int64_t now_ms, struct registry **out, bool *is_verified, struct ehis_why *why) EHIS_MUST_USE;
/* What is odd in a document, a sentence for each. */
ehis_err lint(const struct registry *r, int64_t now_ms, json_t *warnings) EHIS_MUST_USE;
