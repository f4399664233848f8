package object

import (
	"errors"
	"io/fs"

	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/segment"
	"github.com/shiplap-ipc/shiplap/internal/shares"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// Info is an object as seen from outside.
type Info struct {
	Name  string
	Size  int64
	Users []uint32 // tokens of the members that have it open
	*Header
	Err error // why it cannot be opened; Header is nil if that is the reason
}

// Stat looks at one object without attaching to it.
func (s *Space) Stat(name string) (Info, error) {
	file, err := segment.FileName(name)
	if err != nil {
		return Info{}, err
	}
	f, err := s.Dir.OpenRead(file)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	in := Info{Name: name, Size: f.Size}
	in.Header, in.Err = readHeader(f)
	if in.Err == nil && in.Kind != Store {
		in.Err = f.Backed(f.Size)
	}
	in.Users, err = s.users(f)
	return in, err
}

func (s *Space) users(f *segment.File) ([]uint32, error) {
	any, err := f.Locked(userLocks, userSlots)
	if err != nil || !any {
		return nil, err
	}
	var users []uint32
	for _, m := range s.Table.Members() {
		used, err := f.Locked(userLocks+int64(m.Token&(userSlots-1)), 1)
		if err != nil {
			return nil, err
		}
		if used {
			users = append(users, m.Token)
		}
	}
	return users, nil
}

// List looks at all objects.
func (s *Space) List() ([]Info, error) {
	files, err := s.Dir.Files()
	if err != nil {
		return nil, err
	}
	var all []Info
	for _, file := range files {
		name, ok := segment.ObjectName(file)
		if !ok {
			continue
		}
		in, err := s.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone meanwhile
		}
		if err != nil {
			in = Info{Name: name, Err: err}
		}
		all = append(all, in)
	}
	return all, nil
}

// LockState is one lock of an object as seen from outside.
type LockState struct {
	Object string
	Kind   Kind
	Lock   string
	wordlock.State
	Shared []shares.Entry // who holds something beside the owner: readers, permits; the dead too
}

// tables are the kinds that have a holder table to show.
var tables = map[Kind]shares.Place{RWMutex: shares.Readers, Semaphore: shares.Permits}

// Locks reads the lock records of an object. It needs nobody alive.
func (s *Space) Locks(name string) (all []LockState, err error) {
	file, err := segment.FileName(name)
	if err != nil {
		return nil, err
	}
	f, err := s.Dir.OpenRead(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h, err := readHeader(f)
	if err != nil || len(h.Locks) == 0 {
		return nil, err
	}
	last := 0
	for _, l := range h.Locks {
		last = max(last, l.Off+wordlock.Size)
	}
	table, shared := tables[h.Kind]
	if end := shares.EntriesAt + table.Size(); shared && int64(end) <= h.Size {
		last = max(last, end)
	} else {
		shared = false
	}
	r, err := mem.MapRead(f.Fd(), mem.Part{Len: (last + HeaderSize - 1) / HeaderSize * HeaderSize})
	if err != nil {
		return nil, err
	}
	defer r.Unmap()
	g := mem.Protect()
	defer g.Recover(&err)
	for _, l := range h.Locks {
		st := LockState{Object: name, Kind: h.Kind, Lock: l.Name, State: wordlock.Inspect(r.Span(0), l.Off)}
		if shared && l.Name == table.Lock {
			st.Shared = table.Read(r.Span(0))
		}
		all = append(all, st)
	}
	return all, nil
}
