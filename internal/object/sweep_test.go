package object

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/member"
)

// brief is a context that ends after so many questions whether it has.
type brief struct {
	context.Context
	left int
}

func (b *brief) Err() error {
	if b.left--; b.left < 0 {
		return context.DeadlineExceeded
	}
	return nil
}

func (s *Space) sweepBriefly(looks int) error {
	w := sweep{space: s, ctx: &brief{bg, looks}}
	err := w.run()
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

func (s *Space) exists(file string) bool {
	_, err := s.Dir.Thing(file)
	return !errors.Is(err, errs.ErrNotExist)
}

// killed waits until everybody can see that the child is dead.
func (c *child) killed(t *testing.T, s *Space) {
	t.Helper()
	dead := len(s.Table.Leftovers())
	c.kill()
	eventually(t, "the death", func() bool { return len(s.Table.Leftovers()) > dead })
}

// In a domain of many objects no sweep comes to an end, but together they do: everything that the dead left goes, and only
// then their slots. Somebody else who dies in the middle is swept after, too.
func TestSweepInParts(t *testing.T) {
	const objects, looks = 300, 40
	base := t.TempDir()
	s := enter(t, base)
	for i := range objects {
		closed(t, create(t, s, fmt.Sprintf("o%d", i), 0))
	}
	leave := func(n int) (gone func() bool) {
		c := start(t, base)
		e, h := fmt.Sprintf("e%d", n), fmt.Sprintf("h%d", n)
		for _, line := range []string{"ephemeral " + e, "create " + h, "mark " + h, "temporary"} {
			c.do(t, line)
		}
		temp := fmt.Sprintf("#tmp.%08x.0", c.token)
		c.killed(t, s)
		return func() bool {
			if s.exists(temp) {
				t.Error("the temporary is still there")
			}
			return !s.exists(e) && !s.exists(h)
		}
	}
	all := []func() bool{leave(0), leave(1)}
	rounds := 0
	for ; len(s.Table.Leftovers()) > 0; rounds++ {
		if rounds == 3 {
			all = append(all, leave(2))
		}
		if rounds > 4*objects/looks {
			t.Fatalf("%d rounds, and not done: %+v", rounds, s.Table.Leftovers())
		}
		// Often the one that sweeps is another process each time.
		if err := s.sweepBriefly(looks); err != nil {
			t.Fatal(err)
		}
	}
	for i, gone := range all {
		if !gone() {
			t.Errorf("the slot of dead member %d was cleared, and what it left is there", i)
		}
	}
	if rounds < objects/looks {
		t.Errorf("%d rounds of %d looks for %d objects", rounds, looks, objects)
	}
	if err := s.SweepSome(time.Hour); err != nil {
		t.Error(err)
	}
	if in, err := s.List(); err != nil || len(in) != objects {
		t.Errorf("%d objects left, %v", len(in), err)
	}
}

// One who dies during a sweep, after the directory was read, has its slot until the next one.
func TestDeathDuringSweep(t *testing.T) {
	base := t.TempDir()
	s := enter(t, base)
	first, second := start(t, base), start(t, base)
	first.do(t, "create h")
	first.do(t, "mark h")
	second.do(t, "temporary")
	first.killed(t, s)
	defer func() { paused = nil }()
	paused = func(string) {
		paused = nil
		second.killed(t, s)
	}
	if _, err := s.Sweep(bg, false); err != nil {
		t.Fatal(err)
	}
	if l := s.Table.Leftovers(); len(l) != 1 || l[0].Token != second.token {
		t.Errorf("%+v", l)
	}
	if _, err := s.Sweep(bg, false); err != nil || s.Table.AnyDead() || s.exists(fmt.Sprintf("#tmp.%08x.0", second.token)) {
		t.Errorf("not swept by the next (%v)", err)
	}
}

// Wrong bytes in the table of members do not make a sweep take the file that a living process is making.
func TestSweepAndAForgedDeath(t *testing.T) {
	base := t.TempDir()
	s := enter(t, base)
	c := start(t, base)
	c.do(t, "fill")
	f, err := os.OpenFile(s.Dir.Path()+"/#members", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at := int64(4096 + 128*(c.token&1023))
	if _, err := f.WriteAt([]byte{77}, at); err != nil { // the generation
		t.Fatal(err)
	}
	if !s.Table.Dead(c.token) {
		t.Fatal("the forgery does not work")
	}
	if sw, err := s.Sweep(bg, false); err != nil || len(sw) != 0 || !s.exists(fmt.Sprintf("#tmp.%08x.1", c.token)) {
		t.Errorf("%+v, %v", sw, err)
	}
}

// A header that says "removed" or "ephemeral" where it should not, or that is damaged beside, costs nobody else anything.
func TestSweepAndAForgedHeader(t *testing.T) {
	s := enter(t, t.TempDir())
	used, damaged := create(t, s, "used", 0), create(t, s, "damaged", 0)
	defer closed(t, used)
	closed(t, damaged, create(t, s, "beside", 0))
	forge := func(name string, at int64, b byte) {
		f, err := os.OpenFile(s.Dir.Path()+"/"+name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte{b}, at); err != nil {
			t.Fatal(err)
		}
	}
	forge("used", offFlags, byte(Ephemeral))
	forge("damaged", offState, byte(Removed))
	forge("damaged", offLocks, 200)
	if sw, err := s.Sweep(bg, false); err != nil || len(sw) != 0 {
		t.Errorf("%+v, %v", sw, err)
	}
	for _, name := range []string{"used", "damaged", "beside"} {
		if !s.exists(name) {
			t.Errorf("%s is gone", name)
		}
	}
}

// What can never be an object goes with a sweep that somebody asks for, but nothing that may be worth something.
func TestSweepOfThings(t *testing.T) {
	s := enter(t, t.TempDir())
	dir := s.Dir.Path()
	closed(t, create(t, s, "open to all", 0))
	err := errors.Join(os.Symlink("nowhere", dir+"/link"), unix.Mkfifo(dir+"/fifo", 0o600), os.Mkdir(dir+"/empty", 0o700),
		os.MkdirAll(dir+"/full/of", 0o700), os.WriteFile(dir+"/file", []byte("text"), 0o600), os.Chmod(dir+"/open to all", 0o666))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SweepSome(time.Hour); err != nil || !s.exists("link") {
		t.Errorf("the sweep of a join took it away (%v)", err)
	}
	for _, dry := range []bool{true, false} {
		sw, err := s.Sweep(bg, dry)
		found := map[Swept]bool{}
		for _, w := range sw {
			found[w] = true
		}
		if err != nil || len(sw) != 3 || !found[Swept{"symbolic link", "link", 0}] || !found[Swept{"FIFO", "fifo", 0}] || !found[Swept{"directory", "empty", 0}] {
			t.Errorf("dry %v: %+v, %v", dry, sw, err)
		}
	}
	for name, stays := range map[string]bool{"link": false, "fifo": false, "empty": false, "full": true, "file": true, "open to all": true} {
		if s.exists(name) != stays {
			t.Errorf("%s is there: %v", name, !stays)
		}
	}
}

// BenchmarkSweepSome measures what a join pays while a member is dead among many objects.
func BenchmarkSweepSome(b *testing.B) {
	for _, objects := range []int{100, 20_000} {
		b.Run(fmt.Sprint(objects), func(b *testing.B) {
			base, err := os.MkdirTemp("/dev/shm", "shiplap-test-")
			if err != nil {
				b.Fatal(err)
			}
			defer os.RemoveAll(base)
			s, err := Enter(base, "domain", 0)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Release()
			for i := range objects {
				o, err := s.Create(fmt.Sprintf("object %d", i), spec(0))
				if err != nil {
					b.Fatal(err)
				}
				if err := o.Close(); err != nil {
					b.Fatal(err)
				}
			}
			worst, parts := time.Duration(0), 0
			for b.Loop() {
				c := starting(b, base)
				c.kill()
				for !s.Table.AnyDead() {
					time.Sleep(time.Millisecond)
				}
				for s.Table.AnyDead() {
					start := time.Now()
					if err := s.SweepSome(10 * time.Millisecond); err != nil && !errors.Is(err, context.DeadlineExceeded) {
						b.Fatal(err)
					}
					worst = max(worst, time.Since(start))
					parts++
				}
			}
			b.ReportMetric(float64(parts)/float64(b.N), "joins/death")
			b.ReportMetric(float64(worst.Microseconds()), "worst-µs/join")
		})
	}
}

// TestBeginsAnywhere: those who take a slot one after the other, and those in slots beside each other, begin far apart.
func TestBeginsAnywhere(t *testing.T) {
	for _, step := range []uint32{1, member.Buckets} { // the next slot, and the next user of a slot
		seen := map[int]bool{}
		for i := range uint32(500) {
			at, next := anywhere(1+i*step), anywhere(1+(i+1)*step)
			if d := (next - at + member.Buckets) % member.Buckets; min(d, member.Buckets-d) < member.Buckets/10 {
				t.Errorf("members %d and %d begin at %d and %d", 1+i*step, 1+(i+1)*step, at, next)
			}
			seen[at] = true
		}
		if len(seen) < 400 {
			t.Errorf("500 members begin at %d places", len(seen))
		}
	}
}
