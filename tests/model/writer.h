/* SPDX-License-Identifier: MIT */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "store/store.h"
#include "tests/lib/unit.h"
#include "tests/model/latency.h"
#include "tests/model/model.h"

/*
 * A thread that changes its own part of a store for ever, and keeps a model of
 * it. What each operation must answer is known beforehand; another answer ends
 * the program.
 *
 * Time is the test's: the store asks writer_clock(), which says what the
 * thread has set, so that the model knows every time and which deadlines have
 * passed. Keys with a near deadline vanish through writer_swept(), which the
 * thread that sweeps calls, or on the way of an operation that meets them.
 *
 * Thread-safety: writer_step() and what reads the model exclude each other by
 * the lock in struct world: an operation holds it for reading, a cut for
 * writing.
 */

enum {
	WRITERS = 4,
	WRITER_DOOMED_MAX = 256,
	WRITER_HELD_MAX = 32,
};

struct world {
	struct store *st;
	pthread_rwlock_t ops;
	_Atomic int64_t clock_ms;
	_Atomic bool stop, saving;
	uint64_t n_keys;  /* about how many there shall be */
	unsigned rest_us; /* writers pause so long now and then */
};

/* A name that has become free. */
struct vacancy {
	uint64_t dir_ino;
	uint32_t dir, name;
};

struct writer {
	struct world *world;
	struct store *st;
	struct model m;
	struct unit_rng rng;
	pthread_t thread;
	uint32_t target_files, target_dirs;
	uint64_t bytes_max;
	int64_t now_ns;
	uint8_t *noise; /* what is written comes from here */

	struct vacancy vacant[64];
	uint32_t n_vacant;
	uint32_t doomed[WRITER_DOOMED_MAX];
	uint32_t n_doomed;
	uint64_t held[WRITER_HELD_MAX]; /* unlinked files kept open */
	uint32_t n_held;
	uint64_t big_ino[16]; /* files of several chunks */
	uint32_t big[16], n_big;

	pthread_mutex_t lock; /* of the two below */
	uint64_t *swept;      /* numbers of keys that have expired */
	uint32_t n_swept, cap_swept;

	uint64_t n_ops;
	uint64_t start_ns;	   /* of the operation that is timed */
	struct latency latency[2]; /* without a save, and during one */
};

void writer_init(struct writer *w, struct world *world, unsigned owner,
		 uint64_t seed);
void writer_fini(struct writer *w);

/* Makes the keys to begin with. */
void writer_fill(struct writer *w);

/* The thread: steps until world->stop. */
void *writer_main(void *arg);

/* Takes note, in the model, of the keys that have been swept. */
void writer_settle(struct writer *w);

/* For store_expired_fn: the key @ino of @w was removed. Any thread. */
void writer_swept(struct writer *w, uint64_t ino);

/* The store's clock, and what it says to the calling thread. */
int64_t writer_clock(void);
void writer_set_clock(int64_t now_ns);

/**
 * test_fail() - end the program: print why, call the function set with
 * test_on_fail(), exit with 1. Just the first caller gets to print.
 */
_Noreturn void test_fail(const char *fmt, ...) PRINTF_LIKE(1, 2);
void test_on_fail(void (*fn)(void));
