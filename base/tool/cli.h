/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The command line of every tool: verbs and options are tables, which also yield --help and the usage errors. Each verb takes
 * --help and --json; --version stands for the program. "--name VALUE" and "--name=VALUE" are the same; "--" ends the options; "-"
 * is an ordinary word (standard input). Values are held to their rows as settings are, before anything runs. Data goes to stdout,
 * messages to stderr. One thread. */
#pragma once
#include "base/bytes.h"

#ifndef EHIS_VERSION /* what --version prints */
#define EHIS_VERSION "0.1.0"
#endif
#define CLI_VALUES_MAX 64 /* options given in one command */
#define CLI_WORDS_MAX 64  /* words given in one command */

/* Exit codes of all tools. */
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

enum cli_type { CLI_IS_FLAG, CLI_IS_TEXT, CLI_IS_COUNT, CLI_IS_DURATION, CLI_IS_TIME, CLI_IS_CHOICE };
struct cli_option {
    const char *name; /* "ca": --ca */
    enum cli_type type;
    const char *value;        /* "DIR", for the help text; of a choice its names: "accepted|delivered" */
    const char *default_text; /* as one would write it; NULL = none */
    uint64_t min, max;        /* of counts, and of durations in ms */
    bool is_required, is_repeatable;
    const char *sentence; /* what it does; bounds and default are added by --help */
};
/* The rows of a table. */
#define CLI_FLAG(name_, sentence_) {.name = name_, .type = CLI_IS_FLAG, .sentence = sentence_}
#define CLI_TEXT(name_, value_, sentence_) {.name = name_, .type = CLI_IS_TEXT, .value = value_, .sentence = sentence_}
#define CLI_TEXTS(name_, value_, sentence_) {.name = name_, .type = CLI_IS_TEXT, .value = value_, .is_repeatable = true, .sentence = sentence_}
#define CLI_NEEDED(name_, value_, sentence_) {.name = name_, .type = CLI_IS_TEXT, .value = value_, .is_required = true, .sentence = sentence_}
#define CLI_COUNT(name_, min_, max_, default_, sentence_) \
    {.name = name_, .type = CLI_IS_COUNT, .value = "N", .min = min_, .max = max_, .default_text = default_, .sentence = sentence_}
#define CLI_DURATION(name_, max_ms_, default_, sentence_) \
    {.name = name_, .type = CLI_IS_DURATION, .value = "TIME", .min = 1, .max = max_ms_, .default_text = default_, .sentence = sentence_}
#define CLI_TIME(name_, sentence_) {.name = name_, .type = CLI_IS_TIME, .value = "TIME", .sentence = sentence_}
#define CLI_CHOICE(name_, names_, default_, sentence_) {.name = name_, .type = CLI_IS_CHOICE, .value = names_, .default_text = default_, .sentence = sentence_}
#define CLI_VERBS(table) .verbs = table, .verb_count = sizeof(table) / sizeof *(table) /* in a cli_program */
#define CLI_DRY_RUN CLI_FLAG("dry-run", "check everything, write nothing")
#define CLI_LIST(table) table, sizeof(table) / sizeof *(table)

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
/* An error in another language. */
struct cli_words {
    const char *text, *hint, *hint_label;
};
struct cli_program {
    const char *name, *sentence;
    const struct cli_verb *verbs;
    size_t verb_count;
    ehis_err (*start)(struct ehis_why *why);                                  /* before any verb runs; may be NULL */
    bool (*translate)(const struct cli *c, ehis_err err, struct cli_words *); /* false: in English; may be NULL */
};

/* USAGE: "WHAT WORD", and what was probably meant where near is not NULL. why may be NULL. */
ehis_err cli_mistyped(const char *what, const char *word, const char *near, struct ehis_why *why) EHIS_MUST_USE;

/* Parses, runs the verb, prints its error. Returns the exit code for main. Usage errors name the nearest option or verb. */
int cli_main(const struct cli_program *p, int argc, char **argv) EHIS_MUST_USE;

/* What was given; strings are argv's. The name must be in the verb's table, with the type that is asked for. */
bool cli_has(const struct cli *c, const char *name);
const char *cli_get(const struct cli *c, const char *name);                   /* the last value, else the default, else NULL */
size_t cli_get_all(const struct cli *c, const char *name, const char *values[CLI_VALUES_MAX]); /* of a repeatable one, in order; how many */
uint64_t cli_number(const struct cli *c, const char *name); /* a count; ms of a duration; a choice's index; 0 without value and default */
int64_t cli_time(const struct cli *c, const char *name);    /* unix ms after 0; now where absent */
bool cli_json(const struct cli *c);
size_t cli_word_count(const struct cli *c);
const char *cli_word(const struct cli *c, size_t index); /* NULL beyond */

/* An exit code of the verb's own: where it ends well (a denial that was asked for), or in place of its error's. */
void cli_set_exit(struct cli *c, int code);
/* The exit code of an error. Policy denials (numbers 4100 to 4199, by convention) are CLI_REFUSED. */
int cli_exit_code(ehis_err err);

/* A file whole, or standard input for "-"; at most max bytes. TOO_LARGE, IO and what file_read answers. */
ehis_err cli_read(const char *from, size_t max, struct buf *out, struct ehis_why *why) EHIS_MUST_USE;
/* file_write, but with --dry-run nothing. */
ehis_err cli_write(const struct cli *c, const char *path, struct span content, unsigned mode, struct ehis_why *why) EHIS_MUST_USE;
