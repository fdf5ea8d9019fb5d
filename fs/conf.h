/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "fs/log.h"
#include "persist/persist.h"
#include "store/span.h"

/*
 * keyfs.conf: Redis' directive names, syntax, defaults and meaning; just the
 * directives keyfs has. One table in conf_parse.c has them all: name, default,
 * whether it can be changed at run time, parse, print and help text.
 *
 * Thread-safety: a struct conf has a lock of its own.
 */
#define CONF_FILE_NAME "keyfs.conf"
#define CONF_TMP_NAME  "temp-keyfs.conf" /* while it is being replaced */

struct conf;

/* A copy of all settings at one moment. */
struct conf_values {
	struct persist_save_point save[PERSIST_SAVE_POINTS_MAX];
	int n_save;
	char dbfilename[256];
	bool rdbcompression, rdbchecksum, rdb_save_incremental_fsync;
	bool stop_writes_on_bgsave_error;
	uint64_t maxmemory;		/* bytes, 0: none */
	uint64_t proto_max_bulk_len;	/* largest value, bytes; 512mb */
	uint64_t snapshot_memory_limit; /* bytes, 0: none; keyfs' own */
	enum log_level loglevel;
};

/* Where reading a configuration stopped and why. */
struct conf_error {
	int line;	/* 1..; 0: not about a line */
	char what[200]; /* one clause for people, with the remedy */
};

/**
 * conf_open() - read DATADIR's keyfs.conf, or take the defaults without one
 * @dirfd: DATADIR; borrowed for the life of the object
 * Return: 0; -EINVAL for a bad line; -errno. @err is filled on failure.
 */
MUST_CHECK int conf_open(const struct io *io, int dirfd, struct conf **ret,
			 struct conf_error *err);
void conf_close(struct conf *c);
void conf_get(struct conf *c, struct conf_values *ret);

/* --- by name, for `.ctl/config/` and --help --------------------------- */

/* The i-th directive's name, or NULL after the last. Sorted. */
const char *conf_name(int i);
const char *conf_help(int i);
const char *conf_default(int i);
/* False for what is fixed once the daemon runs (dbfilename, rdbchecksum). */
bool conf_is_mutable(int i);

/**
 * conf_print() - a directive's value, as it would be written, without newline
 * @buf: at least CONF_VALUE_MAX bytes
 * Return: its length.
 */
enum {
	CONF_VALUE_MAX = 1024
};
size_t conf_print(struct conf *c, int i, char *buf);

/**
 * conf_set() - change a directive: check, apply, write keyfs.conf durably
 * @text:  the value; white space around it is ignored
 * @apply: called with the new values once they are known to be good, to put
 *         them in force. The file is written before.
 * Comments and the order of the file are kept.
 * Context: blocks on I/O. Return: 0; -EINVAL for a bad value; -EPERM for one
 * that is fixed; -errno of the write: then nothing has changed.
 */
MUST_CHECK int conf_set(struct conf *c, int i, struct span text,
			void (*apply)(void *arg, const struct conf_values *v),
			void *arg);
