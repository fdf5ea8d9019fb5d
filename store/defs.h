/* SPDX-License-Identifier: MIT */
#pragma once

/* Small language helpers, open to every layer. No functions with a body of
 * their own beyond the cleanup adapters. */

#include <stddef.h>
#include <stdlib.h>

#define ARRAY_LEN(a)	  (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)	  ((a) < (b) ? (a) : (b))
#define MAX(a, b)	  ((a) > (b) ? (a) : (b))
#define LIKELY(x)	  __builtin_expect(!!(x), 1)
#define UNLIKELY(x)	  __builtin_expect(!!(x), 0)
#define MUST_CHECK	  __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define NONNULL		  __attribute__((nonnull))

/* _cleanup_(fn): call fn(&variable) when the variable goes out of scope. */
#define _cleanup_(fn) __attribute__((cleanup(fn)))

/* _cleanup_free_: free() a malloc()ed pointer at the end of its scope. */
static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}
#define _cleanup_free_ _cleanup_(cleanup_free)
