/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "store/alloc.h"
#include "store/span.h"

/*
 * A value: the bytes of one file, reference-counted.
 *
 *   I1  NULL is the empty value: an empty file costs no memory.
 *   I2  Bytes that a second reference can see never change. A write through
 *       one reference copies what is shared, and just that: the whole of a
 *       small (flat) value, one VALUE_CHUNK of a large one.
 *   I3  A hole reads as zeros and costs no memory.
 *
 * Up to VALUE_FLAT_MAX bytes a value is one allocation; beyond that it is a
 * table of chunks. Growing at the end is amortised O(1) in both forms.
 *
 * Thread-safety: value_ref(), value_unref() and all readers may run in any
 * thread that holds a reference. The functions that take `struct value **`
 * change the caller's reference, so the place where it is kept must be under
 * the caller's lock.
 */
struct value;

enum {
	VALUE_CHUNK = 64 * 1024, /* large enough to reply to 1 MiB with few
				  * iovecs, small enough to copy in ~5 us */
	VALUE_FLAT_MAX = VALUE_CHUNK - 8, /* with its header: one size class */
	VALUE_IOV_MAX = 18,		  /* pieces of any 1 MiB range */
};

/**
 * value_new() - make a value of @len bytes copied from @data
 * @data: NULL makes the value all zeros (holes, so it costs next to nothing
 *        when large)
 * @ret:  set on success; the caller owns one reference
 * Return: 0; -ENOMEM.
 */
MUST_CHECK int value_new(struct mem *m, const void *data, uint64_t len,
			 struct value **ret);

/* Takes another reference and returns @v. NULL stays NULL. */
struct value *value_ref(struct value *v);

/* Gives one reference back; the last one frees. NULL is allowed. */
void value_unref(struct mem *m, struct value *v);

/* Length in bytes. */
uint64_t value_size(const struct value *v);

/* Bytes of memory the value occupies; shared chunks count in full. */
uint64_t value_memory(const struct value *v);

/**
 * value_iov() - describe a range as pieces that can be read in place
 * @iov: filled; the pieces stay valid as long as the caller's reference and
 *       as long as nobody writes through *that* reference
 * @max: room in @iov
 * Return: the number of pieces. They cover the range up to the value's end or
 *         until @iov is full, whichever comes first; 0 past the end.
 */
int value_iov(const struct value *v, uint64_t off, size_t len,
	      struct iovec *iov, int max);

/* Copies out a range, clipped at the end. Return: the bytes copied. */
size_t value_read(const struct value *v, uint64_t off, void *buf, size_t len);

/**
 * value_write() - overwrite or extend; a gap before @off becomes a hole
 * @v:    the caller's reference; replaced if a copy had to be made
 * @data: NULL writes zeros
 * Return: 0; -ENOMEM, and then nothing has changed; -EFBIG if the end does
 *         not fit 63 bits.
 */
MUST_CHECK int value_write(struct mem *m, struct value **v, uint64_t off,
			   const void *data, size_t len);

/* Appends; the way to build a value piece by piece. As value_write(). */
MUST_CHECK int value_append(struct mem *m, struct value **v, const void *data,
			    size_t len);

/**
 * value_truncate() - cut, or extend with a hole
 * Return: 0; -ENOMEM or -EFBIG, and then nothing has changed.
 */
MUST_CHECK int value_truncate(struct mem *m, struct value **v, uint64_t size);
