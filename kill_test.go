package shiplap_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/queue"
)

var bg = killtest.Background()

// world is what survivors have: a domain, and in it the queue "keep" with the message "kept".
type world struct {
	d    *shiplap.Domain
	keep *queue.Raw
}

func (w *world) Close() error {
	var err error
	if w.keep != nil {
		err = w.keep.Close()
	}
	if w.d != nil {
		err = errors.Join(err, w.d.Close())
	}
	return err
}

func join(dir string) (*shiplap.Domain, error) {
	return shiplap.Join("some", &shiplap.Options{Dir: dir, NoSweep: true})
}

func fresh(*killtest.Trial) (any, error) { return &world{}, nil }

func existing(t *killtest.Trial) (any, error) {
	d, err := join(t.Dir)
	if err != nil {
		return nil, err
	}
	w := &world{d: d}
	if w.keep, err = queue.CreateRaw(d, "keep", &queue.Options{Capacity: 4096}); err == nil {
		err = w.keep.TryPut([]byte("kept"))
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// withDead adds all that the dead leave: a slot in the table, a temporary, an object that was to go with its last
// user, a name half removed.
func withDead(t *killtest.Trial) (any, error) {
	state, err := existing(t)
	if err != nil {
		return nil, err
	}
	w := state.(*world)
	file := func(name string) string { return filepath.Join(w.d.Dir(), name) }
	const slot, gen = 7, 3
	at := make([]byte, 12)
	binary.LittleEndian.PutUint32(at, gen)
	binary.LittleEndian.PutUint32(at[4:], 1)      // used
	binary.LittleEndian.PutUint32(at[8:], 999999) // pid
	steps := []func() error{
		func() error { return write(file("#members"), at, 4096+128*slot) },
		func() error { return copyFile(file("keep"), file(fmt.Sprintf("#tmp.%08x.12345678", gen<<10|slot))) },
		func() error { return copyFile(file("keep"), file("unused")) },
		func() error { return write(file("unused"), []byte{1}, 24) }, // flags: ephemeral
		func() error { return copyFile(file("keep"), file("half")) },
		func() error { return write(file("half"), []byte{1}, 128) }, // state: removed
	}
	for _, f := range steps {
		err = errors.Join(err, f())
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

func write(name string, b []byte, at int64) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(b, at)
	return err
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// intact: one can join, all that was there is there, objects come and go, and a sweep leaves nothing of the dead.
func intact(t *killtest.Trial, state any) error {
	return killtest.Promptly("use of the domain", func(ctx context.Context) error { return use(ctx, t.Dir, state.(*world)) })
}

func use(ctx context.Context, dir string, w *world) error {
	d, err := shiplap.Join("some", &shiplap.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer d.Close()
	q, err := queue.CreateRaw(d, "new", &queue.Options{Capacity: 4096})
	if err != nil {
		return err
	}
	defer q.Close()
	for _, q := range []*queue.Raw{q, w.keep} {
		if q == nil {
			continue
		}
		if err := q.TryPut([]byte("kept")); err != nil {
			return err
		}
		if b, err := q.TryGet(nil); err != nil || string(b) != "kept" {
			return fmt.Errorf("%s: got %q (%v)", q, b, err)
		}
	}
	if err := d.Remove(ctx, "new"); err != nil {
		return err
	}
	if err := q.TryPut(nil); !errors.Is(err, shiplap.ErrRemoved) {
		return fmt.Errorf("a put into a removed queue: %w", err)
	}
	return tidy(d, w.names()...)
}

func (w *world) names() []string {
	if w.keep != nil {
		return []string{"keep"}
	}
	return nil
}

// tidy checks that after a sweep there are these objects, and one member.
func tidy(d *shiplap.Domain, names ...string) error {
	if _, err := d.Sweep(bg, false); err != nil {
		return err
	}
	if m, err := d.Members(); err != nil || len(m) != 1 || !m[0].Alive || m[0].Pid != os.Getpid() {
		return fmt.Errorf("members after a sweep: %v (%v)", m, err)
	}
	if again, err := d.Sweep(bg, true); err != nil || len(again) > 0 {
		return fmt.Errorf("a sweep after a sweep finds %v (%v)", again, err)
	}
	files, err := peertest.Files(d)
	if err != nil {
		return err
	}
	if !slices.Equal(files, names) {
		return fmt.Errorf("files %v; %v are wanted", files, names)
	}
	return nil
}

// beside is what survivors do while the victim stands still: join, sweep, make, use and remove; the last may find the
// names locked.
func beside(t *killtest.Trial, state any) error {
	w := state.(*world)
	d, err := join(t.Dir)
	if err != nil {
		return err
	}
	defer d.Close()
	ctx, cancel := context.WithTimeout(bg, 3*time.Millisecond)
	defer cancel()
	if _, err := d.Sweep(ctx, false); err != nil && !errors.Is(err, shiplap.ErrBusy) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	q, err := queue.CreateRaw(d, "other", &queue.Options{Capacity: 4096})
	if err != nil {
		return err
	}
	defer q.Close()
	if err := q.TryPut([]byte("x")); err != nil {
		return err
	}
	if w.keep != nil {
		if err := w.keep.TryPut([]byte("kept")); err != nil && !errors.Is(err, shiplap.ErrRemoved) {
			return err
		}
	}
	ctx2, cancel2 := context.WithTimeout(bg, 3*time.Millisecond)
	defer cancel2()
	if err := d.Remove(ctx2, "other"); err != nil && !errors.Is(err, shiplap.ErrBusy) {
		return err
	}
	return nil
}

func scenarios() []killtest.Scenario {
	joining := func(sweep bool) func(v *killtest.Victim) (func() error, error) {
		return func(v *killtest.Victim) (func() error, error) {
			// What a process does once in its life takes a hundred thousand instructions and is not shared.
			warm := filepath.Join(v.Dir, "warm")
			if err := os.MkdirAll(warm, 0o700); err != nil {
				return nil, err
			}
			d, err := join(warm)
			if err != nil {
				return nil, err
			}
			v.Own(d)
			v.Close = d.Close
			return func() error {
				d, err := shiplap.Join("some", &shiplap.Options{Dir: v.Dir, NoSweep: !sweep})
				if err == nil {
					v.Own(d)
				}
				return err
			}, nil
		}
	}
	member := func(op func(d *shiplap.Domain) error) func(v *killtest.Victim) (func() error, error) {
		return func(v *killtest.Victim) (func() error, error) {
			d, err := join(v.Dir)
			if err != nil {
				return nil, err
			}
			v.Own(d)
			v.Close = d.Close
			return func() error { return op(d) }, nil
		}
	}
	sweep := member(func(d *shiplap.Domain) error { _, err := d.Sweep(bg, false); return err })
	return []killtest.Scenario{
		{
			Name: "Join, first on the host", Covers: []string{"shiplap.Join"}, Setup: fresh, Prepare: joining(false), Check: intact, While: beside,
			Recover: &killtest.Recovery{Prepare: joining(false), Steps: deaths},
		},
		{
			Name: "Join a domain", Setup: existing, Prepare: joining(false), Check: intact, While: beside,
		},
		{
			Name: "Join after deaths", Setup: withDead, Prepare: joining(true), Check: intact, While: beside,
		},
		{
			Name: "Domain.Close", Covers: []string{"shiplap.Domain.Close"}, Setup: existing, Prepare: member((*shiplap.Domain).Close), Check: intact, While: beside,
		},
		{
			Name: "Domain.Remove", Covers: []string{"shiplap.Domain.Remove"}, Setup: existing, Check: removed, While: removing,
			Prepare: member(func(d *shiplap.Domain) error { return d.Remove(bg, "keep") }),
			Recover: &killtest.Recovery{Steps: deaths, Prepare: member(func(d *shiplap.Domain) error {
				if err := d.Remove(bg, "keep"); !errors.Is(err, shiplap.ErrNotExist) {
					return err
				}
				return nil
			})},
		},
		{
			Name: "Domain.Sweep", Covers: []string{"shiplap.Domain.Sweep"}, Setup: withDead, Prepare: sweep, Check: intact, While: beside,
			Recover: &killtest.Recovery{Prepare: sweep, Steps: deaths},
		},
	}
}

// removing: while the victim stands still, who has the object open uses it or is told; its memory stays.
func removing(t *killtest.Trial, state any) error {
	w := state.(*world)
	err := w.keep.TryPut([]byte("kept"))
	if err != nil && !errors.Is(err, shiplap.ErrRemoved) {
		return err
	}
	return beside(t, state)
}

// removed: gone with all traces, or still there whole.
func removed(t *killtest.Trial, state any) error {
	w := state.(*world)
	err := w.keep.TryPut([]byte("kept"))
	gone := errors.Is(err, shiplap.ErrRemoved)
	_, there := w.d.Stat("keep")
	switch {
	case err != nil && !gone:
		return err
	case !gone && (t.Done || t.RecoverDone || t.Mode == killtest.Pause):
		return errors.New("removed, and usable")
	case gone && (t.Done || t.RecoverDone || t.Mode == killtest.Pause) && !errors.Is(there, shiplap.ErrNotExist):
		return fmt.Errorf("removed, and its name is there (%w)", there)
	case !gone:
		return intact(t, state)
	}
	// The name can be given anew at once, before any sweep.
	err = killtest.Promptly("create", func(context.Context) error {
		q, err := queue.CreateRaw(w.d, "keep", &queue.Options{Capacity: 4096})
		if err != nil {
			return err
		}
		err = w.keep.Close()
		w.keep = q
		return err
	})
	if err != nil {
		return err
	}
	return intact(t, state)
}

// deaths are those that are recovered from, unless all are.
func deaths(total int) (steps []int) {
	const n = 3
	for i := range n { // most of the beginning is spent on the way to what is shared
		steps = append(steps, total-i*total*2/3/n)
	}
	return steps
}

func TestKilledAnywhere(t *testing.T) {
	killtest.RunKills(t, func(s killtest.Scenario, opt *killtest.Options) (skip string) {
		heavy := strings.Contains(s.Name, "deaths") || strings.Contains(s.Name, "Sweep") // a million instructions
		if heavy && !killtest.Thorough() {
			opt.Pause = false
		}
		return ""
	}, scenarios()...)
}

func TestEveryOperationHasAScenario(t *testing.T) {
	const looks = "it reads, and changes nothing that is shared"
	killtest.CheckCovered(t, ".", map[string]string{
		"shiplap.Domains":        looks,
		"shiplap.Look":           looks,
		"shiplap.Domain.Name":    looks,
		"shiplap.Domain.Dir":     looks,
		"shiplap.Domain.String":  looks,
		"shiplap.Domain.List":    looks,
		"shiplap.Domain.Stat":    looks,
		"shiplap.Domain.Members": looks,
		"shiplap.Domain.Locks":   looks,
		"shiplap.Domain.Space":   looks,
	}, scenarios()...)
}
