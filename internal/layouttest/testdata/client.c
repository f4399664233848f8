// A client of shiplap queues of bytes, written from docs/layout.md alone. The section of that page
// that a function follows stands before it.
//
//	client BASE DOMAIN QUEUE join                 join the domain, then sleep
//	client BASE DOMAIN QUEUE put                  lines of stdin become messages
//	client BASE DOMAIN QUEUE put KEY=VALUE        the same, with an envelope before each
//	client BASE DOMAIN QUEUE get-with N, receive-with N   get and receive, with envelopes before the messages, as "key=value "
//	client BASE DOMAIN QUEUE get N [consumer]     N messages become lines (0: until closed and drained); then hold
//	client BASE DOMAIN QUEUE receive N            the same with acknowledgement, each preceded by its count
//	client BASE DOMAIN QUEUE lease N              receive without acknowledging, then sleep
//	client BASE DOMAIN QUEUE nack N               receive and give back
//	client BASE DOMAIN QUEUE hold producer|consumer   take a lock, then sleep
//	client BASE DOMAIN QUEUE die PLACE TEXT       put TEXT, SIGKILL oneself at PLACE: before, busy, commit, tail
//	client BASE DOMAIN QUEUE close                no more puts
#include "ring.h"

// Section 10.
static void open_queue(int dir, const char *name) {
	u64 *param = open_object(dir, name, 1, "bytes");
	size = param[0];
	if (size < 4096 || size > (u64)1 << 36 || size & (size - 1) || CTL + size != file_size) corrupt("area");
	if (param[1] > 1) die("incompatible: acknowledgement");
	hdr = param[1] ? 16 : 8;
	ring = ctl + PAGE;
	area = ctl + CTL;
}

// Section 9.
struct lease { u64 pos, h, count; };
static u64 head, cur;
static int others; // a living member holds a record

static void resume_taking(void) {
	head = ld64(ring + TAKEN);
	cur = ld64(ring + CURSOR);
	if (cur - head > size) cur = head;
	check(head, cur);
}
static int give(u64 pos, u64 h, u64 st, struct lease *l) {
	u64 count = (st >> 8 & 0xffffff) + 1;
	if (count > 0xffffff) count = 0xffffff;
	if (!cas64(word(pos + 8), st, 1 | count << 8 | (u64)me << 32)) { // the commit
		st32(ring + AGAIN, 1);
		return 0;
	}
	st64(ring + LEASES, ld64(ring + LEASES) + 1);
	if (count > 1) st64(ring + REPEATS, ld64(ring + REPEATS) + 1);
	*l = (struct lease){pos, h, count};
	return 1;
}
static int scan(int of_dead, struct lease *l) {
	others = 0;
	for (u64 pos = head; pos != cur;) {
		u64 h = ld64(word(pos)), n = h ? record(h) : 0;
		if (!h || pos + n - head > cur - head) corrupt("the cursor");
		u64 st = ld64(word(pos + 8));
		int leased = (st & 0xff) == 1, gone = leased && of_dead && dead((u32)(st >> 32));
		if (((st & 0xff) == 0 || gone) && give(pos, h, st, l)) return 1;
		if (leased && (u32)(st >> 32) != me) others = 1;
		pos += n;
	}
	return 0;
}
static int reclaim_locked(void) {
	resume_taking();
	int n = 0;
	u64 gets = ld64(ring + GETS);
	for (; head != cur; n++) {
		u64 h = ld64(word(head));
		if (!h || (ld64(word(head + 8)) & 0xff) != 2) break;
		if (record(h) > cur - head) corrupt("the cursor");
		gets = number(gets, h);
		st64(ring + TAKEN, head += record(h)); // each a commit
	}
	if (n > 0) { st64(ring + GETS, gets); wake(ring + NOT_FULL, n); }
	return n;
}
static int try_reclaim(void) {
	if (!try_lock(ring + CLOCK)) return 0;
	int n = reclaim_locked();
	unlock(ring + CLOCK);
	return n;
}
static int take(struct lease *l) {
	resume_taking();
	if (ld32(ring + AGAIN)) {
		st32(ring + AGAIN, 0);
		if (scan(0, l)) { st32(ring + AGAIN, 1); return 1; }
	}
	if (ld64(ring + LEASES) % 256 == 0 && scan(1, l)) return 1;
	for (u64 h; (h = ld64(word(cur))) != 0;) {
		u64 pos = cur, st = ld64(word(pos + 8));
		cur += record(h);
		if (cur - head > size) corrupt("no end");
		int ok = (st & 0xff) == 0 && give(pos, h, st, l);
		if (!ok) st32(ring + AGAIN, 1);
		st64(ring + CURSOR, cur);
		if (ok) return 1;
	}
	return scan(1, l);
}
static int ready(void) {
	u64 c = ld64(ring + CURSOR);
	if (ld32(ring + AGAIN) || c & 7 || ld64(word(c)) || state() & REMOVED) return 1;
	if (!(state() & CLOSED) || ld32(ring + BUSY)) return 0;
	u64 at = ld64(ring + TAKEN);
	return at == c || (!(at & 7) && ld64(word(at)) && (ld64(word(at + 8)) & 0xff) == 2);
}
static int receive(struct lease *l) {
	for (;;) {
		lock(ring + CLOCK);
		if (state() & REMOVED) die("removed");
		int ok = take(l), end = 0;
		if (!ok) { reclaim_locked(); end = head == cur && drained(cur); }
		unlock(ring + CLOCK);
		if (ok) return 1;
		if (end) return 0;
		sleep_until(ring + NOT_EMPTY, ready, bound(others));
	}
}
static void settle(struct lease l, int done) {
	u64 mine = 1 | l.count << 8 | (u64)me << 32;
	if (!cas64(word(l.pos + 8), mine, done ? 2 : l.count << 8)) die("not ours");
	if (!done) { st32(ring + AGAIN, 1); wake(ring + NOT_EMPTY, 1); return; }
	if (try_lock(ring + CLOCK)) { reclaim_locked(); unlock(ring + CLOCK); }
	else wake(ring + NOT_FULL, 1);
	if (state() & CLOSED) wake(ring + NOT_EMPTY, INT32_MAX);
}

static _Noreturn void hold(const char *side) {
	u8 *l = ring + (*side == 'p' ? PLOCK : CLOCK);
	lock(l);
	st64(l + SINCE, NOW);
	forever("held");
}

int main(int argc, char **argv) {
	int dir = start(argc, argv);
	const char *cmd = argv[4], *arg = argc > 5 ? argv[5] : "";
	show = !!strstr(cmd, "-with");
	if (!strcmp(cmd, "join")) forever("joined");
	open_queue(dir, argv[3]);
	if (hdr == 16) reclaim = try_reclaim;
	long n = strtol(arg, NULL, 10);
	struct lease l;
	if (!strcmp(cmd, "put")) {
		char *line = NULL;
		size_t room_for = 0;
		for (ssize_t k; (k = getline(&line, &room_for, stdin)) > 0;) {
			u64 len = (u64)k - (line[k - 1] == '\n');
			const char *msg = *arg ? enveloped(arg, line, len, &len) : line;
			put(msg, len, NULL);
		}
	} else if (!strncmp(cmd, "get", 3)) {
		for (long i = 0; (n == 0 || i < n) && get(); i++) {}
		if (argc > 6) hold(argv[6]);
	} else if (!strncmp(cmd, "receive", 7) || !strcmp(cmd, "lease") || !strcmp(cmd, "nack")) {
		for (long i = 0; (n == 0 || i < n) && receive(&l); i++) {
			fetch(l.pos, l.h);
			printf("%d ", (int)l.count);
			print(l.h);
			if (*cmd != 'l') settle(l, *cmd == 'r');
		}
		if (*cmd == 'l') forever("leased");
	} else if (!strcmp(cmd, "hold")) {
		hold(arg);
	} else if (!strcmp(cmd, "die") && argc > 6) {
		put(argv[6], strlen(argv[6]), arg);
	} else if (!strcmp(cmd, "close")) {
		__atomic_or_fetch((u32 *)(ctl + 128), CLOSED, SC);
		wake(ring + NOT_EMPTY, INT32_MAX);
		wake(ring + NOT_FULL, INT32_MAX);
	} else die("what is %s?", cmd);
	return leave();
}
