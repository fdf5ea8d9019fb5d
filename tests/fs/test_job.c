/* SPDX-License-Identifier: MIT */
/* The pool: each job exactly once, in parallel up to the limit, and an end that
 * leaves none behind. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "fs/job.h"
#include "tests/lib/unit.h"

enum {
	THREADS = 3,
	MANY = 2000
};

static atomic_int n_run, n_cancelled;

static void count(struct job *job, bool cancelled)
{
	atomic_fetch_add(cancelled ? &n_cancelled : &n_run, 1);
	free(job);
}

static struct job *new_job(void (*run)(struct job *, bool))
{
	struct job *j = calloc(1, sizeof(*j));

	j->run = run;
	return j;
}

static void setup(void)
{
	atomic_store(&n_run, 0);
	atomic_store(&n_cancelled, 0);
}

/* Jobs that wait until so many of them run at once. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static int inside, wanted;

static void meet(struct job *job, bool cancelled)
{
	pthread_mutex_lock(&gate);
	inside++;
	pthread_cond_broadcast(&moved);
	while (!cancelled && inside < wanted)
		pthread_cond_wait(&moved, &gate);
	pthread_mutex_unlock(&gate);
	count(job, cancelled);
}

static void open_gate(void)
{
	pthread_mutex_lock(&gate);
	wanted = 0;
	pthread_cond_broadcast(&moved);
	pthread_mutex_unlock(&gate);
}

static void await_inside(int n)
{
	pthread_mutex_lock(&gate);
	while (inside < n)
		pthread_cond_wait(&moved, &gate);
	pthread_mutex_unlock(&gate);
}

START_TEST(each_job_runs_once)
{
	struct job_pool *p;

	ck_assert_int_eq(job_pool_new(THREADS, &p), 0);
	for (int i = 0; i < MANY; i++)
		ck_assert_int_eq(job_submit(p, new_job(count)), 0);
	job_pool_free(p);
	ck_assert_int_eq(n_run + n_cancelled, MANY);
}
END_TEST

START_TEST(as_many_run_at_once_as_there_are_threads)
{
	struct job_pool *p;

	inside = 0;
	wanted = THREADS;
	ck_assert_int_eq(job_pool_new(THREADS, &p), 0);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(job_submit(p, new_job(meet)), 0);
	await_inside(THREADS); /* else this would wait for ever */
	job_pool_free(p);
	ck_assert_int_eq(n_run, THREADS);
}
END_TEST

START_TEST(more_jobs_than_threads_wait_their_turn)
{
	struct job_pool *p;

	inside = 0;
	wanted = THREADS + 1; /* the gate stays shut */
	ck_assert_int_eq(job_pool_new(THREADS, &p), 0);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(job_submit(p, new_job(meet)), 0);
	await_inside(THREADS);
	ck_assert_int_eq(job_submit(p, new_job(count)), 0);
	ck_assert_int_eq(n_run, 0);
	open_gate();
	while (atomic_load(&n_run) < THREADS + 1)
		sched_yield();
	job_pool_free(p);
}
END_TEST

static void *release_later(void *arg)
{
	(void)arg;
	open_gate();
	return NULL;
}

START_TEST(the_end_cancels_what_has_not_begun)
{
	struct job_pool *p;
	pthread_t t;

	inside = 0;
	wanted = 2;
	ck_assert_int_eq(job_pool_new(1, &p), 0);
	ck_assert_int_eq(job_submit(p, new_job(meet)), 0);
	await_inside(1);
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(job_submit(p, new_job(count)), 0);
	ck_assert_int_eq(pthread_create(&t, NULL, release_later, NULL), 0);
	job_pool_free(p);
	pthread_join(t, NULL);
	ck_assert_int_eq(n_run + n_cancelled, 6);
	ck_assert_int_ge(n_run, 1);
}
END_TEST

START_TEST(a_pool_without_jobs_has_no_threads)
{
	struct job_pool *p;

	ck_assert_int_eq(job_pool_new(THREADS, &p), 0);
	job_pool_free(p);
	job_pool_free(NULL);
}
END_TEST

static atomic_int term_blocked;

static void look_at_signals(struct job *job, bool cancelled)
{
	sigset_t now;

	pthread_sigmask(SIG_SETMASK, NULL, &now);
	atomic_store(&term_blocked, sigismember(&now, SIGTERM));
	count(job, cancelled);
}

START_TEST(signals_are_for_others)
{
	struct job_pool *p;
	sigset_t now;

	ck_assert_int_eq(job_pool_new(1, &p), 0);
	ck_assert_int_eq(job_submit(p, new_job(look_at_signals)), 0);
	while (atomic_load(&n_run) < 1)
		sched_yield();
	ck_assert_int_eq(term_blocked, 1);
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	ck_assert_int_eq(sigismember(&now, SIGTERM), 0);
	job_pool_free(p);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("job");
	TCase *tc = tcase_create("job");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, each_job_runs_once);
	tcase_add_test(tc, as_many_run_at_once_as_there_are_threads);
	tcase_add_test(tc, more_jobs_than_threads_wait_their_turn);
	tcase_add_test(tc, the_end_cancels_what_has_not_begun);
	tcase_add_test(tc, a_pool_without_jobs_has_no_threads);
	tcase_add_test(tc, signals_are_for_others);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { suite, NULL };

	return unit_main(suites);
}
