// Rings, written from docs/layout.md alone. The section of that page that a function follows stands before it.
#pragma once
#include "envelope.h"

enum { // section 8: a ring's control words
	PLOCK = 0, CLOCK = 128, NOT_EMPTY = 256, NOT_FULL = 384, TAIL = 512, PUTS = 520, BYTES = 528,
	BUSY = 552, TAKEN = 640, GETS = 648, CURSOR = 664, LEASES = 672, AGAIN = 680, REPEATS = 688,
};

static u8 *ring, *area;
static u64 size, hdr;


// What kinds that are made of rings differ in.
static int (*reclaim)(void);   // tries to get room back from records that are done; may be missing
static int (*peer_gone)(void); // whether those at the other end are gone; may be missing

// Section 8: positions and records.
static inline u8 *word(u64 pos) { return area + (pos & (size - 1)); }
static inline u64 record(u64 h) {
	u64 n = hdr + (((h & 0xffffffff) + 7) & ~(u64)7);
	if ((h >> 32 & 0xfd) != 1 || n + 8 > size) corrupt("record header");
	return n;
}
static inline u64 number(u64 near, u64 h) {
	u64 d = ((h >> 40) - near) & 0xffffff;
	return d > 0x7fffff ? near + d - 0x1000000 : near + d;
}
static inline void check(u64 from, u64 to) {
	if (from & 7 || to & 7 || to - from > size) corrupt("positions");
}
static inline void copy_in(u64 pos, const void *p, u64 n) {
	u64 off = pos & (size - 1), k = n < size - off ? n : size - off;
	memcpy(area + off, p, k);
	memcpy(area, (const u8 *)p + k, n - k);
}
static u8 *buf;
static inline void fetch(u64 pos, u64 h) {
	u64 n = h & 0xffffffff, off = (pos + hdr) & (size - 1), k = n < size - off ? n : size - off;
	if (!buf && !(buf = malloc(size))) die("no memory");
	memcpy(buf, area + off, k);
	memcpy(buf + k, area, n - k);
	body_of(buf, h); // before anything is taken
}
static inline void print(u64 h) { print_message(buf, h); }

// Section 8.1.
static u64 p_pos, p_puts, p_taken, p_want;

static inline void resume(void) {
	u64 t = p_taken = ld64(ring + TAKEN), hint = ld64(ring + TAIL), start = hint, h;
	p_puts = ld64(ring + PUTS);
	if (start - t > size) { start = t; if (ld64(ring + GETS) > p_puts) p_puts = ld64(ring + GETS); }
	check(t, start);
	for (p_pos = start; (h = ld64(word(p_pos))) != 0; p_puts = number(p_puts, h)) {
		p_pos += record(h);
		if (p_pos - start > size) corrupt("no end");
	}
	check(t, p_pos);
	if (start != hint || p_pos != hint) { st64(ring + PUTS, p_puts); st64(ring + TAIL, p_pos); }
	if (ld32(ring + BUSY)) st32(ring + BUSY, 0);
}
static inline int gone(void) { return peer_gone ? peer_gone() : 0; }
static inline int room(void) { return p_pos + p_want - ld64(ring + TAKEN) <= size || state() || gone(); }
static inline void maybe_die(const char *at, const char *here) {
	if (at && !strcmp(at, here)) kill(getpid(), SIGKILL);
}

// 0: nobody will take it.
static inline int put(const void *msg, u64 n, const char *at) {
	u64 need = hdr + ((n + 7) & ~(u64)7);
	if (need + 8 > size) die("too large");
	for (;;) {
		if (gone()) return 0;
		lock(ring + PLOCK);
		resume();
		if (p_pos + need + 8 - p_taken <= size) break;
		unlock(ring + PLOCK);
		if (state()) die(state() & REMOVED ? "removed" : "closed");
		p_want = need + 8;
		if (!reclaim || !reclaim()) sleep_until(ring + NOT_FULL, room, (peer_gone ? 50 : 250) * MS);
	}
	copy_in(p_pos + hdr, msg, n);
	st64(word(p_pos + need), 0);
	if (hdr == 16) st64(word(p_pos + 8), 0);
	maybe_die(at, "before");
	st32(ring + BUSY, 1);
	fence();
	if (state()) {
		st32(ring + BUSY, 0);
		wake(ring + NOT_EMPTY, INT32_MAX);
		unlock(ring + PLOCK);
		die("closed");
	}
	maybe_die(at, "busy");
	st64(word(p_pos), n | (u64)1 << 32 | bits | (p_puts + 1) << 40); // the commit
	maybe_die(at, "commit");
	st64(ring + TAIL, p_pos + need);
	maybe_die(at, "tail");
	st64(ring + PUTS, p_puts + 1);
	st64(ring + BYTES, ld64(ring + BYTES) + n);
	st32(ring + BUSY, 0);
	wake(ring + NOT_EMPTY, 1);
	unlock(ring + PLOCK);
	return 1;
}

// Section 8.3: 1 when nothing will ever come.
static inline int drained(u64 t) {
	if (state() & REMOVED) die("removed");
	if (!(state() & CLOSED)) return 0;
	heavy_fence();
	if (ld32(ring + BUSY)) {
		if (!try_lock(ring + PLOCK)) return 0;
		resume();
		unlock(ring + PLOCK);
	}
	return ld64(word(t)) == 0;
}
static inline long bound(int look) { return (look || peer_gone || state() & CLOSED ? 50 : 250) * MS; }

// Section 8.2: 0 when nothing will ever come.
static inline int some(void) {
	u64 t = ld64(ring + TAKEN);
	return t & 7 || ld64(word(t)) || state() & REMOVED || (state() & CLOSED && !ld32(ring + BUSY)) || gone();
}
static inline int get(void) {
	for (;;) {
		u64 t = ld64(ring + TAKEN), h;
		check(t, t);
		if (ld64(word(t)) == 0) {
			if (drained(t)) return 0;
			if (gone() && ld64(ring + TAKEN) == t && ld64(word(t)) == 0) return 0;
			sleep_until(ring + NOT_EMPTY, some, bound(0));
			continue;
		}
		lock(ring + CLOCK);
		if (state() & REMOVED) die("removed");
		t = ld64(ring + TAKEN);
		check(t, t);
		if ((h = ld64(word(t))) == 0) { unlock(ring + CLOCK); continue; }
		u64 n = record(h);
		fetch(t, h);
		st64(ring + TAKEN, t + n); // the commit
		st64(ring + GETS, number(ld64(ring + GETS) + 1, h));
		unlock(ring + CLOCK);
		wake(ring + NOT_FULL, 1);
		print(h);
		return 1;
	}
}

