package member

import (
	"github.com/shiplap-ipc/shiplap/internal/bell"
	"github.com/shiplap-ipc/shiplap/internal/segment"
)

// hang gives the process its bell in the domain. Its FIFO is made when the first goroutine sleeps; a visitor only rings.
func (t *Table) hang(dir *segment.Dir) error {
	own, err := dir.Dup()
	if err != nil {
		return err
	}
	t.bell = bell.New(t, own)
	return nil
}

// Bell is this process's bell in the domain.
func (t *Table) Bell() *bell.Bell { return t.bell }

// Census is a number that changes when a member dies, leaves or joins.
func (t *Table) Census() (sum uint64) {
	for _, token := range t.inUse() {
		v := uint64(token) << 1
		if !t.Dead(token) {
			v |= 1
		}
		sum = (sum ^ v) * 0x9e3779b97f4a7c15
	}
	return sum
}
