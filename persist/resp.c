/* SPDX-License-Identifier: MIT */

/*
 * A record is parsed where it lies, in the window of the stream, which begins
 * with the record as soon as it has to move. `pos` runs through it; need() makes
 * the bytes up to some place available. So a record of ordinary size is never
 * copied. One that exceeds the window is gathered in `copy`, always up to the
 * byte that is needed and not one further: the stream then stands behind the
 * record without having to go back, which would lose its CRC.
 *
 *	window:  |--- begin --- pos ------- have -----|   stream at begin
 *	copy:    |--- begin ---------- pos = have |       stream at begin + have
 *
 * Since the bytes move while a record grows, arguments are kept as offsets in
 * the place of pointers until it is whole.
 *
 * Lengths are not believed: the array of arguments grows with the arguments
 * that came, `copy` with what was found to be in the file. A length that
 * reaches beyond the file makes the record a torn one before anything is
 * allocated; but what is there of the record is looked at byte for byte first,
 * up to that length, so that damage is not taken for a torn tail as long as it
 * shows.
 *
 * After a power loss a file can have its new size without the data: NUL bytes
 * from the end of some block on. No record has a NUL outside of its arguments,
 * so the parser stops at the first one that follows; if the rest of the file is
 * NUL as well, it is that tail, and it began where the run of NULs does, which
 * can be back in an argument.
 */

#include "persist/resp.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
	ARGV_MIN = 16,
	COPY_SLACK = 4096,
	/* What one large record leaves allocated for the next one. */
	COPY_KEEP = 2 * IN_BUFFER,
	ARGV_KEEP = 1 << 16,
	SHOWN = 16, /* bytes in a message */
};

static const char thing[] = "a command";

/* --- the bytes of a record -------------------------------------------- */

/* Functions below return 0, -errno, or the kind of what is not whole. */

void resp_init(struct resp *r, struct in *in)
{
	*r = (struct resp){ .in = in };
}

void resp_fini(struct resp *r)
{
	if (!r->in)
		return;
	mem_free(r->in->mem, r->copy);
	mem_free(r->in->mem, r->argv);
	*r = (struct resp){ .in = NULL };
}

static void begin_record(struct resp *r)
{
	struct in *in = r->in;

	if (r->copy_cap > COPY_KEEP) {
		mem_free(in->mem, r->copy);
		r->copy = NULL;
		r->copy_cap = 0;
	}
	if (r->argv_cap > ARGV_KEEP) {
		mem_free(in->mem, r->argv);
		r->argv = NULL;
		r->argv_cap = 0;
	}
	r->begin = in_offset(in);
	r->at = in->p;
	r->have = (size_t)(in->end - in->p);
	r->pos = 0;
	r->copied = false;
}

/* Leaves the stream where the record begins. */
static void back_to_begin(struct resp *r)
{
	if (in_offset(r->in) != r->begin)
		in_seek(r->in, r->begin);
}

static int fail_memory(struct resp *r, uint64_t bytes)
{
	return in_fail(r->in, -ENOMEM, r->begin,
		       "no memory for %" PRIu64 " bytes of a command", bytes);
}

/* Room for @n bytes, all of which are in the file, and for some more, so that
 * many small arguments behind a large one do not each resize it. */
static int grow_copy(struct resp *r, size_t n)
{
	uint64_t in_file = r->in->size - r->begin;
	uint64_t want = MAX(n + COPY_SLACK, r->copy_cap + r->copy_cap / 4);
	size_t cap = (size_t)MIN(want, in_file);
	uint8_t *p = mem_realloc(r->in->mem, r->copy, cap);

	if (!p)
		return fail_memory(r, cap);
	r->copy = p;
	r->copy_cap = cap;
	return 0;
}

static int gather_copy(struct resp *r, size_t n)
{
	size_t from = r->copied ? r->have : 0;
	int e = 0;

	if (n > r->copy_cap)
		e = grow_copy(r, n);
	if (e == 0)
		e = in_copy(r->in, r->copy + from, n - from, thing);
	if (e < 0)
		return e;
	r->copied = true;
	r->at = r->copy;
	r->have = n;
	return 0;
}

/* need() for what is not there yet. */
static int gather(struct resp *r, size_t n)
{
	int e;

	if (n > r->in->size - r->begin)
		return RESP_TORN;
	if (r->copied || n > IN_BUFFER)
		return gather_copy(r, n);
	e = in_need(r->in, n, thing);
	r->at = r->in->p;
	r->have = (size_t)(r->in->end - r->in->p);
	return e;
}

/* Has the record's first @n bytes at hand. */
static inline int need(struct resp *r, size_t n)
{
	return LIKELY(n <= r->have) ? 0 : gather(r, n);
}

/* --- what is no record ------------------------------------------------ */

static bool all_nul(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* Whether there are just NULs from `pos` to the end of the file: 1, 0 or
 * -errno. Moves the stream; the bytes at `at` are gone then. */
static int nul_to_end(struct resp *r)
{
	struct in *in = r->in;
	int e;

	if (!all_nul(r->at + r->pos, r->have - r->pos))
		return 0;
	if (!r->copied)
		in->p += r->have;
	while (in_left(in)) {
		e = in_need(in, 1, thing);
		if (e < 0)
			return e;
		if (!all_nul(in->p, (size_t)(in->end - in->p)))
			return 0;
		in->p = in->end;
	}
	return 1;
}

/* The byte at `pos` cannot be: says what should be there. */
static int unexpected(struct resp *r, const char *wanted)
{
	size_t shown = MIN(r->have - r->pos, (size_t)SHOWN), nuls = r->pos;
	uint64_t where = r->begin + r->pos;
	char found[IN_ESCAPED_MAX];
	int e;

	(void)in_escape(span_of(r->at + r->pos, shown), found);
	if (r->at[r->pos] == 0) {
		while (nuls && r->at[nuls - 1] == 0)
			nuls--;
		e = nul_to_end(r);
		if (e < 0)
			return e;
		if (e) {
			r->pos = nuls;
			(void)in_fail(r->in, -EBADMSG, r->begin + nuls,
				      "NUL bytes from here to the end of the "
				      "file");
			return RESP_NULS;
		}
	}
	(void)in_fail(r->in, -EBADMSG, where, "expected %s and found \"%s\"",
		      wanted, found);
	return RESP_DAMAGED;
}

/* --- commands --------------------------------------------------------- */

/* The byte @c. */
static inline int expect(struct resp *r, uint8_t c, const char *wanted)
{
	int e = need(r, r->pos + 1);

	if (UNLIKELY(e))
		return e;
	if (UNLIKELY(r->at[r->pos] != c))
		return unexpected(r, wanted);
	r->pos++;
	return 0;
}

static int expect_line_end(struct resp *r, const char *behind)
{
	int e = expect(r, '\r', behind);

	return e ? e : expect(r, '\n', behind);
}

/* A number as it is printed: no sign, no leading zero; with its line end. */
static int read_number(struct resp *r, uint64_t max, uint64_t *ret)
{
	size_t first = r->pos;
	uint64_t n = 0;
	unsigned digit;
	int e;

	for (;; r->pos++) {
		e = need(r, r->pos + 1);
		if (UNLIKELY(e))
			return e;
		digit = (unsigned)r->at[r->pos] - '0';
		if (digit > 9)
			break;
		if (r->pos == first + 1 && n == 0)
			return unexpected(r, "a line end after the number 0");
		if (UNLIKELY(n > (max - digit) / 10))
			return unexpected(r, "a number within the limits");
		n = n * 10 + digit;
	}
	if (r->pos == first)
		return unexpected(r, "a number");
	e = expect_line_end(r, "a line end after a number");
	if (e == 0)
		*ret = n;
	return e;
}

/* A place in argv for one more. */
static int grow_argv(struct resp *r, uint64_t argc)
{
	size_t cap = MAX((size_t)ARGV_MIN,
			 (size_t)MIN((uint64_t)r->argv_cap * 2, argc));
	struct span *p =
		mem_realloc(r->in->mem, r->argv, cap * sizeof(r->argv[0]));

	if (!p)
		return fail_memory(r, cap * sizeof(r->argv[0]));
	r->argv = p;
	r->argv_cap = cap;
	return 0;
}

/* One argument; its place in argv gets the offset in the record as pointer. */
static int read_argument(struct resp *r, struct span *ret)
{
	size_t first;
	uint64_t len = 0;
	int e = expect(r, '$', "'$' and the length of an argument");

	if (e == 0)
		e = read_number(r, INT64_MAX, &len);
	if (e)
		return e;
	first = r->pos;
	e = need(r, first + len);
	if (e)
		return e;
	*ret = span_of((const void *)(uintptr_t)first, (size_t)len);
	r->pos = first + len;
	return expect_line_end(r, "a line end after an argument");
}

static int read_command(struct resp *r, struct resp_record *rec)
{
	uint64_t argc = 0;
	int e;

	r->pos = 1; /* the asterisk */
	e = read_number(r, RESP_ARGC_MAX, &argc);
	if (e)
		return e;
	if (argc == 0) {
		r->pos = 1;
		return unexpected(r, "a command of one argument or more");
	}
	for (uint64_t i = 0; i < argc; i++) {
		struct span arg;

		e = read_argument(r, &arg);
		if (e == 0 && i == r->argv_cap)
			e = grow_argv(r, argc);
		if (e)
			return e;
		r->argv[i] = arg;
	}
	for (uint64_t i = 0; i < argc; i++)
		r->argv[i].ptr = r->at + (uintptr_t)r->argv[i].ptr;
	rec->argv = r->argv;
	rec->argc = (size_t)argc;
	return 0;
}

/* --- annotations ------------------------------------------------------ */

static int read_note(struct resp *r, struct resp_record *rec)
{
	uint64_t left = r->in->size - r->begin;
	size_t n = (size_t)MIN((uint64_t)RESP_NOTE_LINE, left);
	const uint8_t *lf, *nul;
	int e = need(r, n);

	if (e)
		return e;
	lf = memchr(r->at, '\n', n);
	nul = memchr(r->at, '\0', lf ? (size_t)(lf - r->at) : n);
	if (nul) {
		r->pos = (size_t)(nul - r->at);
		return unexpected(r, "the text of an annotation");
	}
	if (!lf && n < RESP_NOTE_LINE)
		return RESP_TORN_NOTE;
	if (!lf) {
		r->pos = n - 1;
		return unexpected(r, "an annotation to end within 1023 bytes");
	}
	r->pos = (size_t)(lf - r->at) + 1;
	n = r->pos - 2; /* without '#' and LF */
	if (n && lf[-1] == '\r')
		n--;
	rec->text = span_of(r->at + 1, n);
	return RESP_NOTE;
}

/* --- any record ------------------------------------------------------- */

static int read_record(struct resp *r, struct resp_record *rec)
{
	int e;

	if (in_left(r->in) == 0)
		return RESP_END;
	e = need(r, 1);
	if (e)
		return e;
	if (LIKELY(r->at[0] == '*'))
		return read_command(r, rec);
	if (r->at[0] == '#')
		return read_note(r, rec);
	return unexpected(r, "'*' or '#' where a record begins");
}

/* A record that is not whole: what is there of it, in words. */
static void tell_torn(struct resp *r, const char *what)
{
	(void)in_fail(r->in, -EBADMSG, r->begin,
		      "%s begins here and is cut off after %" PRIu64
		      " bytes: the file ends",
		      what, r->in->size - r->begin);
}

int resp_next(struct resp *r, struct resp_record *ret)
{
	struct resp_record rec = { .argc = 0 };
	int e;

	begin_record(r);
	e = read_record(r, &rec);
	if (UNLIKELY(e < 0))
		return e;
	rec.kind = (enum resp_kind)e;
	rec.begin = rec.end = r->begin;
	switch (rec.kind) {
	case RESP_COMMAND:
	case RESP_NOTE:
		if (!r->copied)
			r->in->p += r->pos;
		rec.end = rec.stop = r->begin + r->pos;
		assert(in_offset(r->in) == rec.end); /* P1 */
		break;
	case RESP_TORN:
		tell_torn(r, thing);
		rec.stop = r->in->size;
		break;
	case RESP_TORN_NOTE:
		tell_torn(r, "an annotation");
		rec.stop = r->in->size;
		break;
	case RESP_END:
	case RESP_NULS:
	case RESP_DAMAGED:
		rec.stop = r->begin + r->pos;
		break;
	}
	if (rec.kind != RESP_COMMAND && rec.kind != RESP_NOTE)
		back_to_begin(r); /* P3 */
	*ret = rec;
	return 0;
}

/* --- writing ---------------------------------------------------------- */

static unsigned count_digits(uint64_t n)
{
	unsigned digits = 1;

	for (; n >= 10; n /= 10)
		digits++;
	return digits;
}

size_t resp_head_size(uint64_t n)
{
	return 1 + count_digits(n) + 2;
}

static uint8_t *put_head(uint8_t *out, uint8_t lead, uint64_t n)
{
	uint8_t *end = out + 1 + count_digits(n);
	uint8_t *p = end;

	*out = lead;
	do {
		*--p = (uint8_t)('0' + n % 10);
		n /= 10;
	} while (n);
	return resp_put_end(end);
}

uint8_t *resp_put_argc(uint8_t *out, size_t argc)
{
	assert(argc > 0 && argc <= RESP_ARGC_MAX);
	return put_head(out, '*', argc);
}

uint8_t *resp_put_len(uint8_t *out, uint64_t len)
{
	return put_head(out, '$', len);
}

uint8_t *resp_put_end(uint8_t *out)
{
	*out++ = '\r';
	*out++ = '\n';
	return out;
}

size_t resp_command_size(const struct span *argv, size_t argc)
{
	size_t size = resp_head_size(argc);

	for (size_t i = 0; i < argc; i++)
		if (__builtin_add_overflow(size, argv[i].len, &size) ||
		    __builtin_add_overflow(
			    size, resp_head_size(argv[i].len) + 2, &size))
			return SIZE_MAX;
	return size;
}

uint8_t *resp_put_command(uint8_t *out, const struct span *argv, size_t argc)
{
	out = resp_put_argc(out, argc);
	for (size_t i = 0; i < argc; i++) {
		out = resp_put_len(out, argv[i].len);
		if (argv[i].len)
			memcpy(out, argv[i].ptr, argv[i].len);
		out = resp_put_end(out + argv[i].len);
	}
	return out;
}

void resp_buf_fini(struct resp_buf *b)
{
	mem_free(b->mem, b->p);
	b->p = NULL;
	b->len = b->cap = 0;
}

static int reserve(struct resp_buf *b, size_t n)
{
	size_t end, cap;
	uint8_t *p;

	if (n <= b->cap - b->len)
		return 0;
	if (__builtin_add_overflow(b->len, n, &end) || end > PTRDIFF_MAX)
		return -ENOMEM;
	cap = MAX(end, b->cap * 2);
	p = mem_realloc(b->mem, b->p, cap);
	if (!p)
		return -ENOMEM;
	b->p = p;
	b->cap = cap;
	return 0;
}

int resp_append_command(struct resp_buf *b, const struct span *argv,
			size_t argc)
{
	size_t size = resp_command_size(argv, argc);
	int e = reserve(b, size);

	if (e < 0)
		return e;
	(void)resp_put_command(b->p + b->len, argv, argc);
	b->len += size;
	return 0;
}

int resp_append_note(struct resp_buf *b, struct span text)
{
	int e;

	if (text.len > RESP_NOTE_MAX ||
	    (text.len && (memchr(text.ptr, '\r', text.len) ||
			  memchr(text.ptr, '\n', text.len) ||
			  memchr(text.ptr, '\0', text.len))))
		return -EINVAL;
	e = reserve(b, text.len + 3);
	if (e < 0)
		return e;
	b->p[b->len++] = '#';
	if (text.len)
		memcpy(b->p + b->len, text.ptr, text.len);
	b->len += text.len;
	(void)resp_put_end(b->p + b->len);
	b->len += 2;
	return 0;
}
