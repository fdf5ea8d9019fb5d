/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/*
 * How far loading has come, as one line that is drawn over and over on a
 * terminal. Where the output is not a terminal nothing is printed at all.
 */
struct progress {
	FILE *out;		    /* borrowed; NULL: no terminal */
	int64_t start_ms, drawn_ms; /* monotonic clock */
	bool drawn;
};

/* Starts the clock. @out is looked at just if it is a terminal. */
void progress_init(struct progress *p, FILE *out);

/* Has the type of rdb_load_options.progress; @arg is the struct progress. */
void progress_update(void *arg, uint64_t keys, uint64_t bytes,
		     uint64_t total_bytes);

/* Wipes the line, so that what comes next starts on a clean one. */
void progress_end(struct progress *p);

enum {
	PROGRESS_LINE_MAX = 120
};

/**
 * progress_format() - the text of the line
 * @elapsed_ms: since the start; the time left is extrapolated from it
 * @line: PROGRESS_LINE_MAX bytes
 */
void progress_format(char *line, uint64_t keys, uint64_t bytes,
		     uint64_t total_bytes, int64_t elapsed_ms);
