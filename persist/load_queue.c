/* SPDX-License-Identifier: MIT */

/*
 * Decoding and inserting cost about the same, so two threads nearly halve the
 * time of a load. A ring of batches lies between them: the decoder owns the
 * batch at `head`, the inserter those in [tail, head). Handing over takes the
 * mutex once per batch of 512 keys, so it does not show.
 *
 * After a failure the inserter drops what comes and the decoder is told at its
 * next batch. The failed batch stays as it is until the end, since the failure
 * points into it.
 */

#include "persist/load_queue.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

enum {
	BATCHES = 4,
	BATCH_KEYS = LOAD_RUN_MAX,
};

struct batch {
	struct store_put put[BATCH_KEYS];
	uint64_t offset[BATCH_KEYS];
	size_t key_at[BATCH_KEYS]; /* in keys, which moves while it grows */
	size_t n;
	char *keys;
	size_t keys_len, keys_cap;
};

struct load_queue {
	struct store *st;
	bool threaded;
	pthread_t thread;
	pthread_mutex_t lock; /* head, tail, end, failure */
	pthread_cond_t changed;
	uint64_t head, tail;
	bool end;
	uint64_t n_inserted;
	struct load_failure failure;

	/* The run: where its keys are in the batch at head; -1: not kept. */
	int16_t run[LOAD_RUN_MAX];
	size_t n_run;
	bool run_is_whole; /* all its kept keys are in the batch at head */
	bool stopped;	   /* the decoder has been told of a failure */

	struct batch batch[BATCHES];
};

static struct batch *batch_at(struct load_queue *q, uint64_t i)
{
	return &q->batch[i % BATCHES];
}

static void drop_values(struct store *st, const struct batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		value_unref(store_mem(st), b->put[i].item.value);
}

/* Inserts a batch. Return: 0; the failure, with *ret_done the culprit. */
static int insert(struct load_queue *q, struct batch *b, size_t *ret_done)
{
	const char *keys = b->keys ? b->keys : ""; /* all keys are empty */

	for (size_t i = 0; i < b->n; i++)
		b->put[i].key.ptr = keys + b->key_at[i];
	return store_put_many(q->st, b->put, b->n, ret_done);
}

static void note_failure(struct load_queue *q, const struct batch *b,
			 size_t culprit, int code)
{
	q->failure = (struct load_failure){
		.code = code,
		.offset = b->offset[culprit],
		.db = b->put[culprit].db,
		.key = b->put[culprit].key,
	};
}

static void recycle(struct batch *b)
{
	b->n = 0;
	b->keys_len = 0;
}

static void *insert_all(void *arg)
{
	struct load_queue *q = arg;
	size_t done;
	int r;

	pthread_mutex_lock(&q->lock);
	for (;;) {
		struct batch *b = batch_at(q, q->tail);

		while (q->tail == q->head && !q->end)
			pthread_cond_wait(&q->changed, &q->lock);
		if (q->tail == q->head)
			break;
		pthread_mutex_unlock(&q->lock);
		r = insert(q, b, &done);
		pthread_mutex_lock(&q->lock);
		q->n_inserted += done;
		if (r < 0) {
			note_failure(q, b, done, r);
			pthread_cond_signal(&q->changed);
			break; /* the batch stays for the message */
		}
		recycle(b);
		q->tail++;
		pthread_cond_signal(&q->changed);
	}
	pthread_mutex_unlock(&q->lock);
	return NULL;
}

int load_queue_new(struct store *st, bool threaded, struct load_queue **ret)
{
	struct load_queue *q = mem_zalloc(store_mem(st), sizeof(*q));

	if (!q)
		return -ENOMEM;
	q->st = st;
	q->run_is_whole = true;
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->changed, NULL);
	if (threaded)
		q->threaded =
			pthread_create(&q->thread, NULL, insert_all, q) == 0;
	*ret = q;
	return 0;
}

/* In the caller's thread. Return: 0; -ECANCELED, and the failure is noted. */
static int insert_here(struct load_queue *q)
{
	struct batch *b = batch_at(q, q->head);
	size_t done;
	int r = insert(q, b, &done);

	q->n_inserted += done;
	if (r < 0) {
		note_failure(q, b, done, r);
		q->tail = q->head++;
		return -ECANCELED;
	}
	recycle(b);
	return 0;
}

static int hand_over(struct load_queue *q)
{
	int r;

	pthread_mutex_lock(&q->lock);
	q->head++;
	pthread_cond_signal(&q->changed);
	while (q->head - q->tail == BATCHES && !q->failure.code)
		pthread_cond_wait(&q->changed, &q->lock);
	r = q->failure.code ? -ECANCELED : 0;
	pthread_mutex_unlock(&q->lock);
	return r;
}

/* Inserts the batch at head, or hands it over, and makes room for another. */
static int submit(struct load_queue *q)
{
	int r = 0;

	if (q->stopped)
		return -ECANCELED;
	if (batch_at(q, q->head)->n)
		r = q->threaded ? hand_over(q) : insert_here(q);
	q->stopped = r < 0;
	return r;
}

static int copy_key(struct load_queue *q, struct batch *b, struct span key)
{
	size_t need = b->keys_len + key.len, cap;
	char *p;

	if (need > b->keys_cap) {
		cap = MAX(need, b->keys_cap * 2);
		p = mem_realloc(store_mem(q->st), b->keys, cap);
		if (!p)
			return -ENOMEM;
		b->keys = p;
		b->keys_cap = cap;
	}
	if (key.len)
		memcpy(b->keys + b->keys_len, key.ptr, key.len);
	b->key_at[b->n] = b->keys_len;
	b->keys_len = need;
	return 0;
}

static void count_in_run(struct load_queue *q, int16_t at)
{
	if (q->n_run < LOAD_RUN_MAX)
		q->run[q->n_run] = at;
	q->n_run++;
}

int load_queue_add(struct load_queue *q, uint32_t db, struct span key,
		   const struct store_item *item, uint64_t offset)
{
	struct batch *b = batch_at(q, q->head);
	int r = q->stopped ? -ECANCELED : 0;

	if (r == 0 && b->n == BATCH_KEYS) {
		if (q->n_run)
			q->run_is_whole = false;
		r = submit(q);
		b = batch_at(q, q->head);
	}
	if (r == 0)
		r = copy_key(q, b, key);
	if (r < 0) {
		value_unref(store_mem(q->st), item->value);
		return r;
	}
	count_in_run(q, (int16_t)b->n);
	b->offset[b->n] = offset;
	b->put[b->n++] = (struct store_put){
		.db = db,
		.key = { .len = key.len },
		.item = *item,
	};
	return 0;
}

void load_queue_skip(struct load_queue *q)
{
	count_in_run(q, -1);
}

void load_queue_end_run(struct load_queue *q, const int64_t *times, size_t n)
{
	struct batch *b = batch_at(q, q->head);

	if (n == q->n_run && n <= LOAD_RUN_MAX && q->run_is_whole &&
	    !q->stopped) {
		for (size_t i = 0; i < n; i++)
			if (q->run[i] >= 0)
				b->put[q->run[i]].item.mtime_ns = times[i];
	}
	q->n_run = 0;
	/* The next run begins with a batch of its own, so that all of it waits
	 * when its times come. A failure shows at the next key. */
	q->run_is_whole = submit(q) == 0;
}

int load_queue_finish(struct load_queue *q, uint64_t *ret_keys,
		      struct load_failure *ret)
{
	(void)!submit(q); /* the failure is told below */
	if (q->threaded) {
		pthread_mutex_lock(&q->lock);
		q->end = true;
		pthread_cond_signal(&q->changed);
		pthread_mutex_unlock(&q->lock);
		pthread_join(q->thread, NULL);
		q->threaded = false;
	}
	*ret_keys = q->n_inserted;
	if (q->failure.code)
		*ret = q->failure;
	return q->failure.code;
}

void load_queue_free(struct load_queue *q)
{
	struct load_failure failure;
	uint64_t keys;

	if (!q)
		return;
	if (q->threaded) /* the decoder has failed: what waits goes in */
		(void)!load_queue_finish(q, &keys, &failure);
	for (int i = 0; i < BATCHES; i++) {
		struct batch *b = &q->batch[i];
		bool is_culprit = q->failure.code && b == batch_at(q, q->tail);

		/* store_put_many() has taken the values of a failed batch. */
		if (!is_culprit)
			drop_values(q->st, b);
		mem_free(store_mem(q->st), b->keys);
	}
	pthread_cond_destroy(&q->changed);
	pthread_mutex_destroy(&q->lock);
	mem_free(store_mem(q->st), q);
}
