/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "base/cli.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#ifndef EHIS_VERSION
#define EHIS_VERSION "0.1.0"
#endif

struct cli {
    const struct cli_program *program;
    const struct cli_verb *verb;
    struct {
        const struct cli_option *option;
        const char *value;
    } given[CLI_VALUES_MAX];
    size_t given_count;
    const char *words[CLI_WORDS_MAX];
    size_t word_count;
    int exit_code;
};

/* What every verb takes. */
static const struct cli_option shared[] = {
    {"json", NULL, "print one JSON object instead of text", false, false},
    {"help", NULL, "print this text", false, false},
};
enum { SHARED_COUNT = sizeof shared / sizeof shared[0] };

static const struct cli_option *option_at(const struct cli_verb *v, size_t i)
{
    if (i < v->option_count)
        return &v->options[i];
    return i - v->option_count < SHARED_COUNT ? &shared[i - v->option_count] : NULL;
}

static const struct cli_option *option_find(const struct cli_verb *v, struct span name)
{
    const struct cli_option *o;
    for (size_t i = 0; (o = option_at(v, i)); i++)
        if (span_eq(name, span_str(o->name)))
            return o;
    return NULL;
}

static void print_verb_head(const struct cli_program *p, const struct cli_verb *v, FILE *f)
{
    fprintf(f, "%s%s%s%s%s [options]", p->name, v->name ? " " : "", v->name ? v->name : "", v->words[0] ? " " : "", v->words);
}

static void print_verb_help(const struct cli_program *p, const struct cli_verb *v, FILE *f)
{
    fputs("usage: ", f);
    print_verb_head(p, v, f);
    fprintf(f, "\n%s\n\n", v->sentence);
    const struct cli_option *o;
    for (size_t i = 0; (o = option_at(v, i)); i++) {
        int n = fprintf(f, "  --%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
        fprintf(f, "%*s%s%s%s\n", n < 28 ? 28 - n : 1, "", o->sentence, o->is_required ? " (required)" : "",
                o->is_repeatable ? " (may be repeated)" : "");
    }
}

static void print_program_help(const struct cli_program *p, FILE *f)
{
    fprintf(f, "%s: %s\n\n", p->name, p->sentence);
    for (size_t i = 0; i < p->verb_count; i++) {
        fputs("  ", f);
        print_verb_head(p, &p->verbs[i], f);
        fprintf(f, "\n      %s\n", p->verbs[i].sentence);
    }
    fprintf(f,
            "\n%s VERB --help lists the options of one. Exit codes: 0 ok, 1 failure, 2 usage, 3 refused by policy, 4 not found,\n"
            "5 verification failed, 6 unreachable, 7 busy or timed out.\n",
            p->name);
}

static ehis_err unknown_option(const struct cli_verb *v, const char *text, struct span name, struct ehis_why *why)
{
    const char *names[CLI_VALUES_MAX];
    size_t n = 0;
    for (const struct cli_option *o; n < CLI_VALUES_MAX && (o = option_at(v, n)); n++)
        names[n] = o->name;
    const char *near = nearest_name(name, names, n);
    return near ? ehis_fail(why, EHIS_E_USAGE, "unknown option %s; did you mean --%s?", text, near)
                : ehis_fail(why, EHIS_E_USAGE, "unknown option %s", text);
}

/* One "--name", "--name=value" or "--name value" at argv[*i]; moves *i over a value. */
static ehis_err take_option(struct cli *c, int argc, char **argv, int *i, struct ehis_why *why)
{
    const char *text = argv[*i] + 2;
    const char *equals = strchr(text, '=');
    struct span name = span_of(text, equals ? (size_t)(equals - text) : strlen(text));
    const struct cli_option *o = option_find(c->verb, name);
    if (!o)
        return unknown_option(c->verb, argv[*i], name, why);
    if (!o->value && equals)
        return ehis_fail(why, EHIS_E_USAGE, "--%s takes no value", o->name);
    if (o->value && !equals && *i + 1 >= argc)
        return ehis_fail(why, EHIS_E_USAGE, "--%s needs a value: %s", o->name, o->value);
    if (!o->is_repeatable && cli_has(c, o->name))
        return ehis_fail(why, EHIS_E_USAGE, "--%s stands twice", o->name);
    if (c->given_count == CLI_VALUES_MAX)
        return ehis_fail(why, EHIS_E_USAGE, "more than %d options", CLI_VALUES_MAX);
    c->given[c->given_count].option = o;
    c->given[c->given_count++].value = !o->value ? NULL : equals ? equals + 1 : argv[++*i];
    return EHIS_OK;
}

static ehis_err parse(struct cli *c, int argc, char **argv, int from, struct ehis_why *why)
{
    bool is_ended = false;
    for (int i = from; i < argc; i++) {
        if (!is_ended && strcmp(argv[i], "--") == 0) {
            is_ended = true;
        } else if (!is_ended && strncmp(argv[i], "--", 2) == 0) {
            EHIS_TRY(take_option(c, argc, argv, &i, why));
        } else if (!is_ended && argv[i][0] == '-' && argv[i][1]) {
            return ehis_fail(why, EHIS_E_USAGE, "unknown option %s; options begin with two dashes", argv[i]);
        } else if (c->word_count == c->verb->words_max || c->word_count == CLI_WORDS_MAX) {
            return ehis_fail(why, EHIS_E_USAGE, "one word too many: %s", argv[i]);
        } else {
            c->words[c->word_count++] = argv[i];
        }
    }
    if (cli_has(c, "help"))
        return EHIS_OK;
    if (c->word_count < c->verb->words_min)
        return ehis_fail(why, EHIS_E_USAGE, "missing: %s", c->verb->words);
    for (size_t i = 0; i < c->verb->option_count; i++)
        if (c->verb->options[i].is_required && !cli_has(c, c->verb->options[i].name))
            return ehis_fail(why, EHIS_E_USAGE, "--%s %s is required", c->verb->options[i].name, c->verb->options[i].value);
    return EHIS_OK;
}

static const struct cli_verb *verb_find(const struct cli_program *p, const char *word, bool *is_named)
{
    const struct cli_verb *nameless = NULL;
    for (size_t i = 0; i < p->verb_count; i++) {
        if (!p->verbs[i].name)
            nameless = &p->verbs[i];
        else if (word && strcmp(word, p->verbs[i].name) == 0) {
            *is_named = true;
            return &p->verbs[i];
        }
    }
    *is_named = false;
    return nameless;
}

static int unknown_verb(const struct cli_program *p, const char *word)
{
    const char *names[CLI_WORDS_MAX];
    size_t n = 0;
    for (; n < p->verb_count && n < CLI_WORDS_MAX; n++)
        names[n] = p->verbs[n].name;
    const char *near = nearest_name(span_str(word), names, n);
    struct ehis_why why;
    if (near)
        ehis_fail(&why, EHIS_E_USAGE, "unknown command %s; did you mean %s?", word, near);
    else
        ehis_fail(&why, EHIS_E_USAGE, "unknown command %s", word);
    cli_print_error(p->name, false, EHIS_E_USAGE, &why);
    return CLI_USAGE;
}

int cli_main(const struct cli_program *p, int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : NULL;
    bool is_named;
    struct cli c = {.program = p, .verb = verb_find(p, first, &is_named)};
    if (first && strcmp(first, "--version") == 0) {
        printf("%s %s\n", p->name, EHIS_VERSION);
        return CLI_OK;
    }
    if (!is_named && first && (strcmp(first, "--help") == 0 || strcmp(first, "help") == 0) && (p->verb_count > 1 || !c.verb)) {
        print_program_help(p, stdout);
        return CLI_OK;
    }
    if (!c.verb && first)
        return unknown_verb(p, first);
    if (!c.verb) {
        print_program_help(p, stderr);
        return CLI_USAGE;
    }
    struct ehis_why why = {""};
    ehis_err err = parse(&c, argc, argv, is_named ? 2 : 1, &why);
    if (err == EHIS_OK && cli_has(&c, "help")) {
        print_verb_help(p, c.verb, stdout);
        return CLI_OK;
    }
    if (err == EHIS_OK)
        err = c.verb->run(&c, &why);
    if (err == EHIS_OK && fflush(stdout) != 0)
        err = ehis_fail(&why, EHIS_E_IO, "standard output: %s", strerror(errno));
    if (err == EHIS_OK)
        return c.exit_code;
    cli_print_error(p->name, cli_json(&c), err, &why);
    return c.exit_code ? c.exit_code : cli_exit_code(err);
}

const char *cli_get_nth(const struct cli *c, const char *name, size_t index)
{
    EHIS_ASSERT(option_find(c->verb, span_str(name)));
    for (size_t i = 0; i < c->given_count; i++)
        if (strcmp(c->given[i].option->name, name) == 0 && index-- == 0)
            return c->given[i].value;
    return NULL;
}

const char *cli_get(const struct cli *c, const char *name)
{
    const char *last = NULL;
    for (size_t i = 0; i < c->given_count; i++)
        if (strcmp(c->given[i].option->name, name) == 0)
            last = c->given[i].value;
    EHIS_ASSERT(last || option_find(c->verb, span_str(name)));
    return last;
}

bool cli_has(const struct cli *c, const char *name)
{
    for (size_t i = 0; i < c->given_count; i++)
        if (strcmp(c->given[i].option->name, name) == 0)
            return true;
    return false;
}

bool cli_json(const struct cli *c)
{
    return cli_has(c, "json");
}
size_t cli_word_count(const struct cli *c)
{
    return c->word_count;
}
const char *cli_word(const struct cli *c, size_t index)
{
    return index < c->word_count ? c->words[index] : NULL;
}
void cli_set_exit(struct cli *c, int code)
{
    c->exit_code = code;
}

ehis_err cli_get_number(const struct cli *c, const char *name, uint64_t min, uint64_t max, uint64_t default_value, uint64_t *out,
                        struct ehis_why *why)
{
    const char *text = cli_get(c, name);
    uint64_t n = default_value;
    if (text && (decimal_from_text(span_str(text), max, &n) != EHIS_OK || n < min))
        return ehis_fail(why, EHIS_E_USAGE, "--%s must be a number from %" PRIu64 " to %" PRIu64, name, min, max);
    *out = n;
    return EHIS_OK;
}

int cli_exit_code(ehis_err err)
{
    if (err == EHIS_OK)
        return CLI_OK;
    if (err == EHIS_E_USAGE)
        return CLI_USAGE;
    if (err == EHIS_E_NOT_FOUND)
        return CLI_NOT_FOUND;
    if (err == EHIS_E_LINK_RESET || err == EHIS_E_EXCHANGE_NO_SESSION || err == EHIS_E_EXCHANGE_PROVIDER_GONE || err == EHIS_E_SDK_NOT_READY)
        return CLI_UNREACHABLE;
    if (err == EHIS_E_TIMEOUT || err == EHIS_E_EXCHANGE_EXPIRED || err == EHIS_E_LINK_TIMEOUT || err == EHIS_E_LOCKED)
        return CLI_BUSY;
    if (err >= 4100 && err < 4200)
        return CLI_REFUSED;
    switch (ehis_err_row(err)->class_) {
    case EHIS_CLASS_PEER:
        return CLI_UNVERIFIED;
    case EHIS_CLASS_FLOW:
        return CLI_BUSY;
    default:
        return CLI_FAILURE;
    }
}

static void print_json_text(const char *s)
{
    fputc('"', stderr);
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            fputc('\\', stderr);
        fputc((unsigned char)*s < 0x20 ? '?' : *s, stderr);
    }
    fputc('"', stderr);
}

void cli_print_error(const char *program, bool json, ehis_err err, const struct ehis_why *why)
{
    const struct ehis_err_row *row = ehis_err_row(err);
    const char *because = why ? why->text : "";
    if (json) {
        fprintf(stderr, "{\"error\":{\"code\":\"EHIS-%d\",\"name\":\"%s\",\"text\":", (int)err, row->name);
        print_json_text(row->text);
        fputs(",\"why\":", stderr);
        print_json_text(because);
        fputs(",\"hint\":", stderr);
        print_json_text(row->hint);
        fputs("}}\n", stderr);
        return;
    }
    fprintf(stderr, "%s: EHIS-%d: %s%s%s\n", program, (int)err, row->text, because[0] ? ": " : "", because);
    if (row->hint[0])
        fprintf(stderr, "  hint: %s\n", row->hint);
}

ehis_err cli_read_stdin(size_t max, struct buf *out, struct ehis_why *why)
{
    for (;;) {
        uint8_t piece[4096];
        ssize_t n = read(STDIN_FILENO, piece, sizeof piece);
        if (n == 0)
            return EHIS_OK;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ehis_fail(why, EHIS_E_IO, "standard input: %s", strerror(errno));
        if (out->len + (size_t)n > max)
            return ehis_fail(why, EHIS_E_TOO_LARGE, "standard input is over %zu bytes", max);
        EHIS_TRY(buf_put(out, piece, (size_t)n));
    }
}
