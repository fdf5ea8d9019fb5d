/* SPDX-License-Identifier: MIT */

/*
 * The text of a manifest. A line is pairs of words. A word is what Redis'
 * sdssplitargs() makes one: runs of bytes between blanks, in which '...' and
 * "..." may stand, the latter with \n \r \t \b \a \xHH; any other byte behind a
 * backslash is itself. Redis reads a line as a C string, so a NUL ends what it
 * sees of it; here it is refused.
 *
 * Where Redis would guess, this does not: it takes `seq 12abc` for 12, `type
 * incr` for type i, the second of two `file` pairs, and a file that is both
 * live and history, which it then unlinks. What it writes itself is never so.
 * The other way round, it does not quote a name with an apostrophe and cannot
 * read what it wrote then; the printer here quotes it.
 *
 * Parsing collects into a manifest of its own and hands it over at the end
 * (M4). Files that are live and listed twice (M2) are found by sorting names:
 * a manifest can have thousands of lines, after a night of failing rewrites.
 */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "persist/aof_manifest.h"
#include "persist/aof_manifest_impl.h"

/* --- words ------------------------------------------------------------ */

/* In the C locale, as Redis has it. */
static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* What ends a word; \v and \f do not. */
static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_print(char c)
{
	return c >= ' ' && c <= '~';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The letters that stand for a byte behind a backslash, and those bytes. */
static const char escape_letters[] = "nrtba";
static const char escape_bytes[] = "\n\r\t\b\a";

/* One word, as it stands in the line and as it reads. */
struct word {
	const char *raw;
	size_t raw_len;
	char text[AOF_MANIFEST_LINE];
	size_t len;
};

/* What a backslash at @p stands for. Return: where it ends. */
static const char *unescape(const char *p, const char *end, char *ret)
{
	const char *letter;
	int high, low;

	if (end - p >= 4 && p[1] == 'x') {
		high = hex_digit(p[2]);
		low = hex_digit(p[3]);
		if (high >= 0 && low >= 0) {
			*ret = (char)(high << 4 | low);
			return p + 4;
		}
	}
	letter = strchr(escape_letters, p[1]);
	*ret = p[1];
	if (letter)
		*ret = escape_bytes[letter - escape_letters];
	return p + 2;
}

/* What is between quotes, from behind the first one on. Return: where it ends;
 * NULL if it does not, or if the word goes on behind it. */
static const char *read_quoted(const char *p, const char *end, char quote,
			       struct word *w)
{
	while (p < end && *p != quote) {
		char c = *p;

		if (c == '\\' && quote == '"' && p + 1 < end) {
			p = unescape(p, end, &c);
		} else if (c == '\\' && p + 1 < end && p[1] == '\'') {
			c = '\'';
			p += 2;
		} else {
			p++;
		}
		w->text[w->len++] = c;
	}
	if (p == end || (p + 1 < end && !is_space(p[1])))
		return NULL;
	return p + 1;
}

/* The next word of a line of at most AOF_MANIFEST_LINE bytes. Return: 1; 0 if
 * there is none; -EBADMSG if its quotes are not right. */
static int next_word(const char **pos, const char *end, struct word *w)
{
	const char *p = *pos;

	while (p < end && is_space(*p))
		p++;
	if (p == end)
		return 0;
	w->raw = p;
	w->len = 0;
	while (p < end && !is_blank(*p)) {
		if (*p == '"' || *p == '\'') {
			p = read_quoted(p + 1, end, *p, w);
			if (!p)
				return -EBADMSG;
			break;
		}
		w->text[w->len++] = *p++;
	}
	w->raw_len = (size_t)(p - w->raw);
	*pos = p;
	return 1;
}

/* --- lines ------------------------------------------------------------ */

struct parser {
	struct aof_manifest m;
	unsigned line;
	struct aof_manifest_error *err;
};

/* One line, taken apart. */
struct entry {
	bool has_name, has_seq, has_type;
	char name[AOF_NAME_SIZE];
	uint64_t seq; /* 0: no number from 1 to INT64_MAX */
	char type;    /* 0: more or less than a letter */
	char extra[AOF_MANIFEST_LINE];
	size_t extra_len;
};

#define REFUSE(ps, ...) aof_fail((ps)->err, -EBADMSG, (ps)->line, __VA_ARGS__)

static bool word_is(const struct word *w, const char *s)
{
	return w->len == strlen(s) && strncasecmp(w->text, s, w->len) == 0;
}

static int take_name(struct parser *ps, struct entry *e, const struct word *w)
{
	if (e->has_name)
		return REFUSE(ps, "two names in one line");
	if (memchr(w->text, '/', w->len) || memchr(w->text, '\\', w->len))
		return REFUSE(ps, "a path where a file name should be");
	if (w->len > AOF_NAME_MAX)
		return REFUSE(ps, "a file name of more than %d bytes",
			      AOF_NAME_MAX);
	if (!aof_is_name(w->text, w->len))
		return REFUSE(ps, "not the name of a file");
	memcpy(e->name, w->text, w->len);
	e->name[w->len] = '\0';
	e->has_name = true;
	return 0;
}

/* Keeps a pair that is not known as it is in the line. */
static void take_extra(struct entry *e, const struct word *key,
		       const struct word *value)
{
	if (e->extra_len)
		e->extra[e->extra_len++] = ' ';
	memcpy(e->extra + e->extra_len, key->raw, key->raw_len);
	e->extra_len += key->raw_len;
	e->extra[e->extra_len++] = ' ';
	memcpy(e->extra + e->extra_len, value->raw, value->raw_len);
	e->extra_len += value->raw_len;
}

static int take_pair(struct parser *ps, struct entry *e, const struct word *key,
		     const struct word *value)
{
	if (word_is(key, "file"))
		return take_name(ps, e, value);
	if (word_is(key, "seq")) {
		if (e->has_seq)
			return REFUSE(ps, "two numbers in one line");
		e->seq = aof_parse_seq(value->text, value->len);
		e->has_seq = true;
	} else if (word_is(key, "type")) {
		if (e->has_type)
			return REFUSE(ps, "two types in one line");
		if (value->len == 1)
			e->type = value->text[0];
		e->has_type = true;
	} else {
		take_extra(e, key, value);
	}
	return 0;
}

static int split_line(struct parser *ps, const char *p, const char *end,
		      struct entry *e)
{
	struct word key, value;
	int r;

	*e = (struct entry){ .seq = 0 };
	for (;;) {
		r = next_word(&p, end, &key);
		if (r == 0)
			return 0;
		if (r > 0)
			r = next_word(&p, end, &value);
		if (r < 0)
			return REFUSE(ps, "quotes that are not closed, or a "
					  "word goes on behind them");
		if (r == 0)
			return REFUSE(ps, "an odd number of words");
		r = take_pair(ps, e, &key, &value);
		if (r < 0)
			return r;
	}
}

static int check_entry(struct parser *ps, const struct entry *e)
{
	if (!e->has_name || !e->has_seq || !e->has_type)
		return REFUSE(ps, "no \"%s\" in the line",
			      !e->has_name  ? "file"
			      : !e->has_seq ? "seq"
					    : "type");
	if (e->seq == 0)
		return REFUSE(ps, "the seq is no number from 1 to %" PRId64,
			      INT64_MAX);
	switch (e->type) {
	case 'b':
		if (ps->m.base.name)
			return REFUSE(ps, "a second base; line %u has one",
				      ps->m.base.line);
		return 0;
	case 'i':
		if (e->seq <= ps->m.incr_seq)
			return REFUSE(ps,
				      "the seq %" PRIu64
				      " of an incr follows %" PRIu64,
				      e->seq, ps->m.incr_seq);
		return 0;
	case 'h':
		return 0;
	default:
		return REFUSE(ps, "the type is none of b, i and h");
	}
}

static int add_entry(struct parser *ps, const struct entry *e)
{
	struct aof_manifest *m = &ps->m;
	struct aof_files *l = e->type == 'i' ? &m->incrs : &m->history;
	struct aof_file f = { .seq = e->seq, .line = ps->line };
	bool ok = e->type == 'b' || aof_files_reserve(m->mem, l, 1) == 0;

	if (ok) {
		f.name = aof_copy_bytes(m->mem, e->name, strlen(e->name));
		ok = f.name;
	}
	if (ok && e->extra_len) {
		f.extra = aof_copy_bytes(m->mem, e->extra, e->extra_len);
		ok = f.extra;
	}
	if (!ok) {
		aof_file_fini(m->mem, &f);
		return aof_no_memory(ps->err);
	}
	if (e->type == 'b') {
		m->base = f;
		m->base_seq = f.seq;
		return 0;
	}
	l->v[l->n++] = f;
	if (e->type == 'i')
		m->incr_seq = f.seq;
	return 0;
}

/* Takes the line at @p. Return: 0, and in *ret_next where the next one is. */
static int parse_line(struct parser *ps, const char *p, const char *text_end,
		      const char **ret_next)
{
	const char *lf = memchr(p, '\n', (size_t)(text_end - p));
	const char *next = lf ? lf + 1 : text_end;
	struct entry e;
	int r;

	ps->line++;
	*ret_next = next;
	if (next - p > AOF_MANIFEST_LINE)
		return REFUSE(ps, "a line of more than %d bytes",
			      AOF_MANIFEST_LINE);
	if (*p == '#')
		return 0;
	if (memchr(p, '\0', (size_t)(next - p)))
		return REFUSE(ps, "a NUL byte in the line");
	if (!lf)
		return REFUSE(ps, "the last line has no end");
	while (p < lf && is_blank(*p))
		p++;
	if (p == lf)
		return REFUSE(ps, "a blank line");
	r = split_line(ps, p, lf, &e);
	if (r == 0)
		r = check_entry(ps, &e);
	return r == 0 ? add_entry(ps, &e) : r;
}

/* --- M2 --------------------------------------------------------------- */

struct listed {
	const struct aof_file *f;
	bool live;
};

static int compare_listed(const void *a, const void *b)
{
	const struct listed *x = a, *y = b;
	int order = strcmp(x->f->name, y->f->name);

	if (order)
		return order;
	return (x->f->line > y->f->line) - (x->f->line < y->f->line);
}

static size_t collect(struct listed *v, const struct aof_files *l, bool live)
{
	for (size_t i = 0; i < l->n; i++)
		v[i] = (struct listed){ &l->v[i], live };
	return l->n;
}

static int check_names(struct parser *ps)
{
	const struct aof_manifest *m = &ps->m;
	size_t n = 1 + m->incrs.n + m->history.n;
	struct listed *v = mem_alloc(m->mem, n * sizeof(v[0]));
	int r = 0;

	if (!v)
		return aof_no_memory(ps->err);
	n = 0;
	if (m->base.name)
		v[n++] = (struct listed){ &m->base, true };
	n += collect(v + n, &m->incrs, true);
	n += collect(v + n, &m->history, false);
	qsort(v, n, sizeof(v[0]), compare_listed);
	for (size_t i = 1; i < n && r == 0; i++)
		if (strcmp(v[i - 1].f->name, v[i].f->name) == 0 &&
		    (v[i - 1].live || v[i].live)) {
			ps->line = v[i].f->line;
			r = REFUSE(ps, "the file of line %u once more",
				   v[i - 1].f->line);
		}
	mem_free(m->mem, v);
	return r;
}

int aof_manifest_parse(struct span text, struct aof_manifest *m,
		       struct aof_manifest_error *err)
{
	struct parser ps = { .err = err };
	const char *p, *end;
	int r = 0;

	assert(aof_manifest_is_empty(m));
	*err = (struct aof_manifest_error){ .code = 0 };
	aof_manifest_init(&ps.m, m->mem);
	if (text.len == 0)
		return aof_fail(err, -EBADMSG, 0, "the manifest is empty");
	p = text.ptr;
	end = p + text.len;
	while (p < end && r == 0)
		r = parse_line(&ps, p, end, &p);
	if (r == 0)
		r = check_names(&ps);
	if (r < 0) {
		aof_manifest_fini(&ps.m);
		return r;
	}
	aof_manifest_fini(m);
	*m = ps.m;
	return 0;
}

/* --- printing --------------------------------------------------------- */

struct line {
	char buf[AOF_MANIFEST_LINE];
	size_t len; /* also of what did not fit */
};

static void put(struct line *l, const char *s, size_t len)
{
	if (l->len < sizeof(l->buf))
		memcpy(l->buf + l->len, s, MIN(len, sizeof(l->buf) - l->len));
	l->len += len;
}

static void put_str(struct line *l, const char *s)
{
	put(l, s, strlen(s));
}

static bool needs_quotes(const char *s)
{
	for (; *s; s++)
		if (!is_print(*s) || *s == ' ' || *s == '"' || *s == '\'')
			return true;
	return false;
}

static void put_quoted(struct line *l, const char *s)
{
	static const char hex[] = "0123456789abcdef";

	put(l, "\"", 1);
	for (; *s; s++) {
		const char *control = strchr(escape_bytes, *s);
		unsigned char c = (unsigned char)*s;

		if (*s == '"')
			put(l, "\\\"", 2);
		else if (control)
			put(l,
			    (char[]){ '\\',
				      escape_letters[control - escape_bytes] },
			    2);
		else if (is_print(*s))
			put(l, s, 1);
		else
			put(l, (char[]){ '\\', 'x', hex[c >> 4], hex[c & 15] },
			    4);
	}
	put(l, "\"", 1);
}

static int print_line(struct line *l, const struct aof_file *f, char type)
{
	char number[24];

	l->len = 0;
	put_str(l, "file ");
	if (needs_quotes(f->name))
		put_quoted(l, f->name);
	else
		put_str(l, f->name);
	(void)snprintf(number, sizeof(number), "%" PRIu64, f->seq);
	put_str(l, " seq ");
	put_str(l, number);
	put_str(l, " type ");
	put(l, &type, 1);
	if (f->extra) {
		put_str(l, " ");
		put_str(l, f->extra);
	}
	put_str(l, "\n");
	return l->len > sizeof(l->buf) ? -ENAMETOOLONG : 0;
}

/* Prints at *out, or just counts if that is NULL. */
static int print_files(const struct aof_file *v, size_t n, char type,
		       char **out, size_t *total)
{
	struct line l;
	int r;

	for (size_t i = 0; i < n; i++) {
		r = print_line(&l, &v[i], type);
		if (r < 0)
			return r;
		*total += l.len;
		if (!*out)
			continue;
		memcpy(*out, l.buf, l.len);
		*out += l.len;
	}
	return 0;
}

static int print_all(const struct aof_manifest *m, char *out, size_t *ret_len)
{
	size_t total = 0;
	int r;

	r = print_files(&m->base, m->base.name != NULL, 'b', &out, &total);
	if (r == 0)
		r = print_files(m->history.v, m->history.n, 'h', &out, &total);
	if (r == 0)
		r = print_files(m->incrs.v, m->incrs.n, 'i', &out, &total);
	*ret_len = total;
	return r;
}

int aof_manifest_print(const struct aof_manifest *m, char **ret,
		       size_t *ret_len)
{
	size_t len;
	char *text;
	int r = print_all(m, NULL, &len);

	if (r < 0)
		return r;
	text = mem_alloc(m->mem, len + 1); /* one more: never none */
	if (!text)
		return -ENOMEM;
	(void)print_all(m, text, &len);
	*ret = text;
	*ret_len = len;
	return 0;
}
