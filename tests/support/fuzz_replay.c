/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Replays fuzz seeds as an ordinary test: every file of the folders or files named, each also cut short and with single bits turned. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifndef POSITIONS
#define POSITIONS 512 /* of a seed that are cut and turned; libFuzzer does the rest */
#endif

static size_t runs;

static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1); /* exact size: a read beyond it is found */
    if (!copy)
        abort();
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    runs++;
}

static void replay(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        fprintf(stderr, "no such seed: %s\n", path);
        exit(1);
    }
    if (S_ISDIR(st.st_mode)) {
        DIR *d = opendir(path);
        for (struct dirent *e; d && (e = readdir(d));) {
            char below[4096];
            if (e->d_name[0] == '.')
                continue;
            snprintf(below, sizeof below, "%s/%s", path, e->d_name);
            replay(below);
        }
        if (d)
            closedir(d);
        return;
    }
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc((size_t)st.st_size + 1);
    if (!f || !data)
        abort();
    size_t size = fread(data, 1, (size_t)st.st_size, f);
    fclose(f);
    run(data, size);
    size_t step = size > POSITIONS ? size / POSITIONS : 1;
    for (size_t n = 0; n < size; n += step)
        run(data, n);
    for (size_t i = 0; i < size; i += step) {
        for (unsigned bit = 0; bit < 8; bit++) {
            data[i] ^= (uint8_t)(1u << bit);
            run(data, size);
            data[i] ^= (uint8_t)(1u << bit);
        }
    }
    free(data);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    printf("%zu runs\n", runs);
    return runs ? 0 : 1;
}
