// A client of shiplap stores, written from docs/layout.md alone. The section of that page that a function
// follows stands before it.
//
//	store BASE DOMAIN STORE run [N]        do what the lines of stdin say, one answer a line; SIGKILL oneself
//	                                       instead of the N-th store to shared memory
//	    set KEY VALUE                      the revision, or "full"
//	    expire KEY SECONDS VALUE           the same; it expires
//	    delete KEY                         the revision, or "none"
//	    clear                              "cleared"
//	    get KEY                            format, revision, value; or "none"
//	    hammer KEY N                       get the key N times: each time its bytes are all the same
//	    await N                            wait until there were so many changes
//	    lock KEY                           "held", or "damaged": one who had it died
//	    unlock                             what was locked last
#include "base.h"

enum { // section 22
	BINDING = 4096, HEAP_LOCK = 4224, HEAP_ARMED = 4352, HEAP_REDO = 4416, CHANGED = 5120, SLEEPS = 5128, RESERVED = 5248, EPOCH = 5256,
	CLEARED = 5312, TOP = 5440, FREE = 5448, BITS = 5456, LISTS = 5632, STRIPES = 8192, STRIPE = 2048,
};
enum { // of a stripe
	ARMED = 128, PENDING = 136, CLEARING = 152, UNSETTLED = 160, REDO = 192, REVISION = 832, COUNTS = 840, EXTRAS = 848,
	NEXT = 896, LAP = 904, HAND = 912, SETS = 928, DELETES = 936, SPARE = 960, STRIPE_USED = 1096,
};
enum { MOST_ROW = 40, LIST_COUNT = 240, FREE_BLOCK = 0, ENTRY = 1, OVERFLOW = 2, MOST_LINKS = 4096 };
#define EXPIRES ((u64)1 << 32)
#define USED ((u64)1 << 33)

static u64 buckets, log_entries, key_locks, evict, seed[2], stripes;
static u64 logs_at, records_at, bindings_at, buckets_at;
static u32 heap, end; // granules

static void open_store(int dir, const char *name) {
	u64 *p = open_object(dir, name, 12, "");
	buckets = p[0], log_entries = p[1], key_locks = p[2], evict = p[3], seed[0] = p[4], seed[1] = p[5], stripes = p[6];
	if (buckets < 8 || buckets > 1 << 28 || buckets & (buckets - 1) || buckets < file_size / 65536) corrupt("buckets");
	if (stripes < 1 || stripes > 8 || stripes & (stripes - 1) || (evict && stripes > 1)) corrupt("stripes");
	if (log_entries < 64 * stripes || log_entries > 1 << 20 || log_entries & (log_entries - 1)) corrupt("log");
	if (key_locks < 1 || key_locks > 65536) corrupt("key locks");
	if (evict > 1) die("incompatible: eviction");
	logs_at = STRIPES + STRIPE * stripes;
	records_at = logs_at + 8 * log_entries;
	bindings_at = records_at + 128 * key_locks;
	buckets_at = bindings_at + 64 * key_locks;
	u64 h = buckets_at + 64 * buckets;
	if (file_size % PAGE || file_size < h + 16384 || file_size > (u64)1 << 36) corrupt("file size");
	heap = (u32)(h / 64), end = (u32)(file_size / 64);
}

static u64 at(u64 off) { return ld64(ctl + off); }
static void put(u64 off, u64 v) { step(); st64(ctl + off, v); }
static u32 low(u64 v) { return (u32)v; }
static u32 high(u64 v) { return (u32)(v >> 32); }
static u64 both(u32 lo, u32 hi) { return lo | (u64)hi << 32; }
static u64 pad(u64 n) { return (n + 7) & ~(u64)7; }
static u64 now(void) {
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

// Section 22.1; SipHash by its authors' paper.
static u64 rotl(u64 x, int n) { return x << n | x >> (64 - n); }
static void sip_round(u64 *v) {
	v[0] += v[1]; v[1] = rotl(v[1], 13) ^ v[0]; v[0] = rotl(v[0], 32);
	v[2] += v[3]; v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3]; v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1]; v[1] = rotl(v[1], 17) ^ v[2]; v[2] = rotl(v[2], 32);
}
static u64 hash(const char *key, u64 n) {
	u64 v[4] = {seed[0] ^ 0x736f6d6570736575, seed[1] ^ 0x646f72616e646f6d, seed[0] ^ 0x6c7967656e657261, seed[1] ^ 0x7465646279746573};
	for (u64 i = 0; i <= n; i += 8) {
		u64 m = 0;
		memcpy(&m, key + i, n - i < 8 ? n - i : 8);
		if (n - i < 8) m |= n << 56;
		v[3] ^= m; sip_round(v); v[0] ^= m;
	}
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++) sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
static u64 bucket_of(u64 h) { return buckets_at + 64 * (h % buckets); }

// The stripe whose lock is held, or that a reader looks at: its number, and where its words are.
static u64 stripe, base;
static void choose(u64 i) { stripe = i, base = STRIPES + STRIPE * i; }
static void choose_of(u64 h) { choose(h % buckets / (buckets / stripes)); }
static u64 own(u64 off) { return at(base + off); } // a word of it
static u64 cleared_at(u64 epoch) { return CLEARED + epoch % 2 * 64 + 8 * stripe; }

struct entry { u64 at, key, value, revision, expiry, value_at; u32 granules; int format; };

// The entry that a slot leads to; 0 if it is wrong.
static int entry_at(u64 slot, struct entry *e) {
	u32 g = low(slot);
	if (g < heap || g >= end) return 0;
	e->at = (u64)g * 64;
	u32 b = low(at(e->at));
	u64 l = at(e->at + 24);
	e->granules = b & 0x3fffffff;
	if (b >> 30 != ENTRY || e->granules == 0 || e->granules > end - g) return 0;
	e->key = l & 0xffffff, e->format = l >> 24 & 0xff, e->value = l >> 32;
	if (e->key > 65535 || e->value > 1 << 30 || 32 + pad(e->key) + e->value > (u64)e->granules * 64) return 0;
	e->revision = at(e->at + 8), e->expiry = at(e->at + 16);
	e->value_at = e->at + 32 + pad(e->key);
	return 1;
}
static int counts(const struct entry *e, u64 epoch) {
	return e->revision > at(cleared_at(epoch)) && (e->expiry == 0 || e->expiry > now());
}
// Reads words atomically; size is that of dst, rounded up.
static void copy_out(void *dst, u64 off, u64 n) {
	for (u64 i = 0; i < n; i += 8) {
		u64 w = at(off + i);
		memcpy((char *)dst + i, &w, n - i < 8 ? n - i : 8);
	}
}
static char scratch[1 << 16];
static int same_key(const struct entry *e, const char *key, u64 n) {
	if (e->key != n) return 0;
	copy_out(scratch, e->at + 32, n);
	return !memcmp(scratch, key, n);
}
static int overflow_at(u32 g) { return g >= heap && g < end && low(at((u64)g * 64)) == (1u | (u32)OVERFLOW << 30); }

// One look at a key: 1 found, 0 none, -1 changed, -2 wrong.
static char *copy;
static int look(const char *key, u64 n, u64 h, struct entry *e) {
	u64 epoch = at(EPOCH), bucket = bucket_of(h), s = at(bucket), slots = bucket + 8;
#define SAME(r) (at(bucket) == s && at(EPOCH) == epoch ? (r) : -1)
	u32 link = high(s);
	for (int k = 7, hops = 0;; k = 6, hops++) {
		for (int i = 0; i < k; i++) {
			u64 w = at(slots + 8 * (u64)i);
			if (w >> 48 != h >> 48 || low(w) == 0) continue;
			if (!entry_at(w, e)) return SAME(-2);
			if (!same_key(e, key, n)) continue;
			if (!counts(e, epoch)) return SAME(0);
			if (SAME(1) != 1) return -1; // before that length is believed
			free(copy);
			if (!(copy = malloc(e->value + 8))) die("no memory");
			copy_out(copy, e->value_at, e->value);
			if (SAME(1) != 1) return -1;
			if (evict && !(w & USED)) cas64(ctl + slots + 8 * (u64)i, w, w | USED);
			return 1;
		}
		if (link == 0) return SAME(0);
		if (!overflow_at(link) || hops >= MOST_LINKS) return SAME(-2);
		slots = (u64)link * 64 + 16;
		link = high(at((u64)link * 64 + 8));
	}
}
static int changes; // how often a reader had to start over
static void acquire(void);
static int get(const char *key, u64 n, struct entry *e) {
	u64 h = hash(key, n);
	choose_of(h);
	for (int i = 1;; i++) {
		if (state() & REMOVED) die("removed");
		if (i % 8 == 0) acquire();
		int r = look(key, n, h, e);
		if (i % 8 == 0) unlock(ctl + base);
		if (r == -2) corrupt("a bucket");
		if (r >= 0) return r;
		changes++;
	}
}

// Section 22.2: rows.
static struct { u64 off, v; } row[MOST_ROW];
static int row_len;
static void row_put(u64 off, u64 v) {
	for (int i = 0; i < row_len; i++)
		if (row[i].off == off) { row[i].v = v; return; }
	if (row_len == MOST_ROW) die("a row is too long");
	row[row_len].off = off;
	row[row_len++].v = v;
}
static u64 row_at(u64 off) {
	for (int i = 0; i < row_len; i++)
		if (row[i].off == off) return row[i].v;
	return at(off);
}
static void commit_in(u64 armed, u64 redo) {
	for (int i = 0; i < row_len; i++) {
		put(redo + 16 * (u64)i, row[i].off);
		put(redo + 16 * (u64)i + 8, row[i].v);
	}
	put(armed, (u64)row_len); // the commit
	for (int i = 0; i < row_len; i++) put(row[i].off, row[i].v);
	put(armed, 0);
	row_len = 0;
}
static void commit(void) { commit_in(base + ARMED, base + REDO); }

static int storable(u64 off) {
	if (off % 8 || off < TOP || off > file_size - 8 || (off >= records_at && off < buckets_at)) return 0;
	if (off < STRIPES || off >= logs_at) return 1;
	off = (off - STRIPES) % STRIPE;
	return (off > ARMED && off < REDO) || (off >= REVISION && off < STRIPE_USED);
}
static void redo(u64 armed, u64 redo) {
	u64 n = at(armed);
	if (n > MOST_ROW) corrupt("armed");
	for (u64 i = 0; i < n; i++)
		if (!storable(at(redo + 16 * i))) corrupt("redo");
	if (n == 0) return;
	for (u64 i = 0; i < n; i++) put(at(redo + 16 * i), at(redo + 16 * i + 8));
	put(armed, 0);
}
static void lock_heap(void) {
	lock(ctl + HEAP_LOCK);
	redo(HEAP_ARMED, HEAP_REDO);
}
static void unlock_heap(void) { unlock(ctl + HEAP_LOCK); }

// Section 22.3: the heap.
struct block { u32 size, state, before; };
static struct block block(u32 g) {
	u32 top = low(row_at(TOP));
	if (g < heap || g >= top || top > end) corrupt("a block's place");
	u64 w = row_at((u64)g * 64);
	struct block b = {low(w) & 0x3fffffff, low(w) >> 30, high(w)};
	if (b.size == 0 || b.size > top - g || b.before > g - heap || b.state > OVERFLOW) corrupt("a block");
	return b;
}
static void put_block(u32 g, u32 size, u32 state, u32 before) { row_put((u64)g * 64, both(size | state << 30, before)); }
static u32 list_of(u32 n) {
	if (n < 16) return n;
	u32 f = 31 - (u32)__builtin_clz(n);
	return 16 + 8 * (f - 4) + (n >> (f - 3) & 7);
}
static u64 links(u32 g) { return (u64)g * 64 + 8; }
static u64 bits_at(u32 list) { return BITS + list / 64 * 8; }
static void must_be_free(u32 g) { if (block(g).state != FREE_BLOCK) corrupt("a list of free blocks"); }
static void into_list(u32 g, u32 n) {
	u32 c = list_of(n);
	u64 l = row_at(LISTS + 8 * c);
	if (low(l)) {
		must_be_free(low(l));
		row_put(links(low(l)), both(low(row_at(links(low(l)))), g));
	} else row_put(bits_at(c), row_at(bits_at(c)) | (u64)1 << c % 64);
	row_put(links(g), low(l));
	row_put(LISTS + 8 * c, both(g, high(l) + 1));
}
static void out_of_list(u32 g, u32 n) {
	u32 c = list_of(n);
	u64 l = row_at(LISTS + 8 * c), own = row_at(links(g));
	u32 next = low(own), before = high(own), first = low(l);
	if (before) {
		must_be_free(before);
		row_put(links(before), both(next, high(row_at(links(before)))));
	} else if (first != g) corrupt("a list's first block");
	else first = next;
	if (next) {
		must_be_free(next);
		row_put(links(next), both(low(row_at(links(next))), before));
	}
	row_put(LISTS + 8 * c, both(first, high(l) - 1));
	if (!first) row_put(bits_at(c), row_at(bits_at(c)) & ~((u64)1 << c % 64));
}
static u32 find_free(u32 n) {
	u32 g = low(row_at(LISTS + 8 * list_of(n)));
	for (int i = 0; g && i < 32; i++, g = low(row_at(links(g))))
		if (block(g).size >= n) return g;
	for (u32 c = list_of(n) + 1; c < LIST_COUNT; c++)
		if (row_at(bits_at(c)) >> c % 64 & 1) return low(row_at(LISTS + 8 * c));
	return 0;
}
static int grow(u32 g) {
	u64 have = at(RESERVED), want = (u64)g * 64;
	if (have < (u64)heap * 64 || have > file_size || have % PAGE) corrupt("reserved");
	if (want <= have) return 1;
	u64 n = want - have < 65536 ? 65536 : (want - have + PAGE - 1) / PAGE * PAGE;
	if (n > file_size - have) n = file_size - have;
	if (fallocate(object_fd, 0, (off_t)have, (off_t)n) != 0) return 0;
	put(RESERVED, have + n);
	return 1;
}
static u32 take(u32 n, u32 st, int i) {
	lock_heap();
	u32 g = find_free(n);
	if (g) {
		struct block b = block(g);
		if (b.state != FREE_BLOCK || b.size < n) corrupt("a free block");
		out_of_list(g, b.size);
		put_block(g, n, st, b.before);
		if (b.size > n) {
			struct block f = block(g + b.size);
			if (f.before != b.size) corrupt("a block's neighbour");
			put_block(g + b.size, f.size, f.state, b.size - n);
			put_block(g + n, b.size - n, FREE_BLOCK, n);
			into_list(g + n, b.size - n);
		}
		row_put(FREE, row_at(FREE) - n);
	} else {
		u64 w = row_at(TOP);
		g = low(w);
		if (g < heap || g > end || high(w) > g - heap) corrupt("top");
		if (n > end - g || !grow(g + n)) { unlock_heap(); return 0; }
		row_put(TOP, both(g + n, n));
		put_block(g, n, st, high(w));
	}
	row_put(base + PENDING + 8 * (u64)i, g);
	commit_in(HEAP_ARMED, HEAP_REDO);
	unlock_heap();
	return g;
}
static void free_pending(int i) {
	u64 p = own(PENDING + 8 * (u64)i);
	if (p == 0) return;
	if (p > end) corrupt("pending");
	lock_heap();
	u32 g = (u32)p, top = low(at(TOP));
	struct block b = block(g), x;
	if (b.state == FREE_BLOCK) corrupt("pending is free");
	u64 freed = row_at(FREE) + b.size;
	if (g + b.size < top) {
		x = block(g + b.size);
		if (x.before != b.size) corrupt("a block's neighbour");
		if (x.state == FREE_BLOCK) { out_of_list(g + b.size, x.size); b.size += x.size; }
	}
	if (b.before) {
		x = block(g - b.before);
		if (x.size != b.before) corrupt("a block's neighbour");
		if (x.state == FREE_BLOCK) { out_of_list(g - b.before, x.size); g -= x.size; b.size += x.size; b.before = x.before; }
	}
	if (g + b.size == top) {
		row_put(TOP, both(g, b.before));
		freed -= b.size;
	} else {
		x = block(g + b.size);
		put_block(g + b.size, x.size, x.state, b.size);
		put_block(g, b.size, FREE_BLOCK, b.before);
		into_list(g, b.size);
	}
	row_put(FREE, freed);
	row_put(base + PENDING + 8 * (u64)i, 0);
	commit_in(HEAP_ARMED, HEAP_REDO);
	unlock_heap();
}
static void free_both(void) { free_pending(0); free_pending(1); }

// Section 22.2: the writer lock of the chosen stripe, and what a dead one left.
static void stripe_cleared(void);
static void acquire(void) {
	lock(ctl + base);
	if (recovered) put(base + UNSETTLED, 1);
	if (state() & REMOVED) die("removed");
	if (own(UNSETTLED)) {
		lock_heap();
		unlock_heap();
		put(base + UNSETTLED, 0);
	}
	redo(base + ARMED, base + REDO);
	u64 c = own(CLEARING);
	if (c && c == at(EPOCH)) stripe_cleared();
	else if (c) put(base + CLEARING, 0);
	free_both();
}
static void release(void) { unlock(ctl + base); wake(ctl + CHANGED, INT32_MAX); }

// Where a key is, with the lock.
struct place {
	u64 bucket, head, slot, word; // slot 0: it is nowhere
	u64 empty, last;              // a free slot, or 0; the head or link that ends the chain
	u64 link;                     // the head or link that leads to the overflow bucket with the slot
	u32 over;                     // that one, or 0
	int alone;                    // nothing else is in it
	int full;                     // there are as many overflow buckets as there can be
	struct entry e;
};
static struct place find(const char *key, u64 n, u64 h) {
	struct place p = {.bucket = bucket_of(h)};
	p.head = at(p.bucket);
	u64 slots = p.bucket + 8, link = p.bucket;
	u32 over = 0, next = high(p.head);
	for (int k = 7, hops = 0;; k = 6, hops++) {
		int used = 0, here = 0;
		for (int i = 0; i < k; i++) {
			u64 s = slots + 8 * (u64)i, w = at(s);
			struct entry e;
			if (low(w) == 0) { if (!p.empty) p.empty = s; continue; }
			used++;
			if (p.slot || w >> 48 != h >> 48) continue;
			if (!entry_at(w, &e)) corrupt("a slot");
			if (same_key(&e, key, n)) p.slot = s, p.word = w, p.e = e, p.over = over, p.link = link, here = 1;
		}
		if (here) { p.alone = used == 1; return p; }
		u64 own = over ? (u64)over * 64 + 8 : p.bucket;
		if (next == 0) { p.last = own, p.full = hops == MOST_LINKS; return p; }
		if (!overflow_at(next) || hops >= MOST_LINKS) corrupt("a link");
		over = next, link = own, slots = (u64)over * 64 + 16, next = high(at((u64)over * 64 + 8));
	}
}
static u64 announce(u64 bucket) {
	u64 rev = own(REVISION) + 1, n = log_entries / stripes;
	row_put(logs_at + 8 * (stripe * n + rev % n), rev << 32 | bucket);
	row_put(base + REVISION, rev);
	return rev;
}
// The counters, when an entry comes or goes.
static void count(const struct entry *e, u32 by) {
	u64 c = row_at(base + COUNTS), x = row_at(base + EXTRAS);
	row_put(base + COUNTS, e->revision > at(cleared_at(at(EPOCH))) ? both(low(c) + by, high(c)) : both(low(c), high(c) + by));
	if (e->expiry) row_put(base + EXTRAS, both(low(x) + by, high(x)));
}
static void count_overflow(u32 by) { u64 x = row_at(base + EXTRAS); row_put(base + EXTRAS, both(low(x), high(x) + by)); }
static u64 spare(u32 n) {
	u64 g = n <= 16 ? own(SPARE + 8 * (u64)n) : 0;
	if (g && (g > end || block((u32)g).size != n || block((u32)g).state != ENTRY)) corrupt("a spare block");
	return g;
}
// What becomes of a block that was an entry's.
static void give_up(u32 g, u32 n) {
	u64 s = base + SPARE + 8 * (u64)n;
	if (n <= 16 && row_at(s) == 0) row_put(s, g);
	else row_put(base + PENDING, g);
}
static void earliest(u64 off, u64 expiry) { if (at(off) == 0 || expiry < at(off)) put(off, expiry); }
static void copy_in(u64 off, const char *p, u64 n) {
	for (u64 i = 0; i < n; i += 8) {
		u64 w = 0;
		memcpy(&w, p + i, n - i < 8 ? n - i : 8);
		if (i % 256 == 0) step();
		st64(ctl + off + i, w);
	}
}
static void free_spares(void) {
	for (u32 n = 1; n <= 16; n++) {
		u64 g = spare(n);
		if (!g) continue;
		row_put(base + PENDING, g);
		row_put(base + SPARE + 8 * (u64)n, 0);
		commit();
		free_pending(0);
	}
}

// 0 if there is no room.
static u64 set_locked(const char *key, u64 kn, const char *value, u64 vn, u64 expiry) {
	u64 h = hash(key, kn);
	struct place p = find(key, kn, h);
	u32 n = (u32)((32 + pad(kn) + vn + 63) / 64), over = 0;
	if (!p.slot && !p.empty && p.full) return 0;
	u64 from_spare = spare(n), g = from_spare;
	if (!g && !(g = take(n, ENTRY, 0))) return 0;
	if (!p.slot && !p.empty && !(over = take(1, OVERFLOW, 1))) { free_both(); return 0; }
	struct entry e = {.at = g * 64, .revision = own(REVISION) + 1, .expiry = expiry};
	u64 slot = g | h >> 48 << 48 | (expiry ? EXPIRES : 0);
	put(e.at + 8, e.revision);
	put(e.at + 16, expiry);
	put(e.at + 24, kn | vn << 32);
	copy_in(e.at + 32, key, kn);
	copy_in(e.at + 32 + pad(kn), value, vn);
	if (expiry) { earliest(base + NEXT, expiry); earliest(base + LAP, expiry); }
	if (p.slot) row_put(p.slot, slot | (p.word & USED));
	else if (p.empty) row_put(p.empty, slot);
	else {
		u64 o = (u64)over * 64;
		put(o + 8, 0);
		put(o + 16, slot);
		for (u64 i = 1; i < 6; i++) put(o + 16 + 8 * i, 0);
		if (p.last == p.bucket) p.head = both(low(p.head), over);
		else row_put(p.last, both(0, over));
		count_overflow(1);
	}
	row_put(p.bucket, both(low(p.head) + 1, high(p.head)));
	u64 rev = announce(h % buckets);
	if (p.slot) count(&p.e, (u32)-1);
	count(&e, 1);
	row_put(base + (from_spare ? SPARE + 8 * (u64)n : PENDING), 0);
	if (p.slot) give_up(low(p.word), p.e.granules);
	if (over) row_put(base + PENDING + 8, 0);
	commit();
	free_both();
	return rev;
}
static u64 set(const char *key, const char *value, u64 expiry) {
	choose_of(hash(key, strlen(key)));
	acquire();
	u64 rev = set_locked(key, strlen(key), value, strlen(value), expiry);
	if (!rev) { free_spares(); rev = set_locked(key, strlen(key), value, strlen(value), expiry); }
	if (rev) put(base + SETS, own(SETS) + 1);
	release();
	return rev;
}
static u64 delete(const char *key) {
	choose_of(hash(key, strlen(key)));
	acquire();
	struct place p = find(key, strlen(key), hash(key, strlen(key)));
	u64 rev = 0;
	if (p.slot && counts(&p.e, at(EPOCH))) {
		row_put(p.slot, 0);
		if (p.over && p.alone) {
			u32 next = high(at((u64)p.over * 64 + 8));
			if (p.link == p.bucket) p.head = both(low(p.head), next);
			else row_put(p.link, both(0, next));
			count_overflow((u32)-1);
			row_put(base + PENDING + 8, p.over);
		}
		row_put(p.bucket, both(low(p.head) + 1, high(p.head)));
		rev = announce((p.bucket - buckets_at) / 64);
		count(&p.e, (u32)-1);
		give_up(low(p.word), p.e.granules);
		commit();
		free_both();
		put(base + DELETES, own(DELETES) + 1);
	}
	release();
	return rev;
}
static void stripe_cleared(void) {
	u64 c = own(COUNTS);
	row_put(base + COUNTS, both(0, low(c) + high(c)));
	announce(0xffffffff);
	row_put(base + CLEARING, 0);
	commit();
	put(base + HAND, 0);
}
static void clear(void) {
	for (u64 i = 0; i < stripes; i++) choose(i), acquire();
	u64 next = at(EPOCH) + 1;
	for (u64 i = 0; i < stripes; i++) {
		choose(i);
		put(cleared_at(next), own(REVISION) + 1);
		put(base + CLEARING, next);
	}
	put(EPOCH, next); // the commit
	for (u64 i = 0; i < stripes; i++) choose(i), stripe_cleared();
	for (u64 i = 0; i < stripes; i++) choose(i), release();
}

// Section 22.2, watching.
static u64 awaited;
static u64 changed(void) {
	u64 n = 0;
	for (u64 i = 0; i < stripes; i++) choose(i), n += own(REVISION);
	return n;
}
static int reached(void) { return changed() >= awaited || state() & REMOVED; }

// Section 22.4.
static u64 binding(u64 i) { return bindings_at + 64 * i; }
static u8 *record(u64 i) { return ctl + records_at + 128 * i; }
static u64 locked;
static int recover(u64 i) {
	if (recovered && ld32(ctl + binding(i) + 8)) st32(record(i) + DAMAGED, 1);
	st32(ctl + binding(i) + 8, 0);
	return (int)ld32(record(i) + DAMAGED);
}
static int bound_to(u64 h, u64 *i) {
	for (u64 k = 0; k < key_locks; k++)
		if (at(binding(*i = (h + k) % key_locks)) == h) return 1;
	return 0;
}
static const char *lock_key(const char *key) {
	u64 h = hash(key, strlen(key)), i;
	if (h == 0) h = 1;
	for (;;) {
		if (!bound_to(h, &i)) {
			lock(ctl + BINDING);
			for (u64 k = 0; !bound_to(h, &i) && k < key_locks; k++) {
				i = (h + k) % key_locks;
				if (!try_lock(record(i))) continue;
				if (recover(i)) { unlock(record(i)); continue; }
				put(binding(i), h);
				st32(ctl + binding(i) + 8, 1);
				st32(ctl + binding(i) + 12, (u32)strlen(key));
				unlock(ctl + BINDING);
				locked = i;
				return "held";
			}
			int bound = bound_to(h, &i);
			unlock(ctl + BINDING);
			if (!bound) return "full";
		}
		lock(record(i)); // it may be another key's by then: this client finds out when it has it
		int damaged = recover(i);
		if (at(binding(i)) != h) { unlock(record(i)); continue; }
		st32(ctl + binding(i) + 8, 1);
		locked = i;
		return damaged ? "damaged" : "held";
	}
}

static void answer(u64 rev, const char *none) {
	if (rev) printf("%llu\n", (unsigned long long)rev);
	else puts(none);
}
static void hammer(const char *key, long n) {
	struct entry e;
	for (long i = 0; i < n; i++) {
		if (!get(key, strlen(key), &e)) die("%s is not there", key);
		for (u64 k = 0; k < e.value; k++)
			if (copy[k] != copy[0]) die("a torn value: %c and %c", copy[0], copy[k]);
	}
	printf("whole\n");
}
static void obey(char *line) {
	char *cmd = strtok(line, " \n"), *key = strtok(NULL, " \n"), *arg = strtok(NULL, " \n"), *more = strtok(NULL, " \n");
	struct entry e;
	if (!cmd) return;
	if (!key) key = "";
	if (!arg) arg = "";
	if (!strcmp(cmd, "set")) answer(set(key, arg, 0), "full");
	else if (!strcmp(cmd, "expire")) answer(set(key, more ? more : "", now() + strtoull(arg, NULL, 10) * 1000000000), "full");
	else if (!strcmp(cmd, "delete")) answer(delete(key), "none");
	else if (!strcmp(cmd, "clear")) clear(), puts("cleared");
	else if (!strcmp(cmd, "hammer")) hammer(key, strtol(arg, NULL, 10));
	else if (!strcmp(cmd, "get")) {
		if (get(key, strlen(key), &e)) printf("%d %llu %.*s\n", e.format, (unsigned long long)e.revision, (int)e.value, copy);
		else puts("none");
	} else if (!strcmp(cmd, "await")) {
		awaited = strtoull(key, NULL, 10);
		while (!reached()) {
			__atomic_add_fetch((u64 *)(ctl + SLEEPS), 1, SC);
			sleep_until(ctl + CHANGED, reached, 250 * MS);
		}
		answer(changed(), "");
	} else if (!strcmp(cmd, "lock")) puts(lock_key(key));
	else if (!strcmp(cmd, "unlock")) {
		st32(ctl + binding(locked) + 8, 0);
		unlock(record(locked));
		puts("unlocked");
	} else die("what is %s?", cmd);
	fflush(stdout);
}

int main(int argc, char **argv) {
	open_store(start(argc, argv), argv[3]);
	if (argc > 5) steps_left = strtol(argv[5], NULL, 10);
	char *line = NULL;
	size_t room = 0;
	while (getline(&line, &room, stdin) > 0) obey(line);
	return leave();
}
