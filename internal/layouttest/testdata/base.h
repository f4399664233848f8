// What clients of all kinds need, written from docs/layout.md alone. The section of that page that a
// function follows stands before it.
#pragma once
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

enum { LAYOUT = 2, PAGE = 4096, SLOTS = 1024, SLOT = 128, MEMBERS = PAGE + SLOTS * SLOT, CTL = 8192 };
enum { REMOVED = 1, CLOSED = 2 };
#define W (1u << 31)
#define USER ((int64_t)1 << 40)
#define MS 1000000L

enum { RECOVERIES = 4, SINCE = 8, DAMAGED = 28 }; // of a lock record, section 6

static u8 *members, *ctl; // ctl: the object's file
static int members_fd, slot, object_fd, domain_fd;
static u32 me;
static u64 file_size;

#define die(...) (fflush(stdout), fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(1))
#define corrupt(what) die("corrupt: %s", what)

// Section 1. Everything is sequentially consistent; that is more than enough.
#define SC __ATOMIC_SEQ_CST
static inline u32 ld32(u8 *p) { return __atomic_load_n((u32 *)p, SC); }
static inline u64 ld64(u8 *p) { return __atomic_load_n((u64 *)p, SC); }
static inline void st32(u8 *p, u32 v) { __atomic_store_n((u32 *)p, v, SC); }
static inline void st64(u8 *p, u64 v) { __atomic_store_n((u64 *)p, v, SC); }
static inline int cas32(u8 *p, u32 a, u32 b) { return __atomic_compare_exchange_n((u32 *)p, &a, b, 0, SC, SC); }
static inline int cas64(u8 *p, u64 a, u64 b) { return __atomic_compare_exchange_n((u64 *)p, &a, b, 0, SC, SC); }
static inline void fence(void) { __atomic_thread_fence(SC); }

// Section 7.2.
static inline void heavy_fence(void) {
	fence();
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) != 0)
		nanosleep(&(struct timespec){0, MS}, NULL);
}
static inline void futex_wait(u8 *w, u32 v, long ns) {
	fflush(stdout);
	syscall(SYS_futex, w, FUTEX_WAIT, v, &(struct timespec){0, ns}, NULL, 0);
}
static inline long futex_wake(u8 *w, int n) { return syscall(SYS_futex, w, FUTEX_WAKE, n, NULL, NULL, 0); }

// Section 2: locks on bytes.
static inline int ofd(int fd, int cmd, short type, int64_t off, int64_t n) {
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = off, .l_len = n};
	int r;
	while ((r = fcntl(fd, cmd, &l)) != 0 && errno == EINTR) {}
	if (r == 0) return cmd == F_OFD_GETLK ? l.l_type != F_UNLCK : 1;
	if (cmd == F_OFD_SETLK && (errno == EAGAIN || errno == EACCES)) return 0;
	die("fcntl: %s", strerror(errno));
}

// Section 2: opening.
static inline int open_checked(int dir, const char *name, int flags, mode_t type, struct stat *st) {
	int fd = openat(dir, name, flags | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, st) != 0) die("%s: %s", name, strerror(errno));
	if (st->st_uid != geteuid() || st->st_mode & 022 || (st->st_mode & S_IFMT) != type) die("%s is not to be trusted", name);
	return fd;
}
static inline int subdir(int dir, const char *name) {
	struct stat st;
	return open_checked(dir, name, O_RDONLY | O_DIRECTORY, S_IFDIR, &st);
}
static inline u8 *map(int fd, size_t n) {
	u8 *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) die("mmap: %s", strerror(errno));
	return p;
}

#define NOW ((u64)time(NULL) * 1000000000u)

// Section 3.1, steps 3 and 4.
static inline int claim(const char *command) {
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
static inline void join(int dir, const char *command) {
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
static inline int dead(u32 t) {
	u32 s = t & 1023, gen = t >> 10 & 0x1fffff;
	if (t == me) return 0;
	if ((ld32(members + PAGE + s * SLOT) & 0x1fffff) != gen) return 1;
	return !ofd(members_fd, F_OFD_GETLK, F_WRLCK, PAGE + s * SLOT, 1);
}

// Sections 4 and 5.2; returns the params.
static inline u64 *open_object(int dir, const char *name, u32 kind, const char *desc) {
	static _Alignas(8) u8 h[PAGE];
	struct stat st;
	int fd = object_fd = open_checked(dir, name, O_RDWR | O_NONBLOCK, S_IFREG, &st);
	while (!ofd(fd, F_OFD_SETLK, F_RDLCK, USER + slot, 1)) nanosleep(&(struct timespec){0, MS}, NULL);
	if (pread(fd, h, PAGE, 0) != PAGE || memcmp(h, "SHIPLAP", 8) || ld32(h + 8) != LAYOUT) corrupt("header");
	file_size = (u64)st.st_size;
	if (ld64(h + 16) != file_size) corrupt("size");
	if (ld32(h + 24) & ~1u) die("unknown flags");
	if (ld32(h + 128) & REMOVED) die("removed");
	if (ld32(h + 12) != kind) die("incompatible: of kind %u", ld32(h + 12));
	if (ld32(h + 56) != strlen(desc) || memcmp(h + 2048, desc, strlen(desc))) die("incompatible: not of %s", desc);
	if (ld64(h + 48) != (*desc ? 0x4fdf0b1cd9897027 : 0)) corrupt("hash"); // that of bytes, section 27
	ctl = map(fd, file_size);
	return (u64 *)(h + 64);
}
static inline u32 state(void) { return ld32(ctl + 128); }

// Section 6.
static int recovered; // the last lock that was taken was a dead one's
static inline int take_over(u8 *l, u32 v) {
	if (!cas32(l, v, me | W)) return 0;
	st64(l + SINCE, 0);
	__atomic_add_fetch((u32 *)(l + RECOVERIES), 1, SC);
	return recovered = 1;
}
static inline int try_lock(u8 *l) {
	for (recovered = 0;;) {
		if (cas32(l, 0, me)) return 1;
		u32 v = ld32(l);
		if (v == 0) continue;
		if (!dead(v & ~W)) return 0;
		if (take_over(l, v)) return 1;
	}
}
static inline void lock(u8 *l) {
	recovered = 0;
	if (cas32(l, 0, me)) return;
	for (long bound = MS;;) {
		u32 v = ld32(l);
		if (v == 0) {
			if (cas32(l, 0, me | W)) return;
			bound = MS;
			continue;
		}
		if (dead(v & ~W)) {
			if (take_over(l, v)) return;
			continue;
		}
		if (!(v & W)) {
			if (!cas32(l, v, v | W)) continue;
			v |= W;
		}
		futex_wait(l, v, bound);
		bound = 2 * bound < 90 * MS ? 2 * bound : 90 * MS;
	}
}
static inline void unlock(u8 *l) {
	if (cas32(l, me, 0)) return;
	for (u32 v; ((v = ld32(l)) & ~W) == me;)
		if (cas32(l, v, 0)) {
			if (v & W) futex_wake(l, 1);
			return;
		}
	die("unlock: the lock is not ours");
}

// Section 7.1: rings for up to n sleepers that have entries. SIGPIPE is ignored, see start.
static inline int ring_one(u32 token, u32 ticket, u32 k) {
	char name[32];
	struct stat st;
	u64 msg = ticket | (u64)k << 32;
	snprintf(name, sizeof name, "#bell.%u", token & 1023);
	int fd = openat(domain_fd, name, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) return 0; // its owner is gone, or no process reads it
	int told = fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) && st.st_uid == geteuid() && !dead(token) &&
		(write(fd, &msg, 8) == 8 || errno == EAGAIN);
	close(fd);
	return told;
}
static inline int ring_bells(u8 *e, int n) {
	int woken = 0;
	for (int i = 0; i < 14 && woken < n; i++)
		for (int again = 0; again < 100; again++) {
			u64 v = ld64(e + 16 + 8 * i), count = v >> 56, k = count < (u64)(n - woken) ? count : (u64)(n - woken);
			if (k == 0) break;
			if (!cas64(e + 16 + 8 * i, v, k == count ? 0 : v - (k << 56))) continue;
			if (ring_one((u32)v, v >> 32 & 0xffffff, k)) woken += k;
			break;
		}
	return woken;
}

// Section 7.1. The fence is the one of 7.2.
static inline void wake(u8 *e, int n) {
	static int turn, quiet;
	fence();
	u32 v = ld32(e);
	if (!(v & 3)) {
		if (v & 4 && ++quiet % 500 == 0) cas32(e, v, v & ~12u);
		return;
	}
	int first = (v & 3) == 3 && turn++ & 1;
	if (first) n -= futex_wake(e, n);
	if (v & 2 && n > 0) n -= ring_bells(e, n);
	if (v & 1 && !first && n > 0) n -= futex_wake(e, n);
	if (n == 0 || !cas32(e, v, (v & ~3u) + 16)) return;
	if (v & 1) futex_wake(e, INT32_MAX);
	if (v & 2) ring_bells(e, INT32_MAX);
}
static inline u32 announce_sleeper(u8 *e, u32 bit) {
	for (;;) {
		u32 v = ld32(e);
		if (v & 8) {
			if (v & bit || cas32(e, v, v | bit)) return v | bit;
			continue;
		}
		if (!cas32(e, v, v | bit | 4)) continue;
		v |= bit | 4;
		heavy_fence();
		return cas32(e, v, v | 8) ? v | 8 : v;
	}
}
static inline void sleep_until(u8 *e, int (*c)(void), long bound) {
	if (c()) return;
	u32 v = announce_sleeper(e, 1);
	if (!c()) futex_wait(e, v, bound);
}

static inline _Noreturn void forever(const char *say) {
	puts(say);
	fflush(stdout);
	for (;;) pause();
}

// For tests: SIGKILL oneself instead of the store of that number.
static long steps_left = -1;
static inline void step(void) {
	if (steps_left >= 0 && steps_left-- == 0) kill(getpid(), SIGKILL);
}

// arguments are BASE DOMAIN OBJECT COMMAND; joins the domain and returns its directory.
static inline int start(int argc, char **argv) {
	if (argc < 5) die("usage: %s BASE DOMAIN OBJECT COMMAND ...", argv[0]);
	char uid[32];
	snprintf(uid, sizeof uid, "shiplap-%u", geteuid());
	if (strpbrk(argv[2], "%/#.") || strpbrk(argv[3], "%/#.")) die("no names that need escaping, please");
	int dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) die("%s: %s", argv[1], strerror(errno));
	dir = subdir(subdir(subdir(dir, uid), "v2"), argv[2]);
	domain_fd = dir;
	signal(SIGPIPE, SIG_IGN);
	join(dir, argv[0]);
	return dir;
}
static inline int leave(void) { // section 3.1
	fflush(stdout);
	st32(members + PAGE + slot * SLOT + 4, 0);
	return 0;
}
