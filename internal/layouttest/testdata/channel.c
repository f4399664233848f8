// A client of shiplap channels of bytes, written from docs/layout.md alone. The section of that page that a
// function follows stands before it.
//
//	channel BASE DOMAIN CHANNEL send SIDE          lines of stdin become messages; "gone" if nobody takes them
//	channel BASE DOMAIN CHANNEL receive SIDE N     N messages become lines (0: all); then "closed" or "died", if the other side is
//	channel BASE DOMAIN CHANNEL hold SIDE          open it, then sleep
#include "ring.h"

enum { RINGS = 4096, OPENS = 5632, LOST = 5636, NEXT_SIDE = 64, HANDLES_USED = 5888, HANDLES = 8192, AREAS = 16384 }; // section 24

static int side, other;

static void open_channel(int dir, const char *name) {
	u64 *p = open_object(dir, name, 14, "bytes");
	size = p[0], hdr = 8;
	if (size < 4096 || size > (u64)1 << 36 || size & (size - 1) || AREAS + 2 * size != file_size) corrupt("area");
}
// Side A, 0, puts into ring 0 and takes from ring 1; B the other way round.
static void use_ring(int i) {
	ring = ctl + RINGS + 768 * i;
	area = ctl + AREAS + size * (u64)i;
}
static u8 *opens(int s) { return ctl + OPENS + NEXT_SIDE * s; }
static u8 *lost(int s) { return ctl + LOST + NEXT_SIDE * s; }

// Section 13.
static u8 *entry(int i) { return ctl + HANDLES + 8 * i; }
static int is_used(int i) { return ld64(ctl + HANDLES_USED + i / 64 * 8) >> (i % 64) & 1; }
static u32 handles(u64 e, int s) { return (u32)(e >> 32) >> 16 * s & 0xffff; }
static void change_own(int by) {
	u8 *w = ctl + HANDLES_USED + slot / 64 * 8;
	for (u64 v; !((v = ld64(w)) >> (slot % 64) & 1);) cas64(w, v, v | (u64)1 << (slot % 64));
	for (;;) {
		u64 v = ld64(entry(slot));
		u32 n = (u32)v == me ? (u32)(v >> 32) : 0;
		if (by > 0 && (n >> 16 * side & 0xffff) == 0xffff) die("too many handles");
		if (cas64(entry(slot), v, me | (u64)(n + (u32)by * (1u << 16 * side)) << 32)) return;
	}
}

// Section 24.
static void wake_all(void) {
	for (int i = 0; i < 2; i++) {
		wake(ctl + RINGS + 768 * i + NOT_EMPTY, INT32_MAX);
		wake(ctl + RINGS + 768 * i + NOT_FULL, INT32_MAX);
	}
}
static void open_side(void) {
	for (int i = 0; i < SLOTS; i++) {
		u64 v = is_used(i) ? ld64(entry(i)) : 0;
		if ((u32)v == 0 || (u32)v == me || !dead((u32)v)) continue;
		if (i == slot && handles(v, other)) st32(lost(other), ld32(opens(other)));
		while ((u32)(v = ld64(entry(i))) != me && handles(v, side) && !cas64(entry(i), v, v & ~((u64)0xffff << (32 + 16 * side)))) {}
	}
	change_own(1);
	wake_all();
	__atomic_add_fetch((u32 *)opens(side), 1, SC);
	wake_all();
}
static void close_side(void) {
	change_own(-1);
	wake_all();
}
// 0: the other side is held, or was never opened; 1: closed, 2: died.
static int look(void) {
	u32 n = ld32(opens(other));
	int died = ld32(lost(other)) == n;
	if (n == 0) return 0;
	for (int i = 0; i < SLOTS; i++) {
		u64 v = is_used(i) ? ld64(entry(i)) : 0;
		if (!handles(v, other)) continue;
		if (!dead((u32)v)) return 0;
		died = 1;
	}
	return 1 + died;
}

int main(int argc, char **argv) {
	open_channel(start(argc, argv), argv[3]);
	if (argc < 6) die("which side?");
	side = *argv[5] == 'B', other = !side;
	peer_gone = look;
	open_side();
	const char *cmd = argv[4];
	if (!strcmp(cmd, "send")) {
		use_ring(side);
		char *line = NULL;
		size_t room_for = 0;
		ssize_t k;
		int there = 1;
		while (there && (k = getline(&line, &room_for, stdin)) > 0) there = put(line, (u64)k - (line[k - 1] == '\n'), NULL);
		if (!there) puts("gone");
	} else if (!strcmp(cmd, "receive")) {
		use_ring(other);
		puts("open");
		long n = argc > 6 ? strtol(argv[6], NULL, 10) : 0;
		int there = 1;
		for (long i = 0; there && (n == 0 || i < n); i++) there = get();
		if (!there) puts(look() == 2 ? "died" : "closed");
	} else if (!strcmp(cmd, "hold")) forever("open");
	else die("what is %s?", cmd);
	close_side();
	return leave();
}
