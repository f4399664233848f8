package proc_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/lock"
	"github.com/shiplap-ipc/shiplap/proc"
)

// overwrite writes into the file of an object.
func overwrite(t *testing.T, d *shiplap.Domain, name string, b []byte, at int64) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(d.Dir(), name), os.O_WRONLY, 0)
	ok(t, err)
	defer f.Close()
	_, err = f.WriteAt(b, at)
	ok(t, err)
}

const listenerArea = 8192 // where the ring of a listener begins (layout, section 12)

// asks has the manager answer.
func asks(t *testing.T, d *shiplap.Domain) error {
	c, err := proc.Dial(limit(t), d, "")
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.States(limit(t))
	return err
}

// Names in the ring of a manager that lead to what is no pipe do not make it deaf.
func TestStrangeNames(t *testing.T) {
	for _, name := range []string{"junk", "jobs", "directory", "main.events"} {
		t.Run(name, func(t *testing.T) {
			b := manage(t, nil)
			b.add(proc.Spec{Name: "x", Func: "sleep"})
			junk := make([]byte, 20<<10)
			for i := range junk {
				junk[i] = byte(i*7919 + i>>3)
			}
			ok(t, os.WriteFile(filepath.Join(b.d.Dir(), "junk"), junk, 0o600))
			ok(t, os.Mkdir(filepath.Join(b.d.Dir(), "directory"), 0o700))
			m, err := lock.CreateMutex(b.d, "jobs", nil)
			ok(t, err)
			defer m.Close()
			// The first record of the ring, the header last.
			overwrite(t, b.d, "main.control", []byte(name), listenerArea+8)
			header := uint64(len(name)) | 1<<32 | 1<<40
			overwrite(t, b.d, "main.control", binary.LittleEndian.AppendUint64(nil, header), listenerArea)
			for range 3 {
				ok(t, asks(t, b.d))
			}
			_, err = os.Stat(filepath.Join(b.d.Dir(), name))
			ok(t, err)
			ok(t, m.Lock(limit(t)))
			ok(t, m.Unlock())
			ok(t, b.d.Remove(bg, "jobs"))
			for _, left := range []string{"junk", "directory"} {
				ok(t, os.Remove(filepath.Join(b.d.Dir(), left)))
			}
		})
	}
}

// A manager whose listener is damaged or removed gets another one.
func TestListenerLost(t *testing.T) {
	for what, harm := range map[string]func(*testing.T, *shiplap.Domain){
		"damaged": func(t *testing.T, d *shiplap.Domain) {
			overwrite(t, d, "main.control", bytes.Repeat([]byte{0x08, 0x10, 0, 0, 0, 0, 0, 0}, 512), listenerArea) // no headers
		},
		"removed": func(t *testing.T, d *shiplap.Domain) { ok(t, d.Remove(bg, "main.control")) },
		"truncated": func(t *testing.T, d *shiplap.Domain) {
			ok(t, os.Truncate(filepath.Join(d.Dir(), "main.control"), listenerArea))
		},
	} {
		t.Run(what, func(t *testing.T) {
			b := manage(t, nil)
			b.add(proc.Spec{Name: "x", Func: "sleep"})
			ok(t, b.Start(limit(t), "x"))
			ok(t, asks(t, b.d))
			ok(t, b.Err())
			harm(t, b.d)
			var err error
			if !eventually(func() bool { err = asks(t, b.d); return err == nil }) {
				t.Fatal(err)
			}
			ok(t, b.Err())
			if b.state("x").Pid == 0 {
				t.Error("its process ended")
			}
		})
	}
}
