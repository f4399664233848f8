package shiplap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/segment"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// DefaultDomain is what Join takes for an empty name.
const DefaultDomain = "default"

// WaitMode says how calls that have to wait do it.
type WaitMode = wait.Mode

const (
	// WaitAdaptive polls for as long as recent waits say that it pays, at most some tens of
	// microseconds, then sleeps. The default.
	WaitAdaptive = wait.Adaptive
	// WaitSpin polls for milliseconds before each sleep: it costs a CPU.
	WaitSpin = wait.Spin
	// WaitSleep sleeps at once: for processes that share one CPU.
	WaitSleep = wait.Sleep
)

// sweepPatience bounds the part of a sweep that each Join makes while there are dead members.
const sweepPatience = 10 * time.Millisecond

// Options of Join. The zero value is good.
type Options struct {
	// Dir is the directory below which domains lie; empty means $SHIPLAP_DIR or else /dev/shm.
	// Containers share domains by mounting one directory.
	Dir string
	// Wait is how the objects opened through this domain wait.
	Wait WaitMode
	// NoSweep keeps Join from taking away what dead members left behind.
	NoSweep bool
}

// Domain is this process's membership of a domain. All methods may be called concurrently. Objects
// opened through it stay usable after its Close, and keep the membership alive.
type Domain struct {
	space *object.Space
	base  string
	once  sync.Once
}

func init() {
	object.OfDomain = func(d any) *object.Space { return d.(*Domain).space }
}

// Join makes this process a member of the domain called name (DefaultDomain if empty), making the
// domain if it does not exist. A process that joins twice is one member. If members died since, what
// they left is swept.
func Join(name string, opt *Options) (*Domain, error) {
	if opt == nil {
		opt = &Options{}
	}
	if name == "" {
		name = DefaultDomain
	}
	base := segment.Base(opt.Dir)
	s, err := object.Enter(base, name, opt.Wait)
	if err != nil {
		return nil, fmt.Errorf("join domain %q: %w", name, err)
	}
	d := &Domain{space: s, base: base}
	if !opt.NoSweep && s.Table.AnyDead() {
		// What cannot be swept now the next one sweeps; it is no reason not to join.
		// Nor is another process that was stopped in the middle of a removal.
		_ = s.SweepSome(sweepPatience)
	}
	return d, nil
}

// Look opens the domain called name (DefaultDomain if empty) without joining it: this process does not
// become a member, takes none of the 1024 places, and needs no write access. ErrNotExist if it is not
// there. Everything that looks works: List, Stat, Members, Locks, Space, a dry Sweep; with write access
// Remove and Sweep as well. Objects can be opened to look at their statistics and contents; what would
// change them fails.
func Look(name string, opt *Options) (*Domain, error) {
	if opt == nil {
		opt = &Options{}
	}
	if name == "" {
		name = DefaultDomain
	}
	base := segment.Base(opt.Dir)
	s, err := object.Visit(base, name)
	if err != nil {
		return nil, fmt.Errorf("look at domain %q: %w", name, err)
	}
	s.Mode = opt.Wait
	return &Domain{space: s, base: base}, nil
}

// Close ends the membership once no object is open through it any more, and no call on one is still on
// its way out.
func (d *Domain) Close() error {
	err := ErrClosed
	d.once.Do(func() { err = d.space.Release() })
	return err
}

// Name is the name of the domain.
func (d *Domain) Name() string { return d.space.Name }

// Dir is the directory of the domain itself, which holds one file an object.
func (d *Domain) Dir() string { return d.space.Dir.Path() }

// String names the domain and where it lies.
func (d *Domain) String() string { return fmt.Sprintf("domain %q at %s", d.Name(), d.Dir()) }

// Remove takes away the object called name. Processes that have it open get ErrRemoved. It waits only while
// another process is removing something in this domain.
func (d *Domain) Remove(ctx context.Context, name string) error {
	if err := d.space.Retain(); err != nil {
		return err
	}
	defer d.space.Release()
	return d.space.Remove(ctx, name)
}

// Domains lists the names of this user's domains below dir (see Options.Dir).
func Domains(dir string) ([]string, error) {
	files, err := os.ReadDir(segment.DomainsPath(segment.Base(dir)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, f := range files {
		if name, ok := segment.ObjectName(f.Name()); ok {
			names = append(names, name)
		}
	}
	return names, nil
}
