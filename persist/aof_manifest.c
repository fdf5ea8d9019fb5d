/* SPDX-License-Identifier: MIT */

/*
 * The list and its steps; aof_manifest_text.c has the text. A step first gets
 * all memory that it needs and then moves entries, which cannot fail (M4).
 * History grows at its front, a base before the incrs that it was followed by:
 * that is the order in which Redis leaves it after a rewrite.
 *
 * The counters are not in the file: Redis, too, goes on from the highest number
 * that is listed. So a number that was given out for a file which never came
 * into the list can come again after a restart, and its name can be taken.
 */

#include "persist/aof_manifest.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "persist/aof_manifest_impl.h"

enum {
	FILES_MIN = 8,
	MANIFEST_MODE = 0666, /* less what the umask takes */
};

static const char temp_prefix[] = "temp-";
static const char manifest_suffix[] = ".manifest";

/* --- what both halves need -------------------------------------------- */

int aof_fail(struct aof_manifest_error *err, int code, unsigned line,
	     const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(err->what, sizeof(err->what), fmt, ap);
	va_end(ap);
	err->code = code;
	err->line = line;
	return code;
}

int aof_no_memory(struct aof_manifest_error *err)
{
	return aof_fail(err, -ENOMEM, 0, "no memory for the manifest");
}

/* A backslash is fine here, but Redis takes it for a separator. */
bool aof_is_name(const char *s, size_t len)
{
	return len > 0 && len <= AOF_NAME_MAX && !memchr(s, '/', len) &&
	       !memchr(s, '\\', len) && !memchr(s, '\0', len) &&
	       !(s[0] == '.' && (len == 1 || (len == 2 && s[1] == '.')));
}

uint64_t aof_parse_seq(const char *s, size_t len)
{
	const uint64_t max = INT64_MAX;
	uint64_t n = 0;

	if (len == 0 || s[0] == '0')
		return 0;
	for (size_t i = 0; i < len; i++) {
		unsigned digit = (unsigned)(unsigned char)s[i] - '0';

		if (digit > 9 || n > (max - digit) / 10)
			return 0;
		n = n * 10 + digit;
	}
	return n;
}

/* --- lists ------------------------------------------------------------ */

char *aof_copy_bytes(struct mem *mem, const char *s, size_t len)
{
	char *p = mem_alloc(mem, len + 1);

	if (!p)
		return NULL;
	memcpy(p, s, len);
	p[len] = '\0';
	return p;
}

void aof_file_fini(struct mem *mem, struct aof_file *f)
{
	mem_free(mem, f->name);
	mem_free(mem, f->extra);
	*f = (struct aof_file){ .name = NULL };
}

static int file_copy(struct mem *mem, struct aof_file *to,
		     const struct aof_file *from)
{
	struct aof_file f = *from;

	f.extra = NULL;
	f.name = aof_copy_bytes(mem, from->name, strlen(from->name));
	if (f.name && from->extra)
		f.extra = aof_copy_bytes(mem, from->extra, strlen(from->extra));
	if (!f.name || (from->extra && !f.extra)) {
		aof_file_fini(mem, &f);
		return -ENOMEM;
	}
	*to = f;
	return 0;
}

/* Room for @more files. */
int aof_files_reserve(struct mem *mem, struct aof_files *l, size_t more)
{
	size_t cap = MAX(MAX(l->n + more, l->cap * 2), (size_t)FILES_MIN);
	struct aof_file *v;

	if (more <= l->cap - l->n)
		return 0;
	v = mem_realloc(mem, l->v, cap * sizeof(v[0]));
	if (!v)
		return -ENOMEM;
	l->v = v;
	l->cap = cap;
	return 0;
}

static void files_fini(struct mem *mem, struct aof_files *l)
{
	for (size_t i = 0; i < l->n; i++)
		aof_file_fini(mem, &l->v[i]);
	mem_free(mem, l->v);
	*l = (struct aof_files){ .v = NULL };
}

static int files_copy(struct mem *mem, struct aof_files *to,
		      const struct aof_files *from)
{
	int r = aof_files_reserve(mem, to, from->n);

	for (size_t i = 0; i < from->n && r == 0; i++) {
		r = file_copy(mem, &to->v[i], &from->v[i]);
		to->n += r == 0;
	}
	return r;
}

/* Puts @n files before the others. There is room for them. */
static void files_prepend(struct aof_files *l, const struct aof_file *v,
			  size_t n)
{
	assert(n <= l->cap - l->n);
	if (n == 0)
		return;
	memmove(l->v + n, l->v, l->n * sizeof(l->v[0]));
	memcpy(l->v, v, n * sizeof(l->v[0]));
	l->n += n;
}

void aof_manifest_init(struct aof_manifest *m, struct mem *mem)
{
	*m = (struct aof_manifest){ .mem = mem };
}

void aof_manifest_fini(struct aof_manifest *m)
{
	aof_file_fini(m->mem, &m->base);
	files_fini(m->mem, &m->incrs);
	files_fini(m->mem, &m->history);
	aof_manifest_init(m, m->mem);
}

int aof_manifest_copy(struct aof_manifest *to, const struct aof_manifest *from)
{
	int r = 0;

	aof_manifest_init(to, from->mem);
	to->base_seq = from->base_seq;
	to->incr_seq = from->incr_seq;
	if (from->base.name)
		r = file_copy(to->mem, &to->base, &from->base);
	if (r == 0)
		r = files_copy(to->mem, &to->incrs, &from->incrs);
	if (r == 0)
		r = files_copy(to->mem, &to->history, &from->history);
	if (r < 0)
		aof_manifest_fini(to);
	return r;
}

static bool files_have(const struct aof_files *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->v[i].name, name) == 0)
			return true;
	return false;
}

char aof_manifest_find(const struct aof_manifest *m, const char *name)
{
	if (m->base.name && strcmp(m->base.name, name) == 0)
		return 'b';
	if (files_have(&m->incrs, name))
		return 'i';
	return files_have(&m->history, name) ? 'h' : 0;
}

/* --- files ------------------------------------------------------------ */

static int read_full(const struct io *io, int fd, char *buf, size_t len)
{
	size_t at = 0;

	while (at < len) {
		ssize_t n =
			io->pread(io->ctx, fd, buf + at, len - at, (off_t)at);

		if (n == -EINTR)
			continue;
		if (n < 0)
			return (int)n;
		if (n == 0)
			return -EIO; /* shorter than it was a moment ago */
		at += (size_t)n;
	}
	return 0;
}

static int load_fd(const struct io *io, int fd, struct aof_manifest *m,
		   struct aof_manifest_error *err)
{
	struct stat st;
	size_t len;
	char *text;
	int r = io->fstat(io->ctx, fd, &st);

	if (r < 0)
		return aof_fail(err, r, 0, "cannot read: %s", strerror(-r));
	if (st.st_size > AOF_MANIFEST_BYTES)
		return aof_fail(err, -EFBIG, 0,
				"%jd bytes; a manifest has at most %d",
				(intmax_t)st.st_size, AOF_MANIFEST_BYTES);
	len = (size_t)st.st_size;
	text = mem_alloc(m->mem, len + 1);
	if (!text)
		return aof_no_memory(err);
	r = read_full(io, fd, text, len);
	if (r < 0)
		(void)aof_fail(err, r, 0, "cannot read: %s", strerror(-r));
	else
		r = aof_manifest_parse(span_of(text, len), m, err);
	mem_free(m->mem, text);
	return r;
}

int aof_manifest_load(const struct io *io, int dirfd, const char *name,
		      struct aof_manifest *m, struct aof_manifest_error *err)
{
	int fd, r;

	fd = io->openat(io->ctx, dirfd, name, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return aof_fail(err, fd, 0, "cannot open: %s", strerror(-fd));
	r = load_fd(io, fd, m, err);
	(void)io->close(io->ctx, fd); /* nothing was written */
	return r;
}

int aof_manifest_store(const struct io *io, int dirfd, const char *name,
		       const struct aof_manifest *m)
{
	char temp[AOF_NAME_SIZE];
	char *text = NULL;
	size_t len = 0;
	int r;

	assert(!aof_manifest_is_empty(m));
	r = aof_manifest_temp_name(name, temp);
	if (r == 0)
		r = aof_manifest_print(m, &text, &len);
	if (r < 0)
		return r;
	r = io_replace(io, dirfd, name, temp, span_of(text, len),
		       MANIFEST_MODE);
	mem_free(m->mem, text);
	return r;
}

/* --- names ------------------------------------------------------------ */

static const char *const kind_suffix[] = {
	[AOF_BASE_RDB] = ".base.rdb",
	[AOF_BASE_AOF] = ".base.aof",
	[AOF_INCR] = ".incr.aof",
};

PRINTF_LIKE(2, 3)
static int print_name(char name[AOF_NAME_SIZE], const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(name, AOF_NAME_SIZE, fmt, ap);
	va_end(ap);
	return n < 0 || n > AOF_NAME_MAX ? -ENAMETOOLONG : 0;
}

int aof_name_print(const char *prefix, uint64_t seq, enum aof_kind kind,
		   char name[AOF_NAME_SIZE])
{
	return print_name(name, "%s.%" PRIu64 "%s", prefix, seq,
			  kind_suffix[kind]);
}

bool aof_name_parse(const char *name, const char *prefix, uint64_t *ret_seq,
		    enum aof_kind *ret_kind)
{
	size_t len = strlen(prefix);
	const char *suffix;
	uint64_t seq;

	if (strncmp(name, prefix, len) != 0 || name[len] != '.')
		return false;
	name += len + 1;
	suffix = name + strcspn(name, ".");
	seq = aof_parse_seq(name, (size_t)(suffix - name));
	if (seq == 0)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(kind_suffix); i++)
		if (strcmp(suffix, kind_suffix[i]) == 0) {
			*ret_seq = seq;
			*ret_kind = (enum aof_kind)i;
			return true;
		}
	return false;
}

int aof_manifest_name(const char *prefix, char name[AOF_NAME_SIZE])
{
	return print_name(name, "%s%s", prefix, manifest_suffix);
}

int aof_manifest_temp_name(const char *manifest_name, char name[AOF_NAME_SIZE])
{
	return print_name(name, "%s%s", temp_prefix, manifest_name);
}

/* --- steps ------------------------------------------------------------ */

int aof_manifest_next(struct aof_manifest *m, const char *prefix,
		      enum aof_kind kind, char name[AOF_NAME_SIZE],
		      uint64_t *ret_seq)
{
	uint64_t *last = kind == AOF_INCR ? &m->incr_seq : &m->base_seq;
	uint64_t seq = *last;
	int r;

	do {
		if (seq >= INT64_MAX)
			return -EOVERFLOW;
		r = aof_name_print(prefix, ++seq, kind, name);
		if (r < 0)
			return r;
	} while (aof_manifest_find(m, name)); /* M3 */
	*last = *ret_seq = seq;
	return 0;
}

static bool is_new_name(const struct aof_manifest *m, const char *name)
{
	return aof_is_name(name, strlen(name)) && !aof_manifest_find(m, name);
}

int aof_manifest_add_incr(struct aof_manifest *m, const char *name,
			  uint64_t seq)
{
	const struct aof_files *l = &m->incrs;
	const struct aof_file f = { .name = (char *)(uintptr_t)name,
				    .seq = seq };
	int r;

	if (!is_new_name(m, name) || seq == 0 || seq > INT64_MAX ||
	    (l->n && seq <= l->v[l->n - 1].seq))
		return -EINVAL;
	r = aof_files_reserve(m->mem, &m->incrs, 1);
	if (r == 0)
		r = file_copy(m->mem, &m->incrs.v[l->n], &f);
	if (r < 0)
		return r;
	m->incrs.n++;
	m->incr_seq = MAX(m->incr_seq, seq);
	return 0;
}

int aof_manifest_set_base(struct aof_manifest *m, const char *name,
			  uint64_t seq)
{
	const struct aof_file given = { .name = (char *)(uintptr_t)name,
					.seq = seq };
	struct aof_file f;
	int r;

	if (!is_new_name(m, name) || seq == 0 || seq > INT64_MAX)
		return -EINVAL;
	r = aof_files_reserve(m->mem, &m->history, 1);
	if (r == 0)
		r = file_copy(m->mem, &f, &given);
	if (r < 0)
		return r;
	if (m->base.name)
		files_prepend(&m->history, &m->base, 1);
	m->base = f;
	m->base_seq = MAX(m->base_seq, seq);
	return 0;
}

int aof_manifest_retire_incrs(struct aof_manifest *m, uint64_t seq)
{
	struct aof_files *l = &m->incrs;
	size_t n = 0;
	int r;

	while (n < l->n && l->v[n].seq < seq)
		n++;
	r = aof_files_reserve(m->mem, &m->history, n);
	if (r < 0)
		return r;
	files_prepend(&m->history, l->v, n);
	l->n -= n;
	if (n)
		memmove(l->v, l->v + n, l->n * sizeof(l->v[0]));
	return 0;
}

void aof_manifest_drop_history(struct aof_manifest *m, size_t keep)
{
	while (m->history.n > keep)
		aof_file_fini(m->mem, &m->history.v[--m->history.n]);
}
