/* SPDX-License-Identifier: MIT */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "persist/persist.h"
#include "store/view.h"

/*
 * What persist.c (requests, rules, life) and saver.c (the thread that saves)
 * share; nobody else includes it. One saver thread, one lock.
 *
 * Requests. `running` says that a save has begun; `wanted`, that another is to.
 * A save that can begin at once is cut by the request itself, and the saver
 * finds the view in `cut`: so what is changed after the request returned is not
 * in the dump. Who asks for a save while one is running gets the next one, since
 * that one's cut lies before the call: the list `next` collects those who wait
 * for it, and when it begins, the list becomes `now`. So no caller's cut is
 * before the call, and any number of callers cost one save.
 *
 * The view. The store has one at a time, so a digest and a save exclude each
 * other: `digesting` keeps the saver from starting, `running` and `wanted` the
 * digest. A save that is asked for during a digest is cut when that has ended.
 *
 * The name. What persist_dump_open() tells must belong to the file it opened,
 * so the rename and the growth of `serial` are one step under `dump_lock`, and
 * so are its open and its look at `serial`. That lock is held over these system
 * calls and nothing else, and `lock` is never taken inside of it.
 */
enum {
	DB_NAME_MAX = 255,
};

/* Somebody who wants to know how a save ended. */
struct waiter {
	struct waiter *next;
	persist_done_fn done;
	void *arg;
};

struct persist {
	/* Set at open or before the first request, then constant. */
	struct store *st;
	const struct io *io;
	int dirfd;
	char dbfilename[DB_NAME_MAX + 1];
	bool incremental_sync;
	void (*event)(void *arg, enum persist_level level, const char *text);
	void *arg;
	int64_t (*now_ms)(void);
	struct rdb_extras extras;
	pthread_t saver;

	pthread_mutex_t dump_lock; /* see above; guards serial's growth */
	_Atomic uint64_t serial;

	pthread_mutex_t lock; /* all below */
	pthread_cond_t wake;  /* the saver: wanted, quit, end of a digest */
	pthread_cond_t idle;  /* others: running, wanted or digesting ended */
	bool wanted, running, digesting, quit, load_failed;
	struct waiter *now, *next; /* latest first */
	struct view *cut;    /* of the save that is wanted, if it was idle */
	struct view *view;   /* of the running save, while it is open */
	uint64_t view_bytes; /* most that was seen of its extra memory */

	bool compress, checksum, stop_writes;
	struct persist_save_point points[PERSIST_SAVE_POINTS_MAX];
	int n_points;

	uint64_t saved_changes;	      /* store_stats.changes that are on disk */
	int64_t since_ms;	      /* last good save, for the save points */
	int64_t try_ms;		      /* start of the last save; 0: none */
	int growth_error;	      /* as told to the store */
	struct persist_status status; /* but for what is derived */
};

static inline void unlock_mutex(pthread_mutex_t **m)
{
	pthread_mutex_unlock(*m);
}

static inline pthread_mutex_t *lock_mutex(pthread_mutex_t *m)
{
	pthread_mutex_lock(m);
	return m;
}

/* Holds a mutex until the end of the scope. */
#define HOLD(m)                                                                \
	_cleanup_(unlock_mutex) __attribute__((unused))                        \
	pthread_mutex_t *held_ = lock_mutex(m)

/* Starts the thread. It ends after `quit` is set, when nothing is wanted any
 * more; then it is to be joined. Return: 0; -errno. */
MUST_CHECK int saver_start(struct persist *p);

/* Notes that a save begins, and who waits for it (NULL: nobody). */
void saver_note_start_locked(struct persist *p, struct waiter *waiters);

/* Hands an event to the callback. No lock may be held. */
PRINTF_LIKE(3, 4)
void saver_tell(const struct persist *p, enum persist_level level,
		const char *fmt, ...);

/* Refuses growth in the store, or allows it again, as the last result and the
 * settings say. */
void saver_apply_growth_error_locked(struct persist *p);

/* Looks at the extra memory of the open view, for the largest figure. */
void saver_note_view_bytes_locked(struct persist *p);
