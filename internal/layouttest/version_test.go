package layouttest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
	"github.com/shiplap-ipc/shiplap/internal/member"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/segment"
	"github.com/shiplap-ipc/shiplap/lock"
	"github.com/shiplap-ipc/shiplap/pipe"
	"github.com/shiplap-ipc/shiplap/queue"
	"github.com/shiplap-ipc/shiplap/shared"
	"github.com/shiplap-ipc/shiplap/store"
	"github.com/shiplap-ipc/shiplap/topic"
)

// otherLayouts are versions that this program does not know: older ones, and newer ones, which it meets as a
// program of an older version meets its own.
var otherLayouts = []uint32{0, segment.Layout - 1, segment.Layout + 1, 1<<32 - 1}

// withLayout makes a file of the domain one of another layout version, until the test is done.
func withLayout(t *testing.T, d *shiplap.Domain, name string, version uint32) {
	t.Helper()
	table := "header"
	if name == member.FileName {
		table = "members"
	}
	at := int64(atoi(t, get(t, table).keyed("Name", "Offset")["layout"]))
	f, err := os.OpenFile(filepath.Join(d.Dir(), name), os.O_RDWR, 0)
	ok(t, err)
	defer f.Close()
	_, err = f.WriteAt(binary.LittleEndian.AppendUint32(nil, version), at)
	ok(t, err)
}

// otherVersion checks an error about a file of another version: it names both, and what to do.
func otherVersion(t *testing.T, what string, err error, version uint32, next string) {
	t.Helper()
	if !errors.Is(err, shiplap.ErrIncompatible) {
		t.Errorf("%s of layout version %d: %v", what, version, err)
		return
	}
	both := fmt.Sprintf("layout version %d, this program knows %d", version, segment.Layout)
	if !strings.Contains(err.Error(), both) || !strings.Contains(err.Error(), next) {
		t.Errorf("%s: %v; %q and %q are wanted", what, err, both, next)
	}
}

// TestMembersOfAnotherVersion: neither members nor visitors use a domain whose table is of another version, and
// they leave it as it is.
func TestMembersOfAnotherVersion(t *testing.T) {
	for _, v := range otherLayouts {
		dir := shmDir(t)
		d, err := shiplap.Join("", &shiplap.Options{Dir: dir})
		ok(t, err)
		ok(t, d.Close())
		withLayout(t, d, member.FileName, v)
		table := filepath.Join(d.Dir(), member.FileName)
		before, err := os.ReadFile(table)
		ok(t, err)
		const next = "rm -r "
		d, err = shiplap.Join("", &shiplap.Options{Dir: dir})
		if otherVersion(t, "a table of members", err, v, next); err == nil {
			ok(t, d.Close())
		}
		d, err = shiplap.Look("", &shiplap.Options{Dir: dir})
		if otherVersion(t, "a table that is looked at", err, v, next); err == nil {
			ok(t, d.Close())
			continue
		}
		again, err := os.ReadFile(table)
		if ok(t, err); string(again) != string(before) {
			t.Error("the table of another version was changed")
		}
	}
}

// TestObjectsOfAnotherVersion: no kind of object is opened whose header says another version. It is listed, and
// can be removed.
func TestObjectsOfAnotherVersion(t *testing.T) {
	kinds := map[object.Kind]struct {
		create, open func(d *shiplap.Domain) (io.Closer, error)
	}{
		object.Queue: {
			func(d *shiplap.Domain) (io.Closer, error) { return queue.CreateRaw(d, "x", nil) },
			func(d *shiplap.Domain) (io.Closer, error) { return queue.OpenRaw(d, "x", nil) },
		},
		object.Pipe: {
			func(d *shiplap.Domain) (io.Closer, error) { return pipe.Create(d, "x", nil) },
			func(d *shiplap.Domain) (io.Closer, error) { return pipe.Open(d, "x", nil) },
		},
		object.Listener: {
			func(d *shiplap.Domain) (io.Closer, error) { return pipe.Listen(d, "x", nil) },
			func(d *shiplap.Domain) (io.Closer, error) { return pipe.Dial(bg, d, "x", nil) },
		},
		object.Mutex: {
			func(d *shiplap.Domain) (io.Closer, error) { return lock.CreateMutex(d, "x", nil) },
			func(d *shiplap.Domain) (io.Closer, error) { return lock.OpenMutex(d, "x") },
		},
		object.RWMutex: {
			func(d *shiplap.Domain) (io.Closer, error) { return lock.CreateRWMutex(d, "x", nil) },
			func(d *shiplap.Domain) (io.Closer, error) { return lock.OpenRWMutex(d, "x") },
		},
		object.Semaphore: {
			func(d *shiplap.Domain) (io.Closer, error) { return lock.CreateSemaphore(d, "x", 1, nil) },
			func(d *shiplap.Domain) (io.Closer, error) { return lock.OpenSemaphore(d, "x") },
		},
		object.Cond: {
			func(d *shiplap.Domain) (io.Closer, error) { return lock.CreateCond(d, "x", nil) },
			func(d *shiplap.Domain) (io.Closer, error) { return lock.OpenCond(d, "x") },
		},
		object.Event: {
			func(d *shiplap.Domain) (io.Closer, error) { return lock.CreateEvent(d, "x", nil) },
			func(d *shiplap.Domain) (io.Closer, error) { return lock.OpenEvent(d, "x") },
		},
		object.Barrier: {
			func(d *shiplap.Domain) (io.Closer, error) { return lock.CreateBarrier(d, "x", 2, nil) },
			func(d *shiplap.Domain) (io.Closer, error) { return lock.OpenBarrier(d, "x") },
		},
		object.Value: {
			func(d *shiplap.Domain) (io.Closer, error) { return shared.CreateValue(d, "x", 1, nil) },
			func(d *shiplap.Domain) (io.Closer, error) { return shared.OpenValue[int](d, "x") },
		},
		object.Array: {
			func(d *shiplap.Domain) (io.Closer, error) { return shared.CreateArray[int32](d, "x", []int{3}, nil) },
			func(d *shiplap.Domain) (io.Closer, error) { return shared.OpenArray[int32](d, "x") },
		},
		object.Store: {
			func(d *shiplap.Domain) (io.Closer, error) { return store.Create(d, "x", nil) },
			func(d *shiplap.Domain) (io.Closer, error) { return store.Open(d, "x", nil) },
		},
		object.Topic: {
			func(d *shiplap.Domain) (io.Closer, error) { return topic.CreateRaw(d, "x", nil) },
			func(d *shiplap.Domain) (io.Closer, error) { return topic.OpenRaw(d, "x", nil) },
		},
		object.Channel: {
			func(d *shiplap.Domain) (io.Closer, error) { return channel.Set[int64](d, "x", nil) },
			func(d *shiplap.Domain) (io.Closer, error) { return channel.Get[int64](d, "x", nil) },
		},
	}
	for k := object.Kind(1); !strings.HasPrefix(k.String(), "kind "); k++ {
		t.Run(k.String(), func(t *testing.T) {
			c, known := kinds[k]
			if !known {
				t.Fatal("this test does not know how such an object is made")
			}
			d := join(t, shmDir(t))
			h, err := c.create(d)
			ok(t, err)
			defer h.Close()
			for _, v := range append(otherLayouts, segment.Layout) {
				withLayout(t, d, "x", v)
				h, err := c.open(d)
				if v == segment.Layout {
					ok(t, err) // nothing else is wrong
				} else {
					otherVersion(t, "a "+k.String(), err, v, "remove it")
				}
				if err == nil {
					ok(t, h.Close())
				}
			}
			withLayout(t, d, "x", segment.Layout-1)
			all, err := d.List()
			if ok(t, err); len(all) != 1 || all[0].Name != "x" || all[0].Err == nil {
				t.Errorf("listed are %v", all)
			}
			ok(t, d.Remove(context.Background(), "x"))
		})
	}
}
