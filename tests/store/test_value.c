/* SPDX-License-Identifier: MIT */

/*
 * Values against plain arrays of bytes. A slot is a value and the array that
 * it must equal; the random test has several that share values with each
 * other, so that a write which another reference can see shows. The account of
 * `struct mem` tells leaks (it must end at 0), tells what an operation costs,
 * and lets requests fail.
 */

#include "store/value.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/unit.h"

#define CHUNK ((size_t)VALUE_CHUNK)

enum {
	MODEL_MAX = 6 * VALUE_CHUNK,
	N_SLOTS = 4,
	N_SMALL = 40000, /* random operations on small and on large values */
	N_LARGE = 40000,
};

struct slot {
	struct value *v;
	size_t size;
	uint8_t bytes[MODEL_MAX];
};

static struct mem mem;
static struct slot slots[N_SLOTS];
static uint8_t noise[MODEL_MAX];

static const size_t edges[] = {
	1,
	7,
	8,
	9,
	4096,
	VALUE_FLAT_MAX - 1,
	VALUE_FLAT_MAX,
	VALUE_FLAT_MAX + 1,
	VALUE_CHUNK - 1,
	VALUE_CHUNK,
	VALUE_CHUNK + 1,
	2 * CHUNK - 1,
	2 * CHUNK,
	3 * CHUNK + 1,
	5 * CHUNK,
};

static void setup(void)
{
	struct unit_rng rng = unit_rng(10);

	mem_init(&mem);
	memset(slots, 0, sizeof(slots));
	unit_bytes(&rng, noise, sizeof(noise));
}

static void teardown(void)
{
	for (size_t i = 0; i < N_SLOTS; i++)
		value_unref(&mem, slots[i].v);
	ck_assert_uint_eq(mem_used(&mem), 0);
}

/* Lets @n requests for memory succeed and makes the next one fail. */
static void plan_failure(long n)
{
	atomic_store(&mem.fail_after, n);
}

/* Ends that. Return: true if the failure has happened. */
static bool end_failure(void)
{
	return atomic_exchange(&mem.fail_after, -1) < 0;
}

static void check_slot(const struct slot *s)
{
	static uint8_t back[MODEL_MAX + 1];
	size_t n;

	unit_check(value_size(s->v) == s->size);
	back[s->size] = 0x5a;
	n = value_read(s->v, 0, back, sizeof(back));
	unit_check(n == s->size);
	unit_check(!memcmp(back, s->bytes, n));
	unit_check(back[s->size] == 0x5a);
}

/* Each does the same to the value and to its model, which stays as it is if
 * the value says that nothing changed. */

static int slot_set(struct slot *s, const void *data, size_t len)
{
	struct value *v = NULL;
	int r = value_new(&mem, data, len, &v);

	if (r < 0) {
		unit_check(!v);
		return r;
	}
	value_unref(&mem, s->v);
	s->v = v;
	s->size = len;
	if (data)
		memcpy(s->bytes, data, len);
	else
		memset(s->bytes, 0, len);
	return 0;
}

static int slot_write(struct slot *s, size_t off, const void *data, size_t len)
{
	int r = value_write(&mem, &s->v, off, data, len);

	if (r < 0 || len == 0)
		return r;
	if (off > s->size)
		memset(s->bytes + s->size, 0, off - s->size);
	if (data)
		memcpy(s->bytes + off, data, len);
	else
		memset(s->bytes + off, 0, len);
	s->size = MAX(s->size, off + len);
	return 0;
}

static int slot_append(struct slot *s, const void *data, size_t len)
{
	int r = value_append(&mem, &s->v, data, len);

	if (r < 0)
		return r;
	memcpy(s->bytes + s->size, data, len);
	s->size += len;
	return 0;
}

static int slot_truncate(struct slot *s, size_t size)
{
	int r = value_truncate(&mem, &s->v, size);

	if (r < 0)
		return r;
	if (size > s->size)
		memset(s->bytes + s->size, 0, size - s->size);
	s->size = size;
	return 0;
}

static void slot_share(struct slot *to, const struct slot *from)
{
	struct value *v = value_ref(from->v);

	unit_check(v == from->v);
	value_unref(&mem, to->v);
	to->v = v;
	to->size = from->size;
	memcpy(to->bytes, from->bytes, from->size);
}

START_TEST(null_is_the_empty_value)
{
	struct value *v = (struct value *)&mem;
	struct iovec iov;
	char c;

	ck_assert_int_eq(value_new(&mem, "x", 0, &v), 0);
	ck_assert_ptr_null(v);
	ck_assert_uint_eq(value_size(NULL), 0);
	ck_assert_uint_eq(value_memory(NULL), 0);
	ck_assert_int_eq(value_iov(NULL, 0, 1, &iov, 1), 0);
	ck_assert_uint_eq(value_read(NULL, 0, &c, 1), 0);
	ck_assert_ptr_null(value_ref(NULL));
	value_unref(&mem, NULL);
	ck_assert_int_eq(value_write(&mem, &v, 1 << 20, "x", 0), 0);
	ck_assert_int_eq(value_append(&mem, &v, NULL, 0), 0);
	ck_assert_int_eq(value_truncate(&mem, &v, 0), 0);
	ck_assert_ptr_null(v);
	ck_assert_int_eq(value_append(&mem, &v, "x", 1), 0);
	ck_assert_int_eq(value_truncate(&mem, &v, 0), 0);
	ck_assert_ptr_null(v);
}
END_TEST

START_TEST(each_size_changes_into_each_other)
{
	struct slot *s = slots;
	size_t i, j;

	for (i = 0; i < ARRAY_LEN(edges); i++) {
		for (j = 0; j < ARRAY_LEN(edges); j++) {
			ck_assert_int_eq(slot_set(s, noise, edges[i]), 0);
			check_slot(s);
			ck_assert_int_eq(slot_truncate(s, edges[j]), 0);
			check_slot(s);
			/* the bytes that were cut do not come back */
			ck_assert_int_eq(slot_truncate(s, MODEL_MAX - 1), 0);
			check_slot(s);
			ck_assert_int_eq(slot_write(s, edges[j], "x", 1), 0);
			check_slot(s);
		}
	}
}
END_TEST

START_TEST(a_shared_value_keeps_its_bytes)
{
	struct slot *a = &slots[0], *b = &slots[1], *c = &slots[2];
	size_t i, j;

	for (i = 0; i < ARRAY_LEN(edges); i++) {
		for (j = 0; j < ARRAY_LEN(edges); j++) {
			ck_assert_int_eq(slot_set(a, noise, edges[i]), 0);
			slot_share(b, a);
			slot_share(c, a);
			ck_assert_int_eq(slot_write(b, edges[j] - 1, "x", 1),
					 0);
			ck_assert_int_eq(slot_truncate(c, edges[j]), 0);
			check_slot(a);
			check_slot(b);
			check_slot(c);
			slot_share(c, b);
			ck_assert_int_eq(slot_append(b, "yz", 2), 0);
			check_slot(b);
			check_slot(c);
		}
	}
}
END_TEST

START_TEST(a_hole_costs_next_to_nothing)
{
	const uint64_t gib = 1 << 30;
	struct value *v = NULL;
	char buf[8], zero[8] = { 0 };
	size_t before;

	ck_assert_int_eq(value_new(&mem, NULL, gib, &v), 0);
	ck_assert_uint_eq(value_size(v), gib);
	ck_assert_uint_lt(value_memory(v), gib / 1000);
	ck_assert_uint_lt(mem_used(&mem), gib / 1000);
	ck_assert_uint_eq(value_read(v, gib - 8, buf, 8), 8);
	ck_assert_mem_eq(buf, zero, 8);

	before = mem_used(&mem);
	ck_assert_int_eq(value_write(&mem, &v, gib / 2, NULL, 1 << 20), 0);
	ck_assert_uint_eq(mem_used(&mem), before); /* zeros into a hole */
	ck_assert_int_eq(value_write(&mem, &v, gib / 2, "x", 1), 0);
	ck_assert_uint_lt(mem_used(&mem), before + 2 * CHUNK);
	ck_assert_int_eq(value_truncate(&mem, &v, 2 * gib), 0);
	ck_assert_uint_eq(value_read(v, gib / 2 - 1, buf, 3), 3);
	ck_assert_mem_eq(buf, "\0x", 3);
	value_unref(&mem, v);
}
END_TEST

START_TEST(a_write_to_a_shared_value_copies_one_chunk)
{
	const uint64_t size = 64 * CHUNK;
	struct value *a = NULL, *b;
	size_t before, i;

	for (i = 0; i < size; i += VALUE_CHUNK)
		ck_assert_int_eq(value_append(&mem, &a, noise, VALUE_CHUNK), 0);
	ck_assert_uint_ge(value_memory(a), size);
	ck_assert_uint_lt(value_memory(a), size + size / 16);
	before = mem_used(&mem);
	b = value_ref(a);
	ck_assert_uint_eq(mem_used(&mem), before);
	ck_assert_int_eq(value_write(&mem, &b, size / 2, "x", 1), 0);
	ck_assert_uint_ge(mem_used(&mem), before + VALUE_CHUNK);
	ck_assert_uint_lt(mem_used(&mem), before + 2 * CHUNK);
	value_unref(&mem, a);
	before = mem_used(&mem);
	ck_assert_int_eq(value_write(&mem, &b, 0, "x", 1), 0);
	ck_assert_uint_eq(mem_used(&mem), before); /* the only one by now */
	value_unref(&mem, b);
}
END_TEST

START_TEST(appending_asks_for_memory_rarely)
{
	struct slot *s = slots;
	size_t i;

	plan_failure(LONG_MAX);
	for (i = 0; i < 4 * CHUNK; i++)
		unit_check(slot_append(s, noise + i, 1) == 0);
	ck_assert_int_lt(LONG_MAX - atomic_load(&mem.fail_after), 400);
	(void)end_failure();
	check_slot(s);
	ck_assert_uint_lt(value_memory(s->v), 2 * s->size);
}
END_TEST

START_TEST(a_range_of_1_mib_fits_the_iovecs)
{
	const size_t mib = 1 << 20;
	struct iovec iov[VALUE_IOV_MAX];
	struct value *v = NULL;
	size_t i, off, sum;
	int n, k;

	ck_assert_int_eq(value_new(&mem, NULL, 4 * mib, &v), 0);
	for (i = 0; i < ARRAY_LEN(edges); i++) {
		off = edges[i];
		n = value_iov(v, off, mib, iov, VALUE_IOV_MAX);
		for (k = 0, sum = 0; k < n; k++)
			sum += iov[k].iov_len;
		ck_assert_uint_eq(sum, mib);
	}
	ck_assert_int_eq(value_iov(v, 1, mib, iov, 2), 2);
	ck_assert_int_eq(value_iov(v, 0, mib, iov, 0), 0);
	ck_assert_int_eq(value_iov(v, 0, 0, iov, 2), 0);
	ck_assert_int_eq(value_iov(v, 4 * mib, 1, iov, 2), 0);
	ck_assert_int_eq(value_iov(v, UINT64_MAX, 1, iov, 2), 0);
	n = value_iov(v, 4 * mib - 3, mib, iov, 2);
	ck_assert_int_eq(n, 1);
	ck_assert_uint_eq(iov[0].iov_len, 3);
	value_unref(&mem, v);
}
END_TEST

START_TEST(an_end_beyond_63_bits_is_too_big)
{
	struct slot *s = slots;

	ck_assert_int_eq(slot_set(s, noise, 100), 0);
	ck_assert_int_eq(slot_write(s, INT64_MAX, "x", 1), -EFBIG);
	ck_assert_int_eq(slot_write(s, UINT64_MAX, "x", 1), -EFBIG);
	ck_assert_int_eq(slot_write(s, UINT64_MAX - 1, NULL, 2), -EFBIG);
	ck_assert_int_lt(slot_truncate(s, UINT64_MAX), 0);
	check_slot(s);
}
END_TEST

/* What a failure is tried on, with a value of @size bytes in slots[0]. */
static int faulty_operation(int which, size_t size, size_t other)
{
	struct slot *s = slots;

	switch (which) {
	case 0:
		return slot_set(s, noise, other);
	case 1:
		return slot_set(s, NULL, other);
	case 2:
		return slot_append(s, noise, other);
	case 3:
		return slot_truncate(s, other);
	case 4:
		return slot_write(s, size / 2, noise + 1, other);
	default:
		return slot_write(s, other, NULL, MODEL_MAX - other);
	}
}

/* Fails the n-th request, for each n, until none is left to fail. */
static void check_failures(int which, size_t size, size_t other, bool shared)
{
	int n, r;
	bool fired;

	for (n = 0; n < 100; n++) {
		ck_assert_int_eq(slot_set(&slots[0], noise, size), 0);
		if (shared)
			slot_share(&slots[1], &slots[0]);
		plan_failure(n);
		r = faulty_operation(which, size, other);
		fired = end_failure();
		/* To give memory back is not owed: a cut may do without. */
		if (!(fired && r == 0 && slots[0].size < size))
			ck_assert_int_eq(r, fired ? -ENOMEM : 0);
		check_slot(&slots[0]);
		if (shared)
			check_slot(&slots[1]);
		value_unref(&mem, slots[0].v);
		value_unref(&mem, slots[1].v);
		slots[0].v = slots[1].v = NULL;
		slots[0].size = slots[1].size = 0;
		unit_check_msg(mem_used(&mem) == 0,
			       "operation %d, %zu and %zu bytes, request %d: "
			       "%zu bytes leak",
			       which, size, other, n, mem_used(&mem));
		if (!fired)
			return;
	}
	ck_abort_msg("operation %d never ends", which);
}

/* What is cut off is given back, whatever the form. */
START_TEST(cutting_gives_memory_back)
{
	static const size_t from[] = { 1000, VALUE_FLAT_MAX, VALUE_FLAT_MAX + 1,
				       5 * CHUNK };
	struct value *v;

	for (size_t i = 0; i < ARRAY_LEN(from); i++) {
		ck_assert_int_eq(value_new(&mem, noise, from[i], &v), 0);
		ck_assert_int_eq(value_truncate(&mem, &v, 10), 0);
		ck_assert_uint_le(mem_used(&mem), 64);
		ck_assert_uint_eq(value_memory(v), mem_used(&mem));
		value_unref(&mem, v);
	}
	ck_assert_int_eq(value_new(&mem, noise, 5 * CHUNK, &v), 0);
	ck_assert_int_eq(value_truncate(&mem, &v, CHUNK + 10), 0);
	ck_assert_uint_le(mem_used(&mem), CHUNK + 1024);
	value_unref(&mem, v);
}
END_TEST

START_TEST(without_memory_nothing_changes)
{
	static const size_t sizes[] = { 0, 10, VALUE_FLAT_MAX,
					VALUE_FLAT_MAX + 1, 2 * CHUNK + 100 };
	size_t i, j;

	for (i = 0; i < ARRAY_LEN(sizes); i++) {
		for (j = 1; j < ARRAY_LEN(sizes); j++) {
			check_failures(_i, sizes[i], sizes[j], false);
			check_failures(_i, sizes[i], sizes[j], true);
		}
	}
}
END_TEST

/* A length near a place where the form changes, or any. */
static size_t random_size(struct unit_rng *rng, size_t max)
{
	size_t n = edges[unit_below(rng, ARRAY_LEN(edges))];

	if (unit_below(rng, 2))
		n = unit_below(rng, 64);
	else
		n += unit_below(rng, 5);
	return n <= max ? n : unit_below(rng, max + 1);
}

static int random_operation(struct unit_rng *rng, struct slot *s, size_t max)
{
	size_t at = unit_below(rng, MODEL_MAX / 2);
	size_t size = random_size(rng, max), len = random_size(rng, max / 2);
	size_t near = unit_below(rng, 40), before = unit_below(rng, 20);
	const void *data = unit_below(rng, 4) ? noise + at : NULL;

	switch (unit_below(rng, 8)) {
	case 0:
		return slot_set(s, data, len);
	case 1:
	case 2:
		return slot_append(s, noise + at, MIN(len, max - s->size));
	case 3:
		return slot_truncate(s, size);
	case 4: /* right around the end */
		size = s->size - MIN(s->size, before);
		return slot_write(s, size, data, MIN(near, max - size));
	case 5:
		slot_share(s, &slots[unit_below(rng, N_SLOTS)]);
		return 0;
	default:
		return slot_write(s, size, data, MIN(len, max - size));
	}
}

static void check_range(struct unit_rng *rng, const struct slot *s)
{
	static uint8_t buf[MODEL_MAX];
	size_t off = random_size(rng, MODEL_MAX);
	size_t len = random_size(rng, MODEL_MAX), n, want;

	want = off < s->size ? MIN(len, s->size - off) : 0;
	n = value_read(s->v, off, buf, len);
	unit_check(n == want);
	unit_check(!memcmp(buf, s->bytes + off, n));
}

static void random_run(uint64_t salt, size_t n_ops, size_t max)
{
	struct unit_rng rng = unit_rng(salt);
	size_t i, k, n_failed = 0;
	struct slot *s;
	bool planned, fired;
	int r;

	for (i = 0; i < n_ops; i++) {
		s = &slots[unit_below(&rng, N_SLOTS)];
		planned = unit_below(&rng, 4) == 0;
		plan_failure(planned ? (long)unit_below(&rng, 4) : -1);
		r = random_operation(&rng, s, max);
		fired = end_failure() && planned;
		unit_check_msg(r == 0 || (r == -ENOMEM && fired),
			       "operation %zu: %d", i, r);
		n_failed += r != 0;
		check_range(&rng, s);
		if (max > VALUE_CHUNK && i % 16) {
			check_slot(s);
			continue;
		}
		for (k = 0; k < N_SLOTS; k++)
			check_slot(&slots[k]);
	}
	ck_assert_uint_gt(n_failed, n_ops / 100);
}

START_TEST(random_operations_on_small_values)
{
	random_run(20, N_SMALL, 200);
}
END_TEST

START_TEST(random_operations_on_large_values)
{
	random_run(21, N_LARGE, MODEL_MAX);
}
END_TEST

static Suite *value_suite(void)
{
	Suite *s = suite_create("value");
	TCase *tc = tcase_create("value");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, null_is_the_empty_value);
	tcase_add_test(tc, each_size_changes_into_each_other);
	tcase_add_test(tc, a_shared_value_keeps_its_bytes);
	tcase_add_test(tc, a_hole_costs_next_to_nothing);
	tcase_add_test(tc, a_write_to_a_shared_value_copies_one_chunk);
	tcase_add_test(tc, appending_asks_for_memory_rarely);
	tcase_add_test(tc, a_range_of_1_mib_fits_the_iovecs);
	tcase_add_test(tc, an_end_beyond_63_bits_is_too_big);
	tcase_add_test(tc, cutting_gives_memory_back);
	tcase_add_loop_test(tc, without_memory_nothing_changes, 0, 6);
	tcase_add_test(tc, random_operations_on_small_values);
	tcase_add_test(tc, random_operations_on_large_values);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { value_suite, NULL };

	return unit_main(suites);
}
