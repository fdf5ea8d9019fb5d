/* SPDX-License-Identifier: MIT */

/*
 * Facts as text. The text is read back by other versions of this program and
 * compared byte for byte by the digest, so there is one way to write a fact:
 * fixed order of words, no leading zeros but those of the nanoseconds.
 *
 * A hash with millions of fields is kept as one run of bytes:
 *
 *	u32 name length, u32 value length, name (with its '/'), value
 *
 * in the machine's byte order, unaligned. Position 0 of a walk is the magic
 * field, position p > 0 the field at byte p - 1.
 */

#include "persist/facts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
	HEADER = 2 * sizeof(uint32_t),
	BYTES_MIN = 4096,
	NS_DIGITS = 9,
};

#define NS_PER_S INT64_C(1000000000)

/* --- text ------------------------------------------------------------- */

/* " t-1.500000000": seconds are rounded down, so the fraction is positive. */
static int print_time(char *buf, size_t size, char letter, int64_t ns)
{
	int64_t s = ns / NS_PER_S, rest = ns % NS_PER_S;

	if (rest < 0) {
		s--;
		rest += NS_PER_S;
	}
	return snprintf(buf, size, " %c%" PRId64 ".%09" PRId64, letter, s,
			rest);
}

size_t facts_print(const struct store_facts *f, char *buf)
{
	char text[FACTS_MAX_LEN + 2]; /* a space first, a NUL last */
	int len = 0;

#define REST text + len, sizeof(text) - (size_t)len
	if (f->mask & STORE_FACT_MODE)
		len += snprintf(REST, " m%" PRIo32, f->mode & 07777);
	if (f->mask & STORE_FACT_UID)
		len += snprintf(REST, " u%" PRIu32, f->uid);
	if (f->mask & STORE_FACT_GID)
		len += snprintf(REST, " g%" PRIu32, f->gid);
	if (f->mask & STORE_FACT_MTIME)
		len += print_time(REST, 't', f->mtime_ns);
	if (f->mask & STORE_FACT_ATIME)
		len += print_time(REST, 'a', f->atime_ns);
	if (f->mask & STORE_FACT_DIR)
		len += snprintf(REST, " d");
	if (f->mask & STORE_FACT_SYMLINK)
		len += snprintf(REST, " l");
#undef REST
	if (len == 0)
		return 0;
	memcpy(buf, text + 1, (size_t)len - 1);
	return (size_t)len - 1;
}

/* A number of at least one digit in @base, nothing around it. */
static bool parse_number(struct span s, unsigned base, uint64_t max,
			 uint64_t *ret)
{
	const char *p = s.ptr;
	uint64_t n = 0;

	if (s.len == 0)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned digit = (unsigned)(unsigned char)p[i] - '0';

		if (digit >= base || n > (max - digit) / base)
			return false;
		n = n * base + digit;
	}
	*ret = n;
	return true;
}

static bool parse_u32(struct span s, unsigned base, uint64_t max, uint32_t *ret)
{
	uint64_t n;

	if (!parse_number(s, base, max, &n))
		return false;
	*ret = (uint32_t)n;
	return true;
}

/* "-1.500000000" */
static bool parse_time(struct span s, int64_t *ret)
{
	const char *p = s.ptr, *dot;
	bool negative = s.len && p[0] == '-';
	uint64_t sec, ns;
	int64_t t;

	if (negative)
		s = span_of(++p, s.len - 1);
	dot = s.len ? memchr(p, '.', s.len) : NULL;
	if (!dot || s.len - (size_t)(dot - p) != NS_DIGITS + 1)
		return false;
	if (!parse_number(span_of(p, (size_t)(dot - p)), 10, INT64_MAX, &sec) ||
	    !parse_number(span_of(dot + 1, NS_DIGITS), 10, NS_PER_S - 1, &ns))
		return false;
	/* The very lowest times do not fit before the fraction is added: so
	 * a whole second of the latter is taken first. */
	t = negative ? -(int64_t)sec : (int64_t)sec;
	if (negative && ns) {
		t++;
		ns -= (uint64_t)NS_PER_S;
	}
	return !__builtin_mul_overflow(t, NS_PER_S, &t) &&
	       !__builtin_add_overflow(t, (int64_t)ns, ret);
}

/* Return: the fact that the word states; 0 if unknown, -1 if malformed. */
static int parse_word(struct span word, struct store_facts *f)
{
	const char *p = word.ptr;
	struct span rest = { p + 1, word.len - 1 };

	switch (p[0]) {
	case 'm':
		return parse_u32(rest, 8, 07777, &f->mode) ? STORE_FACT_MODE
							   : -1;
	case 'u':
		return parse_u32(rest, 10, UINT32_MAX, &f->uid) ? STORE_FACT_UID
								: -1;
	case 'g':
		return parse_u32(rest, 10, UINT32_MAX, &f->gid) ? STORE_FACT_GID
								: -1;
	case 't':
		return parse_time(rest, &f->mtime_ns) ? STORE_FACT_MTIME : -1;
	case 'a':
		return parse_time(rest, &f->atime_ns) ? STORE_FACT_ATIME : -1;
	case 'd':
		return rest.len == 0 ? STORE_FACT_DIR : -1;
	case 'l':
		return rest.len == 0 ? STORE_FACT_SYMLINK : -1;
	default:
		return 0;
	}
}

int facts_parse(struct span text, struct store_facts *ret)
{
	struct store_facts f = { .mask = 0 };
	const char *p = text.ptr, *end = p + text.len;

	while (text.len) {
		const char *space = memchr(p, ' ', (size_t)(end - p));
		struct span word = { p, (size_t)((space ? space : end) - p) };
		int bit = word.len ? parse_word(word, &f) : -1;

		if (bit < 0 || (f.mask & (unsigned)bit))
			return -EBADMSG;
		f.mask |= (unsigned)bit;
		if (!space)
			break;
		p = space + 1;
	}
	*ret = f;
	return 0;
}

/* --- key and magic field ---------------------------------------------- */

struct span facts_key_print(unsigned n, char buf[FACTS_KEY_MAX])
{
	int len = n ? snprintf(buf, FACTS_KEY_MAX, FACTS_KEY "%u", n)
		    : snprintf(buf, FACTS_KEY_MAX, FACTS_KEY);

	return span_of(buf, (size_t)len);
}

static bool starts_with(struct span s, const char *prefix)
{
	size_t len = strlen(prefix);

	return s.len >= len && memcmp(s.ptr, prefix, len) == 0;
}

bool facts_key_matches(struct span key)
{
	const char *p = key.ptr;

	if (!starts_with(key, FACTS_KEY))
		return false;
	for (size_t i = strlen(FACTS_KEY); i < key.len; i++) {
		if (p[i] < '0' || p[i] > '9')
			return false;
	}
	return true;
}

/* "keyfs N ..." with N other than ours. */
static bool is_later_magic(struct span value)
{
	const char *p = value.ptr, *space;
	struct span number;
	uint64_t n;

	if (!starts_with(value, "keyfs "))
		return false;
	p += strlen("keyfs ");
	space = memchr(p, ' ', value.len - strlen("keyfs "));
	number = span_of(p, space ? (size_t)(space - p)
				  : value.len - strlen("keyfs "));
	return parse_number(number, 10, UINT32_MAX, &n) && n > 1;
}

int facts_magic_parse(struct span value, char *ret_sep)
{
	const char *p = value.ptr;
	size_t len = strlen(FACTS_MAGIC_VALUE);

	if (is_later_magic(value))
		return -ENOTSUP;
	if (!starts_with(value, FACTS_MAGIC_VALUE) || value.len == len ||
	    (p[len] != '/' && p[len] != ':') ||
	    (value.len > len + 1 && p[len + 1] != ' '))
		return -ENOENT;
	*ret_sep = p[len];
	return 0;
}

/* --- the fields of a snapshot's hash ---------------------------------- */

void facts_hash_init(struct facts_hash *h, struct mem *m, char sep)
{
	size_t len = strlen(FACTS_MAGIC_VALUE);

	*h = (struct facts_hash){ .mem = m };
	memcpy(h->magic, FACTS_MAGIC_VALUE, len);
	h->magic[len] = sep;
}

void facts_hash_fini(struct facts_hash *h)
{
	if (h->bytes)
		mem_free(h->mem, h->bytes);
	h->bytes = NULL;
	h->len = h->cap = 0;
	h->n = 0;
}

static int reserve(struct facts_hash *h, size_t more)
{
	size_t need, cap;
	char *p;

	if (__builtin_add_overflow(h->len, more, &need))
		return -ENOMEM;
	if (need <= h->cap)
		return 0;
	cap = MAX(need, MAX(h->cap + h->cap / 2, (size_t)BYTES_MIN));
	p = mem_realloc(h->mem, h->bytes, cap);
	if (!p)
		return -ENOMEM;
	h->bytes = p;
	h->cap = cap;
	return 0;
}

int facts_hash_add(struct facts_hash *h, struct span path,
		   const struct store_facts *f)
{
	char text[FACTS_MAX_LEN];
	uint32_t head[2];
	char *p;
	int r;

	if (f->mask == 0)
		return 0;
	if (path.len >= UINT32_MAX)
		return -ENOMEM;
	head[0] = (uint32_t)path.len + 1;
	head[1] = (uint32_t)facts_print(f, text);
	r = reserve(h, HEADER + (size_t)head[0] + head[1]);
	if (r < 0)
		return r;
	p = h->bytes + h->len;
	memcpy(p, head, HEADER);
	p[HEADER] = FACTS_PATH_PREFIX;
	if (path.len)
		memcpy(p + HEADER + 1, path.ptr, path.len);
	memcpy(p + HEADER + head[0], text, head[1]);
	h->len += HEADER + (size_t)head[0] + head[1];
	h->n++;
	return 0;
}

uint64_t facts_hash_count(const struct facts_hash *h)
{
	char sep = h->magic[strlen(FACTS_MAGIC_VALUE)];

	return h->n || sep == ':' ? h->n + 1 : 0;
}

bool facts_hash_next(const struct facts_hash *h, size_t *pos,
		     struct span *ret_field, struct span *ret_value)
{
	uint32_t head[2];
	const char *p;

	if (*pos == 0) {
		*pos = 1;
		*ret_field = span_str(FACTS_MAGIC_FIELD);
		*ret_value = span_str(h->magic);
		return facts_hash_count(h) != 0;
	}
	if (*pos - 1 == h->len)
		return false;
	p = h->bytes + *pos - 1;
	memcpy(head, p, HEADER);
	*ret_field = span_of(p + HEADER, head[0]);
	*ret_value = span_of(p + HEADER + head[0], head[1]);
	*pos += HEADER + (size_t)head[0] + head[1];
	return true;
}
