// Redis over a Unix socket: one write for 32 operations, replies that are known by their length and so not parsed, no memory
// allocated. A client cannot cost much less.
#include <sys/socket.h>
#include <sys/un.h>

enum { DEPTH = 32 };

static int sock;
static unsigned char out[1 << 16], in[1 << 16];
static size_t in_at, in_end;

static void store_open(const char *where, int loader) {
  (void)loader;
  struct sockaddr_un a = { .sun_family = AF_UNIX };
  if (strlen(where) >= sizeof a.sun_path) fail("%s: too long for a socket", where);
  strcpy(a.sun_path, where);
  sock = socket(AF_UNIX, SOCK_STREAM, 0);
  if (sock < 0 || connect(sock, (struct sockaddr *)&a, sizeof a)) fail("%s: %s", where, strerror(errno));
}

static void send_all(size_t n) {
  for (size_t at = 0; at < n;) {
    ssize_t k = write(sock, out + at, n - at);
    if (k <= 0) fail("write to Redis: %s", strerror(errno));
    at += (size_t)k;
  }
}

static const unsigned char *want(size_t n) { // the next n bytes
  while (in_end - in_at < n) {
    memmove(in, in + in_at, in_end - in_at);
    in_end -= in_at;
    in_at = 0;
    ssize_t k = read(sock, in + in_end, sizeof in - in_end);
    if (k <= 0) fail("read from Redis: %s", k ? strerror(errno) : "it closed the connection");
    in_end += (size_t)k;
  }
  in_at += n;
  return in + in_at - n;
}

static void want_text(const char *s, size_t n) {
  const unsigned char *got = want(n);
  if (memcmp(got, s, n)) fail("Redis answers %.*s instead of %.*s", (int)n, got, (int)n, s);
}

#define TEXT(s) s, sizeof s - 1
static unsigned char *add(unsigned char *to, const void *from, size_t n) {
  memcpy(to, from, n);
  return to + n;
}

static void store_do(struct op *op, int n) {
  unsigned char *w = out;
  for (int i = 0; i < n; i++) {
    w = op[i].set ? add(w, TEXT("*3\r\n$3\r\nSET\r\n$16\r\n")) : add(w, TEXT("*2\r\n$3\r\nGET\r\n$16\r\n"));
    w = add(w, op[i].key, KEYLEN);
    if (op[i].set) {
      w = add(w, TEXT("\r\n$64\r\n"));
      w = add(w, op[i].value, VALUELEN);
    }
    w = add(w, TEXT("\r\n"));
  }
  send_all((size_t)(w - out));
  for (int i = 0; i < n; i++) {
    if (op[i].set) {
      want_text(TEXT("+OK\r\n"));
      continue;
    }
    want_text(TEXT("$64\r\n"));
    memcpy(op[i].value, want(VALUELEN), VALUELEN);
    want_text(TEXT("\r\n"));
  }
}

static long store_count(void) {
  send_all((size_t)(add(out, TEXT("*1\r\n$6\r\nDBSIZE\r\n")) - out));
  want_text(TEXT(":"));
  long n = 0;
  for (int c; (c = *want(1)) != '\r';) n = 10 * n + (c - '0');
  want_text(TEXT("\n"));
  return n;
}

static void store_close(void) { close(sock); }
