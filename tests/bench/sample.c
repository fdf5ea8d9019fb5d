/* SPDX-License-Identifier: MIT */
/*
 * Every sample is kept: a histogram would round the medians, and a ratio of
 * two rounded numbers is what the benchmark is read for.
 */
#include "tests/bench/sample.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int samples_init(struct samples *s, size_t cap)
{
	s->n = 0;
	s->cap = cap;
	s->ns = malloc(cap * sizeof(*s->ns));
	if (!s->ns)
		return -ENOMEM;
	memset(s->ns, 0xff, cap * sizeof(*s->ns));
	return 0;
}

void samples_fini(struct samples *s)
{
	free(s->ns);
	s->ns = NULL;
	s->n = s->cap = 0;
}

void samples_add(struct samples *s, uint64_t ns)
{
	assert(s->n < s->cap);
	s->ns[s->n++] = ns;
}

static int compare_ns(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

struct summary samples_summary(struct samples *s)
{
	struct summary sum = { .n = s->n };
	size_t i;

	if (!s->n)
		return sum;
	qsort(s->ns, s->n, sizeof(*s->ns), compare_ns);
	for (i = 0; i < s->n; i++)
		sum.total_ns += s->ns[i];
	sum.median_ns = s->ns[s->n / 2];
	sum.p99_ns = s->ns[(s->n - 1) * 99 / 100];
	sum.max_ns = s->ns[s->n - 1];
	return sum;
}
