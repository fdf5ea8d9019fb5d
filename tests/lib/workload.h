/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

#include "store/store.h"
#include "tests/lib/unit.h"

/*
 * Random file operations on a store, by path, the way a mount makes them: each
 * looks its directory up, does one thing, and gives its references back. Names
 * come from a small set, so that operations meet; some are long, some odd.
 *
 * Thread-safety: one workload per thread; several may run on one store.
 */
struct workload {
	struct store *st;
	struct unit_rng rng;
	int n_names;	   /* names to choose from, more: larger trees */
	int max_depth;	   /* of directories; bounds the tree */
	int depth;	   /* of the last directory chosen */
	size_t max_size;   /* of a file */
	uint64_t held[64]; /* files kept open over other operations */
	int n_held;
	bool half_done; /* the last step made a file, then could not write */
};

/* Does one random operation. Return: what the store said. */
int workload_step(struct workload *w);

/* Gives back what is kept open. */
void workload_fini(struct workload *w);

/* A clock of whole microseconds that advances with every look. */
int64_t workload_clock(void);
