/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "persist/io.h"
#include "persist/rdb.h"
#include "store/store.h"

/*
 * The facade of persistence: one DATADIR, one store, one thread that saves.
 * Owns the rules of Redis: save points, what a failed save means, what happens
 * at the end. Never logs: events go to the callback given at open.
 *
 * Thread-safety: all functions from any thread; those that block say so. The
 * callbacks are called without any lock held, from the saver's thread or the
 * caller's.
 */
struct persist;

enum persist_level {
	PERSIST_ERROR,
	PERSIST_WARNING,
	PERSIST_INFO
};

enum {
	PERSIST_SAVE_POINTS_MAX = 16
};

struct persist_save_point {
	int64_t seconds;
	uint64_t changes;
};

struct persist_options {
	struct store *st;	/* borrowed */
	const struct io *io;	/* borrowed; NULL: io_system */
	int dirfd;		/* DATADIR; borrowed */
	const char *dbfilename; /* copied; a plain name */
	bool compress, checksum, incremental_sync;
	bool stop_writes_on_error;
	struct persist_save_point points[PERSIST_SAVE_POINTS_MAX];
	int n_points;
	/* What happened, in one line for people. May be NULL. */
	void (*event)(void *arg, enum persist_level level, const char *text);
	void *arg;
	int64_t (*now_ms)(void); /* wall clock; NULL: CLOCK_REALTIME */
};

/**
 * persist_open() - set up; touches nothing in DATADIR
 * @ret: set on success; ends with persist_close()
 * Return: 0; -ENOMEM; -errno of what failed on DATADIR.
 */
MUST_CHECK int persist_open(const struct persist_options *opt,
			    struct persist **ret);

/**
 * persist_load() - read the dump, if there is one, into the store, and sweep
 * the leftovers of a save that a crash cut short
 * To be called once, before anybody changes the store.
 * Context: blocks on I/O.
 * Return: 0 (also without a file: *ret_stats is then all zero); else as
 *         rdb_load(), and DATADIR has not been touched.
 */
MUST_CHECK int persist_load(struct persist *p,
			    const struct rdb_load_options *opt,
			    struct rdb_load_stats *ret_stats,
			    struct rdb_error *err);

/**
 * persist_close() - end by Redis' rule
 * Waits for a running save; then saves if save points are set and something
 * changed since the last good one. NULL is allowed.
 * Context: blocks on I/O. Return: 0; -errno of that last save.
 */
MUST_CHECK int persist_close(struct persist *p);

/* Tells how a save ended: 0 or -errno. Runs in the saver's thread. */
typedef void (*persist_done_fn)(void *arg, int result);

/**
 * persist_bgsave() - start a save
 * The cut is made before this returns (but if a digest is being made: then after
 * that).
 * @done: called exactly once when it has ended, if 0 is returned; may be NULL
 * Return: 0; -EALREADY if one is running; -ENOMEM.
 */
MUST_CHECK int persist_bgsave(struct persist *p, persist_done_fn done,
			      void *arg);

/**
 * persist_save() - a save whose cut is not before this call
 * If one is running, another starts right after it; callers who wait share it.
 * @done: called exactly once with the result
 * Context: does not block. Return: 0; -ENOMEM.
 */
MUST_CHECK int persist_save(struct persist *p, persist_done_fn done, void *arg);

/**
 * persist_cron() - start a save if a save point is due
 * To be called about ten times a second. Does not block.
 */
void persist_cron(struct persist *p);

/**
 * persist_digest() - Redis' DEBUG DIGEST of the data at the time of the call
 * Context: blocks until a running save has ended, then for one pass.
 * Return: as rdb_digest().
 */
MUST_CHECK int persist_digest(struct persist *p, char hex[RDB_DIGEST_HEX + 1]);

void persist_set_save_points(struct persist *p,
			     const struct persist_save_point *v, int n);
void persist_set_compress(struct persist *p, bool on);
void persist_set_checksum(struct persist *p, bool on);
void persist_set_stop_writes(struct persist *p, bool on);

/* State and history, for INFO and the control files. */
struct persist_status {
	bool running;
	bool scheduled;		     /* another one follows the running one */
	double progress;	     /* 0..1 */
	uint64_t changes_since_save; /* rdb_changes_since_last_save */
	int64_t last_save_s;  /* unix time of the last good save; start-up's
				 * time before the first */
	int last_result;      /* 0 or -errno of the last one that ended */
	char last_error[160]; /* clause for people if last_result != 0 */
	int64_t last_end_ms;  /* unix time the last one ended; 0: none yet */
	int64_t last_duration_ms; /* -1: none yet */
	uint64_t last_keys, last_bytes;
	int64_t current_start_ms; /* of the running one; 0: none */
	uint64_t current_keys,
		current_total;	  /* keys written, keys at the cut */
	uint64_t n_saves;	  /* good ones */
	uint64_t last_view_bytes; /* most extra memory of the last one */
	uint64_t serial;	  /* grows whenever dump.rdb is replaced */
	struct rdb_load_stats load;
	int64_t load_ms;
};
void persist_get_status(struct persist *p, struct persist_status *ret);

/**
 * persist_dump_open() - open the last finished dump for reading
 * @ret_size, @ret_mtime_ns, @ret_serial: of exactly the file that was opened
 * Return: a descriptor, the caller's to close; -ENOENT if there is none;
 *         -errno. Context: a few system calls.
 */
MUST_CHECK int persist_dump_open(struct persist *p, uint64_t *ret_size,
				 int64_t *ret_mtime_ns, uint64_t *ret_serial);
