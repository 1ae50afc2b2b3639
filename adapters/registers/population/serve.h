/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The register at work: answers what is asked, publishes what has changed, until SIGTERM or SIGINT. */
#pragma once
#include "adapters/registers/population/answers.h"

#define POPULATION_SERVICE "AZ/GOV/MIA/population/person"

/* Blocks. service: the identifier that it is registered under. Errors of settings, keys, state folder and database at the start; later
 * ones are logged and tried again. */
ehis_err population_serve(const char *config, const char *db, const char *service, enum body_format events, struct ehis_why *why) EHIS_MUST_USE;
