// The limit: a hash table of fixed places in shared memory, a sequence number in each. Nothing grows, nothing is ever deleted, and
// a writer that is killed in the middle leaves its place unusable for ever.
#include <stdatomic.h>

enum { DEPTH = 1, PLACES = 1 << 18 };

struct place {
  _Alignas(64) _Atomic uint64_t seq; // 0: free; odd: being written
  char key[KEYLEN];
  unsigned char value[VALUELEN];
};

static struct place *places;

static void store_open(const char *where, int loader) {
  int fd = open(where, O_RDWR | O_CREAT, 0600);
  if (fd < 0 || loader && ftruncate(fd, PLACES * sizeof *places)) fail("%s: %s", where, strerror(errno));
  places = mmap(NULL, PLACES * sizeof *places, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (places == MAP_FAILED) fail("%s: %s", where, strerror(errno));
  close(fd);
}

// find returns the place of a key, or a free one.
static struct place *find(const char *key) {
  uint64_t a, b;
  memcpy(&a, key, 8);
  memcpy(&b, key + 8, 8);
  uint64_t h = (a ^ 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;
  h = (h ^ h >> 32 ^ b) * 0xc4ceb9fe1a85ec53u;
  for (h >>= 64 - 18;; h = (h + 1) % PLACES) {
    struct place *p = places + h;
    if (!atomic_load_explicit(&p->seq, memory_order_acquire) || !memcmp(p->key, key, KEYLEN)) return p;
  }
}

static void store_do(struct op *op, int n) {
  for (int i = 0; i < n; i++) {
    struct place *p = find(op[i].key);
    uint64_t seq = atomic_load_explicit(&p->seq, memory_order_acquire);
    if (op[i].set) {
      while (seq & 1 || !atomic_compare_exchange_weak_explicit(&p->seq, &seq, seq + 1, memory_order_acquire, memory_order_relaxed))
        seq = atomic_load_explicit(&p->seq, memory_order_relaxed);
      atomic_thread_fence(memory_order_release);
      memcpy(p->key, op[i].key, KEYLEN);
      memcpy(p->value, op[i].value, VALUELEN);
      atomic_store_explicit(&p->seq, seq + 2, memory_order_release);
      continue;
    }
    if (!seq) fail("the key %.16s is missing", op[i].key);
    for (;; seq = atomic_load_explicit(&p->seq, memory_order_acquire)) {
      if (seq & 1) continue;
      memcpy(op[i].value, p->value, VALUELEN);
      atomic_thread_fence(memory_order_acquire);
      if (atomic_load_explicit(&p->seq, memory_order_relaxed) == seq) break;
    }
  }
}

static long store_count(void) {
  long n = 0;
  for (int i = 0; i < PLACES; i++) n += atomic_load_explicit(&places[i].seq, memory_order_relaxed) != 0;
  return n;
}

static void store_close(void) { munmap(places, PLACES * sizeof *places); }
