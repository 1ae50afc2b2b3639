/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What the parser and the help text of a command line share. */
#pragma once
#include "base/settings.h"
#include "base/tool/cli.h"

/* The i-th option of a verb, --json and --help behind its own; NULL beyond. */
const struct cli_option *cli_option_at(const struct cli_verb *v, size_t i);
/* A row as the settings know it. path: "--name", the caller's. */
struct settings_option cli_as_setting(const struct cli_option *o, const char *path);

void cli_print_verb_help(const struct cli_program *p, const struct cli_verb *v);
void cli_print_program_help(const struct cli_program *p, FILE *f);
