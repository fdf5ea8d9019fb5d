/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>
#include <time.h>

#include "store/defs.h"

/*
 * How long operations took: the longest, and a histogram with four steps per
 * doubling, from which shares are read within a fifth. On a machine with fewer
 * cores than threads the longest is mostly the scheduler's; the shares tell
 * what the operation itself costs.
 *
 * Thread-safety: none.
 */
struct latency {
	uint64_t n, max_ns;
	uint64_t step[4 * 64];
};

static inline uint64_t latency_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static inline void latency_add(struct latency *l, uint64_t ns)
{
	unsigned log = 63 - (unsigned)__builtin_clzll(ns | 4);

	l->n++;
	l->max_ns = MAX(l->max_ns, ns);
	l->step[4 * log + ((ns >> (log - 2)) & 3)]++;
}

static inline void latency_merge(struct latency *to, const struct latency *l)
{
	to->n += l->n;
	to->max_ns = MAX(to->max_ns, l->max_ns);
	for (unsigned i = 0; i < ARRAY_LEN(l->step); i++)
		to->step[i] += l->step[i];
}

/* The time that all but one in @one_in operations stayed below. */
static inline uint64_t latency_but(const struct latency *l, uint64_t one_in)
{
	uint64_t above = 0;
	unsigned i = ARRAY_LEN(l->step);

	while (i > 8 && above + l->step[i - 1] <= l->n / one_in)
		above += l->step[--i];
	return MIN((UINT64_C(4) + i % 4) << (i / 4 - 2), l->max_ns);
}
