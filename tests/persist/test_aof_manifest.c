/* SPDX-License-Identifier: MIT */

/*
 * What is read and written is compared with text spelled out here, and, where
 * redis-server is installed, with what it writes, reads and refuses itself.
 */

#include "persist/aof_manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "persist/resp.h"
#include "tests/lib/faulty.h"
#include "tests/lib/unit.h"

static const char manifest_name[] = "appendonly.aof.manifest";
static const char prefix[] = "appendonly.aof";

static struct mem mem;
static struct unit_scratch scratch;
static struct aof_manifest man;
static struct aof_manifest_error err;

static void setup(void)
{
	mem_init(&mem);
	aof_manifest_init(&man, &mem);
	unit_scratch_init(&scratch);
}

static void teardown(void)
{
	unit_scratch_fini(&scratch);
	aof_manifest_fini(&man);
	ck_assert_uint_eq(mem_used(&mem), 0);
}

static int parse_bytes(const char *text, size_t len)
{
	aof_manifest_fini(&man);
	return aof_manifest_parse(span_of(text, len), &man, &err);
}

static void parse(const char *text)
{
	int r = parse_bytes(text, strlen(text));

	unit_check_msg(r == 0, "line %u: %s in:\n%s", err.line, err.what, text);
}

/* The text of @m; the caller frees it with free(). */
static char *print(const struct aof_manifest *m)
{
	char *text, *copy;
	size_t len;

	unit_check(aof_manifest_print(m, &text, &len) == 0);
	copy = malloc(len + 1);
	unit_check(copy != NULL);
	memcpy(copy, text, len);
	copy[len] = '\0';
	mem_free(m->mem, text);
	unit_check(strlen(copy) == len);
	return copy;
}

static void assert_prints(const char *want)
{
	char *got = print(&man);

	ck_assert_str_eq(got, want);
	free(got);
}

/* --- what is taken ---------------------------------------------------- */

#define B1 "file a.1.base.rdb seq 1 type b\n"
#define I1 "file a.1.incr.aof seq 1 type i\n"
#define I2 "file a.2.incr.aof seq 2 type i\n"
#define H1 "file a.0.incr.aof seq 1 type h\n"

/* Those that Redis takes as well. */
static const struct {
	const char *what, *text, *printed; /* NULL: the same */
} taken[] = {
	{ "one base", B1, NULL },
	{ "base and incrs", B1 I1 I2, NULL },
	{ "base, history, incr", B1 H1 I2, NULL },
	{ "no base", I1 I2, NULL },
	{ "base after incrs", I1 I2 B1, B1 I1 I2 },
	{ "history last", B1 I1 H1, B1 H1 I1 },
	{ "gap", B1 I1 "file a.9.incr.aof seq 9 type i\n", NULL },
	{ "comments", "# x\n" B1 "#\n" I1 "#\n", B1 I1 },
	{ "comment without an end", B1 I1 "# the end", B1 I1 },
	{ "just a comment", "#\n", "" },
	{ "another order", "type b seq 1 file a.1.base.rdb\n", B1 },
	{ "capitals in keys", "FILE a.1.base.rdb Seq 1 tyPE b\n", B1 },
	{ "blanks", " \tfile  a.1.base.rdb \t seq 1 type   b \t\r\n", B1 },
	{ "vertical blanks", "file a.1.base.rdb \v\fseq 1 type b\n", B1 },
	{ "quotes where none are needed",
	  "\"file\" 'a.1.base.rdb' \"s\\x65q\" \"1\" 'type' \"b\"\n", B1 },
	{ "quotes within a word", "file a.1\".base.rdb\" seq 1 type 'b'\n",
	  B1 },
	{ "a name with blanks", "file \"a b\\tc\" seq 1 type b\n", NULL },
	{ "all escapes",
	  "file \"\\n\\r\\t\\b\\a\\x01f\\x7f\\xfF\\\"\\'\\q\\x4\" seq 1 type "
	  "b\n",
	  "file \"\\n\\r\\t\\b\\a\\x01f\\x7f\\xff\\\"'qx4\" seq 1 type b\n" },
	{ "apostrophe", "file \"it's\" seq 1 type b\n", NULL },
	{ "apostrophe in single quotes", "file 'it\\'s \"' seq 1 type b\n",
	  "file \"it's \\\"\" seq 1 type b\n" },
	{ "bytes above 127", "file \xc3\xa9 seq 1 type b\n",
	  "file \"\\xc3\\xa9\" seq 1 type b\n" },
	{ "the largest number",
	  "file a seq 9223372036854775807 type b\n"
	  "file b seq 9223372036854775807 type i\n",
	  NULL },
	{ "extra pairs", B1 "file a seq 1 type i startoffset 0 endoffset 12\n",
	  NULL },
	{ "extra pairs in front",
	  "sum  \"x y\" file a.1.base.rdb 'k k'   v seq 1 type b\n",
	  "file a.1.base.rdb seq 1 type b sum \"x y\" 'k k' v\n" },
	{ "the same history twice", B1 H1 H1, NULL },
};

START_TEST(what_redis_takes_is_taken)
{
	const char *want = taken[_i].printed;

	parse(taken[_i].text);
	assert_prints(want ? want : taken[_i].text);
}
END_TEST

START_TEST(a_manifest_is_taken_apart)
{
	parse(B1 "# c\nfile \"h 1\" seq 7 type h x y\n" I1
		 "file i seq 5 type i\n");
	ck_assert_str_eq(man.base.name, "a.1.base.rdb");
	ck_assert_uint_eq(man.base.seq, 1);
	ck_assert_uint_eq(man.base.line, 1);
	ck_assert_ptr_null(man.base.extra);
	ck_assert_uint_eq(man.history.n, 1);
	ck_assert_str_eq(man.history.v[0].name, "h 1");
	ck_assert_str_eq(man.history.v[0].extra, "x y");
	ck_assert_uint_eq(man.history.v[0].seq, 7);
	ck_assert_uint_eq(man.history.v[0].line, 3);
	ck_assert_uint_eq(man.incrs.n, 2);
	ck_assert_str_eq(man.incrs.v[1].name, "i");
	ck_assert_uint_eq(man.incrs.v[1].line, 5);
	ck_assert_uint_eq(man.base_seq, 1);
	ck_assert_uint_eq(man.incr_seq, 5);
	ck_assert_int_eq(aof_manifest_find(&man, "h 1"), 'h');
	ck_assert_int_eq(aof_manifest_find(&man, "i"), 'i');
	ck_assert_int_eq(aof_manifest_find(&man, "a.1.base.rdb"), 'b');
	ck_assert_int_eq(aof_manifest_find(&man, "x"), 0);
}
END_TEST

/* --- what is refused -------------------------------------------------- */

#define X200                                                                   \
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"                   \
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"                   \
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"                   \
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X1000 X200 X200 X200 X200 X200

static const struct {
	const char *text;
	size_t len;
	bool redis; /* refuses it, too */
	unsigned line;
	const char *what;
} refused[] = {
#define CASE(s, ...)                                                           \
	{                                                                      \
		s, sizeof(s) - 1, __VA_ARGS__                                  \
	}
	/* the ten ways of Redis */
	CASE("", true, 0, "the manifest is empty"),
	CASE(B1 "\n" I1, true, 2, "a blank line"),
	CASE(B1 " \t\r\n", true, 2, "a blank line"),
	CASE(B1 I1 "file a.2.incr.aof seq 2 type i", true, 3, "has no end"),
	CASE(B1 "file a seq 1 type i x\n", true, 2, "an odd number of words"),
	CASE("file a seq 1 type\n", true, 1, "an odd number of words"),
	CASE("seq 1 type b x y\n", true, 1, "no \"file\""),
	CASE("file a type b x y\n", true, 1, "no \"seq\""),
	CASE("file a seq 1 x y\n", true, 1, "no \"type\""),
	CASE("file a seq 1\n", true, 1, "no \"type\""),
	CASE("file a seq 0 type b\n", true, 1, "the seq is no number"),
	CASE("file a seq x type b\n", true, 1, "the seq is no number"),
	CASE("file a seq \"\" type b\n", true, 1, "the seq is no number"),
	CASE(B1 "file a seq 1 type x\n", true, 2, "none of b, i and h"),
	CASE("file a seq 1 type \"\"\n", true, 1, "none of b, i and h"),
	CASE("file a seq 1 type B\n", true, 1, "none of b, i and h"),
	CASE(B1 I1 "file b seq 2 type b\n", true, 3, "line 1 has one"),
	CASE(B1 I2 I1, true, 3, "the seq 1 of an incr follows 2"),
	CASE(B1 I1 "file b seq 1 type i\n", true, 3, "1 of an incr follows 1"),
	CASE("file a seq -1 type i\n", true, 1, "the seq is no number"),
	CASE("file ../a seq 1 type b\n", true, 1, "a path"),
	CASE("file \"a\\x2fb\" seq 1 type b\n", true, 1, "a path"),
	CASE("file a\\b seq 1 type b\n", true, 1, "a path"),
	/* lines and quotes */
	CASE("file a seq 1 type b x xx" X1000 "\n", true, 1, "more than 1024"),
	CASE("#" X1000 X1000 "\n", true, 1, "more than 1024"),
	CASE("file a seq 1 type b \0\n", true, 1, "a NUL byte"),
	CASE("\0\0\0\0\0", true, 1, "a NUL byte"),
	CASE("file \"a seq 1 type b\n", true, 1, "not closed"),
	CASE("file 'a seq 1 type b\n", true, 1, "not closed"),
	CASE("file \"a\"b seq 1 type b\n", true, 1, "goes on behind"),
	CASE("file 'a'b seq 1 type b\n", true, 1, "goes on behind"),
	CASE("file \"a\\", true, 1, "no end"),
	CASE("file a seq 1 type \"b\\\n", true, 1, "not closed"),
	CASE("\v\n", true, 1, "no \"file\""),
	/* where Redis guesses */
	CASE("file a seq 1abc type b\n", false, 1, "the seq is no number"),
	CASE("file a seq +1 type b\n", false, 1, "the seq is no number"),
	CASE("file a seq 01 type b\n", false, 1, "the seq is no number"),
	CASE("file a seq -1 type b\n", false, 1, "the seq is no number"),
	CASE("file a seq 9223372036854775808 type b\n", false, 1, "no number"),
	CASE("file a seq 1 type base\n", false, 1, "none of b, i and h"),
	CASE("file a file b seq 1 type b\n", false, 1, "two names"),
	CASE("file a seq 1 seq 2 type b\n", false, 1, "two numbers"),
	CASE("file a seq 1 type b type i\n", false, 1, "two types"),
	CASE("file \"\" seq 1 type b\n", false, 1, "not the name of a file"),
	CASE("file . seq 1 type b\n", false, 1, "not the name of a file"),
	CASE("file .. seq 1 type b\n", false, 1, "not the name of a file"),
	CASE("file \"a\\x00b\" seq 1 type b\n", false, 1, "not the name"),
	CASE("file " X200 X200 " seq 1 type b\n", false, 1, "more than 255"),
	CASE(B1 I1 "file a.1.incr.aof seq 2 type h\n", false, 3,
	     "the file of line 2 once more"),
	CASE("file a.1.base.rdb seq 2 type h\n" B1, false, 2,
	     "the file of line 1 once more"),
	CASE(B1 "file a.1.base.rdb seq 2 type i\n", false, 2,
	     "the file of line 1 once more"),
#undef CASE
};

START_TEST(what_redis_refuses_is_refused)
{
	const char *text = refused[_i].text;
	char *copy = malloc(refused[_i].len + 1);

	ck_assert_ptr_nonnull(copy);
	copy = realloc(copy, MAX(refused[_i].len, (size_t)1));
	ck_assert_ptr_nonnull(copy); /* exactly, for the sanitizers */
	memcpy(copy, text, refused[_i].len);
	ck_assert_int_eq(parse_bytes(copy, refused[_i].len), -EBADMSG);
	ck_assert_int_eq(err.code, -EBADMSG);
	ck_assert_uint_eq(err.line, refused[_i].line);
	ck_assert_msg(strstr(err.what, refused[_i].what), "%s", err.what);
	ck_assert(aof_manifest_is_empty(&man)); /* M4 */
	free(copy);
}
END_TEST

START_TEST(a_line_has_at_most_1024_bytes)
{
	char text[2048];

	for (size_t len = 1023; len <= 1025; len++) {
		for (int comment = 0; comment < 2; comment++) {
			memset(text, 'x', sizeof(text));
			memcpy(text, "file a seq 1 type b y ", 22);
			if (comment)
				text[0] = '#';
			text[len - 1] = '\n';
			ck_assert_int_eq(parse_bytes(text, len),
					 len > AOF_MANIFEST_LINE ? -EBADMSG
								 : 0);
		}
	}
	/* What was read from single quotes has no room in double ones. */
	memset(text, '"', sizeof(text));
	memcpy(text, "file '", 6);
	memcpy(text + 6 + AOF_NAME_MAX, "' seq 1 type b ", 15);
	memset(text + 6 + AOF_NAME_MAX + 15, 'x', 1000);
	text[700] = ' ';
	text[AOF_MANIFEST_LINE - 1] = '\n';
	ck_assert_int_eq(parse_bytes(text, AOF_MANIFEST_LINE), 0);
	ck_assert_int_eq(
		aof_manifest_print(&man, &(char *){ NULL }, &(size_t){ 0 }),
		-ENAMETOOLONG);
}
END_TEST

/* Parses anything; what is taken must print to what parses and prints alike. */
static void parse_anything(const char *text, size_t len)
{
	char *once, *again;

	if (parse_bytes(text, len) < 0) {
		unit_check(err.code == -EBADMSG && err.what[0]);
		unit_check(aof_manifest_is_empty(&man));
		return;
	}
	once = print(&man);
	if (aof_manifest_is_empty(&man)) {
		free(once);
		return;
	}
	parse(once);
	again = print(&man);
	unit_check_msg(strcmp(once, again) == 0, "%s%s", once, again);
	free(once);
	free(again);
}

static const char sample[] =
	"# c\n" B1 "type h seq 3 file \"h \\x41\\n\" k \"v v\"\n" I1 I2;

START_TEST(a_manifest_that_is_cut_or_changed_anywhere_is_survived)
{
	char *copy;

	for (size_t len = 0; len < sizeof(sample); len++) {
		copy = malloc(MAX(len, (size_t)1));
		ck_assert_ptr_nonnull(copy);
		memcpy(copy, sample, len);
		parse_anything(copy, len);
		free(copy);
	}
	for (size_t at = 0; at < sizeof(sample) - 1; at++)
		for (int v = 0; v < 256; v++) {
			copy = malloc(sizeof(sample) - 1);
			ck_assert_ptr_nonnull(copy);
			memcpy(copy, sample, sizeof(sample) - 1);
			copy[at] = (char)v;
			parse_anything(copy, sizeof(sample) - 1);
			free(copy);
		}
}
END_TEST

START_TEST(names_of_any_bytes_are_read_again)
{
	struct unit_rng rng = unit_rng(3);

	for (int round = 0; round < 5000; round++) {
		char name[AOF_NAME_SIZE];
		size_t len = unit_range(&rng, 1, 200);
		char *text, *kept;

		unit_bytes(&rng, name, len);
		name[len] = '\0';
		for (size_t i = 0; i < len; i++)
			if (strchr("/\\", name[i])) /* and NUL */
				name[i] = "x ' \"a"[unit_below(&rng, 6)];
		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
			continue;
		aof_manifest_fini(&man);
		ck_assert_int_eq(aof_manifest_add_incr(&man, name, 4), 0);
		text = print(&man);
		kept = strdup(name);
		parse(text);
		unit_check(strcmp(man.incrs.v[0].name, kept) == 0);
		free(kept);
		free(text);
	}
}
END_TEST

START_TEST(thousands_of_lines_are_read)
{
	enum {
		N = 20000
	};
	char name[AOF_NAME_SIZE], *text = malloc(N * 40), *again;
	uint64_t seq;
	size_t len = 0;

	ck_assert_ptr_nonnull(text);
	for (int i = 1; i <= N; i++)
		len += (size_t)sprintf(text + len, "file f%d seq %d type i\n",
				       i, i);
	parse(text);
	ck_assert_uint_eq(man.incrs.n, N);
	ck_assert_int_eq(aof_manifest_next(&man, "f", AOF_INCR, name, &seq), 0);
	ck_assert_uint_eq(seq, N + 1);
	again = print(&man);
	ck_assert_str_eq(text, again);
	free(text);
	free(again);
}
END_TEST

/* --- names ------------------------------------------------------------ */

START_TEST(names_follow_the_habit)
{
	static const char *const others[] = {
		"appendonly.aof.1.base.txt",
		"appendonly.aof.0.base.rdb",
		"appendonly.aof.01.incr.aof",
		"appendonly.aof.x.incr.aof",
		"appendonly.aof..incr.aof",
		"appendonly.aof.1.incr.rdb",
		"appendonly.aof.1",
		"appendonly.aof",
		"other.aof.1.incr.aof",
		"appendonly.aof.1.incr.aof.bak",
		"appendonly.aof.manifest",
		"",
		"appendonly.aofx1.incr.aof",
		"appendonly.aof.9223372036854775808.incr.aof",
	};
	static const struct {
		enum aof_kind kind;
		uint64_t seq;
		const char *name;
	} ours[] = {
		{ AOF_BASE_RDB, 1, "appendonly.aof.1.base.rdb" },
		{ AOF_BASE_AOF, 12, "appendonly.aof.12.base.aof" },
		{ AOF_INCR, INT64_MAX,
		  "appendonly.aof.9223372036854775807.incr.aof" },
	};
	char name[AOF_NAME_SIZE], long_prefix[AOF_NAME_SIZE];
	enum aof_kind kind;
	uint64_t seq;

	for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
		ck_assert_int_eq(
			aof_name_print(prefix, ours[i].seq, ours[i].kind, name),
			0);
		ck_assert_str_eq(name, ours[i].name);
		ck_assert(aof_name_parse(name, prefix, &seq, &kind));
		ck_assert_uint_eq(seq, ours[i].seq);
		ck_assert_int_eq(kind, ours[i].kind);
	}
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		ck_assert_msg(!aof_name_parse(others[i], prefix, &seq, &kind),
			      "%s", others[i]);
	ck_assert_int_eq(aof_manifest_name(prefix, name), 0);
	ck_assert_str_eq(name, manifest_name);
	ck_assert_int_eq(aof_manifest_temp_name(manifest_name, name), 0);
	ck_assert_str_eq(name, "temp-appendonly.aof.manifest");

	memset(long_prefix, 'x', sizeof(long_prefix));
	long_prefix[AOF_NAME_MAX - 11] = '\0'; /* and ".1.incr.aof" */
	ck_assert_int_eq(aof_name_print(long_prefix, 1, AOF_INCR, name), 0);
	ck_assert_uint_eq(strlen(name), AOF_NAME_MAX);
	ck_assert_int_eq(aof_name_print(long_prefix, 10, AOF_INCR, name),
			 -ENAMETOOLONG);
}
END_TEST

/* --- steps ------------------------------------------------------------ */

/* Adds the file that comes next. */
static void add_next(enum aof_kind kind)
{
	char name[AOF_NAME_SIZE];
	uint64_t seq;
	int r;

	unit_check(aof_manifest_next(&man, prefix, kind, name, &seq) == 0);
	unit_check(!aof_manifest_find(&man, name)); /* M3 */
	if (kind == AOF_INCR)
		r = aof_manifest_add_incr(&man, name, seq);
	else
		r = aof_manifest_set_base(&man, name, seq);
	unit_check(r == 0);
}

START_TEST(a_rewrite_changes_the_manifest_in_steps)
{
	add_next(AOF_BASE_RDB);
	add_next(AOF_INCR);
	assert_prints("file appendonly.aof.1.base.rdb seq 1 type b\n"
		      "file appendonly.aof.1.incr.aof seq 1 type i\n");
	add_next(AOF_INCR);
	add_next(AOF_BASE_AOF);
	ck_assert_int_eq(aof_manifest_retire_incrs(&man, 2), 0);
	assert_prints("file appendonly.aof.2.base.aof seq 2 type b\n"
		      "file appendonly.aof.1.incr.aof seq 1 type h\n"
		      "file appendonly.aof.1.base.rdb seq 1 type h\n"
		      "file appendonly.aof.2.incr.aof seq 2 type i\n");
	add_next(AOF_INCR);
	add_next(AOF_INCR);
	add_next(AOF_BASE_RDB);
	ck_assert_int_eq(aof_manifest_retire_incrs(&man, 4), 0);
	aof_manifest_drop_history(&man, 3);
	assert_prints("file appendonly.aof.3.base.rdb seq 3 type b\n"
		      "file appendonly.aof.2.incr.aof seq 2 type h\n"
		      "file appendonly.aof.3.incr.aof seq 3 type h\n"
		      "file appendonly.aof.2.base.aof seq 2 type h\n"
		      "file appendonly.aof.4.incr.aof seq 4 type i\n");
	aof_manifest_drop_history(&man, 0);
	assert_prints("file appendonly.aof.3.base.rdb seq 3 type b\n"
		      "file appendonly.aof.4.incr.aof seq 4 type i\n");
}
END_TEST

START_TEST(an_old_file_is_taken_over_with_its_name)
{
	ck_assert_int_eq(aof_manifest_set_base(&man, prefix, 1), 0);
	add_next(AOF_INCR);
	assert_prints("file appendonly.aof seq 1 type b\n"
		      "file appendonly.aof.1.incr.aof seq 1 type i\n");
	add_next(AOF_BASE_RDB);
	assert_prints("file appendonly.aof.2.base.rdb seq 2 type b\n"
		      "file appendonly.aof seq 1 type h\n"
		      "file appendonly.aof.1.incr.aof seq 1 type i\n");
}
END_TEST

START_TEST(extra_pairs_stay_with_their_file)
{
	parse("file b seq 1 type b sum 1\nfile i seq 3 type i endoffset 7\n");
	add_next(AOF_INCR);
	add_next(AOF_BASE_RDB);
	ck_assert_int_eq(aof_manifest_retire_incrs(&man, 4), 0);
	assert_prints("file appendonly.aof.2.base.rdb seq 2 type b\n"
		      "file i seq 3 type h endoffset 7\n"
		      "file b seq 1 type h sum 1\n"
		      "file appendonly.aof.4.incr.aof seq 4 type i\n");
}
END_TEST

START_TEST(a_number_is_given_out_once)
{
	char name[AOF_NAME_SIZE];
	uint64_t seq;

	parse("file appendonly.aof.2.incr.aof seq 1 type h\n"
	      "file appendonly.aof.1.base.aof seq 1 type h\n");
	ck_assert_int_eq(aof_manifest_next(&man, prefix, AOF_INCR, name, &seq),
			 0);
	ck_assert_uint_eq(seq, 1);
	ck_assert_int_eq(aof_manifest_next(&man, prefix, AOF_INCR, name, &seq),
			 0);
	ck_assert_uint_eq(seq, 3); /* 2 is listed */
	ck_assert_str_eq(name, "appendonly.aof.3.incr.aof");
	ck_assert_int_eq(
		aof_manifest_next(&man, prefix, AOF_BASE_AOF, name, &seq), 0);
	ck_assert_uint_eq(seq, 2);
	ck_assert_int_eq(
		aof_manifest_next(&man, prefix, AOF_BASE_RDB, name, &seq), 0);
	ck_assert_uint_eq(seq, 3);

	parse("file a seq 9223372036854775807 type i\n");
	ck_assert_int_eq(aof_manifest_next(&man, prefix, AOF_INCR, name, &seq),
			 -EOVERFLOW);
	ck_assert_int_eq(
		aof_manifest_next(&man, prefix, AOF_BASE_RDB, name, &seq), 0);
}
END_TEST

START_TEST(what_makes_no_manifest_is_not_added)
{
	static const char *const names[] = {
		"", ".", "..", "a/b", "a\\b", "a.1.base.rdb", "a.0.incr.aof"
	};
	char long_name[AOF_NAME_SIZE + 1];

	memset(long_name, 'x', sizeof(long_name));
	long_name[AOF_NAME_SIZE] = '\0';
	parse(B1 H1 I1);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		ck_assert_int_eq(aof_manifest_add_incr(&man, names[i], 9),
				 -EINVAL);
		ck_assert_int_eq(aof_manifest_set_base(&man, names[i], 9),
				 -EINVAL);
	}
	ck_assert_int_eq(aof_manifest_add_incr(&man, long_name, 9), -EINVAL);
	ck_assert_int_eq(aof_manifest_add_incr(&man, "x", 1), -EINVAL);
	ck_assert_int_eq(aof_manifest_add_incr(&man, "x", UINT64_MAX), -EINVAL);
	ck_assert_int_eq(aof_manifest_set_base(&man, "x", 0), -EINVAL);
	assert_prints(B1 H1 I1);
	parse("#\n");
	ck_assert_int_eq(aof_manifest_add_incr(&man, "x", 0), -EINVAL);
}
END_TEST

START_TEST(a_copy_is_the_same_and_apart)
{
	struct aof_manifest copy;
	char *text, *other;

	parse(sample);
	text = print(&man);
	ck_assert_int_eq(aof_manifest_copy(&copy, &man), 0);
	aof_manifest_drop_history(&man, 0);
	add_next(AOF_BASE_RDB);
	other = print(&copy);
	ck_assert_str_eq(other, text);
	ck_assert_uint_eq(copy.incr_seq, 2);
	ck_assert_uint_eq(copy.base_seq, 1);
	aof_manifest_fini(&copy);
	ck_assert(aof_manifest_is_empty(&copy));
	free(text);
	free(other);
}
END_TEST

static int step(struct aof_manifest *m, int which)
{
	struct aof_manifest copy;
	char *text;
	size_t len;
	int r;

	switch (which) {
	case 0:
		return aof_manifest_add_incr(m, "new", 100);
	case 1:
		return aof_manifest_set_base(m, "new", 100);
	case 2:
		return aof_manifest_retire_incrs(m, 100);
	case 3:
		r = aof_manifest_print(m, &text, &len);
		if (r == 0)
			mem_free(m->mem, text);
		return r;
	case 4:
		r = aof_manifest_copy(&copy, m);
		aof_manifest_fini(&copy);
		return r;
	default:
		aof_manifest_init(&copy, m->mem);
		r = aof_manifest_parse(span_str(sample), &copy, &err);
		ck_assert_int_eq(r, r ? err.code : 0);
		aof_manifest_fini(&copy);
		return r;
	}
}

START_TEST(a_step_without_memory_changes_nothing)
{
	char *before, *after;
	int r = -ENOMEM, n;

	for (n = 0; r < 0; n++) {
		size_t used;

		parse("file b seq 1 type b k v\n");
		for (uint64_t i = 1; i <= 8; i++) { /* both lists are full */
			char name[8];

			snprintf(name, sizeof(name), "i%d", (int)i);
			ck_assert_int_eq(aof_manifest_add_incr(&man, name, i),
					 0);
		}
		before = print(&man);
		used = mem_used(&mem);
		mem.fail_after = n;
		r = step(&man, _i);
		mem.fail_after = -1;
		if (r < 0) {
			ck_assert_int_eq(r, -ENOMEM);
			after = print(&man);
			ck_assert_str_eq(after, before);
			free(after);
			if (_i > 2)
				ck_assert_uint_eq(mem_used(&mem), used);
		}
		free(before);
	}
	ck_assert_int_gt(n, 1);
}
END_TEST

/* --- random lives ----------------------------------------------------- */

enum {
	LIFE_MAX = 64
};

/* What must be listed: numbers stand for names. */
struct life {
	int base, incrs[LIFE_MAX], history[2 * LIFE_MAX];
	int n_incrs, n_history;
	uint64_t base_seq, incr_seq;
	uint64_t seq[4096]; /* of the file with that number */
	char name[4096][32];
	int n_files;
};

static int life_new(struct life *l, enum aof_kind kind)
{
	int id = l->n_files++;
	uint64_t *seq = kind == AOF_INCR ? &l->incr_seq : &l->base_seq;
	static const char *const suffix[] = { "base.rdb", "base.aof",
					      "incr.aof" };

	l->seq[id] = ++*seq;
	snprintf(l->name[id], sizeof(l->name[id]), "%s.%d.%s", prefix,
		 (int)l->seq[id], suffix[kind]);
	return id;
}

static void life_retire(struct life *l, uint64_t below)
{
	int n = 0;

	while (n < l->n_incrs && l->seq[l->incrs[n]] < below)
		n++;
	memmove(l->history + n, l->history, sizeof(int) * (size_t)l->n_history);
	memcpy(l->history, l->incrs, sizeof(int) * (size_t)n);
	memmove(l->incrs, l->incrs + n, sizeof(int) * (size_t)(l->n_incrs - n));
	l->n_incrs -= n;
	l->n_history += n;
}

static void life_set_base(struct life *l, int id)
{
	if (l->base >= 0) {
		memmove(l->history + 1, l->history,
			sizeof(int) * (size_t)l->n_history);
		l->history[0] = l->base;
		l->n_history++;
	}
	l->base = id;
}

static char *life_line(const struct life *l, char *p, int id, char type)
{
	return p + sprintf(p, "file %s seq %d type %c\n", l->name[id],
			   (int)l->seq[id], type);
}

static void life_assert(const struct life *l)
{
	static char want[3 * LIFE_MAX * 80];
	char *p = want, *got;

	*p = '\0';
	if (l->base >= 0)
		p = life_line(l, p, l->base, 'b');
	for (int i = 0; i < l->n_history; i++)
		p = life_line(l, p, l->history[i], 'h');
	for (int i = 0; i < l->n_incrs; i++)
		p = life_line(l, p, l->incrs[i], 'i');
	got = print(&man);
	unit_check_msg(strcmp(got, want) == 0, "%s instead of %s", got, want);
	free(got);
}

static void life_step(struct life *l, struct unit_rng *rng)
{
	enum aof_kind kind = unit_below(rng, 2) ? AOF_BASE_RDB : AOF_BASE_AOF;
	uint64_t seq = unit_range(rng, 0, l->incr_seq + 1);
	size_t keep = unit_below(rng, LIFE_MAX / 2);
	char name[AOF_NAME_SIZE];
	char *text;

	switch (unit_below(rng, 8)) {
	case 0: /* a file that was made and not added */
		(void)life_new(l, AOF_INCR);
		unit_check(aof_manifest_next(&man, prefix, AOF_INCR, name,
					     &seq) == 0);
		break;
	case 1:
		life_set_base(l, life_new(l, kind));
		add_next(kind);
		break;
	case 2:
		life_retire(l, seq);
		unit_check(aof_manifest_retire_incrs(&man, seq) == 0);
		break;
	case 3: /* a restart: numbers start from what is listed */
		if (l->base < 0 || l->n_incrs == 0)
			break;
		text = print(&man);
		parse(text);
		free(text);
		l->base_seq = l->seq[l->base];
		l->incr_seq = l->seq[l->incrs[l->n_incrs - 1]];
		break;
	default:
		if (l->n_incrs == LIFE_MAX)
			break;
		l->incrs[l->n_incrs++] = life_new(l, AOF_INCR);
		add_next(AOF_INCR);
	}
	if (l->n_history > LIFE_MAX - 2 || unit_below(rng, 16) == 0) {
		l->n_history = (int)MIN((size_t)l->n_history, keep);
		aof_manifest_drop_history(&man, keep);
	}
}

START_TEST(a_random_life_is_as_the_model_says)
{
	static struct life l;
	struct unit_rng rng = unit_rng(100 + (uint64_t)_i);

	l = (struct life){ .base = -1 };
	for (int i = 0; i < 2000; i++) {
		life_step(&l, &rng);
		life_assert(&l);
	}
}
END_TEST

/* --- files ------------------------------------------------------------ */

static void assert_file(const char *name, const char *want)
{
	size_t len;
	char *got = unit_scratch_read(&scratch, name, &len);

	ck_assert_str_eq(got, want);
	ck_assert_uint_eq(len, strlen(want));
	free(got);
}

static int load(const struct io *io, const char *name)
{
	aof_manifest_fini(&man);
	return aof_manifest_load(io, scratch.dirfd, name, &man, &err);
}

START_TEST(storing_replaces_all_or_nothing)
{
	int n, old = 0;

	for (n = 1;; n++) {
		struct faulty f;
		int r;

		unit_scratch_write(&scratch, manifest_name, I1, strlen(I1));
		parse(B1 I1 I2);
		faulty_init(&f, scratch.dirfd);
		f.fail_at = n;
		f.error = ENOSPC;
		r = aof_manifest_store(&f.io, scratch.dirfd, manifest_name,
				       &man);
		ck_assert_int_eq(unit_scratch_count(&scratch), 1);
		ck_assert_int_eq(f.n_open, 0);
		if (!f.fired) {
			ck_assert_int_eq(r, 0);
			ck_assert_str_eq(f.trace, "open write fsync close "
						  "rename fsync-dir");
			break;
		}
		ck_assert_int_eq(r, -ENOSPC);
		if (strcmp(f.fired_call, "fsync-dir") == 0) {
			assert_file(manifest_name, B1 I1 I2);
		} else {
			assert_file(manifest_name, I1);
			old++;
		}
	}
	ck_assert_int_eq(old, 5);
	assert_file(manifest_name, B1 I1 I2);
	ck_assert_int_eq(load(&io_system, manifest_name), 0);
	assert_prints(B1 I1 I2);
}
END_TEST

START_TEST(loading_says_what_fails)
{
	struct faulty f;
	int fd;

	ck_assert_int_eq(load(&io_system, "none"), -ENOENT);
	ck_assert_str_eq(err.what, "cannot open: No such file or directory");
	unit_scratch_write(&scratch, "empty", "", 0);
	ck_assert_int_eq(load(&io_system, "empty"), -EBADMSG);
	ck_assert_str_eq(err.what, "the manifest is empty");
	ck_assert_int_eq(load(&io_system, "."), -EISDIR);

	fd = openat(scratch.dirfd, "big", O_WRONLY | O_CREAT, 0600);
	ck_assert_int_eq(ftruncate(fd, AOF_MANIFEST_BYTES + 1), 0);
	ck_assert_int_eq(close(fd), 0);
	ck_assert_int_eq(load(&io_system, "big"), -EFBIG);

	unit_scratch_write(&scratch, "m", B1, strlen(B1));
	for (int n = 1; n <= 3; n++) { /* open fstat pread */
		faulty_init(&f, scratch.dirfd);
		f.fail_at = n;
		f.error = EIO;
		ck_assert_int_eq(load(&f.io, "m"), -EIO);
		ck_assert(f.fired);
		ck_assert_int_eq(f.n_open, 0);
		ck_assert_int_eq(err.code, -EIO);
	}
	ck_assert_int_eq(load(&io_system, "m"), 0);
}
END_TEST

/* --- redis-server ----------------------------------------------------- */

static const char redis[] = "redis-server";

static bool have_redis(void)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "command -v %s >/dev/null 2>&1", redis);
	return system(cmd) == 0;
}

struct server {
	pid_t pid;
	int fd;
};

/* Runs in the scratch directory: a socket's path is short. */
static void server_exec(char *const *more)
{
	char *argv[32] = {
		"redis-server",
		"--port",
		"0",
		"--unixsocket",
		"s",
		"--save",
		"",
		"--logfile",
		"log",
		"--appendonly",
		"yes",
		"--daemonize",
		"no",
		"--enable-debug-command",
		"yes",
	};
	int n = 15;

	while (*more)
		argv[n++] = *more++;
	if (fchdir(scratch.dirfd) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0)
		execvp(redis, argv);
	_exit(126);
}

static int server_connect(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "s" };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fchdir(scratch.dirfd), 0);
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Whether all of a reply is there: one line, or two for a string. */
static bool is_reply(const char *reply, size_t len)
{
	const char *line = memchr(reply, '\n', len);

	if (!line || reply[0] != '$')
		return line != NULL;
	return len == (size_t)(line + 1 - reply) + (size_t)atoi(reply + 1) + 2;
}

/* The reply to @command, a line of words. Return: false if there is none. */
static bool server_tries(struct server *s, const char *command,
			 char reply[8192])
{
	struct resp_buf b = { .mem = &mem };
	struct span argv[8];
	size_t n = 0, got = 0;
	const char *p = command;
	ssize_t r;

	while (*p) {
		size_t len = strcspn(p, " ");

		argv[n++] = span_of(p, len);
		p += len + (p[len] == ' ');
	}
	ck_assert_int_eq(resp_append_command(&b, argv, n), 0);
	r = send(s->fd, b.p, b.len, MSG_NOSIGNAL);
	resp_buf_fini(&b);
	while (r > 0 && (got == 0 || !is_reply(reply, got))) {
		r = read(s->fd, reply + got, 8191 - got);
		got += r > 0 ? (size_t)r : 0;
	}
	reply[got] = '\0';
	return r > 0;
}

static void server_ask(struct server *s, const char *command, char reply[8192])
{
	ck_assert_msg(server_tries(s, command, reply), "%s: no reply", command);
}

/* Starts one and waits until it answers. Return: 0, or its exit status. */
static int server_start(struct server *s, char *const *more)
{
	char reply[8192];
	int status;

	(void)unlinkat(scratch.dirfd, "s", 0);
	s->fd = -1;
	s->pid = fork();
	ck_assert_int_ge(s->pid, 0);
	if (s->pid == 0)
		server_exec(more);
	for (int i = 0; i < 6000; i++) {
		if (waitpid(s->pid, &status, WNOHANG) == s->pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
		s->fd = server_connect();
		if (s->fd >= 0 && server_tries(s, "PING", reply) &&
		    strcmp(reply, "+PONG\r\n") == 0)
			return 0;
		if (s->fd >= 0)
			close(s->fd);
		usleep(5000);
	}
	(void)kill(s->pid, SIGKILL);
	(void)waitpid(s->pid, &status, 0);
	ck_abort_msg("%s does not answer", redis);
}

static void server_stop(struct server *s)
{
	int status;

	ck_assert_int_eq(kill(s->pid, SIGTERM), 0);
	ck_assert_int_eq(waitpid(s->pid, &status, 0), s->pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close(s->fd);
}

static void server_expect(struct server *s, const char *command,
			  const char *want)
{
	char reply[8192];

	server_ask(s, command, reply);
	ck_assert_msg(strcmp(reply, want) == 0, "%s: %s", command, reply);
}

static void server_rewrite(struct server *s)
{
	char reply[8192];

	server_ask(s, "BGREWRITEAOF", reply);
	ck_assert_int_eq(reply[0], '+');
	do {
		usleep(5000);
		server_ask(s, "INFO persistence", reply);
	} while (!strstr(reply, "aof_rewrite_in_progress:0") ||
		 !strstr(reply, "aof_rewrite_scheduled:0"));
	ck_assert_ptr_nonnull(strstr(reply, "aof_last_bgrewrite_status:ok"));
}

static char *redis_manifest(const char *name, size_t *ret_len)
{
	char path[AOF_NAME_SIZE + 32];

	snprintf(path, sizeof(path), "appendonlydir/%s", name);
	return unit_scratch_read(&scratch, path, ret_len);
}

/* Redis' manifest is that of the steps made here, and reads and prints so. */
static void assert_as_redis(const char *name)
{
	struct aof_manifest parsed;
	char *text, *ours, *again;
	size_t len;

	text = redis_manifest(name, &len);
	ours = print(&man);
	ck_assert_str_eq(ours, text);
	aof_manifest_init(&parsed, &mem);
	ck_assert_msg(aof_manifest_parse(span_of(text, len), &parsed, &err) ==
			      0,
		      "line %u: %s", err.line, err.what);
	again = print(&parsed);
	ck_assert_str_eq(again, text);
	aof_manifest_fini(&parsed);
	free(text);
	free(ours);
	free(again);
}

static void next_of(const char *of, enum aof_kind kind)
{
	char name[AOF_NAME_SIZE];
	uint64_t seq;

	ck_assert_int_eq(aof_manifest_next(&man, of, kind, name, &seq), 0);
	ck_assert_int_eq(kind == AOF_INCR
				 ? aof_manifest_add_incr(&man, name, seq)
				 : aof_manifest_set_base(&man, name, seq),
			 0);
}

/* What follows a rewrite by Redis: it adds an incr, then the base. */
static void rewrite_of(const char *of, enum aof_kind kind)
{
	next_of(of, AOF_INCR);
	next_of(of, kind);
	ck_assert_int_eq(aof_manifest_retire_incrs(&man, man.incr_seq), 0);
}

static const struct {
	const char *file;
	enum aof_kind base;
} kinds[] = {
	{ "appendonly.aof", AOF_BASE_RDB },
	{ "appendonly.aof", AOF_BASE_AOF },
	{ "a \"b\" \xc3\xa9\t\x01.aof", AOF_BASE_RDB },
};

START_TEST(steps_and_text_are_those_of_redis)
{
	const char *of = kinds[_i].file;
	enum aof_kind base = kinds[_i].base;
	char *more[] = { "--appendfilename",
			 (char *)(uintptr_t)of,
			 "--aof-use-rdb-preamble",
			 base == AOF_BASE_RDB ? "yes" : "no",
			 "--aof-disable-auto-gc",
			 "yes",
			 NULL };
	char name[AOF_NAME_SIZE];
	struct server s;

	ck_assert_int_eq(aof_manifest_name(of, name), 0);
	ck_assert_int_eq(server_start(&s, more), 0);
	next_of(of, base);
	next_of(of, AOF_INCR);
	assert_as_redis(name);
	for (int i = 0; i < 3; i++) {
		server_expect(&s, "SET k v", "+OK\r\n");
		server_rewrite(&s);
		rewrite_of(of, base);
		assert_as_redis(name);
	}
	server_expect(&s, "CONFIG SET aof-disable-auto-gc no", "+OK\r\n");
	aof_manifest_drop_history(&man, 0);
	assert_as_redis(name);
	server_rewrite(&s);
	rewrite_of(of, base);
	aof_manifest_drop_history(&man, 0);
	assert_as_redis(name);
	server_stop(&s);
	ck_assert_int_eq(server_start(&s, more), 0); /* it reads itself */
	server_expect(&s, "GET k", "$1\r\nv\r\n");
	server_stop(&s);
}
END_TEST

static void write_commands(const char *name, int from, int to)
{
	struct resp_buf b = { .mem = &mem };
	char path[AOF_NAME_SIZE + 32], key[16];

	snprintf(path, sizeof(path), "appendonlydir/%s", name);
	ck_assert_int_eq(resp_append_note(&b, span_str("TS:1700000000")), 0);
	for (int i = from; i < to; i++) {
		int n = snprintf(key, sizeof(key), "k%d", i);
		struct span argv[] = { span_str("SET"), span_of(key, (size_t)n),
				       span_of("\0\r\n*", 4) };

		ck_assert_int_eq(resp_append_command(&b, argv, 3), 0);
	}
	unit_scratch_write(&scratch, path, b.p, b.len);
	resp_buf_fini(&b);
}

static void make_dir(void)
{
	ck_assert_int_eq(mkdirat(scratch.dirfd, "appendonlydir", 0700), 0);
}

static void write_manifest(const char *text, size_t len)
{
	unit_scratch_write(&scratch, "appendonlydir/appendonly.aof.manifest",
			   text, len);
}

START_TEST(redis_loads_what_is_written)
{
	char *none[] = { NULL }, *text, cmd[600];
	struct server s;

	make_dir();
	write_commands("base", 0, 10);
	write_commands("it's \"\xc3\xa9\"", 10, 30);
	write_commands("appendonly.aof.8.incr.aof", 30, 31);
	parse("file base seq 3 type b sum \"a b\"\nfile gone seq 1 type h\n");
	ck_assert_int_eq(aof_manifest_add_incr(&man, "it's \"\xc3\xa9\"", 4),
			 0);
	ck_assert_int_eq(
		aof_manifest_add_incr(&man, "appendonly.aof.8.incr.aof", 8), 0);
	text = print(&man);
	write_manifest(text, strlen(text));
	free(text);
	snprintf(cmd, sizeof(cmd),
		 "redis-check-aof '%s/appendonlydir/%s' >/dev/null 2>&1",
		 scratch.path, manifest_name);
	if (system("command -v redis-check-aof >/dev/null 2>&1") == 0)
		ck_assert_int_eq(system(cmd), 0);
	ck_assert_int_eq(server_start(&s, none), 0);
	server_expect(&s, "DBSIZE", ":31\r\n");
	server_expect(&s, "STRLEN k30", ":4\r\n");
	server_rewrite(&s); /* and goes on from its numbers */
	rewrite_of(prefix, AOF_BASE_RDB);
	aof_manifest_drop_history(&man, 0);
	assert_as_redis(manifest_name);
	server_stop(&s);
}
END_TEST

/* Reads a manifest of all records of an incr that Redis wrote. */
START_TEST(what_redis_logs_is_read)
{
	char *more[] = { "--aof-timestamp-enabled", "yes", NULL };
	int notes = 0, commands = 0;
	struct resp_record rec;
	struct rdb_error e;
	char reply[8192], *text;
	struct server s;
	struct resp r;
	struct in in;
	size_t len;

	ck_assert_int_eq(server_start(&s, more), 0);
	for (int i = 0; i < 20; i++)
		server_ask(&s, "APPEND k \r\n*$#", reply);
	server_stop(&s);
	text = redis_manifest("appendonly.aof.1.incr.aof", &len);
	in_init_bytes(&in, span_of(text, len), &mem, false, &e);
	resp_init(&r, &in);
	for (;;) {
		ck_assert_int_eq(resp_next(&r, &rec), 0);
		if (rec.kind == RESP_NOTE)
			notes += strncmp(rec.text.ptr, "TS:", 3) == 0;
		else if (rec.kind == RESP_COMMAND)
			commands += span_eq(rec.argv[0], span_str("APPEND"));
		else
			break;
	}
	ck_assert_int_eq(rec.kind, RESP_END);
	ck_assert_uint_eq(rec.begin, len);
	ck_assert_int_ge(notes, 1);
	ck_assert_int_eq(commands, 20);
	resp_fini(&r);
	in_fini(&in);
	free(text);
}
END_TEST

/* A directory in which all files are there that a table names. */
static void make_files(void)
{
	static const char *const names[] = { "a.1.base.rdb",
					     "a.1.incr.aof",
					     "a.2.incr.aof",
					     "a.9.incr.aof",
					     "a",
					     "b" };

	make_dir();
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		write_commands(names[i], (int)i, (int)i + 1);
}

/* Starts a server on such a directory. Return: its exit status, 0 if it runs or
 * ran; *ret_fault: whether it complained about the manifest. */
static int try_manifest(const char *text, size_t len, bool *ret_fault)
{
	char *none[] = { NULL }, *log;
	struct server s;
	size_t log_len;
	int r;

	make_files();
	write_manifest(text, len);
	r = server_start(&s, none);
	if (r == 0)
		server_stop(&s);
	log = unit_scratch_read(&scratch, "log", &log_len);
	*ret_fault = strstr(log, "FATAL AOF MANIFEST FILE ERROR");
	free(log);
	return r;
}

/* As the table says; what it takes against it may miss a file, then. */
START_TEST(redis_refuses_what_the_table_says)
{
	bool fault;
	int r = try_manifest(refused[_i].text, refused[_i].len, &fault);

	ck_assert_msg(fault == refused[_i].redis, "%s", refused[_i].text);
	ck_assert(r == 1 || !fault);
}
END_TEST

START_TEST(redis_takes_what_the_table_says)
{
	bool fault;

	(void)try_manifest(taken[_i].text, strlen(taken[_i].text), &fault);
	ck_assert_msg(!fault, "%s", taken[_i].text);
}
END_TEST

/* ---------------------------------------------------------------------- */

static TCase *add_case(Suite *s, const char *name)
{
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, setup, teardown);
	suite_add_tcase(s, tc);
	return tc;
}

static void add_redis(Suite *s)
{
	TCase *tc = add_case(s, "redis");

	tcase_add_loop_test(tc, steps_and_text_are_those_of_redis, 0,
			    (int)ARRAY_LEN(kinds));
	tcase_add_test(tc, redis_loads_what_is_written);
	tcase_add_test(tc, what_redis_logs_is_read);
	tcase_add_loop_test(tc, redis_refuses_what_the_table_says, 0,
			    (int)ARRAY_LEN(refused));
	tcase_add_loop_test(tc, redis_takes_what_the_table_says, 0,
			    (int)ARRAY_LEN(taken));
}

static Suite *suite(void)
{
	Suite *s = suite_create("aof_manifest");
	TCase *tc = add_case(s, "text");

	tcase_add_loop_test(tc, what_redis_takes_is_taken, 0,
			    (int)ARRAY_LEN(taken));
	tcase_add_test(tc, a_manifest_is_taken_apart);
	tcase_add_loop_test(tc, what_redis_refuses_is_refused, 0,
			    (int)ARRAY_LEN(refused));
	tcase_add_test(tc, a_line_has_at_most_1024_bytes);
	tcase_add_test(tc,
		       a_manifest_that_is_cut_or_changed_anywhere_is_survived);
	tcase_add_test(tc, names_of_any_bytes_are_read_again);
	tcase_add_test(tc, thousands_of_lines_are_read);

	tc = add_case(s, "steps");
	tcase_add_test(tc, names_follow_the_habit);
	tcase_add_test(tc, a_rewrite_changes_the_manifest_in_steps);
	tcase_add_test(tc, an_old_file_is_taken_over_with_its_name);
	tcase_add_test(tc, extra_pairs_stay_with_their_file);
	tcase_add_test(tc, a_number_is_given_out_once);
	tcase_add_test(tc, what_makes_no_manifest_is_not_added);
	tcase_add_test(tc, a_copy_is_the_same_and_apart);
	tcase_add_loop_test(tc, a_step_without_memory_changes_nothing, 0, 6);
	tcase_add_loop_test(tc, a_random_life_is_as_the_model_says, 0, 4);

	tc = add_case(s, "files");
	tcase_add_test(tc, storing_replaces_all_or_nothing);
	tcase_add_test(tc, loading_says_what_fails);

	if (have_redis())
		add_redis(s);
	else
		printf("# skipped: %s is not installed\n", redis);
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { suite, NULL };

	return unit_main(suites);
}
