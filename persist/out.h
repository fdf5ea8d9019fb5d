/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "persist/io.h"
#include "store/defs.h"

/*
 * A buffered output stream with a running CRC64, private to persist/.
 *
 * Encoders ask for room, write straight into the buffer and say how much they
 * used; the buffer goes out with one write, and the CRC over it is computed
 * just before, while it is whole. Not a random-access file: what has been
 * written cannot be changed.
 *
 * Errors: -errno of the write that failed. After one the stream is unusable,
 * since it is not known how much of the buffer got out.
 *
 * Thread-safety: one thread at a time.
 */
enum {
	OUT_BUFFER = 1 << 20,	  /* one write; large enough that its cost is
				  * nothing, small enough for the L2 cache */
	OUT_ROOM_MAX = 1 << 17,	  /* what can be asked for in one piece */
	OUT_SYNC_EVERY = 7 << 19, /* of four buffers, none of which need be
				   * quite full: Redis' 4 MiB */
};

struct out {
	const struct io *io;
	int fd;
	bool checksum, incremental_sync;
	uint8_t *buf;
	size_t len;	  /* bytes in buf */
	uint64_t flushed; /* bytes handed to the kernel */
	uint64_t synced;  /* of those, bytes whose write-out was started */
	uint64_t crc;	  /* Redis' CRC64 of what was flushed */
};

/**
 * out_init() - start a stream at the present position of @fd
 * @checksum:         keep the CRC; else it stays 0
 * @incremental_sync: ask for write-out every OUT_SYNC_EVERY bytes
 * Return: 0; -ENOMEM. Ends with out_fini().
 */
MUST_CHECK int out_init(struct out *o, const struct io *io, int fd,
			bool checksum, bool incremental_sync);

/* Frees the buffer; what has not been flushed is lost. Zeroed is allowed. */
void out_fini(struct out *o);

/* Writes what is buffered. Return: 0; -errno. */
MUST_CHECK int out_flush(struct out *o);

/* Appends @len bytes, any number. Return: 0; -errno. */
MUST_CHECK int out_bytes(struct out *o, const void *p, size_t len);

/* Bytes appended so far. */
static inline uint64_t out_total(const struct out *o)
{
	return o->flushed + o->len;
}

/**
 * out_reserve() - make room for @n bytes in one piece
 * @n:   at most OUT_ROOM_MAX
 * @ret: set on success: where to write them; out_commit() appends them
 * Return: 0; -errno.
 */
MUST_CHECK static inline int out_reserve(struct out *o, size_t n, uint8_t **ret)
{
	if (UNLIKELY(OUT_BUFFER - o->len < n)) {
		int r = out_flush(o);

		if (r < 0)
			return r;
	}
	*ret = o->buf + o->len;
	return 0;
}

/* Appends what was written at the last out_reserve(), up to @end. */
static inline void out_commit(struct out *o, const uint8_t *end)
{
	o->len = (size_t)(end - o->buf);
}
