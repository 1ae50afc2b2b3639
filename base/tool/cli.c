/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "base/clock.h"
#include "base/disk.h"
#include "base/tool/cli_priv.h"
#include "base/tool/result.h"
#include <errno.h>
#include <unistd.h>

#define PATH_BYTES 64

struct cli {
    const struct cli_program *program;
    const struct cli_verb *verb;
    struct given {
        const struct cli_option *option;
        const char *text;
        uint64_t number; /* what the text says, for types that are numbers */
    } given[CLI_VALUES_MAX];
    size_t given_count;
    const char *words[CLI_WORDS_MAX];
    size_t word_count;
    int exit_code;
};

const struct cli_option *cli_option_at(const struct cli_verb *v, size_t i)
{
    static const struct cli_option every[] = {CLI_FLAG("json", "print one JSON object instead of text"), CLI_FLAG("help", "print this text")};
    if (i < v->option_count)
        return &v->options[i];
    i -= v->option_count;
    return i < sizeof every / sizeof *every ? &every[i] : NULL;
}

static const struct cli_option *option_find(const struct cli_verb *v, struct span name)
{
    const struct cli_option *o;
    for (size_t i = 0; (o = cli_option_at(v, i)); i++)
        if (span_eq(name, span_str(o->name)))
            return o;
    return NULL;
}

struct settings_option cli_as_setting(const struct cli_option *o, const char *path)
{
    static const enum settings_type types[] = {[CLI_IS_COUNT] = SETTING_COUNT, [CLI_IS_DURATION] = SETTING_DURATION, [CLI_IS_CHOICE] = SETTING_CHOICE};
    return (struct settings_option){.path = path, .type = types[o->type], .min = o->min, .max = o->max, .choices = o->value};
}

/* USAGE, where the text is not what the option takes. */
static ehis_err read_value(const struct cli_option *o, const char *text, uint64_t *number, struct ehis_why *why)
{
    char path[PATH_BYTES];
    int64_t time;
    if (o->type == CLI_IS_TIME) {
        if (time_from_text(span_str(text), &time) != EHIS_OK || time <= 0)
            return ehis_fail(why, EHIS_E_USAGE, "--%s must be a date or a time with offset, such as 2026-12-01T08:00:00+04:00", o->name);
        *number = (uint64_t)time;
    } else if (o->type != CLI_IS_FLAG && o->type != CLI_IS_TEXT) {
        snprintf(path, sizeof path, "--%s", o->name);
        struct settings_option row = cli_as_setting(o, path);
        if (settings_number(&row, span_str(text), number, why) != EHIS_OK)
            return EHIS_E_USAGE;
    }
    return EHIS_OK;
}

static ehis_err unknown_option(const struct cli_verb *v, const char *text, struct span name, struct ehis_why *why)
{
    const char *names[CLI_VALUES_MAX];
    size_t n = 0;
    for (const struct cli_option *o; n < CLI_VALUES_MAX && (o = cli_option_at(v, n)); n++)
        names[n] = o->name;
    const char *near = nearest_name(name, names, n);
    return near ? ehis_fail(why, EHIS_E_USAGE, "unknown option %s; did you mean --%s?", text, near)
                : ehis_fail(why, EHIS_E_USAGE, "unknown option %s", text);
}

ehis_err cli_mistyped(const char *what, const char *word, const char *near, struct ehis_why *why)
{
    return near ? ehis_fail(why, EHIS_E_USAGE, "%s %s; did you mean %s?", what, word, near) : ehis_fail(why, EHIS_E_USAGE, "%s %s", what, word);
}

static const char *nearest_verb(const struct cli_program *p, const char *word)
{
    const char *names[CLI_WORDS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < p->verb_count && n < CLI_WORDS_MAX; i++)
        if (p->verbs[i].name)
            names[n++] = p->verbs[i].name;
    return nearest_name(span_str(word), names, n);
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
    struct given *g = &c->given[c->given_count];
    *g = (struct given){.option = o, .text = !o->value ? NULL : equals ? equals + 1 : argv[++*i]};
    EHIS_TRY(read_value(o, g->text, &g->number, why));
    c->given_count++;
    return EHIS_OK;
}

/* It may be a verb that is not spelled as it should: its words are then those of the nameless one. */
static ehis_err too_many(const struct cli *c, const char *word, struct ehis_why *why)
{
    return cli_mistyped("one word too many:", word, c->verb->name ? NULL : nearest_verb(c->program, c->word_count ? c->words[0] : word), why);
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
            return too_many(c, argv[i], why);
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

static void print_error(const struct cli *c, ehis_err err, const struct ehis_why *why)
{
    const struct ehis_err_row *row = ehis_err_row(err);
    struct cli_words words;
    const char *because = strcmp(why->text, row->text) == 0 ? "" : why->text;
    if (!c->verb || !c->program->translate || !c->program->translate(c, err, &words))
        words = (struct cli_words){row->text, row->hint, "hint"};
    if (c->verb && cli_json(c)) {
        json_t *line = json_pack("{s:{s:o, s:s, s:s, s:o, s:s}}", "error", "code", tool_code(err), "name", row->name, "text", words.text, "why",
                                 tool_text(span_str(because)), "hint", words.hint);
        json_dumpf(line, stderr, JSON_COMPACT);
        fputc('\n', stderr);
        json_decref(line);
        return;
    }
    fprintf(stderr, "%s: EHIS-%d: %s%s", c->program->name, (int)err, words.text, because[0] ? ": " : "");
    tool_put_text(stderr, because, false);
    fputc('\n', stderr);
    if (words.hint[0])
        fprintf(stderr, "  %s: %s\n", words.hint_label, words.hint);
}

static ehis_err run(struct cli *c, int argc, char **argv, int from, struct ehis_why *why)
{
    EHIS_TRY(parse(c, argc, argv, from, why));
    if (cli_has(c, "help")) {
        cli_print_verb_help(c->program, c->verb);
        return EHIS_OK;
    }
    if (c->program->start)
        EHIS_TRY(c->program->start(why));
    EHIS_TRY(c->verb->run(c, why));
    return fflush(stdout) == 0 ? EHIS_OK : ehis_fail(why, EHIS_E_IO, "standard output: %s", strerror(errno));
}

int cli_main(const struct cli_program *p, int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : NULL;
    bool is_named;
    struct cli c = {.program = p, .verb = verb_find(p, first, &is_named)};
    struct ehis_why why = {""};
    if (first && strcmp(first, "--version") == 0) {
        printf("%s %s\n", p->name, EHIS_VERSION);
        return CLI_OK;
    }
    if (!is_named && first && (strcmp(first, "--help") == 0 || strcmp(first, "help") == 0) && (p->verb_count > 1 || !c.verb)) {
        cli_print_program_help(p, stdout);
        return CLI_OK;
    }
    if (!c.verb && !first) {
        cli_print_program_help(p, stderr);
        return CLI_USAGE;
    }
    ehis_err err = c.verb ? run(&c, argc, argv, is_named ? 2 : 1, &why) : cli_mistyped("unknown command", first, nearest_verb(p, first), &why);
    if (err == EHIS_OK)
        return c.exit_code;
    print_error(&c, err, &why);
    return c.exit_code ? c.exit_code : cli_exit_code(err);
}

/* The last one given; NULL where absent. */
static const struct given *find_given(const struct cli *c, const char *name)
{
    for (size_t i = c->given_count; i-- > 0;)
        if (strcmp(c->given[i].option->name, name) == 0)
            return &c->given[i];
    return NULL;
}

bool cli_has(const struct cli *c, const char *name) { return find_given(c, name); }

const char *cli_get(const struct cli *c, const char *name)
{
    const struct given *g = find_given(c, name);
    const struct cli_option *o = g ? g->option : option_find(c->verb, span_str(name));
    EHIS_ASSERT(o);
    return g ? g->text : o->default_text;
}

size_t cli_get_all(const struct cli *c, const char *name, const char *values[CLI_VALUES_MAX])
{
    size_t n = 0;
    EHIS_ASSERT(option_find(c->verb, span_str(name)));
    for (size_t i = 0; i < c->given_count; i++)
        if (strcmp(c->given[i].option->name, name) == 0)
            values[n++] = c->given[i].text;
    return n;
}

uint64_t cli_number(const struct cli *c, const char *name)
{
    const struct given *g = find_given(c, name);
    const struct cli_option *o = g ? g->option : option_find(c->verb, span_str(name));
    uint64_t number = 0;
    EHIS_ASSERT(o && o->type != CLI_IS_FLAG && o->type != CLI_IS_TEXT);
    if (!g && o->default_text)
        EHIS_ASSERT(read_value(o, o->default_text, &number, NULL) == EHIS_OK);
    return g ? g->number : number;
}

int64_t cli_time(const struct cli *c, const char *name) { return cli_has(c, name) ? (int64_t)cli_number(c, name) : clock_wall_ms(&clock_system); }
bool cli_json(const struct cli *c) { return cli_has(c, "json"); }
size_t cli_word_count(const struct cli *c) { return c->word_count; }
const char *cli_word(const struct cli *c, size_t index) { return index < c->word_count ? c->words[index] : NULL; }
void cli_set_exit(struct cli *c, int code) { c->exit_code = code; }

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

static ehis_err read_stdin(size_t max, struct buf *out, struct ehis_why *why)
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

ehis_err cli_read(const char *from, size_t max, struct buf *out, struct ehis_why *why)
{
    return strcmp(from, "-") == 0 ? read_stdin(max, out, why) : file_read(from, max, out, why);
}

ehis_err cli_write(const struct cli *c, const char *path, struct span content, unsigned mode, struct ehis_why *why)
{
    return cli_has(c, "dry-run") ? EHIS_OK : file_write(path, content, mode, why);
}
