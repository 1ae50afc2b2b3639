/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "adapters/call/call.h"
#include "base/log.h"
#include <poll.h>
#include <signal.h>
#include <stdio.h>

#define LIST(a) a, sizeof a / sizeof a[0]
#define CLOSE_MS 5000
#define LOOK_MS 200
#define EARLY_MS 2000
#define CONFIG "config", "FILE", "the adapter's settings", true, false
#define STATE "state", "DIR", "a state folder in the place of the settings': one for each process", false, false
#define LANG "lang", "az|en", "language of errors; EHIS_LANG unless given", false, false
#define BODY "body", "-|FILE", "the body: - is standard input (never an argument: others see those)", true, false
#define TYPE "content-type", "TYPE", "of the body; unless given, application/json where it begins with {, else application/x-protobuf", false, false
#define LIFETIME "lifetime", "TIME", "how long it may wait for its recipient, 24h unless given, at most 14d", false, false
#define WAIT "wait", "STATE", "accepted (unless given) or delivered", false, false

_Static_assert(sizeof((struct ehis_why *)0)->text >= EHIS_WHY_BYTES, "a why of libehis fits into one of ours");

volatile int is_interrupted;
static void on_signal(int number)
{
    (void)number;
    is_interrupted = 1;
}

ehis_err duration_option(struct cli *c, const char *name, uint64_t default_ms, uint64_t max_ms, uint64_t *out, struct ehis_why *why)
{
    static const struct { const char *unit; uint64_t ms; } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    const char *text = cli_get(c, name);
    uint64_t n;
    *out = default_ms;
    if (!text)
        return EHIS_OK;
    size_t digits = strspn(text, "0123456789");
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(text + digits, units[i].unit) == 0 && decimal_from_text(span_of(text, digits), max_ms / units[i].ms, &n) == EHIS_OK && n > 0) {
            *out = n * units[i].ms;
            return EHIS_OK;
        }
    return ehis_fail(why, EHIS_E_USAGE, "--%s must be a time such as 500ms, 10s, 2m or 1h, at most %llus", name, (unsigned long long)(max_ms / 1000));
}

uint32_t client_left_ms(const struct client *k)
{
    int64_t left = k->deadline_ms - clock_mono_ms(&clock_system);
    return left <= 0 ? 0 : left < UINT32_MAX ? (uint32_t)left : UINT32_MAX;
}

/* The log of libehis is an operator's; at a terminal only what goes wrong is worth a line. */
static void on_log(void *arg, int level, const char *line)
{
    (void)arg;
    if (level >= LOG_WARN)
        fprintf(stderr, "%s\n", line);
}

/* What another second will not mend: a certificate, a key, a registry; not a gateway that is away. */
static bool is_lasting(int err)
{
    enum ehis_err_class class_ = ehis_err_row((ehis_err)err)->class_;
    bool is_link = err >= EHIS_E_LINK_FULL && err <= EHIS_E_LINK_KEY_UPDATES && err != EHIS_E_LINK_TLS;
    return class_ == EHIS_CLASS_CONFIG || (class_ == EHIS_CLASS_PEER && !is_link);
}

static ehis_err wait_ready(struct client *k, struct ehis_why *why)
{
    int64_t early_ms = clock_mono_ms(&clock_system) + EARLY_MS; /* several gateways are tried by then */
    int err;
    do {
        uint32_t left = client_left_ms(k);
        err = ehis_wait_ready(k->e, left < LOOK_MS ? left : LOOK_MS, why->text);
    } while (err != EHIS_OK && !is_interrupted && client_left_ms(k) > 0 && !(is_lasting(err) && clock_mono_ms(&clock_system) >= early_ms));
    return (ehis_err)err;
}

ehis_err client_open(struct client *k, struct cli *c, uint64_t default_ms, struct ehis_why *why)
{
    uint64_t timeout_ms;
    ehis_config *config;
    *k = (struct client){.c = c, .is_json = cli_json(c), .deadline_ms = INT64_MAX};
    EHIS_TRY(duration_option(c, "timeout", default_ms, UINT64_C(14) * 86400000, &timeout_ms, why));
    if (timeout_ms)
        k->deadline_ms = clock_mono_ms(&clock_system) + (int64_t)timeout_ms;
    struct sigaction act = {.sa_handler = on_signal};
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    EHIS_TRY((ehis_err)ehis_config_load(cli_get(c, "config"), &config, why->text));
    config->dispatch = 1;
    config->log = on_log;
    if (cli_get(c, "state"))
        config->state_dir = cli_get(c, "state");
    int err = ehis_open(config, &k->e, why->text);
    ehis_config_free(config);
    if (err == EHIS_OK && timeout_ms)
        err = wait_ready(k, why);
    if (err != EHIS_OK)
        client_close(k);
    return (ehis_err)err;
}

ehis_err client_drive(struct client *k, const bool *is_done)
{
    while (!*is_done && !is_interrupted) {
        uint32_t left = client_left_ms(k);
        ehis_status now = {.size = sizeof now};
        ehis_get_status(k->e, &now);
        if (now.last_error >= EHIS_E_POLICY_NO_RULE && now.last_error < EHIS_E_POLICY_NO_RULE + 100)
            return (ehis_err)now.last_error; /* a subscription was refused: nothing will come */
        if (left == 0)
            return EHIS_E_TIMEOUT;
        struct pollfd p = {.fd = ehis_fd(k->e), .events = POLLIN};
        if (poll(&p, 1, left < LOOK_MS ? (int)left : LOOK_MS) > 0) /* a signal between the look and the wait costs as much */
            ehis_dispatch(k->e, 1);
    }
    return *is_done ? EHIS_OK : EHIS_E_SDK_CLOSED;
}

void client_close(struct client *k)
{
    ehis_close(k->e, CLOSE_MS);
    k->e = NULL;
}

static const struct cli_option call_options[] = {
    {CONFIG}, {STATE},
    {"purpose", "CODE", "why it is asked, a code of the registry", true, false},
    {"basis", "CODE", "the legal basis, a code of the registry", true, false},
    {"case-ref", "TEXT", "reference of the case", false, false},
    {"official", "TEXT", "the acting official", false, false},
    {"on-behalf-of", "NAME", "the agency or system that it is asked for", false, false},
    {"subject", "HEX", "subject token, 64 hexadecimal digits", false, true},
    {BODY}, {TYPE},
    {"timeout", "TIME", "how long to wait for the answer, 30s unless given, at most 5m", false, false},
    {"send", NULL, "asynchronously: prints receipts; the response comes to ehis-call receive", false, false},
    {LIFETIME}, {WAIT}, {LANG},
};
static const struct cli_option publish_options[] = {{CONFIG}, {STATE}, {BODY}, {TYPE}, {"timeout", "TIME", "how long to wait for receipts, 30s unless given", false, false}, {LIFETIME}, {WAIT}, {LANG}};
static const struct cli_option watch_options[] = {
    {CONFIG}, {STATE}, {"count", "N", "end after so many", false, false}, {"timeout", "TIME", "end after this time; without end unless given", false, false}, {LANG}};
static const struct cli_option status_options[] = {{CONFIG}, {STATE}, {"timeout", "TIME", "how long to wait for a session, 10s unless given", false, false}, {LANG}};
static const struct cli_verb verbs[] = {
    {NULL, "SERVICE OPERATION", "Calls, and prints the answer. A provider's fault: exit code 1, or 4 where it says NOT_FOUND.", 2, 2, LIST(call_options), run_call},
    {"publish", "SERVICE EVENT", "Publishes an event of one's own service.", 2, 2, LIST(publish_options), run_publish},
    {"subscribe", "SERVICE EVENT", "Prints events, one a line; each is acknowledged once its line is written.", 2, 2, LIST(watch_options), run_subscribe},
    {"receive", "", "Prints responses to asynchronous calls, one a line, likewise.", 0, 0, LIST(watch_options), run_receive},
    {"status", "", "Tries for a session and shows what is seen.", 0, 0, LIST(status_options), run_status},
};

int main(int argc, char **argv)
{
    static const struct cli_program program = {"ehis-call", "calls and events of the exchange from the command line", LIST(verbs)};
    return cli_main(&program, argc, argv);
}
