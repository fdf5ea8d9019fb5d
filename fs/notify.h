/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/defs.h"
#include "store/span.h"

struct fuse_session;

/*
 * Tells the kernel of changes that did not come through it, since it caches for
 * ever what it knows.
 *
 *   N1  A notification can wait for an inode's lock that a process holds while
 *       it waits for *our* reply. So none is sent by a handler or with a lock
 *       held: one thread of its own sends them all, and callers just queue.
 *   N2  That thread must have ended while requests are still being answered
 *       (notify_stop()), or after the mount is gone; else it may hang.
 *   N3  The order of the queue is kept, so the last word on a name is right.
 *
 * Thread-safety: all functions from any thread; queueing never blocks beyond a
 * short lock section and may be done under the store's lock.
 */
struct notify;

enum {
	NOTIFY_QUEUE_MAX = 16 * 1024
}; /* those who can wait should, then */

/**
 * notify_new() - start the thread
 * @se:  borrowed; must stay until notify_stop()
 * @ret: set on success; ends with notify_free()
 * Return: 0; -errno.
 */
MUST_CHECK int notify_new(struct fuse_session *se, struct notify **ret);

/* Drops what is queued, also from now on, and waits for the thread's end. */
void notify_stop(struct notify *n);
void notify_free(struct notify *n); /* NULL is allowed */

/* The name of @ino is gone from @parent: watchers are told, the listing and
 * attributes of @parent are dropped as well. */
void notify_removed(struct notify *n, uint64_t parent, uint64_t ino,
		    struct span name);

/* True if @count more can be queued without going over NOTIFY_QUEUE_MAX. */
bool notify_has_room(struct notify *n, unsigned count);
