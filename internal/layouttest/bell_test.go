package layouttest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/shiplap-ipc/shiplap"
)

// bellEntry checks that the first entry of an event says that one goroutine of this process sleeps, and that the process
// has a FIFO where the page says.
func bellEntry(t *testing.T, d *shiplap.Domain, entries []byte) {
	t.Helper()
	b := get(t, "bellentry").bits(t, "Bits")
	me := self(t, d).Token
	v := word(entries[:8])
	if ticket := v >> b["ticket"].low & 0xffffff; v != b["sleeper"].put(uint64(me))|b["ticket"].put(ticket)|b["count"].put(1) || ticket == 0 {
		t.Errorf("an entry is %#x, our token is %#x", v, me)
	}
	st, err := os.Lstat(filepath.Join(d.Dir(), "#bell.0"))
	if ok(t, err); st.Mode() != os.ModeNamedPipe|0o600 {
		t.Errorf("the bell is %v", st.Mode())
	}
}
