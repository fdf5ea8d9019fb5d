/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

#include "store/defs.h"

/*
 * Threads for what would make a request wait: disk reads, passes over all the
 * data. Made on demand, at most a given number; none while nothing was asked.
 *
 * Thread-safety: job_submit() from any thread, also from a job.
 */
struct job_pool;

/* One piece of work; embedded in what it works on, whose owner it is. */
struct job {
	/**
	 * run() - do it. Called exactly once, without any lock held; @job may
	 * be freed by it.
	 * @cancelled: the pool is ending: do nothing but clean up
	 */
	void (*run)(struct job *job, bool cancelled);
	struct job *next; /* the pool's */
};

/* @max_threads: 1.. Return: 0; -ENOMEM. */
MUST_CHECK int job_pool_new(int max_threads, struct job_pool **ret);

/**
 * job_pool_free() - end the pool
 * Waits for the jobs under way; runs those that wait as cancelled, in the
 * caller's thread. NULL is allowed.
 */
void job_pool_free(struct job_pool *p);

/**
 * job_submit() - have @job run
 * Return: 0: it will be run; -EAGAIN if there is no thread and none can be
 *         made; -ECANCELED if the pool is ending: then it will not.
 */
MUST_CHECK int job_submit(struct job_pool *p, struct job *job);
