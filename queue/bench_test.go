package queue_test

import (
	"context"
	"os"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/queue"
)

// Both sides in one goroutine: what the calls themselves cost, without moving cache lines. What lies
// between two processes is measured by "shiplap bench".

func benchQueue(b *testing.B, opt *queue.Options) *queue.Raw {
	b.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "shiplap-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	d, err := shiplap.Join("", &shiplap.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.Close() })
	q, err := queue.CreateRaw(d, "q", opt)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { q.Close() })
	return q
}

func BenchmarkExclusivePutGet(b *testing.B) {
	ctx := context.Background()
	q := benchQueue(b, nil)
	p, err := q.Producer(ctx)
	if err != nil {
		b.Fatal(err)
	}
	c, err := q.Consumer(ctx)
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Put(ctx, buf); err != nil {
			b.Fatal(err)
		}
		if buf, err = c.Get(ctx, buf[:0]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSharedPutGet(b *testing.B) {
	ctx := context.Background()
	q := benchQueue(b, nil)
	buf := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		err := q.Put(ctx, buf)
		if err != nil {
			b.Fatal(err)
		}
		if buf, err = q.Get(ctx, buf[:0]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBatch16(b *testing.B) {
	ctx := context.Background()
	q := benchQueue(b, nil)
	msgs := make([][]byte, 16)
	for i := range msgs {
		msgs[i] = make([]byte, 64)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := q.PutMany(ctx, msgs); err != nil {
			b.Fatal(err)
		}
		if _, err := q.GetMany(ctx, len(msgs), func([]byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReceiveAck(b *testing.B) {
	ctx := context.Background()
	q := benchQueue(b, &queue.Options{Ack: true})
	buf := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if err := q.Put(ctx, buf); err != nil {
			b.Fatal(err)
		}
		d, err := q.Receive(ctx)
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Ack(); err != nil {
			b.Fatal(err)
		}
	}
}
