/* SPDX-License-Identifier: MIT */

/*
 * Ziplist (Redis before 7):
 *
 *	u32 bytes in all, u32 offset of the last entry, u16 elements (65535:
 *	unknown), entries, 0xFF; little-endian
 *
 * An entry: the length of the entry before it (one byte, or FE and u32), then
 *
 *	00xxxxxx        string of up to 63 bytes
 *	01xxxxxx +1     string of up to 16383 bytes, big-endian
 *	10xxxxxx +4     string, u32 big-endian
 *	FE +1 C0 +2 F0 +3 D0 +4 E0 +8   signed, little-endian
 *	F1 .. FD        0 .. 12
 *
 * The long form of the previous length can stand for a short one: Redis leaves
 * it so when an entry shrinks.
 *
 * Zipmap (Redis before 2.6), a hash:
 *
 *	u8 fields (254 and 255: unknown), entries, 0xFF
 *
 * An entry: length, field, length, u8 unused bytes, value, the unused bytes. A
 * length is one byte up to 253, or FE and u32 little-endian.
 */

#include "persist/compact.h"

enum {
	HEADER = 10,
	END = 0xff,
	COUNT_UNKNOWN = UINT16_MAX,
	LONG_LENGTH = 0xfe,
	LONG_LENGTH_BYTES = 5,
	ZIPMAP_COUNT_UNKNOWN = 254,
};

/* --- ziplist ---------------------------------------------------------- */

int ziplist_init(struct compact *c, struct span blob)
{
	const uint8_t *p = blob.ptr;

	if (blob.len < HEADER + 1)
		return compact_bad(c, "is too short for its header");
	if (compact_le(p, 4) != blob.len)
		return compact_bad(c, "has another size than its header says");
	if (p[blob.len - 1] != END)
		return compact_bad(c, "has no end byte");
	c->tail = (uint32_t)compact_le(p + 4, 4);
	c->announced = compact_le(p + 8, 2);
	if (c->announced == COUNT_UNKNOWN)
		c->announced = COMPACT_UNCOUNTED;
	c->p = p + HEADER;
	c->end = p + blob.len - 1;
	return 0;
}

static uint64_t read_be32(const uint8_t *p)
{
	return (uint64_t)p[0] << 24 | (uint64_t)p[1] << 16 |
	       (uint64_t)p[2] << 8 | p[3];
}

/* Bytes of the integer behind an encoding byte; 0: none such. */
static unsigned int_width(uint8_t encoding)
{
	switch (encoding) {
	case 0xfe:
		return 1;
	case 0xc0:
		return 2;
	case 0xf0:
		return 3;
	case 0xd0:
		return 4;
	case 0xe0:
		return 8;
	default:
		return 0;
	}
}

/* Decodes what follows the previous length. Return: the bytes used; 0 if it
 * does not fit @left, of which there is at least one; -EBADMSG. */
static int64_t decode(struct compact *c, const uint8_t *p, uint64_t left,
		      struct compact_item *ret)
{
	uint64_t head = 1, len;

	ret->is_int = p[0] >= 0xc0;
	if (p[0] >= 0xf1 && p[0] <= 0xfd) {
		ret->integer = p[0] - 0xf1;
		return 1;
	}
	if (ret->is_int) {
		len = int_width(p[0]);
		if (len == 0)
			return compact_bad(c, "has an unknown encoding");
		if (1 + len > left)
			return 0;
		ret->integer = compact_signed(compact_le(p + 1, (unsigned)len),
					      (unsigned)len * 8);
		return (int64_t)(1 + len);
	}
	if (p[0] >> 6 == 0)
		len = p[0];
	else
		head = p[0] >> 6 == 1 ? 2 : 5;
	if (head > left)
		return 0;
	if (head == 2)
		len = (uint64_t)(p[0] & 63) << 8 | p[1];
	else if (head == 5)
		len = read_be32(p + 1);
	if (len > left - head)
		return 0;
	ret->text = span_of(p + head, (size_t)len);
	return (int64_t)(head + len);
}

static int ziplist_end(struct compact *c)
{
	uint64_t last = (uint64_t)(c->end - c->start) - c->entry_len;

	if (c->tail != last)
		return compact_bad(c, "has a wrong offset of its last entry");
	return 0;
}

int ziplist_next(struct compact *c, struct compact_item *ret)
{
	uint64_t left = (uint64_t)(c->end - c->p), previous;
	unsigned head = 1;
	int64_t used;

	if (left == 0)
		return ziplist_end(c);
	if (c->p[0] == END)
		return compact_bad(c, "ends before its end byte");
	if (c->p[0] == LONG_LENGTH)
		head = LONG_LENGTH_BYTES;
	if (head >= left)
		return compact_bad(c, "has an entry that runs past its end");
	previous = head == 1 ? c->p[0] : compact_le(c->p + 1, 4);
	if (previous != c->entry_len)
		return compact_bad(c, "has a wrong back length");
	used = decode(c, c->p + head, left - head, ret);
	if (used < 0)
		return (int)used;
	if (used == 0)
		return compact_bad(c, "has an entry that runs past its end");
	c->entry_len = (uint32_t)(head + (uint64_t)used);
	c->p += c->entry_len;
	return 1;
}

/* --- zipmap ----------------------------------------------------------- */

int zipmap_init(struct compact *c, struct span blob)
{
	const uint8_t *p = blob.ptr;

	if (blob.len < 2)
		return compact_bad(c, "is too short for its header");
	if (p[blob.len - 1] != END)
		return compact_bad(c, "has no end byte");
	/* Fields and values are delivered one by one. */
	c->announced = p[0] >= ZIPMAP_COUNT_UNKNOWN ? COMPACT_UNCOUNTED
						    : 2 * (uint64_t)p[0];
	c->p = p + 1;
	c->end = p + blob.len - 1;
	return 0;
}

int zipmap_next(struct compact *c, struct compact_item *ret)
{
	uint64_t left = (uint64_t)(c->end - c->p), len, unused = 0, head = 1;
	bool is_value = c->n % 2 != 0;

	if (left == 0)
		return is_value ? compact_bad(c, "has a field without a value")
				: 0;
	if (c->p[0] == END)
		return compact_bad(c, "ends before its end byte");
	if (c->p[0] == LONG_LENGTH)
		head = LONG_LENGTH_BYTES;
	if (head + is_value > left)
		return compact_bad(c, "has an entry that runs past its end");
	len = head == 1 ? c->p[0] : compact_le(c->p + 1, 4);
	if (is_value)
		unused = c->p[head++];
	if (head + len + unused > left)
		return compact_bad(c, "has an entry that runs past its end");
	ret->is_int = false;
	ret->text = span_of(c->p + head, (size_t)len);
	c->p += head + len + unused;
	return 1;
}
