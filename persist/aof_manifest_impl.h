/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "persist/aof_manifest.h"
#include "store/alloc.h"
#include "store/defs.h"

/* What the two halves of aof_manifest.h share; for them alone. */

/* Fills the error and returns @code. */
int aof_fail(struct aof_manifest_error *err, int code, unsigned line,
	     const char *fmt, ...) PRINTF_LIKE(4, 5);
int aof_no_memory(struct aof_manifest_error *err);

/* True if @s can be the name of a listed file (M2). */
bool aof_is_name(const char *s, size_t len);

/* A number from 1 to INT64_MAX as it is printed; 0 for anything else. */
uint64_t aof_parse_seq(const char *s, size_t len);

/* A copy with a NUL behind it, or NULL if there is no memory. */
MUST_CHECK char *aof_copy_bytes(struct mem *mem, const char *s, size_t len);

/* Frees what the entry holds and zeroes it. */
void aof_file_fini(struct mem *mem, struct aof_file *f);

/* Makes room for @more files. Return: 0; -ENOMEM. */
MUST_CHECK int aof_files_reserve(struct mem *mem, struct aof_files *l,
				 size_t more);
