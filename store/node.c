/* SPDX-License-Identifier: MIT */

/* The node: its name, its place in a directory and in the index, its optional
 * extension, its end. See DESIGN.md for the invariants cited as N1.. here. */

#include "store/node.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t node_hash(const struct store *st, uint32_t parent, struct span name)
{
	/* The secret keeps names that collide from being computed in advance:
	 * a chain of them would be walked under the lock. */
	return XXH3_64bits_withSeed(name.ptr, name.len,
				    st->hash_secret + parent * XXH_PRIME64_1);
}

/* For the table: the hash of a linked node. */
static uint64_t hash_of_node(const struct store *st, const struct node *n)
{
	return node_hash(st, n->parent, node_name(n));
}

uint32_t node_resolve(const struct store *st, uint64_t ino)
{
	uint32_t idx = (uint32_t)ino;
	const struct node *n;

	if (idx == 0 || idx >= st->nodes.top)
		return 0;
	n = node_at(st, idx);
	if (n->type == STORE_NONE || n->gen != ino >> 32)
		return 0;
	return idx;
}

struct dir *node_entries(const struct store *st, const struct node *n)
{
	const struct ext *e;

	if (n->type == STORE_DIR)
		return n->dir;
	if (n->type != STORE_TYPED)
		return NULL;
	e = ext_of(st, n);
	return e ? e->members : NULL;
}

uint32_t node_db(const struct store *st, uint32_t idx)
{
	const struct node *n = node_at(st, idx);

	return node_entries(st, node_at(st, n->parent))->db;
}

int64_t store_now_ns(const struct store *st)
{
	struct timespec ts;

	if (st->opt.now_ns)
		return st->opt.now_ns();
	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

bool node_is_expired(const struct store *st, const struct node *n)
{
	const struct ext *e = ext_of(st, n);

	/* As in Redis: in the millisecond of its deadline a key still lives. */
	return e && e->expire_ms && e->expire_ms < store_now_ns(st) / 1000000;
}

/* --- attributes ------------------------------------------------------- */

static uint32_t type_mode(enum store_type type)
{
	switch (type) {
	case STORE_DIR:
	case STORE_TYPED:
		return S_IFDIR;
	case STORE_SYMLINK:
		return S_IFLNK;
	default:
		return S_IFREG;
	}
}

static uint32_t default_mode(enum store_type type)
{
	switch (type) {
	case STORE_DIR:
		return STORE_DIR_MODE;
	case STORE_TYPED:
		return STORE_TYPED_MODE;
	case STORE_SYMLINK:
		return STORE_LINK_MODE;
	case STORE_OPAQUE:
	case STORE_MEMBER:
		return STORE_OPAQUE_MODE;
	default:
		return STORE_FILE_MODE;
	}
}

/* What a fresh extension says: nothing. */
static struct ext ext_default(const struct store *st, const struct node *n)
{
	return (struct ext){
		.mode = default_mode(n->type),
		.uid = st->opt.uid,
		.gid = st->opt.gid,
		.idle_s = -1,
		.freq = -1,
	};
}

struct ext *node_ext(struct store *st, struct node *n)
{
	struct ext *e;

	if (n->ext)
		return ext_of(st, n);
	n->ext = slab_get(&st->exts);
	if (!n->ext)
		return NULL;
	e = ext_of(st, n);
	*e = ext_default(st, n);
	return e;
}

void node_ext_trim(struct store *st, struct node *n)
{
	struct ext *e = ext_of(st, n), plain;

	if (!e)
		return;
	plain = ext_default(st, n);
	if (e->place || e->mode != plain.mode || e->uid != plain.uid ||
	    e->gid != plain.gid || e->has_atime || e->has_ctime ||
	    e->idle_s >= 0 || e->freq >= 0 || e->rdb_type || e->members)
		return;
	slab_put(&st->exts, n->ext);
	n->ext = 0;
}

static uint32_t node_nlink(const struct store *st, const struct node *n)
{
	const struct dir *d = node_entries(st, n);

	if (n->orphan)
		return 0;
	if (n->type != STORE_DIR && n->type != STORE_TYPED)
		return 1;
	return 2 + (d ? d->n_subdirs : 0);
}

void node_attr(const struct store *st, uint32_t idx, struct store_attr *ret)
{
	const struct node *n = node_at(st, idx);
	const struct ext *e = ext_of(st, n);
	struct ext plain;

	if (!e) {
		plain = ext_default(st, n);
		e = &plain;
	}
	*ret = (struct store_attr){
		.ino = node_ino(st, idx),
		.mtime_ns = n->mtime_ns,
		.atime_ns = e->has_atime ? e->atime_ns : n->mtime_ns,
		.ctime_ns = e->has_ctime ? e->ctime_ns : n->mtime_ns,
		.expire_ms = e->expire_ms,
		.mode = type_mode(n->type) | e->mode,
		.uid = e->uid,
		.gid = e->gid,
		.nlink = node_nlink(st, n),
		.type = n->type,
		.rdb_type = e->rdb_type,
	};
	if (n->type == STORE_DIR || n->type == STORE_TYPED)
		return;
	ret->size = value_size(n->value);
	ret->blocks = ret->size <= VALUE_FLAT_MAX
			      ? (ret->size + 511) / 512
			      : (value_memory(n->value) + 511) / 512;
}

void node_facts(const struct store *st, const struct node *n,
		const struct ext *e, bool is_empty, struct store_facts *ret)
{
	unsigned mask = 0;

	if (n->mtime_set)
		mask |= STORE_FACT_MTIME;
	if (e) {
		if (e->mode != default_mode(n->type))
			mask |= STORE_FACT_MODE;
		if (e->uid != st->opt.uid)
			mask |= STORE_FACT_UID;
		if (e->gid != st->opt.gid)
			mask |= STORE_FACT_GID;
		if (e->atime_set)
			mask |= STORE_FACT_ATIME;
	}
	/* A directory that has facts says that it is one: what became of its
	 * entries elsewhere must not turn them into a file's. */
	if (n->type == STORE_DIR && (is_empty || mask))
		mask |= STORE_FACT_DIR;
	if (n->type == STORE_SYMLINK)
		mask |= STORE_FACT_SYMLINK;
	ret->mask = mask;
	if (!mask)
		return;
	ret->mtime_ns = n->mtime_ns;
	ret->mode = e ? e->mode : default_mode(n->type);
	ret->uid = e ? e->uid : st->opt.uid;
	ret->gid = e ? e->gid : st->opt.gid;
	ret->atime_ns = e && e->has_atime ? e->atime_ns : n->mtime_ns;
}

void node_set_ctime(struct store *st, uint32_t idx, int64_t now_ns)
{
	struct node *n = node_at(st, idx);
	struct ext *e = node_ext(st, n);

	if (!e)
		return;
	e->has_ctime = n->mtime_ns != now_ns;
	e->ctime_ns = now_ns;
	node_ext_trim(st, n);
}

void node_touch(struct store *st, uint32_t idx, int64_t now_ns)
{
	struct node *n = node_at(st, idx);
	struct ext *e = ext_of(st, n);

	n->mtime_ns = now_ns;
	n->mtime_set = false;
	if (e && e->has_ctime) {
		e->has_ctime = false;
		node_ext_trim(st, n);
	}
}

/* --- life ------------------------------------------------------------- */

uint32_t node_new(struct store *st, enum store_type type)
{
	struct dir *d = NULL;
	struct node *n;
	uint32_t idx;

	if (type == STORE_DIR) {
		d = dir_new(&st->mem);
		if (!d)
			return 0;
	}
	idx = view_get_slot(st, type);
	if (!idx) {
		dir_free(&st->mem, d);
		return 0;
	}
	n = node_at(st, idx);
	/* The generation moved on when the last tenant left. */
	*n = (struct node){ .gen = n->gen, .type = (uint64_t)type & 7 };
	if (type == STORE_DIR)
		n->dir = d;
	n->orphan = true; /* until it is linked */
	view_note_birth(st, idx);
	return idx;
}

static void free_slot(struct store *st, uint32_t idx)
{
	struct node *n = node_at(st, idx);

	n->gen = n->gen == NODE_GEN_MAX ? 0 : n->gen + 1;
	n->type = STORE_NONE;
	if (!view_holds_slot(st, idx))
		slab_put(&st->nodes, idx);
}

static void drop_name(struct store *st, struct node *n)
{
	if (n->name_len > NODE_NAME_INLINE)
		mem_free(&st->mem, n->name_ptr);
	n->name_len = 0;
}

void node_discard(struct store *st, uint32_t idx)
{
	struct node *n = node_at(st, idx);
	struct ext *e = ext_of(st, n);

	assert(n->orphan);
	if (n->type == STORE_DIR)
		dir_free(&st->mem, n->dir);
	else
		value_unref(&st->mem, n->value);
	if (e) {
		if (e->place)
			expire_remove(&st->expire, e->place);
		dir_free(&st->mem, e->members);
		slab_put(&st->exts, n->ext);
	}
	drop_name(st, n);
	free_slot(st, idx);
}

void node_release(struct store *st, uint32_t idx)
{
	const struct node *n = node_at(st, idx);

	if (n->orphan && n->n_lookup == 0)
		node_discard(st, idx);
}

/* --- names ------------------------------------------------------------ */

struct child_key {
	const struct store *st;
	uint32_t parent;
	struct span name;
};

static bool is_child(const void *key, uint32_t idx)
{
	const struct child_key *k = key;
	const struct node *n = node_at(k->st, idx);

	return n->parent == k->parent && span_eq(node_name(n), k->name);
}

uint32_t node_child_at(const struct store *st, uint32_t dir, struct span name,
		       uint64_t hash)
{
	struct child_key key = { st, dir, name };

	return table_find(&st->table, hash, is_child, &key);
}

uint32_t node_child(const struct store *st, uint32_t dir, struct span name)
{
	return node_child_at(st, dir, name, node_hash(st, dir, name));
}

static int set_name(struct store *st, struct node *n, struct span name)
{
	char *copy;

	assert(name.len >= 1 && name.len <= UINT8_MAX);
	if (name.len > NODE_NAME_INLINE) {
		copy = mem_alloc(&st->mem, name.len);
		if (!copy)
			return -ENOMEM;
		memcpy(copy, name.ptr, name.len);
		n->name_ptr = copy;
	} else {
		memcpy(n->name_inline, name.ptr, name.len);
	}
	n->name_len = (uint8_t)name.len;
	return 0;
}

/* What a directory knows of its entries beside their number. */
static void count_entry(struct store *st, uint32_t dir, const struct node *n,
			int by)
{
	struct dir *d = node_entries(st, node_at(st, dir));

	if (n->type == STORE_DIR || n->type == STORE_TYPED)
		d->n_subdirs += (uint32_t)by;
	if (name_is_value(node_name(n)))
		d->has_value = by > 0;
}

static void set_pos(struct node *n, uint64_t pos)
{
	n->pos = pos & ((UINT64_C(1) << 48) - 1);
}

int node_link(struct store *st, uint32_t idx, uint32_t dir, struct span name)
{
	return node_link_at(st, idx, dir, name, node_hash(st, dir, name));
}

int node_link_at(struct store *st, uint32_t idx, uint32_t dir, struct span name,
		 uint64_t hash)
{
	struct node *n = node_at(st, idx);
	struct dir *d = node_entries(st, node_at(st, dir));
	uint64_t pos;
	int r;

	assert(n->orphan && n->name_len == 0);
	r = set_name(st, n, name);
	if (r < 0)
		return r;
	r = dir_add(&st->mem, d, idx, &pos);
	if (r < 0)
		goto undo_name;
	n->parent = dir;
	set_pos(n, pos);
	r = table_insert(&st->table, hash, idx);
	if (r < 0)
		goto undo_dir;
	n->orphan = false;
	if (n->type == STORE_DIR)
		n->dir->db = d->db;
	count_entry(st, dir, n, 1);
	return 0;
undo_dir:
	dir_remove(&st->mem, d, pos);
undo_name:
	drop_name(st, n);
	return r;
}

/* Takes a node out of its directory: it keeps its content. */
static void node_unlink(struct store *st, uint32_t idx)
{
	struct node *n = node_at(st, idx);
	uint32_t dir = n->parent;

	assert(!n->orphan && dir != idx);
	count_entry(st, dir, n, -1);
	table_remove(&st->table, hash_of_node(st, n), idx);
	dir_remove(&st->mem, node_entries(st, node_at(st, dir)), n->pos);
	drop_name(st, n);
	n->orphan = true;
}

/* Puts an index back into the table under a hash that has just been taken out.
 * That cannot fail: its slot, or a free overflow bucket, is there. */
static void reinsert(struct store *st, uint32_t idx)
{
	table_reinsert(&st->table, hash_of_node(st, node_at(st, idx)), idx);
}

int node_move(struct store *st, uint32_t idx, uint32_t dir, struct span name)
{
	struct node *n = node_at(st, idx), old = *n;
	struct dir *to = node_entries(st, node_at(st, dir));
	uint64_t pos;
	int r;

	r = dir_add(&st->mem, to, idx, &pos);
	if (r < 0)
		return r;
	/* Removed under the old name before it changes: a split in between
	 * would look for it under the new one. */
	table_remove(&st->table, hash_of_node(st, n), idx);
	r = set_name(st, n, name);
	if (r < 0)
		goto undo;
	n->parent = dir;
	r = table_insert(&st->table, hash_of_node(st, n), idx);
	if (r < 0) {
		drop_name(st, n);
		goto undo;
	}
	set_pos(n, pos);
	count_entry(st, old.parent, &old, -1);
	count_entry(st, dir, n, 1);
	dir_remove(&st->mem, node_entries(st, node_at(st, old.parent)),
		   old.pos);
	drop_name(st, &old);
	return 0;
undo:
	*n = old;
	reinsert(st, idx);
	dir_remove(&st->mem, to, pos);
	return r;
}

/* Name and place of @from become @to's. */
static void hand_over(const struct node *from, struct node *to)
{
	to->parent = from->parent;
	to->pos = from->pos;
	to->name_len = from->name_len;
	memcpy(to->name_inline, from->name_inline, sizeof(to->name_inline));
}

static void set_entry(struct store *st, const struct node *n, uint32_t idx)
{
	dir_set(node_entries(st, node_at(st, n->parent)), n->pos, idx);
}

int node_insert_above(struct store *st, uint32_t dir, uint32_t key,
		      struct span name)
{
	struct node *nd = node_at(st, dir), *nk = node_at(st, key), old = *nk;
	uint64_t pos;
	int r;

	r = dir_add(&st->mem, nd->dir, key, &pos);
	if (r < 0)
		return r;
	/* The key's name goes to the directory, storage and all; `%=` and the
	 * like are short, so the new one needs none. */
	assert(name.len <= NODE_NAME_INLINE);
	table_remove(&st->table, hash_of_node(st, nk), key);
	hand_over(&old, nd);
	reinsert(st, dir);
	nk->name_len = 0;
	(void)set_name(st, nk, name);
	nk->parent = dir;
	r = table_insert(&st->table, hash_of_node(st, nk), key);
	if (r < 0)
		goto undo;
	set_pos(nk, pos);
	set_entry(st, nd, dir);
	nd->orphan = false;
	nd->dir->db = node_entries(st, node_at(st, nd->parent))->db;
	count_entry(st, old.parent, &old, -1);
	count_entry(st, old.parent, nd, 1);
	count_entry(st, dir, nk, 1);
	return 0;
undo:
	table_remove(&st->table, hash_of_node(st, nd), dir);
	*nk = old;
	reinsert(st, key);
	dir_remove(&st->mem, nd->dir, pos);
	nd->name_len = 0;
	return r;
}

void node_swap(struct store *st, uint32_t a, uint32_t b)
{
	struct node *na = node_at(st, a), *nb = node_at(st, b), old = *na;

	count_entry(st, na->parent, na, -1);
	count_entry(st, nb->parent, nb, -1);
	table_remove(&st->table, hash_of_node(st, na), a);
	table_remove(&st->table, hash_of_node(st, nb), b);
	hand_over(nb, na);
	hand_over(&old, nb);
	set_entry(st, na, a);
	set_entry(st, nb, b);
	reinsert(st, a);
	reinsert(st, b);
	count_entry(st, na->parent, na, 1);
	count_entry(st, nb->parent, nb, 1);
}

static void count(struct store *st, uint32_t idx, int by)
{
	const struct node *n = node_at(st, idx);
	uint64_t step = (uint64_t)(int64_t)by;
	uint32_t db = node_db(st, idx);

	if (node_is_key(n)) {
		st->n_keys += step;
		st->db[db].n_keys += step;
	} else if (n->type == STORE_DIR && db == 0) {
		st->n_dirs += step;
	}
}

void node_remove_members(struct store *st, uint32_t coll)
{
	struct dir *d = node_entries(st, node_at(st, coll));
	uint64_t pos = 0;
	uint32_t idx;

	while (d && (idx = dir_next(d, &pos)) != 0) {
		node_unlink(st, idx);
		st->n_members--;
		node_release(st, idx);
	}
}

/* Everything of a removal but the place: members, deadline, counts. */
static void retire(struct store *st, uint32_t idx)
{
	int r;

	view_charge_rest(st, idx);
	if (node_at(st, idx)->type == STORE_TYPED)
		node_remove_members(st, idx);
	r = node_set_expire(st, idx, 0);
	assert(r == 0); /* removing a deadline needs no memory */
	(void)r;
	count(st, idx, -1);
}

void node_count(struct store *st, uint32_t idx)
{
	count(st, idx, 1);
}

void node_remove(struct store *st, uint32_t idx)
{
	retire(st, idx);
	node_unlink(st, idx);
	node_release(st, idx);
}

void node_replace(struct store *st, uint32_t idx, uint32_t victim)
{
	struct node *n = node_at(st, idx), *v = node_at(st, victim);

	retire(st, victim);
	count_entry(st, n->parent, n, -1);
	count_entry(st, v->parent, v, -1);
	table_remove(&st->table, hash_of_node(st, n), idx);
	table_remove(&st->table, hash_of_node(st, v), victim);
	dir_remove(&st->mem, node_entries(st, node_at(st, n->parent)), n->pos);
	drop_name(st, n);
	hand_over(v, n);
	v->name_len = 0; /* the name has moved, storage and all */
	v->orphan = true;
	set_entry(st, n, idx);
	reinsert(st, idx);
	count_entry(st, n->parent, n, 1);
	node_release(st, victim);
}

int node_set_expire(struct store *st, uint32_t idx, int64_t ms)
{
	struct node *n = node_at(st, idx);
	struct ext *e;
	int r;

	if (!ms) {
		e = ext_of(st, n);
		if (!e || !e->expire_ms)
			return 0;
		expire_remove(&st->expire, e->place);
		e->expire_ms = 0;
		st->db[node_db(st, idx)].n_expires--;
		node_ext_trim(st, n);
		return 0;
	}
	e = node_ext(st, n);
	if (!e)
		return -ENOMEM;
	if (e->place) {
		expire_change(&st->expire, e->place, ms);
	} else {
		r = expire_add(&st->expire, idx, ms);
		if (r < 0) {
			node_ext_trim(st, n);
			return r;
		}
		st->db[node_db(st, idx)].n_expires++;
	}
	e->expire_ms = ms;
	return 0;
}

/* --- the store's parts ------------------------------------------------ */

static uint64_t table_hash_of(void *owner, uint32_t idx)
{
	return hash_of_node(owner, node_at(owner, idx));
}

static void expire_moved(void *owner, uint32_t idx, uint32_t place)
{
	const struct store *st = owner;

	ext_of(st, node_at(st, idx))->place = place;
}

uint32_t store_root(struct store *st, uint32_t db)
{
	struct db *v;
	struct node *n;
	uint32_t idx;

	if (db < st->n_dbs && st->db[db].root)
		return st->db[db].root;
	if (db >= st->n_dbs) {
		v = mem_realloc(&st->mem, st->db, (db + 1) * sizeof(*v));
		if (!v)
			return 0;
		memset(&v[st->n_dbs], 0, (db + 1 - st->n_dbs) * sizeof(*v));
		st->db = v;
		st->n_dbs = db + 1;
	}
	idx = node_new(st, STORE_DIR);
	if (!idx)
		return 0;
	n = node_at(st, idx);
	n->orphan = false;
	n->parent = idx;
	n->pos = n->dir->db = db;
	n->mtime_ns = store_now_ns(st);
	st->db[db].root = idx;
	if (db == 0)
		st->n_dirs++;
	return idx;
}

/* --- the lock --------------------------------------------------------- */

/*
 * Sections are a few microseconds at most, so a waiter spins before it sleeps:
 * being woken costs many times a section, above all if the processor has been
 * halted. And a walk that takes the lock thousands of times in a row would take
 * it again before a waiter has noticed that it was free, so it asks first.
 */
enum {
	SPINS = 64,	   /* tries before sleeping: some 10 us */
	PAUSES = 8,	   /* between two tries */
	YIELD_SPINS = 256, /* of a walk, before it goes on: 50 us, a wake-up */
};

static void cpu_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static void relax(int n)
{
	while (n--)
		cpu_pause();
}

pthread_mutex_t *node_lock_contended(struct store *st)
{
	bool taken = false;

	atomic_fetch_add_explicit(&st->n_waiting, 1, memory_order_relaxed);
	for (int i = 0; i < SPINS && !taken; i++) {
		relax(PAUSES);
		taken = pthread_mutex_trylock(&st->lock) == 0;
	}
	if (!taken)
		pthread_mutex_lock(&st->lock);
	atomic_fetch_sub_explicit(&st->n_waiting, 1, memory_order_relaxed);
	return &st->lock;
}

void node_yield_lock(struct store *st)
{
	for (int i = 0; i < YIELD_SPINS; i++) {
		if (!atomic_load_explicit(&st->n_waiting, memory_order_relaxed))
			return;
		relax(PAUSES);
	}
}

/* --- the store -------------------------------------------------------- */

int store_new(const struct store_options *opt, struct store **ret)
{
	struct store *st;
	int r;

	if (opt->sep != '/' && opt->sep != ':')
		return -EINVAL;
	st = calloc(1, sizeof(*st));
	if (!st)
		return -ENOMEM;
	st->opt = *opt;
	if (getrandom(&st->hash_secret, sizeof(st->hash_secret), 0) < 0)
		st->hash_secret =
			(uint64_t)(uintptr_t)st ^ (uint64_t)store_now_ns(st);
	mem_init(&st->mem);
	slab_init(&st->nodes, &st->mem, sizeof(struct node),
		  offsetof(struct node, parent));
	slab_init(&st->exts, &st->mem, sizeof(struct ext),
		  offsetof(struct ext, place));
	expire_init(&st->expire, &st->mem, expire_moved, st);
	r = table_init(&st->table, &st->mem, table_hash_of, st);
	if (r == 0 && pthread_mutex_init(&st->lock, NULL) != 0)
		r = -ENOMEM;
	if (r < 0) {
		table_fini(&st->table);
		free(st);
		return -ENOMEM;
	}
	if (store_root(st, 0) != NODE_ROOT) {
		store_free(st);
		return -ENOMEM;
	}
	*ret = st;
	return 0;
}

static void free_content(struct store *st, struct node *n)
{
	struct ext *e = ext_of(st, n);

	if (n->type == STORE_NONE)
		return;
	if (n->type == STORE_DIR)
		dir_free(&st->mem, n->dir);
	else
		value_unref(&st->mem, n->value);
	if (e)
		dir_free(&st->mem, e->members);
	drop_name(st, n);
}

void store_free(struct store *st)
{
	if (!st)
		return;
	assert(!st->view);
	for (uint32_t i = 1; i < st->nodes.top; i++)
		free_content(st, node_at(st, i));
	slab_fini(&st->nodes);
	slab_fini(&st->exts);
	table_fini(&st->table);
	expire_fini(&st->expire);
	mem_free(&st->mem, st->db);
	mem_free(&st->mem, st->load.path);
	mem_free(&st->mem, st->load.dir_path);
	pthread_mutex_destroy(&st->lock);
	free(st);
}
