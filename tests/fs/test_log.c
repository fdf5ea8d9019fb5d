/* SPDX-License-Identifier: MIT */
/* Lines on stderr: form, escaping, levels, and that threads do not mix them. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/log.h"
#include "tests/lib/unit.h"

static struct unit_scratch dir;
static int saved_stderr;

/* From here on stderr is a file. */
static void setup(void)
{
	int fd;

	unit_scratch_init(&dir);
	fd = openat(dir.dirfd, "err", O_WRONLY | O_CREAT | O_APPEND, 0600);
	ck_assert_int_ge(fd, 0);
	saved_stderr = dup(STDERR_FILENO);
	ck_assert_int_ge(dup2(fd, STDERR_FILENO), 0);
	close(fd);
}

static void teardown(void)
{
	ck_assert_int_ge(dup2(saved_stderr, STDERR_FILENO), 0);
	close(saved_stderr);
	unit_scratch_fini(&dir);
}

static char *logged(void)
{
	size_t len;

	return unit_scratch_read(&dir, "err", &len);
}

static void expect_match(const char *pattern)
{
	char *text = logged();
	regex_t re;

	ck_assert_int_eq(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	ck_assert_msg(regexec(&re, text, 0, NULL, 0) == 0,
		      "\"%s\" does not match %s", text, pattern);
	regfree(&re);
	free(text);
}

START_TEST(a_line_has_time_level_and_text)
{
	log_msg(LOG_LV_WARNING, "rdb: %s, keys=%d", "saved", 3);
	expect_match("^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}"
		     "\\.[0-9]{3} warning: rdb: saved, keys=3\n$");
}
END_TEST

START_TEST(a_plain_line_names_the_program)
{
	char *text;

	log_set_plain(1);
	log_msg(LOG_LV_INFO, "a: b");
	log_msg(LOG_LV_ERROR, "c: d");
	text = logged();
	ck_assert_str_eq(text, "keyfs: a: b\nkeyfs: error: c: d\n");
	free(text);
}
END_TEST

START_TEST(control_characters_are_escaped)
{
	char *text;

	log_set_plain(1);
	log_msg(LOG_LV_INFO, "a\n\x1b[31mb\x7f\tc \xc3\xa4");
	text = logged();
	ck_assert_str_eq(text, "keyfs: a\\x0a\\x1b[31mb\\x7f\\x09c \xc3\xa4\n");
	free(text);
}
END_TEST

START_TEST(a_message_that_is_too_long_is_cut)
{
	static char huge[100000];
	char *text;

	memset(huge, '\x01', sizeof(huge) - 1);
	log_set_plain(1);
	log_msg(LOG_LV_INFO, "%s", huge);
	text = logged();
	ck_assert_uint_eq(strlen(text), strlen("keyfs: ") + 4 * 2047 + 1);
	free(text);
}
END_TEST

START_TEST(levels_decide_what_is_said)
{
	for (int limit = LOG_LV_WARNING; limit <= LOG_LV_DEBUG; limit++) {
		size_t lines = 0;
		char *text;

		ck_assert_int_eq(ftruncate(STDERR_FILENO, 0), 0);
		log_set_level((enum log_level)limit);
		ck_assert_int_eq(log_get_level(), limit);
		for (int l = LOG_LV_ERROR; l <= LOG_LV_DEBUG; l++)
			log_msg((enum log_level)l, "x");
		text = logged();
		for (const char *s = text; (s = strchr(s, '\n')); s++)
			lines++;
		ck_assert_uint_eq(lines, (size_t)limit + 1);
		free(text);
	}
}
END_TEST

START_TEST(words_are_redis_words)
{
	static const char *const words[] = { "warning", "notice", "verbose",
					     "debug" };
	enum log_level level;

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		ck_assert_int_eq(log_level_parse(span_str(words[i]), &level),
				 0);
		ck_assert_int_eq(level, LOG_LV_WARNING + (int)i);
		ck_assert_str_eq(log_level_name(level), words[i]);
	}
	ck_assert_int_eq(log_level_parse(span_str("NOTICE"), &level), 0);
	ck_assert_int_eq(level, LOG_LV_INFO);
	ck_assert_int_eq(log_level_parse(span_str("info"), &level), -EINVAL);
	ck_assert_int_eq(log_level_parse(span_str("notices"), &level), -EINVAL);
	ck_assert_int_eq(log_level_parse(span_str(""), &level), -EINVAL);
}
END_TEST

START_TEST(errno_is_left_alone)
{
	close(STDERR_FILENO); /* so that write(2) sets it */
	errno = ENOSPC;
	log_msg(LOG_LV_ERROR, "x");
	ck_assert_int_eq(errno, ENOSPC);
}
END_TEST

static void *chatter(void *arg)
{
	for (int i = 0; i < 500; i++)
		log_msg(LOG_LV_INFO, "%s", (const char *)arg);
	return NULL;
}

START_TEST(lines_of_threads_do_not_mix)
{
	static char as[300], bs[200];
	pthread_t threads[2];
	int n = 0;
	char *text;

	memset(as, 'a', sizeof(as) - 1);
	memset(bs, 'b', sizeof(bs) - 1);
	log_set_plain(1);
	pthread_create(&threads[0], NULL, chatter, as);
	pthread_create(&threads[1], NULL, chatter, bs);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	text = logged();
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		line += strlen("keyfs: ");
		ck_assert(strcmp(line, as) == 0 || strcmp(line, bs) == 0);
		n++;
	}
	ck_assert_int_eq(n, 1000);
	free(text);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("log");
	TCase *tc = tcase_create("log");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_line_has_time_level_and_text);
	tcase_add_test(tc, a_plain_line_names_the_program);
	tcase_add_test(tc, control_characters_are_escaped);
	tcase_add_test(tc, a_message_that_is_too_long_is_cut);
	tcase_add_test(tc, levels_decide_what_is_said);
	tcase_add_test(tc, words_are_redis_words);
	tcase_add_test(tc, errno_is_left_alone);
	tcase_add_test(tc, lines_of_threads_do_not_mix);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { suite, NULL };

	return unit_main(suites);
}
