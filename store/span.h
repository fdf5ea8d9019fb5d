/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A borrowed run of bytes: never owned, never NUL-terminated, any content.
 * The one type that crosses the layers by value. ptr may be NULL if len is 0. */
struct span {
	const void *ptr;
	size_t len;
};

/* The bytes of a C string, without its final NUL. */
static inline struct span span_str(const char *s)
{
	return (struct span){ s, strlen(s) };
}

static inline struct span span_of(const void *ptr, size_t len)
{
	return (struct span){ ptr, len };
}

static inline bool span_eq(struct span a, struct span b)
{
	return a.len == b.len &&
	       (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
