/* SPDX-License-Identifier: MIT */

/*
 * The buffer is a window of the file. Two things follow what is consumed, the
 * CRC and the capture, each by a pointer to the first byte that it has not
 * seen yet; both catch up when the window moves and when they are asked. So
 * the decoders do nothing but advance `p`, and small records, which are most,
 * cost one CRC call per megabyte.
 *
 *	base     crc_from  capture_from   p            end
 *	|-----------|-----------|---------|-------------|
 *
 * A string that does not fit the window is put together in `scratch` or
 * `packed`, or goes into its value piece by piece. What LZF announces as
 * original size is believed up to IN_LZF_FACTOR times what it takes: no match
 * makes more than 264 bytes of the 3 that describe it.
 */

#include "persist/in.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <isa-l.h>
#include <liblzf/lzf.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
	SCRATCH_MIN = 4096,
	/* What small strings leave allocated; more is given back after use. */
	SCRATCH_KEEP = IN_BUFFER,
};

/* First byte of a length or string. */
enum {
	LEN_6BIT = 0,
	LEN_14BIT = 1,
	LEN_LARGE = 2,
	LEN_ENCODED = 3,
	LEN_32BIT_BYTE = 0x80,
	LEN_64BIT_BYTE = 0x81,
	ENC_INT8 = 0,
	ENC_INT16 = 1,
	ENC_INT32 = 2,
	ENC_LZF = 3,
	LEN_MAX_BYTES = 9,
};

/* --- life ------------------------------------------------------------- */

int in_init(struct in *in, const struct io *io, int fd, uint64_t size,
	    struct mem *m, bool checksum, struct rdb_error *err)
{
	uint8_t *buf = mem_alloc(m, IN_BUFFER);

	*err = (struct rdb_error){ .code = 0 };
	*in = (struct in){ .io = io,
			   .fd = fd,
			   .mem = m,
			   .err = err,
			   .size = size,
			   .checksum = checksum };
	if (!buf)
		return in_fail(in, -ENOMEM, 0, "no memory for a buffer");
	in->buf = buf;
	in->base = in->p = in->end = in->crc_from = buf;
	return 0;
}

void in_init_bytes(struct in *in, struct span bytes, struct mem *m,
		   bool checksum, struct rdb_error *err)
{
	const uint8_t *p = bytes.ptr ? bytes.ptr : (const uint8_t *)"";

	*err = (struct rdb_error){ .code = 0 };
	*in = (struct in){ .fd = -1,
			   .mem = m,
			   .err = err,
			   .size = bytes.len,
			   .checksum = checksum,
			   .base = p,
			   .p = p,
			   .crc_from = p,
			   .end = p + bytes.len };
}

void in_fini(struct in *in)
{
	value_unref(in->mem, in->capture);
	mem_free(in->mem, in->buf);
	mem_free(in->mem, in->scratch);
	mem_free(in->mem, in->packed);
	in->capture = NULL;
	in->buf = in->scratch = in->packed = NULL;
}

void in_seek(struct in *in, uint64_t offset)
{
	uint64_t buffered = (uint64_t)(in->end - in->base);

	assert(offset <= in->size && !in->capture_from);
	if (offset >= in->base_off && offset - in->base_off <= buffered) {
		in->p = in->base + (offset - in->base_off);
	} else { /* so it is a file: bytes in memory are all buffered */
		in->base_off = offset;
		in->p = in->end = in->base;
	}
	in->crc = 0;
	in->crc_from = in->p;
}

/* --- errors ----------------------------------------------------------- */

PRINTF_LIKE(4, 0)
static int fail_va(struct in *in, int code, uint64_t offset, const char *fmt,
		   va_list ap)
{
	in->err->code = code;
	in->err->offset = offset;
	(void)vsnprintf(in->err->what, sizeof(in->err->what), fmt, ap);
	return code;
}

int in_fail(struct in *in, int code, uint64_t offset, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)fail_va(in, code, offset, fmt, ap);
	va_end(ap);
	return code;
}

const char *in_escape(struct span s, char buf[IN_ESCAPED_MAX])
{
	const unsigned char *p = s.ptr;
	char *out = buf, *end = buf + IN_ESCAPED_MAX - sizeof("\\xff...");

	for (size_t i = 0; i < s.len; i++) {
		if (out >= end) {
			memcpy(out, "...", 4);
			return buf;
		}
		if (p[i] == '"' || p[i] == '\\') {
			*out++ = '\\';
			*out++ = (char)p[i];
		} else if (p[i] >= 0x20 && p[i] < 0x7f) {
			*out++ = (char)p[i];
		} else {
			out += snprintf(out, sizeof("\\xff"), "\\x%02x", p[i]);
		}
	}
	*out = '\0';
	return buf;
}

int in_damaged(struct in *in, uint64_t offset, const char *thing,
	       const char *fmt, ...)
{
	char clause[sizeof(in->err->what)], key[IN_ESCAPED_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(clause, sizeof(clause), fmt, ap);
	va_end(ap);
	if (!in->has_subject)
		return in_fail(in, -EBADMSG, offset, "%s %s", thing, clause);
	return in_fail(in, -EBADMSG, offset, "%s of key \"%s\" %s", thing,
		       in_escape(in->subject, key), clause);
}

static int fail_memory(struct in *in, uint64_t offset, uint64_t len)
{
	return in_fail(in, -ENOMEM, offset, "no memory for %" PRIu64 " bytes",
		       len);
}

/* --- bytes ------------------------------------------------------------ */

static void update_crc(struct in *in)
{
	if (in->checksum && in->p != in->crc_from)
		in->crc = ~crc64_jones_refl(~in->crc, in->crc_from,
					    (uint64_t)(in->p - in->crc_from));
	in->crc_from = in->p;
}

uint64_t in_crc(struct in *in)
{
	update_crc(in);
	return in->crc;
}

static int update_capture(struct in *in)
{
	int r = 0;

	if (!in->capture_from)
		return 0;
	if (in->p != in->capture_from)
		r = value_append(in->mem, &in->capture, in->capture_from,
				 (size_t)(in->p - in->capture_from));
	in->capture_from = in->p;
	if (r < 0)
		return fail_memory(in, in_offset(in), IN_BUFFER);
	return 0;
}

/* Moves the window so that it begins at `p`. */
static int slide(struct in *in)
{
	size_t kept = (size_t)(in->end - in->p);
	int r = update_capture(in);

	if (r < 0)
		return r;
	update_crc(in);
	in->base_off = in_offset(in);
	memmove(in->buf, in->p, kept);
	in->base = in->p = in->crc_from = in->buf;
	in->end = in->buf + kept;
	if (in->capture_from)
		in->capture_from = in->p;
	return 0;
}

/* One read into the free part of the window. */
static int read_more(struct in *in)
{
	size_t used = (size_t)(in->end - in->base);
	uint64_t off = in->base_off + used;
	size_t len = (size_t)MIN((uint64_t)(IN_BUFFER - used), in->size - off);
	ssize_t n;

	do {
		n = in->io->pread(in->io->ctx, in->fd, in->buf + used, len,
				  (off_t)off);
	} while (n == -EINTR);
	if (n < 0)
		return in_fail(in, (int)n, off, "cannot read: %s",
			       strerror((int)-n));
	if (n == 0)
		return in_fail(in, -EBADMSG, off,
			       "the file became shorter while it was read");
	in->end += n;
	return 0;
}

int in_refill(struct in *in, size_t n, const char *thing)
{
	int r;

	if (n > in_left(in))
		return in_damaged(in, in_offset(in), thing,
				  "is cut off: the file ends here");
	r = slide(in); /* there is something left, so it is a file */
	while (r == 0 && (size_t)(in->end - in->p) < n)
		r = read_more(in);
	return r;
}

int in_skip(struct in *in, uint64_t n, const char *thing)
{
	int r;

	if (n > in_left(in))
		return in_damaged(in, in_offset(in), thing,
				  "is cut off: the file ends here");
	while (n) {
		size_t part = (size_t)MIN(n, (uint64_t)(in->end - in->p));

		if (part == 0) {
			r = in_refill(in, 1, thing);
			if (r < 0)
				return r;
			continue;
		}
		in->p += part;
		n -= part;
	}
	return 0;
}

int in_copy(struct in *in, void *to, uint64_t n, const char *thing)
{
	uint8_t *out = to;
	int r = 0;

	while (n && r == 0) {
		size_t part = (size_t)MIN(n, (uint64_t)(in->end - in->p));

		if (part == 0) {
			r = in_refill(in, 1, thing);
			continue;
		}
		memcpy(out, in->p, part);
		in->p += part;
		out += part;
		n -= part;
	}
	return r;
}

int in_byte(struct in *in, const char *thing, uint8_t *ret)
{
	int r = in_need(in, 1, thing);

	if (r == 0)
		*ret = *in->p++;
	return r;
}

/* --- lengths ---------------------------------------------------------- */

static uint64_t read_be(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

static uint64_t read_le(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | p[n];
	return v;
}

/* A length, or the number of an encoding (then *ret_encoded). */
static int length_or_encoding(struct in *in, const char *thing, uint64_t *ret,
			      bool *ret_encoded)
{
	unsigned extra;
	uint8_t first;
	int r = in_need(in, 1, thing);

	if (r < 0)
		return r;
	first = in->p[0];
	*ret_encoded = first >> 6 == LEN_ENCODED;
	if (first >> 6 == LEN_6BIT || *ret_encoded) {
		*ret = first & 63;
		in->p++;
		return 0;
	}
	if (first >> 6 == LEN_14BIT)
		extra = 1;
	else if (first == LEN_32BIT_BYTE)
		extra = 4;
	else if (first == LEN_64BIT_BYTE)
		extra = 8;
	else
		return in_damaged(in, in_offset(in), thing,
				  "begins with 0x%02x, which is no length",
				  first);
	r = in_need(in, 1 + extra, thing);
	if (r < 0)
		return r;
	*ret = read_be(in->p + 1, extra);
	if (extra == 1)
		*ret |= (uint64_t)(first & 63) << 8;
	in->p += 1 + extra;
	return 0;
}

int in_length(struct in *in, const char *thing, uint64_t *ret)
{
	uint64_t offset = in_offset(in), len;
	bool encoded;
	int r = length_or_encoding(in, thing, &len, &encoded);

	if (r < 0)
		return r;
	if (encoded)
		return in_damaged(in, offset, thing,
				  "is a string where a length should be");
	*ret = len;
	return 0;
}

int in_count(struct in *in, const char *thing, unsigned min_bytes,
	     uint64_t *ret)
{
	uint64_t offset = in_offset(in), n;
	int r = in_length(in, thing, &n);

	if (r < 0)
		return r;
	if (n > in_left(in) / min_bytes)
		return in_damaged(in, offset, thing,
				  "is %" PRIu64 ", more than the file has "
				  "bytes for",
				  n);
	*ret = n;
	return 0;
}

/* --- strings ---------------------------------------------------------- */

enum string_form {
	FORM_PLAIN,
	FORM_INTEGER,
	FORM_LZF
};

/* What stands before the bytes of a string. */
struct string_head {
	uint64_t offset; /* where the string begins */
	enum string_form form;
	uint64_t len;	   /* bytes in the file; all of them are there */
	uint64_t original; /* FORM_LZF: bytes after decompression */
};

static int check_len(struct in *in, uint64_t offset, uint64_t len)
{
	char key[IN_ESCAPED_MAX];

	if (len <= in_left(in))
		return 0;
	if (!in->has_subject)
		return in_fail(in, -EBADMSG, offset,
			       "length %" PRIu64
			       " runs past the end of the file",
			       len);
	return in_fail(in, -EBADMSG, offset,
		       "length %" PRIu64
		       " runs past the end of the file in key \"%s\"",
		       len, in_escape(in->subject, key));
}

static int read_lzf_head(struct in *in, const char *thing,
			 struct string_head *h)
{
	int r = in_length(in, thing, &h->len);

	if (r == 0)
		r = in_length(in, thing, &h->original);
	if (r == 0)
		r = check_len(in, h->offset, h->len);
	if (r < 0)
		return r;
	if (h->original == 0 || h->original / IN_LZF_FACTOR > h->len)
		return in_damaged(in, h->offset, thing,
				  "cannot be %" PRIu64
				  " bytes that LZF made %" PRIu64 " of",
				  h->original, h->len);
	if (h->len > UINT32_MAX || h->original > UINT32_MAX)
		return in_fail(in, -ENOTSUP, h->offset,
			       "an LZF string of more than 4 GiB");
	h->form = FORM_LZF;
	return 0;
}

static int read_head(struct in *in, const char *thing, struct string_head *h)
{
	bool encoded;
	int r;

	h->offset = in_offset(in);
	r = length_or_encoding(in, thing, &h->len, &encoded);
	if (r < 0)
		return r;
	h->form = FORM_PLAIN;
	if (!encoded)
		return check_len(in, h->offset, h->len);
	switch (h->len) {
	case ENC_INT8:
	case ENC_INT16:
	case ENC_INT32:
		h->form = FORM_INTEGER;
		h->len = 1U << h->len;
		return in_need(in, (size_t)h->len, thing);
	case ENC_LZF:
		return read_lzf_head(in, thing, h);
	default:
		return in_damaged(in, h->offset, thing,
				  "has the unknown string encoding %" PRIu64,
				  h->len);
	}
}

static struct span read_integer(struct in *in, const struct string_head *h)
{
	unsigned bits = (unsigned)h->len * 8;
	uint64_t raw = read_le(in->p, (unsigned)h->len) << (64 - bits);
	int len = snprintf(in->digits, sizeof(in->digits), "%" PRId64,
			   (int64_t)raw >> (64 - bits));

	in->p += h->len;
	return span_of(in->digits, (size_t)len);
}

/* Memory that is used again and again. What was in it is lost. */
static int grow(struct in *in, uint8_t **buf, size_t *cap, uint64_t offset,
		uint64_t need)
{
	size_t want = MAX((size_t)need, (size_t)SCRATCH_MIN);

	if (want <= *cap && (*cap <= SCRATCH_KEEP || want > SCRATCH_KEEP))
		return 0;
	mem_free(in->mem, *buf);
	*cap = 0;
	*buf = mem_alloc(in->mem, want);
	if (!*buf)
		return fail_memory(in, offset, need);
	*cap = want;
	return 0;
}

/* @n bytes of the file in one piece, in the window or in `packed`. */
static int contiguous(struct in *in, const char *thing, uint64_t n,
		      const uint8_t **ret)
{
	uint64_t offset = in_offset(in);
	int r;

	if (n <= IN_BUFFER || !in->io) {
		r = in_need(in, (size_t)n, thing);
		if (r < 0)
			return r;
		*ret = in->p;
		in->p += n;
		return 0;
	}
	r = grow(in, &in->packed, &in->packed_cap, offset, n);
	if (r == 0)
		r = in_copy(in, in->packed, n, thing);
	if (r == 0)
		*ret = in->packed;
	return r;
}

static int decompress(struct in *in, const char *thing,
		      const struct string_head *h, struct span *ret)
{
	const uint8_t *packed;
	unsigned got;
	int r = contiguous(in, thing, h->len, &packed);

	if (r == 0)
		r = grow(in, &in->scratch, &in->scratch_cap, h->offset,
			 h->original);
	if (r < 0)
		return r;
	got = lzf_decompress(packed, (unsigned)h->len, in->scratch,
			     (unsigned)h->original);
	if (got != h->original)
		return in_damaged(in, h->offset, thing,
				  "does not decompress to %" PRIu64 " bytes",
				  h->original);
	*ret = span_of(in->scratch, got);
	return 0;
}

int in_string(struct in *in, const char *thing, struct span *ret)
{
	const uint8_t *p;
	struct string_head h;
	int r = read_head(in, thing, &h);

	if (r < 0)
		return r;
	switch (h.form) {
	case FORM_INTEGER:
		*ret = read_integer(in, &h);
		return 0;
	case FORM_LZF:
		return decompress(in, thing, &h, ret);
	case FORM_PLAIN:
		break;
	}
	r = contiguous(in, thing, h.len, &p);
	if (r == 0)
		*ret = span_of(p, (size_t)h.len);
	return r;
}

int in_skip_string(struct in *in, const char *thing)
{
	struct string_head h;
	struct span ignored;
	int r = read_head(in, thing, &h);

	if (r < 0)
		return r;
	if (h.form == FORM_LZF)
		return decompress(in, thing, &h, &ignored);
	return in_skip(in, h.len, thing);
}

/* A plain string that does not lie in the window, piece by piece. */
static int value_by_pieces(struct in *in, const char *thing,
			   const struct string_head *h, struct value **ret)
{
	uint64_t left = h->len;
	struct value *v = NULL;
	int r = 0;

	while (left && r == 0) {
		size_t part = (size_t)MIN(left, (uint64_t)(in->end - in->p));

		if (part == 0) {
			r = in_refill(in, 1, thing);
			continue;
		}
		if (value_append(in->mem, &v, in->p, part) < 0)
			r = fail_memory(in, h->offset, h->len);
		in->p += part;
		left -= part;
	}
	if (r < 0)
		value_unref(in->mem, v);
	else
		*ret = v;
	return r;
}

int in_value(struct in *in, const char *thing, struct value **ret)
{
	struct string_head h;
	struct span s;
	int r = read_head(in, thing, &h);

	if (r < 0)
		return r;
	switch (h.form) {
	case FORM_INTEGER:
		s = read_integer(in, &h);
		break;
	case FORM_LZF:
		r = decompress(in, thing, &h, &s);
		if (r < 0)
			return r;
		break;
	case FORM_PLAIN:
		if (h.len > (uint64_t)(in->end - in->p))
			return value_by_pieces(in, thing, &h, ret);
		s = span_of(in->p, (size_t)h.len);
		in->p += h.len;
		break;
	}
	r = value_new(in->mem, s.ptr, s.len, ret);
	if (r < 0)
		return fail_memory(in, h.offset, s.len);
	return 0;
}

/* --- capture ---------------------------------------------------------- */

void in_capture_begin(struct in *in)
{
	in->capture_from = in->p;
}

int in_capture_omit(struct in *in, size_t n, const char *thing)
{
	int r = in_need(in, n, thing);

	if (r == 0)
		r = update_capture(in);
	if (r < 0)
		return r;
	in->p += n;
	if (in->capture_from)
		in->capture_from = in->p;
	return 0;
}

int in_capture_end(struct in *in, struct value **ret)
{
	size_t len = (size_t)(in->p - in->capture_from);
	int r;

	if (!in->capture) { /* all of it is still here: no room to spare */
		if (value_new(in->mem, in->capture_from, len, ret) < 0)
			return fail_memory(in, in_offset(in), len);
		in->capture_from = NULL;
		return 0;
	}
	r = update_capture(in);
	if (r < 0)
		return r;
	*ret = in->capture;
	in->capture = NULL;
	in->capture_from = NULL;
	return 0;
}
