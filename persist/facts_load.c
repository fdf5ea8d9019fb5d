/* SPDX-License-Identifier: MIT */

/*
 * A hash of the right name is looked at when it is read: its field `v` tells
 * whether it is ours and the separator. The facts in it wait as payload, since
 * the nodes of which they speak may come later in the dump.
 */

#include "persist/facts_load.h"

#include <errno.h>
#include <string.h>

#include "persist/facts.h"

void facts_load_init(struct facts_load *f, struct mem *m)
{
	*f = (struct facts_load){ .mem = m };
}

void facts_load_fini(struct facts_load *f)
{
	for (size_t i = 0; i < f->n; i++)
		mem_free(f->mem, f->v[i].bytes);
	mem_free(f->mem, f->v);
	f->v = NULL;
	f->n = 0;
}

struct search {
	int result;
	char sep;
};

static int find_magic(void *arg, struct span field, struct span value,
		      double score)
{
	struct search *s = arg;

	(void)score;
	if (!span_eq(field, span_str(FACTS_MAGIC_FIELD)))
		return 0;
	s->result = facts_magic_parse(value, &s->sep);
	return 1; /* found: ends the walk */
}

static int keep(struct facts_load *f, const struct facts_load_hash *hash)
{
	struct facts_load_hash *v =
		mem_realloc(f->mem, f->v, (f->n + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	f->v = v;
	f->v[f->n++] = *hash;
	return 0;
}

int facts_load_take(struct facts_load *f, uint8_t type,
		    const struct value *payload, uint64_t offset, char *ret_sep)
{
	struct search s = { .result = -ENOENT };
	struct facts_load_hash hash = {
		.offset = offset,
		.type = type,
		.len = (size_t)value_size(payload),
	};
	int r;

	hash.bytes = mem_alloc(f->mem, hash.len + 1);
	if (!hash.bytes)
		return -ENOMEM;
	(void)value_read(payload, 0, hash.bytes, hash.len);
	r = rdb_members(type, span_of(hash.bytes, hash.len), find_magic, &s);
	if (r >= 0)
		r = s.result;
	if (r == 0)
		r = keep(f, &hash);
	if (r < 0)
		mem_free(f->mem, hash.bytes);
	else
		*ret_sep = s.sep;
	return r;
}

/* --- apply ------------------------------------------------------------ */

struct apply {
	struct store *st;
	struct in *in;
	uint64_t offset;
};

static int apply_field(void *arg, struct span field, struct span value,
		       double score)
{
	const char *p = field.ptr;
	const struct apply *a = arg;
	char escaped[IN_ESCAPED_MAX];
	struct store_facts facts;
	struct span path;
	int r;

	(void)score;
	if (field.len == 0 || p[0] != FACTS_PATH_PREFIX)
		return 0;
	path = span_of(p + 1, field.len - 1);
	if (facts_parse(value, &facts) < 0)
		return in_fail(a->in, -EBADMSG, a->offset,
			       "malformed facts of path \"%s\"",
			       in_escape(field, escaped));
	if (facts.mask == 0)
		return 0;
	r = store_put_facts(a->st, 0, path, &facts);
	if (r == 0 || r == -ENOENT) /* Redis may have deleted the key */
		return 0;
	if (r == -ENOMEM)
		return in_fail(a->in, r, a->offset, "no memory for facts");
	return in_fail(a->in, -EBADMSG, a->offset,
		       "facts of an impossible path \"%s\"",
		       in_escape(field, escaped));
}

int facts_load_apply(struct facts_load *f, struct store *st, struct in *in)
{
	struct apply a = { .st = st, .in = in };
	int r = 0;

	for (size_t i = 0; i < f->n && r == 0; i++) {
		const struct facts_load_hash *h = &f->v[i];

		a.offset = h->offset;
		r = rdb_members(h->type, span_of(h->bytes, h->len), apply_field,
				&a);
		if (r < 0 && in->err->code == 0) /* not from apply_field() */
			return in_fail(in, r, h->offset,
				       "cannot decode the facts");
	}
	return r;
}
