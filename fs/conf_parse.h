/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "fs/conf.h"

/*
 * The directives: one table with name, default, help, parse and print. Private
 * to conf*.c. Pure functions, no state.
 */
enum {
	CONF_WORDS_MAX = 2 * PERSIST_SAVE_POINTS_MAX + 2,
	CONF_WHY_MAX = 160,
};

struct conf_directive {
	const char *name, *def, *help;
	bool is_mutable;
	/* Return: 0; -EINVAL, with the reason in @why (CONF_WHY_MAX bytes),
	 * and then @v is as before. Words are NUL-terminated. */
	int (*parse)(const struct conf_directive *d, struct conf_values *v,
		     int argc, char **argv, char *why);
	size_t (*print)(const struct conf_directive *d,
			const struct conf_values *v, char *buf);
	size_t offset;	   /* of its field in struct conf_values */
	uint64_t min, max; /* sizes: bytes */
};

/* Sorted by name. */
extern const struct conf_directive conf_directives[];
extern const int conf_n_directives;

/* Index of a directive, upper or lower case; -1 if there is none. */
int conf_find(const char *name);

/* All defaults. */
void conf_set_defaults(struct conf_values *v);

/**
 * conf_check_inert() - a directive of Redis that keyfs does not act on
 * Those whose given value means what keyfs does are let pass, so that a file
 * made for Redis works; the others are refused with the remedy.
 * Return: 0; -EINVAL with @why; -ENOENT if @name is none of those.
 */
MUST_CHECK int conf_check_inert(const char *name, int argc, char **argv,
				char *why);
