/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "persist/persist.h"

/*
 * Loading at the start, as the user sees it: progress on a terminal, and if it
 * fails, where, why, and what to do about it.
 */
struct load_options {
	struct persist *p; /* borrowed */
	bool verify;	   /* rdbchecksum */
	bool sep_fixed;	   /* -o sep was given */
	FILE *terminal;	   /* borrowed: for the progress */
};

enum {
	LOAD_ERROR_MAX = 640
};

/**
 * load_data() - persist_load() with all that is around it
 * @ret_stats: filled
 * @error: on failure, `offset N: what` and a line with the remedy,
 *         LOAD_ERROR_MAX bytes
 * Return: as persist_load(). Context: blocks on I/O.
 */
MUST_CHECK int load_data(const struct load_options *opt,
			 struct rdb_load_stats *ret_stats, char *error);
