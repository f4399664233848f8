package proc_test

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/proc"
)

// BenchmarkCrashSeen measures from the kill of a child to OnUnexpectedExit, and to the next one being ready (with a back-off of
// 1 ns).
func BenchmarkCrashSeen(b *testing.B) {
	m := manage(b, nil)
	seen := make(chan time.Time, 1)
	m.OnUnexpectedExit(func(string, proc.Exit) { seen <- time.Now() })
	ready := make(chan time.Time, 1)
	m.OnAfterStart(func(string) { ready <- time.Now() })
	m.add(proc.Spec{Name: "x", Command: []string{"sleep", "1000"}, Restart: proc.Always, Backoff: proc.Backoff{First: 1, Max: 1}})
	ok(b, m.StartAll(bg))
	<-ready
	var saw, ran []time.Duration
	for b.Loop() {
		pid := m.state("x").Pid
		at := time.Now()
		ok(b, syscall.Kill(pid, syscall.SIGKILL))
		saw = append(saw, (<-seen).Sub(at))
		ran = append(ran, (<-ready).Sub(at))
	}
	slices.Sort(saw)
	slices.Sort(ran)
	b.ReportMetric(float64(saw[len(saw)/2].Microseconds()), "µs-seen-p50")
	b.ReportMetric(float64(saw[len(saw)*99/100].Microseconds()), "µs-seen-p99")
	b.ReportMetric(float64(ran[len(ran)/2].Microseconds()), "µs-restarted-p50")
}
