/* SPDX-License-Identifier: MIT */
/* The line shown while loading: its words, how often it is drawn, and that
 * nothing is written where nobody watches. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "fs/progress.h"
#include "store/defs.h"
#include "tests/lib/unit.h"

#define MB UINT64_C(1000000)

static const struct {
	uint64_t keys, bytes, total;
	int64_t elapsed_ms;
	const char *want;
} lines[] = {
	{ 0, 0, 100 * MB, 0, "keyfs: loading   0%, 0 keys, 0 of 100 MB" },
	/* No time left before a second has passed. */
	{ 5, 50 * MB, 100 * MB, 999,
	  "keyfs: loading  50%, 5 keys, 50 of 100 MB" },
	{ 5, 50 * MB, 100 * MB, 1000,
	  "keyfs: loading  50%, 5 keys, 50 of 100 MB, 0:01 left" },
	{ 7, 25 * MB, 100 * MB, 25000,
	  "keyfs: loading  25%, 7 keys, 25 of 100 MB, 1:15 left" },
	{ 7, 1 * MB, 1000 * MB, 10000,
	  "keyfs: loading   0%, 7 keys, 1 of 1000 MB, 166:30 left" },
	/* Rounded, and nothing is left at the end. */
	{ 9, 99 * MB, 100 * MB, 99000,
	  "keyfs: loading  99%, 9 keys, 99 of 100 MB, 0:01 left" },
	{ 9, 100 * MB, 100 * MB, 99000,
	  "keyfs: loading 100%, 9 keys, 100 of 100 MB, 0:00 left" },
	/* The file grew, is empty, or nothing has been read of it yet. */
	{ 9, 120 * MB, 100 * MB, 99000,
	  "keyfs: loading 100%, 9 keys, 120 of 100 MB, 0:00 left" },
	{ 0, 0, 0, 5000, "keyfs: loading 100%, 0 keys, 0 of 0 MB, 0:00 left" },
	{ 0, 0, 100 * MB, 5000, "keyfs: loading   0%, 0 keys, 0 of 100 MB" },
};

START_TEST(says_how_far_and_how_long)
{
	char line[PROGRESS_LINE_MAX];

	progress_format(line, lines[_i].keys, lines[_i].bytes, lines[_i].total,
			lines[_i].elapsed_ms);
	ck_assert_str_eq(line, lines[_i].want);
}
END_TEST

START_TEST(the_largest_numbers_stay_in_the_line)
{
	char line[PROGRESS_LINE_MAX + 1];

	line[PROGRESS_LINE_MAX] = 'x';
	progress_format(line, UINT64_MAX, UINT64_MAX, UINT64_MAX, INT64_MAX);
	ck_assert_uint_lt(strlen(line), PROGRESS_LINE_MAX);
	progress_format(line, UINT64_MAX, 1, UINT64_MAX, 1000000);
	ck_assert_uint_lt(strlen(line), PROGRESS_LINE_MAX);
	ck_assert_int_eq(line[PROGRESS_LINE_MAX], 'x');
}
END_TEST

START_TEST(no_terminal_no_line)
{
	FILE *f = tmpfile();
	struct progress p;

	ck_assert_ptr_nonnull(f);
	progress_init(&p, f);
	p.drawn_ms -= 10000;
	progress_update(&p, 1, 2, 3);
	progress_end(&p);
	ck_assert_int_eq(fflush(f), 0);
	ck_assert_int_eq(fseek(f, 0, SEEK_END), 0);
	ck_assert_int_eq((int)ftell(f), 0);
	(void)fclose(f);
}
END_TEST

/* A terminal: what is written to @ret_tty can be read from the result. */
static int open_terminal(FILE **ret_tty)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY);
	struct termios raw;
	int tty;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(grantpt(fd), 0);
	ck_assert_int_eq(unlockpt(fd), 0);
	tty = open(ptsname(fd), O_RDWR | O_NOCTTY);
	ck_assert_int_ge(tty, 0);
	ck_assert_int_eq(tcgetattr(tty, &raw), 0);
	cfmakeraw(&raw);
	ck_assert_int_eq(tcsetattr(tty, TCSANOW, &raw), 0);
	ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	*ret_tty = fdopen(tty, "w");
	ck_assert_ptr_nonnull(*ret_tty);
	return fd;
}

static void expect_shown(int fd, const char *want)
{
	char got[512];
	ssize_t n = read(fd, got, sizeof(got) - 1);

	got[n > 0 ? n : 0] = '\0';
	ck_assert_str_eq(got, want);
}

START_TEST(drawn_now_and_then_and_wiped)
{
	struct progress p;
	FILE *tty;
	int fd = open_terminal(&tty);

	progress_init(&p, tty);
	progress_update(&p, 1, 10, 100); /* too early for a small dump */
	expect_shown(fd, "");
	progress_end(&p);
	expect_shown(fd, "");
	/* As if a fifth of a second had passed. */
	p.drawn_ms -= 200;
	progress_update(&p, 2, 50, 100);
	expect_shown(fd, "\rkeyfs: loading  50%, 2 keys, 0 of 0 MB\033[K");
	progress_update(&p, 3, 60, 100); /* a moment later */
	expect_shown(fd, "");
	progress_end(&p);
	expect_shown(fd, "\r\033[K");
	progress_end(&p);
	expect_shown(fd, "");
	(void)fclose(tty);
	(void)close(fd);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("progress");
	TCase *tc = tcase_create("progress");

	tcase_add_loop_test(tc, says_how_far_and_how_long, 0,
			    (int)ARRAY_LEN(lines));
	tcase_add_test(tc, the_largest_numbers_stay_in_the_line);
	tcase_add_test(tc, no_terminal_no_line);
	tcase_add_test(tc, drawn_now_and_then_and_wiped);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { suite, NULL };

	return unit_main(suites);
}
