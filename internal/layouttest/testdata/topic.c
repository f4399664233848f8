// A client of shiplap topics of bytes, written from docs/layout.md alone. The section of that page that a
// function follows stands before it.
//
//	topic BASE DOMAIN TOPIC publish [N]        lines of stdin become messages; SIGKILL oneself instead of the
//	                                           N-th store to shared memory
//	topic BASE DOMAIN TOPIC subscribe N LAST   N messages become lines (0: until the topic has ended), to begin
//	                                           with the LAST ones of before; "lagged N" stands for N that are gone
//	topic BASE DOMAIN TOPIC publish KEY=VALUE  the same, with an envelope before each message
//	topic BASE DOMAIN TOPIC subscribe-with N LAST   with envelopes before the messages, as "key=value "
//	topic BASE DOMAIN TOPIC hold N             subscribe to N messages, then sleep
//	topic BASE DOMAIN TOPIC close              no more is published
#include "envelope.h"

enum { // section 23
	LOCK = 4096, PUBLISHED = 4224, PUBLISHED_SLEEPS = 4232, ROOM = 4352, ROOM_SLEEPS = 4360, TAIL = 4480, FREED = 4488, BYTES = 4496,
	BUSY = 4504, FLOOR = 4608, IN_USE = 4736, SLOT_TABLE = 8192, SLOT_SIZE = 128,
};
enum { S_TOKEN = 0, S_CURSOR = 8, S_NUMBER = 16, S_MISSED = 24, S_FIRST = 32, S_SINCE = 40 };

static u64 size, subscribers;
static int overwrite;
static u8 *area;

static void open_topic(int dir, const char *name) {
	u64 *p = open_object(dir, name, 13, "bytes");
	size = p[0], subscribers = p[2];
	if (p[1] > 1) die("incompatible: policy");
	overwrite = (int)p[1];
	if (size < 4096 || size > (u64)1 << 36 || size & (size - 1)) corrupt("area");
	if (subscribers < 32 || subscribers > 4096 || subscribers % 32) corrupt("subscribers");
	if (file_size != 8192 + SLOT_SIZE * subscribers + size) corrupt("file size");
	area = ctl + 8192 + SLOT_SIZE * subscribers;
}

static u64 at(u64 off) { return ld64(ctl + off); }
static void put(u64 off, u64 v) { step(); st64(ctl + off, v); }
static u8 *word(u64 pos) { return area + (pos & (size - 1)); }
static void put_word(u64 pos, u64 v) { step(); st64(word(pos), v); }
static u64 pad(u64 n) { return (n + 7) & ~(u64)7; }
static int before(u64 a, u64 b) { return (int64_t)(a - b) < 0; }
static u64 record(u64 h) {
	u64 n = h & 0xffffffff;
	if ((h >> 32 & 0xfd) != 1 || n > size - 32) corrupt("record header");
	return 16 + pad(n);
}
static u64 header(u64 n, u64 number) { return n | (u64)1 << 32 | bits | number << 40; }
static u8 *slot_at(u64 i) { return ctl + SLOT_TABLE + SLOT_SIZE * i; }
static u64 in_use(void) { u64 n = ld32(ctl + IN_USE); return n < subscribers ? n : subscribers; }

// Section 23.1: where a publisher is.
static u64 pos, number, fr, want;

static void resume(void) {
	u64 hint = at(TAIL), h;
	pos = hint, fr = at(FREED);
	if (pos & 7 || fr & 7 || pos - fr > size) corrupt("positions");
	while ((h = ld64(word(pos))) != 0) {
		pos += record(h);
		if (pos - fr > size) corrupt("no end");
	}
	if (pos + 16 - fr > size) corrupt("too full");
	number = ld64(word(pos + 8));
	if (pos != hint) put(TAIL, pos);
	if (ld32(ctl + BUSY)) st32(ctl + BUSY, 0);
}
static int in_the_way(u64 i, u64 c, u64 limit) {
	u32 t = ld32(slot_at(i));
	return t && !(t & W) && c - fr < limit - fr;
}
static u64 least(u64 t) {
	for (u64 i = 0; i < in_use(); i++) {
		u64 c = ld64(slot_at(i) + S_CURSOR);
		if (in_the_way(i, c, t)) t = c;
	}
	return t & ~(u64)7;
}
static int free_the_dead(u64 need) {
	int any = 0;
	for (u64 i = 0; i < in_use(); i++) {
		u32 t = ld32(slot_at(i));
		if (in_the_way(i, ld64(slot_at(i) + S_CURSOR), need) && dead(t)) any |= cas32(slot_at(i), t, 0);
	}
	return any;
}
static u64 least_living(u64 t, u64 need) {
	u64 l = least(t);
	if (before(l, need) && free_the_dead(need)) l = least(t);
	return l;
}
// 0: full.
static int room_for(u64 e) {
	u64 need = e + 16 - size, floor, most = pos, to;
	if (!before(fr, need)) return 1;
	if (before(pos, need)) return 0;
	floor = at(FLOOR);
	if (floor & 7 || floor - fr > size || before(pos, floor)) corrupt("floor");
	if (before(floor, need)) {
		if (!overwrite && before(most = least_living(pos, need), need)) return 0;
		for (to = floor; to != pos;) {
			u64 next = to + record(ld64(word(to)));
			if (before(pos, next)) corrupt("a record over the end");
			if (!before(to, need) && (before(most, next) || before(need + size / 16, next))) break;
			to = next;
		}
		put(FLOOR, floor = to);
		fence();
	}
	if (!overwrite && before(most = least(pos), floor)) floor = most;
	if (before(fr, floor)) put(FREED, fr = floor);
	return !before(fr, need);
}
static int room(void) { return state() || !before(least(pos), want); }

static void publish(const char *msg, u64 n) {
	if (n > size - 32) die("too large");
	for (;;) {
		lock(ctl + LOCK);
		resume();
		if (state()) break;
		if (room_for(pos + 16 + pad(n))) break;
		unlock(ctl + LOCK);
		want = pos + 16 + pad(n) + 16 - size;
		__atomic_add_fetch((u64 *)(ctl + ROOM_SLEEPS), 1, SC);
		sleep_until(ctl + ROOM, room, 50 * MS);
	}
	u64 next = pos + 16 + pad(n);
	if (!state()) {
		put_word(next, 0); // I1, for after the commit
		put_word(next + 8, number + 1);
		for (u64 i = 0; i < n; i += 8) {
			u64 w = 0;
			memcpy(&w, msg + i, n - i < 8 ? n - i : 8);
			put_word(pos + 16 + i, w);
		}
	}
	step();
	st32(ctl + BUSY, 1);
	fence();
	if (state()) {
		st32(ctl + BUSY, 0);
		wake(ctl + PUBLISHED, INT32_MAX);
		unlock(ctl + LOCK);
		die("closed");
	}
	put_word(pos, header(n, number)); // the commit
	put(TAIL, next);
	put(BYTES, at(BYTES) + n);
	step();
	st32(ctl + BUSY, 0);
	wake(ctl + PUBLISHED, INT32_MAX);
	unlock(ctl + LOCK);
}

// Section 23.2: a subscriber.
static u8 *mine;
static u64 c, k;

static void claim_slot(void) {
	for (int of_dead = 0; of_dead < 2; of_dead++)
		for (u64 i = 0; i < subscribers; i++) {
			u32 t = ld32(slot_at(i)), u;
			if (t && !(of_dead && dead(t & ~W))) continue;
			while ((u = ld32(ctl + IN_USE)) <= i) cas32(ctl + IN_USE, u, (u32)i + 1);
			if (!cas32(slot_at(i), t, me | W)) continue;
			mine = slot_at(i);
			st64(mine + S_MISSED, 0);
			st64(mine + S_SINCE, NOW);
			return;
		}
	die("full");
}
static int passed(void) { return before(c, at(FLOOR)); }

// One attempt: 0 if a publisher was faster.
static int join_at(u64 last) {
	c = at(last ? FLOOR : TAIL);
	u64 tail = at(TAIL);
	st64(mine + S_CURSOR, c);
	st32(mine, me);
	fence();
	if (passed()) return 0;
	if (c & 7 || tail & 7 || tail - c > size) corrupt("positions");
	k = ld64(word(c + 8));
	for (u64 there = ld64(word(tail + 8)) - k; last && there > last && c != tail; there--) {
		u64 h = ld64(word(c));
		if (overwrite && passed()) return 0;
		c += record(h);
		k++;
		if (before(tail, c)) corrupt("a record over the tail");
	}
	if (overwrite && passed()) return 0;
	st64(mine + S_CURSOR, c);
	st64(mine + S_NUMBER, k);
	return 1;
}
static void subscribe(u64 last) {
	claim_slot();
	while (!join_at(last)) {}
	st64(mine + S_FIRST, k);
	wake(ctl + ROOM, INT32_MAX);
}
static void lagged(void) {
	u64 f, n;
	do {
		f = at(FLOOR);
		n = ld64(word(f + 8)) - k;
	} while (at(FLOOR) != f);
	if (n < 1 || n > (f - c) / 16) corrupt("numbers");
	st64(mine + S_MISSED, ld64(mine + S_MISSED) + n);
	c = f, k += n;
	st64(mine + S_CURSOR, c);
	st64(mine + S_NUMBER, k);
	printf("lagged %llu\n", (unsigned long long)n);
}
// Section 8.3, with the publisher lock and our own position.
static int ended(void) {
	if (!(state() & CLOSED)) return 0;
	heavy_fence();
	if (ld32(ctl + BUSY)) {
		if (!try_lock(ctl + LOCK)) return 0;
		resume();
		unlock(ctl + LOCK);
	}
	return ld64(word(c)) == 0 && !(overwrite && passed());
}
static int something(void) {
	return ld64(word(c)) || (overwrite && passed()) || state() & REMOVED || (state() & CLOSED && !ld32(ctl + BUSY));
}
// 1: a message was printed; 0: the topic has ended.
static int receive(void) {
	static u8 *buf;
	if (!buf && !(buf = malloc(size + 8))) die("no memory");
	for (;;) {
		if (state() & REMOVED) die("removed");
		if (ld32(mine) != me) corrupt("our slot");
		u64 h = ld64(word(c));
		if (overwrite && passed()) { lagged(); continue; }
		if (h == 0) {
			if (ended()) return 0;
			__atomic_add_fetch((u64 *)(ctl + PUBLISHED_SLEEPS), 1, SC);
			sleep_until(ctl + PUBLISHED, something, (state() & CLOSED ? 50 : 250) * MS);
			continue;
		}
		u64 all = record(h), n = h & 0xffffffff;
		if (h >> 40 != (k & 0xffffff)) corrupt("a record's number");
		for (u64 i = 0; i < n; i += 8) {
			u64 w = ld64(word(c + 16 + i));
			memcpy(buf + i, &w, 8);
		}
		if (overwrite && passed()) { lagged(); continue; }
		body_of(buf, h);
		c += all, k++;
		st64(mine + S_CURSOR, c); // the commit
		st64(mine + S_NUMBER, k);
		if (!overwrite) wake(ctl + ROOM, INT32_MAX);
		print_message(buf, h);
		return 1;
	}
}

int main(int argc, char **argv) {
	open_topic(start(argc, argv), argv[3]);
	const char *cmd = argv[4];
	long n = argc > 5 ? strtol(argv[5], NULL, 10) : 0;
	if (!strcmp(cmd, "publish")) {
		const char *pair = argc > 5 && strchr(argv[5], '=') ? argv[5] : NULL;
		if (argc > 5 && !pair) steps_left = n;
		char *line = NULL;
		size_t room_for_line = 0;
		for (ssize_t len; (len = getline(&line, &room_for_line, stdin)) > 0;) {
			u64 all = (u64)len - (line[len - 1] == '\n');
			const char *msg = pair ? enveloped(pair, line, all, &all) : line;
			publish(msg, all);
		}
		puts("published");
	} else if (!strncmp(cmd, "subscribe", 9) || !strcmp(cmd, "hold")) {
		show = !strcmp(cmd, "subscribe-with");
		subscribe(argc > 6 ? strtoull(argv[6], NULL, 10) : 0);
		puts("subscribed");
		fflush(stdout);
		for (long i = 0; (n == 0 ? *cmd == 's' : i < n) && receive(); i++) {}
		if (*cmd == 'h') forever("held");
		st32(mine, 0); // leave
		wake(ctl + ROOM, INT32_MAX);
	} else if (!strcmp(cmd, "close")) {
		__atomic_or_fetch((u32 *)(ctl + 128), CLOSED, SC);
		wake(ctl + PUBLISHED, INT32_MAX);
		wake(ctl + ROOM, INT32_MAX);
		futex_wake(ctl + LOCK, INT32_MAX);
	} else die("what is %s?", cmd);
	return leave();
}
