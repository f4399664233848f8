package table

import (
	"strings"

	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// KeyLockState is a key lock that is held or damaged, as seen from outside.
type KeyLockState struct {
	Key    string // its first KeyShown bytes
	Length int    // of the whole key
	Dead   bool   // damaged, or held by a process whose death leaves damage
	wordlock.State
}

// KeyLocks lists the key locks that are held or damaged.
func (t *Table) KeyLocks() (all []KeyLockState) {
	for i := range int(t.geo.Locks) {
		st := wordlock.Inspect(t.span, t.record(i))
		if st.Owner == 0 && !st.Damaged {
			continue
		}
		k := KeyLockState{Key: t.boundKey(i), Length: int(t.span.U32(t.bindAt(i) + bindLength).Load()), State: st}
		in := Damage(t.span.U32(t.bindAt(i) + bindInside).Load())
		k.Dead = st.Damaged || in != 0 && in != None && t.owners.Dead(st.Owner)
		all = append(all, k)
	}
	return all
}

// boundKey is the beginning of the key whose lock a record is. It stands only while the record is held, or damaged.
func (t *Table) boundKey(i int) string {
	key := make([]byte, min(t.span.U32(t.bindAt(i)+bindLength).Load(), KeyShown))
	t.span.LoadBytes(key, t.bindAt(i)+bindKey)
	return string(key)
}

// ForgetLocks says of all keys that begin with prefix, of up to KeyShown bytes, that what dead owners left is in order, and
// returns how many those were. Locks that living processes hold stay as they are.
//
// It has a record's lock while it looks at it. Its own death in between leaves nothing: it is not inside.
func (t *Table) ForgetLocks(prefix string) (n int) {
	for i := range int(t.geo.Locks) {
		st := wordlock.Inspect(t.span, t.record(i))
		if st.Owner == 0 && !st.Damaged || !strings.HasPrefix(t.boundKey(i), prefix) {
			continue
		}
		if t.forget(i, prefix) {
			n++
		}
	}
	return n
}

// forget takes the damage of a record away, if it has some and its key is still one with the prefix.
func (t *Table) forget(i int, prefix string) bool {
	l := t.view(i)
	ok, recovered := l.lock.TryLock()
	if !ok {
		return false // somebody alive has it
	}
	defer l.lock.Unlock()
	if !l.settle(recovered) || !strings.HasPrefix(t.boundKey(i), prefix) {
		return false
	}
	l.lock.Damaged().StoreRelease(0)
	return true
}
