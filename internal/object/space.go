package object

import (
	"errors"
	"fmt"
	"sync"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/member"
	"github.com/shiplap-ipc/shiplap/internal/segment"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// Space is this process's place in a domain: its directory and its membership. It stays as long as
// somebody retains it. A visitor has one as well, without being a member: it looks, removes and sweeps.
type Space struct {
	Dir   *segment.Dir
	Table *member.Table
	Name  string
	Mode  wait.Mode // default of its handles
	Visit bool

	mu      sync.Mutex
	refs    int
	lookout lookout
}

// rejoins is how often Enter begins anew because the directory was deleted under its hands.
const rejoins = 10

// Enter joins the domain of that name below base.
func Enter(base, name string, mode wait.Mode) (s *Space, err error) {
	for range rejoins {
		if s, err = enterOnce(base, name, mode); !errors.Is(err, errs.ErrNotExist) {
			break
		}
	}
	return s, err
}

func enterOnce(base, name string, mode wait.Mode) (*Space, error) {
	dir, err := segment.OpenDir(base, name, true)
	if err != nil {
		return nil, err
	}
	table, err := member.Join(dir)
	if err != nil {
		dir.Close()
		return nil, err
	}
	return &Space{Dir: dir, Table: table, Name: name, Mode: mode, refs: 1}, nil
}

// Visit opens the domain of that name below base without joining it; errs.ErrNotExist if it is not there.
func Visit(base, name string) (*Space, error) {
	dir, err := segment.OpenDir(base, name, false)
	if err != nil {
		return nil, err
	}
	table, err := member.Visit(dir)
	if err != nil {
		dir.Close()
		return nil, err
	}
	return &Space{Dir: dir, Table: table, Name: name, Visit: true, refs: 1}, nil
}

// onlyVisited is the error of what only members can do.
func (s *Space) onlyVisited() error {
	return fmt.Errorf("%w: the domain at %s is only looked at here, without being a member; join it", errs.ErrUnsupported, s.Dir.Path())
}

// Retain keeps the space until one more Release; errs.ErrClosed when it is gone already.
func (s *Space) Retain() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refs == 0 {
		return errs.ErrClosed
	}
	s.refs++
	return nil
}

// Release gives up one share; the last one leaves the domain.
func (s *Space) Release() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refs--; s.refs > 0 {
		return nil
	}
	s.lookout.stop()
	s.lastTry()
	err := s.Table.Leave()
	if e := s.Dir.Close(); err == nil {
		err = e
	}
	return err
}

// deleted is what is wrong with a domain that is gone.
func (s *Space) deleted() error {
	return fmt.Errorf("%w: the domain at %s was deleted or moved under this process; next: close everything and join again",
		errs.ErrRemoved, s.Dir.Path())
}

// OfDomain finds the space of a *shiplap.Domain. Package shiplap sets it, so that its public type
// need not show this package.
var OfDomain func(domain any) *Space
