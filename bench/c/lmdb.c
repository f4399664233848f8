// LMDB with MDB_NOSYNC and MDB_WRITEMAP. A get is a read transaction that is kept and renewed, a set a write transaction:
// nothing cheaper lets others see each change when it is made.
#include <lmdb.h>

enum { DEPTH = 1 };

static MDB_env *env;
static MDB_dbi dbi;
static MDB_txn *reader;

static void must(int rc, const char *what) {
  if (rc) fail("%s: %s", what, mdb_strerror(rc));
}

static void store_open(const char *where, int loader) {
  (void)loader;
  MDB_txn *t;
  must(mdb_env_create(&env), "mdb_env_create");
  must(mdb_env_set_mapsize(env, 1u << 30), "mdb_env_set_mapsize");
  must(mdb_env_open(env, where, MDB_NOSYNC | MDB_WRITEMAP, 0600), "mdb_env_open");
  must(mdb_txn_begin(env, NULL, 0, &t), "mdb_txn_begin");
  must(mdb_dbi_open(t, NULL, 0, &dbi), "mdb_dbi_open");
  must(mdb_txn_commit(t), "mdb_txn_commit");
  must(mdb_txn_begin(env, NULL, MDB_RDONLY, &reader), "mdb_txn_begin");
  mdb_txn_reset(reader);
}

static void store_do(struct op *op, int n) {
  for (int i = 0; i < n; i++) {
    MDB_val k = { KEYLEN, (void *)op[i].key }, v = { VALUELEN, op[i].value };
    if (op[i].set) {
      MDB_txn *t;
      must(mdb_txn_begin(env, NULL, 0, &t), "mdb_txn_begin");
      must(mdb_put(t, dbi, &k, &v, 0), "mdb_put");
      must(mdb_txn_commit(t), "mdb_txn_commit");
      continue;
    }
    must(mdb_txn_renew(reader), "mdb_txn_renew");
    must(mdb_get(reader, dbi, &k, &v), "mdb_get");
    if (v.mv_size != VALUELEN) fail("a value of %zu bytes", v.mv_size);
    memcpy(op[i].value, v.mv_data, VALUELEN);
    mdb_txn_reset(reader);
  }
}

static long store_count(void) {
  MDB_stat st;
  must(mdb_txn_renew(reader), "mdb_txn_renew");
  must(mdb_stat(reader, dbi, &st), "mdb_stat");
  mdb_txn_reset(reader);
  return (long)st.ms_entries;
}

static void store_close(void) {
  mdb_txn_abort(reader);
  mdb_env_close(env);
}
