/* SPDX-License-Identifier: MIT */
/*
 * Values come from splitmix64 seeded with key and generation, so a reader can
 * check what it gets without remembering what was written.
 */
#include "tests/bench/dataset.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

uint64_t dataset_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

void dataset_name(char ret[DATASET_NAME_MAX], unsigned dirs, uint64_t i)
{
	if (dirs)
		(void)snprintf(ret, DATASET_NAME_MAX, "d%u/key:%" PRIu64,
			       (unsigned)(i % dirs), i);
	else
		(void)snprintf(ret, DATASET_NAME_MAX, "key:%" PRIu64, i);
}

void dataset_value(unsigned char ret[DATASET_VALUE_LEN], uint64_t i,
		   unsigned gen)
{
	uint64_t state = (i << 8) + gen;
	uint64_t word = dataset_random(&state);
	size_t done, part;

	state ^= word;
	for (done = 0; done < DATASET_VALUE_LEN; done += part) {
		word = dataset_random(&state);
		part = sizeof(word);
		if (part > DATASET_VALUE_LEN - done)
			part = DATASET_VALUE_LEN - done;
		memcpy(ret + done, &word, part);
	}
}
