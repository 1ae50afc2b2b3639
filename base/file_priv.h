/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What disk.c and file.c share. */
#pragma once
#include "base/disk.h"

/* The error of an errno value. */
ehis_err file_err_from_errno(int number) EHIS_MUST_USE;
/* Whole or error. */
ehis_err file_write_at(int fd, uint64_t offset, const uint8_t *p, size_t n) EHIS_MUST_USE;
/* Makes the entry of path in its folder durable. */
ehis_err file_sync_parent(const char *path, struct ehis_why *why) EHIS_MUST_USE;
