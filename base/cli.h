/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The command line of every tool: verbs and options are tables, which also yield --help and the usage errors. Each verb takes
 * --help and --json; --version stands for the program. "--name VALUE" and "--name=VALUE" are the same; "--" ends the options; "-"
 * is an ordinary word (standard input). Data goes to stdout, messages to stderr. One thread. */
#pragma once
#include "base/bytes.h"

#define CLI_VALUES_MAX 64 /* options given in one command */
#define CLI_WORDS_MAX 64  /* words given in one command */

/* Exit codes of all tools (CONVENTIONS). */
enum cli_exit {
    CLI_OK = 0,
    CLI_FAILURE = 1,
    CLI_USAGE = 2,
    CLI_REFUSED = 3, /* by policy */
    CLI_NOT_FOUND = 4,
    CLI_UNVERIFIED = 5, /* a signature, certificate or proof does not verify, or a peer's bytes are wrong */
    CLI_UNREACHABLE = 6,
    CLI_BUSY = 7, /* busy or timed out */
};

struct cli_option {
    const char *name;     /* "ca": --ca */
    const char *value;    /* "DIR", for the help text; NULL = a flag without value */
    const char *sentence; /* what it does */
    bool is_required, is_repeatable;
};
struct cli;
struct cli_verb {
    const char *name;  /* "issue"; NULL = what runs when the first word is no verb (ehis-call) */
    const char *words; /* "SYSTEM", for the help text; "" = none */
    const char *sentence;
    size_t words_min, words_max;
    const struct cli_option *options;
    size_t option_count;
    /* An error is printed by cli_main with its code, why and hint, and mapped to the exit code. */
    ehis_err (*run)(struct cli *c, struct ehis_why *why);
};
struct cli_program {
    const char *name, *sentence;
    const struct cli_verb *verbs;
    size_t verb_count;
};

/* Parses, runs the verb, prints its error. Returns the exit code for main. Usage errors name the nearest option or verb. */
int cli_main(const struct cli_program *p, int argc, char **argv) EHIS_MUST_USE;

/* What was given; strings are argv's. The name must be in the verb's table. */
const char *cli_get(const struct cli *c, const char *name);                   /* the last value, NULL where absent */
const char *cli_get_nth(const struct cli *c, const char *name, size_t index); /* the n-th of a repeatable one, NULL beyond */
bool cli_has(const struct cli *c, const char *name);
bool cli_json(const struct cli *c);
size_t cli_word_count(const struct cli *c);
const char *cli_word(const struct cli *c, size_t index); /* NULL beyond */
/* The value as a plain number in min..max, or default_value where absent. USAGE with the bounds in why. */
ehis_err cli_get_number(const struct cli *c, const char *name, uint64_t min, uint64_t max, uint64_t default_value, uint64_t *out,
                        struct ehis_why *why) EHIS_MUST_USE;
/* An exit code of the verb's own: where it ends well (a denial that was asked for), or in place of its error's. */
void cli_set_exit(struct cli *c, int code);

/* The exit code of an error. Policy denials (numbers 4100 to 4199, by convention) are CLI_REFUSED. */
int cli_exit_code(ehis_err err);
/* Prints to stderr "name: EHIS-3014: text: why" and the hint, or with json one object {"error":{code,name,text,why,hint}}. */
void cli_print_error(const char *program, bool json, ehis_err err, const struct ehis_why *why);
/* Reads standard input whole, at most max bytes. TOO_LARGE, IO. */
ehis_err cli_read_stdin(size_t max, struct buf *out, struct ehis_why *why) EHIS_MUST_USE;
