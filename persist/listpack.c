/* SPDX-License-Identifier: MIT */

/*
 * Listpack:
 *
 *	u32 bytes in all, u16 elements (65535: unknown), entries, 0xFF
 *
 * all little-endian. An entry is an encoding with its data, then the length of
 * these two once more, to walk backwards:
 *
 *	0xxxxxxx             unsigned 7 bits
 *	10xxxxxx             string of up to 63 bytes
 *	110xxxxx +1          signed 13 bits, the high ones first
 *	1110xxxx +1          string of up to 4095 bytes, the high bits first
 *	F0 +4                string, u32
 *	F1 +2 F2 +3 F3 +4 F4 +8   signed
 *
 * The back length is written high bits first in groups of 7; all bytes but the
 * first have bit 7 set, so that it can be read from its end. Redis takes
 * one byte more than needed at 16383 and at the like limits above.
 */

#include "persist/compact.h"

#include <string.h>

enum {
	HEADER = 6,
	END = 0xff,
	COUNT_UNKNOWN = UINT16_MAX,
	BACK_MAX = 5,
};

int listpack_init(struct compact *c, struct span blob)
{
	const uint8_t *p = blob.ptr;

	if (blob.len < HEADER + 1)
		return compact_bad(c, "is too short for its header");
	if (compact_le(p, 4) != blob.len)
		return compact_bad(c, "has another size than its header says");
	if (p[blob.len - 1] != END)
		return compact_bad(c, "has no end byte");
	c->announced = compact_le(p + 4, 2);
	if (c->announced == COUNT_UNKNOWN)
		c->announced = COMPACT_UNCOUNTED;
	c->p = p + HEADER;
	c->end = p + blob.len - 1;
	return 0;
}

/* Writes the back length of an entry of @len bytes. Return: its length. */
static unsigned back_length(uint64_t len, uint8_t back[BACK_MAX])
{
	unsigned n = len <= 127	       ? 1
		     : len < 16383     ? 2
		     : len < 2097151   ? 3
		     : len < 268435455 ? 4
				       : 5;

	for (unsigned i = n; i-- > 0; len >>= 7)
		back[i] = (uint8_t)((len & 127) | (i ? 128 : 0));
	return n;
}

/* Bytes before the data, and of the data, for an encoding byte; *ret_head is 0
 * for a byte that is no encoding. @p has at least one byte, @left in all. */
static void measure(const uint8_t *p, size_t left, unsigned *ret_head,
		    uint64_t *ret_data)
{
	static const uint8_t ints[] = { [1] = 2, [2] = 3, [3] = 4, [4] = 8 };

	*ret_data = 0;
	*ret_head = 1;
	if (p[0] < 0x80)
		return;
	if (p[0] < 0xc0) {
		*ret_data = p[0] & 63;
	} else if (p[0] < 0xe0) {
		*ret_head = 2;
	} else if (p[0] < 0xf0) {
		*ret_head = 2;
		*ret_data = left < 2 ? 0 : (uint64_t)(p[0] & 15) << 8 | p[1];
	} else if (p[0] == 0xf0) {
		*ret_head = 5;
		*ret_data = left < 5 ? 0 : compact_le(p + 1, 4);
	} else if (p[0] <= 0xf4) {
		*ret_data = ints[p[0] - 0xf0];
	} else {
		*ret_head = 0;
	}
}

static void decode(const uint8_t *p, unsigned head, uint64_t data,
		   struct compact_item *ret)
{
	ret->is_int = true;
	if (p[0] < 0x80) {
		ret->integer = p[0];
	} else if (p[0] >= 0xc0 && p[0] < 0xe0) {
		ret->integer =
			compact_signed((uint64_t)(p[0] & 31) << 8 | p[1], 13);
	} else if (p[0] > 0xf0) {
		ret->integer = compact_signed(compact_le(p + 1, (unsigned)data),
					      (unsigned)data * 8);
	} else {
		ret->is_int = false;
		ret->text = span_of(p + head, (size_t)data);
	}
}

int listpack_next(struct compact *c, struct compact_item *ret)
{
	size_t left = (size_t)(c->end - c->p);
	uint8_t back[BACK_MAX];
	unsigned head, n_back;
	uint64_t data;

	if (left == 0)
		return 0;
	measure(c->p, left, &head, &data);
	if (head == 0)
		return compact_bad(c, c->p[0] == END
					      ? "ends before its end byte"
					      : "has an unknown encoding");
	if (head + data >= left)
		return compact_bad(c, "has an entry that runs past its end");
	n_back = back_length(head + data, back);
	if (n_back > left - head - data)
		return compact_bad(c, "has an entry that runs past its end");
	if (memcmp(c->p + head + data, back, n_back) != 0)
		return compact_bad(c, "has a wrong back length");
	decode(c->p, head, data, ret);
	c->p += head + data + n_back;
	return 1;
}
