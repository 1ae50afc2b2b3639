/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "adapters/call/call.h"
#include "base/log.h"
#include <poll.h>
#include <signal.h>
#include <stdio.h>

#define CLOSE_MS 5000
#define LOOK_MS 200
#define EARLY_MS 2000
#define CONFIG CLI_NEEDED("config", "FILE", "the adapter's settings")
#define STATE CLI_TEXT("state", "DIR", "a state folder in the place of the settings': one for each process")
#define LANG CLI_CHOICE("lang", "az|en", NULL, "language of errors; EHIS_LANG unless given")
#define BODY CLI_NEEDED("body", "-|FILE", "the body: - is standard input (never an argument: others see those)")
#define TYPE CLI_TEXT("content-type", "TYPE", "of the body; unless given, application/json where it begins with {, else application/x-protobuf")
#define LIFETIME CLI_DURATION("lifetime", 14 * DAY_MS, "24h", "how long it may wait for its recipient")
#define WAIT CLI_CHOICE("wait", "accepted|delivered", "accepted", "the receipt to wait for; accepted is replicated where gateways replicate")

_Static_assert(sizeof((struct ehis_why *)0)->text >= EHIS_WHY_BYTES, "a why of libehis fits into one of ours");

volatile int is_interrupted;
static void on_signal(int number)
{
    (void)number;
    is_interrupted = 1;
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

ehis_err client_open(struct client *k, struct cli *c, struct ehis_why *why)
{
    uint64_t timeout_ms = cli_number(c, "timeout");
    ehis_config *config;
    *k = (struct client){.c = c, .is_json = cli_json(c), .deadline_ms = INT64_MAX};
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
    CONFIG, STATE,
    CLI_NEEDED("purpose", "CODE", "why it is asked, a code of the registry"),
    CLI_NEEDED("basis", "CODE", "the legal basis, a code of the registry"),
    CLI_TEXT("case-ref", "TEXT", "reference of the case"),
    CLI_TEXT("official", "TEXT", "the acting official"),
    CLI_TEXT("on-behalf-of", "NAME", "the agency or system that it is asked for"),
    CLI_TEXTS("subject", "HEX", "subject token, 64 hexadecimal digits"),
    BODY, TYPE,
    CLI_TEXT("output", "FILE", "writes the body of the answer there, of any size; the file appears when it is whole"),
    CLI_DURATION("timeout", 300000, "30s", "how long to wait for the answer"),
    CLI_FLAG("send", "asynchronously: prints receipts; the response comes to ehis-call receive"),
    LIFETIME, WAIT, LANG,
};
static const struct cli_option publish_options[] = {CONFIG, STATE, BODY, TYPE, CLI_DURATION("timeout", 14 * DAY_MS, "30s", "how long to wait for receipts"), LIFETIME, WAIT, LANG};
static const struct cli_option watch_options[] = {
    CONFIG, STATE, CLI_COUNT("count", 1, UINT32_MAX, NULL, "end after so many"), CLI_DURATION("timeout", 14 * DAY_MS, NULL, "end after this time; without end unless given"), LANG};
static const struct cli_option status_options[] = {CONFIG, STATE, CLI_DURATION("timeout", 14 * DAY_MS, "10s", "how long to wait for a session"), LANG};
static const struct cli_verb verbs[] = {
    {NULL, "SERVICE OPERATION", "Calls, and prints the answer. A provider's fault: exit code 1, or 4 where it says NOT_FOUND.", 2, 2, CLI_LIST(call_options), run_call},
    {"publish", "SERVICE EVENT", "Publishes an event of one's own service.", 2, 2, CLI_LIST(publish_options), run_publish},
    {"subscribe", "SERVICE EVENT", "Prints events, one a line; each is acknowledged once its line is written.", 2, 2, CLI_LIST(watch_options), run_subscribe},
    {"receive", "", "Prints responses to asynchronous calls, one a line, likewise.", 0, 0, CLI_LIST(watch_options), run_receive},
    {"status", "", "Tries for a session and shows what is seen.", 0, 0, CLI_LIST(status_options), run_status},
};

int main(int argc, char **argv)
{
    static const struct cli_program program = {
        .name = "ehis-call", .sentence = "calls and events of the exchange from the command line", CLI_VERBS(verbs), .translate = words_translate};
    return cli_main(&program, argc, argv);
}
