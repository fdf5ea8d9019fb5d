/* SPDX-License-Identifier: MIT */

#include "persist/facts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/unit.h"

enum {
	ALL = STORE_FACT_MODE | STORE_FACT_UID | STORE_FACT_GID |
	      STORE_FACT_MTIME | STORE_FACT_ATIME | STORE_FACT_DIR |
	      STORE_FACT_SYMLINK
};

static void assert_prints(const struct store_facts *f, const char *want)
{
	char buf[FACTS_MAX_LEN + 1];
	size_t len = facts_print(f, buf);

	ck_assert_uint_lt(len, FACTS_MAX_LEN);
	buf[len] = '\0';
	ck_assert_str_eq(buf, want);
}

static void assert_equal(const struct store_facts *a,
			 const struct store_facts *b)
{
	ck_assert_uint_eq(a->mask, b->mask);
	if (a->mask & STORE_FACT_MODE)
		ck_assert_uint_eq(a->mode, b->mode);
	if (a->mask & STORE_FACT_UID)
		ck_assert_uint_eq(a->uid, b->uid);
	if (a->mask & STORE_FACT_GID)
		ck_assert_uint_eq(a->gid, b->gid);
	if (a->mask & STORE_FACT_MTIME)
		ck_assert_int_eq(a->mtime_ns, b->mtime_ns);
	if (a->mask & STORE_FACT_ATIME)
		ck_assert_int_eq(a->atime_ns, b->atime_ns);
}

static const struct {
	struct store_facts facts;
	const char *text;
} texts[] = {
	{ { .mask = STORE_FACT_MODE, .mode = 0600 }, "m600" },
	{ { .mask = STORE_FACT_MODE, .mode = 0 }, "m0" },
	{ { .mask = STORE_FACT_UID, .uid = UINT32_MAX }, "u4294967295" },
	{ { .mask = STORE_FACT_GID, .gid = 0 }, "g0" },
	{ { .mask = STORE_FACT_MTIME, .mtime_ns = 0 }, "t0.000000000" },
	{ { .mask = STORE_FACT_MTIME, .mtime_ns = -1 }, "t-1.999999999" },
	{ { .mask = STORE_FACT_MTIME, .mtime_ns = -500000000 },
	  "t-1.500000000" },
	{ { .mask = STORE_FACT_MTIME, .mtime_ns = -1000000000 },
	  "t-1.000000000" },
	{ { .mask = STORE_FACT_MTIME, .mtime_ns = INT64_MAX },
	  "t9223372036.854775807" },
	{ { .mask = STORE_FACT_ATIME, .atime_ns = INT64_MIN },
	  "a-9223372037.145224192" },
	{ { .mask = STORE_FACT_DIR }, "d" },
	{ { .mask = STORE_FACT_SYMLINK }, "l" },
	{ { .mask = ALL,
	    .mode = 07777,
	    .uid = 1,
	    .gid = 2,
	    .mtime_ns = 3,
	    .atime_ns = 4 },
	  "m7777 u1 g2 t0.000000003 a0.000000004 d l" },
};

START_TEST(facts_print_as_specified_and_parse_back)
{
	struct store_facts got;

	assert_prints(&texts[_i].facts, texts[_i].text);
	ck_assert_int_eq(facts_parse(span_str(texts[_i].text), &got), 0);
	assert_equal(&got, &texts[_i].facts);
}
END_TEST

START_TEST(no_facts_are_no_text)
{
	struct store_facts f = { .mask = 0, .mode = 0600 };

	assert_prints(&f, "");
	ck_assert_int_eq(facts_parse(span_str(""), &f), 0);
	ck_assert_uint_eq(f.mask, 0);
}
END_TEST

START_TEST(random_facts_survive_print_and_parse)
{
	struct unit_rng rng = unit_rng(1);

	for (int i = 0; i < 200000; i++) {
		struct store_facts f, got;
		char buf[FACTS_MAX_LEN];
		size_t len;

		unit_bytes(&rng, &f, sizeof(f));
		f.mask &= ALL;
		f.mode &= 07777;
		len = facts_print(&f, buf);
		unit_check(facts_parse(span_of(buf, len), &got) == 0);
		unit_check(got.mask == f.mask);
		unit_check(!(f.mask & STORE_FACT_MTIME) ||
			   got.mtime_ns == f.mtime_ns);
		unit_check(!(f.mask & STORE_FACT_ATIME) ||
			   got.atime_ns == f.atime_ns);
		unit_check(!(f.mask & STORE_FACT_UID) || got.uid == f.uid);
		unit_check(!(f.mask & STORE_FACT_MODE) || got.mode == f.mode);
	}
}
END_TEST

START_TEST(unknown_words_are_ignored)
{
	struct store_facts f;

	ck_assert_int_eq(facts_parse(span_str("x1 m644 Z yy:z"), &f), 0);
	ck_assert_uint_eq(f.mask, STORE_FACT_MODE);
	ck_assert_uint_eq(f.mode, 0644);
}
END_TEST

static const char *const malformed[] = {
	"m",
	"m8",
	"m10000",
	"m644 ",
	" m644",
	"m644  d",
	"m644 m644",
	"u-1",
	"u4294967296",
	"u1x",
	"g",
	"dd",
	"link",
	"t1",
	"t1.",
	"t.000000000",
	"t1.00000000",
	"t1.0000000000",
	"t--1.000000000",
	"t1.00000000x",
	"t9223372036.854775808",
	"a-9223372037.145224191",
	"t99999999999999999999.000000000",
	"t+1.000000000",
};

START_TEST(malformed_facts_are_refused)
{
	struct store_facts f = { .mask = 77 };

	ck_assert_int_eq(facts_parse(span_str(malformed[_i]), &f), -EBADMSG);
	ck_assert_uint_eq(f.mask, 77); /* set on success only */
}
END_TEST

START_TEST(keys_of_the_hash_are_recognised)
{
	char buf[FACTS_KEY_MAX];

	ck_assert(span_eq(facts_key_print(0, buf), span_str("__keyfs__")));
	ck_assert(span_eq(facts_key_print(12, buf), span_str("__keyfs__12")));
	ck_assert(facts_key_matches(facts_key_print(UINT32_MAX, buf)));
	ck_assert(facts_key_matches(span_str("__keyfs__")));
	ck_assert(!facts_key_matches(span_str("__keyfs_")));
	ck_assert(!facts_key_matches(span_str("__keyfs__x")));
	ck_assert(!facts_key_matches(span_str("")));
}
END_TEST

static const struct {
	const char *value;
	int result;
	char sep;
} magics[] = {
	{ "keyfs 1 sep=/", 0, '/' },
	{ "keyfs 1 sep=:", 0, ':' },
	{ "keyfs 1 sep=: more=1", 0, ':' },
	{ "keyfs 1 sep=;", -ENOENT, 0 },
	{ "keyfs 1 sep=", -ENOENT, 0 },
	{ "keyfs 1 sep=//", -ENOENT, 0 },
	{ "keyfs 1", -ENOENT, 0 },
	{ "keyfs 2 sep=/", -ENOTSUP, 0 },
	{ "keyfs 10", -ENOTSUP, 0 },
	{ "keyfs x", -ENOENT, 0 },
	{ "", -ENOENT, 0 },
};

START_TEST(mark_and_separator_are_recognised)
{
	char sep = 0;

	ck_assert_int_eq(facts_magic_parse(span_str(magics[_i].value), &sep),
			 magics[_i].result);
	ck_assert_int_eq(sep, magics[_i].sep);
}
END_TEST

START_TEST(a_hash_is_needed_for_facts_or_another_separator)
{
	struct store_facts f = { .mask = STORE_FACT_MODE, .mode = 0600 };
	struct span field, value;
	struct facts_hash h;
	struct mem mem;
	size_t pos = 0;

	mem_init(&mem);
	facts_hash_init(&h, &mem, '/');
	ck_assert_uint_eq(facts_hash_count(&h), 0);
	ck_assert(!facts_hash_next(&h, &pos, &field, &value));
	ck_assert_int_eq(facts_hash_add(&h, span_str("a"),
					&(struct store_facts){ .mask = 0 }),
			 0);
	ck_assert_uint_eq(facts_hash_count(&h), 0);
	ck_assert_int_eq(facts_hash_add(&h, span_str("a"), &f), 0);
	ck_assert_uint_eq(facts_hash_count(&h), 2);
	facts_hash_fini(&h);

	facts_hash_init(&h, &mem, ':');
	ck_assert_uint_eq(facts_hash_count(&h), 1);
	pos = 0;
	ck_assert(facts_hash_next(&h, &pos, &field, &value));
	ck_assert(span_eq(field, span_str("v")));
	ck_assert(span_eq(value, span_str("keyfs 1 sep=:")));
	ck_assert(!facts_hash_next(&h, &pos, &field, &value));
	facts_hash_fini(&h);
	ck_assert_uint_eq(mem_used(&mem), 0);
}
END_TEST

START_TEST(fields_come_back_as_they_were_added)
{
	enum {
		MANY = 3000
	};
	struct span field, value;
	struct facts_hash h;
	struct mem mem;
	size_t pos = 0;
	char text[32];

	mem_init(&mem);
	facts_hash_init(&h, &mem, '/');
	for (uint32_t i = 0; i < MANY; i++) {
		struct store_facts f = { .mask = STORE_FACT_UID, .uid = i };
		int len = i ? snprintf(text, sizeof(text), "d/%u", i) : 0;

		ck_assert_int_eq(
			facts_hash_add(&h, span_of(text, (size_t)len), &f), 0);
	}
	ck_assert(facts_hash_next(&h, &pos, &field, &value));
	for (uint32_t i = 0; i < MANY; i++) {
		ck_assert(facts_hash_next(&h, &pos, &field, &value));
		(void)snprintf(text, sizeof(text), i ? "/d/%u" : "/", i);
		ck_assert(span_eq(field, span_str(text)));
		(void)snprintf(text, sizeof(text), "u%u", i);
		ck_assert(span_eq(value, span_str(text)));
	}
	ck_assert(!facts_hash_next(&h, &pos, &field, &value));
	facts_hash_fini(&h);
	ck_assert_uint_eq(mem_used(&mem), 0);
}
END_TEST

START_TEST(without_memory_nothing_is_added)
{
	struct store_facts f = { .mask = STORE_FACT_DIR };
	struct facts_hash h;
	struct mem mem;

	mem_init(&mem);
	facts_hash_init(&h, &mem, '/');
	mem.fail_after = 0;
	ck_assert_int_eq(facts_hash_add(&h, span_str("a"), &f), -ENOMEM);
	ck_assert_uint_eq(facts_hash_count(&h), 0);
	facts_hash_fini(&h);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("facts");
	TCase *tc = tcase_create("text");

	tcase_add_loop_test(tc, facts_print_as_specified_and_parse_back, 0,
			    (int)ARRAY_LEN(texts));
	tcase_add_test(tc, no_facts_are_no_text);
	tcase_add_test(tc, random_facts_survive_print_and_parse);
	tcase_add_test(tc, unknown_words_are_ignored);
	tcase_add_loop_test(tc, malformed_facts_are_refused, 0,
			    (int)ARRAY_LEN(malformed));
	tcase_add_test(tc, keys_of_the_hash_are_recognised);
	tcase_add_loop_test(tc, mark_and_separator_are_recognised, 0,
			    (int)ARRAY_LEN(magics));
	suite_add_tcase(s, tc);

	tc = tcase_create("hash");
	tcase_add_test(tc, a_hash_is_needed_for_facts_or_another_separator);
	tcase_add_test(tc, fields_come_back_as_they_were_added);
	tcase_add_test(tc, without_memory_nothing_is_added);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { suite, NULL };

	return unit_main(suites);
}
