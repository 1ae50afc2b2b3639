/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* --help, from the tables. */
#include "base/tool/cli_priv.h"

#define COLUMN 28 /* where sentences begin */

static void print_verb_head(const struct cli_program *p, const struct cli_verb *v, FILE *f)
{
    fprintf(f, "%s%s%s%s%s [options]", p->name, v->name ? " " : "", v->name ? v->name : "", v->words[0] ? " " : "", v->words);
}

/* " (1 to 90; 30 unless given; may be repeated)" */
static void print_bounds(const struct cli_option *o, FILE *f)
{
    struct settings_option row = cli_as_setting(o, "");
    struct buf text;
    const char *between = " (";
    buf_init(&text, 256);
    if ((o->type == CLI_IS_COUNT || o->type == CLI_IS_DURATION) && settings_put_bounds(&row, &text) == EHIS_OK)
        fprintf(f, "%s%.*s", between, SPAN_SHOW(buf_span(&text))), between = "; ";
    buf_fini(&text);
    if (o->default_text)
        fprintf(f, "%s%s unless given", between, o->default_text), between = "; ";
    if (o->is_required)
        fprintf(f, "%srequired", between), between = "; ";
    if (o->is_repeatable)
        fprintf(f, "%smay be repeated", between), between = "; ";
    fputs(between[0] == ';' ? ")\n" : "\n", f);
}

static void print_options(const struct cli_verb *v, FILE *f)
{
    const struct cli_option *o;
    for (size_t i = 0; (o = cli_option_at(v, i)); i++) {
        int n = fprintf(f, "  --%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
        fprintf(f, "%*s%s", n < COLUMN ? COLUMN - n : 1, "", o->sentence);
        print_bounds(o, f);
    }
}

void cli_print_verb_help(const struct cli_program *p, const struct cli_verb *v)
{
    fputs("usage: ", stdout);
    print_verb_head(p, v, stdout);
    printf("\n%s\n\n", v->sentence);
    print_options(v, stdout);
}

void cli_print_program_help(const struct cli_program *p, FILE *f)
{
    fprintf(f, "%s: %s\n\n", p->name, p->sentence);
    for (size_t i = 0; i < p->verb_count; i++) {
        fputs("  ", f);
        print_verb_head(p, &p->verbs[i], f);
        fprintf(f, "\n      %s\n", p->verbs[i].sentence);
    }
    for (size_t i = 0; i < p->verb_count; i++)
        if (!p->verbs[i].name) {
            fputs("\nOptions without a command:\n", f);
            print_options(&p->verbs[i], f);
        }
    fprintf(f,
            "\n%s COMMAND --help lists the options of one. Exit codes: 0 ok, 1 failure, 2 usage, 3 refused by policy, 4 not found,\n"
            "5 verification failed, 6 unreachable, 7 busy or timed out.\n",
            p->name);
}
