/* SPDX-License-Identifier: MIT */
/*
 * One queue, first in first out. A thread is added when a job finds nobody
 * idle and the limit is not reached, and stays till the end: the jobs come in
 * bursts (a reader of a dump asks for one piece after the other), and a waiting
 * thread costs next to nothing.
 *
 * The threads have all signals blocked: the daemon's signals are for its main
 * thread.
 */
#include "fs/job.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct job_pool {
	pthread_mutex_t lock; /* protects everything below */
	pthread_cond_t wake;
	struct job *head, **tail;
	int n_threads, n_idle, n_queued, max_threads;
	bool ending;
	pthread_t threads[]; /* max_threads */
};

int job_pool_new(int max_threads, struct job_pool **ret)
{
	struct job_pool *p;

	p = calloc(1, sizeof(*p) + (size_t)max_threads * sizeof(pthread_t));
	if (!p)
		return -ENOMEM;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	p->tail = &p->head;
	p->max_threads = max_threads;
	*ret = p;
	return 0;
}

static struct job *pop_locked(struct job_pool *p)
{
	struct job *j = p->head;

	if (!j)
		return NULL;
	p->head = j->next;
	if (!p->head)
		p->tail = &p->head;
	p->n_queued--;
	return j;
}

static void *worker(void *arg)
{
	struct job_pool *p = arg;
	struct job *j;

	pthread_mutex_lock(&p->lock);
	while (!p->ending) {
		j = pop_locked(p);
		if (!j) {
			p->n_idle++;
			pthread_cond_wait(&p->wake, &p->lock);
			p->n_idle--;
			continue;
		}
		pthread_mutex_unlock(&p->lock);
		j->run(j, false);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static int add_thread_locked(struct job_pool *p)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&p->threads[p->n_threads], NULL, worker, p);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r)
		return -EAGAIN;
	p->n_threads++;
	return 0;
}

int job_submit(struct job_pool *p, struct job *job)
{
	int r = 0;

	pthread_mutex_lock(&p->lock);
	if (p->ending) {
		r = -ECANCELED;
		goto out;
	}
	/* Those woken but not yet running still count as idle, so compare with
	 * all that waits for one of them. */
	if (p->n_queued >= p->n_idle && p->n_threads < p->max_threads) {
		r = add_thread_locked(p);
		if (r < 0 && p->n_threads > 0)
			r = 0; /* it will have to wait its turn */
	}
	if (r < 0)
		goto out;
	job->next = NULL;
	*p->tail = job;
	p->tail = &job->next;
	p->n_queued++;
	pthread_cond_signal(&p->wake);
out:
	pthread_mutex_unlock(&p->lock);
	return r;
}

void job_pool_free(struct job_pool *p)
{
	struct job *j;

	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->ending = true;
	pthread_cond_broadcast(&p->wake);
	pthread_mutex_unlock(&p->lock);
	/* Nobody adds threads or jobs any more. */
	for (int i = 0; i < p->n_threads; i++)
		pthread_join(p->threads[i], NULL);
	while ((j = pop_locked(p)))
		j->run(j, true);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
