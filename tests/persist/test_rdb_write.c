/* SPDX-License-Identifier: MIT */

/*
 * What the writer emits is compared with bytes spelled out here, from Redis'
 * format and FORMAT.md, and not with what the reader makes of it: a pair of
 * matching mistakes would go unseen. The round trip and redis-check-rdb follow.
 */

#include <fcntl.h>
#include <liblzf/lzf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "persist/rdb.h"
#include "persist/rdb_put.h"
#include "store/store.h"
#include "store/view.h"
#include "tests/lib/faulty.h"
#include "tests/lib/listing.h"
#include "tests/lib/unit.h"

#define NOW_NS (INT64_C(1700000000) * 1000000000)

/* --- a file in memory ------------------------------------------------- */

struct sink {
	struct io io;
	uint8_t *p;
	size_t len, cap;
	int n_writes;
	int fail_write, error; /* the n-th write answers -error */
	int sync_result;       /* of sync_range() */
	char syncs[256];       /* "off+len off+len ": in MiB */
};

static ssize_t sink_write(void *ctx, int fd, const void *buf, size_t len)
{
	struct sink *s = ctx;

	(void)fd;
	if (++s->n_writes == s->fail_write)
		return -s->error;
	if (s->len + len > s->cap) {
		s->cap = MAX(s->cap * 2, s->len + len);
		s->p = realloc(s->p, s->cap);
		ck_assert_ptr_nonnull(s->p);
	}
	memcpy(s->p + s->len, buf, len);
	s->len += len;
	return (ssize_t)len;
}

static int sink_sync_range(void *ctx, int fd, off_t off, off_t len)
{
	struct sink *s = ctx;
	size_t n = strlen(s->syncs);

	(void)fd;
	snprintf(s->syncs + n, sizeof(s->syncs) - n, "%.1f+%.1f ",
		 (double)off / 1048576, (double)len / 1048576);
	return s->sync_result;
}

static void sink_init(struct sink *s)
{
	*s = (struct sink){ .io = { .ctx = s,
				    .write = sink_write,
				    .sync_range = sink_sync_range } };
}

/* --- bytes that must be there ----------------------------------------- */

struct expect {
	uint8_t p[4096];
	size_t len;
};

static void add(struct expect *x, const void *p, size_t len)
{
	ck_assert(x->len + len <= sizeof(x->p));
	memcpy(x->p + x->len, p, len);
	x->len += len;
}

/* A literal that may hold NULs. */
#define ADD(x, lit) add(x, lit, sizeof(lit) - 1)

static void add_head(struct expect *x, char sep)
{
	ADD(x, "REDIS0010");
	ADD(x, "\xfa\x09redis-ver\x06"
	       "7.0.15");
	ADD(x, "\xfa\x0aredis-bits\xc0\x40");
	ADD(x, "\xfa\x05"
	       "ctime\xc2\x00\xf1\x53\x65");	/* 1700000000 */
	ADD(x, "\xfa\x08used-mem\xc1\x39\x30"); /* 12345 */
	ADD(x, "\xfa\x08"
	       "aof-base\xc0\x00");
	ADD(x, "\xfa\x09keyfs-ver\xc0\x01");
	ADD(x, "\xfa\x09keyfs-sep\x01");
	add(x, &sep, 1);
}

/* Redis' CRC64 by its definition: bit by bit. */
static uint64_t crc64(const uint8_t *p, size_t len)
{
	uint64_t crc = 0;

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x95ac9329ac4bc9b5 : 0);
	}
	return crc;
}

static void add_end(struct expect *x)
{
	uint64_t crc;

	ADD(x, "\xff");
	crc = crc64(x->p, x->len);
	for (int i = 0; i < 8; i++)
		x->p[x->len++] = (uint8_t)(crc >> 8 * i);
}

static void assert_bytes(const struct sink *s, const struct expect *x)
{
	size_t i = 0;

	while (i < MIN(s->len, x->len) && s->p[i] == x->p[i])
		i++;
	ck_assert_msg(i == s->len && i == x->len,
		      "%zu bytes written, %zu expected, first difference at "
		      "%zu: %02x, expected %02x",
		      s->len, x->len, i, i < s->len ? s->p[i] : 0,
		      i < x->len ? x->p[i] : 0);
}

/* --- stores ----------------------------------------------------------- */

static int64_t fixed_clock(void)
{
	return NOW_NS;
}

static struct store *new_store(char sep)
{
	const struct store_options opt = { .sep = sep, .now_ns = fixed_clock };
	struct store *st;

	ck_assert_int_eq(store_new(&opt, &st), 0);
	return st;
}

static struct store_item item(struct store *st, enum store_type type,
			      const void *p, size_t len)
{
	struct store_item it = {
		.type = type, .idle_s = -1, .freq = -1, .mtime_ns = NOW_NS
	};

	ck_assert_int_eq(value_new(store_mem(st), p, len, &it.value), 0);
	return it;
}

static void put(struct store *st, uint32_t db, const char *key,
		const void *value, size_t len)
{
	struct store_item it = item(st, STORE_FILE, value, len);

	ck_assert_int_eq(store_put(st, db, span_str(key), &it, NULL), 0);
}

static const struct rdb_save_options default_options = { .compress = true,
							 .checksum = true,
							 .used_memory = 12345 };

static int write_with(struct store *st, struct sink *s,
		      const struct rdb_extras *extras,
		      const struct rdb_save_options *opt,
		      struct rdb_save_stats *stats)
{
	struct view *v;
	int r;

	ck_assert_int_eq(view_begin(st, NULL, NULL, &v), 0);
	r = rdb_write(&s->io, -1, v, extras, opt, stats);
	view_end(v);
	return r;
}

static struct rdb_save_stats write_store(struct store *st, struct sink *s)
{
	struct rdb_save_stats stats;

	sink_init(s);
	ck_assert_int_eq(write_with(st, s, NULL, &default_options, &stats), 0);
	ck_assert_uint_eq(stats.bytes, s->len);
	return stats;
}

/* --- strings ---------------------------------------------------------- */

static struct rdb_put *new_put(struct sink *s)
{
	struct rdb_put *w = calloc(1, sizeof(*w));

	ck_assert_ptr_nonnull(w);
	sink_init(s);
	ck_assert_int_eq(out_init(&w->out, &s->io, -1, false, false), 0);
	w->compress = true;
	return w;
}

static void free_put(struct rdb_put *w, struct sink *s)
{
	rdb_put_fini(w);
	out_fini(&w->out);
	free(w);
	free(s->p);
}

/* Encodes one string; the sink then holds its bytes. */
static void encode(struct rdb_put *w, struct sink *s, struct span text)
{
	s->len = 0;
	unit_check(rdb_put_string(w, text) == 0);
	unit_check(out_flush(&w->out) == 0);
}

struct encoding {
	const char *text, *bytes;
	size_t len;
};
#define ENC(t, b)                                                              \
	{                                                                      \
		t, b, sizeof(b) - 1                                            \
	}

static const struct encoding encodings[] = {
	ENC("", "\x00"),
	ENC("0", "\xc0\x00"),
	ENC("-1", "\xc0\xff"),
	ENC("127", "\xc0\x7f"),
	ENC("-128", "\xc0\x80"),
	ENC("128", "\xc1\x80\x00"),
	ENC("-129", "\xc1\x7f\xff"),
	ENC("32767", "\xc1\xff\x7f"),
	ENC("-32768", "\xc1\x00\x80"),
	ENC("32768", "\xc2\x00\x80\x00\x00"),
	ENC("-32769", "\xc2\xff\x7f\xff\xff"),
	ENC("2147483647", "\xc2\xff\xff\xff\x7f"),
	ENC("-2147483648", "\xc2\x00\x00\x00\x80"),
	/* not what printf would make of a number that fits */
	ENC("2147483648", "\x0a"
			  "2147483648"),
	ENC("-2147483649", "\x0b-2147483649"),
	ENC("99999999999", "\x0b"
			   "99999999999"),
	ENC("007", "\x03"
		   "007"),
	ENC("-0", "\x02-0"),
	ENC("-", "\x01-"),
	ENC("-01", "\x03-01"),
	ENC("+1", "\x02+1"),
	ENC(" 1", "\x02 1"),
	ENC("1 ", "\x02"
		  "1 "),
	ENC("12a", "\x03"
		   "12a"),
	/* 20 bytes are never compressed, 21 are */
	ENC("aaaaaaaaaaaaaaaaaaaa", "\x14"
				    "aaaaaaaaaaaaaaaaaaaa"),
};

START_TEST(short_strings_are_encoded_as_redis_does)
{
	const struct encoding *e = &encodings[_i];
	struct sink s;
	struct rdb_put *w = new_put(&s);

	encode(w, &s, span_str(e->text));
	ck_assert_msg(s.len == e->len && memcmp(s.p, e->bytes, e->len) == 0,
		      "\"%s\" became %zu bytes, first %02x", e->text, s.len,
		      s.p[0]);
	free_put(w, &s);
}
END_TEST

struct length {
	uint64_t len;
	const char *bytes;
	size_t n;
};
#define LEN(l, b)                                                              \
	{                                                                      \
		l, b, sizeof(b) - 1                                            \
	}

static const struct length lengths[] = {
	LEN(0, "\x00"),
	LEN(63, "\x3f"),
	LEN(64, "\x40\x40"),
	LEN(16383, "\x7f\xff"),
	LEN(16384, "\x80\x00\x00\x40\x00"),
	LEN(UINT32_MAX, "\x80\xff\xff\xff\xff"),
	LEN(UINT64_C(1) << 32, "\x81\x00\x00\x00\x01\x00\x00\x00\x00"),
};

START_TEST(lengths_take_their_shortest_form)
{
	uint8_t buf[RDB_LEN_BYTES_MAX];

	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		uint8_t *end = rdb_encode_len(buf, lengths[i].len);

		ck_assert_uint_eq((size_t)(end - buf), lengths[i].n);
		ck_assert(memcmp(buf, lengths[i].bytes, lengths[i].n) == 0);
	}
}
END_TEST

/* Reads a length back. */
static const uint8_t *decode_len(const uint8_t *p, uint64_t *ret)
{
	if (*p < 0x40) {
		*ret = *p;
		return p + 1;
	}
	if (*p < 0x80) {
		*ret = (uint64_t)(*p & 0x3f) << 8 | p[1];
		return p + 2;
	}
	ck_assert_uint_eq(*p, 0x80);
	*ret = (uint64_t)p[1] << 24 | (uint64_t)p[2] << 16 |
	       (uint64_t)p[3] << 8 | p[4];
	return p + 5;
}

/* The sink's bytes must be one string that reads back as @text. Return: whether
 * it was compressed. */
static bool assert_decodes(const struct sink *s, struct span text)
{
	bool compressed = s->p[0] == 0xc3;
	const uint8_t *p = s->p + compressed;
	uint64_t len, n = text.len;
	uint8_t *buf;

	if (compressed)
		p = decode_len(p, &n);
	p = decode_len(p, &len);
	unit_check(len == text.len);
	unit_check(p + n == s->p + s->len);
	if (!compressed) {
		unit_check(memcmp(p, text.ptr, len) == 0);
		return false;
	}
	unit_check(n + 4 <= len);
	buf = malloc(len);
	unit_check(buf &&
		   lzf_decompress(p, (unsigned)n, buf, (unsigned)len) == len);
	unit_check(memcmp(buf, text.ptr, len) == 0);
	free(buf);
	return true;
}

/* Bytes of an alphabet of @n; now and then a piece of what was before. */
static void fill(struct unit_rng *rng, uint8_t *p, size_t len, uint64_t n)
{
	size_t i = 0, from, piece;

	while (i < len) {
		if (i > 8 && unit_below(rng, 40) == 0) {
			from = unit_below(rng, i - 4);
			piece = unit_range(rng, 3, 9);
			for (; piece && i < len; piece--)
				p[i++] = p[from++];
		} else {
			p[i++] = (uint8_t)unit_below(rng, n);
		}
	}
}

/* The look before compressing is an optimisation that must not show: what
 * liblzf makes smaller comes out compressed, what it does not comes out
 * plain. Alphabets and lengths around the limit of what pays are the hard
 * ones. */
START_TEST(what_compresses_comes_out_compressed)
{
	static const size_t scales[] = { 40, 150, 700, 5000 };
	static uint8_t text[8192], out[8192];
	struct unit_rng rng = unit_rng(7);
	struct sink s;
	struct rdb_put *w = new_put(&s);
	int n_compressed = 0, n_plain = 0;
	size_t len;
	bool can;

	for (int i = 0; i < 20000; i++) {
		len = unit_range(&rng, 21, 21 + scales[i % 4]);
		fill(&rng, text, len, unit_range(&rng, 2, i & 1 ? 24 : 256));
		can = lzf_compress(text, (unsigned)len, out,
				   (unsigned)len - 4) != 0;
		encode(w, &s, span_of(text, len));
		unit_check(assert_decodes(&s, span_of(text, len)) == can);
		n_compressed += can;
		n_plain += !can;
	}
	ck_assert_int_gt(n_compressed, 1000);
	ck_assert_int_gt(n_plain, 1000);
	free_put(w, &s);
}
END_TEST

/* Bytes that are all different, and then the first of them once more: the
 * fewest repeats with which a string can pay. */
START_TEST(the_least_that_pays_is_compressed)
{
	uint8_t text[256], out[256];
	struct sink s;
	struct rdb_put *w = new_put(&s);
	int n_compressed = 0;
	bool can;

	for (size_t len = 21; len <= sizeof(text); len++) {
		for (size_t again = 3; again + 3 < len / 2; again++) {
			for (size_t i = 0; i < len; i++)
				text[i] = (uint8_t)i;
			memcpy(text + len - again - 3, text, again);
			can = lzf_compress(text, (unsigned)len, out,
					   (unsigned)len - 4) != 0;
			encode(w, &s, span_of(text, len));
			unit_check(assert_decodes(&s, span_of(text, len)) ==
				   can);
			n_compressed += can;
		}
	}
	ck_assert_int_gt(n_compressed, 1000);
	free_put(w, &s);
}
END_TEST

START_TEST(compression_can_be_off)
{
	char text[1000];
	struct sink s;
	struct rdb_put *w = new_put(&s);

	memset(text, 'a', sizeof(text));
	encode(w, &s, span_of(text, sizeof(text)));
	ck_assert(assert_decodes(&s, span_of(text, sizeof(text))));
	w->compress = false;
	encode(w, &s, span_of(text, sizeof(text)));
	ck_assert(!assert_decodes(&s, span_of(text, sizeof(text))));
	free_put(w, &s);
}
END_TEST

/* Lengths around the borders of one piece, one chunk, one buffer; as a span and
 * as a value. */
START_TEST(long_strings_survive)
{
	static const size_t lens[] = {
		VALUE_FLAT_MAX,	 VALUE_FLAT_MAX + 1, VALUE_CHUNK,
		VALUE_CHUNK + 1, VALUE_CHUNK + 3,    2 * VALUE_CHUNK + 7,
		OUT_BUFFER,	 OUT_BUFFER + 12345, 3 * OUT_BUFFER + 1,
	};
	const bool random = _i % 2;
	const size_t len = lens[_i / 2];
	struct unit_rng rng = unit_rng((uint64_t)_i);
	struct mem mem;
	struct value *v;
	struct sink s;
	struct rdb_put *w = new_put(&s);
	uint8_t *text = malloc(len);

	ck_assert_ptr_nonnull(text);
	if (random)
		unit_bytes(&rng, text, len);
	else
		fill(&rng, text, len, 4);
	mem_init(&mem);
	ck_assert_int_eq(value_new(&mem, text, len, &v), 0);
	encode(w, &s, span_of(text, len));
	ck_assert(assert_decodes(&s, span_of(text, len)) == !random);
	s.len = 0;
	ck_assert_int_eq(rdb_put_value(w, v), 0);
	ck_assert_int_eq(out_flush(&w->out), 0);
	ck_assert(assert_decodes(&s, span_of(text, len)) == !random);
	s.len = 0;
	ck_assert_int_eq(rdb_put_raw_value(w, v), 0);
	ck_assert_int_eq(out_flush(&w->out), 0);
	ck_assert_uint_eq(s.len, len);
	ck_assert(memcmp(s.p, text, len) == 0);
	value_unref(&mem, v);
	free(text);
	free_put(w, &s);
}
END_TEST

/* A part of the value does not shrink: it is spelled out within the stream. */
START_TEST(a_value_may_compress_in_parts)
{
	const size_t len = 40 * VALUE_CHUNK;
	struct unit_rng rng = unit_rng(3);
	struct mem mem;
	struct value *v;
	struct sink s;
	struct rdb_put *w = new_put(&s);
	uint8_t *text = calloc(1, len);

	ck_assert_ptr_nonnull(text);
	unit_bytes(&rng, text + 5 * VALUE_CHUNK, 10 * VALUE_CHUNK);
	mem_init(&mem);
	ck_assert_int_eq(value_new(&mem, text, len, &v), 0);
	ck_assert_int_eq(rdb_put_value(w, v), 0);
	ck_assert_int_eq(out_flush(&w->out), 0);
	ck_assert(assert_decodes(&s, span_of(text, len)));
	ck_assert_uint_lt(s.len, 12 * VALUE_CHUNK);
	/* what a long string needed is not kept */
	ck_assert_ptr_null(w->held);
	value_unref(&mem, v);
	free(text);
	free_put(w, &s);
}
END_TEST

/* More than can be held compressed: plain, and the memory stays bounded. */
START_TEST(what_cannot_be_held_goes_out_plain)
{
	const size_t len = RDB_LZF_HELD_MAX + 8 * OUT_BUFFER;
	struct unit_rng rng = unit_rng(4);
	struct mem mem;
	struct value *v = NULL;
	struct sink s;
	struct rdb_put *w = new_put(&s);
	static uint8_t block[OUT_BUFFER];

	mem_init(&mem);
	unit_bytes(&rng, block, sizeof(block));
	for (size_t at = 0; at < len; at += sizeof(block))
		ck_assert_int_eq(value_append(&mem, &v, block, sizeof(block)),
				 0);
	ck_assert_int_eq(rdb_put_value(w, v), 0);
	ck_assert_int_eq(out_flush(&w->out), 0);
	ck_assert_uint_eq(s.len, 5 + len);
	ck_assert_uint_eq(s.p[0], 0x80);
	ck_assert(memcmp(s.p + 5 + len - sizeof(block), block, sizeof(block)) ==
		  0);
	value_unref(&mem, v);
	free_put(w, &s);
}
END_TEST

/* --- dumps ------------------------------------------------------------ */

START_TEST(an_empty_store_is_a_head_and_an_end)
{
	struct store *st = new_store('/');
	struct expect x = { 0 };
	struct sink s;

	add_head(&x, '/');
	add_end(&x);
	ck_assert_uint_eq(write_store(st, &s).keys, 0);
	assert_bytes(&s, &x);
	free(s.p);
	store_free(st);
}
END_TEST

/* zigzag(1700000000000000000) = 3400000000000000000 in 9 groups of 7 bits */
#define TIME_NOW "\x80\x80\xd0\xe2\xc6\xbf\xce\x97\x2f"

START_TEST(a_key_is_type_name_and_value)
{
	struct store *st = new_store('/');
	struct expect x = { 0 };
	struct sink s;

	put(st, 0, "a/b", "hello", 5);
	add_head(&x, '/');
	ADD(&x, "\xfe\x00\xfb\x01\x00");
	ADD(&x, "\x00\x03"
		"a/b\x05hello");
	ADD(&x, "\xfa\x0bkeyfs-times\x0a\x01" TIME_NOW);
	add_end(&x);
	ck_assert_uint_eq(write_store(st, &s).keys, 1);
	assert_bytes(&s, &x);
	free(s.p);
	store_free(st);
}
END_TEST

START_TEST(a_prefix_tells_deadline_and_idle_time_or_frequency)
{
	struct store *st = new_store('/');
	struct expect x = { 0 };
	struct store_item it;
	struct sink s;

	it = item(st, STORE_FILE, "1", 1);
	it.expire_ms = 0x0102030405060708;
	it.idle_s = 300;
	ck_assert_int_eq(store_put(st, 0, span_str("i"), &it, NULL), 0);
	it = item(st, STORE_FILE, "2", 1);
	it.freq = 200;
	ck_assert_int_eq(store_put(st, 0, span_str("f"), &it, NULL), 0);
	add_head(&x, '/');
	ADD(&x, "\xfe\x00\xfb\x02\x01");
	ADD(&x, "\xfc\x08\x07\x06\x05\x04\x03\x02\x01\xf8\x41\x2c");
	ADD(&x, "\x00\x01i\xc0\x01");
	ADD(&x, "\xf9\xc8\x00\x01"
		"f\xc0\x02");
	ADD(&x, "\xfa\x0bkeyfs-times\x0b\x01" TIME_NOW "\x00");
	add_end(&x);
	write_store(st, &s);
	assert_bytes(&s, &x);
	free(s.p);
	store_free(st);
}
END_TEST

/* A list of one element, and a stream's bytes as they were read. */
START_TEST(other_types_are_written_with_their_own_bytes)
{
	static const char list[] = "\x01\x05hello", opaque[] = "\x00\xffxyz";
	struct store *st = new_store('/');
	struct expect x = { 0 };
	struct store_item it;
	struct sink s;

	it = item(st, STORE_TYPED, list, sizeof(list) - 1);
	it.rdb_type = RDB_TYPE_LIST;
	ck_assert_int_eq(store_put(st, 0, span_str("list"), &it, NULL), 0);
	it = item(st, STORE_OPAQUE, opaque, sizeof(opaque) - 1);
	it.rdb_type = RDB_TYPE_STREAM_LISTPACKS_2;
	ck_assert_int_eq(store_put(st, 0, span_str("stream"), &it, NULL), 0);
	add_head(&x, '/');
	ADD(&x, "\xfe\x00\xfb\x02\x00");
	ADD(&x, "\x01\x04list\x01\x05hello");
	ADD(&x, "\x13\x06stream\x00\xffxyz");
	ADD(&x, "\xfa\x0bkeyfs-times\x0b\x01" TIME_NOW "\x00");
	add_end(&x);
	write_store(st, &s);
	assert_bytes(&s, &x);
	free(s.p);
	store_free(st);
}
END_TEST

/* The size of a database is told once, however often it is selected. */
START_TEST(databases_are_selected_as_the_keys_come)
{
	struct store *st = new_store('/');
	struct expect x = { 0 };
	struct sink s;

	put(st, 3, "a", "x", 1);
	put(st, 0, "b", "x", 1);
	put(st, 3, "c", "x", 1);
	put(st, 300, "d", "x", 1);
	add_head(&x, '/');
	ADD(&x, "\xfe\x03\xfb\x02\x00\x00\x01"
		"a\x01x");
	ADD(&x, "\xfe\x00\xfb\x01\x00\x00\x01"
		"b\x01x");
	ADD(&x, "\xfe\x03\x00\x01"
		"c\x01x");
	ADD(&x, "\xfe\x41\x2c\xfb\x01\x00\x00\x01"
		"d\x01x");
	ADD(&x, "\xfa\x0bkeyfs-times\x0d\x01" TIME_NOW "\x00\x00\x00");
	add_end(&x);
	ck_assert_uint_eq(write_store(st, &s).keys, 4);
	assert_bytes(&s, &x);
	free(s.p);
	store_free(st);
}
END_TEST

/* The key whose name is taken stays, the hash gets the next free one; its own
 * time is the previous key's. */
START_TEST(facts_follow_the_keys_as_a_hash)
{
	const struct store_facts f = { .mask = STORE_FACT_MODE, .mode = 0600 };
	struct store *st = new_store('/');
	struct expect x = { 0 };
	struct sink s;

	put(st, 0, "__keyfs__", "x", 1);
	put(st, 1, "other", "x", 1);
	ck_assert_int_eq(store_put_facts(st, 0, span_str("__keyfs__"), &f), 0);
	add_head(&x, '/');
	ADD(&x, "\xfe\x00\xfb\x01\x00\x00\x09__keyfs__\x01x");
	ADD(&x, "\xfe\x01\xfb\x01\x00\x00\x05other\x01x");
	ADD(&x, "\xfe\x00\x04\x0a__keyfs__1\x02");
	ADD(&x, "\x01v\x0dkeyfs 1 sep=/");
	ADD(&x, "\x0a/__keyfs__\x04m600");
	ADD(&x, "\xfa\x0bkeyfs-times\x0c\x01" TIME_NOW "\x00\x00");
	add_end(&x);
	ck_assert_uint_eq(write_store(st, &s).keys, 2);
	assert_bytes(&s, &x);
	free(s.p);
	store_free(st);
}
END_TEST

START_TEST(the_other_separator_is_always_told)
{
	struct store *st = new_store(':');
	struct expect x = { 0 };
	struct sink s;

	put(st, 0, "a:b/c", "x", 1);
	add_head(&x, ':');
	ADD(&x, "\xfe\x00\xfb\x01\x00\x00\x05"
		"a:b/c\x01x");
	ADD(&x, "\x04\x09__keyfs__\x01");
	ADD(&x, "\x01v\x0dkeyfs 1 sep=:");
	ADD(&x, "\xfa\x0bkeyfs-times\x0b\x01" TIME_NOW "\x00");
	add_end(&x);
	write_store(st, &s);
	assert_bytes(&s, &x);
	free(s.p);
	store_free(st);
}
END_TEST

/* Facts without any key: database 0 is selected for the hash. */
START_TEST(an_explicit_directory_is_kept_without_a_key)
{
	const struct store_facts f = { .mask = STORE_FACT_DIR };
	struct store *st = new_store('/');
	struct expect x = { 0 };
	struct sink s;

	ck_assert_int_eq(store_put_facts(st, 0, span_str("empty"), &f), 0);
	add_head(&x, '/');
	ADD(&x, "\xfe\x00\xfb\x00\x00\x04\x09__keyfs__\x02");
	ADD(&x, "\x01v\x0dkeyfs 1 sep=/\x06/empty\x01"
		"d");
	ADD(&x, "\xfa\x0bkeyfs-times\x02\x01\x00");
	add_end(&x);
	ck_assert_uint_eq(write_store(st, &s).keys, 0);
	assert_bytes(&s, &x);
	free(s.p);
	store_free(st);
}
END_TEST

START_TEST(extras_go_back_to_where_they_stood)
{
	uint8_t before[] = "\x05"
			   "funcs",
		after[] = "mod";
	struct rdb_extra v[] = {
		{ RDB_OP_MODULE_AUX, true, after, 3 },
		{ RDB_OP_FUNCTION2, false, before, 6 },
	};
	const struct rdb_extras extras = { v, 2 };
	struct rdb_save_stats stats;
	struct store *st = new_store('/');
	struct expect x = { 0 };
	struct sink s;

	sink_init(&s);
	put(st, 0, "k", "x", 1);
	add_head(&x, '/');
	ADD(&x, "\xf5\x05"
		"funcs");
	ADD(&x, "\xfe\x00\xfb\x01\x00\x00\x01k\x01x");
	ADD(&x, "\xfa\x0bkeyfs-times\x0a\x01" TIME_NOW);
	ADD(&x, "\xf7mod");
	add_end(&x);
	ck_assert_int_eq(write_with(st, &s, &extras, &default_options, &stats),
			 0);
	assert_bytes(&s, &x);
	free(s.p);
	store_free(st);
}
END_TEST

START_TEST(without_checksum_zero_is_written)
{
	struct rdb_save_options opt = default_options;
	struct store *st = new_store('/');
	struct rdb_save_stats stats;
	struct expect x = { 0 };
	struct sink s;

	sink_init(&s);
	opt.checksum = false;
	add_head(&x, '/');
	ADD(&x, "\xff\x00\x00\x00\x00\x00\x00\x00\x00");
	ck_assert_int_eq(write_with(st, &s, NULL, &opt, &stats), 0);
	assert_bytes(&s, &x);
	free(s.p);
	store_free(st);
}
END_TEST

static int count_of(const struct sink *s, const char *text)
{
	const uint8_t *p = s->p, *end = s->p + s->len;
	int n = 0;

	while ((p = memmem(p, (size_t)(end - p), text, strlen(text)))) {
		p += strlen(text);
		n++;
	}
	return n;
}

/* 512 keys end a block, and none is empty. */
START_TEST(write_times_come_in_blocks)
{
	static const struct {
		int keys, blocks;
	} t[] = { { 0, 0 },   { 1, 1 },	   { 511, 1 }, { 512, 1 },
		  { 513, 2 }, { 1024, 2 }, { 1025, 3 } };
	struct store *st;
	char key[32];
	struct sink s;

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		st = new_store('/');
		for (int k = 0; k < t[i].keys; k++) {
			snprintf(key, sizeof(key), "k%d", k);
			put(st, 0, key, "x", 1);
		}
		write_store(st, &s);
		ck_assert_int_eq(count_of(&s, "keyfs-times"), t[i].blocks);
		free(s.p);
		store_free(st);
	}
}
END_TEST

/* --- the way out ------------------------------------------------------ */

/* Some 9 MB of keys that do not compress. */
static struct store *large_store(void)
{
	struct store *st = new_store('/');
	struct unit_rng rng = unit_rng(11);
	uint8_t value[1000];
	char key[32];

	for (int i = 0; i < 9000; i++) {
		unit_bytes(&rng, value, sizeof(value));
		snprintf(key, sizeof(key), "key:%d", i);
		put(st, i % 3 ? 0 : 2, key, value, sizeof(value));
	}
	return st;
}

START_TEST(the_checksum_covers_all_buffers)
{
	struct store *st = large_store();
	struct sink s;
	uint64_t crc = 0;

	ck_assert_uint_eq(write_store(st, &s).keys, 9000);
	for (int i = 0; i < 8; i++)
		crc |= (uint64_t)s.p[s.len - 8 + i] << 8 * i;
	ck_assert(crc == crc64(s.p, s.len - 8));
	/* a buffer a write, and one for the checksum */
	ck_assert_int_le(s.n_writes, (int)(s.len / OUT_BUFFER) + 3);
	ck_assert_str_eq(s.syncs, "");
	free(s.p);
	store_free(st);
}
END_TEST

START_TEST(any_failed_write_fails_the_dump)
{
	const struct rdb_save_stats none = { 77, 77 };
	struct store *st = large_store();
	struct rdb_save_stats stats = none;
	struct sink s;
	int r = -ENOSPC;

	for (int n = 1; r < 0; n++) {
		sink_init(&s);
		s.fail_write = n;
		s.error = ENOSPC;
		r = write_with(st, &s, NULL, &default_options, &stats);
		ck_assert_int_eq(r, s.n_writes >= n ? -ENOSPC : 0);
		if (r < 0)
			ck_assert(stats.keys == none.keys &&
				  stats.bytes == none.bytes);
		free(s.p);
		ck_assert_int_lt(n, 20);
	}
	ck_assert_uint_eq(stats.keys, 9000);
	store_free(st);
}
END_TEST

START_TEST(writeout_is_started_every_four_megabytes)
{
	static const struct {
		int sync_result, result;
	} t[] = { { 0, 0 },	  { -ENOSYS, 0 },	{ -EINVAL, 0 },
		  { -EIO, -EIO }, { -ENOSPC, -ENOSPC }, { -EDQUOT, -EDQUOT } };
	struct rdb_save_options opt = default_options;
	struct store *st = large_store();
	struct rdb_save_stats stats;
	struct sink s;

	opt.incremental_sync = true;
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		sink_init(&s);
		s.sync_result = t[i].sync_result;
		ck_assert_int_eq(write_with(st, &s, NULL, &opt, &stats),
				 t[i].result);
		ck_assert_str_eq(s.syncs,
				 t[i].result ? "0.0+4.0 " : "0.0+4.0 4.0+4.0 ");
		free(s.p);
	}
	store_free(st);
}
END_TEST

START_TEST(a_cancelled_view_ends_the_dump)
{
	struct store *st = large_store();
	struct rdb_save_stats stats;
	struct sink s;
	struct view *v;

	sink_init(&s);
	ck_assert_int_eq(view_begin(st, NULL, NULL, &v), 0);
	view_cancel(v);
	ck_assert_int_eq(
		rdb_write(&s.io, -1, v, NULL, &default_options, &stats),
		-ECANCELED);
	view_end(v);
	free(s.p);
	store_free(st);
}
END_TEST

/* --- what others make of it ------------------------------------------- */

/* Keys of all sorts, facts, deadlines far away, all of them valid. */
static struct store *mixed_store(void)
{
	static const char set[] = "\x02\x01"
				  "a\x01"
				  "b";
	const struct store_facts mode = { .mask = STORE_FACT_MODE |
						  STORE_FACT_UID,
					  .mode = 0640,
					  .uid = 1234 };
	const struct store_facts dir = { .mask = STORE_FACT_DIR };
	struct store *st = new_store('/');
	struct unit_rng rng = unit_rng(21);
	static uint8_t value[200000];
	struct store_item it;
	char key[64];

	for (int i = 0; i < 2000; i++) {
		size_t len = unit_below(&rng, i % 100 ? 300 : sizeof(value));

		snprintf(key, sizeof(key), "d%d/key:%d", i % 13, i);
		fill(&rng, value, len, unit_range(&rng, 1, 256));
		it = item(st, STORE_FILE, value, len);
		it.mtime_ns = (int64_t)unit_below(&rng, 2000000000) * 1000000;
		it.expire_ms = i % 7 ? 0 : INT64_C(9999999999999) + i;
		it.idle_s = i % 11 ? -1 : i;
		ck_assert_int_eq(
			store_put(st, i % 17 ? 0 : 5, span_str(key), &it, NULL),
			0);
	}
	it = item(st, STORE_TYPED, set, sizeof(set) - 1);
	it.rdb_type = RDB_TYPE_SET;
	ck_assert_int_eq(store_put(st, 0, span_str("set"), &it, NULL), 0);
	ck_assert_int_eq(store_put_facts(st, 0, span_str("d1/key:1"), &mode),
			 0);
	ck_assert_int_eq(store_put_facts(st, 0, span_str("empty"), &dir), 0);
	return st;
}

START_TEST(what_is_written_reads_back_the_same)
{
	const struct rdb_load_options opt = { .verify = true };
	struct store *st = mixed_store(), *back = new_store('/');
	struct rdb_load_stats loaded;
	struct listing want, got;
	struct rdb_extras extras = { 0 };
	struct rdb_error err = { 0 };
	struct sink s;
	int r;

	write_store(st, &s);
	r = rdb_load_bytes(span_of(s.p, s.len), back, &opt, &extras, &loaded,
			   &err);
	ck_assert_msg(r == 0, "%d at %lu: %s", r, (unsigned long)err.offset,
		      err.what);
	ck_assert_uint_eq(loaded.keys, 2001);
	ck_assert_int_eq(loaded.ctime_s, NOW_NS / 1000000000);
	listing_of_store(st, &want);
	listing_of_store(back, &got);
	listing_assert_eq(&want, &got);
	listing_fini(&want);
	listing_fini(&got);
	rdb_extras_fini(&extras);
	free(s.p);
	store_free(back);
	store_free(st);
}
END_TEST

static const char checker[] = "redis-check-rdb";

static bool have_checker(void)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "command -v %s >/dev/null 2>&1", checker);
	return system(cmd) == 0;
}

START_TEST(redis_finds_nothing_wrong)
{
	struct store *st = _i ? mixed_store() : new_store(':');
	struct unit_scratch dir;
	char cmd[600];
	struct sink s;
	int status;

	unit_scratch_init(&dir);
	write_store(st, &s);
	unit_scratch_write(&dir, "dump.rdb", s.p, s.len);
	snprintf(cmd, sizeof(cmd), "%s '%s/dump.rdb' >'%s/out' 2>&1", checker,
		 dir.path, dir.path);
	status = system(cmd);
	if (status != 0) {
		size_t len;
		char *text = unit_scratch_read(&dir, "out", &len);

		ck_abort_msg("%s said %d: %s", checker, WEXITSTATUS(status),
			     text);
	}
	free(s.p);
	store_free(st);
	unit_scratch_fini(&dir);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("rdb_write");
	TCase *strings = tcase_create("strings");
	TCase *dumps = tcase_create("dumps");
	TCase *way = tcase_create("way");
	TCase *others = tcase_create("others");

	tcase_add_loop_test(strings, short_strings_are_encoded_as_redis_does, 0,
			    (int)ARRAY_LEN(encodings));
	tcase_add_test(strings, lengths_take_their_shortest_form);
	tcase_add_test(strings, what_compresses_comes_out_compressed);
	tcase_add_test(strings, the_least_that_pays_is_compressed);
	tcase_add_test(strings, compression_can_be_off);
	tcase_add_loop_test(strings, long_strings_survive, 0, 18);
	tcase_add_test(strings, a_value_may_compress_in_parts);
	tcase_add_test(strings, what_cannot_be_held_goes_out_plain);
	suite_add_tcase(s, strings);

	tcase_add_test(dumps, an_empty_store_is_a_head_and_an_end);
	tcase_add_test(dumps, a_key_is_type_name_and_value);
	tcase_add_test(dumps,
		       a_prefix_tells_deadline_and_idle_time_or_frequency);
	tcase_add_test(dumps, other_types_are_written_with_their_own_bytes);
	tcase_add_test(dumps, databases_are_selected_as_the_keys_come);
	tcase_add_test(dumps, facts_follow_the_keys_as_a_hash);
	tcase_add_test(dumps, the_other_separator_is_always_told);
	tcase_add_test(dumps, an_explicit_directory_is_kept_without_a_key);
	tcase_add_test(dumps, extras_go_back_to_where_they_stood);
	tcase_add_test(dumps, without_checksum_zero_is_written);
	tcase_add_test(dumps, write_times_come_in_blocks);
	suite_add_tcase(s, dumps);

	tcase_add_test(way, the_checksum_covers_all_buffers);
	tcase_add_test(way, any_failed_write_fails_the_dump);
	tcase_add_test(way, writeout_is_started_every_four_megabytes);
	tcase_add_test(way, a_cancelled_view_ends_the_dump);
	suite_add_tcase(s, way);

	tcase_add_test(others, what_is_written_reads_back_the_same);
	if (have_checker())
		tcase_add_loop_test(others, redis_finds_nothing_wrong, 0, 2);
	else
		printf("# skipped: %s is not installed\n", checker);
	suite_add_tcase(s, others);
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { suite, NULL };

	return unit_main(suites);
}
