package lock

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
)

// A file that was cut short is an error for all: a writer that meets the missing table of readers does not keep the
// writers' lock, behind which others would wait for a living process.
func TestTruncatedKeepsNoLock(t *testing.T) {
	d := join(t)
	m := must(CreateRWMutex(d, "m", nil))(t)
	ok(t, m.RLock(bg), m.RUnlock(), os.Truncate(filepath.Join(d.Dir(), "m"), ctlSize))
	ctx, cancel := context.WithTimeout(bg, 5*time.Second)
	defer cancel()
	for range 2 {
		is(t, m.Lock(ctx), shiplap.ErrCorrupt)
		is(t, m.TryLock(), shiplap.ErrCorrupt)
	}
	ok(t, m.Close())
}
