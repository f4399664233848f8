// A client of shiplap queues of bytes, written from docs/layout.md alone. The section of that page
// that a function follows stands before it.
//
//	client BASE DOMAIN QUEUE join                 join the domain, then sleep
//	client BASE DOMAIN QUEUE put                  lines of stdin become messages
//	client BASE DOMAIN QUEUE get N [consumer]     N messages become lines (0: until closed and drained); then hold
//	client BASE DOMAIN QUEUE receive N            the same with acknowledgement, each preceded by its count
//	client BASE DOMAIN QUEUE lease N              receive without acknowledging, then sleep
//	client BASE DOMAIN QUEUE nack N               receive and give back
//	client BASE DOMAIN QUEUE hold producer|consumer   take a lock, then sleep
//	client BASE DOMAIN QUEUE die PLACE TEXT       put TEXT, SIGKILL oneself at PLACE: before, busy, commit, tail
//	client BASE DOMAIN QUEUE close                no more puts
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "little-endian only");

enum { LAYOUT = 1, PAGE = 4096, SLOTS = 1024, SLOT = 128, MEMBERS = PAGE + SLOTS * SLOT, CTL = 8192 };
enum { REMOVED = 1, CLOSED = 2 };
#define W (1u << 31)
#define USER ((int64_t)1 << 40)
#define MS 1000000L

// Sections 6 and 8: of a lock record; of a ring's control words.
enum { RECOVERIES = 4, SINCE = 8 };
enum {
	PLOCK = 0, CLOCK = 128, NOT_EMPTY = 256, NOT_FULL = 384, TAIL = 512, PUTS = 520, BYTES = 528,
	BUSY = 552, TAKEN = 640, GETS = 648, CURSOR = 664, LEASES = 672, AGAIN = 680, REPEATS = 688,
};

static u8 *members, *ctl, *ring, *area;
static int members_fd, slot;
static u32 me;
static u64 size, hdr;

#define die(...) (fflush(stdout), fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(1))
#define corrupt(what) die("corrupt: %s", what)

// Section 1. Everything is sequentially consistent; that is more than enough.
#define SC __ATOMIC_SEQ_CST
static u32 ld32(u8 *p) { return __atomic_load_n((u32 *)p, SC); }
static u64 ld64(u8 *p) { return __atomic_load_n((u64 *)p, SC); }
static void st32(u8 *p, u32 v) { __atomic_store_n((u32 *)p, v, SC); }
static void st64(u8 *p, u64 v) { __atomic_store_n((u64 *)p, v, SC); }
static int cas32(u8 *p, u32 a, u32 b) { return __atomic_compare_exchange_n((u32 *)p, &a, b, 0, SC, SC); }
static int cas64(u8 *p, u64 a, u64 b) { return __atomic_compare_exchange_n((u64 *)p, &a, b, 0, SC, SC); }
static void fence(void) { __atomic_thread_fence(SC); }

// Section 7.2.
static void heavy_fence(void) {
	fence();
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) != 0)
		nanosleep(&(struct timespec){0, MS}, NULL);
}
static void futex_wait(u8 *w, u32 v, long ns) {
	fflush(stdout);
	syscall(SYS_futex, w, FUTEX_WAIT, v, &(struct timespec){0, ns}, NULL, 0);
}
static long futex_wake(u8 *w, int n) { return syscall(SYS_futex, w, FUTEX_WAKE, n, NULL, NULL, 0); }

// Section 2: locks on bytes.
static int ofd(int fd, int cmd, short type, int64_t off, int64_t n) {
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = off, .l_len = n};
	int r;
	while ((r = fcntl(fd, cmd, &l)) != 0 && errno == EINTR) {}
	if (r == 0) return cmd == F_OFD_GETLK ? l.l_type != F_UNLCK : 1;
	if (cmd == F_OFD_SETLK && (errno == EAGAIN || errno == EACCES)) return 0;
	die("fcntl: %s", strerror(errno));
}

// Section 2: opening.
static int open_checked(int dir, const char *name, int flags, mode_t type, struct stat *st) {
	int fd = openat(dir, name, flags | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, st) != 0) die("%s: %s", name, strerror(errno));
	if (st->st_uid != geteuid() || st->st_mode & 022 || (st->st_mode & S_IFMT) != type) die("%s is not to be trusted", name);
	return fd;
}
static int subdir(int dir, const char *name) {
	struct stat st;
	return open_checked(dir, name, O_RDONLY | O_DIRECTORY, S_IFDIR, &st);
}
static u8 *map(int fd, size_t n) {
	u8 *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) die("mmap: %s", strerror(errno));
	return p;
}

#define NOW ((u64)time(NULL) * 1000000000u)

// Section 3.1, steps 3 and 4.
static int claim(const char *command) {
	struct stat ns;
	for (int used = 0; used < 2; used++)
		for (slot = 0; slot < SLOTS; slot++) {
			u8 *s = members + PAGE + slot * SLOT;
			off_t alive = PAGE + slot * SLOT, claiming = alive + 64;
			if ((ld32(s + 4) != 0) != used || !ofd(members_fd, F_OFD_SETLK, F_WRLCK, claiming, 1)) continue;
			if (ofd(members_fd, F_OFD_GETLK, F_WRLCK, alive, 1)) {
				ofd(members_fd, F_OFD_SETLK, F_UNLCK, claiming, 1);
				continue;
			}
			u32 gen = (ld32(s) + 1) & 0x1fffff;
			if (gen == 0) gen = 1;
			st32(s + 4, 0);
			st32(s, gen);
			if (!ofd(members_fd, F_OFD_SETLK, F_WRLCK, alive, 1)) corrupt("lock of a member slot");
			st32(s + 8, (u32)getpid());
			st32(s + 12, geteuid());
			memset(s + 16, 0, SLOT - 16); // hints that this client does not give
			st64(s + 24, stat("/proc/self/ns/pid", &ns) == 0 ? ns.st_ino : 0);
			st64(s + 32, NOW);
			memcpy(s + 56, command, strlen(command) < 72 ? strlen(command) : 72);
			st32(s + 4, 1);
			ofd(members_fd, F_OFD_SETLK, F_UNLCK, claiming, 1);
			me = gen << 10 | (u32)slot;
			return 1;
		}
	return 0;
}
// Section 3.1.
static void join(int dir, const char *command) {
	for (;;) {
		struct stat st, now;
		members_fd = open_checked(dir, "#members", O_RDWR | O_NONBLOCK, S_IFREG, &st);
		if (st.st_size != MEMBERS) corrupt("size of #members");
		members = map(members_fd, MEMBERS);
		if (memcmp(members, "SHIPMEMB", 8) || ld32(members + 8) != LAYOUT || ld32(members + 12) != SLOTS) corrupt("#members");
		if (!claim(command)) die("the domain is full");
		if (fstatat(dir, "#members", &now, AT_SYMLINK_NOFOLLOW) == 0 && now.st_ino == st.st_ino && now.st_dev == st.st_dev) return;
		munmap(members, MEMBERS);
		close(members_fd);
	}
}

// Section 3.2.
static int dead(u32 t) {
	u32 s = t & 1023, gen = t >> 10 & 0x1fffff;
	if (t == me) return 0;
	if ((ld32(members + PAGE + s * SLOT) & 0x1fffff) != gen) return 1;
	return !ofd(members_fd, F_OFD_GETLK, F_WRLCK, PAGE + s * SLOT, 1);
}

// Sections 5.2 and 10.
static void open_queue(int dir, const char *name) {
	static _Alignas(8) u8 h[PAGE];
	struct stat st;
	int fd = open_checked(dir, name, O_RDWR | O_NONBLOCK, S_IFREG, &st);
	while (!ofd(fd, F_OFD_SETLK, F_RDLCK, USER + slot, 1)) nanosleep(&(struct timespec){0, MS}, NULL);
	if (pread(fd, h, PAGE, 0) != PAGE || memcmp(h, "SHIPLAP", 8) || ld32(h + 8) != LAYOUT) corrupt("header");
	if (ld64(h + 16) != (u64)st.st_size) corrupt("size");
	if (ld32(h + 24) & ~1u) die("unknown flags");
	if (ld32(h + 128) & REMOVED) die("removed");
	if (ld32(h + 12) != 1) die("incompatible: not a queue");
	if (ld32(h + 56) != 5 || memcmp(h + 2048, "bytes", 5)) die("incompatible: not of bytes");
	if (ld64(h + 48) != 0x4fdf0b1cd9897027) corrupt("hash");
	size = ld64(h + 64);
	if (size < 4096 || size > (u64)1 << 36 || size & (size - 1) || CTL + size != (u64)st.st_size) corrupt("area");
	if (ld64(h + 72) > 1) die("incompatible: acknowledgement");
	hdr = ld64(h + 72) ? 16 : 8;
	ctl = map(fd, CTL + size);
	ring = ctl + PAGE;
	area = ctl + CTL;
}

// Section 6.
static int try_lock(u8 *l) {
	for (;;) {
		if (cas32(l, 0, me)) return 1;
		u32 v = ld32(l);
		if (v == 0) continue;
		if (!dead(v & ~W)) return 0;
		if (cas32(l, v, me | W)) break;
	}
	st64(l + SINCE, 0);
	__atomic_add_fetch((u32 *)(l + RECOVERIES), 1, SC);
	return 1;
}
static void lock(u8 *l) {
	if (cas32(l, 0, me)) return;
	for (long bound = MS;;) {
		u32 v = ld32(l);
		if (v == 0) {
			if (cas32(l, 0, me | W)) return;
			bound = MS;
			continue;
		}
		if (dead(v & ~W)) { if (try_lock(l)) return; continue; }
		if (!(v & W)) { if (!cas32(l, v, v | W)) continue; v |= W; }
		futex_wait(l, v, bound);
		bound = 2 * bound < 90 * MS ? 2 * bound : 90 * MS;
	}
}
static void unlock(u8 *l) {
	if (__atomic_exchange_n((u32 *)l, 0, SC) & W) futex_wake(l, 1);
}

// Section 7.1. The fence is the one of 7.2.
static void wake(u8 *e, int n) {
	fence();
	u32 v = ld32(e);
	if (!(v & 1) || futex_wake(e, n) == n) return;
	if (cas32(e, v, (v | 1) + 1)) futex_wake(e, INT32_MAX);
}
static void sleep_until(u8 *e, int (*c)(void), long bound) {
	if (c()) return;
	u32 v = ld32(e);
	while (!(v & 1) && !cas32(e, v, v | 1)) v = ld32(e);
	heavy_fence();
	if (!c()) futex_wait(e, v | 1, bound);
}

// Section 8: positions and records.
static u32 state(void) { return ld32(ctl + 128); }
static u8 *word(u64 pos) { return area + (pos & (size - 1)); }
static u64 record(u64 h) {
	u64 n = hdr + (((h & 0xffffffff) + 7) & ~(u64)7);
	if ((h >> 32 & 0xff) != 1 || n + 8 > size) corrupt("record header");
	return n;
}
static u64 number(u64 near, u64 h) {
	u64 d = ((h >> 40) - near) & 0xffffff;
	return d > 0x7fffff ? near + d - 0x1000000 : near + d;
}
static void check(u64 from, u64 to) {
	if (from & 7 || to & 7 || to - from > size) corrupt("positions");
}
static void copy_in(u64 pos, const void *p, u64 n) {
	u64 off = pos & (size - 1), k = n < size - off ? n : size - off;
	memcpy(area + off, p, k);
	memcpy(area, (const u8 *)p + k, n - k);
}
static u8 *buf;
static void fetch(u64 pos, u64 h) {
	u64 n = h & 0xffffffff, off = (pos + hdr) & (size - 1), k = n < size - off ? n : size - off;
	if (!buf && !(buf = malloc(size))) die("no memory");
	memcpy(buf, area + off, k);
	memcpy(buf + k, area, n - k);
}
static void print(u64 h) { fwrite(buf, 1, h & 0xffffffff, stdout), putchar('\n'); }

// Section 8.1.
static u64 p_pos, p_puts, p_taken, p_want;

static void resume(void) {
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
static int reclaim_locked(void);
static int room(void) { return p_pos + p_want - ld64(ring + TAKEN) <= size || state(); }
static void maybe_die(const char *at, const char *here) {
	if (at && !strcmp(at, here)) kill(getpid(), SIGKILL);
}

static void put(const void *msg, u64 n, const char *at) {
	u64 need = hdr + ((n + 7) & ~(u64)7);
	if (need + 8 > size) die("too large");
	for (;;) {
		lock(ring + PLOCK);
		resume();
		if (p_pos + need + 8 - p_taken <= size) break;
		unlock(ring + PLOCK);
		if (state()) die(state() & REMOVED ? "removed" : "closed");
		int freed = 0;
		if (hdr == 16 && try_lock(ring + CLOCK)) { freed = reclaim_locked(); unlock(ring + CLOCK); }
		p_want = need + 8;
		if (!freed) sleep_until(ring + NOT_FULL, room, 250 * MS);
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
	st64(word(p_pos), n | (u64)1 << 32 | (p_puts + 1) << 40); // the commit
	maybe_die(at, "commit");
	st64(ring + TAIL, p_pos + need);
	maybe_die(at, "tail");
	st64(ring + PUTS, p_puts + 1);
	st64(ring + BYTES, ld64(ring + BYTES) + n);
	st32(ring + BUSY, 0);
	wake(ring + NOT_EMPTY, 1);
	unlock(ring + PLOCK);
}

// Section 8.3: 1 when nothing will ever come.
static int drained(u64 t) {
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
static long bound(int look) { return (look || state() & CLOSED ? 50 : 250) * MS; }

// Section 8.2: 0 when the queue is closed and drained.
static int some(void) {
	u64 t = ld64(ring + TAKEN);
	return t & 7 || ld64(word(t)) || state() & REMOVED || (state() & CLOSED && !ld32(ring + BUSY));
}
static int get(void) {
	for (;;) {
		u64 t = ld64(ring + TAKEN), h;
		check(t, t);
		if (ld64(word(t)) == 0) {
			if (drained(t)) return 0;
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
static struct lease give(u64 pos, u64 h, u64 st) {
	u64 count = (st >> 8 & 0xffffff) + 1;
	if (count > 0xffffff) count = 0xffffff;
	st64(word(pos + 8), 1 | count << 8 | (u64)me << 32); // the commit
	st64(ring + LEASES, ld64(ring + LEASES) + 1);
	if (count > 1) st64(ring + REPEATS, ld64(ring + REPEATS) + 1);
	return (struct lease){pos, h, count};
}
static int scan(int of_dead, struct lease *l) {
	others = 0;
	for (u64 pos = head; pos != cur;) {
		u64 h = ld64(word(pos)), n = h ? record(h) : 0;
		if (!h || pos + n - head > cur - head) corrupt("the cursor");
		u64 st = ld64(word(pos + 8));
		int leased = (st & 0xff) == 1, gone = leased && of_dead && dead((u32)(st >> 32));
		if ((st & 0xff) == 0 || gone) { *l = give(pos, h, st); return 1; }
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
		if ((st & 0xff) == 0) *l = give(pos, h, st);
		else st32(ring + AGAIN, 1);
		st64(ring + CURSOR, cur);
		if ((st & 0xff) == 0) return 1;
	}
	return scan(1, l);
}
static int ready(void) {
	u64 c = ld64(ring + CURSOR);
	return ld32(ring + AGAIN) || c & 7 || ld64(word(c)) || state() & REMOVED ||
	       (state() & CLOSED && ld64(ring + TAKEN) == c && !ld32(ring + BUSY));
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

static _Noreturn void forever(const char *say) {
	puts(say);
	fflush(stdout);
	for (;;) pause();
}

static _Noreturn void hold(const char *side) {
	u8 *l = ring + (*side == 'p' ? PLOCK : CLOCK);
	lock(l);
	st64(l + SINCE, NOW);
	forever("held");
}

int main(int argc, char **argv) {
	if (argc < 5) die("usage: client BASE DOMAIN QUEUE COMMAND ...");
	const char *cmd = argv[4], *arg = argc > 5 ? argv[5] : "";
	char uid[32];
	snprintf(uid, sizeof uid, "shiplap-%u", geteuid());
	if (strpbrk(argv[2], "%/#.") || strpbrk(argv[3], "%/#.")) die("no names that need escaping, please");
	int dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) die("%s: %s", argv[1], strerror(errno));
	dir = subdir(subdir(subdir(dir, uid), "v1"), argv[2]);
	join(dir, argv[0]);
	if (!strcmp(cmd, "join")) forever("joined");
	open_queue(dir, argv[3]);
	long n = strtol(arg, NULL, 10);
	struct lease l;
	if (!strcmp(cmd, "put")) {
		char *line = NULL;
		size_t room_for = 0;
		for (ssize_t k; (k = getline(&line, &room_for, stdin)) > 0;) put(line, (u64)k - (line[k - 1] == '\n'), NULL);
	} else if (!strcmp(cmd, "get")) {
		for (long i = 0; (n == 0 || i < n) && get(); i++) {}
		if (argc > 6) hold(argv[6]);
	} else if (!strcmp(cmd, "receive") || !strcmp(cmd, "lease") || !strcmp(cmd, "nack")) {
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
	fflush(stdout);
	st32(members + PAGE + slot * SLOT + 4, 0); // leaving, section 3.1
	return 0;
}
