/* SPDX-License-Identifier: MIT */

/*
 * A bucket is one cache line: 12 tags of 8 bits from the top of the hash (0:
 * free), 12 indices, and the number of an overflow bucket. The low bits choose
 * the bucket, so tag and address are independent, and a probe touches the
 * owner's memory about once per hit and rarely on a miss.
 *
 * Litwin's linear hashing: with `bits` and `split`, bucket b = hash mod 2^bits;
 * those below `split` have been split already and take one bit more. Splitting
 * moves about half of one chain to bucket 2^bits + split.
 *
 * While unsplit buckets wait for their turn they hold up to twice the mean, so
 * some chains have an overflow bucket: at a mean of 8 the cost is 8 bytes per
 * entry for the buckets plus 0.5 to 1 for overflow.
 *
 * A split that cannot allocate is skipped: the table gets slower, not wrong,
 * and the next insert tries again.
 */

#include "store/table.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum {
	SEG_SHIFT = 10, /* buckets a segment: 64 KiB */
	SEG_BUCKETS = 1 << SEG_SHIFT,
	BITS_MIN = 4,
};

struct table_bucket {
	uint8_t tag[TABLE_WAYS];
	uint32_t idx[TABLE_WAYS];
	uint32_t next; /* in the overflow slab, 0: end */
};

static_assert(sizeof(struct table_bucket) == 64, "a cache line");

static uint8_t tag_of(uint64_t hash)
{
	uint8_t tag = (uint8_t)(hash >> 56);

	return tag ? tag : 1;
}

static uint32_t bucket_of(const struct table *t, uint64_t hash)
{
	uint32_t b = (uint32_t)hash & ((UINT32_C(1) << t->bits) - 1);

	if (b < t->split)
		b = (uint32_t)hash & ((UINT32_C(2) << t->bits) - 1);
	return b;
}

static struct table_bucket *at(const struct table *t, uint32_t b)
{
	return &t->seg[b >> SEG_SHIFT][b & (SEG_BUCKETS - 1)];
}

static struct table_bucket *next_of(const struct table *t,
				    const struct table_bucket *b)
{
	return b->next ? slab_at(&t->overflow, b->next) : NULL;
}

/* Makes sure that bucket number @b exists. */
static int ensure_bucket(struct table *t, uint32_t b)
{
	struct table_bucket **seg, *bytes;

	if (b >> SEG_SHIFT < t->n_seg)
		return 0;
	bytes = mem_zalloc(t->mem, sizeof(*bytes) * SEG_BUCKETS);
	if (!bytes)
		return -ENOMEM;
	seg = mem_realloc(t->mem, t->seg, (t->n_seg + 1) * sizeof(*seg));
	if (!seg) {
		mem_free(t->mem, bytes);
		return -ENOMEM;
	}
	seg[t->n_seg++] = bytes;
	t->seg = seg;
	return 0;
}

int table_init(struct table *t, struct mem *mem,
	       uint64_t (*hash_of)(void *owner, uint32_t idx), void *owner)
{
	*t = (struct table){
		.mem = mem,
		.bits = BITS_MIN,
		.hash_of = hash_of,
		.owner = owner,
	};
	slab_init(&t->overflow, mem, sizeof(struct table_bucket),
		  offsetof(struct table_bucket, next));
	return ensure_bucket(t, 0);
}

int table_reserve(struct table *t, uint64_t n)
{
	uint64_t buckets = n / TABLE_LOAD;
	uint32_t bits = BITS_MIN;

	if (t->n || buckets <= UINT64_C(1) << t->bits)
		return 0;
	buckets = MIN(buckets, UINT64_C(1) << 31);
	while (UINT64_C(2) << bits <= buckets)
		bits++;
	for (uint64_t b = 0; b < buckets; b += SEG_BUCKETS)
		if (ensure_bucket(t, (uint32_t)b) < 0)
			return -ENOMEM;
	if (ensure_bucket(t, (uint32_t)(buckets - 1)) < 0)
		return -ENOMEM;
	t->bits = bits;
	t->split = (uint32_t)(buckets - (UINT64_C(1) << bits));
	return 0;
}

void table_prefetch(const struct table *t, uint64_t hash)
{
	__builtin_prefetch(at(t, bucket_of(t, hash)), 1);
}

void table_fini(struct table *t)
{
	for (uint32_t i = 0; i < t->n_seg; i++)
		mem_free(t->mem, t->seg[i]);
	mem_free(t->mem, t->seg);
	t->seg = NULL;
	t->n_seg = 0;
	slab_fini(&t->overflow);
}

uint32_t table_find(const struct table *t, uint64_t hash,
		    bool (*match)(const void *key, uint32_t idx),
		    const void *key)
{
	const struct table_bucket *b = at(t, bucket_of(t, hash));
	uint8_t tag = tag_of(hash);

	for (; b; b = next_of(t, b))
		for (int i = 0; i < TABLE_WAYS; i++)
			if (b->tag[i] == tag && match(key, b->idx[i]))
				return b->idx[i];
	return 0;
}

/* Puts an entry into a chain. */
static int chain_add(struct table *t, struct table_bucket *b, uint8_t tag,
		     uint32_t idx)
{
	struct table_bucket *more;
	uint32_t over;

	for (;;) {
		for (int i = 0; i < TABLE_WAYS; i++) {
			if (b->tag[i])
				continue;
			b->tag[i] = tag;
			b->idx[i] = idx;
			return 0;
		}
		if (!b->next)
			break;
		b = slab_at(&t->overflow, b->next);
	}
	over = slab_get(&t->overflow);
	if (!over)
		return -ENOMEM;
	more = slab_at(&t->overflow, over);
	memset(more, 0, sizeof(*more));
	more->tag[0] = tag;
	more->idx[0] = idx;
	b->next = over;
	return 0;
}

/* Gives back the overflow buckets of a chain that are empty. */
static void chain_trim(struct table *t, struct table_bucket *b)
{
	struct table_bucket *o;
	uint32_t over;

	while (b->next) {
		over = b->next;
		o = slab_at(&t->overflow, over);
		if (memcmp(o->tag, (uint8_t[TABLE_WAYS]){ 0 }, TABLE_WAYS)) {
			b = o;
			continue;
		}
		b->next = o->next;
		slab_put(&t->overflow, over);
	}
}

/* Splits the next bucket in turn. Entries go one by one, and one is cleared
 * only after it is in its new place, so a failure leaves all of them findable:
 * the split is then undone by putting them back. */
static void split_one(struct table *t)
{
	uint32_t from = t->split, to = (UINT32_C(1) << t->bits) + from;
	uint64_t hash, bit = UINT64_C(1) << t->bits;
	struct table_bucket *b, *target;
	int r;

	if (t->bits >= 31 || ensure_bucket(t, to) < 0)
		return;
	target = at(t, to);
	for (b = at(t, from); b; b = next_of(t, b)) {
		for (int i = 0; i < TABLE_WAYS; i++) {
			if (!b->tag[i])
				continue;
			hash = t->hash_of(t->owner, b->idx[i]);
			if (!(hash & bit))
				continue;
			if (chain_add(t, target, b->tag[i], b->idx[i]) < 0)
				goto undo;
			b->tag[i] = 0;
		}
	}
	chain_trim(t, at(t, from));
	if (++t->split == UINT32_C(1) << t->bits) {
		t->split = 0;
		t->bits++;
	}
	return;
undo:
	/* What has moved fits where it came from: those slots are free. */
	for (b = target; b; b = next_of(t, b)) {
		for (int i = 0; i < TABLE_WAYS; i++) {
			if (!b->tag[i])
				continue;
			r = chain_add(t, at(t, from), b->tag[i], b->idx[i]);
			assert(r == 0);
			(void)r;
			b->tag[i] = 0;
		}
	}
	chain_trim(t, target);
}

int table_insert(struct table *t, uint64_t hash, uint32_t idx)
{
	uint64_t buckets = (UINT64_C(1) << t->bits) + t->split;
	int r;

	r = chain_add(t, at(t, bucket_of(t, hash)), tag_of(hash), idx);
	if (r < 0)
		return r;
	if (++t->n > buckets * TABLE_LOAD)
		split_one(t);
	return 0;
}

void table_reinsert(struct table *t, uint64_t hash, uint32_t idx)
{
	int r = chain_add(t, at(t, bucket_of(t, hash)), tag_of(hash), idx);

	assert(r == 0); /* its slot or its overflow bucket is free */
	(void)r;
	t->n++;
}

void table_remove(struct table *t, uint64_t hash, uint32_t idx)
{
	struct table_bucket *head = at(t, bucket_of(t, hash)), *b;
	uint8_t tag = tag_of(hash);

	for (b = head; b; b = next_of(t, b)) {
		for (int i = 0; i < TABLE_WAYS; i++) {
			if (b->tag[i] != tag || b->idx[i] != idx)
				continue;
			b->tag[i] = 0;
			t->n--;
			if (b != head)
				chain_trim(t, head);
			return;
		}
	}
	assert(b); /* the index is in the table */
}
