/* SPDX-License-Identifier: MIT */

/*
 * What is written is compared with bytes spelled out here, what is read with
 * what was meant. Files are made up in memory and served by a pread() that is
 * as short, as late and as broken as a test wants it.
 */

#include "persist/resp.h"

#include <errno.h>
#include <isa-l.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/unit.h"

#define MIB (UINT64_C(1) << 20)

/* --- a file that is served -------------------------------------------- */

struct served {
	struct io io;
	const uint8_t *p;
	uint64_t len;
	uint8_t (*byte)(uint64_t off); /* instead of p, where that is NULL */
	size_t read_max;	       /* at most so much at once; 0: all */
	int n_reads, fail_read, error; /* the n-th read answers error */
	uint64_t ends_at;	       /* reads nothing from here on; 0: off */
};

static ssize_t served_pread(void *ctx, int fd, void *buf, size_t len, off_t off)
{
	struct served *s = ctx;
	uint64_t end = s->ends_at ? s->ends_at : s->len;
	uint8_t *out = buf;

	(void)fd;
	unit_check(off >= 0 && (uint64_t)off + len <= s->len);
	if (++s->n_reads == s->fail_read)
		return s->error;
	if ((uint64_t)off >= end)
		return 0;
	len = MIN(len, (size_t)(end - (uint64_t)off));
	if (s->read_max)
		len = MIN(len, s->read_max);
	if (s->p)
		memcpy(out, s->p + off, len);
	else
		for (size_t i = 0; i < len; i++)
			out[i] = s->byte((uint64_t)off + i);
	return (ssize_t)len;
}

static void served_init(struct served *s, const void *p, uint64_t len)
{
	*s = (struct served){ .io = { .ctx = s, .pread = served_pread },
			      .p = p,
			      .len = len };
}

/* --- one reader ------------------------------------------------------- */

static struct mem mem;
static struct rdb_error err;
static struct in in;
static struct resp reader;
static struct resp_record rec;

static void setup(void)
{
	mem_init(&mem);
}

/* All memory has been given back. */
static void teardown(void)
{
	ck_assert_uint_eq(mem_used(&mem), 0);
}

static void open_bytes(const void *p, size_t len)
{
	in_init_bytes(&in, span_of(p, len), &mem, false, &err);
	resp_init(&reader, &in);
}

static void open_served(struct served *s, bool checksum)
{
	ck_assert_int_eq(in_init(&in, &s->io, 0, s->len, &mem, checksum, &err),
			 0);
	resp_init(&reader, &in);
}

static void close_reader(void)
{
	resp_fini(&reader);
	in_fini(&in);
}

static enum resp_kind next(void)
{
	int r = resp_next(&reader, &rec);

	unit_check_msg(r == 0, "%d: %s", r, err.what);
	return rec.kind;
}

static bool is_whole(enum resp_kind kind)
{
	return kind == RESP_COMMAND || kind == RESP_NOTE;
}

/* --- tables ----------------------------------------------------------- */

#define GET "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n" /* 20 bytes */

static const struct {
	const char *bytes;
	size_t len;
	int n_whole; /* records before */
	enum resp_kind kind;
	uint64_t begin, stop;
	const char *what;
} cases[] = {
#define CASE(s, ...)                                                           \
	{                                                                      \
		s, sizeof(s) - 1, __VA_ARGS__                                  \
	}
	/* between records */
	CASE("", 0, RESP_END, 0, 0, NULL),
	CASE(GET, 1, RESP_END, 20, 20, NULL),
	CASE("#\r\n" GET "#\n#x\r\n", 4, RESP_END, 29, 29, NULL),
	CASE("*1\r\n$0\r\n\r\n", 1, RESP_END, 10, 10, NULL),
	/* cut short by the end of the file */
	CASE(GET "*", 1, RESP_TORN, 20, 21, "after 1 bytes"),
	CASE(GET "*2", 1, RESP_TORN, 20, 22, "after 2 bytes"),
	CASE(GET "*2\r", 1, RESP_TORN, 20, 23, "a command begins here"),
	CASE("*2\r\n", 0, RESP_TORN, 0, 4, "cut off"),
	CASE("*2\r\n$", 0, RESP_TORN, 0, 5, "cut off"),
	CASE("*2\r\n$3\r\nGE", 0, RESP_TORN, 0, 10, "cut off"),
	CASE("*2\r\n$3\r\nGET", 0, RESP_TORN, 0, 11, "cut off"),
	CASE("*2\r\n$3\r\nGET\r", 0, RESP_TORN, 0, 12, "cut off"),
	CASE("*2\r\n$3\r\nGET\r\n", 0, RESP_TORN, 0, 13, "cut off"),
	CASE("*1\r\n$9223372036854775807\r\nx", 0, RESP_TORN, 0, 27, "cut off"),
	CASE("*2147483647\r\n$1\r\nx\r\n", 0, RESP_TORN, 0, 20, "cut off"),
	CASE("*1\r\n$9\r\n\0\0\0\0", 0, RESP_TORN, 0, 12, "cut off"),
	CASE(GET "#", 1, RESP_TORN_NOTE, 20, 21, "an annotation begins"),
	CASE("#TS:17", 0, RESP_TORN_NOTE, 0, 6, "cut off after 6 bytes"),
	CASE("#TS:17\r", 0, RESP_TORN_NOTE, 0, 7, "cut off"),
	/* damage */
	CASE(GET "x", 1, RESP_DAMAGED, 20, 20, "'*' or '#'"),
	CASE("SET k v\r\n", 0, RESP_DAMAGED, 0, 0, "found \"SET k v\\x0d"),
	CASE("REDIS0010", 0, RESP_DAMAGED, 0, 0, "'*' or '#'"),
	CASE("$3\r\nGET\r\n", 0, RESP_DAMAGED, 0, 0, "'*' or '#'"),
	CASE("\r\n" GET, 0, RESP_DAMAGED, 0, 0, "'*' or '#'"),
	CASE("*0\r\n" GET, 0, RESP_DAMAGED, 0, 1, "one argument or more"),
	CASE("*-1\r\n", 0, RESP_DAMAGED, 0, 1, "a number"),
	CASE("*+1\r\n", 0, RESP_DAMAGED, 0, 1, "a number"),
	CASE("* 1\r\n", 0, RESP_DAMAGED, 0, 1, "a number"),
	CASE("*\r\n", 0, RESP_DAMAGED, 0, 1, "a number"),
	CASE("*01\r\n", 0, RESP_DAMAGED, 0, 2, "after the number 0"),
	CASE("*1x\r\n", 0, RESP_DAMAGED, 0, 2, "a line end"),
	CASE("*1\n$1\nx\n", 0, RESP_DAMAGED, 0, 2, "a line end"),
	CASE("*1\r$1\r\nx\r\n", 0, RESP_DAMAGED, 0, 3, "a line end"),
	CASE("*2147483648\r\n", 0, RESP_DAMAGED, 0, 10, "the limits"),
	CASE("*1\r\n$9223372036854775808\r\n", 0, RESP_DAMAGED, 0, 23,
	     "the limits"),
	CASE("*1\r\n$99999999999999999999\r\n", 0, RESP_DAMAGED, 0, 23,
	     "the limits"),
	CASE("*1\r\n*1\r\n", 0, RESP_DAMAGED, 0, 4, "'$' and the length"),
	CASE("*1\r\n#x\r\n", 0, RESP_DAMAGED, 0, 4, "'$' and the length"),
	CASE("*1\r\n$-1\r\n", 0, RESP_DAMAGED, 0, 5, "a number"),
	CASE("*1\r\n$00\r\n\r\n", 0, RESP_DAMAGED, 0, 6, "the number 0"),
	CASE("*1\r\n$2\r\nxyz\r\n", 0, RESP_DAMAGED, 0, 10, "an argument"),
	CASE("*1\r\n$1\r\nx\n\r", 0, RESP_DAMAGED, 0, 9, "an argument"),
	CASE("*1\r\n$1\r\nx\rx", 0, RESP_DAMAGED, 0, 10, "an argument"),
	CASE("*2\r\n$3\r\nGET\r\n" GET, 0, RESP_DAMAGED, 0, 13, "'$'"),
	CASE("#T\0S\r\n", 0, RESP_DAMAGED, 0, 2, "text of an annotation"),
	CASE("#T\0S", 0, RESP_DAMAGED, 0, 2, "text of an annotation"),
	CASE(GET "\0\0\0x", 1, RESP_DAMAGED, 20, 20, "found \"\\x00"),
	CASE("*1\r\n$1\r\nx\0\0*", 0, RESP_DAMAGED, 0, 9, "a line end"),
	/* NULs to the end of the file */
	CASE("\0", 0, RESP_NULS, 0, 0, "NUL bytes from here"),
	CASE(GET "\0\0\0\0", 1, RESP_NULS, 20, 20, "NUL bytes from here"),
	CASE(GET "*\0\0\0", 1, RESP_NULS, 20, 21, "NUL bytes from here"),
	CASE("*1\0\0", 0, RESP_NULS, 0, 2, "NUL bytes from here"),
	CASE("*1\r\0\0", 0, RESP_NULS, 0, 3, "NUL bytes from here"),
	CASE("*1\r\n\0", 0, RESP_NULS, 0, 4, "NUL bytes from here"),
	CASE("*1\r\n$\0", 0, RESP_NULS, 0, 5, "NUL bytes from here"),
	CASE("*1\r\n$3\r\nx\0\0\0\0", 0, RESP_NULS, 0, 9, "NUL bytes"),
	CASE("*1\r\n$2\r\n\0\0\0\0", 0, RESP_NULS, 0, 8, "NUL bytes"),
	CASE("*1\r\n$1\r\nx\r\0", 0, RESP_NULS, 0, 10, "NUL bytes"),
	CASE("#TS:1\0\0\0", 0, RESP_NULS, 0, 5, "NUL bytes from here"),
#undef CASE
};

START_TEST(each_case_is_told_apart_with_its_offsets)
{
	const char *what = cases[_i].what;

	for (int again = 0; again < 2; again++) {
		open_bytes(cases[_i].bytes, cases[_i].len);
		for (int i = 0; i < cases[_i].n_whole; i++)
			ck_assert(is_whole(next()));
		for (int i = 0; i < 2; i++) { /* P3: it says so again */
			err = (struct rdb_error){ .code = 0 };
			ck_assert_int_eq(next(), cases[_i].kind);
			ck_assert_uint_eq(rec.begin, cases[_i].begin);
			ck_assert_uint_eq(rec.end, cases[_i].begin);
			ck_assert_uint_eq(rec.stop, cases[_i].stop);
			ck_assert_int_eq(err.code, what ? -EBADMSG : 0);
			ck_assert_msg(!what || strstr(err.what, what), "%s",
				      err.what);
			ck_assert_uint_eq(in_offset(&in), rec.begin);
		}
		close_reader();
	}
}
END_TEST

START_TEST(an_annotation_has_at_most_1023_bytes_with_its_end)
{
	static const struct {
		size_t text;
		const char *end;
		size_t nul_from;
		enum resp_kind kind;
		uint64_t stop;
	} lines[] = {
		{ 1020, "\r\n", 0, RESP_NOTE, 1023 },
		{ 1021, "\n", 0, RESP_NOTE, 1023 },
		{ 1021, "\r\n", 0, RESP_DAMAGED, 1022 },
		{ 1022, "\n", 0, RESP_DAMAGED, 1022 },
		{ 4000, "\n", 0, RESP_DAMAGED, 1022 },
		{ 1021, "", 0, RESP_TORN_NOTE, 1022 },
		{ 1022, "", 0, RESP_DAMAGED, 1022 },
		{ 4000, "", 1000, RESP_NULS, 1001 },
		{ 4000, "x", 1000, RESP_DAMAGED, 1001 },
		{ 4000, "", 1022, RESP_DAMAGED, 1022 },
	};
	char buf[8192];

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		size_t len = 1 + lines[i].text, end = strlen(lines[i].end);

		memset(buf, 't', sizeof(buf));
		buf[0] = '#';
		if (lines[i].nul_from)
			memset(buf + 1 + lines[i].nul_from, 0,
			       len - 1 - lines[i].nul_from);
		memcpy(buf + len, lines[i].end, end);
		open_bytes(buf, len + end);
		ck_assert_msg(next() == lines[i].kind, "line %zu: %d", i,
			      rec.kind);
		ck_assert_uint_eq(rec.stop, lines[i].stop);
		if (rec.kind == RESP_NOTE)
			ck_assert_uint_eq(rec.text.len, lines[i].text);
		close_reader();
	}
}
END_TEST

START_TEST(the_text_of_an_annotation_is_handed_over)
{
	static const char bytes[] =
		"#TS:1700000000\r\n#\r\n#\n#a\rb \n#\xff\r\n";
	static const char *const texts[] = { "TS:1700000000", "", "", "a\rb ",
					     "\xff" };

	open_bytes(bytes, sizeof(bytes) - 1);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		ck_assert_int_eq(next(), RESP_NOTE);
		ck_assert(span_eq(rec.text, span_str(texts[i])));
		ck_assert_uint_eq(rec.argc, 0);
	}
	ck_assert_int_eq(next(), RESP_END);
	close_reader();
}
END_TEST

/* --- a small file ----------------------------------------------------- */

/* All kinds of record; arguments that look like records, NULs, no bytes. */
static const char small[] =
	"#TS:1700000000\r\n"
	"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n"
	"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n"
	"*1\r\n$5\r\nMULTI\r\n"
	"*3\r\n$3\r\nSET\r\n$2\r\n\r\n\r\n$22\r\n*1\r\n$5\r\nMULTI\r\n#"
	"x\r\n\0\0\0\r\n"
	"*4\r\n$8\r\nSETRANGE\r\n$4\r\n\0\0\0\0\r\n$2\r\n10\r\n$12\r\n"
	"\0\0\0\0\0\0\0\0\0\0\0\0\r\n"
	"*1\r\n$4\r\nEXEC\r\n"
	"#\r\n"
	"*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n";
enum {
	SMALL = sizeof(small) - 1,
	SMALL_MAX = 16
};

static struct resp_record small_records[SMALL_MAX];
static size_t n_small;

static void index_small(void)
{
	open_bytes(small, SMALL);
	for (n_small = 0; is_whole(next()); n_small++)
		small_records[n_small] = rec;
	ck_assert_int_eq(rec.kind, RESP_END);
	ck_assert_uint_eq(rec.begin, SMALL);
	ck_assert_uint_eq(n_small, 9);
	close_reader();
}

/* The record that the byte at @off belongs to. */
static const struct resp_record *small_at(size_t off)
{
	for (size_t i = 0; i < n_small; i++)
		if (off < small_records[i].end)
			return &small_records[i];
	return NULL;
}

/* Reads what precedes @off, which is as it was. */
static void assert_prefix(size_t off)
{
	for (size_t i = 0; i < n_small && small_records[i].end <= off; i++) {
		unit_check(next() == small_records[i].kind);
		unit_check(rec.begin == small_records[i].begin);
		unit_check(rec.end == small_records[i].end);
		unit_check(rec.argc == small_records[i].argc);
	}
}

START_TEST(a_file_that_is_cut_anywhere_gives_what_was_whole)
{
	index_small();
	for (size_t len = 0; len <= SMALL; len++) {
		const struct resp_record *hit = small_at(len);
		uint8_t *copy = malloc(len + 1); /* exactly: for sanitizers */
		enum resp_kind want = RESP_TORN;

		ck_assert_ptr_nonnull(copy);
		copy = realloc(copy, len ? len : 1);
		ck_assert_ptr_nonnull(copy);
		memcpy(copy, small, len);
		if (!hit || hit->begin == len)
			want = RESP_END;
		else if (hit->kind == RESP_NOTE)
			want = RESP_TORN_NOTE;
		open_bytes(copy, len);
		assert_prefix(len);
		unit_check(next() == want);
		unit_check(rec.begin == (hit ? hit->begin : SMALL));
		unit_check(rec.stop == len);
		close_reader();
		free(copy);
	}
}
END_TEST

START_TEST(a_file_whose_end_became_nul_gives_what_was_whole)
{
	uint8_t copy[SMALL + 3];

	index_small();
	for (size_t from = 0; from < SMALL; from++) {
		const struct resp_record *hit = small_at(from);

		for (size_t more = 0; more <= 3; more += 3) {
			uint64_t stop = from;

			memset(copy, 0, sizeof(copy));
			memcpy(copy, small, from);
			while (stop > hit->begin && copy[stop - 1] == 0)
				stop--;
			open_bytes(copy, SMALL + more);
			assert_prefix(from);
			unit_check_msg(next() == RESP_NULS, "%zu: %d", from,
				       rec.kind);
			unit_check(rec.begin == hit->begin);
			unit_check(rec.stop == stop);
			close_reader();
		}
	}
}
END_TEST

/* Reads all of @p, which may be anything, and checks what can be checked. */
static void read_anything(const uint8_t *p, size_t len)
{
	struct resp_buf again = { .mem = &mem };
	uint64_t at = 0;

	open_bytes(p, len);
	while (is_whole(next())) {
		unit_check(rec.begin == at && rec.end > at); /* P1 */
		unit_check(rec.stop == rec.end);
		at = rec.end;
		if (rec.kind != RESP_COMMAND)
			continue;
		again.len = 0;
		unit_check(resp_append_command(&again, rec.argv, rec.argc) ==
			   0);
		unit_check(again.len == rec.end - rec.begin);
		unit_check(memcmp(again.p, p + rec.begin, again.len) == 0);
	}
	unit_check(rec.begin == at && rec.end == at);
	unit_check(rec.stop >= at && rec.stop <= len);
	unit_check((rec.kind == RESP_END) == (at == len));
	resp_buf_fini(&again);
	close_reader();
}

START_TEST(a_byte_that_changed_never_harms_what_precedes_it)
{
	index_small();
	for (size_t at = 0; at < SMALL; at++) {
		for (int v = 0; v < 256; v++) {
			uint8_t *copy = malloc(SMALL);

			ck_assert_ptr_nonnull(copy);
			memcpy(copy, small, SMALL);
			copy[at] = (uint8_t)v;
			open_bytes(copy, SMALL);
			assert_prefix(at);
			close_reader();
			read_anything(copy, SMALL);
			free(copy);
		}
	}
}
END_TEST

START_TEST(random_bytes_of_the_alphabet_are_survived)
{
	static const char *const words[] = {
		"*",	"1",	  "2",	    "3",	  "0",	"$",
		"\r\n", "\r",	  "\n",	    "#",	  "TS", "k",
		"\0",	"*1\r\n", "$1\r\n", "$0\r\n\r\n", "9",	"99",
		"x",	"-1",	  "$3\r\n", "SET\r\n",
	};
	struct unit_rng rng = unit_rng(5);
	uint8_t buf[256];

	for (int round = 0; round < 20000; round++) {
		size_t len = 0, n = unit_below(&rng, 24);

		while (n--) {
			const char *w =
				words[unit_below(&rng, ARRAY_LEN(words))];
			size_t l = MAX(strlen(w), (size_t)1);

			memcpy(buf + len, w, l);
			len += l;
		}
		read_anything(buf, len);
	}
}
END_TEST

/* --- writing ---------------------------------------------------------- */

START_TEST(what_is_written_is_these_bytes)
{
	static const char want[] = "*3\r\n$3\r\nSET\r\n$0\r\n\r\n$11\r\n"
				   "\0\r\n*1\r\n$2\r\n\r\n"
				   "#TS:1700000000\r\n#\r\n";
	const struct span argv[] = { span_str("SET"),
				     { NULL, 0 },
				     { "\0\r\n*1\r\n$2\r\n", 11 } };
	struct resp_buf b = { .mem = &mem };

	ck_assert_int_eq(resp_append_command(&b, argv, 3), 0);
	ck_assert_uint_eq(resp_command_size(argv, 3), b.len);
	ck_assert_int_eq(resp_append_note(&b, span_str("TS:1700000000")), 0);
	ck_assert_int_eq(resp_append_note(&b, span_of(NULL, 0)), 0);
	ck_assert_uint_eq(b.len, sizeof(want) - 1);
	ck_assert_mem_eq(b.p, want, b.len);
	resp_buf_fini(&b);
	ck_assert_ptr_null(b.p);
}
END_TEST

START_TEST(numbers_are_written_in_decimal)
{
	static const struct {
		uint64_t n;
		const char *text;
	} numbers[] = {
		{ 0, "$0\r\n" },
		{ 9, "$9\r\n" },
		{ 10, "$10\r\n" },
		{ 99, "$99\r\n" },
		{ 100, "$100\r\n" },
		{ 524288000, "$524288000\r\n" },
		{ UINT64_MAX, "$18446744073709551615\r\n" },
	};
	uint8_t buf[RESP_HEAD_MAX + 1];

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		uint8_t *end = resp_put_len(buf, numbers[i].n);

		*end = '\0';
		ck_assert_str_eq((char *)buf, numbers[i].text);
		ck_assert_uint_eq(resp_head_size(numbers[i].n),
				  strlen(numbers[i].text));
	}
	*resp_put_argc(buf, RESP_ARGC_MAX) = '\0';
	ck_assert_str_eq((char *)buf, "*2147483647\r\n");
}
END_TEST

START_TEST(an_annotation_that_redis_would_not_read_is_not_written)
{
	static char text[RESP_NOTE_MAX + 1];
	struct resp_buf b = { .mem = &mem };

	memset(text, 'x', sizeof(text));
	ck_assert_int_eq(resp_append_note(&b, span_of(text, sizeof(text))),
			 -EINVAL);
	ck_assert_int_eq(resp_append_note(&b, span_of("a\0", 2)), -EINVAL);
	ck_assert_int_eq(resp_append_note(&b, span_of("a\n", 2)), -EINVAL);
	ck_assert_int_eq(resp_append_note(&b, span_of("\ra", 2)), -EINVAL);
	ck_assert_uint_eq(b.len, 0);
	ck_assert_int_eq(resp_append_note(&b, span_of(text, RESP_NOTE_MAX)), 0);
	ck_assert_uint_eq(b.len, RESP_NOTE_LINE);
	resp_buf_fini(&b);
}
END_TEST

START_TEST(a_command_larger_than_memory_has_no_size)
{
	const struct span argv[] = { { NULL, SIZE_MAX - 3 }, { NULL, 100 } };
	struct resp_buf b = { .mem = &mem };

	ck_assert_uint_eq(resp_command_size(argv, 2), SIZE_MAX);
	ck_assert_int_eq(resp_append_command(&b, argv, 2), -ENOMEM);
	ck_assert_uint_eq(b.len, 0);
	resp_buf_fini(&b);
}
END_TEST

START_TEST(a_buffer_without_memory_stays_as_it_is)
{
	const struct span argv[] = { span_str("GET"), span_str("k") };
	struct resp_buf b = { .mem = &mem };

	ck_assert_int_eq(resp_append_command(&b, argv, 2), 0);
	b.cap = b.len; /* full */
	mem.fail_after = 0;
	ck_assert_int_eq(resp_append_command(&b, argv, 2), -ENOMEM);
	mem.fail_after = 0;
	ck_assert_int_eq(resp_append_note(&b, argv[0]), -ENOMEM);
	mem.fail_after = -1;
	ck_assert_uint_eq(b.len, sizeof(GET) - 1);
	ck_assert_mem_eq(b.p, GET, b.len);
	resp_buf_fini(&b);
}
END_TEST

/* --- there and back --------------------------------------------------- */

enum {
	TRIP_RECORDS = 400,
	TRIP_ARGS = 12
};

/* What was written, to compare with. */
struct trip {
	struct resp_buf file;
	struct {
		uint64_t end;
		size_t argc; /* 0: an annotation */
		struct span argv[TRIP_ARGS];
	} v[TRIP_RECORDS];
	size_t n;
	uint8_t *pool; /* random bytes that arguments are taken from */
	size_t pool_len;
};

static size_t random_len(struct unit_rng *rng, size_t most)
{
	size_t magnitude = (size_t)1 << unit_below(rng, 22);

	return (size_t)unit_below(rng, MIN(magnitude, most) + 1);
}

static struct span random_span(struct trip *t, struct unit_rng *rng,
			       size_t most)
{
	size_t len = random_len(rng, MIN(most, t->pool_len));

	return span_of(t->pool + unit_below(rng, t->pool_len - len + 1), len);
}

static void trip_init(struct trip *t, struct unit_rng *rng, size_t pool)
{
	t->file = (struct resp_buf){ .mem = &mem };
	t->n = 0;
	t->pool_len = pool;
	t->pool = malloc(pool);
	ck_assert_ptr_nonnull(t->pool);
	unit_bytes(rng, t->pool, pool);
	for (size_t i = 0; i < pool; i += 64) /* NULs and line ends */
		memcpy(t->pool + i, "\0\0\0\r\n\0*1\r\n$", 11);
}

static void trip_fini(struct trip *t)
{
	resp_buf_fini(&t->file);
	free(t->pool);
}

static void trip_add(struct trip *t, struct unit_rng *rng, size_t most)
{
	size_t argc = unit_below(rng, 5) ? unit_range(rng, 1, TRIP_ARGS) : 0;
	static const char text[] = "TS:0123456789";

	if (argc == 0) {
		t->v[t->n].argv[0] =
			span_of(text, (size_t)unit_below(rng, sizeof(text)));
		ck_assert_int_eq(resp_append_note(&t->file, t->v[t->n].argv[0]),
				 0);
	} else {
		for (size_t i = 0; i < argc; i++)
			t->v[t->n].argv[i] = random_span(t, rng, most);
		ck_assert_int_eq(
			resp_append_command(&t->file, t->v[t->n].argv, argc),
			0);
	}
	t->v[t->n].argc = argc;
	t->v[t->n++].end = t->file.len;
}

static uint64_t crc_of(const uint8_t *p, uint64_t len)
{
	return ~crc64_jones_refl(~UINT64_C(0), p, len);
}

static void trip_assert_read(const struct trip *t)
{
	uint64_t at = 0;

	for (size_t i = 0; i < t->n; i++) {
		enum resp_kind kind = next();

		unit_check(kind == (t->v[i].argc ? RESP_COMMAND : RESP_NOTE));
		unit_check(rec.begin == at && rec.end == t->v[i].end);
		unit_check(rec.argc == t->v[i].argc);
		for (size_t j = 0; j < rec.argc; j++)
			unit_check(span_eq(rec.argv[j], t->v[i].argv[j]));
		if (kind == RESP_NOTE)
			unit_check(span_eq(rec.text, t->v[i].argv[0]));
		at = rec.end;
		if (in.checksum && i % 16 == 0)
			unit_check(in_crc(&in) == crc_of(t->file.p, at));
	}
	unit_check(next() == RESP_END && rec.begin == t->file.len);
}

START_TEST(what_is_written_is_read_again)
{
	struct unit_rng rng = unit_rng(1);
	struct trip t;

	trip_init(&t, &rng, 1 << 16);
	while (t.n < TRIP_RECORDS)
		trip_add(&t, &rng, 300);
	open_bytes(t.file.p, t.file.len);
	trip_assert_read(&t);
	close_reader();
	trip_fini(&t);
}
END_TEST

/* Records around and above the size of the window, through reads that end
 * anywhere; the CRC follows all of it. */
START_TEST(what_does_not_fit_the_window_is_read_again)
{
	static const size_t reads[] = { 0, 700001, 65536, 4099 };
	struct unit_rng rng = unit_rng(2 + (uint64_t)_i);
	struct served s;
	struct trip t;

	trip_init(&t, &rng, 3 * IN_BUFFER);
	while (t.n < TRIP_RECORDS && t.file.len < 24 * MIB)
		trip_add(&t, &rng, 2 * IN_BUFFER);
	served_init(&s, t.file.p, t.file.len);
	s.read_max = reads[_i];
	open_served(&s, true);
	trip_assert_read(&t);
	close_reader();
	trip_fini(&t);
}
END_TEST

/* A record whose last byte is the last one of the window, and all around. */
START_TEST(a_record_may_end_anywhere_near_the_end_of_the_window)
{
	static uint8_t value[IN_BUFFER + 64];
	struct served s;

	memset(value, 'v', sizeof(value));
	for (size_t len = IN_BUFFER - 40; len <= IN_BUFFER + 8; len++) {
		struct span argv[] = { span_of(value, len), span_str("b") };
		struct resp_buf b = { .mem = &mem };
		int r = resp_append_command(&b, argv, 2);

		r |= resp_append_note(&b, span_str("n"));
		r |= resp_append_command(&b, argv + 1, 1);
		ck_assert_int_eq(r, 0);
		served_init(&s, b.p, b.len);
		open_served(&s, true);
		unit_check(next() == RESP_COMMAND);
		unit_check(span_eq(rec.argv[0], argv[0]));
		unit_check(span_eq(rec.argv[1], argv[1]));
		unit_check(next() == RESP_NOTE && rec.text.len == 1);
		unit_check(next() == RESP_COMMAND && rec.argc == 1);
		unit_check(next() == RESP_END);
		unit_check(in_crc(&in) == crc_of(b.p, b.len));
		close_reader();
		resp_buf_fini(&b);
	}
}
END_TEST

START_TEST(a_command_of_many_arguments_takes_memory_in_proportion)
{
	enum {
		N = 300000
	};
	struct span *argv = calloc(N, sizeof(argv[0]));
	struct resp_buf b = { .mem = &mem };
	struct served s;
	size_t before;

	ck_assert_ptr_nonnull(argv);
	for (size_t i = 0; i < N; i++)
		argv[i] = span_of(small, i % 7);
	ck_assert_int_eq(resp_append_command(&b, argv, N), 0);
	ck_assert_int_eq(resp_append_command(&b, argv, 1), 0);
	served_init(&s, b.p, b.len);
	open_served(&s, false);
	before = mem_used(&mem);
	unit_check(next() == RESP_COMMAND && rec.argc == N);
	for (size_t i = 0; i < N; i++)
		unit_check(span_eq(rec.argv[i], argv[i]));
	ck_assert_uint_le(mem_used(&mem) - before, 8 * b.len); /* P2 */
	unit_check(next() == RESP_COMMAND && rec.argc == 1);
	ck_assert_uint_le(mem_used(&mem) - before,
			  3 * IN_BUFFER); /* given back */
	close_reader();
	resp_buf_fini(&b);
	free(argv);
}
END_TEST

/* --- lengths ---------------------------------------------------------- */

#define HUGE_HEAD "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$524288000\r\n"
#define HUGE_LEN  UINT64_C(524288000)

static uint8_t huge_byte(uint64_t off)
{
	static const char head[] = HUGE_HEAD, tail[] = "\r\n";

	if (off < sizeof(head) - 1)
		return (uint8_t)head[off];
	off -= sizeof(head) - 1;
	return off < HUGE_LEN ? (uint8_t)(off >> 12)
			      : (uint8_t)tail[off - HUGE_LEN];
}

START_TEST(a_value_of_500_mib_is_read)
{
	struct served s;
	const uint8_t *p;

	served_init(&s, NULL, sizeof(HUGE_HEAD) - 1 + HUGE_LEN + 2);
	s.byte = huge_byte;
	open_served(&s, false);
	ck_assert_int_eq(next(), RESP_COMMAND);
	ck_assert_uint_eq(rec.end, s.len);
	ck_assert_uint_eq(rec.argc, 3);
	ck_assert(span_eq(rec.argv[1], span_str("k")));
	ck_assert_uint_eq(rec.argv[2].len, HUGE_LEN);
	p = rec.argv[2].ptr;
	for (uint64_t i = 0; i < HUGE_LEN; i += 4093)
		unit_check(p[i] == (uint8_t)(i >> 12));
	/* and what the allocator's size class adds */
	ck_assert_uint_le(mem_used(&mem), HUGE_LEN + HUGE_LEN / 8);
	ck_assert_int_eq(next(), RESP_END);
	ck_assert_uint_le(mem_used(&mem), 4 * MIB); /* given back */
	close_reader();
}
END_TEST

START_TEST(an_announced_value_that_is_not_there_takes_no_memory)
{
	static const char *const heads[] = {
		HUGE_HEAD "some of it",
		"*2147483647\r\n$3\r\nDEL\r\n",
		"*1\r\n$9223372036854775807\r\n",
	};
	struct served s;
	size_t before;

	for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
		served_init(&s, heads[i], strlen(heads[i]));
		open_served(&s, false);
		before = mem_used(&mem);
		ck_assert_int_eq(next(), RESP_TORN);
		ck_assert_uint_le(mem_used(&mem) - before, 4096);
		close_reader();
	}
}
END_TEST

/* --- tails that do not fit the window --------------------------------- */

START_TEST(a_tail_of_nuls_may_be_of_any_length)
{
	static const size_t lens[] = { 1, IN_BUFFER, 3 * IN_BUFFER + 17 };
	static const char *const heads[] = { GET,
					     GET "*2\r\n$3\r\nGET\r\n$7\r\nabc",
					     GET "*1\r\n$1048577\r\nabc" };
	size_t len = strlen(heads[_i]);
	struct served s;

	for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
		uint8_t *p = calloc(1, len + lens[i]);
		bool torn = _i > 0 && i == 0;

		ck_assert_ptr_nonnull(p);
		memcpy(p, heads[_i], len);
		served_init(&s, p, len + lens[i]);
		for (int other = 0; other < 2; other++) {
			p[s.len - 1] = other && !torn ? 'x' : 0;
			open_served(&s, false);
			ck_assert_int_eq(next(), RESP_COMMAND);
			for (int twice = 0; twice < 2; twice++) {
				next();
				if (torn)
					ck_assert_int_eq(rec.kind, RESP_TORN);
				else if (other)
					ck_assert_int_eq(rec.kind,
							 RESP_DAMAGED);
				else
					ck_assert_int_eq(rec.kind, RESP_NULS);
				if (rec.kind == RESP_NULS)
					ck_assert_uint_eq(rec.stop, len);
				ck_assert_uint_eq(rec.begin, sizeof(GET) - 1);
			}
			close_reader();
		}
		free(p);
	}
}
END_TEST

/* --- failures --------------------------------------------------------- */

/* 1.5 MiB in one command, then a small one, then NULs. */
static void make_large(struct resp_buf *b)
{
	static uint8_t value[IN_BUFFER * 3 / 2];
	const struct span argv[] = { span_str("SET"), span_str("k"),
				     span_of(value, sizeof(value)) };

	memset(value, 'v', sizeof(value));
	b->mem = &mem;
	ck_assert_int_eq(resp_append_command(b, argv, 3), 0);
	ck_assert_int_eq(resp_append_command(b, argv, 2), 0);
}

START_TEST(a_failed_read_is_handed_on)
{
	struct resp_buf b = { .len = 0 };
	struct served s;
	int fired = 0;

	make_large(&b);
	for (int n = 1; n == 1 || s.n_reads >= n - 1; n++) {
		int r;

		served_init(&s, b.p, b.len);
		s.read_max = 300000;
		s.fail_read = n;
		s.error = -EIO;
		open_served(&s, false);
		do
			r = resp_next(&reader, &rec);
		while (r == 0 && is_whole(rec.kind));
		if (s.n_reads >= n) {
			fired++;
			ck_assert_int_eq(r, -EIO);
			ck_assert_ptr_nonnull(strstr(err.what, "cannot read"));
		} else {
			ck_assert_int_eq(r, 0);
		}
		close_reader();
	}
	ck_assert_int_ge(fired, 6);
	resp_buf_fini(&b);
}
END_TEST

START_TEST(an_interrupted_read_is_tried_again)
{
	struct resp_buf b = { .len = 0 };
	struct served s;

	make_large(&b);
	served_init(&s, b.p, b.len);
	s.fail_read = 2;
	s.error = -EINTR;
	open_served(&s, false);
	ck_assert_int_eq(next(), RESP_COMMAND);
	ck_assert_int_eq(next(), RESP_COMMAND);
	ck_assert_int_eq(next(), RESP_END);
	close_reader();
	resp_buf_fini(&b);
}
END_TEST

START_TEST(a_file_that_shrinks_meanwhile_is_an_error)
{
	struct resp_buf b = { .len = 0 };
	struct served s;

	make_large(&b);
	served_init(&s, b.p, b.len);
	s.ends_at = IN_BUFFER + 5;
	open_served(&s, false);
	ck_assert_int_eq(resp_next(&reader, &rec), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(err.what, "became shorter"));
	close_reader();
	resp_buf_fini(&b);
}
END_TEST

START_TEST(memory_that_is_refused_is_told)
{
	struct resp_buf b = { .len = 0 };
	struct span argv[100];
	struct served s;
	int failures = 0, r = 0;

	make_large(&b);
	for (size_t i = 0; i < ARRAY_LEN(argv); i++)
		argv[i] = span_str("a");
	ck_assert_int_eq(resp_append_command(&b, argv, 100), 0);
	for (int n = 0; n == 0 || r < 0; n++) {
		served_init(&s, b.p, b.len);
		open_served(&s, false);
		mem.fail_after = n;
		do
			r = resp_next(&reader, &rec);
		while (r == 0 && is_whole(rec.kind));
		mem.fail_after = -1;
		if (r < 0) {
			ck_assert_int_eq(r, -ENOMEM);
			ck_assert_ptr_nonnull(strstr(err.what, "no memory"));
			failures++;
		}
		close_reader();
	}
	ck_assert_int_ge(failures, 4); /* copy, argv of 16, 32, 64, 100 */
	resp_buf_fini(&b);
}
END_TEST

/* --- in_seek() -------------------------------------------------------- */

START_TEST(reading_may_begin_at_any_record)
{
	struct unit_rng rng = unit_rng(9);
	struct served s;
	struct trip t;

	trip_init(&t, &rng, 1 << 16);
	while (t.n < TRIP_RECORDS)
		trip_add(&t, &rng, 30000);
	ck_assert_uint_gt(t.file.len, 2 * IN_BUFFER);
	served_init(&s, t.file.p, t.file.len);
	for (int bytes = 0; bytes < 2; bytes++) {
		if (bytes)
			in_init_bytes(&in, span_of(t.file.p, t.file.len), &mem,
				      true, &err);
		else
			open_served(&s, true);
		resp_init(&reader, &in);
		for (int i = 0; i < 300; i++) {
			size_t n = unit_range(&rng, 1, t.n - 1);
			uint64_t from = t.v[n - 1].end;

			in_seek(&in, from);
			unit_check(in_offset(&in) == from);
			unit_check(is_whole(next()));
			unit_check(rec.begin == from && rec.end == t.v[n].end);
			unit_check(in_crc(&in) ==
				   crc_of(t.file.p + from, rec.end - from));
		}
		in_seek(&in, t.file.len);
		unit_check(next() == RESP_END);
		close_reader();
	}
	trip_fini(&t);
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

static Suite *suite(void)
{
	Suite *s = suite_create("resp");
	TCase *tc = add_case(s, "read");

	tcase_add_loop_test(tc, each_case_is_told_apart_with_its_offsets, 0,
			    ARRAY_LEN(cases));
	tcase_add_test(tc, an_annotation_has_at_most_1023_bytes_with_its_end);
	tcase_add_test(tc, the_text_of_an_annotation_is_handed_over);
	tcase_add_test(tc, a_file_that_is_cut_anywhere_gives_what_was_whole);
	tcase_add_test(tc, a_file_whose_end_became_nul_gives_what_was_whole);
	tcase_add_test(tc, a_byte_that_changed_never_harms_what_precedes_it);
	tcase_add_test(tc, random_bytes_of_the_alphabet_are_survived);

	tc = add_case(s, "write");
	tcase_add_test(tc, what_is_written_is_these_bytes);
	tcase_add_test(tc, numbers_are_written_in_decimal);
	tcase_add_test(tc,
		       an_annotation_that_redis_would_not_read_is_not_written);
	tcase_add_test(tc, a_command_larger_than_memory_has_no_size);
	tcase_add_test(tc, a_buffer_without_memory_stays_as_it_is);

	tc = add_case(s, "both");
	tcase_add_test(tc, what_is_written_is_read_again);
	tcase_add_loop_test(tc, what_does_not_fit_the_window_is_read_again, 0,
			    4);
	tcase_add_test(tc,
		       a_record_may_end_anywhere_near_the_end_of_the_window);
	tcase_add_test(tc,
		       a_command_of_many_arguments_takes_memory_in_proportion);
	tcase_add_test(tc, a_value_of_500_mib_is_read);
	tcase_add_test(tc,
		       an_announced_value_that_is_not_there_takes_no_memory);
	tcase_add_loop_test(tc, a_tail_of_nuls_may_be_of_any_length, 0, 3);
	tcase_add_test(tc, reading_may_begin_at_any_record);

	tc = add_case(s, "failures");
	tcase_add_test(tc, a_failed_read_is_handed_on);
	tcase_add_test(tc, an_interrupted_read_is_tried_again);
	tcase_add_test(tc, a_file_that_shrinks_meanwhile_is_an_error);
	tcase_add_test(tc, memory_that_is_refused_is_told);
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { suite, NULL };

	return unit_main(suites);
}
