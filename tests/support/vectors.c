/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "tests/support/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const char *vectors_folder(void)
{
    static char folder[4096];
    const char *shared = getenv("EHIS_SHARED"), *source = getenv("EHIS_SOURCE_DIR");
    snprintf(folder, sizeof folder, "%s%s", shared ? shared : source ? source : ".", shared ? "/vectors" : "/../shared/vectors");
    if (access(folder, R_OK | X_OK) == 0)
        return folder;
    fprintf(stderr, "skipped: no vectors in %s\n", folder);
    return NULL;
}

static json_t *load(const char *folder, const char *path)
{
    char file[8192];
    json_error_t error;
    snprintf(file, sizeof file, "%s/%s", folder, path);
    json_t *j = json_load_file(file, JSON_DECODE_INT_AS_REAL, &error);
    if (!j) {
        fprintf(stderr, "%s: %s\n", file, error.text);
        abort();
    }
    return j;
}

json_t *vectors_load(const char *path)
{
    const char *folder = vectors_folder();
    return folder ? load(folder, path) : NULL;
}

json_t *vectors_load_own(const char *path)
{
    char folder[4096];
    const char *source = getenv("EHIS_SOURCE_DIR");
    snprintf(folder, sizeof folder, "%s/proto/vectors", source ? source : ".");
    return load(folder, path);
}

const char *vectors_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    if (!text) {
        fprintf(stderr, "no text %s in a vector\n", name);
        abort();
    }
    return text;
}

struct span vectors_hex(const json_t *object, const char *name)
{
    struct span text = span_str(vectors_text(object, name));
    uint8_t *p = malloc(text.len / 2 + 1);
    if (!p || hex_from_text(text, p, text.len / 2) != EHIS_OK) {
        fprintf(stderr, "%s of a vector is not hexadecimal\n", name);
        abort();
    }
    return span_of(p, text.len / 2);
}

void vectors_free(struct span s) { free((void *)(uintptr_t)s.p); }
