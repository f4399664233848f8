//go:build linux

package bench

import (
	"context"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// Kind says what the time of a slice means.
type Kind string

const (
	RoundTrip Kind = "round trip" // nanoseconds a trip
	OneWay    Kind = "one way"    // messages a second
	Stream    Kind = "stream"     // bytes a second
)

// Case is one thing to measure. Open runs in both processes and returns a loop that does n steps on
// that side: trips, messages, or writes of Bytes.
type Case struct {
	Name  string
	Kind  Kind
	Bytes int
	CPU   [2]int // of the two sides
	Chunk int    // round trips that are timed together, because looking at the clock takes time as well
	Open  func(e *Env) (Loop, error)
}

// Loop does n steps; on side 0 it returns when all of them have arrived.
type Loop struct {
	Run   func(n int) error
	Close func()
}

// Section is a group of cases that take turns.
type Section struct {
	Name   string
	Busy   int // processes that keep the processors busy meanwhile
	Cases  []Case
	Slices int
}

// Env is what a side of a case has.
type Env struct {
	Side   int
	Domain *shiplap.Domain
	Raw    *mem.Span // shared memory without anything in it
	Sock   int       // this side's end of a Unix stream socket pair
	In     int       // pipes
	Out    int
	Name   string // for the objects of this case
	Bytes  int
}

var background = context.Background()

// CPUs that the two sides are bound to.
var (
	apart    = [2]int{0, 1}
	together = [2]int{0, 0}
	anywhere = [2]int{-1, -1}
)

// Sections is everything there is to measure.
func Sections() []Section {
	return []Section{
		{Name: "round trip, both processors free", Slices: 40, Cases: []Case{
			{Name: "limit: a cache line each way", Kind: RoundTrip, Bytes: 8, CPU: apart, Chunk: 16, Open: rawLine},
			{Name: "shiplap queue, exclusive handles", Kind: RoundTrip, Bytes: 8, CPU: apart, Chunk: 16, Open: queueTrip(shiplap.WaitAdaptive)},
			{Name: "shiplap queue, shared handles", Kind: RoundTrip, Bytes: 8, CPU: apart, Chunk: 16, Open: sharedTrip},
			{Name: "shiplap pipe, messages", Kind: RoundTrip, Bytes: 8, CPU: apart, Chunk: 16, Open: pipeTrip},
			{Name: "unix socket", Kind: RoundTrip, Bytes: 8, CPU: apart, Chunk: 1, Open: socketTrip},
			{Name: "os.Pipe", Kind: RoundTrip, Bytes: 8, CPU: apart, Chunk: 1, Open: pipesTrip},
		}},
		{Name: "round trip, everybody sleeping, two processors", Slices: 24, Cases: []Case{
			{Name: "limit: raw futex", Kind: RoundTrip, Bytes: 8, CPU: apart, Chunk: 1, Open: rawFutex},
			{Name: "shiplap queue, sleeping", Kind: RoundTrip, Bytes: 8, CPU: apart, Chunk: 1, Open: queueTrip(shiplap.WaitSleep)},
			{Name: "unix socket, two processors", Kind: RoundTrip, Bytes: 8, CPU: apart, Chunk: 1, Open: socketTrip},
		}},
		{Name: "round trip, everybody sleeping, one processor", Slices: 24, Cases: []Case{
			{Name: "limit: raw futex, one processor", Kind: RoundTrip, Bytes: 8, CPU: together, Chunk: 1, Open: rawFutex},
			{Name: "shiplap queue, sleeping, one processor", Kind: RoundTrip, Bytes: 8, CPU: together, Chunk: 1, Open: queueTrip(shiplap.WaitSleep)},
			{Name: "unix socket, one processor", Kind: RoundTrip, Bytes: 8, CPU: together, Chunk: 1, Open: socketTrip},
		}},
		{Name: "round trip, twice as many busy processes as processors", Slices: 12, Busy: -2, Cases: []Case{
			{Name: "unix socket, busy machine", Kind: RoundTrip, Bytes: 8, CPU: anywhere, Chunk: 1, Open: socketTrip},
			{Name: "shiplap queue, busy machine", Kind: RoundTrip, Bytes: 8, CPU: anywhere, Chunk: 1, Open: queueTrip(shiplap.WaitAdaptive)},
		}},
		{Name: "one way, 64 bytes", Slices: 30, Cases: []Case{
			{Name: "Go channel between goroutines", Kind: OneWay, Bytes: 64, CPU: anywhere, Open: channel(1024)},
			{Name: "Go channel without a buffer", Kind: OneWay, Bytes: 64, CPU: anywhere, Open: channel(0)},
			{Name: "shiplap queue, exclusive handles, 64 B", Kind: OneWay, Bytes: 64, CPU: apart, Open: queueOneWay},
			{Name: "shiplap queue, exclusive handles, 64 B, 16 at a time", Kind: OneWay, Bytes: 64, CPU: apart, Open: queueBatches},
			{Name: "shiplap queue, shared handles, one by one", Kind: OneWay, Bytes: 64, CPU: apart, Open: sharedOneWay(1)},
			{Name: "shiplap queue, shared handles, 16 at a time", Kind: OneWay, Bytes: 64, CPU: apart, Open: sharedOneWay(16)},
			{Name: "unix socket, 64 B", Kind: OneWay, Bytes: 64, CPU: apart, Open: socketOneWay},
			{Name: "os.Pipe, 64 B", Kind: OneWay, Bytes: 64, CPU: apart, Open: pipesOneWay},
		}},
		{Name: "stream, writes of 64 KiB", Slices: 30, Cases: []Case{
			{Name: "limit: copy in, copy out", Kind: Stream, Bytes: 64 << 10, CPU: apart, Open: rawCopy},
			{Name: "shiplap pipe, stream", Kind: Stream, Bytes: 64 << 10, CPU: apart, Open: pipeStream},
			{Name: "unix socket, stream", Kind: Stream, Bytes: 64 << 10, CPU: apart, Open: socketOneWay},
			{Name: "os.Pipe, stream", Kind: Stream, Bytes: 64 << 10, CPU: apart, Open: pipesOneWay},
		}},
		{Name: "hand-over in place, there and back", Slices: 24, Cases: []Case{
			{Name: "in place, 1 KiB", Kind: RoundTrip, Bytes: 1 << 10, CPU: apart, Chunk: 16, Open: inPlace},
			{Name: "in place, 64 KiB", Kind: RoundTrip, Bytes: 64 << 10, CPU: apart, Chunk: 16, Open: inPlace},
			{Name: "in place, 1 MiB", Kind: RoundTrip, Bytes: 1 << 20, CPU: apart, Chunk: 16, Open: inPlace},
		}},
	}
}
