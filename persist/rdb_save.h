/* SPDX-License-Identifier: MIT */
#pragma once

#include "persist/io.h"
#include "persist/rdb.h"
#include "store/defs.h"

/*
 * rdb_save() in its steps, private to persist/: who keeps track of what the
 * name stands for must act at the very moment of the rename.
 *
 *	r = rdb_save_prepare(&s, v, extras, opt, &stats);
 *	if (r == 0)
 *		r = rdb_save_publish(&s, name);
 *	if (r == 0)
 *		r = rdb_save_settle(&s);
 *
 * A step that fails leaves no temporary; the next one is then not to be taken.
 */
struct rdb_save {
	const struct io *io;
	int dirfd;
	const char *doing; /* the step that was begun last, for a message:
			    * "writing temp-keyfs.rdb" */
};

/* Writes and syncs the temporary. Context: blocks on I/O. Return: as
 * rdb_save(); nothing has happened to @name then. */
MUST_CHECK int rdb_save_prepare(struct rdb_save *s, struct view *v,
				const struct rdb_extras *extras,
				const struct rdb_save_options *opt,
				struct rdb_save_stats *ret_stats);

/* Gives the temporary its name, replacing what had it. One system call.
 * Return: 0; -errno: then @name is what it was. */
MUST_CHECK int rdb_save_publish(struct rdb_save *s, const char *name);

/* Makes the name durable. Return: 0; -errno: @name is the new dump, but a power
 * loss may bring the old one back. */
MUST_CHECK int rdb_save_settle(struct rdb_save *s);
