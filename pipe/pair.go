package pipe

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
)

// Pair is a pipe whose two ends are there for others to take: children of the process that makes it,
// mostly. It is what multiprocessing.Pipe is in Python. As long as the pair is open, the pipe stays,
// with what was sent through it: one side may be through before the other begins.
type Pair struct {
	obj  *object.Object
	once sync.Once
}

// NewPair makes a pipe and takes neither end. Without a name it makes one up. The pipe is Ephemeral, whatever
// opt says.
func NewPair(d *shiplap.Domain, name string, opt *Options) (*Pair, error) {
	var own Options
	if opt != nil {
		own = *opt
	}
	own.Ephemeral = true
	s := space(d)
	unique := name == ""
	for try := 1; ; try++ {
		if unique {
			name = fmt.Sprintf("pipe~%08x.%d", s.Table.Self(), dialled.Add(1))
		}
		o, err := makePipe(s, name, &own, func(*mem.Span) {})
		switch {
		case err == nil:
			return &Pair{obj: o}, nil
		case !unique || !errors.Is(err, fs.ErrExist) || try == mostNames:
			return nil, err
		}
	}
}

// What stands before the name of a pipe in the names of its ends.
var endPrefix = [...]string{sideA: "A:", sideB: "B:"}

// A is what Take takes one end by. It is text, for an argument or the environment of a child.
func (p *Pair) A() string { return endPrefix[sideA] + p.obj.Name }

// B is the same for the other end.
func (p *Pair) B() string { return endPrefix[sideB] + p.obj.Name }

// Name is the name of the pipe.
func (p *Pair) Name() string { return p.obj.Name }

// String names the pair.
func (p *Pair) String() string { return fmt.Sprintf("pair of ends of pipe %q", p.obj.Name) }

// Close lets go of the pipe: it goes when no process has it open any more, as soon as both ends are
// finished at the latest. It may be called when the ends are taken; before that it takes the pipe away
// from whoever was to take them. If something was sent to an end that nobody took, and the pipe goes
// now, the error is ErrUnread.
func (p *Pair) Close() error {
	err := fmt.Errorf("%v: %w", p, errs.ErrClosed)
	p.once.Do(func() { err = closeAndCount(p.obj) })
	return err
}

// Take takes the end that A or B of a Pair names. shiplap.ErrNotExist says that the pair was closed before,
// shiplap.ErrBusy that another process has the end, shiplap.ErrClosed that it is finished.
func Take(d *shiplap.Domain, end string, opt *Options) (*End, error) {
	for s, prefix := range endPrefix {
		if name, found := strings.CutPrefix(end, prefix); found {
			return open(space(d), name, opt, side(s))
		}
	}
	return nil, fmt.Errorf("%w: %q names no end of a pipe: see Pair", errs.ErrName, end)
}
