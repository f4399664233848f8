package store

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/queue"
)

func init() {
	roles["echo changes"] = func(d *shiplap.Domain, _ int) error {
		s, err := Open(d, "s", nil)
		if err != nil {
			return err
		}
		events := s.Watch(bg, "there", nil)
		peertest.Say("ready")
		for e, err := range events {
			if err != nil || e.Deleted {
				return errors.Join(err, s.Close())
			}
			if _, err := s.Set(bg, "back", e.Value); err != nil {
				return err
			}
		}
		return nil
	}
	roles["echo messages"] = func(d *shiplap.Domain, _ int) error {
		there, err := queue.OpenRaw(d, "there", nil)
		if err != nil {
			return err
		}
		back, err := queue.OpenRaw(d, "back", nil)
		if err != nil {
			return err
		}
		peertest.Say("ready")
		for b, err := range there.All(bg) {
			if err == nil {
				err = back.Put(bg, b)
			}
			if err != nil {
				return err
			}
		}
		return errors.Join(there.Close(), back.Close())
	}
}

// BenchmarkWatch: from a Set in one process to the loop of a watcher in another, and back, beside two queues. The way there takes half of that.
func BenchmarkWatch(b *testing.B) {
	d := domain(b)
	s := create(b, d, nil)
	there, err := queue.CreateRaw(d, "there", &queue.Options{Ephemeral: true})
	ok(b, err)
	back, err := queue.CreateRaw(d, "back", &queue.Options{Ephemeral: true})
	ok(b, err)
	defer there.Close()
	defer back.Close()
	watcher, echo := peertest.Start(b, d, "echo changes", 0), peertest.Start(b, d, "echo messages", 0)
	watcher.Says("ready")
	echo.Says("ready")
	var viaStore, viaQueue []time.Duration
	events := s.Watch(bg, "back", nil)
	msg, n := make([]byte, 64), uint64(0)
	const each = 500 // in turns: two that are awake at a time
	for b.Loop() {
		for range each {
			n++
			binary.LittleEndian.PutUint64(msg, n)
			begin := time.Now()
			_, err := s.Set(bg, "there", msg)
			ok(b, err)
			for e, err := range events {
				ok(b, err)
				if binary.LittleEndian.Uint64(e.Value) == n {
					break
				}
			}
			viaStore = append(viaStore, time.Since(begin)/2)
		}
		for range each {
			begin := time.Now()
			ok(b, there.Put(bg, msg))
			_, err := back.Get(bg, nil)
			ok(b, err)
			viaQueue = append(viaQueue, time.Since(begin)/2)
		}
	}
	ok(b, s.Delete(bg, "there"), there.CloseQueue(), watcher.Wait(), echo.Wait())
	slices.Sort(viaStore)
	slices.Sort(viaQueue)
	for _, p := range []struct {
		name string
		part int
	}{{"p50", 2}, {"p10", 10}} {
		b.ReportMetric(float64(viaStore[len(viaStore)/p.part].Nanoseconds())/1e3, "us-watch-"+p.name)
		b.ReportMetric(float64(viaQueue[len(viaQueue)/p.part].Nanoseconds())/1e3, "us-queue-"+p.name)
	}
	b.ReportMetric(0, "ns/op")
}
