/* SPDX-License-Identifier: MIT */

/*
 * Strings in RDB:
 *
 *   00llllll                              length below 64, then the bytes
 *   01llllll llllllll                     length below 16384, big-endian
 *   80 length:4   81 length:8             big-endian
 *   C0 int:1   C1 int:2   C2 int:4        little-endian, decimal when read
 *   C3 compressed original bytes          LZF; both lengths as above
 *
 * LZF. liblzf goes through a table of 256 KiB, which costs some 5 ns a byte on
 * data that do not compress, most of the time of a dump of small values. So
 * short strings are looked at first (worth_compressing()); that costs a third
 * to a sixth and never rejects what liblzf could have compressed:
 *
 *   A back-reference of L bytes takes 2 or 3 bytes of output, so it saves at
 *   most L-2; and each of the L-2 positions at which three bytes of it begin
 *   repeats three bytes that stood earlier in the string. With S repeats in
 *   all, back-references save at most S and cover at most 3S bytes; the other
 *   n-3S bytes are literals and cost a control byte per 32. To save 4 bytes
 *   takes S - (n-3S)/32 >= 4, that is S >= (128+n)/35.
 *
 *   Repeats are counted by a table of tags, indexed by a hash of the three
 *   bytes. Collisions only add to the count. The table grows with the string so
 *   that chance collisions of random bytes, n^2/2N of them, stay well below the
 *   bound; a new tag for each string saves clearing it.
 *
 * A long string is compressed 64 KiB at a time, in place, without being put
 * together: LZF output is a sequence of runs and references backwards, so
 * outputs that follow each other are one valid stream for the whole, and
 * references reach back just 8 KiB anyway. A block that does not shrink is
 * spelled out as literal runs.
 */

#include "persist/rdb_put.h"

#include <assert.h>
#include <liblzf/lzf.h>
#include <stdlib.h>
#include <string.h>

enum {
	ENC_INT8 = 0xc0,
	ENC_INT16 = 0xc1,
	ENC_INT32 = 0xc2,
	ENC_LZF = 0xc3,
	INT_TEXT_MAX = 11, /* "-2147483648" */
	LZF_LEN_MIN = 21,  /* Redis tries above 20 bytes */
	LZF_SAVING_MIN = 4,
	LZF_RUN_MAX = 32,     /* literals after one control byte */
	GUARD_LEN_MAX = 4096, /* longer ones need a table beyond the cache */
	PIECE_MAX = VALUE_CHUNK,
	HELD_KEPT = 1 << 20, /* memory kept from one long string to the next */
	HEAD_MAX = 1 + 2 * RDB_LEN_BYTES_MAX,
};

static_assert((int)PIECE_MAX + (int)HEAD_MAX <= (int)OUT_ROOM_MAX,
	      "a piece fits at once");
static_assert((int)VALUE_FLAT_MAX <= (int)PIECE_MAX,
	      "a flat value is one piece");

void rdb_put_fini(struct rdb_put *w)
{
	free(w->held);
	w->held = NULL;
	w->held_cap = 0;
}

uint8_t *rdb_encode_len(uint8_t *p, uint64_t len)
{
	int n = len <= UINT32_MAX ? 4 : 8;

	if (len < 64) {
		*p++ = (uint8_t)len;
		return p;
	}
	if (len < 16384) {
		*p++ = (uint8_t)(0x40 | len >> 8);
		*p++ = (uint8_t)len;
		return p;
	}
	*p++ = n == 4 ? 0x80 : 0x81;
	for (int shift = 8 * (n - 1); shift >= 0; shift -= 8)
		*p++ = (uint8_t)(len >> shift);
	return p;
}

int rdb_put_len(struct rdb_put *w, uint64_t len)
{
	uint8_t *p;
	int r = out_reserve(&w->out, RDB_LEN_BYTES_MAX, &p);

	if (r == 0)
		out_commit(&w->out, rdb_encode_len(p, len));
	return r;
}

/* --- integers --------------------------------------------------------- */

/* Whether the text is what printf("%d") makes of an int32_t. */
static bool parse_int32(struct span s, int32_t *ret)
{
	const char *p = s.ptr, *end = p + s.len;
	int64_t n = 0;
	bool negative;

	if (s.len == 0 || s.len > INT_TEXT_MAX)
		return false;
	negative = *p == '-';
	p += negative;
	if (p == end)
		return false;
	if (*p == '0' && (negative || s.len > 1))
		return false;
	for (; p < end; p++) {
		if (*p < '0' || *p > '9')
			return false;
		n = n * 10 + (*p - '0');
	}
	if (negative)
		n = -n;
	if (n < INT32_MIN || n > INT32_MAX)
		return false;
	*ret = (int32_t)n;
	return true;
}

static int put_int(struct rdb_put *w, int32_t n)
{
	int r, bytes = 4;
	uint8_t *p;

	r = out_reserve(&w->out, 5, &p);
	if (r < 0)
		return r;
	*p = ENC_INT32;
	if (n >= INT8_MIN && n <= INT8_MAX) {
		*p = ENC_INT8;
		bytes = 1;
	} else if (n >= INT16_MIN && n <= INT16_MAX) {
		*p = ENC_INT16;
		bytes = 2;
	}
	p++;
	for (int i = 0; i < bytes; i++)
		*p++ = (uint8_t)((uint32_t)n >> 8 * i);
	out_commit(&w->out, p);
	return 0;
}

/* --- one piece -------------------------------------------------------- */

/* False if no LZF encoding of the string can save LZF_SAVING_MIN bytes. */
static bool worth_compressing(struct rdb_put *w, struct span s)
{
	const uint32_t n = (uint32_t)s.len, need = (128 + n + 34) / 35;
	const uint8_t *p = s.ptr, *end = p + n - 3, *stop;
	unsigned bits = 32 - (unsigned)__builtin_clz(n * 40 - 1);
	unsigned shift = 32 - MIN(bits, (unsigned)RDB_GUARD_BITS);
	uint32_t word, at, repeats = 0;
	uint8_t round = ++w->round;

	if (round == 0) {
		memset(w->seen, 0, sizeof(w->seen));
		round = w->round = 1;
	}
	while (p < end) {
		for (stop = p + MIN(16, end - p); p < stop; p++) {
			memcpy(&word, p, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
			word <<= 8; /* drops the fourth byte */
#else
			word &= ~UINT32_C(0xff);
#endif
			at = word * UINT32_C(2654435769) >> shift;
			repeats += w->seen[at] == round;
			w->seen[at] = round;
		}
		if (repeats >= need)
			return true;
	}
	return repeats + 1 >=
	       need; /* the last three bytes were not looked at */
}

/* Return: 1 if it was put compressed; 0 if that does not pay; -errno. */
static int put_compressed(struct rdb_put *w, struct span s)
{
	uint8_t *p, *bytes, *end;
	unsigned n;
	int r;

	if (s.len <= GUARD_LEN_MAX && !worth_compressing(w, s))
		return 0;
	r = out_reserve(&w->out, HEAD_MAX + s.len, &p);
	if (r < 0)
		return r;
	bytes = p + HEAD_MAX;
	n = lzf_compress(s.ptr, (unsigned)s.len, bytes,
			 (unsigned)s.len - LZF_SAVING_MIN);
	if (n == 0)
		return 0;
	*p++ = ENC_LZF;
	end = rdb_encode_len(p, n);
	end = rdb_encode_len(end, s.len);
	memmove(end, bytes, n);
	out_commit(&w->out, end + n);
	return 1;
}

static int put_plain(struct rdb_put *w, struct span s)
{
	uint8_t *p;
	int r;

	if (s.len > PIECE_MAX) {
		r = rdb_put_len(w, s.len);
		return r < 0 ? r : out_bytes(&w->out, s.ptr, s.len);
	}
	r = out_reserve(&w->out, RDB_LEN_BYTES_MAX + s.len, &p);
	if (r < 0)
		return r;
	p = rdb_encode_len(p, s.len);
	if (s.len)
		memcpy(p, s.ptr, s.len);
	out_commit(&w->out, p + s.len);
	return 0;
}

/* --- many pieces ------------------------------------------------------ */

/* A string in memory or in a value. */
struct source {
	struct span span;
	const struct value *value;
	uint64_t len;
};

/* The next piece, at most PIECE_MAX bytes. */
static struct span piece_at(const struct source *src, uint64_t off)
{
	struct iovec iov;
	size_t len = (size_t)MIN(src->len - off, (uint64_t)PIECE_MAX);

	if (!src->value)
		return span_of((const char *)src->span.ptr + off, len);
	if (value_iov(src->value, off, len, &iov, 1) != 1)
		return span_of(NULL, 0);
	return span_of(iov.iov_base, iov.iov_len);
}

static bool held_reserve(struct rdb_put *w, size_t more)
{
	size_t need = w->n_held + more;
	uint8_t *p;

	if (need <= w->held_cap)
		return true;
	need = MIN(MAX(need, w->held_cap * 2),
		   (size_t)RDB_LZF_HELD_MAX + OUT_ROOM_MAX);
	p = realloc(w->held, need);
	if (!p)
		return false;
	w->held = p;
	w->held_cap = need;
	return true;
}

/* What LZF calls bytes that stand for themselves. */
static void hold_literals(struct rdb_put *w, struct span s)
{
	const uint8_t *from = s.ptr;
	size_t n;

	for (size_t left = s.len; left; left -= n, from += n) {
		n = MIN(left, (size_t)LZF_RUN_MAX);
		w->held[w->n_held++] = (uint8_t)(n - 1);
		memcpy(w->held + w->n_held, from, n);
		w->n_held += n;
	}
}

/* Compresses all of it into w->held. Return: true if it pays. Memory that is
 * not there is no failure: the string then goes out plain. */
static bool hold_compressed(struct rdb_put *w, const struct source *src)
{
	uint64_t off;
	struct span s;
	unsigned n;

	w->n_held = 0;
	for (off = 0; off < src->len; off += s.len) {
		s = piece_at(src, off);
		if (s.len == 0 || w->n_held > RDB_LZF_HELD_MAX ||
		    !held_reserve(w, s.len + s.len / LZF_RUN_MAX + 1))
			return false;
		n = 0;
		if (s.len > LZF_SAVING_MIN)
			n = lzf_compress(s.ptr, (unsigned)s.len,
					 w->held + w->n_held,
					 (unsigned)s.len - 1);
		if (n)
			w->n_held += n;
		else
			hold_literals(w, s);
	}
	return w->n_held <= RDB_LZF_HELD_MAX &&
	       w->n_held + LZF_SAVING_MIN <= src->len;
}

static int put_held(struct rdb_put *w, uint64_t len)
{
	uint8_t *p;
	int r;

	r = out_reserve(&w->out, HEAD_MAX, &p);
	if (r < 0)
		return r;
	*p++ = ENC_LZF;
	p = rdb_encode_len(p, w->n_held);
	out_commit(&w->out, rdb_encode_len(p, len));
	return out_bytes(&w->out, w->held, w->n_held);
}

/* More than one piece: neither an integer nor short. */
static int put_long(struct rdb_put *w, const struct source *src)
{
	struct span s;
	int r;

	/* Redis' decompressor counts in 32 bits. */
	if (w->compress && src->len <= UINT32_MAX && hold_compressed(w, src)) {
		r = put_held(w, src->len);
	} else {
		r = rdb_put_len(w, src->len);
		for (uint64_t off = 0; r == 0 && off < src->len; off += s.len) {
			s = piece_at(src, off);
			r = s.len ? out_bytes(&w->out, s.ptr, s.len) : -EIO;
		}
	}
	if (w->held_cap > HELD_KEPT)
		rdb_put_fini(w);
	return r;
}

/* --- strings ---------------------------------------------------------- */

int rdb_put_string(struct rdb_put *w, struct span s)
{
	int32_t n;
	int r;

	if (s.len <= INT_TEXT_MAX && parse_int32(s, &n))
		return put_int(w, n);
	if (s.len > PIECE_MAX) {
		const struct source src = { .span = s, .len = s.len };

		return put_long(w, &src);
	}
	if (w->compress && s.len >= LZF_LEN_MIN) {
		r = put_compressed(w, s);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	return put_plain(w, s);
}

int rdb_put_value(struct rdb_put *w, const struct value *v)
{
	const struct source src = { .value = v, .len = value_size(v) };

	if (src.len <= PIECE_MAX)
		return rdb_put_string(w, piece_at(&src, 0));
	return put_long(w, &src);
}

int rdb_put_raw_value(struct rdb_put *w, const struct value *v)
{
	const struct source src = { .value = v, .len = value_size(v) };
	struct span s;
	int r = 0;

	for (uint64_t off = 0; r == 0 && off < src.len; off += s.len) {
		s = piece_at(&src, off);
		r = s.len ? out_bytes(&w->out, s.ptr, s.len) : -EIO;
	}
	return r;
}
