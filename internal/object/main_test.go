package object

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/segment"
)

// peerEnv makes the test binary another process of the domain in that directory. It obeys the lines
// of its input, and answers each with one line.
const peerEnv = "SHIPLAP_OBJECT_PEER"

func TestMain(m *testing.M) {
	if base := os.Getenv(peerEnv); base != "" {
		peer(base)
		os.Exit(0)
	}
	leaktest.Main(m)
}

func peer(base string) {
	s, err := Enter(base, "domain", 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Table.Self())
	open := map[string]*Object{}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		verb, name, _ := strings.Cut(in.Text(), " ")
		var o *Object
		switch verb {
		case "create":
			o, err = s.Create(name, spec(0))
		case "ephemeral":
			o, err = s.Create(name, spec(Ephemeral))
		case "open":
			if o, err = s.Open(name, Queue, parts); err == nil {
				err = whole(o)
			}
		case "remove":
			err = s.Remove(context.Background(), name)
		case "mark": // half of a removal
			o, err = s.Open(name, Queue, parts)
			if err == nil {
				o.Word.Or(Removed)
			}
		case "temporary":
			_, err = s.Dir.Create(fmt.Sprintf("%08x.0", s.Table.Self()), 4096)
		case "big", "grow": // as much as it says
			size := 0
			fmt.Sscan(name, &size)
			sp := Spec{Kind: Queue, Flags: Ephemeral, Parts: []mem.Part{{Len: size}}}
			if verb == "grow" {
				sp.Reserve = HeaderSize
			}
			name = fmt.Sprintf("%d.%d", os.Getpid(), len(open))
			if o, err = s.Create(name, sp); err == nil && verb == "grow" {
				err = o.Reserve(0, int64(size))
			}
		case "fill": // a temporary in the making
			var f *segment.File
			if f, err = s.Dir.Temp(fmt.Sprintf("%08x.1", s.Table.Self())); err == nil {
				_, err = f.LockShared(userLocks+int64(s.Table.Slot()), 1)
			}
		case "close":
			if had := open[name]; had != nil {
				delete(open, name)
				err = had.Close()
			}
		}
		if o != nil {
			open[name] = o
		}
		if err != nil {
			fmt.Println(err)
		} else {
			fmt.Println("ok")
		}
	}
}

// whole says what is wrong with an object that was opened: it is one that Create made, never a half of one.
func whole(o *Object) error {
	if n := o.Ctl.U64(HeaderSize + 512).Load(); n != 42 || o.Label != "test" {
		return fmt.Errorf("%q holds %d", o.Label, n)
	}
	return nil
}

const testSize = 2 * HeaderSize

func parts(h *Header) ([]mem.Part, error) {
	if h.Size != testSize {
		return nil, fmt.Errorf("%d bytes", h.Size)
	}
	return []mem.Part{{Len: testSize}}, nil
}

func spec(flags uint32) Spec {
	return Spec{Kind: Queue, Flags: flags, Label: "test", Parts: []mem.Part{{Len: testSize}},
		Locks: []LockAt{{"lock", HeaderSize}}, Events: []int{HeaderSize + 256},
		Init: func(r *mem.Region) { r.Span(0).U64(HeaderSize + 512).Store(42) }}
}
