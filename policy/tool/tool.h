/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* ehis-registry and ehis-policy: their verbs, and what they share. */
#pragma once
#include "base/clock.h"
#include "base/tool/result.h"
#include "policy/registry/draft.h"
#include "policy/registry/rule.h"

#define TOOL_DIR CLI_TEXT("dir", "DIR", "the registry's folder, the present one unless given")
#define TOOL_OPERATOR CLI_TEXTS("operator", "HEX|FILE", "an operator's public key that the signature must come from")
#define TOOL_PATH_BYTES 4096

ehis_err run_init(struct cli *c, struct ehis_why *why);
ehis_err run_add(struct cli *c, struct ehis_why *why);
ehis_err run_key(struct cli *c, struct ehis_why *why);
ehis_err run_keygen(struct cli *c, struct ehis_why *why);
ehis_err run_build(struct cli *c, struct ehis_why *why);
ehis_err run_sign(struct cli *c, struct ehis_why *why);
ehis_err run_show(struct cli *c, struct ehis_why *why);
ehis_err run_check(struct cli *c, struct ehis_why *why);

json_t *tool_rule(const struct registry *r, const struct registry_service *s, const struct registry_rule *rule);
/* "DIR/name" of --dir. */
ehis_err tool_path(struct cli *c, const char *name, char out[TOOL_PATH_BYTES], struct ehis_why *why) EHIS_MUST_USE;
/* Reads a document; with --operator given its signature and its validity at now_ms are verified, else neither. */
ehis_err tool_load(struct cli *c, const char *file, int64_t now_ms, struct registry **out, bool *is_verified, struct ehis_why *why) EHIS_MUST_USE;
/* What is odd in a document, a sentence for each. */
ehis_err lint(const struct registry *r, int64_t now_ms, json_t *warnings) EHIS_MUST_USE;
