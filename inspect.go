package shiplap

import (
	"context"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/member"
	"github.com/shiplap-ipc/shiplap/internal/object"
)

// Process is a member of a domain. Only Alive is proved by the kernel; the rest is what it said when
// it joined.
type Process struct {
	Pid     int       `json:"pid"`
	UID     int       `json:"uid"`
	Alive   bool      `json:"alive"`
	Joined  time.Time `json:"joined"`
	Command string    `json:"command"` // at most 72 bytes of it
	Token   uint32    `json:"token"`
}

// Info is what can be said about any object from outside. Nothing of it needs anybody alive.
type Info struct {
	Name      string    `json:"name"`
	Kind      string    `json:"kind"`
	Size      int64     `json:"size"` // bytes of the file, all reserved
	Created   time.Time `json:"created"`
	Creator   int       `json:"creator"` // pid
	Type      string    `json:"type"`    // descriptor of its elements
	Label     string    `json:"label,omitempty"`
	Ephemeral bool      `json:"ephemeral"` // goes with its last user
	Removed   bool      `json:"removed"`   // somebody died while removing it
	Users     []int     `json:"users"`     // pids of the members that have it open
	Err       error     `json:"-"`         // why its header cannot be read
	Problem   string    `json:"problem,omitempty"`
}

// Lock is one lock inside an object.
type Lock struct {
	Object     string       `json:"object"`
	Kind       string       `json:"kind"`
	Lock       string       `json:"lock"`
	Holder     *Process     `json:"holder"`         // nil when free
	Since      time.Time    `json:"since,omitzero"` // zero where the hold is too short to be recorded
	Contended  bool         `json:"contended"`      // somebody may be asleep on it
	Waiters    []LockWaiter `json:"waiters"`        // the first six
	Sleeps     uint64       `json:"sleeps"`         // how often somebody had to sleep for it
	Recoveries uint32       `json:"recoveries"`     // how often it was taken over from a dead owner
	Damaged    bool         `json:"damaged"`        // an owner died, and nobody marked what it protects repaired
	Shared     []LockShare  `json:"shared"`         // who reads, of an rwmutex; who holds permits, of a semaphore
}

// LockShare is a process that holds part of a lock. A dead one holds nothing: it is shown until
// somebody comes by who would have to wait for it.
type LockShare struct {
	Process
	Number uint32 `json:"number"` // holds or permits
}

// LockWaiter is a process that waits for a lock.
type LockWaiter struct {
	Process
	Since time.Time `json:"since"`
}

// Swept is one thing that a sweep removed, or would remove.
type Swept struct {
	What string `json:"what"` // "temporary", "unused", "half-removed" or "member"
	Name string `json:"name"` // of the object or file; the pid of a member
	Size int64  `json:"size"`
}

// List looks at all objects of the domain.
func (d *Domain) List() ([]Info, error) {
	if err := d.space.Retain(); err != nil {
		return nil, err
	}
	defer d.space.Release()
	objs, err := d.space.List()
	if err != nil {
		return nil, err
	}
	all := make([]Info, 0, len(objs))
	for _, o := range objs {
		all = append(all, d.info(o))
	}
	return all, nil
}

// Stat looks at one object.
func (d *Domain) Stat(name string) (Info, error) {
	if err := d.space.Retain(); err != nil {
		return Info{}, err
	}
	defer d.space.Release()
	o, err := d.space.Stat(name)
	if err != nil {
		return Info{}, err
	}
	return d.info(o), nil
}

func (d *Domain) info(o object.Info) Info {
	in := Info{Name: o.Name, Size: o.Size, Err: o.Err, Users: []int{}}
	if o.Err != nil {
		in.Problem = o.Err.Error()
	}
	if h := o.Header; h != nil {
		in.Kind, in.Created, in.Creator = h.Kind.String(), h.Created, h.Pid
		in.Type, in.Label = h.Desc, h.Label
		in.Ephemeral = h.Flags&object.Ephemeral != 0
		in.Removed = h.State&object.Removed != 0
	}
	for _, t := range o.Users {
		m, _ := d.space.Table.Lookup(t)
		in.Users = append(in.Users, m.Pid)
	}
	return in
}

// Members lists the processes of the domain, those of the dead that nobody swept yet too.
func (d *Domain) Members() ([]Process, error) {
	if err := d.space.Retain(); err != nil {
		return nil, err
	}
	defer d.space.Release()
	var all []Process
	for _, m := range d.space.Table.Members() {
		all = append(all, process(m))
	}
	return all, nil
}

func process(m member.Info) Process {
	return Process{Pid: m.Pid, UID: m.UID, Alive: m.Alive, Joined: m.Joined, Command: m.Command, Token: m.Token}
}

// Locks looks at the locks of the object called name, or of all objects if it is empty. It needs no
// owner alive.
func (d *Domain) Locks(name string) ([]Lock, error) {
	if err := d.space.Retain(); err != nil {
		return nil, err
	}
	defer d.space.Release()
	names := []string{name}
	if name == "" {
		objs, err := d.space.List()
		if err != nil {
			return nil, err
		}
		names = names[:0]
		for _, o := range objs {
			names = append(names, o.Name)
		}
	}
	all := []Lock{}
	for _, n := range names {
		states, err := d.space.Locks(n)
		if err != nil {
			if name == "" {
				continue // gone meanwhile or unreadable: List tells
			}
			return nil, err
		}
		for _, s := range states {
			all = append(all, d.lock(s))
		}
	}
	return all, nil
}

func (d *Domain) lock(s object.LockState) Lock {
	l := Lock{Object: s.Object, Kind: s.Kind.String(), Lock: s.Lock, Since: s.Since, Contended: s.Contended,
		Sleeps: s.Sleeps, Recoveries: s.Recoveries, Damaged: s.Damaged, Waiters: []LockWaiter{}, Shared: []LockShare{}}
	if s.Owner != 0 {
		m, _ := d.space.Table.Lookup(s.Owner)
		p := process(m)
		l.Holder = &p
	}
	for _, w := range s.Waiters {
		if m, ok := d.space.Table.Lookup(w.Token); ok && m.Alive {
			l.Waiters = append(l.Waiters, LockWaiter{process(m), w.Since})
		}
	}
	for _, e := range s.Shared {
		m, _ := d.space.Table.Lookup(e.Token)
		l.Shared = append(l.Shared, LockShare{process(m), e.Number})
	}
	return l
}

// Sweep removes what provably nobody can use any more: temporaries of dead makers, ephemeral objects
// without users, names of half-removed objects, slots of dead members. dryRun only tells.
func (d *Domain) Sweep(ctx context.Context, dryRun bool) ([]Swept, error) {
	if err := d.space.Retain(); err != nil {
		return nil, err
	}
	defer d.space.Release()
	list, err := d.space.Sweep(ctx, dryRun)
	all := make([]Swept, 0, len(list))
	for _, s := range list {
		all = append(all, Swept(s))
	}
	return all, err
}

// Space is the size and the free bytes of the file system that the domain lies on.
func (d *Domain) Space() (total, free uint64, err error) {
	if err := d.space.Retain(); err != nil {
		return 0, 0, err
	}
	defer d.space.Release()
	return d.space.Dir.Space()
}
