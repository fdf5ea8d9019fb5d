/* SPDX-License-Identifier: MIT */

/*
 * The mapping is tested in three ways: a table that says what each rule means;
 * every string up to five bytes of an alphabet of trouble; and random strings,
 * short ones of tokens and parts of tokens, long ones with their lengths
 * around the places where a name is cut. What a path is, is_path() says again
 * in its own words, so that decoding can neither refuse nor accept too much.
 *
 * In the tables `~` is a NUL and `<n>` is n times 'x'.
 */

#include "store/name.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "tests/lib/unit.h"

enum {
	TEXT_MAX = 8192,
	PATH_ROOM = 4 * TEXT_MAX,
	CANARY = 0x5a,
	RANDOM_SHORT = 1000000,
	RANDOM_LONG = 300000,
};

static size_t expand(const char *spec, char *text)
{
	char *out = text, *end;

	for (; *spec; spec++) {
		if (*spec == '<') {
			size_t n = strtoul(spec + 1, &end, 10);

			ck_assert_int_eq(*end, '>');
			memset(out, 'x', n);
			out += n;
			spec = end;
		} else {
			*out++ = (char)(*spec == '~' ? '\0' : *spec);
		}
	}
	ck_assert_int_lt(out - text, TEXT_MAX);
	return (size_t)(out - text);
}

/* A failed comparison prints what it was about, readable whatever it holds. */
static const char *shown(struct span s)
{
	static char text[4 * 200 + 32];
	const unsigned char *p = s.ptr;
	size_t i, at = 0;

	for (i = 0; i < s.len && i < 200; i++)
		at += (size_t)sprintf(
			text + at, p[i] > ' ' && p[i] < 127 ? "%c" : "\\x%02x",
			p[i]);
	(void)sprintf(text + at, " (%zu bytes)", s.len);
	return text;
}

/* name_encode() into @path of PATH_ROOM bytes, checked against its bound. */
static struct span encode(struct span key, char sep, char *path)
{
	size_t bound = name_encode_bound(key.len), len;

	unit_check(bound < PATH_ROOM);
	path[bound] = CANARY;
	len = name_encode(key, sep, path);
	unit_check(len <= bound);
	unit_check(path[bound] == CANARY);
	return span_of(path, len);
}

/* name_decode() into @key of PATH_ROOM bytes, checked against its bound. */
static int decode(struct span path, char sep, char *key, struct span *ret,
		  bool *ret_value)
{
	size_t len = 12345;
	int r;

	unit_check(path.len < PATH_ROOM);
	key[path.len] = CANARY;
	r = name_decode(path, sep, key, &len, ret_value);
	unit_check(key[path.len] == CANARY);
	if (r < 0)
		unit_check(len == 12345);
	else
		unit_check(len <= path.len);
	*ret = span_of(key, len);
	return r;
}

/* The definition of a path, apart from the code under test. */
static bool is_path(struct span path)
{
	const char *p = path.ptr;
	size_t start = 0, i;

	for (i = 0; i <= path.len; i++) {
		size_t n = i - start;

		if (i < path.len && p[i] == '\0')
			return false;
		if (i < path.len && p[i] != '/')
			continue;
		if (n < 1 || n > 255)
			return false;
		if ((n == 1 && !strncmp(p + start, ".", 1)) ||
		    (n == 2 && !strncmp(p + start, "..", 2)))
			return false;
		if (start == 0 && n == 4 && !strncmp(p, ".ctl", 4))
			return false;
		if (start > 0 && n == 2 && !strncmp(p + start, "%=", 2) &&
		    i < path.len)
			return false;
		start = i + 1;
	}
	return true;
}

static bool is_value_path(struct span path)
{
	return path.len > 3 &&
	       !memcmp((const char *)path.ptr + path.len - 3, "/%=", 3);
}

static void check_key(struct span key, char sep)
{
	static char path_buf[PATH_ROOM], back_buf[PATH_ROOM];
	struct span path, back;
	bool value = true;

	path = encode(key, sep, path_buf);
	unit_check_msg(is_path(path), "no path: %s", shown(path));
	unit_check_msg(!is_value_path(path), "value: %s", shown(path));
	unit_check(decode(path, sep, back_buf, &back, &value) == 0);
	unit_check_msg(span_eq(back, key), "sep %c: %s", sep, shown(key));
	unit_check(!value);
}

static void check_path(struct span path, char sep)
{
	static char key_buf[PATH_ROOM], back_buf[PATH_ROOM];
	struct span key, back;
	bool value;
	int r;

	value = !is_value_path(path);
	r = decode(path, sep, key_buf, &key, &value);
	unit_check_msg(r == (is_path(path) ? 0 : -EINVAL), "sep %c: %d: %s",
		       sep, r, shown(path));
	if (r < 0)
		return;
	unit_check_msg(value == is_value_path(path), "value: %s", shown(path));
	back = encode(key, sep, back_buf);
	if (value)
		path.len -= 3;
	unit_check_msg(span_eq(back, path), "sep %c: %s", sep, shown(path));
}

struct pair {
	const char *key;
	const char *path; /* NULL: the same */
};

static const struct pair slash_pairs[] = {
	/* separators and empty segments */
	{ "a", NULL },
	{ "a/b/c", NULL },
	{ "user:1:a", NULL },
	{ "", "%" },
	{ "/", "%/%" },
	{ "//", "%/%/%" },
	{ "a/", "a/%" },
	{ "/a", "%/a" },
	{ "a//b", "a/%/b" },
	/* names that POSIX reserves */
	{ ".", "%2E" },
	{ "..", "%2E." },
	{ "...", NULL },
	{ ".a", NULL },
	{ "a/./../b", "a/%2E/%2E./b" },
	/* the control directory, in the root only */
	{ ".ctl", "%2Ectl" },
	{ ".ctl/x", "%2Ectl/x" },
	{ "a/.ctl", NULL },
	{ ".ctl2", NULL },
	{ ".ct", NULL },
	{ ".ctk/a", NULL },
	{ "%2Ectl", "%252Ectl" },
	{ "%252Ectl/%2Ectl", "%25252Ectl/%2Ectl" },
	/* NUL */
	{ "~", "%00" },
	{ "a~b~~", "a%00b%00%00" },
	{ "%00", "%2500" },
	{ "a%2500b%00", "a%252500b%2500" },
	{ "%~", "%%00" },
	{ "%0~", "%0%00" },
	{ "%25~", "%25%00" },
	{ "~0", "%000" },
	{ "%000", "%25000" },
	/* text that reads as a token, and text that nearly does */
	{ "%", "%25" },
	{ "%25", "%2525" },
	{ "a/%/b", "a/%25/b" },
	{ "a%", NULL },
	{ "%%", NULL },
	{ "%2", NULL },
	{ "%255", NULL },
	{ "100%", NULL },
	{ "foo%20bar", NULL },
	{ "%41", NULL },
	{ "%2F", NULL },
	{ "%2E", "%252E" },
	{ "%252E", "%25252E" },
	{ "%2E.", "%252E." },
	{ "%2E..", NULL },
	{ "%2e", NULL },
	{ "%\n", NULL },
	{ "%2E\n", NULL },
	{ "a%2E", NULL },
	/* the value of a directory */
	{ "%=", NULL },
	{ "%25=", NULL },
	{ "%=/%=", "%=/%25=" },
	{ "a/%=", "a/%25=" },
	{ "a/%=/b", "a/%25=/b" },
	{ "a/%25=", "a/%2525=" },
	{ "a/%==", NULL },
	{ "a/x%=", NULL },
	/* long names */
	{ "<255>", NULL },
	{ "<256>", "<253>%+/xxx" },
	{ "<508>/a", "<253>%+/<255>/a" },
	{ "<509>", "<253>%+/<253>%+/xxx" },
	{ "a/<300>/b", "a/<253>%+/<47>/b" },
	{ "<252>~", "<252>%00" },
	{ "<253>~", "<253>%+/%00" },
	{ "<252>~~", "<252>%%+/00%00" },
	{ "<251>%~~", "<251>%%%+/00%00" },
	/* names that look cut: themselves, unless a long one follows */
	{ "%+/%+/abc", NULL },
	{ "<253>%+", NULL },
	{ "<253>%+/a", NULL },
	{ "<253>%+/ab/abc", NULL },
	{ "<253>%+/", "<253>%+/%" },
	{ "<253>%+/.", "<253>%+/%+/%2E" },
	{ "<253>%+/abc", "<253>%+/%+/abc" },
	{ "<253>%+/%+", NULL },
	{ "<253>%+/%+/ab/abc", NULL },
	{ "<253>%+/%+/abc", "<253>%+/%+/%+/abc" },
	{ "<253>%+/%+/%+/abc", "<253>%+/%+/%+/%+/abc" },
	{ "<253>%+/%=", "<253>%+/%+/%25=" },
	{ "<253>%+/<300>", "<253>%+/%+/<253>%+/<47>" },
	{ "<253>%+/<253>%+/abc", "<253>%+/%+/<253>%+/%+/abc" },
	{ "<253>%+/%+/<253>%+", "<253>%+/%+/%+/<253>%+" },
	{ "<252>%+/abc", NULL },
	{ "<254>+/abc", NULL },
	{ "<254>%+", "<253>%+/x%+" },
	{ "<506>%+", "<253>%+/<253>%+" },
	{ "<506>%+/ab", "<253>%+/<253>%+/ab" },
	{ "<506>%+/abc", "<253>%+/<253>%+/%+/abc" },
	{ "<506>%+/%+/abc", "<253>%+/<253>%+/%+/%+/abc" },
	{ "<507>%+/abc", "<253>%+/<253>%+/x%+/abc" },
	{ "<256>/%+/abc", "<253>%+/xxx/%+/abc" },
};

static const struct pair colon_pairs[] = {
	{ "", "%" },
	{ "user:1:a/b", "user/1/a:b" },
	{ "a/b", "a:b" },
	{ "/", ":" },
	{ ":", "%/%" },
	{ "a::b", "a/%/b" },
	{ "session/0123456789:0123456789/0",
	  "session:0123456789/0123456789:0" },
	{ ".:..:./.", "%2E/%2E./.:." },
	{ ".ctl:x", "%2Ectl/x" },
	{ ".ctl/x", ".ctl:x" },
	{ "%=:%=", "%=/%25=" },
	{ "%/", "%:" },
	{ "<128>/<127>", "<128>:<124>%+/xxx" },
	{ "<253>%+:abc", "<253>%+/%+/abc" },
	{ "<253>%+/abc", "<253>%+/%+:abc" }, /* one segment of 259 bytes */
};

static void check_pair(const struct pair *pair, char sep)
{
	static char key_buf[TEXT_MAX], want_buf[TEXT_MAX], buf[PATH_ROOM];
	const char *text = pair->path ? pair->path : pair->key;
	struct span key, want, got;
	bool value = true;

	key = span_of(key_buf, expand(pair->key, key_buf));
	want = span_of(want_buf, expand(text, want_buf));
	got = encode(key, sep, buf);
	ck_assert_msg(span_eq(got, want), "%s: %s", pair->key, shown(got));
	ck_assert_int_eq(decode(want, sep, buf, &got, &value), 0);
	ck_assert_msg(span_eq(got, key), "%s: %s", text, shown(got));
	ck_assert(!value);
}

START_TEST(each_rule_maps_both_ways)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(slash_pairs); i++)
		check_pair(&slash_pairs[i], '/');
	for (i = 0; i < ARRAY_LEN(colon_pairs); i++)
		check_pair(&colon_pairs[i], ':');
}
END_TEST

START_TEST(no_key_is_the_null_pointer_of_length_0)
{
	char path[16];

	ck_assert_uint_eq(name_encode(span_of(NULL, 0), '/', path), 1);
	ck_assert_int_eq(path[0], '%');
	ck_assert_uint_eq(name_encode(span_of(NULL, 0), ':', path), 1);
	ck_assert_int_eq(path[0], '%');
}
END_TEST

START_TEST(the_value_token_gives_the_key_of_its_directory)
{
	static const struct pair values[] = {
		{ "a", "a/%=" },
		{ "a/b", "a/b/%=" },
		{ "", "%/%=" },
		{ "%=", "%=/%=" },
		{ "a/%=", "a/%25=/%=" },
		{ ".ctl", "%2Ectl/%=" },
		{ "<253>%+", "<253>%+/%=" },
		{ "<256>", "<253>%+/xxx/%=" },
		{ "<253>%+/%+", "<253>%+/%+/%=" },
	};
	static char buf[PATH_ROOM], path[TEXT_MAX], key[TEXT_MAX];
	struct span got, want;
	size_t i, len;
	bool value;

	for (i = 0; i < ARRAY_LEN(values); i++) {
		len = expand(values[i].path, path);
		want = span_of(key, expand(values[i].key, key));
		value = false;
		ck_assert_int_eq(
			decode(span_of(path, len), '/', buf, &got, &value), 0);
		ck_assert(value);
		ck_assert_msg(span_eq(got, want), "%s", values[i].path);
		/* who does not ask is not told */
		ck_assert_int_eq(
			decode(span_of(path, len), '/', buf, &got, NULL), 0);
		ck_assert(span_eq(got, want));
	}
}
END_TEST

START_TEST(what_is_no_path_is_refused)
{
	static const char *const bad[] = {
		"",
		"/",
		"a/",
		"/a",
		"a//b",
		".",
		"..",
		"./a",
		"a/.",
		"a/..",
		"a/../b",
		"~",
		"a~b",
		"aaaaaaaaa~",
		"a/%~",
		"<256>",
		"a/<256>",
		"%/<256>",
		".ctl",
		".ctl/a",
		".ctl/%=",
		"%=/%=/%=",
		"a/%=/b",
		"a/%=/%=",
		"/%=",
		"./%=",
		"../%=",
		"<253>%+/",
		"<253>%+//abc",
		"<253>%+/<256>",
		"<253>%+/a~c",
		"<254>%+",
		"<253>%+/<254>%+/abc",
		"<253>%+/%=/a",
		"<253>%+/..",
		"<253>%+/%+/%+//",
	};
	static char buf[PATH_ROOM], path[TEXT_MAX];
	struct span got;
	size_t i, len;
	bool value;

	for (i = 0; i < ARRAY_LEN(bad); i++) {
		len = expand(bad[i], path);
		ck_assert_msg(decode(span_of(path, len), '/', buf, &got,
				     &value) == -EINVAL,
			      "%s", bad[i]);
		ck_assert_msg(decode(span_of(path, len), ':', buf, &got,
				     &value) == -EINVAL,
			      "%s", bad[i]);
	}
}
END_TEST

static const char hostile[] = { '%', '2', '0', '5', 'E',
				'=', '+', '.', '/', '\0' };

/* The next string in the order by length; false after the last of @max. */
static bool next_string(char *text, size_t *len, int *digits, size_t max)
{
	size_t i;

	for (i = 0; i < *len; i++) {
		digits[i] = (digits[i] + 1) % (int)sizeof(hostile);
		text[i] = hostile[digits[i]];
		if (digits[i])
			return true;
	}
	if (*len == max)
		return false;
	digits[*len] = 0;
	text[(*len)++] = hostile[0];
	return true;
}

START_TEST(every_short_string_of_hostile_bytes)
{
	char text[6], swapped[6];
	int digits[6];
	size_t len = 0, i, n = 0;

	do {
		check_key(span_of(text, len), '/');
		check_path(span_of(text, len), '/');
		check_path(span_of(text, len), ':');
		for (i = 0; i < len; i++)
			swapped[i] = (char)(text[i] == '/' ? ':' : text[i]);
		check_key(span_of(text, len), ':');
		check_key(span_of(swapped, len), ':');
		n++;
	} while (next_string(text, &len, digits, 5));
	ck_assert_uint_eq(n, 111111);
}
END_TEST

struct short_path {
	unsigned char len;
	char text[16];
};

static int compare_short(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct short_path));
}

START_TEST(no_two_short_keys_share_a_path)
{
	static struct short_path all[111111];
	char text[6], path[64];
	size_t len = 0, n = 0, m;
	int digits[6];

	do {
		m = name_encode(span_of(text, len), '/', path);
		unit_check(m <= sizeof(all[n].text));
		all[n].len = (unsigned char)m;
		memcpy(all[n++].text, path, m);
	} while (next_string(text, &len, digits, 5));
	qsort(all, n, sizeof(all[0]), compare_short);
	while (--n)
		unit_check(compare_short(&all[n], &all[n - 1]));
}
END_TEST

static size_t add(char *text, size_t at, const char *s, size_t len)
{
	memcpy(text + at, s, len);
	return at + len;
}

/* Tokens, parts of tokens and bystanders, a few of them. */
static size_t random_short(struct unit_rng *rng, char *text)
{
	static const struct {
		char len;
		char text[6];
	} parts[] = {
		{ 1, "%" },    { 1, "%" },	{ 1, "2" },   { 1, "5" },
		{ 1, "0" },    { 1, "E" },	{ 1, "=" },   { 1, "+" },
		{ 1, "." },    { 1, "/" },	{ 1, "/" },   { 1, ":" },
		{ 1, "\0" },   { 1, "a" },	{ 1, "\n" },  { 1, "c" },
		{ 1, "t" },    { 1, "l" },	{ 2, "25" },  { 3, "%25" },
		{ 3, "%00" },  { 3, "%2E" },	{ 2, "%=" },  { 2, "%+" },
		{ 4, ".ctl" }, { 6, "%2Ectl" }, { 3, "/%=" }, { 2, "2E" },
	};
	size_t n = unit_below(rng, 12), at = 0, i;

	while (n--) {
		i = unit_below(rng, ARRAY_LEN(parts));
		at = add(text, at, parts[i].text, (size_t)parts[i].len);
	}
	return at;
}

/* Appends a segment, often of a length where something is about to change. */
static size_t random_segment(struct unit_rng *rng, char *text, size_t at)
{
	static const char *const ends[] = { "",	    "%+", "%25+", "%2525+",
					    "%+%+", "%",  "00",	  "%00",
					    "25",   ".",  "+" };
	static const size_t edges[] = { 1,   2,	  3,   4,   251, 253, 255,
					256, 504, 508, 509, 757, 761, 762 };
	static const char *const small[] = { "",   "%",	  "%+",	 "%+",
					     "%=", "ab",  "abc", ".",
					     "..", "%2E", ".ctl" };
	const char *s;
	size_t len, n;

	if (unit_below(rng, 2)) {
		s = small[unit_below(rng, ARRAY_LEN(small))];
		return add(text, at, s, strlen(s));
	}
	len = edges[unit_below(rng, ARRAY_LEN(edges))] + unit_below(rng, 4);
	s = ends[unit_below(rng, ARRAY_LEN(ends))];
	n = MIN(strlen(s), len);
	switch (unit_below(rng, 4)) {
	case 0: /* a long stuffed token */
		text[at] = '%';
		for (size_t i = 1; i < len; i++)
			text[at + i] = i % 2 ? '2' : '5';
		break;
	default:
		memset(text + at, 'x', len);
		if (unit_below(rng, 2)) /* makes the name grow by 2 */
			text[at + unit_below(rng, len)] = '\0';
	}
	memcpy(text + at + len - n, s, n);
	return at + len;
}

static size_t random_long(struct unit_rng *rng, char *text)
{
	size_t n = unit_range(rng, 1, 5), at = 0;

	while (n--) {
		at = random_segment(rng, text, at);
		if (n)
			text[at++] = unit_below(rng, 8) ? '/' : ':';
	}
	return at;
}

/* Components that are legal, of all kinds that the rules treat differently. */
static size_t random_path(struct unit_rng *rng, char *text)
{
	size_t n = unit_range(rng, 1, 6), at = 0, len;

	for (;;) {
		if (unit_below(rng, 3)) {
			len = random_short(rng, text + at);
		} else {
			len = unit_below(rng, 4) ? 255
						 : unit_range(rng, 250, 255);
			memset(text + at, 'x', len);
			if (unit_below(rng, 4))
				memcpy(text + at + len - 2, "%+", 2);
			if (unit_below(rng, 4) == 0)
				memcpy(text + at, "%25", 3);
		}
		for (size_t i = at; i < at + len; i++)
			if (text[i] == '/' || text[i] == '\0')
				text[i] = '+';
		at += len;
		if (--n == 0)
			return at;
		text[at++] = '/';
	}
}

START_TEST(random_keys_come_back)
{
	static char text[TEXT_MAX];
	struct unit_rng rng = unit_rng(1);
	size_t i, len;

	for (i = 0; i < RANDOM_SHORT; i++) {
		len = random_short(&rng, text);
		check_key(span_of(text, len), i % 2 ? '/' : ':');
	}
	for (i = 0; i < RANDOM_SHORT; i++) {
		len = unit_below(&rng, 24);
		unit_bytes(&rng, text, len);
		check_key(span_of(text, len), i % 2 ? '/' : ':');
	}
	for (i = 0; i < RANDOM_LONG; i++) {
		len = random_long(&rng, text);
		check_key(span_of(text, len), i % 2 ? '/' : ':');
	}
}
END_TEST

START_TEST(random_paths_come_back)
{
	static char text[TEXT_MAX];
	struct unit_rng rng = unit_rng(2);
	size_t i, len, legal = 0, n = 0;

	for (i = 0; legal < RANDOM_SHORT; i++) {
		len = random_path(&rng, text);
		legal += is_path(span_of(text, len));
		check_path(span_of(text, len), i % 2 ? '/' : ':');
	}
	for (n = 0; n < RANDOM_SHORT; n++) { /* most of them are none */
		len = random_short(&rng, text);
		check_path(span_of(text, len), n % 2 ? '/' : ':');
	}
	for (n = 0; n < RANDOM_LONG; n++) {
		len = random_long(&rng, text);
		check_path(span_of(text, len), n % 2 ? '/' : ':');
	}
}
END_TEST

START_TEST(a_key_lies_below_the_key_that_it_extends)
{
	static char text[TEXT_MAX], outer[PATH_ROOM], inner[PATH_ROOM];
	struct unit_rng rng = unit_rng(3);
	size_t i, len, all;
	struct span dir, path;

	for (i = 0; i < RANDOM_LONG; i++) {
		len = random_long(&rng, text);
		text[len] = '/';
		all = random_segment(&rng, text, len + 1);
		dir = encode(span_of(text, len), '/', outer);
		path = encode(span_of(text, all), '/', inner);
		unit_check(path.len > dir.len + 1);
		unit_check(!memcmp(inner, outer, dir.len));
		unit_check(inner[dir.len] == '/');
	}
}
END_TEST

START_TEST(the_bound_holds_for_keys_that_grow_most)
{
	static const char *const bytes = "\0/%:.";
	static char text[TEXT_MAX], path[PATH_ROOM];
	size_t len, i;

	for (i = 0; i < 5; i++) {
		memset(text, bytes[i], sizeof(text));
		for (len = 0; len < 2000; len++) {
			encode(span_of(text, len), '/', path);
			encode(span_of(text, len), ':', path);
		}
		encode(span_of(text, sizeof(text)), '/', path);
	}
	for (i = 0; i + 259 < sizeof(text); i += 259) { /* open and long */
		memset(text + i, 'x', 259);
		memcpy(text + i + 253, "%+/%%%/", 6);
	}
	for (len = 0; len < i; len++)
		encode(span_of(text, len), '/', path);
}
END_TEST

START_TEST(legal_names_are_those_of_posix)
{
	static const struct {
		const char *name;
		bool legal;
	} names[] = {
		{ "", false },	   { ".", false },     { "..", false },
		{ "...", true },   { "a", true },      { " ", true },
		{ "a/b", false },  { "/", false },     { "a~", false },
		{ "<255>", true }, { "<256>", false }, { "%=", true },
		{ ".ctl", true },  { "..a", true },    { "<255>~", false },
	};
	static char text[TEXT_MAX];
	size_t i, len;

	for (i = 0; i < ARRAY_LEN(names); i++) {
		len = expand(names[i].name, text);
		ck_assert_msg(name_is_legal(span_of(text, len)) ==
				      names[i].legal,
			      "%s", names[i].name);
	}
	ck_assert(!name_is_legal(span_of(NULL, 0)));
}
END_TEST

START_TEST(the_value_token_is_known)
{
	ck_assert(name_is_value(span_str("%=")));
	ck_assert(!name_is_value(span_str("%")));
	ck_assert(!name_is_value(span_str("%==")));
	ck_assert(!name_is_value(span_str("%25=")));
}
END_TEST

static struct span member_name(struct span member, char *name)
{
	size_t len;

	name[NAME_MAX_BYTES] = CANARY;
	len = name_encode_member(member, name);
	unit_check(name[NAME_MAX_BYTES] == CANARY);
	unit_check(name_is_legal(span_of(name, len)));
	return span_of(name, len);
}

START_TEST(members_are_segments_without_a_root)
{
	static const struct pair members[] = {
		{ "", "%" },
		{ "field", NULL },
		{ ".", "%2E" },
		{ "..", "%2E." },
		{ "a/b", "a%2Fb" },
		{ "/", "%2F" },
		{ "a~b", "a%00b" },
		{ "%2F", "%252F" },
		{ "%", "%25" },
		{ "%252F", "%25252F" },
		{ "%=", NULL },
		{ "%25=", NULL },
		{ ".ctl", NULL },
		{ "%2Ectl", NULL },
		{ "%2E", "%252E" },
		{ "a:b", NULL },
		{ "x%2Fy", "x%252Fy" },
		{ "%00", "%2500" },
		{ "<255>", NULL },
		{ "<252>/", "<252>%2F" },
		{ "<234>%+0123456789abcdef", NULL }, /* too short for a cut */
		{ "<235>%+0123456789abcdeF", NULL },
	};
	static char member[TEXT_MAX], want[TEXT_MAX], name[256];
	size_t i, m, n;
	struct span got;

	for (i = 0; i < ARRAY_LEN(members); i++) {
		m = expand(members[i].key, member);
		n = expand(members[i].path ? members[i].path : members[i].key,
			   want);
		got = member_name(span_of(member, m), name);
		ck_assert_msg(span_eq(got, span_of(want, n)), "%s: %s",
			      members[i].key, shown(got));
	}
}
END_TEST

START_TEST(long_members_end_in_their_hash)
{
	static const struct {
		const char *member;
		const char *start;
	} cuts[] = {
		{ "<256>", "<237>" },
		{ "<1000>", "<237>" },
		{ "<253>/", "<237>" },
		{ "<236>/<100>", "<236>" },
		{ "<235>/<100>", "<235>" },
		{ "<234>/<100>", "<234>%2F" },
		{ "<235>~~~~~~~~~~", "<235>" },
		{ "/<252>~", "%2F<234>" },
		/* short enough, but they read as a cut name */
		{ "<237>%+0123456789abcdef", "<237>" },
		{ "<235>%+0123456789abcdef", "<235>" },
	};
	static char member[TEXT_MAX], start[TEXT_MAX], name[256];
	char hash[32];
	struct span got;
	size_t i, m, n;

	for (i = 0; i < ARRAY_LEN(cuts); i++) {
		m = expand(cuts[i].member, member);
		n = expand(cuts[i].start, start);
		(void)snprintf(hash, sizeof(hash), "%%+%016" PRIx64,
			       (uint64_t)XXH3_64bits(member, m));
		memcpy(start + n, hash, 18);
		n += 18;
		got = member_name(span_of(member, m), name);
		ck_assert_msg(span_eq(got, span_of(start, n)), "%s: %s",
			      cuts[i].member, shown(got));
	}
}
END_TEST

/* The number of dots that a rest after '%' stands for; -1 for none of them. */
static int dots_of(const char *rest, size_t len)
{
	static const char *const whole[] = { "", "2E", "2E." };
	int i;

	for (i = 0; i < 3; i++)
		if (len == strlen(whole[i]) && !memcmp(rest, whole[i], len))
			return i;
	return -1;
}

/* Undoes what is not cut, by the rules' own words: one "25" less or a byte. */
static size_t member_of_name(const char *name, size_t len, char *member)
{
	size_t i, j, out = 0;
	int dots;

	for (i = 0; i < len; i++) {
		for (j = i + 1; j + 1 < len && !memcmp(name + j, "25", 2);)
			j += 2;
		dots = name[i] == '%' && i == 0 ? dots_of(name + j, len - j)
						: -1;
		if (dots >= 0 && j == 1) {
			memcpy(member, "..", 2);
			return (size_t)dots;
		}
		if (dots >= 0 || (name[i] == '%' && j > i + 1 && j + 1 < len &&
				  (!memcmp(name + j, "00", 2) ||
				   !memcmp(name + j, "2F", 2)))) {
			member[out++] = '%';
			i += 2;
		} else if (name[i] == '%' && j + 1 < len &&
			   !memcmp(name + j, "00", 2)) {
			member[out++] = '\0';
			i += 2;
		} else if (name[i] == '%' && j + 1 < len &&
			   !memcmp(name + j, "2F", 2)) {
			member[out++] = '/';
			i += 2;
		} else {
			member[out++] = name[i];
		}
	}
	return out;
}

START_TEST(names_of_members_differ)
{
	static char text[TEXT_MAX], back[TEXT_MAX], name[256];
	struct unit_rng rng = unit_rng(4);
	size_t i, len = 0, n;
	int digits[6];
	struct span got;

	do {
		got = member_name(span_of(text, len), name);
		n = member_of_name(got.ptr, got.len, back);
		unit_check_msg(span_eq(span_of(back, n), span_of(text, len)),
			       "%s", shown(got));
	} while (next_string(text, &len, digits, 5));
	for (i = 0; i < RANDOM_LONG; i++) {
		len = random_short(&rng, text);
		got = member_name(span_of(text, len), name);
		n = member_of_name(got.ptr, got.len, back);
		unit_check_msg(span_eq(span_of(back, n), span_of(text, len)),
			       "%s", shown(got));
		member_name(span_of(text, random_long(&rng, text)), name);
	}
}
END_TEST

static Suite *name_suite(void)
{
	Suite *s = suite_create("name");
	TCase *tc = tcase_create("rules");

	tcase_add_test(tc, each_rule_maps_both_ways);
	tcase_add_test(tc, no_key_is_the_null_pointer_of_length_0);
	tcase_add_test(tc, the_value_token_gives_the_key_of_its_directory);
	tcase_add_test(tc, what_is_no_path_is_refused);
	tcase_add_test(tc, legal_names_are_those_of_posix);
	tcase_add_test(tc, the_value_token_is_known);
	tcase_add_test(tc, members_are_segments_without_a_root);
	tcase_add_test(tc, long_members_end_in_their_hash);
	suite_add_tcase(s, tc);

	tc = tcase_create("properties");
	tcase_add_test(tc, every_short_string_of_hostile_bytes);
	tcase_add_test(tc, no_two_short_keys_share_a_path);
	tcase_add_test(tc, random_keys_come_back);
	tcase_add_test(tc, random_paths_come_back);
	tcase_add_test(tc, a_key_lies_below_the_key_that_it_extends);
	tcase_add_test(tc, the_bound_holds_for_keys_that_grow_most);
	tcase_add_test(tc, names_of_members_differ);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { name_suite, NULL };

	return unit_main(suites);
}
