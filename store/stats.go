package store

import (
	"context"
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/table"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// Stats is a store as seen from outside. Counters count all processes since the store was made. An operation in flight, or
// whose process died in it, may be missing from them; from Hits and Misses also up to 1023 of each other handle, and of each that was never closed.
type Stats struct {
	Name      string `json:"name"`
	Keys      int    `json:"keys"`      // those included that have expired and whose memory did not come back yet
	Expiring  int    `json:"expiring"`  // entries that have a time when they expire
	Cleared   int    `json:"cleared"`   // entries that were cleared and whose memory did not come back yet
	Revision  uint64 `json:"revision"`  // number of changes
	Buckets   uint64 `json:"buckets"`   // of seven entries each
	Overflows int    `json:"overflows"` // buckets more, of six entries each: many say that Keys was too small
	Evict     bool   `json:"evict"`

	MaxBytes int64 `json:"max_bytes"` // of the file
	Reserved int64 `json:"reserved"`  // of these, set aside
	Overhead int64 `json:"overhead"`  // control words, change log, key locks, buckets and overflow buckets
	Used     int64 `json:"used"`      // in entries
	Free     int64 `json:"free"`      // Overhead, Used and Free are MaxBytes
	Largest  int64 `json:"largest"`   // a piece that can be had for certain, of Free
	// Fragmentation is the part of Free that is not in one piece, 0 to 1.
	Fragmentation float64    `json:"fragmentation"`
	FreeLists     []FreeList `json:"free_lists"` // free pieces between entries, by size

	Hits    uint64 `json:"hits"`
	Misses  uint64 `json:"misses"`
	Sets    uint64 `json:"sets"`
	Deletes uint64 `json:"deletes"`
	Expired uint64 `json:"expired"` // of which the memory came back
	Evicted uint64 `json:"evicted"`
	Sleeps  uint64 `json:"sleeps"` // how often a watcher slept

	Writers []LockStats `json:"writers"` // the locks of those who change something, each of a part of the keys
	Heap    LockStats   `json:"heap"`    // the lock of those who take or free memory
	Locks   []LockStats `json:"locks"`   // keys that are locked, or were by somebody dead
}

// FreeList is a number of free pieces of about one size.
type FreeList struct {
	Least  int64 `json:"least"` // bytes of the smallest that counts here
	Pieces int   `json:"pieces"`
}

// LockStats is a lock at one moment, seen without locking.
type LockStats struct {
	Key        string `json:"key,omitempty"` // its first 48 bytes
	KeyBytes   int    `json:"key_bytes,omitempty"`
	Holder     int    `json:"holder"`     // pid, 0 when free; a dead one's is shown until somebody takes over
	Damaged    bool   `json:"damaged"`    // an owner died, and nobody has called Repaired
	Sleeps     uint64 `json:"sleeps"`     // how often somebody had to sleep for it
	Recoveries uint32 `json:"recoveries"` // how often it was taken over from a dead owner
	Waiters    []int  `json:"waiters"`    // pids of the first six
}

// String is one line for people.
func (s Stats) String() string {
	return fmt.Sprintf("store %q: %d keys, %d of %d bytes in use (%d set aside), revision %d", s.Name, s.Keys, s.Used+s.Overhead, s.MaxBytes, s.Reserved, s.Revision)
}

// Stats looks at the store; it takes no lock and needs nobody alive.
func (s *Store) Stats() (st Stats, err error) {
	err = s.obj.Call(func() error {
		s.tell()
		t, err := s.t.Stats()
		if err != nil {
			return err
		}
		over := int64(t.Overflows) * 64
		st = Stats{
			Name: s.obj.Name, Keys: t.Entries, Expiring: t.Expiring, Cleared: t.Cleared, Revision: t.Revision,
			Buckets: t.Buckets, Overflows: t.Overflows, Evict: t.Evict,
			MaxBytes: t.Size, Reserved: t.Reserved, Overhead: t.Heap + over, Used: t.Top - t.Heap - t.Free - t.Spare - over,
			Free: t.Size - t.Top + t.Free + t.Spare, Largest: t.Largest(), FreeLists: []FreeList{},
			Hits: t.Hits, Misses: t.Misses, Sets: t.Sets, Deletes: t.Deletes, Expired: t.Expired, Evicted: t.Evicted, Sleeps: t.Sleeps,
			Heap: s.lockStats("", t.Taker), Locks: []LockStats{},
		}
		for _, w := range t.Writers {
			st.Writers = append(st.Writers, s.lockStats("", w))
		}
		if st.Free > 0 {
			st.Fragmentation = 1 - float64(st.Largest)/float64(st.Free)
		}
		for _, l := range t.Lists {
			st.FreeLists = append(st.FreeLists, FreeList{l.Least, l.Blocks})
		}
		for _, l := range s.t.KeyLocks() {
			st.Locks = append(st.Locks, s.keyLockStats(&l))
		}
		return nil
	})
	return st, err
}

func (s *Store) lockStats(key string, l wordlock.State) LockStats {
	st := LockStats{Key: key, Holder: s.pid(l.Owner), Damaged: l.Damaged, Sleeps: l.Sleeps, Recoveries: l.Recoveries, Waiters: []int{}}
	for _, w := range l.Waiters {
		st.Waiters = append(st.Waiters, s.pid(w.Token))
	}
	return st
}

func (s *Store) keyLockStats(l *table.KeyLockState) LockStats {
	st := s.lockStats(l.Key, l.State)
	st.KeyBytes = l.Length
	return st
}

// pid is what the table of members says of a token's owner, 0 for nobody.
func (s *Store) pid(token uint32) int {
	if token == 0 {
		return 0
	}
	m, _ := s.obj.Space.Table.Lookup(token)
	return m.Pid
}

// Check reads the whole store, with the writers' locks, and finds out whether everything in it is as it has to be;
// shiplap.ErrCorrupt says what is not.
func (s *Store) Check(ctx context.Context) error {
	return s.call(func() error { return s.t.Check(ctx) })
}
