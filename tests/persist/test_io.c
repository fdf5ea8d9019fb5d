/* SPDX-License-Identifier: MIT */

#include "persist/io.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/lib/faulty.h"
#include "tests/lib/unit.h"

enum {
	BAD_FD = 1 << 20
};

static struct unit_scratch scratch;
static struct faulty faulty;

static void setup(void)
{
	unit_scratch_init(&scratch);
	faulty_init(&faulty, scratch.dirfd);
}

static void teardown(void)
{
	unit_scratch_fini(&scratch);
}

static void assert_content(const char *name, const char *want)
{
	size_t len;
	char *got = unit_scratch_read(&scratch, name, &len);

	ck_assert_uint_eq(len, strlen(want));
	ck_assert_str_eq(got, want);
	free(got);
}

START_TEST(each_call_returns_minus_errno)
{
	const struct io *io = &io_system;
	struct stat st;
	char c = 0;

	errno = 0;
	ck_assert_int_eq(io->openat(NULL, scratch.dirfd, "no", O_RDONLY, 0),
			 -ENOENT);
	ck_assert_int_eq(io->close(NULL, BAD_FD), -EBADF);
	ck_assert_int_eq(io->pread(NULL, BAD_FD, &c, 1, 0), -EBADF);
	ck_assert_int_eq(io->write(NULL, BAD_FD, &c, 1), -EBADF);
	ck_assert_int_eq(io->fstat(NULL, BAD_FD, &st), -EBADF);
	ck_assert_int_eq(io->fsync(NULL, BAD_FD), -EBADF);
	ck_assert_int_eq(io->fdatasync(NULL, BAD_FD), -EBADF);
	ck_assert_int_eq(io->sync_range(NULL, BAD_FD, 0, 1), -EBADF);
	ck_assert_int_eq(io->ftruncate(NULL, BAD_FD, 0), -EBADF);
	ck_assert_int_eq(io->renameat(NULL, scratch.dirfd, "no", "x"), -ENOENT);
	ck_assert_int_eq(io->unlinkat(NULL, scratch.dirfd, "no"), -ENOENT);
	ck_assert_int_eq(io->mkdirat(NULL, BAD_FD, "d", 0700), -EBADF);
}
END_TEST

START_TEST(each_call_does_what_it_is_named_for)
{
	const struct io *io = &io_system;
	struct stat st;
	char buf[8];
	int fd;

	ck_assert_int_eq(io->mkdirat(NULL, scratch.dirfd, "d", 0700), 0);
	fd = io->openat(NULL, scratch.dirfd, "f", O_RDWR | O_CREAT, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(io->write(NULL, fd, "abcdef", 6), 6);
	ck_assert_int_eq(io->pread(NULL, fd, buf, sizeof(buf), 2), 4);
	ck_assert_int_eq(memcmp(buf, "cdef", 4), 0);
	ck_assert_int_eq(io->ftruncate(NULL, fd, 3), 0);
	ck_assert_int_eq(io->fdatasync(NULL, fd), 0);
	ck_assert_int_eq(io->fsync(NULL, fd), 0);
	ck_assert(!io_writeout_failed(io->sync_range(NULL, fd, 0, 3)));
	ck_assert(!io_writeout_failed(io->sync_range(NULL, fd, 3, 3)));
	ck_assert_int_eq(io->fstat(NULL, fd, &st), 0);
	ck_assert_int_eq(st.st_size, 3);
	ck_assert_int_eq(io->close(NULL, fd), 0);
	ck_assert_int_eq(io->renameat(NULL, scratch.dirfd, "f", "g"), 0);
	assert_content("g", "abc");
	ck_assert_int_eq(io->unlinkat(NULL, scratch.dirfd, "g"), 0);
	ck_assert_int_eq(unit_scratch_count(&scratch), 1);
}
END_TEST

static void on_alarm(int sig)
{
	(void)sig;
}

/* Empties a pipe after the writer has been interrupted a few times. */
static void *drain_late(void *arg)
{
	char buf[4096];
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	usleep(50000);
	while (read(*(int *)arg, buf, sizeof(buf)) > 0)
		;
	return NULL;
}

START_TEST(a_signal_does_not_end_a_write)
{
	static char block[1 << 16];
	const struct itimerval every_ms = { { 0, 1000 }, { 0, 1000 } };
	const struct itimerval off = { 0 };
	struct sigaction sa = { .sa_handler = on_alarm }; /* no SA_RESTART */
	pthread_t thread;
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, drain_late, &fd[0]), 0);
	ck_assert_int_eq(sigaction(SIGALRM, &sa, NULL), 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &every_ms, NULL), 0);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(
			io_write_full(&io_system, fd[1], block, sizeof(block)),
			0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &off, NULL), 0);
	close(fd[1]);
	pthread_join(thread, NULL);
	close(fd[0]);
}
END_TEST

START_TEST(just_lost_data_count_as_failed_writeout)
{
	static const int lost[] = { -EIO, -ENOSPC, -EDQUOT };
	static const int hints[] = { 0,	      -EINVAL, -ENOSYS,
				     -ESPIPE, -EINTR,  -EBADF };

	for (size_t i = 0; i < ARRAY_LEN(lost); i++)
		ck_assert(io_writeout_failed(lost[i]));
	for (size_t i = 0; i < ARRAY_LEN(hints); i++)
		ck_assert(!io_writeout_failed(hints[i]));
}
END_TEST

START_TEST(short_writes_are_continued)
{
	int fd = openat(scratch.dirfd, "f", O_WRONLY | O_CREAT, 0600);

	faulty.write_max = 3;
	ck_assert_int_eq(io_write_full(&faulty.io, fd, "0123456789", 10), 0);
	close(fd);
	ck_assert_int_eq(faulty.n_calls, 4);
	assert_content("f", "0123456789");
}
END_TEST

static ssize_t write_nothing(void *ctx, int fd, const void *buf, size_t len)
{
	(void)ctx;
	(void)fd;
	(void)buf;
	(void)len;
	return 0;
}

START_TEST(a_write_of_nothing_is_an_error_not_a_loop)
{
	const struct io io = { .write = write_nothing };

	ck_assert_int_eq(io_write_full(&io, 1, "x", 1), -EIO);
	ck_assert_int_eq(io_write_full(&io, 1, "", 0), 0);
}
END_TEST

START_TEST(replace_is_durable_in_this_order)
{
	ck_assert_int_eq(io_replace(&faulty.io, scratch.dirfd, "conf", "tmp",
				    span_str("new"), 0640),
			 0);
	ck_assert_str_eq(faulty.trace,
			 "open write fsync close rename fsync-dir");
	assert_content("conf", "new");
	ck_assert_int_eq(unit_scratch_count(&scratch), 1);
	ck_assert_int_eq(faulty.n_open, 0);
}
END_TEST

/* The n-th call fails; the sixth is the sync after the rename. */
START_TEST(replace_is_all_or_nothing)
{
	int r;

	unit_scratch_write(&scratch, "conf", "old", 3);
	faulty.fail_at = _i;
	faulty.error = ENOSPC;
	r = io_replace(&faulty.io, scratch.dirfd, "conf", "tmp",
		       span_str("new"), 0640);
	ck_assert(faulty.fired == (_i <= 6));
	ck_assert_int_eq(r, faulty.fired ? -ENOSPC : 0);
	assert_content("conf", _i < 6 ? "old" : "new");
	ck_assert_int_eq(unit_scratch_count(&scratch), 1);
	ck_assert_int_eq(faulty.n_open, 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("io");
	TCase *tc = tcase_create("io");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, each_call_returns_minus_errno);
	tcase_add_test(tc, each_call_does_what_it_is_named_for);
	tcase_add_test(tc, a_signal_does_not_end_a_write);
	tcase_add_test(tc, just_lost_data_count_as_failed_writeout);
	tcase_add_test(tc, short_writes_are_continued);
	tcase_add_test(tc, a_write_of_nothing_is_an_error_not_a_loop);
	tcase_add_test(tc, replace_is_durable_in_this_order);
	tcase_add_loop_test(tc, replace_is_all_or_nothing, 1, 8);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { suite, NULL };

	return unit_main(suites);
}
