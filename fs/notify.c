/* SPDX-License-Identifier: MIT */
/*
 * The thread takes the whole queue and sends it outside of the lock.
 *
 * Removing a cached name makes the kernel drop the parent's cached
 * listing too, but just if it had that name in its dentry cache; a plain readdir
 * leaves names in the listing alone. So the parent is invalidated as well, once
 * for a run of entries with the same parent: keys that expire together often
 * lie together.
 *
 * Results are not looked at: -ENOENT says that the kernel did not know the
 * thing, the others that the mount is going.
 */
#define FUSE_USE_VERSION 312
#include "fs/notify.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct item {
	struct item *next;
	uint64_t parent, ino;
	size_t len;
	char name[];
};

struct notify {
	struct fuse_session *se;
	pthread_t thread;
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t filled;
	struct item *first, **last;
	unsigned n_queued; /* in the queue and being sent */
	bool stopping, joined;
};

static void send_item(struct notify *n, const struct item *it)
{
	(void)fuse_lowlevel_notify_delete(n->se, it->parent, it->ino, it->name,
					  it->len);
	if (!it->next || it->next->parent != it->parent)
		(void)fuse_lowlevel_notify_inval_inode(n->se, it->parent, 0, 0);
}

/* Sends one taken queue and frees it. */
static void send_all(struct notify *n, struct item *it)
{
	struct item *next;
	bool stop = false;

	for (; it; it = next) {
		next = it->next;
		if (!stop)
			send_item(n, it);
		free(it);
		pthread_mutex_lock(&n->lock);
		n->n_queued--;
		stop = n->stopping;
		pthread_mutex_unlock(&n->lock);
	}
}

static void *notify_main(void *arg)
{
	struct notify *n = arg;
	struct item *batch;

	for (;;) {
		pthread_mutex_lock(&n->lock);
		while (!n->first && !n->stopping)
			pthread_cond_wait(&n->filled, &n->lock);
		batch = n->first;
		n->first = NULL;
		n->last = &n->first;
		if (n->stopping && !batch) {
			pthread_mutex_unlock(&n->lock);
			return NULL;
		}
		pthread_mutex_unlock(&n->lock);
		send_all(n, batch);
	}
}

int notify_new(struct fuse_session *se, struct notify **ret)
{
	struct notify *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return -ENOMEM;
	n->se = se;
	n->last = &n->first;
	pthread_mutex_init(&n->lock, NULL);
	pthread_cond_init(&n->filled, NULL);
	r = pthread_create(&n->thread, NULL, notify_main, n);
	if (r != 0) {
		n->joined = true;
		notify_free(n);
		return -r;
	}
	*ret = n;
	return 0;
}

static void drop_queue_locked(struct notify *n)
{
	struct item *it;

	while ((it = n->first)) {
		n->first = it->next;
		n->n_queued--;
		free(it);
	}
	n->last = &n->first;
}

void notify_stop(struct notify *n)
{
	bool join;

	pthread_mutex_lock(&n->lock);
	n->stopping = true;
	drop_queue_locked(n);
	join = !n->joined;
	n->joined = true;
	pthread_cond_signal(&n->filled);
	pthread_mutex_unlock(&n->lock);
	if (join)
		(void)pthread_join(n->thread, NULL);
}

void notify_free(struct notify *n)
{
	if (!n)
		return;
	notify_stop(n);
	pthread_cond_destroy(&n->filled);
	pthread_mutex_destroy(&n->lock);
	free(n);
}

/* Without memory the notification is lost; what expires has also been given to
 * the kernel with a time limit, so it goes by itself. */
void notify_removed(struct notify *n, uint64_t parent, uint64_t ino,
		    struct span name)
{
	struct item *it = malloc(sizeof(*it) + name.len + 1);

	if (!it)
		return;
	*it = (struct item){ .parent = parent, .ino = ino, .len = name.len };
	if (name.len)
		memcpy(it->name, name.ptr, name.len);
	it->name[name.len] = '\0'; /* the library wants a string */
	pthread_mutex_lock(&n->lock);
	if (n->stopping) {
		pthread_mutex_unlock(&n->lock);
		free(it);
		return;
	}
	*n->last = it;
	n->last = &it->next;
	n->n_queued++;
	pthread_cond_signal(&n->filled);
	pthread_mutex_unlock(&n->lock);
}

bool notify_has_room(struct notify *n, unsigned count)
{
	bool room;

	pthread_mutex_lock(&n->lock);
	room = n->n_queued + count <= NOTIFY_QUEUE_MAX;
	pthread_mutex_unlock(&n->lock);
	return room;
}
