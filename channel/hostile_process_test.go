package channel_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/schema"
)

func at(b []byte, off int64) func(*os.File) error {
	return func(f *os.File) error { _, err := f.WriteAt(b, off); return err }
}

// What cannot be opened says why.
func TestDamagedFiles(t *testing.T) {
	u64 := func(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }
	for _, tt := range []struct {
		name string
		harm func(*os.File) error
		want error
	}{
		{"kind", at([]byte{2}, 12), shiplap.ErrIncompatible},
		{"descriptor", at([]byte("????????"), 2048), shiplap.ErrCorrupt},
		{"hash", at(u64(1), 48), shiplap.ErrCorrupt},
		{"area not a power of two", at(u64(5000), 64), shiplap.ErrCorrupt},
		{"huge area", at(u64(1<<63), 64), shiplap.ErrCorrupt},
		{"other area", at(u64(8192), 64), shiplap.ErrCorrupt},
		{"truncated", func(f *os.File) error { return f.Truncate(8192) }, shiplap.ErrCorrupt},
		{"longer", func(f *os.File) error { return f.Truncate(1 << 20) }, shiplap.ErrCorrupt},
		{"empty", func(f *os.File) error { return f.Truncate(0) }, shiplap.ErrCorrupt},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := domain(t)
			c, err := channel.Set[int](d, "c", &channel.Options{Capacity: 4096})
			ok(t, err, c.Close())
			f, err := os.OpenFile(filepath.Join(d.Dir(), "c"), os.O_RDWR, 0)
			ok(t, err)
			defer f.Close()
			ok(t, tt.harm(f))
			c, err = channel.Get[int](d, "c", nil)
			is(t, "get", err, tt.want)
			if err == nil {
				c.Close()
			}
			_, err = channel.List(d)
			ok(t, err, d.Remove(bg, "c"))
		})
	}
}

func TestTruncatedUnderUse(t *testing.T) {
	if !mem.FaultsPanic {
		t.Skip("the race detector does atomic operations in C, where a fault ends the process")
	}
	for _, size := range []int64{0, 4096, 8192, 16384} {
		d := domain(t)
		told := make(chan error, 1)
		a := set[int](t, d, "c", &channel.Options{Capacity: 4096})
		b := get[int](t, d, "c", &channel.Options{Logger: quiet, OnGone: func(err error) { told <- err }})
		_, err := b.OnReceive(func(context.Context, int) {})
		ok(t, err)
		ok(t, os.Truncate(filepath.Join(d.Dir(), "c"), size))
		ctx, cancel := context.WithTimeout(bg, 2*time.Second)
		for err = nil; err == nil; err = a.Send(ctx, 1) {
		}
		is(t, "send", err, shiplap.ErrCorrupt)
		_, err = a.Receive(ctx)
		if !errors.Is(err, shiplap.ErrCorrupt) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("truncated to %d: receive: %v", size, err)
		}
		cancel()
		for _, c := range []*channel.Channel[int]{a, b} {
			if err := c.Close(); err != nil && !errors.Is(err, shiplap.ErrCorrupt) {
				t.Error(err)
			}
		}
	}
}

// The bytes of a channel may be anything: no call crashes, hangs, or touches what is not its own.
func FuzzImage(f *testing.F) {
	u64 := func(off uint16, v uint64) []byte {
		return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint16(nil, off), v)
	}
	f.Add([]byte{})
	f.Add(u64(4096+640, 8))
	f.Add(u64(4096+512, 1<<63))
	f.Add(u64(4096+552, 1))
	f.Add(u64(4096, 0xffffffff))
	f.Add(append(u64(5632, 1<<40|7), u64(5696, ^uint64(0))...))
	f.Add(append(u64(5888, ^uint64(0)), u64(8192, 1<<63|1024)...))
	f.Add(append(u64(8192, ^uint64(0)), u64(8200, 1<<32|1025)...))
	f.Add(u64(16384, 1<<32|4000))
	f.Add(u64(20480, 1<<32|8))
	f.Add(u64(128, 2))
	f.Fuzz(func(t *testing.T, patch []byte) {
		d := domain(t)
		opt := &channel.Options{Capacity: 4096, Ephemeral: true, Logger: quiet, Lend: time.Nanosecond}
		a, err := channel.Set[string](d, "c", opt)
		ok(t, err)
		b, err := channel.Get[string](d, "c", opt)
		ok(t, err, a.Send(bg, "one"), b.Send(bg, "two"))
		file, err := os.OpenFile(filepath.Join(d.Dir(), "c"), os.O_RDWR, 0)
		ok(t, err)
		defer file.Close()
		for ; len(patch) >= 10; patch = patch[10:] {
			off := int64(binary.LittleEndian.Uint16(patch))
			_, err := file.WriteAt(patch[2:10], off%(16384+8192-8))
			ok(t, err)
		}
		ctx, cancel := context.WithTimeout(bg, 2*time.Millisecond)
		defer cancel()
		for _, c := range []*channel.Channel[string]{a, b} {
			_, _ = c.Stats()
			_ = c.TrySend("three")
			_ = c.Send(ctx, "four")
			_, _ = c.TryReceive()
			_, _ = c.Receive(ctx)
			_ = c.WaitPeer(ctx)
			_, _ = c.Ref(channel.SideB)
		}
		if c, err := channel.GetOwn[string](d, "c", opt); err == nil {
			_, _ = c.OnReceive(func(context.Context, string) {})
			_ = c.Close()
		}
		_, _ = channel.List(d)
		_, _ = a.Close(), b.Close()
		if err := d.Remove(bg, "c"); err != nil && !errors.Is(err, shiplap.ErrNotExist) {
			t.Error(err)
		}
	})
}

// A reference comes from others: whatever it says, opening it is an error or a channel.
func FuzzRef(f *testing.F) {
	f.Add([]byte(`{"domain":"default","name":"c","side":"B","id":"0"}`), true)
	f.Add([]byte(`{"domain":"default","name":"../#members","side":"A","id":""}`), true)
	b, err := schema.CBOR.Append(nil, channel.Ref[int]{Domain: "default", Name: "c", Side: channel.SideA, ID: "x"})
	ok(f, err)
	f.Add(b, false)
	f.Add(bytes.Replace(b, []byte("A"), []byte("Q"), 1), false)
	d := domain(f)
	set[int](f, d, "c", nil)
	f.Fuzz(func(t *testing.T, b []byte, text bool) {
		var ref channel.Ref[int]
		if text {
			_ = json.Unmarshal(b, &ref)
		} else {
			_ = schema.CBOR.Decode(b, &ref)
		}
		if c, err := ref.Open(d, nil); err == nil {
			ok(t, c.Close())
		}
		_ = ref.String()
	})
}
