/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* The duration of single operations, and what is said about many of them. */
struct samples {
	uint64_t *ns;
	size_t n, cap;
};

struct summary {
	size_t n;
	uint64_t median_ns, p99_ns, max_ns, total_ns;
};

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Room for cap samples, touched, so that adding one costs no page fault.
 * Return: 0; -ENOMEM. samples_fini() gives it back. */
int samples_init(struct samples *s, size_t cap);
void samples_fini(struct samples *s);

/* Adds one. Asserts that there is room. */
void samples_add(struct samples *s, uint64_t ns);

/* Sums up; all zero if there are none. Sorts the samples. */
struct summary samples_summary(struct samples *s);
