/* SPDX-License-Identifier: MIT */

/* Decoding payloads by themselves; whole dumps are in test_rdb_read.c. */

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "persist/compact.h"
#include "persist/rdb.h"
#include "tests/lib/unit.h"

#define BYTES(s) span_of(s, sizeof(s) - 1)

/* --- compact forms ---------------------------------------------------- */

/* All elements of a blob, each followed by a comma; or why it is damaged. */
static const char *elements(enum compact_form form, struct span blob)
{
	static char text[4096];
	struct compact_item item;
	struct compact c;
	size_t len = 0;
	int r = compact_init(&c, form, blob);

	while (r == 0 && (r = compact_next(&c, &item)) > 0) {
		struct span s = compact_text(&item);

		ck_assert_uint_lt(len + s.len + 2, sizeof(text));
		if (s.len)
			memcpy(text + len, s.ptr, s.len);
		len += s.len;
		text[len++] = ',';
		r = 0;
	}
	text[len] = '\0';
	if (r < 0) {
		ck_assert_int_eq(r, -EBADMSG);
		ck_assert_ptr_nonnull(c.why);
		return c.why;
	}
	return text;
}

START_TEST(listpack_entries_of_every_encoding_are_read)
{
	/* As a redis-server wrote them: "a", 12, 300, -70000, and made ones. */
	static const char lp[] = "\x33\0\0\0\x08\0"
				 "\x81"
				 "a\x02"
				 "\x0c\x01"
				 "\xc1\x2c\x02"
				 "\xf2\x90\xee\xfe\x04"
				 "\xe0\x02hi\x04"
				 "\xf0\x01\0\0\0x\x06"
				 "\xf1\x00\x80\x03"
				 "\xf4\xff\xff\xff\xff\xff\xff\xff\x7f\x09"
				 "\xff";
	size_t len = sizeof(lp) - 1;
	char blob[sizeof(lp)];

	memcpy(blob, lp, sizeof(lp));
	blob[0] = (char)len;
	ck_assert_str_eq(elements(COMPACT_LISTPACK, span_of(blob, len)),
			 "a,12,300,-70000,hi,x,-32768,9223372036854775807,");
}
END_TEST

START_TEST(an_unknown_count_is_found_by_walking)
{
	ck_assert_str_eq(elements(COMPACT_LISTPACK,
				  BYTES("\x09\0\0\0\xff\xff\x05\x01\xff")),
			 "5,");
	ck_assert_str_eq(
		elements(COMPACT_ZIPLIST, BYTES("\x0d\0\0\0\x0a\0\0\0\xff\xff"
						"\0\xf3\xff")),
		"2,");
	ck_assert_str_eq(elements(COMPACT_ZIPMAP, BYTES("\xfe\x01"
							"a\x01\x02"
							"b..\xff")),
			 "a,b,");
}
END_TEST

START_TEST(a_ziplist_may_keep_a_long_back_length)
{
	ck_assert_str_eq(
		elements(COMPACT_ZIPLIST, BYTES("\x15\0\0\0\x0d\0\0\0\x02\0"
						"\0\x01"
						"a\xfe\x03\0\0\0\xfe\x80\xff")),
		"a,-128,");
}
END_TEST

START_TEST(empty_blobs_have_no_elements)
{
	ck_assert_str_eq(
		elements(COMPACT_LISTPACK, BYTES("\x07\0\0\0\0\0\xff")), "");
	ck_assert_str_eq(elements(COMPACT_ZIPLIST,
				  BYTES("\x0b\0\0\0\x0a\0\0\0\0\0\xff")),
			 "");
	ck_assert_str_eq(elements(COMPACT_INTSET, BYTES("\x02\0\0\0\0\0\0\0")),
			 "");
	ck_assert_str_eq(elements(COMPACT_ZIPMAP, BYTES("\0\xff")), "");
}
END_TEST

START_TEST(intsets_are_signed_and_ascending)
{
	ck_assert_str_eq(
		elements(COMPACT_INTSET, BYTES("\x02\0\0\0\x03\0\0\0"
					       "\xff\xff\x02\0\x2c\x01")),
		"-1,2,300,");
	ck_assert_str_eq(elements(COMPACT_INTSET, BYTES("\x02\0\0\0\x02\0\0\0"
							"\x02\0\x01\0")),
			 "is not in ascending order");
}
END_TEST

/* Whatever the bytes are, a walk ends and stays inside. */
START_TEST(random_blobs_are_walked_within_their_bounds)
{
	struct unit_rng rng = unit_rng(2);
	struct compact_item item;
	struct compact c;

	for (int i = 0; i < 200000; i++) {
		size_t len = (size_t)unit_range(&rng, 0, 40);
		uint8_t *p = malloc(len ? len : 1);
		unsigned n = 0;

		unit_bytes(&rng, p, len);
		if (len > 7) { /* past the header, mostly */
			p[len - 1] = 0xff;
			p[0] = (uint8_t)len;
			p[1] = p[2] = p[3] = 0;
			p[4] = p[5] = 0xff;
		}
		if (compact_init(&c, (enum compact_form)(i % 4),
				 span_of(p, len)) == 0) {
			while (compact_next(&c, &item) > 0) {
				unit_check(compact_text(&item).len <= 20 ||
					   !item.is_int);
				unit_check(++n <= len);
			}
		}
		free(p);
	}
}
END_TEST

/* --- members ---------------------------------------------------------- */

struct seen {
	char text[512];
	size_t len;
	int stop_after; /* elements; 0: never */
};

static int see(void *arg, struct span a, struct span b, double score)
{
	struct seen *s = arg;

	s->len += (size_t)snprintf(s->text + s->len, sizeof(s->text) - s->len,
				   "%.*s|%.*s|%.17g,", (int)a.len,
				   (const char *)a.ptr, (int)b.len,
				   b.len ? (const char *)b.ptr : "", score);
	ck_assert_uint_lt(s->len, sizeof(s->text));
	return s->stop_after && --s->stop_after == 0 ? 42 : 0;
}

static const struct {
	uint8_t type;
	struct span payload;
	const char *want;
} payloads[] = {
	{ RDB_TYPE_LIST,
	  { "\x02\x01"
	    "a\xc0\xfb",
	    5 },
	  "a||0,-5||0," },
	{ RDB_TYPE_SET, { "\0", 1 }, "" },
	{ RDB_TYPE_ZSET,
	  { "\x03\x01"
	    "a\x03"
	    "1.5\x01"
	    "b\xfe\x01"
	    "c\xff",
	    13 },
	  "a||1.5,b||inf,c||-inf," },
	{ RDB_TYPE_ZSET_2,
	  { "\x01\x01"
	    "a\0\0\0\0\0\0\xf8\x3f",
	    11 },
	  "a||1.5," },
	{ RDB_TYPE_HASH,
	  { "\x02\x01"
	    "f\x01v\xc1\x2c\x01\xc1\xff\xff",
	    11 },
	  "f|v|0,300|-1|0," },
	{ RDB_TYPE_HASH,
	  { "\x01\xc3\x04\x09\0a\xc0\0\x01v", 10 },
	  "aaaaaaaaa|v|0," },
	{ RDB_TYPE_ZSET_LISTPACK,
	  { "\x0c\x0c\0\0\0\x02\0\x81"
	    "a\x02\x07\x01\xff",
	    13 },
	  "a||7," },
	{ RDB_TYPE_LIST_QUICKLIST_2,
	  { "\x02\x01\x02pl\x02\x09\x09\0\0\0\x01\0\x05\x01\xff", 16 },
	  "pl||0,5||0," },
	/* Damaged: too little, too much, another kind. */
	{ RDB_TYPE_LIST,
	  { "\x02\x01"
	    "a",
	    3 },
	  NULL },
	{ RDB_TYPE_LIST,
	  { "\x01\x01"
	    "ab",
	    4 },
	  NULL },
	{ RDB_TYPE_LIST, { "", 0 }, NULL },
	{ RDB_TYPE_HASH,
	  { "\x01\x01"
	    "f",
	    3 },
	  NULL },
};

START_TEST(payloads_decode_or_are_damaged)
{
	struct seen s = { .len = 0 };
	int r = rdb_members(payloads[_i].type, payloads[_i].payload, see, &s);

	if (payloads[_i].want) {
		ck_assert_int_eq(r, 0);
		ck_assert_str_eq(s.text, payloads[_i].want);
	} else {
		ck_assert_int_eq(r, -EBADMSG);
	}
}
END_TEST

START_TEST(other_kinds_are_not_decoded)
{
	struct seen s = { .len = 0 };

	ck_assert_int_eq(rdb_members(RDB_TYPE_STRING,
				     BYTES("\x01"
					   "a"),
				     see, &s),
			 -ENOTSUP);
	ck_assert_int_eq(
		rdb_members(RDB_TYPE_STREAM_LISTPACKS, BYTES("\0"), see, &s),
		-ENOTSUP);
	ck_assert_int_eq(rdb_members(200, BYTES("\0"), see, &s), -ENOTSUP);
}
END_TEST

START_TEST(what_the_callback_says_ends_the_walk)
{
	struct seen s = { .stop_after = 1 };

	ck_assert_int_eq(rdb_members(RDB_TYPE_LIST,
				     BYTES("\x02\x01"
					   "a\x01"
					   "b"),
				     see, &s),
			 42);
	ck_assert_str_eq(s.text, "a||0,");
}
END_TEST

START_TEST(kinds_have_redis_names)
{
	ck_assert_str_eq(rdb_kind_name(rdb_kind_of(RDB_TYPE_HASH_ZIPMAP)),
			 "hash");
	ck_assert_str_eq(rdb_kind_name(rdb_kind_of(RDB_TYPE_SET_INTSET)),
			 "set");
	ck_assert_str_eq(
		rdb_kind_name(rdb_kind_of(RDB_TYPE_STREAM_LISTPACKS_3)),
		"stream");
	ck_assert_int_eq(rdb_kind_of(RDB_TYPE_MODULE_PRE_GA), RDB_KIND_UNKNOWN);
	ck_assert_int_eq(rdb_kind_of(8), RDB_KIND_UNKNOWN);
	for (int i = 0; i < 256; i++)
		ck_assert_ptr_nonnull(rdb_kind_name(rdb_kind_of((uint8_t)i)));
}
END_TEST

/* --- directories ------------------------------------------------------ */

static struct store *st;

static void setup(void)
{
	const struct store_options o = { .sep = '/', .max_value = INT64_MAX };

	ck_assert_int_eq(store_new(&o, &st), 0);
}

static void teardown(void)
{
	store_free(st);
}

static uint64_t put(uint8_t type, struct span payload)
{
	struct store_item item = {
		.type = STORE_TYPED, .rdb_type = type, .idle_s = -1, .freq = -1
	};
	uint64_t ino;

	ck_assert_int_eq(
		value_new(store_mem(st), payload.ptr, payload.len, &item.value),
		0);
	ck_assert_int_eq(store_put(st, 0, span_str("k"), &item, &ino), 0);
	return ino;
}

static bool list_entry(void *arg, struct span name,
		       const struct store_attr *attr, uint64_t cookie)
{
	char *text = arg;

	(void)cookie;
	if (attr->type != STORE_MEMBER)
		return true; /* "." and ".." */
	(void)sprintf(text + strlen(text), "%.*s:%u,", (int)name.len,
		      (const char *)name.ptr, (unsigned)attr->size);
	return true;
}

static const char *listing(uint64_t ino)
{
	static char text[512];

	text[0] = '\0';
	ck_assert_int_eq(store_readdir(st, ino, 0, false, list_entry, text), 0);
	return text;
}

static void assert_content(uint64_t dir, const char *name, const char *want)
{
	struct store_attr attr;
	struct store_range r;

	ck_assert_int_eq(store_lookup(st, dir, span_str(name), &attr), 0);
	ck_assert_int_eq(store_read(st, attr.ino, 0, 4096, &r), 0);
	ck_assert_uint_eq(r.len, strlen(want));
	if (r.len)
		ck_assert_mem_eq(r.iov[0].iov_base, want, r.len);
	store_range_put(st, &r);
	store_forget(st, attr.ino, 1);
}

START_TEST(a_hash_has_a_file_per_field)
{
	uint64_t ino = put(RDB_TYPE_HASH, BYTES("\x03\x01"
						"f\x01v\0\x02"
						"ab"
						"\x03x/y\0"));

	ck_assert_int_eq(rdb_members_fill(st, ino), 0);
	ck_assert_str_eq(listing(ino), "f:1,%:2,x%2Fy:0,");
	assert_content(ino, "f", "v");
	assert_content(ino, "%", "ab");
	ck_assert_int_eq(rdb_members_fill(st, ino), 0); /* again: harmless */
	ck_assert_int_eq(store_check(st), 0);
}
END_TEST

START_TEST(a_set_has_an_empty_file_per_member)
{
	uint64_t ino = put(RDB_TYPE_SET_INTSET,
			   BYTES("\x0c\x02\0\0\0\x02\0\0\0\xff\xff\x07\0"));

	ck_assert_int_eq(rdb_members_fill(st, ino), 0);
	ck_assert_str_eq(listing(ino), "-1:0,7:0,");
}
END_TEST

START_TEST(a_sorted_set_has_a_file_with_the_score)
{
	uint64_t ino = put(RDB_TYPE_ZSET, BYTES("\x03\x01"
						"a\x03"
						"1.5\x01"
						"b\xfe\x01"
						"c\x03"
						"0.1"));

	ck_assert_int_eq(rdb_members_fill(st, ino), 0);
	assert_content(ino, "a", "1.5\n");
	assert_content(ino, "b", "inf\n");
	assert_content(ino, "c", "0.10000000000000001\n");
}
END_TEST

START_TEST(a_list_has_numbered_files)
{
	uint64_t ino = put(RDB_TYPE_LIST, BYTES("\x03\x01x\x01x\xc0\x07"));

	ck_assert_int_eq(rdb_members_fill(st, ino), 0);
	ck_assert_str_eq(listing(ino), "0:1,1:1,2:1,");
	assert_content(ino, "2", "7");
}
END_TEST

START_TEST(a_member_that_is_there_twice_is_damage)
{
	uint64_t ino = put(RDB_TYPE_SET, BYTES("\x02\x01x\x01x"));
	struct store_attr attr;

	ck_assert_int_eq(rdb_members_fill(st, ino), -EBADMSG);
	ck_assert_int_eq(store_lookup(st, ino, span_str("x"), &attr), -EAGAIN);
}
END_TEST

START_TEST(filling_fails_cleanly_without_memory)
{
	uint64_t ino = put(RDB_TYPE_HASH, BYTES("\x02\x01"
						"f\x01v\x01g\x01w"));
	int r = -ENOMEM;

	for (long n = 0; r == -ENOMEM; n++) {
		store_mem(st)->fail_after = n;
		r = rdb_members_fill(st, ino);
		store_mem(st)->fail_after = -1;
		ck_assert_int_eq(store_check(st), 0);
	}
	ck_assert_int_eq(r, 0);
	ck_assert_str_eq(listing(ino), "f:1,g:1,");
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("rdb_members");
	TCase *tc = tcase_create("compact");

	tcase_add_test(tc, listpack_entries_of_every_encoding_are_read);
	tcase_add_test(tc, an_unknown_count_is_found_by_walking);
	tcase_add_test(tc, a_ziplist_may_keep_a_long_back_length);
	tcase_add_test(tc, empty_blobs_have_no_elements);
	tcase_add_test(tc, intsets_are_signed_and_ascending);
	tcase_add_test(tc, random_blobs_are_walked_within_their_bounds);
	suite_add_tcase(s, tc);

	tc = tcase_create("payload");
	tcase_add_loop_test(tc, payloads_decode_or_are_damaged, 0,
			    (int)ARRAY_LEN(payloads));
	tcase_add_test(tc, other_kinds_are_not_decoded);
	tcase_add_test(tc, what_the_callback_says_ends_the_walk);
	tcase_add_test(tc, kinds_have_redis_names);
	suite_add_tcase(s, tc);

	tc = tcase_create("directory");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_hash_has_a_file_per_field);
	tcase_add_test(tc, a_set_has_an_empty_file_per_member);
	tcase_add_test(tc, a_sorted_set_has_a_file_with_the_score);
	tcase_add_test(tc, a_list_has_numbered_files);
	tcase_add_test(tc, a_member_that_is_there_twice_is_damage);
	tcase_add_test(tc, filling_fails_cleanly_without_memory);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { suite, NULL };

	return unit_main(suites);
}
