package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// Config of a run.
type Config struct {
	Dir      string        // below which the domain of the run is made
	Slice    time.Duration // length of one slice
	Scale    float64       // of the number of slices
	Only     func(c Case) bool
	Progress func(section string, done, of int)
	Peer     []string // the command line that runs Peer in a process of its own
}

// Result is what was measured for one case.
type Result struct {
	Name    string   `json:"name"`
	Section string   `json:"section"`
	Kind    Kind     `json:"kind"`
	Bytes   int      `json:"bytes"`
	Unit    string   `json:"unit"`
	All     Figures  `json:"all"`
	Near    *Figures `json:"near,omitempty"`
	Far     *Figures `json:"far,omitempty"`
}

// Figures sum up slices: for round trips nanoseconds (percentiles over chunks of trips), else a rate.
type Figures struct {
	Slices int     `json:"slices"`
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	P99    float64 `json:"p99,omitempty"`
}

// Place is how far apart the processors were.
type Place int

const (
	Mixed Place = iota
	Near
	Far
)

type slice struct {
	value float64
	p99   float64
	place Place
}

// Environment that tells a peer what it is.
const (
	envPeer   = "SHIPLAP_BENCH_PEER" // the domain's base directory
	envHog    = "SHIPLAP_BENCH_HOG"
	envPlayer = "SHIPLAP_BENCH_PLAYER" // the same, for a peer that locks
	envCrew   = "SHIPLAP_BENCH_CREW"   // the same, for a worker of a crew
)

// The peer's inherited descriptors.
const (
	fdRaw  = 3
	fdSock = 4
	fdIn   = 5
	fdOut  = 6
)

type runner struct {
	cfg   Config
	env   Env
	peer  *exec.Cmd
	cmds  io.WriteCloser
	lines *bufio.Reader
}

// Run measures all sections.
func Run(ctx context.Context, cfg Config) (results []Result, err error) {
	if runtime.NumCPU() < 2 {
		return nil, errors.New("two processors are needed to measure what lies between two processes")
	}
	base, err := os.MkdirTemp(cfg.Dir, "shiplap-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(base)
	r := &runner{cfg: cfg}
	stop, err := r.start(ctx, base)
	if err != nil {
		return nil, err
	}
	defer stop()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for i, s := range Sections() {
		if cfg.Only != nil {
			s.Cases = slices.DeleteFunc(s.Cases, func(c Case) bool { return !cfg.Only(c) })
		}
		if len(s.Cases) == 0 {
			continue
		}
		res, err := r.section(ctx, i, s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		results = append(results, res...)
		runtime.GC()
	}
	return results, nil
}

func (r *runner) start(ctx context.Context, base string) (stop func(), err error) {
	d, err := shiplap.Join("bench", &shiplap.Options{Dir: base})
	if err != nil {
		return nil, err
	}
	raw, err := os.Create(filepath.Join(base, "raw"))
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	if err := unix.Fallocate(int(raw.Fd()), 0, 0, rawSize); err != nil {
		return nil, err
	}
	region, err := mem.Map(int(raw.Fd()), mem.Part{Len: rawSize})
	if err != nil {
		return nil, err
	}
	sock, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	var there, back [2]int
	if err := errors.Join(unix.Pipe2(there[:], unix.O_CLOEXEC), unix.Pipe2(back[:], unix.O_CLOEXEC)); err != nil {
		return nil, err
	}
	r.env = Env{Side: 0, Domain: d, Raw: region.Span(0), Sock: sock[0], In: back[0], Out: there[1]}
	cmd := exec.CommandContext(ctx, r.cfg.Peer[0], r.cfg.Peer[1:]...)
	cmd.Env = append(os.Environ(), envPeer+"="+base, "GOGC=off")
	cmd.Stderr = os.Stderr
	peerFiles := []*os.File{os.NewFile(uintptr(sock[1]), "socket"), os.NewFile(uintptr(there[0]), "pipe"), os.NewFile(uintptr(back[1]), "pipe")}
	cmd.ExtraFiles = append([]*os.File{raw}, peerFiles...)
	if r.cmds, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	r.lines = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for _, f := range peerFiles {
		f.Close()
	}
	r.peer = cmd
	return func() {
		r.cmds.Close()
		cmd.Wait()
		for _, fd := range []int{sock[0], back[0], there[1]} {
			unix.Close(fd)
		}
		region.Unmap()
		d.Close()
	}, nil
}

// order is what the peer is told to do.
type order struct {
	Do      string // "open", "run", "probe", "close"
	Section int
	Case    string
	N       int
}

func (r *runner) tell(o order) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, err = r.cmds.Write(append(b, '\n'))
	return err
}

func (r *runner) ask(o order) error {
	if err := r.tell(o); err != nil {
		return err
	}
	return r.answer()
}

func (r *runner) answer() error {
	line, err := r.lines.ReadString('\n')
	if err != nil {
		return fmt.Errorf("the other process ended: %w", err)
	}
	if line != "ok\n" {
		return fmt.Errorf("the other process: %s", line)
	}
	return nil
}

func (r *runner) section(ctx context.Context, index int, s Section) ([]Result, error) {
	if s.Busy != 0 {
		stop, err := r.hogs(ctx, -s.Busy*runtime.NumCPU())
		if err != nil {
			return nil, err
		}
		defer stop()
	}
	loops := make([]Loop, len(s.Cases))
	steps := make([]int, len(s.Cases))
	got := make([][]slice, len(s.Cases))
	for i, c := range s.Cases {
		e := r.env
		e.Name, e.Bytes = fmt.Sprintf("%d.%s", index, c.Name), c.Bytes
		l, err := c.Open(&e)
		if err != nil {
			return nil, err
		}
		loops[i] = l
		if err := r.ask(order{"open", index, c.Name, 0}); err != nil {
			return nil, err
		}
	}
	defer func() {
		for i, c := range s.Cases {
			if loops[i].Close != nil {
				loops[i].Close()
			}
			_ = r.ask(order{"close", index, c.Name, 0})
		}
	}()
	rounds := max(int(float64(s.Slices)*r.cfg.Scale), 3)
	for round := range rounds {
		for i, c := range s.Cases {
			if err := ctx.Err(); err != nil {
				return nil, context.Cause(ctx)
			}
			if steps[i] == 0 {
				n, err := r.calibrate(index, c, loops[i])
				if err != nil {
					return nil, err
				}
				steps[i] = n
			}
			sl, _, err := r.slice(index, c, loops[i], steps[i])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.Name, err)
			}
			got[i] = append(got[i], sl)
		}
		if r.cfg.Progress != nil {
			r.cfg.Progress(s.Name, round+1, rounds)
		}
	}
	var results []Result
	for i, c := range s.Cases {
		results = append(results, sum(s, c, got[i]))
	}
	return results, nil
}

// calibrate finds how many steps fill a slice.
func (r *runner) calibrate(index int, c Case, l Loop) (int, error) {
	n := max(c.Chunk, 16)
	for {
		_, took, err := r.slice(index, c, l, n)
		if err != nil {
			return 0, err
		}
		if took >= r.cfg.Slice/4 || n > 1<<26 {
			n = int(float64(n) * float64(r.cfg.Slice) / float64(took+1))
			chunk := max(c.Chunk, 16)
			return max(n/chunk, 1) * chunk, nil
		}
		n *= 4
	}
}

func (r *runner) slice(index int, c Case, l Loop, n int) (s slice, took time.Duration, err error) {
	before, err := r.probe()
	if err != nil {
		return s, 0, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	bind(c.CPU[0])
	defer bind(-1)
	done := r.env.Raw.U64(rawDoneAt)
	goal := done.Load() + 1
	if err := r.tell(order{"run", index, c.Name, n}); err != nil {
		return s, 0, err
	}
	// The first steps wait for the other side to wake up: they are not timed.
	warm := max(c.Chunk, 1)
	if c.Kind != RoundTrip {
		warm = min(n/8, 64)
	}
	if err := l.Run(warm); err != nil {
		return s, 0, err
	}
	start := time.Now()
	var chunks []float64
	if c.Kind == RoundTrip {
		for i := warm; i < n; i += c.Chunk {
			t := time.Now()
			if err := l.Run(c.Chunk); err != nil {
				return s, 0, err
			}
			chunks = append(chunks, float64(time.Since(t).Nanoseconds())/float64(c.Chunk))
		}
	} else if err := l.Run(n - warm); err != nil {
		return s, 0, err
	}
	for done.Load() != goal { // until the other side has everything
		if c.CPU[0] == c.CPU[1] || c.Kind == RoundTrip {
			time.Sleep(10 * time.Microsecond)
		}
		if time.Since(start) > 30*time.Second {
			return s, 0, errors.New("the other process does not answer")
		}
	}
	took = time.Since(start)
	if err := r.answer(); err != nil {
		return s, took, err
	}
	after, err := r.probe()
	if err != nil {
		return s, took, err
	}
	if before == after {
		s.place = before
	}
	switch c.Kind {
	case RoundTrip:
		if len(chunks) == 0 {
			chunks = []float64{float64(took.Nanoseconds()) / float64(n)}
		}
		slices.Sort(chunks)
		s.value, s.p99 = chunks[len(chunks)/2], chunks[len(chunks)*99/100]
	case OneWay:
		s.value = float64(n-warm) / took.Seconds()
	case Stream:
		s.value = float64(n-warm) * float64(c.Bytes) / took.Seconds()
	}
	return s, took, nil
}

const (
	probeTrips = 400
	nearBelow  = 200 * time.Nanosecond
)

// probe tells how far apart the processors are.
func (r *runner) probe() (Place, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	bind(apart[0])
	defer bind(-1)
	if err := r.tell(order{Do: "probe"}); err != nil {
		return Mixed, err
	}
	bounce(r.env.Raw, rawProbeAt, 0, 20)
	took := time.Hour
	for range probeTrips / 20 { // the fastest: the others were interrupted
		t := time.Now()
		bounce(r.env.Raw, rawProbeAt, 0, 20)
		took = min(took, time.Since(t)/20)
	}
	if err := r.answer(); err != nil {
		return Mixed, err
	}
	if took < nearBelow {
		return Near, nil
	}
	return Far, nil
}

func sum(s Section, c Case, all []slice) Result {
	res := Result{Name: c.Name, Section: s.Name, Kind: c.Kind, Bytes: c.Bytes, Unit: "1/s"}
	switch c.Kind {
	case RoundTrip:
		res.Unit = "ns"
	case Stream:
		res.Unit = "B/s"
	}
	at := func(p Place) *Figures {
		var v, p99 []float64
		for _, x := range all {
			if p == Mixed || x.place == p {
				v, p99 = append(v, x.value), append(p99, x.p99)
			}
		}
		if len(v) == 0 {
			return nil
		}
		slices.Sort(v)
		slices.Sort(p99)
		return &Figures{Slices: len(v), Median: v[len(v)/2], Min: v[0], Max: v[len(v)-1], P99: p99[len(p99)/2]}
	}
	res.All, res.Near, res.Far = *at(Mixed), at(Near), at(Far)
	return res
}
