/* SPDX-License-Identifier: MIT */
/* The lock of a DATADIR. The kernel's lock belongs to a descriptor, not to a
 * process, so two holders in one process are as good as two daemons. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fs/lockfile.h"
#include "tests/lib/unit.h"

enum {
	WAIT_MS = 60,
	THREADS = 4,
	ROUNDS = 250,
};

static struct unit_scratch dir;

static void setup(void)
{
	unit_scratch_init(&dir);
}

static void teardown(void)
{
	unit_scratch_fini(&dir);
}

static void pause_ms(int ms)
{
	const struct timespec t = { .tv_nsec = ms * 1000000L };

	(void)nanosleep(&t, NULL);
}

/* What the one who waits is told, and what it finds. */
struct seen {
	bool mounted;
	atomic_int n_asked, n_told;
	pid_t told_pid;
};

static bool is_mounted(void *arg)
{
	struct seen *s = arg;

	atomic_fetch_add(&s->n_asked, 1);
	return s->mounted;
}

static void on_waiting(void *arg, pid_t pid)
{
	struct seen *s = arg;

	atomic_fetch_add(&s->n_told, 1);
	s->told_pid = pid;
}

static int lock(struct lockfile *l, struct seen *s, pid_t *ret_pid)
{
	const struct lockfile_wait wait = { is_mounted, on_waiting, s };

	*l = (struct lockfile)LOCKFILE_INIT;
	return lockfile_lock(l, dir.dirfd, &wait, ret_pid);
}

static void expect_text(const char *state)
{
	char want[64], *got;
	size_t len;

	(void)snprintf(want, sizeof(want), "pid %d\nstate %s\n", (int)getpid(),
		       state);
	got = unit_scratch_read(&dir, LOCKFILE_NAME, &len);
	ck_assert_str_eq(got, want);
	free(got);
}

START_TEST(the_file_says_who_and_goes_with_the_lock)
{
	struct seen s = { 0 };
	struct lockfile l;
	pid_t pid = -1;

	ck_assert_int_eq(lock(&l, &s, &pid), 0);
	expect_text("starting");
	lockfile_set_state(&l, "running");
	expect_text("running");
	lockfile_set_state(&l, "ending"); /* shorter: nothing may stay */
	expect_text("ending");
	lockfile_release(&l);
	ck_assert_int_eq(unit_scratch_count(&dir), 0);
	lockfile_release(&l);
	lockfile_set_state(&l, "running");
	ck_assert_int_eq(unit_scratch_count(&dir), 0);
	ck_assert_int_eq(pid, -1);
}
END_TEST

START_TEST(what_a_crash_left_is_no_lock)
{
	static const char old[] = "pid 1\nstate running\nand much more text\n";
	struct seen s = { 0 };
	struct lockfile l;
	pid_t pid;

	unit_scratch_write(&dir, LOCKFILE_NAME, old, strlen(old));
	ck_assert_int_eq(lock(&l, &s, &pid), 0);
	expect_text("starting");
	lockfile_release(&l);
}
END_TEST

static const struct {
	const char *state;
	bool mounted;
} busy[] = { { "starting", false },
	     { "starting", true },
	     { "running", true },
	     { "a later version's word", true } };

START_TEST(one_that_serves_or_loads_is_not_waited_for)
{
	struct seen s = { .mounted = busy[_i].mounted };
	struct lockfile first, second;
	pid_t pid = 0;

	ck_assert_int_eq(lock(&first, &s, &pid), 0);
	lockfile_set_state(&first, busy[_i].state);
	ck_assert_int_eq(lock(&second, &s, &pid), -EBUSY);
	ck_assert_int_eq(pid, getpid());
	ck_assert_int_eq(second.fd, -1);
	ck_assert_int_eq(atomic_load(&s.n_told), 0);
	expect_text(busy[_i].state);
	lockfile_release(&first);
}
END_TEST

/* A holder that leaves once the other one is seen to wait for it. */
struct leaver {
	struct lockfile *l;
	struct seen *s;
};

static void *leave_when_waited_for(void *arg)
{
	struct leaver *w = arg;

	while (atomic_load(&w->s->n_told) + atomic_load(&w->s->n_asked) == 0)
		pause_ms(1);
	lockfile_release(w->l);
	return NULL;
}

static const struct {
	const char *state;
	int told; /* nobody is told of an umount that is just being noticed */
} leaving[] = { { "ending", 1 }, { "running", 0 } };

START_TEST(one_that_is_leaving_is_waited_for)
{
	struct seen s = { .mounted = false };
	struct lockfile first, second;
	struct leaver w = { &first, &s };
	pthread_t t;
	pid_t pid;

	ck_assert_int_eq(lock(&first, &s, &pid), 0);
	lockfile_set_state(&first, leaving[_i].state);
	ck_assert_int_eq(pthread_create(&t, NULL, leave_when_waited_for, &w),
			 0);
	ck_assert_int_eq(lock(&second, &s, &pid), 0);
	(void)pthread_join(t, NULL);
	ck_assert_int_eq(atomic_load(&s.n_told), leaving[_i].told);
	if (leaving[_i].told)
		ck_assert_int_eq(s.told_pid, getpid());
	expect_text("starting"); /* of the second, by its own file */
	lockfile_release(&second);
	ck_assert_int_eq(unit_scratch_count(&dir), 0);
}
END_TEST

static void *sign_later(void *arg)
{
	struct lockfile *l = arg;

	pause_ms(WAIT_MS);
	lockfile_set_state(l, "starting");
	return NULL;
}

/* Between taking the lock and writing the name there is a moment. */
START_TEST(one_without_a_name_gets_time_to_write_it)
{
	struct seen s = { .mounted = false };
	struct lockfile first, second;
	pthread_t t;
	pid_t pid = 0;

	ck_assert_int_eq(lock(&first, &s, &pid), 0);
	ck_assert_int_eq(ftruncate(first.fd, 0), 0);
	ck_assert_int_eq(pthread_create(&t, NULL, sign_later, &first), 0);
	ck_assert_int_eq(lock(&second, &s, &pid), -EBUSY);
	(void)pthread_join(t, NULL);
	ck_assert_int_eq(pid, getpid());
	lockfile_release(&first);
}
END_TEST

START_TEST(one_that_never_says_its_name_is_not_waited_for_in_vain)
{
	struct seen s = { .mounted = false };
	struct lockfile first, second;
	pid_t pid = -1;

	ck_assert_int_eq(lock(&first, &s, &pid), 0);
	ck_assert_int_eq(ftruncate(first.fd, 0), 0);
	ck_assert_int_eq(lock(&second, &s, &pid), -EBUSY);
	ck_assert_int_eq(pid, 0);
	lockfile_release(&first);
}
END_TEST

static atomic_int n_inside, n_collisions;

/* Each tries again at once when it is refused, so that now and then one holds a
 * file that has lost its name between its open and its lock. */
static void *take_turns(void *arg)
{
	struct seen s = { .mounted = true };
	struct lockfile l;
	pid_t pid;

	for (int i = 0; i < ROUNDS; i++) {
		int r;

		while ((r = lock(&l, &s, &pid)) == -EBUSY)
			;
		if (r < 0 || atomic_fetch_add(&n_inside, 1) != 0)
			atomic_fetch_add(&n_collisions, 1);
		(void)sched_yield();
		atomic_fetch_sub(&n_inside, 1);
		lockfile_release(&l);
	}
	return arg;
}

START_TEST(there_is_one_holder_at_a_time)
{
	pthread_t t[THREADS];

	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, take_turns, NULL),
				 0);
	for (int i = 0; i < THREADS; i++)
		(void)pthread_join(t[i], NULL);
	ck_assert_int_eq(atomic_load(&n_collisions), 0);
	ck_assert_int_eq(unit_scratch_count(&dir), 0);
}
END_TEST

START_TEST(a_link_in_its_place_is_not_followed)
{
	struct seen s = { 0 };
	struct lockfile l;
	pid_t pid;

	unit_scratch_write(&dir, "precious", "x", 1);
	ck_assert_int_eq(symlinkat("precious", dir.dirfd, LOCKFILE_NAME), 0);
	ck_assert_int_eq(lock(&l, &s, &pid), -ELOOP);
	ck_assert_int_eq(unlinkat(dir.dirfd, LOCKFILE_NAME, 0), 0);
	ck_assert_int_eq(mkdirat(dir.dirfd, LOCKFILE_NAME, 0755), 0);
	ck_assert_int_eq(lock(&l, &s, &pid), -EISDIR);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("lockfile");
	TCase *tc = tcase_create("lockfile");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, the_file_says_who_and_goes_with_the_lock);
	tcase_add_test(tc, what_a_crash_left_is_no_lock);
	tcase_add_loop_test(tc, one_that_serves_or_loads_is_not_waited_for, 0,
			    (int)ARRAY_LEN(busy));
	tcase_add_loop_test(tc, one_that_is_leaving_is_waited_for, 0,
			    (int)ARRAY_LEN(leaving));
	tcase_add_test(tc, one_without_a_name_gets_time_to_write_it);
	tcase_add_test(tc,
		       one_that_never_says_its_name_is_not_waited_for_in_vain);
	tcase_add_test(tc, there_is_one_holder_at_a_time);
	tcase_add_test(tc, a_link_in_its_place_is_not_followed);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { suite, NULL };

	return unit_main(suites);
}
