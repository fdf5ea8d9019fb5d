/* SPDX-License-Identifier: MIT */

/*
 * A key becomes a path in two stages, each a bijection, so that the whole is
 * one. Both work on the list of a key's segments, split at the separator.
 *
 * Stage 1: segments to names, one by one. A name is what POSIX calls one but
 * of any length: not empty, no NUL, no '/', neither "." nor "..". Tokens stand
 * for the segments that are no names:
 *
 *	NUL `%00` anywhere · "" `%` · "." `%2E` · ".." `%2E.` ·
 *	in the root ".ctl" `%2Ectl` · below it `%=`, which is no segment at all
 *
 * and literal text that matches `%(25)*REST`, where `%REST` is a token, gets
 * one more "25" after its '%', as mboxrd quotes ">From". For n >= 0,
 * `%(25)^(n+1)REST` thus comes from the literal `%(25)^nREST` alone and
 * `%REST` from the token alone; other text comes from itself. A match holds no
 * '%' but its first byte, so matches never overlap, and those that must span
 * the name hold no "00", so the two kinds do not meet either. What is not
 * reached is just `%=` below the root and `.ctl` in it, as intended.
 *
 * Stage 2: names to components of at most 255 bytes. A component CONTINUES if
 * it is 255 bytes long and ends in `%+`; its payload is its first 253 bytes.
 * A name of more than 255 bytes is cut: 253 bytes and `%+`, again and again
 * while more than 255 remain. At least 3 remain then (256 - 253), so the last
 * piece is no ".", no ".." and no `%=`. Where a cut falls does not matter:
 * decoding joins first and reads tokens then.
 *
 * Reading back, a continuing component is joined with the next one if that has
 * at least 3 bytes; a run so joined is one name. The length alone tells the
 * number of its pieces: length - 3 is 253 * (pieces - 1) + (last - 3) with
 * last - 3 in 0..252. So cutting undoes joining, always, and joining undoes
 * cutting for every list of names but those where a name whose last component
 * happens to continue (255 + 253n bytes, ends in `%+`: an OPEN name) stands
 * before a name of at least 3 bytes. Such pairs move aside, as in Hilbert's
 * hotel, by way of the name `%+`, which is too short to be joined. With d open:
 *
 *	d, `%+` k times, t of >= 3 bytes       <->  d, `%+` k + 1 times, t
 *	d, `%+` k times, anything else or end  <->  the same
 *
 * On the left are all lists, on the right just those without an open name
 * before one of >= 3 bytes: there, a run of `%+` that a longer name follows
 * cannot be empty, so one can be taken away. `%+` is not open itself, so no
 * two runs interact, whatever t is. Nothing depends on what comes later than
 * t, so the path of a key is a prefix of the path of each key below it, and a
 * last `%=` can be taken off before all this and added after.
 *
 * Rejected: to stuff literals that end in `%+` too. Stuffing lengthens them,
 * so they may need a cut themselves, and the rule would have to say which of
 * the two was there first; and names of 250 to 255 bytes would not all stay
 * themselves.
 *
 * The separator: with ':' everything is done on segments that ':' divides,
 * joined by ':' again, and ':' and '/' are swapped at the very end, in one
 * pass; no rule above mentions either byte.
 *
 * Nearly every key needs nothing of this. is_plain() recognises them eight
 * bytes at a time, and then a key is copied.
 */

#include "store/name.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <xxhash.h>

enum {
	PAYLOAD = NAME_MAX_BYTES - 2, /* of a component that continues */
	JOIN_MIN = 3, /* a shorter component is never joined to one before it */
	HASHED = 2 + 16, /* `%+` and the hash, at the end of a member's name */
};

/* Where a segment stands decides which tokens there are. */
enum place {
	ROOT,
	BELOW,
	MEMBER,
};

#define EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

/* Bit 7 of each byte that is zero, and no other bit. */
static inline uint64_t zero_bytes(uint64_t v)
{
	const uint64_t low = EACH_BYTE(0x7f);

	return ~(((v & low) + low) | v | low);
}

static inline uint64_t load64(const char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static bool has_percent_or_nul(const char *p, size_t len)
{
	const uint64_t percent = EACH_BYTE((uint8_t)'%');
	uint64_t v, found = 0;
	size_t i;

	if (len < sizeof(v)) {
		for (i = 0; i < len; i++)
			found |= p[i] == '%' || p[i] == '\0';
		return found;
	}
	for (i = 0; i + sizeof(v) <= len; i += sizeof(v)) {
		v = load64(p + i);
		found |= zero_bytes(v) | zero_bytes(v ^ percent);
	}
	v = load64(p + len - sizeof(v)); /* overlaps the word before */
	return found | zero_bytes(v) | zero_bytes(v ^ percent);
}

static inline bool is_dots(const char *p, size_t len)
{
	return p[0] == '.' && (len == 1 || (len == 2 && p[1] == '.'));
}

static inline bool is_ctl(const char *p, size_t len)
{
	return len == 4 && memcmp(p, ".ctl", 4) == 0;
}

/* True if both stages leave the text alone: all segments are legal names,
 * without '%', of at most 255 bytes, and the first is not ".ctl". It is the
 * same question for a key and for a path. */
static bool is_plain(const char *p, size_t len, char sep)
{
	const char *end = p + len, *e;

	if (has_percent_or_nul(p, len))
		return false;
	if (len >= 4 && is_ctl(p, 4) && (len == 4 || p[4] == sep))
		return false;
	for (;; p = e + 1) {
		e = memchr(p, sep, (size_t)(end - p));
		if (!e)
			e = end;
		if (e == p || e - p > NAME_MAX_BYTES ||
		    is_dots(p, (size_t)(e - p)))
			return false;
		if (e == end)
			return true;
	}
}

/* Copies, exchanging ':' and '/'; @to and @from may be the same. */
static void copy_swapped(char *to, const char *from, size_t len)
{
	const uint64_t slash = EACH_BYTE((uint8_t)'/');
	const uint64_t colon = EACH_BYTE((uint8_t)':');
	const uint64_t flip = '/' ^ ':';
	uint64_t v;
	size_t i;

	for (i = 0; i + sizeof(v) <= len; i += sizeof(v)) {
		v = load64(from + i);
		v ^= ((zero_bytes(v ^ slash) | zero_bytes(v ^ colon)) >> 7) *
		     flip;
		memcpy(to + i, &v, sizeof(v));
	}
	for (; i < len; i++) {
		char c = from[i];

		if (c == '/')
			c = ':';
		else if (c == ':')
			c = '/';
		to[i] = c;
	}
}

static void copy(char *to, const char *from, size_t len, char sep)
{
	if (sep == '/')
		memcpy(to, from, len);
	else
		copy_swapped(to, from, len);
}

/* The offset of what follows the `%(25)*` at the start of @p. */
static size_t skip_stuffing(const char *p, size_t len)
{
	size_t i = 1;

	while (len - i >= 2 && p[i] == '2' && p[i + 1] == '5')
		i += 2;
	return i;
}

static bool rest_is(const char *p, size_t len, const char *rest)
{
	return len == strlen(rest) && memcmp(p, rest, len) == 0;
}

/* True if '%' and this rest are a token that is a whole name. */
static bool is_whole(enum place place, const char *p, size_t len)
{
	return len == 0 || rest_is(p, len, "2E") || rest_is(p, len, "2E.") ||
	       (place == ROOT && rest_is(p, len, "2Ectl")) ||
	       (place == BELOW && rest_is(p, len, "="));
}

/* True if '%' and the start of this rest are a token for one byte. */
static bool is_byte(enum place place, const char *p, size_t len)
{
	return len >= 2 && ((p[0] == '0' && p[1] == '0') ||
			    (place == MEMBER && p[0] == '2' && p[1] == 'F'));
}

static char *put(char *out, const char *text, size_t len)
{
	memcpy(out, text, len);
	return out + len;
}

/* Stage 1, at most 3 bytes for each (1 for none). Return: the name's length. */
static size_t name_of_segment(enum place place, const char *seg, size_t len,
			      char *name)
{
	char *out = name;
	size_t i, rest;

	if (len == 0)
		return (size_t)(put(out, "%", 1) - name);
	if (is_dots(seg, len) || (place == ROOT && is_ctl(seg, len))) {
		out = put(out, "%2E", 3);
		return (size_t)(put(out, seg + 1, len - 1) - name);
	}
	if (seg[0] == '%') {
		rest = skip_stuffing(seg, len);
		if (is_whole(place, seg + rest, len - rest)) {
			out = put(out, "%25", 3);
			return (size_t)(put(out, seg + 1, len - 1) - name);
		}
	}
	for (i = 0; i < len; i++) {
		if (seg[i] == '\0') {
			out = put(out, "%00", 3);
		} else if (seg[i] == '/' && place == MEMBER) {
			out = put(out, "%2F", 3);
		} else if (seg[i] == '%') {
			rest = i + skip_stuffing(seg + i, len - i);
			if (is_byte(place, seg + rest, len - rest))
				out = put(out, "%25", 3);
			else
				*out++ = '%';
		} else {
			*out++ = seg[i];
		}
	}
	return (size_t)(out - name);
}

/* Stage 1 back, in place. Return: the segment's length, never longer. */
static size_t segment_of_name(enum place place, char *name, size_t len)
{
	size_t i, rest, out = 0;

	if (name[0] == '%') {
		rest = skip_stuffing(name, len);
		if (is_whole(place, name + rest, len - rest)) {
			if (rest > 1) { /* stuffed: one "25" less */
				memmove(name + 1, name + 3, len - 3);
				return len - 2;
			}
			if (len == 1) /* `%` */
				return 0;
			name[0] = '.';
			memmove(name + 1, name + 3, len - 3);
			return len - 2;
		}
	}
	for (i = 0; i < len; i++) {
		if (name[i] != '%') {
			name[out++] = name[i];
			continue;
		}
		rest = i + skip_stuffing(name + i, len - i);
		if (!is_byte(place, name + rest, len - rest)) {
			name[out++] = '%';
		} else {
			name[out++] = rest > i + 1 ? '%' : '\0';
			i += 2; /* of `%00` or, stuffed, of `%25` */
		}
	}
	return out;
}

static bool ends_in_plus(const char *p, size_t len)
{
	return p[len - 2] == '%' && p[len - 1] == '+';
}

static bool is_continuing(const char *p, size_t len)
{
	return len == NAME_MAX_BYTES && ends_in_plus(p, len);
}

/* True if the last component that a name is cut into continues. */
static bool is_open(const char *name, size_t len)
{
	return len >= NAME_MAX_BYTES && len % PAYLOAD == 2 &&
	       ends_in_plus(name, len);
}

static bool is_plus(const char *p, size_t len)
{
	return len == 2 && ends_in_plus(p, len);
}

/* Cuts a name in place. Return: the length of its components, with @sep. */
static size_t cut_name(char *name, size_t len, char sep)
{
	size_t i, n, cuts;

	if (len <= NAME_MAX_BYTES)
		return len;
	cuts = (len - JOIN_MIN) / PAYLOAD;
	n = len - cuts * PAYLOAD;
	for (i = cuts; i; i--, n = PAYLOAD) { /* the last first: they grow */
		char *to = name + i * (PAYLOAD + 3);

		memmove(to, name + i * PAYLOAD, n);
		to[-3] = '%';
		to[-2] = '+';
		to[-1] = sep;
	}
	return len + cuts * 3;
}

size_t name_encode_bound(size_t key_len)
{
	/* Stage 1 makes at most n = 3 * key_len + 1 bytes of it, separators
	 * and all; then each 253 of them can bring one cut and, before the
	 * next name, one `%+`, never both for the same 253: 3 * n / 253. */
	return 3 * key_len + key_len / 16 + 4;
}

/* Both stages, joined by @sep. */
static size_t encode_segments(const char *s, size_t len, char sep, char *path)
{
	const char *end = s + len, *e;
	enum place place = ROOT;
	bool moves = false; /* an open name and then only `%+` before here */
	char *out = path;
	size_t n;

	for (;; s = e + 1) {
		e = memchr(s, sep, (size_t)(end - s));
		if (!e)
			e = end;
		n = name_of_segment(place, s, (size_t)(e - s), out);
		if (moves && n >= JOIN_MIN) {
			memmove(out + 3, out, n);
			out = put(out, "%+", 2);
			*out++ = sep;
		}
		moves = is_open(out, n) || (moves && is_plus(out, n));
		out += cut_name(out, n, sep);
		if (e == end)
			return (size_t)(out - path);
		*out++ = sep;
		place = BELOW;
	}
}

size_t name_encode(struct span key, char sep, char *path)
{
	size_t len;

	if (key.len == 0) {
		path[0] = '%';
		return 1;
	}
	if (LIKELY(is_plain(key.ptr, key.len, sep))) {
		copy(path, key.ptr, key.len, sep);
		return key.len;
	}
	len = encode_segments(key.ptr, key.len, sep, path);
	if (sep != '/')
		copy_swapped(path, path, len);
	return len;
}

bool name_is_legal(struct span name)
{
	return name.len >= 1 && name.len <= NAME_MAX_BYTES &&
	       !is_dots(name.ptr, name.len) &&
	       !memchr(name.ptr, '\0', name.len) &&
	       !memchr(name.ptr, '/', name.len);
}

/* The component at @s; @end is the end of the path. */
static struct span component_at(const char *s, const char *end)
{
	const char *e = memchr(s, '/', (size_t)(end - s));

	return span_of(s, (size_t)((e ? e : end) - s));
}

/* Copies the components of the name that starts with *@comp, and leaves there
 * the last of them. Return: the name's length, or -EINVAL. */
static ssize_t join_name(struct span *comp, const char *end, char *name)
{
	char *out = name;

	for (;;) {
		const char *e = (const char *)comp->ptr + comp->len;
		struct span c;

		if (!name_is_legal(*comp))
			return -EINVAL;
		if (e == end || !is_continuing(comp->ptr, comp->len))
			break;
		c = component_at(e + 1, end);
		if (c.len < JOIN_MIN)
			break;
		out = put(out, comp->ptr, PAYLOAD);
		*comp = c;
	}
	out = put(out, comp->ptr, comp->len);
	return out - name;
}

/* Both stages back; the key comes out joined by '/'. */
static int decode_components(const char *s, size_t len, char *key,
			     size_t *ret_len)
{
	const char *end = s + len;
	enum place place = ROOT;
	bool moved = false; /* an open name and then only `%+` before here */
	char *out = key;
	struct span comp;
	ssize_t n;

	for (;; s = (const char *)comp.ptr + comp.len + 1) {
		comp = component_at(s, end);
		if (place == BELOW ? name_is_value(comp)
				   : is_ctl(comp.ptr, comp.len))
			return -EINVAL;
		if (moved && comp.len >= JOIN_MIN) {
			/* or it would have been joined to the open one */
			assert(is_plus(out - 3, 2));
			out -= 3;
		}
		n = join_name(&comp, end, out);
		if (n < 0)
			return (int)n;
		moved = is_continuing(comp.ptr, comp.len) ||
			(moved && is_plus(comp.ptr, comp.len));
		out += segment_of_name(place, out, (size_t)n);
		if ((const char *)comp.ptr + comp.len == end)
			break;
		*out++ = '/';
		place = BELOW;
	}
	*ret_len = (size_t)(out - key);
	return 0;
}

int name_decode(struct span path, char sep, char *key, size_t *ret_len,
		bool *ret_value)
{
	const char *p = path.ptr;
	size_t len = path.len;
	bool value = false;
	int r;

	if (len == 0)
		return -EINVAL;
	if (LIKELY(is_plain(p, len, '/'))) {
		copy(key, p, len, sep);
		*ret_len = len;
	} else {
		if (len > 3 && memcmp(p + len - 3, "/%=", 3) == 0) {
			value = true;
			len -= 3;
		}
		r = decode_components(p, len, key, ret_len);
		if (r < 0)
			return r;
		if (sep != '/')
			copy_swapped(key, key, *ret_len);
	}
	if (ret_value)
		*ret_value = value;
	return 0;
}

/* True if a name could be one that name_encode_member() has cut. */
static bool looks_cut(const char *name, size_t len)
{
	size_t i;

	if (len < NAME_MAX_BYTES - 2 || !ends_in_plus(name, len - 16))
		return false;
	for (i = len - 16; i < len; i++)
		if (!strchr("0123456789abcdef", name[i]))
			return false;
	return true;
}

size_t name_encode_member(struct span member, char *name)
{
	char text[3 * NAME_MAX_BYTES];
	size_t len, i, keep = NAME_MAX_BYTES - HASHED;
	uint64_t hash;

	/* A name is no shorter than its member, so of a longer one just the
	 * start shows. */
	len = name_of_segment(MEMBER, member.ptr,
			      MIN(member.len, (size_t)NAME_MAX_BYTES), text);
	if (member.len <= NAME_MAX_BYTES && len <= NAME_MAX_BYTES &&
	    !looks_cut(text, len)) {
		memcpy(name, text, len);
		return len;
	}
	/* no token is cut: `%` keeps the two bytes after it */
	if (text[keep - 1] == '%')
		keep -= 1;
	else if (text[keep - 2] == '%')
		keep -= 2;
	memcpy(name, text, keep);
	name = put(name + keep, "%+", 2);
	hash = XXH3_64bits(member.ptr, member.len);
	for (i = 0; i < 16; i++, hash <<= 4)
		name[i] = "0123456789abcdef"[hash >> 60];
	return keep + HASHED;
}
