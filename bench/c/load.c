// A client of the load: the same for every store written or reached in C, as client.go is for Shiplap.
//
// Compiled with -DSTORE='"redis.c"' (or another one), which defines
//
//   DEPTH                                 how many operations are under way at a time
//   void store_open(const char *where, int loader)
//   void store_do(struct op *op, int n)   n is DEPTH, at most
//   long store_count(void)                how many keys there are
//   void store_close(void)
//
// It is told what to do by lines on standard input, and answers each with a line.
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { KEYS = 100000, KEYLEN = 16, VALUELEN = 64, LOOK = 32 };

struct op {
  int set;
  const char *key;
  unsigned char value[VALUELEN];
};

static void fail(const char *format, ...) {
  va_list args;
  va_start(args, format);
  printf("error ");
  vprintf(format, args);
  printf("\n");
  exit(1);
}

#include STORE

static char keys[KEYS][KEYLEN];

static void put64(unsigned char *to, uint64_t v) { memcpy(to, &v, 8); }
static uint64_t get64(const unsigned char *from) {
  uint64_t v;
  memcpy(&v, from, 8);
  return v;
}

// A value begins with the number of its key, and has its version behind that and at its end.
static void fill(unsigned char *v, uint64_t id, uint64_t version) {
  put64(v, id);
  put64(v + 8, version);
  put64(v + VALUELEN - 8, version);
}
static int good(const unsigned char *v, uint64_t id) { return get64(v) == id && get64(v + 8) == get64(v + VALUELEN - 8); }

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct op op[LOOK];

static void load(void) {
  for (int i = 0; i < KEYS;) {
    int n = 0;
    for (; n < DEPTH && i < KEYS; n++, i++) {
      op[n].set = 1;
      op[n].key = keys[i];
      fill(op[n].value, (uint64_t)i, 0);
    }
    store_do(op, n);
  }
  printf("ok\n");
}

// check reads all keys back: how many the store says it has, how many values are right, how many are not the loaded ones.
static void check(void) {
  long right = 0, changed = 0;
  for (int i = 0; i < KEYS;) {
    int first = i, n = 0;
    for (; n < DEPTH && i < KEYS; n++, i++) {
      op[n].set = 0;
      op[n].key = keys[i];
    }
    store_do(op, n);
    for (int j = 0; j < n; j++) {
      right += good(op[j].value, (uint64_t)(first + j));
      changed += get64(op[j].value + 8) != 0;
    }
  }
  printf("ok %ld %ld %ld\n", store_count(), right, changed);
}

static uint64_t version; // of the last value that this client has set, with the client's number at the top

// run carries out the draws of a file, again and again, from start to end, and counts from `from` on. A draw is the number of
// a key, and at the top whether to set it. The answer: gets, sets, how late the counting began, how long it was.
static void run(const char *path, uint64_t start, uint64_t from, uint64_t end) {
  int fd = open(path, O_RDONLY);
  struct stat st;
  if (fd < 0 || fstat(fd, &st)) fail("%s: %s", path, strerror(errno));
  size_t draws = (size_t)st.st_size / 4;
  const uint32_t *draw = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (draw == MAP_FAILED) fail("%s: %s", path, strerror(errno));
  close(fd);
  uint64_t gets = 0, sets = 0, begun = 0, t;
  size_t at = 0;
  while (now() < start) {
  }
  for (;;) {
    t = now();
    if (!begun && t >= from) {
      begun = t;
      gets = sets = 0;
    }
    if (t >= end) break;
    for (int k = 0; k < LOOK; k += DEPTH) {
      uint32_t d[DEPTH];
      for (int i = 0; i < DEPTH; i++) {
        d[i] = draw[at];
        if (++at == draws) at = 0;
        uint32_t id = d[i] & 0x7fffffff;
        op[i].key = keys[id];
        op[i].set = d[i] >> 31;
        if (op[i].set) {
          fill(op[i].value, id, ++version);
          sets++;
        } else {
          gets++;
        }
      }
      store_do(op, DEPTH);
      for (int i = 0; i < DEPTH; i++)
        if (!op[i].set && !good(op[i].value, d[i])) fail("key %u has a value that is torn, or another key's", d[i]);
    }
  }
  munmap((void *)draw, (size_t)st.st_size);
  printf("ok %llu %llu %llu %llu\n", (unsigned long long)gets, (unsigned long long)sets, (unsigned long long)(begun - from),
         (unsigned long long)(t - begun));
}

int main(int argc, char **argv) {
  if (argc != 3) return 2; // WHERE NUMBER
  char line[4096], path[4096];
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (int i = 0; i < KEYS; i++) {
    char k[KEYLEN + 1];
    snprintf(k, sizeof k, "k%015d", i);
    memcpy(keys[i], k, KEYLEN);
  }
  int number = atoi(argv[2]);
  version = (uint64_t)(number + 1) << 40;
  store_open(argv[1], number == 0);
  printf("ok\n");
  while (fgets(line, sizeof line, stdin)) {
    unsigned long long start, from, end;
    if (sscanf(line, "run %4095s %llu %llu %llu", path, &start, &from, &end) == 4) run(path, start, from, end);
    else if (!strcmp(line, "load\n")) load();
    else if (!strcmp(line, "check\n")) check();
    else fail("cannot %s", line);
  }
  store_close();
  return 0;
}
