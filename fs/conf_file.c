/* SPDX-License-Identifier: MIT */
/*
 * The syntax is that of Redis' own reader (a line at a time, no continuation;
 * `#` starts a comment only as the first byte of a line that is not white
 * space), because a user brings the redis.conf that is there.
 *
 * An edit works on lines, not on a parsed form: what it does not understand it
 * copies, so comments, order, spacing and even line ends survive.
 */
#include "fs/conf_file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

bool conf_next_line(struct span *rest, struct span *ret_line)
{
	const char *start = rest->ptr, *end;
	size_t used;

	if (rest->len == 0)
		return false;
	end = memchr(start, '\n', rest->len);
	used = end ? (size_t)(end - start) + 1 : rest->len;
	*ret_line = span_of(start, end ? used - 1 : used);
	*rest = span_of(start + used, rest->len - used);
	return true;
}

static bool is_space(char c)
{
	return isspace((unsigned char)c);
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The text being split and where it goes. */
struct splitter {
	const char *p, *end;
	char *out;
};

/* One byte after a backslash in "...". */
static void take_escape(struct splitter *s)
{
	static const char from[] = "nrtba", to[] = "\n\r\t\b\a";
	const char *known;
	int high = -1, low = -1;
	char c = *s->p++;

	if (c == 'x' && s->end - s->p >= 2) {
		high = hex_value(s->p[0]);
		low = hex_value(s->p[1]);
	}
	if (high >= 0 && low >= 0) {
		c = (char)(high * 16 + low);
		s->p += 2;
	} else if (c != 0 && (known = strchr(from, c)) != NULL) {
		c = to[known - from];
	}
	*s->out++ = c;
}

/* The rest of a quoted part, whose first quote has been taken. */
static int take_quoted(struct splitter *s, char quote)
{
	while (s->p < s->end) {
		char c = *s->p++;

		if (c == quote)
			return s->p == s->end || is_space(*s->p) ? 0 : -EINVAL;
		if (c == '\\' && s->p < s->end &&
		    (quote == '"' || *s->p == '\''))
			take_escape(s);
		else
			*s->out++ = c;
	}
	return -EINVAL;
}

static int take_word(struct splitter *s)
{
	char *start = s->out;
	int r = 0;

	while (!r && s->p < s->end && !is_space(*s->p)) {
		char c = *s->p++;

		if (c == '"' || c == '\'')
			r = take_quoted(s, c);
		else
			*s->out++ = c;
	}
	if (!r && memchr(start, '\0', (size_t)(s->out - start)))
		r = -EINVAL;
	*s->out++ = '\0';
	return r;
}

int conf_split(struct span line, char *buf, char **argv, int max)
{
	struct splitter s = { line.ptr, (const char *)line.ptr + line.len,
			      buf };
	int n = 0, r;

	for (;;) {
		while (s.p < s.end && is_space(*s.p))
			s.p++;
		if (s.p == s.end)
			return n;
		if (n == max)
			return -E2BIG;
		argv[n++] = s.out;
		/* A word and its NUL take no more room than the word and the
		 * space after it, or the end, for which there is one byte. */
		r = take_word(&s);
		if (r < 0)
			return r;
	}
}

static bool needs_quotes(struct span word)
{
	const char *p = word.ptr;

	for (size_t i = 0; i < word.len; i++) {
		unsigned char c = (unsigned char)p[i];

		if (c <= 0x20 || c == 0x7f || strchr("\"'\\#", c))
			return true;
	}
	return word.len == 0;
}

size_t conf_quote(struct span word, char *buf)
{
	const char *p = word.ptr;
	char *out = buf;

	if (!needs_quotes(word)) {
		memcpy(buf, word.ptr, word.len);
		return word.len;
	}
	*out++ = '"';
	for (size_t i = 0; i < word.len; i++) {
		unsigned char c = (unsigned char)p[i];

		if (c < 0x20 || c == 0x7f) {
			char hex[5];

			(void)snprintf(hex, sizeof(hex), "\\x%02x", c);
			memcpy(out, hex, 4);
			out += 4;
			continue;
		}
		if (c == '"' || c == '\\')
			*out++ = '\\';
		*out++ = (char)c;
	}
	*out++ = '"';
	return (size_t)(out - buf);
}

/* Reads up to @size bytes. Return: how many; -errno. */
static ssize_t read_up_to(const struct io *io, int fd, char *buf, size_t size)
{
	size_t n = 0;

	while (n < size) {
		ssize_t r = io->pread(io->ctx, fd, buf + n, size - n, (off_t)n);

		if (r == -EINTR)
			continue;
		if (r < 0)
			return r;
		if (r == 0)
			break;
		n += (size_t)r;
	}
	return (ssize_t)n;
}

int conf_file_read(const struct io *io, int dirfd, const char *name,
		   char **ret_text, size_t *ret_len, mode_t *ret_mode)
{
	_cleanup_free_ char *text = NULL;
	struct stat st;
	ssize_t n;
	int fd, r;

	/* The open of a FIFO would wait for a writer. */
	fd = io->openat(io->ctx, dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK,
			0);
	if (fd < 0)
		return fd;
	r = io->fstat(io->ctx, fd, &st);
	if (!r && !S_ISREG(st.st_mode))
		r = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	if (!r && st.st_size > CONF_FILE_MAX)
		r = -EFBIG;
	if (!r) {
		text = malloc((size_t)st.st_size + 1);
		r = text ? 0 : -ENOMEM;
	}
	n = r ? r : read_up_to(io, fd, text, (size_t)st.st_size);
	(void)io->close(io->ctx, fd); /* nothing was written */
	if (n < 0)
		return (int)n;
	*ret_text = text;
	text = NULL;
	*ret_len = (size_t)n;
	*ret_mode = st.st_mode & 07777;
	return 0;
}

/* True if the line's first word is @name. Also for a line that does not parse
 * as a whole, since that is the user's to mend, not ours to keep beside a new
 * one. */
static bool line_sets(struct span line, const char *name)
{
	const char *p = line.ptr, *end = p + line.len;
	size_t len = strlen(name);

	while (p < end && is_space(*p))
		p++;
	return (size_t)(end - p) >= len && strncasecmp(p, name, len) == 0 &&
	       (p + len == end || is_space(p[len]));
}

int conf_file_edit(struct span text, const char *name, const char *value,
		   struct span *ret)
{
	struct span rest = text, line;
	bool done = false;
	char *buf = NULL;
	size_t len = 0;
	FILE *out;

	out = open_memstream(&buf, &len);
	if (!out)
		return -ENOMEM;
	while (conf_next_line(&rest, &line)) {
		const char *start = line.ptr;
		size_t whole = (size_t)((const char *)rest.ptr - start);
		bool crlf = line.len > 0 && start[line.len - 1] == '\r';

		if (!line_sets(line, name)) {
			(void)fwrite(start, 1, whole, out);
			if (whole == line.len) /* the last, without an end */
				(void)fputc('\n', out);
		} else if (!done) {
			(void)fprintf(out, "%s %s%s\n", name, value,
				      crlf ? "\r" : "");
			done = true;
		}
	}
	if (!done)
		(void)fprintf(out, "%s %s\n", name, value);
	/* A memory stream fails for want of memory only. */
	if (ferror(out) | fclose(out)) {
		free(buf);
		return -ENOMEM;
	}
	*ret = span_of(buf, len);
	return 0;
}
