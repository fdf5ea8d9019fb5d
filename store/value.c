/* SPDX-License-Identifier: MIT */

/*
 * Two forms behind one header of 8 bytes:
 *
 *   flat     refs:4 len:4 bytes[len]                up to VALUE_FLAT_MAX
 *   chunked  refs:4 ~0:4  size:8 n:4 cap:4 held:4 c[cap]   above it
 *
 * A chunk's bytes are an allocation of their own, so that a full one is
 * exactly VALUE_CHUNK and falls into a size class without waste. c[i] is NULL
 * for a hole. A chunk that is there has room for all bytes of its range that
 * lie below `size`; what it holds beyond `size` is undefined, so growing zeroes
 * it first. Thus every range is at most one piece per chunk (value_iov()).
 *
 * Sharing has two levels. Two holders of one value share the whole; the first
 * write through one of them copies the table and takes a reference on each
 * chunk, and then copies just the chunks that it changes.
 *
 * A reference count of 1 means that the caller's reference is the only one, so
 * nobody else can take another: it may write in place. The acquire load pairs
 * with the release in value_unref(), so what other readers did is over.
 */

#include "store/value.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define CHUNKED UINT32_MAX /* flat_len of the chunked form */

enum {
	TABLE_MIN = 4, /* chunks a table has room for at first */
};

/* More chunks than any machine has memory for; keeps the arithmetic in 32
 * bits and a sparse file's table under 8 GiB. */
#define SIZE_LIMIT ((uint64_t)VALUE_CHUNK << 30)

struct chunk {
	_Atomic uint32_t refs;
	uint32_t cap; /* bytes allocated, at most VALUE_CHUNK */
	uint8_t *bytes;
};

struct value {
	_Atomic uint32_t refs;
	uint32_t flat_len;
};

struct flat {
	struct value v;
	uint8_t bytes[];
};

struct chunked {
	struct value v;
	uint64_t size;
	uint32_t n, cap; /* chunks in use; room in c */
	uint32_t n_held; /* of them no holes */
	struct chunk *c[];
};

static const uint8_t zeros[VALUE_CHUNK];

static_assert(sizeof(struct flat) == 8, "a small value costs 8 bytes");
static_assert(sizeof(struct flat) + VALUE_FLAT_MAX == VALUE_CHUNK,
	      "the largest flat value fills its size class");

static bool is_chunked(const struct value *v)
{
	return v->flat_len == CHUNKED;
}

static const struct flat *flat_of(const struct value *v)
{
	return (const struct flat *)v;
}

static const struct chunked *chunked_of(const struct value *v)
{
	return (const struct chunked *)v;
}

static bool is_exclusive(struct value *v)
{
	return atomic_load_explicit(&v->refs, memory_order_acquire) == 1;
}

static uint32_t chunks_for(uint64_t size)
{
	return (uint32_t)((size + VALUE_CHUNK - 1) / VALUE_CHUNK);
}

/* --- chunks ----------------------------------------------------------- */

static void chunk_unref(struct mem *m, struct chunk *c)
{
	if (!c ||
	    atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return;
	mem_free(m, c->bytes);
	mem_free(m, c);
}

static struct chunk *chunk_new(struct mem *m, uint32_t cap)
{
	struct chunk *c = mem_alloc(m, sizeof(*c));

	if (!c)
		return NULL;
	c->bytes = mem_alloc(m, cap);
	if (!c->bytes) {
		mem_free(m, c);
		return NULL;
	}
	atomic_init(&c->refs, 1);
	c->cap = (uint32_t)MIN(mem_usable(c->bytes), (size_t)VALUE_CHUNK);
	return c;
}

static uint32_t grown(uint32_t cap, uint32_t need)
{
	uint32_t want = MAX(need, cap + cap / 2);

	return MIN(want, (uint32_t)VALUE_CHUNK);
}

/* Makes *pc a chunk of this table alone with room for @need bytes, the first
 * @used of which keep their content. */
static int chunk_own(struct mem *m, struct chunk **pc, uint32_t used,
		     uint32_t need)
{
	struct chunk *c = *pc, *copy;
	uint8_t *bytes;

	if (c && atomic_load_explicit(&c->refs, memory_order_acquire) == 1) {
		if (need <= c->cap)
			return 0;
		bytes = mem_realloc(m, c->bytes, grown(c->cap, need));
		if (!bytes)
			return -ENOMEM;
		c->bytes = bytes;
		c->cap = (uint32_t)MIN(mem_usable(bytes), (size_t)VALUE_CHUNK);
		return 0;
	}
	copy = chunk_new(m, MAX(need, used));
	if (!copy)
		return -ENOMEM;
	if (c)
		memcpy(copy->bytes, c->bytes, used);
	else
		memset(copy->bytes, 0, used);
	chunk_unref(m, c);
	*pc = copy;
	return 0;
}

/* Gives back what a chunk of one table alone has over @used bytes, if that is
 * worth it; without success it stays as it is. */
static void chunk_trim(struct mem *m, struct chunk *c, uint32_t used)
{
	uint8_t *bytes;

	if (!c || used > c->cap / 2 ||
	    atomic_load_explicit(&c->refs, memory_order_acquire) != 1)
		return;
	bytes = mem_realloc(m, c->bytes, used);
	if (!bytes)
		return;
	c->bytes = bytes;
	c->cap = (uint32_t)MIN(mem_usable(bytes), (size_t)VALUE_CHUNK);
}

/* --- the chunked form ------------------------------------------------- */

static struct chunked *chunked_new(struct mem *m, uint32_t n)
{
	uint32_t cap = MAX(n, (uint32_t)TABLE_MIN);
	struct chunked *k = mem_zalloc(m, sizeof(*k) + cap * sizeof(k->c[0]));

	if (!k)
		return NULL;
	atomic_init(&k->v.refs, 1);
	k->v.flat_len = CHUNKED;
	k->cap = cap;
	return k;
}

/* Room for @n chunks in an exclusive table; the new ones are holes. */
static int chunked_reserve(struct mem *m, struct chunked **pk, uint32_t n)
{
	struct chunked *k = *pk;
	uint32_t cap = k->cap;

	if (n > cap) {
		cap = MAX(n, cap + cap / 2);
		k = mem_realloc(m, k, sizeof(*k) + cap * sizeof(k->c[0]));
		if (!k)
			return -ENOMEM;
		k->cap = cap;
		*pk = k;
	}
	if (n > k->n)
		memset(&k->c[k->n], 0, (n - k->n) * sizeof(k->c[0]));
	return 0;
}

/* A table of the same chunks, each referenced once more. */
static struct chunked *chunked_clone(struct mem *m, const struct chunked *k)
{
	struct chunked *copy = chunked_new(m, k->n);

	if (!copy)
		return NULL;
	copy->size = k->size;
	copy->n = k->n;
	copy->n_held = k->n_held;
	for (uint32_t i = 0; i < k->n; i++) {
		copy->c[i] = k->c[i];
		if (k->c[i])
			atomic_fetch_add_explicit(&k->c[i]->refs, 1,
						  memory_order_relaxed);
	}
	return copy;
}

/* As chunk_own() for chunk @i of an exclusive table. */
static int own(struct mem *m, struct chunked *k, uint32_t i, uint32_t used,
	       uint32_t need)
{
	bool was_hole = !k->c[i];
	int r = chunk_own(m, &k->c[i], used, need);

	k->n_held += r == 0 && was_hole;
	return r;
}

/* Bytes of chunk @i that lie below @size. */
static uint32_t chunk_span(uint64_t size, uint32_t i)
{
	uint64_t from = (uint64_t)i * VALUE_CHUNK;

	if (size <= from)
		return 0;
	return (uint32_t)MIN(size - from, (uint64_t)VALUE_CHUNK);
}

/* Zeroes what lies between the old and the new end in the last old chunk. */
static int chunked_extend_tail(struct mem *m, struct chunked *k, uint64_t size)
{
	uint32_t last, used, need;
	int r;

	if (k->n == 0 || !k->c[k->n - 1])
		return 0;
	last = k->n - 1;
	used = chunk_span(k->size, last);
	need = chunk_span(size, last);
	if (need <= used)
		return 0;
	r = own(m, k, last, used, need);
	if (r < 0)
		return r;
	memset(k->c[last]->bytes + used, 0, need - used);
	return 0;
}

/* Sets the size of an exclusive table; what is gained is a hole. */
static int chunked_resize(struct mem *m, struct chunked **pk, uint64_t size)
{
	struct chunked *k = *pk;
	uint32_t n = chunks_for(size);
	int r;

	if (size > k->size) {
		r = chunked_extend_tail(m, k, size);
		if (r < 0)
			return r;
		r = chunked_reserve(m, pk, n);
		if (r < 0)
			return r;
		k = *pk;
	} else {
		for (uint32_t i = n; i < k->n; i++) {
			k->n_held -= k->c[i] != NULL;
			chunk_unref(m, k->c[i]);
			k->c[i] = NULL;
		}
		if (n > 0)
			chunk_trim(m, k->c[n - 1], chunk_span(size, n - 1));
	}
	k->n = n;
	k->size = size;
	return 0;
}

/* Writes into an exclusive table that is large enough already. */
static int chunked_fill(struct mem *m, struct chunked *k, uint64_t off,
			const uint8_t *data, size_t len)
{
	uint32_t i, at, part, used;
	int r;

	for (; len > 0; off += part, len -= part) {
		i = (uint32_t)(off / VALUE_CHUNK);
		at = (uint32_t)(off % VALUE_CHUNK);
		part = (uint32_t)MIN(len, (size_t)(VALUE_CHUNK - at));
		if (!data && !k->c[i])
			continue; /* zeros into a hole */
		used = chunk_span(k->size, i);
		r = own(m, k, i, used, used);
		if (r < 0)
			return r;
		if (data) {
			memcpy(k->c[i]->bytes + at, data, part);
			data += part;
		} else {
			memset(k->c[i]->bytes + at, 0, part);
		}
	}
	return 0;
}

/* Owns the chunks of [off, off + len) that exist below the old size, so that
 * chunked_fill() cannot fail half way through them. */
static int chunked_prepare(struct mem *m, struct chunked *k, uint64_t off,
			   size_t len, const void *data)
{
	uint32_t first = (uint32_t)(off / VALUE_CHUNK), used;
	uint32_t end = chunks_for(off + len);
	int r;

	for (uint32_t i = first; i < end; i++) {
		if (!data && !k->c[i])
			continue;
		used = chunk_span(k->size, i);
		r = own(m, k, i, used, used);
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- public ----------------------------------------------------------- */

static int flat_new(struct mem *m, const void *data, size_t len,
		    struct value **ret)
{
	struct flat *f = mem_alloc(m, sizeof(*f) + len);

	if (!f)
		return -ENOMEM;
	atomic_init(&f->v.refs, 1);
	f->v.flat_len = (uint32_t)len;
	if (data)
		memcpy(f->bytes, data, len);
	else
		memset(f->bytes, 0, len);
	*ret = &f->v;
	return 0;
}

int value_new(struct mem *m, const void *data, uint64_t len, struct value **ret)
{
	struct value *v = NULL;
	int r;

	if (len == 0) {
		*ret = NULL;
		return 0;
	}
	if (len <= VALUE_FLAT_MAX)
		return flat_new(m, data, len, ret);
	if (data)
		r = value_write(m, &v, 0, data, len);
	else
		r = value_truncate(m, &v, len);
	if (r < 0) {
		value_unref(m, v);
		return r;
	}
	*ret = v;
	return 0;
}

struct value *value_ref(struct value *v)
{
	if (v)
		atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
	return v;
}

void value_unref(struct mem *m, struct value *v)
{
	struct chunked *k;

	if (!v ||
	    atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (is_chunked(v)) {
		k = (struct chunked *)v;
		for (uint32_t i = 0; i < k->n; i++)
			chunk_unref(m, k->c[i]);
	}
	mem_free(m, v);
}

uint64_t value_size(const struct value *v)
{
	if (!v)
		return 0;
	return is_chunked(v) ? chunked_of(v)->size : v->flat_len;
}

uint64_t value_memory(const struct value *v)
{
	const struct chunked *k;
	const struct chunk *last;
	uint64_t sum;

	if (!v)
		return 0;
	sum = mem_usable(v);
	if (!is_chunked(v))
		return sum;
	/* All but the last are whole. */
	k = chunked_of(v);
	sum += k->n_held * (sizeof(struct chunk) + (uint64_t)VALUE_CHUNK);
	last = k->n ? k->c[k->n - 1] : NULL;
	return last ? sum - VALUE_CHUNK + last->cap : sum;
}

int value_iov(const struct value *v, uint64_t off, size_t len,
	      struct iovec *iov, int max)
{
	uint64_t size = value_size(v);
	const struct chunked *k;
	uint32_t i, at;
	size_t part;
	int n = 0;

	if (off >= size || max <= 0)
		return 0;
	len = (size_t)MIN((uint64_t)len, size - off);
	if (!is_chunked(v)) {
		iov[0].iov_base = (void *)(uintptr_t)(flat_of(v)->bytes + off);
		iov[0].iov_len = len;
		return len > 0;
	}
	k = chunked_of(v);
	for (; len > 0 && n < max; off += part, len -= part) {
		i = (uint32_t)(off / VALUE_CHUNK);
		at = (uint32_t)(off % VALUE_CHUNK);
		part = MIN(len, (size_t)(VALUE_CHUNK - at));
		iov[n].iov_base =
			(void *)(uintptr_t)((k->c[i] ? k->c[i]->bytes : zeros) +
					    at);
		iov[n++].iov_len = part;
	}
	return n;
}

size_t value_read(const struct value *v, uint64_t off, void *buf, size_t len)
{
	struct iovec iov[VALUE_IOV_MAX];
	size_t done = 0, at;
	int n;

	while (done < len) {
		n = value_iov(v, off + done, len - done, iov, VALUE_IOV_MAX);
		if (n == 0)
			break;
		for (int i = 0; i < n; i++) {
			at = done;
			done += iov[i].iov_len;
			memcpy((uint8_t *)buf + at, iov[i].iov_base,
			       iov[i].iov_len);
		}
	}
	return done;
}

/* Makes *pf an exclusive flat value with room for @need bytes. */
static int flat_own(struct mem *m, struct value **pv, size_t need)
{
	struct value *v = *pv, *copy;
	size_t have;

	if (!v || !is_exclusive(v)) {
		have = v ? MIN((size_t)v->flat_len, need) : 0;
		copy = mem_alloc(m, sizeof(struct flat) + need);
		if (!copy)
			return -ENOMEM;
		atomic_init(&copy->refs, 1);
		copy->flat_len = (uint32_t)have;
		if (have)
			memcpy(((struct flat *)copy)->bytes, flat_of(v)->bytes,
			       have);
		value_unref(m, v);
		*pv = copy;
		return 0;
	}
	if (sizeof(struct flat) + need <= mem_usable(v))
		return 0;
	/* Grows by half, so that many small appends copy O(1) bytes each. */
	need = MIN(MAX(need, (size_t)v->flat_len + v->flat_len / 2),
		   (size_t)VALUE_FLAT_MAX);
	copy = mem_realloc(m, v, sizeof(struct flat) + need);
	if (!copy)
		return -ENOMEM;
	*pv = copy;
	return 0;
}

/* Makes *pv an exclusive chunked value of the same content. */
static int to_chunked(struct mem *m, struct value **pv)
{
	struct value *v = *pv;
	struct chunked *k;
	uint32_t len;

	if (v && is_chunked(v)) {
		if (is_exclusive(v))
			return 0;
		k = chunked_clone(m, chunked_of(v));
		if (!k)
			return -ENOMEM;
	} else {
		len = v ? v->flat_len : 0;
		k = chunked_new(m, 1);
		if (!k)
			return -ENOMEM;
		k->size = len;
		k->n = k->n_held = chunks_for(len);
		if (len) {
			k->c[0] = chunk_new(m, VALUE_CHUNK);
			if (!k->c[0]) {
				mem_free(m, k);
				return -ENOMEM;
			}
			memcpy(k->c[0]->bytes, flat_of(v)->bytes, len);
		}
	}
	value_unref(m, v);
	*pv = &k->v;
	return 0;
}

static int flat_write(struct mem *m, struct value **pv, size_t off,
		      const void *data, size_t len)
{
	struct value *v;
	size_t size;
	uint8_t *bytes;
	int r;

	r = flat_own(m, pv, MAX((size_t)value_size(*pv), off + len));
	if (r < 0)
		return r;
	v = *pv;
	bytes = ((struct flat *)v)->bytes;
	size = v->flat_len;
	if (off > size)
		memset(bytes + size, 0, off - size);
	if (data)
		memcpy(bytes + off, data, len);
	else
		memset(bytes + off, 0, len);
	v->flat_len = (uint32_t)MAX(size, off + len);
	return 0;
}

int value_write(struct mem *m, struct value **pv, uint64_t off,
		const void *data, size_t len)
{
	uint64_t size = value_size(*pv), end;
	struct chunked *k;
	int r;

	if (len == 0)
		return 0;
	if (__builtin_add_overflow(off, len, &end) || end > SIZE_LIMIT)
		return -EFBIG;
	if (MAX(size, end) <= VALUE_FLAT_MAX && (!*pv || !is_chunked(*pv)))
		return flat_write(m, pv, (size_t)off, data, len);

	r = to_chunked(m, pv);
	if (r < 0)
		return r;
	k = (struct chunked *)*pv;
	if (end > size) {
		r = chunked_resize(m, &k, end);
		*pv = &k->v;
		if (r < 0)
			return r;
	}
	r = chunked_prepare(m, k, off, len, data);
	if (r < 0) {
		if (end > size) /* shrinking cannot fail */
			(void)chunked_resize(m, &k, size);
		return r;
	}
	r = chunked_fill(m, k, off, data, len);
	assert(r == 0); /* everything was prepared */
	return r;
}

int value_append(struct mem *m, struct value **v, const void *data, size_t len)
{
	return value_write(m, v, value_size(*v), data, len);
}

/* Gives back what an exclusive flat value has over its length, if that is worth
 * it; without success it stays as it is. */
static void flat_trim(struct mem *m, struct value **pv)
{
	size_t need = sizeof(struct flat) + (*pv)->flat_len;
	struct value *v;

	if (need > mem_usable(*pv) / 2)
		return;
	v = mem_realloc(m, *pv, need);
	if (v)
		*pv = v;
}

/* Makes what is left of a chunked value a flat one. */
static int shrink_to_flat(struct mem *m, struct value **pv, uint32_t size)
{
	struct value *v;
	int r = flat_new(m, NULL, size, &v);

	if (r < 0)
		return r;
	(void)value_read(*pv, 0, ((struct flat *)v)->bytes, size);
	value_unref(m, *pv);
	*pv = v;
	return 0;
}

int value_truncate(struct mem *m, struct value **pv, uint64_t size)
{
	uint64_t have = value_size(*pv);
	struct chunked *k;
	int r;

	if (size == have)
		return 0;
	if (size > SIZE_LIMIT)
		return -EFBIG;
	if (size == 0) {
		value_unref(m, *pv);
		*pv = NULL;
		return 0;
	}
	if (!*pv || !is_chunked(*pv)) {
		if (size > have && size <= VALUE_FLAT_MAX)
			return flat_write(m, pv, (size_t)have, NULL,
					  (size_t)(size - have));
		if (size < have) {
			r = flat_own(m, pv, (size_t)size);
			if (r < 0)
				return r;
			(*pv)->flat_len = (uint32_t)size;
			flat_trim(m, pv);
			return 0;
		}
	} else if (size <= VALUE_FLAT_MAX &&
		   shrink_to_flat(m, pv, (uint32_t)size) == 0) {
		return 0;
	}
	r = to_chunked(m, pv);
	if (r < 0)
		return r;
	k = (struct chunked *)*pv;
	r = chunked_resize(m, &k, size);
	*pv = &k->v;
	return r;
}
