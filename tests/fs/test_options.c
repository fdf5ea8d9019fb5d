/* SPDX-License-Identifier: MIT */
/* The command line: each option's effect, what mount(8) adds for itself, and
 * the words of each refusal. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/options.h"
#include "tests/lib/unit.h"

enum {
	ARGS_MAX = 8
};

static int parse(const char *const *args, struct options *o, char *error)
{
	char *argv[ARGS_MAX + 2] = { strdup("keyfs") };
	int argc = 1, r;

	for (; argc <= ARGS_MAX && args[argc - 1]; argc++)
		argv[argc] = strdup(args[argc - 1]);
	r = options_parse(argc, argv, o, error);
	/* What was parsed must not lean on the arguments' memory. */
	for (int i = 0; i < ARGS_MAX + 2; i++)
		free(argv[i]);
	return r;
}

#define D     .datadir = "d"
#define M     .mountpoint = "m"
#define USUAL D, M, .sep = '/', .ctl = OPTIONS_CTL_HIDDEN
#define O(value)                                                               \
	{                                                                      \
		"-o", value, "d", "m"                                          \
	}

/* A const char in struct options is not const: the texts are only read. */
static const struct accepted {
	const char *args[ARGS_MAX + 1];
	struct options want;
} accepted[] = {
	{ { "d", "m" }, { USUAL } },
	{ { "--", "-d", "m" }, { .datadir = "-d", M, .sep = '/' } },
	{ { "-f", "d", "m" }, { USUAL, .foreground = true } },
	{ { "--foreground", "d", "m" }, { USUAL, .foreground = true } },
	{ { "-d", "d", "m" }, { USUAL, .foreground = true, .debug = true } },
	{ O("debug"), { USUAL, .foreground = true, .debug = true } },
	{ O("sep=:"), { D, M, .sep = ':', .sep_fixed = true } },
	{ O("sep=/"), { D, M, .sep = '/', .sep_fixed = true } },
	{ O("sep=:,sep=/"), { D, M, .sep = '/', .sep_fixed = true } },
	{ O("ctl=hidden"), { USUAL } },
	{ O("ctl=visible"), { D, M, .sep = '/', .ctl = OPTIONS_CTL_VISIBLE } },
	{ O("ctl=off"), { D, M, .sep = '/', .ctl = OPTIONS_CTL_OFF } },
	{ O("fsname=a b"), { USUAL, .fsname = "a b" } },
	{ O("fsname=a\\,b,ro"), { USUAL, .fsname = "a,b", .read_only = true } },
	{ O("fsname=a\\\\b"), { USUAL, .fsname = "a\\b" } },
	{ O("fsname=a\\"), { USUAL, .fsname = "a\\" } },
	{ O("fsname=x=y"), { USUAL, .fsname = "x=y" } },
	{ O("fsname=one,fsname=two"), { USUAL, .fsname = "two" } },
	{ O("ro"), { USUAL, .read_only = true } },
	{ O("ro,rw"), { USUAL } },
	{ O("noexec"), { USUAL, .noexec = true } },
	{ O("noexec,exec"), { USUAL } },
	{ O("sync"), { USUAL, .sync = true } },
	{ O("allow_other"), { USUAL, .allow_other = true } },
	{ O("allow_root"), { USUAL, .allow_root = true } },
	{ O(""), { USUAL } },
	{ O(",,ro,"), { USUAL, .read_only = true } },
	{ O("rw,dev,suid,user=somebody,_netdev,nofail,x-a.b=c,noatime"),
	  { USUAL } },
	{ { "d", "m", "-o", "ro" }, { USUAL, .read_only = true } },
	{ { "-oro", "d", "-osync", "m" },
	  { USUAL, .read_only = true, .sync = true } },
};

static void same_text(const char *got, const char *want)
{
	if (want)
		ck_assert_str_eq(got, want);
	else
		ck_assert_ptr_null(got);
}

START_TEST(each_option_has_its_effect)
{
	const struct options *want = &accepted[_i].want;
	char error[OPTIONS_ERROR_MAX];
	struct options o;

	ck_assert_msg(parse(accepted[_i].args, &o, error) == 0, "%s", error);
	ck_assert_str_eq(error, "");
	same_text(o.datadir, want->datadir);
	same_text(o.mountpoint, want->mountpoint);
	same_text(o.fsname, want->fsname);
	ck_assert_int_eq(o.sep, want->sep);
	ck_assert_int_eq(o.sep_fixed, want->sep_fixed);
	ck_assert_int_eq((int)o.ctl, (int)want->ctl);
	ck_assert_int_eq(o.foreground, want->foreground);
	ck_assert_int_eq(o.debug, want->debug);
	ck_assert_int_eq(o.read_only, want->read_only);
	ck_assert_int_eq(o.noexec, want->noexec);
	ck_assert_int_eq(o.sync, want->sync);
	ck_assert_int_eq(o.allow_other, want->allow_other);
	ck_assert_int_eq(o.allow_root, want->allow_root);
	ck_assert(!o.help && !o.version);
	options_fini(&o);
}
END_TEST

static const struct refused {
	const char *args[ARGS_MAX + 1];
	const char *error;
} refused[] = {
	{ { NULL }, "DATADIR and MOUNTPOINT are missing" },
	{ { "d" }, "MOUNTPOINT is missing" },
	{ { "d", "" }, "an argument is empty" },
	{ { "", "m" }, "an argument is empty" },
	{ { "d", "m", "x", "y" }, "too many arguments, from 'x'" },
	{ { "-x", "d", "m" }, "unknown option '-x'" },
	{ { "-fx", "d", "m" }, "unknown option '-x'" },
	{ { "--nonsense", "d", "m" }, "unknown option '--nonsense'" },
	{ { "d", "m", "-o" }, "a value is missing after '-o'" },
	{ O("nonsense"), "unknown option 'nonsense'" },
	{ O("ro,nonsense=1,rw"), "unknown option 'nonsense=1'" },
	{ O("sep"), "unknown option 'sep'" },
	{ O("sep="), "bad value in option 'sep='" },
	{ O("sep=::"), "bad value in option 'sep=::'" },
	{ O("ctl=of"), "bad value in option 'ctl=of'" },
	{ O("ctl=offf"), "bad value in option 'ctl=offf'" },
	{ O("fsname="), "bad value in option 'fsname='" },
	{ O("fsname"), "unknown option 'fsname'" },
	{ O("ro=1"), "unknown option 'ro=1'" },
	{ O("RO"), "unknown option 'RO'" },
	{ O("fsname=x,remount"), "unknown option 'remount'" },
	{ O("allow_other,allow_root"),
	  "not both: allow_other and 'allow_root'" },
};

START_TEST(refuses_and_says_what)
{
	struct options o = { .sep = 'x' };
	char error[OPTIONS_ERROR_MAX];

	ck_assert_int_eq(parse(refused[_i].args, &o, error), -EINVAL);
	ck_assert_str_eq(error, refused[_i].error);
	ck_assert_int_eq(o.sep, 'x'); /* set on success only */
}
END_TEST

static const char *const shown[][ARGS_MAX + 1] = {
	{ "-h" },      { "--help" }, { "--help", "and", "too", "many" },
	{ "-fh" },     { "-V" },     { "--version" },
	{ "d", "-V" },
};

START_TEST(help_and_version_need_no_arguments)
{
	char error[OPTIONS_ERROR_MAX];
	struct options o;

	ck_assert_int_eq(parse(shown[_i], &o, error), 0);
	ck_assert_int_eq(o.help, _i < 4);
	ck_assert_int_eq(o.version, _i >= 4);
	options_fini(&o);
}
END_TEST

START_TEST(a_long_argument_is_cut_in_the_message)
{
	char *value = malloc(100000), error[OPTIONS_ERROR_MAX];
	const char *args[ARGS_MAX + 1] = { "-o", value, "d", "m" };
	struct options o;

	memset(value, 'x', 99999);
	value[99999] = '\0';
	ck_assert_int_eq(parse(args, &o, error), -EINVAL);
	ck_assert_uint_eq(strlen(error), OPTIONS_ERROR_MAX - 1);
	free(value);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("options");
	TCase *tc = tcase_create("options");

	tcase_add_loop_test(tc, each_option_has_its_effect, 0,
			    (int)ARRAY_LEN(accepted));
	tcase_add_loop_test(tc, refuses_and_says_what, 0,
			    (int)ARRAY_LEN(refused));
	tcase_add_loop_test(tc, help_and_version_need_no_arguments, 0,
			    (int)ARRAY_LEN(shown));
	tcase_add_test(tc, a_long_argument_is_cut_in_the_message);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { suite, NULL };

	return unit_main(suites);
}
