/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "persist/io.h"
#include "persist/rdb.h"
#include "store/alloc.h"
#include "store/defs.h"
#include "store/span.h"
#include "store/value.h"

/*
 * A buffered input stream that knows RDB's lengths and strings, with a running
 * CRC64; private to persist/. It reads a file, or bytes in memory in place. The
 * records of the append-only file are read through it as well (resp.h).
 *
 *   N1  Nothing is allocated for a length before it has been held against the
 *       bytes that are left.
 *   N2  A span that a function hands out lies in the buffer and is valid until
 *       the next call on the stream.
 *   N3  Outputs are set on success only; on failure the error object says what
 *       begins where, and the stream is unusable.
 *
 * Thread-safety: one thread at a time.
 */
enum {
	IN_BUFFER = 1 << 20,
	IN_LZF_FACTOR = 88, /* 3 bytes make at most 264 */
};

struct in {
	const struct io *io; /* NULL: bytes in memory */
	int fd;
	struct mem *mem;
	struct rdb_error *err;
	const uint8_t *p, *end; /* what is buffered and not consumed */
	const uint8_t *base;	/* first byte of the buffer */
	uint8_t *buf;		/* memory of the buffer, NULL if in memory */
	uint64_t base_off;	/* offset of base in the file */
	uint64_t size;		/* of the file */

	bool checksum;
	uint64_t crc; /* of all bytes before crc_from */
	const uint8_t *crc_from;

	/* in_capture_begin(): bytes from `capture_from` on are to be copied */
	const uint8_t *capture_from;
	struct value *capture;

	uint8_t *scratch, *packed; /* decoded and large strings, grown */
	size_t scratch_cap, packed_cap;
	char digits[24]; /* an integer-encoded string */

	struct span subject; /* the key that is being read, for messages */
	bool has_subject;
};

/**
 * in_init() - read @fd from its start
 * @size:  of the file: not a byte beyond is read
 * @m:     account for all temporary memory and for values
 * @err:   filled on every failure from now on; borrowed
 * Return: 0; -ENOMEM. Ends with in_fini().
 */
MUST_CHECK int in_init(struct in *in, const struct io *io, int fd,
		       uint64_t size, struct mem *m, bool checksum,
		       struct rdb_error *err);

/* Reads @bytes, which must stay, in place. Ends with in_fini(). */
void in_init_bytes(struct in *in, struct span bytes, struct mem *m,
		   bool checksum, struct rdb_error *err);
void in_fini(struct in *in);

/* Offset of the next byte. */
static inline uint64_t in_offset(const struct in *in)
{
	return in->base_off + (uint64_t)(in->p - in->base);
}

/* Bytes from here to the end of the file. */
static inline uint64_t in_left(const struct in *in)
{
	return in->size - in_offset(in);
}

/**
 * in_seek() - go to @offset, forwards or backwards
 * @offset: at most the size of the file
 * The CRC starts anew there. What is buffered is used where it can be. Not
 * between in_capture_begin() and in_capture_end().
 */
void in_seek(struct in *in, uint64_t offset);

/* --- errors ----------------------------------------------------------- */

/* Fills the error and returns @code. */
int in_fail(struct in *in, int code, uint64_t offset, const char *fmt, ...)
	PRINTF_LIKE(4, 5);

/* As in_fail() with -EBADMSG and "THING of key "KEY" CLAUSE". */
int in_damaged(struct in *in, uint64_t offset, const char *thing,
	       const char *fmt, ...) PRINTF_LIKE(4, 5);

enum {
	IN_ESCAPED_MAX = 72
};

/* @s in a form for messages, escaped and cut; buf has IN_ESCAPED_MAX bytes.
 * Return: buf. */
const char *in_escape(struct span s, char buf[IN_ESCAPED_MAX]);

/* --- bytes ------------------------------------------------------------ */

/* in_need() for what is not in the buffer. */
MUST_CHECK int in_refill(struct in *in, size_t n, const char *thing);

/**
 * in_need() - have at least @n bytes at in->p in one piece
 * @n:     at most IN_BUFFER
 * @thing: what they are, for the message if the file ends before
 * Return: 0; -EBADMSG; -errno of a failed read.
 */
MUST_CHECK static inline int in_need(struct in *in, size_t n, const char *thing)
{
	if (LIKELY((size_t)(in->end - in->p) >= n))
		return 0;
	return in_refill(in, n, thing);
}

/* Passes @n bytes, any number. Return: as in_need(). */
MUST_CHECK int in_skip(struct in *in, uint64_t n, const char *thing);

/* Copies the next @n bytes, any number, to @to. Return: as in_need(). */
MUST_CHECK int in_copy(struct in *in, void *to, uint64_t n, const char *thing);

/* One byte. Return: as in_need(). */
MUST_CHECK int in_byte(struct in *in, const char *thing, uint8_t *ret);

/* The CRC of all bytes consumed so far. */
uint64_t in_crc(struct in *in);

/* --- lengths and strings ---------------------------------------------- */

/* A length. Return: 0; -EBADMSG, also for the forms of integers and LZF. */
MUST_CHECK int in_length(struct in *in, const char *thing, uint64_t *ret);

/* A number of things that take at least @min_bytes each (N1). */
MUST_CHECK int in_count(struct in *in, const char *thing, unsigned min_bytes,
			uint64_t *ret);

/**
 * in_string() - a string of any form, decoded, in one piece (N2)
 * Return: 0; -EBADMSG; -ENOMEM; -ENOTSUP for LZF beyond 4 GiB; -errno.
 */
MUST_CHECK int in_string(struct in *in, const char *thing, struct span *ret);

/* Passes a string; what is compressed is decoded to see that it can be. */
MUST_CHECK int in_skip_string(struct in *in, const char *thing);

/* A string as a value, allocated from the stream's account; owned by the
 * caller. Return: as in_string(). */
MUST_CHECK int in_value(struct in *in, const char *thing, struct value **ret);

/* --- capture ---------------------------------------------------------- */

/* From here on what is consumed is kept. */
void in_capture_begin(struct in *in);

/* Passes @n bytes (at most IN_BUFFER) that are not to be kept. */
MUST_CHECK int in_capture_omit(struct in *in, size_t n, const char *thing);

/**
 * in_capture_end() - what was consumed since the begin, as a value
 * @ret: set on success; owned by the caller
 * Return: 0; -ENOMEM.
 */
MUST_CHECK int in_capture_end(struct in *in, struct value **ret);
