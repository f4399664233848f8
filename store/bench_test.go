package store

import (
	"encoding/json"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
)

const benchKeys = 100_000

func benchNames() []string {
	keys := make([]string, benchKeys)
	for i := range keys {
		keys[i] = fmt.Sprintf("key-%012d", i)
	}
	return keys
}

// draw walks through the keys in an order that prefetching does not guess.
func draw(i *uint32) int {
	*i = *i*1664525 + 1013904223
	return int(uint64(*i) * benchKeys >> 32)
}

func benchStore(b *testing.B) (*shiplap.Domain, *Store, []string) {
	d := domain(b)
	s := create(b, d, &Options{Keys: benchKeys})
	keys := benchNames()
	for _, k := range keys {
		_, err := s.Set(bg, k, make([]byte, 64))
		ok(b, err)
	}
	return d, s, keys
}

func getting(s *Store, keys []string) func() error {
	buf, i := make([]byte, 0, 64), uint32(time.Now().UnixNano())
	return func() (err error) {
		buf, err = s.Append(buf[:0], keys[draw(&i)])
		return err
	}
}

func setting(s *Store, keys []string) func() error {
	buf, i := make([]byte, 64), uint32(time.Now().UnixNano())
	return func() error {
		_, err := s.Set(bg, keys[draw(&i)], buf)
		return err
	}
}

// cpuTime is what this thread has used of a processor. On a busy machine that tells more than the clock.
func cpuTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	const thread = 1 // RUSAGE_THREAD
	ok(b, syscall.Getrusage(thread, &r))
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func bench(b *testing.B, f func() error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b.ReportAllocs()
	begin := cpuTime(b)
	for b.Loop() {
		if err := f(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-begin)/float64(b.N), "cpu-ns/op")
}

// BenchmarkGet and BenchmarkSet compare one process with a Go map behind an RWMutex.
func BenchmarkGet(b *testing.B) {
	_, s, keys := benchStore(b)
	b.Run("store", func(b *testing.B) { bench(b, getting(s, keys)) })
	b.Run("map", func(b *testing.B) { bench(b, mapOf(keys, false)) })
}

func BenchmarkSet(b *testing.B) {
	_, s, keys := benchStore(b)
	b.Run("store", func(b *testing.B) { bench(b, setting(s, keys)) })
	b.Run("map", func(b *testing.B) { bench(b, mapOf(keys, true)) })
}

func init() {
	roles["rate"] = func(d *shiplap.Domain, set int) error {
		s, err := Open(d, "s", nil)
		if err != nil {
			return err
		}
		defer s.Close()
		f := getting(s, benchNames())
		if set == 1 {
			f = setting(s, benchNames())
		}
		peertest.Say("ready")
		for peertest.Hear() != "" {
			r, err := rates(f)
			if err != nil {
				return err
			}
			b, err := json.Marshal(r)
			if err != nil {
				return err
			}
			peertest.Say("rates", string(b))
		}
		return nil
	}
}

// Other work on the machine makes most moments useless. So rates are taken in many short windows, which begin at the same times in all
// processes, and the best window counts: the one in which nobody disturbed anybody.
const (
	windows = 6
	every   = 80 * time.Millisecond
	window  = 70 * time.Millisecond
)

// rates is how often f runs in a second, by the number of the window.
func rates(f func() error) (map[int64]float64, error) {
	all := map[int64]float64{}
	for range windows {
		k := time.Now().UnixNano()/int64(every) + 1
		time.Sleep(time.Until(time.Unix(0, k*int64(every))))
		n, start := 0, time.Now()
		if start.UnixNano()/int64(every) != k || start.UnixNano()%int64(every) > int64(every/50) {
			continue // late
		}
		for n = 0; n%100 != 0 || time.Since(start) < window; n++ {
			if err := f(); err != nil {
				return nil, err
			}
		}
		all[k] = float64(n) / time.Since(start).Seconds()
	}
	return all, nil
}

func best(all ...map[int64]float64) (most float64) {
	for k, r := range all[0] {
		for _, o := range all[1:] {
			if _, both := o[k]; !both {
				r = 0
				break
			}
			r += o[k]
		}
		most = max(most, r)
	}
	return most
}

// BenchmarkProcesses compares one process and two with a Go map behind an RWMutex in one process, in turns.
func BenchmarkProcesses(b *testing.B) {
	for set, name := range []string{"get", "set"} {
		b.Run(name, func(b *testing.B) {
			d, s, keys := benchStore(b)
			f := getting(s, keys)
			if set == 1 {
				f = setting(s, keys)
			}
			m := mapOf(keys, set == 1)
			peers := []*peertest.Peer{peertest.Start(b, d, "rate", set), peertest.Start(b, d, "rate", set)}
			for _, p := range peers {
				p.Says("ready")
			}
			var one, two, base float64
			for round := 1; b.Loop(); round++ {
				r, err := rates(f)
				ok(b, err)
				one = max(one, best(r))
				r, err = rates(m)
				ok(b, err)
				base = max(base, best(r))
				both := make([]map[int64]float64, len(peers))
				for _, p := range peers {
					p.Tell("go")
				}
				for i, p := range peers {
					ok(b, json.Unmarshal([]byte(p.Reports("rates")), &both[i]))
				}
				two = max(two, best(both...))
			}
			b.ReportMetric(one/1e6, "M/s-one")
			b.ReportMetric(two/1e6, "M/s-two")
			b.ReportMetric(two/one, "two/one")
			b.ReportMetric(base/1e6, "M/s-map")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// mapOf is the same with what a single process would use.
func mapOf(keys []string, set bool) func() error {
	var mu sync.RWMutex
	m := map[string][]byte{}
	for _, k := range keys {
		m[k] = make([]byte, 64)
	}
	buf, i := make([]byte, 64), uint32(0)
	if set {
		return func() error {
			mu.Lock()
			k := keys[draw(&i)]
			m[k] = append(m[k][:0], buf...)
			mu.Unlock()
			return nil
		}
	}
	return func() error {
		mu.RLock()
		buf = append(buf[:0], m[keys[draw(&i)]]...)
		mu.RUnlock()
		return nil
	}
}
