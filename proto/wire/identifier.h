/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Identifiers INSTANCE/CLASS/AGENCY/SYSTEM[/SERVICE] (SPEC 1): compared byte for byte, borrowed, never copied. Pure, any thread. */
#pragma once
#include "base/bytes.h"

#define IDENTIFIER_MAX_BYTES 200
#define IDENTIFIER_PART_MAX_BYTES 64

/* Two parts: a gateway (INSTANCE/NAME); three: an agency; four: a system; five: a service. */
enum identifier_parts { IDENTIFIER_GATEWAY = 2, IDENTIFIER_AGENCY = 3, IDENTIFIER_SYSTEM = 4, IDENTIFIER_SERVICE = 5 };

/* Checks the form and counts the parts. IDENTIFIER_INVALID with the place in why. */
ehis_err identifier_parse(struct span text, unsigned *parts, struct ehis_why *why) EHIS_MUST_USE;
/* The same, and it must have exactly these parts. */
ehis_err identifier_check(struct span text, enum identifier_parts parts, struct ehis_why *why) EHIS_MUST_USE;
/* One part alone (an operation, an event): 1 to 64 bytes of the alphabet. */
ehis_err identifier_part_check(struct span text, struct ehis_why *why) EHIS_MUST_USE;
/* The first n parts of a checked identifier: the system of a service, the agency of a system. The whole where it has no more. */
struct span identifier_prefix(struct span checked, unsigned parts);
