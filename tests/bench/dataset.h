/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

/*
 * The data set that a peer holds before it is measured: the same names and
 * values whether they come from a dump (gen_dump.c), from the floor's own
 * memory or from writes of the client. No state; any thread.
 */
enum {
	DATASET_VALUE_LEN = 100, /* bytes: the size all figures are given for */
	DATASET_NAME_MAX = 48,	 /* with the final NUL; two 20-digit numbers */
};

/* Name of key i: "d<i mod dirs>/key:<i>", or "key:<i>" if dirs is 0. */
void dataset_name(char ret[DATASET_NAME_MAX], unsigned dirs, uint64_t i);

/* Value of key i after its gen-th write: bytes that do not compress, and that
 * differ between keys and between writes. */
void dataset_value(unsigned char ret[DATASET_VALUE_LEN], uint64_t i,
		   unsigned gen);

/* The next number of a splitmix64 sequence. */
uint64_t dataset_random(uint64_t *state);
