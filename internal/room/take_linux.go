package room

import (
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

const (
	// unasked is how much a process may take in its life before it asks for the first time: asking costs more than
	// making a small object, and most processes make few.
	unasked = 1 << 20
	// valid is how long an answer counts. Meanwhile this process takes no more than a part of what was free without asking
	// again, for others take some as well.
	valid = 100 * time.Millisecond
	part  = 8
)

// account is what this process takes.
type account struct {
	root string // of /proc and /sys
	now  func() time.Time

	mu    sync.Mutex
	ever  int64 // taken without asking
	left  int64 // to be taken without asking
	until time.Time
}

var own = account{root: "/", now: time.Now}

// Take asks for n bytes of memory that are to be taken now: errs.ErrNoSpace, with the numbers, if the host or a control
// group would kill somebody for them. what is what wants them.
func Take(what string, n int64) error { return own.take(what, n) }

func (a *account) take(what string, n int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ever+n <= unasked {
		a.ever += n
		return nil
	}
	if n <= a.left && a.now().Before(a.until) {
		a.left -= n
		return nil
	}
	return a.ask(what, n)
}

// Still asks again, now and then, for n bytes that are the rest of what was asked for: others take memory meanwhile.
func Still(what string, n int64) error { return own.still(what, n) }

func (a *account) still(what string, n int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.now().Before(a.until) {
		return nil
	}
	return a.ask(what, n)
}

func (a *account) ask(what string, n int64) error {
	free, of := available(a.root)
	switch {
	case of == "":
		return nil
	case uint64(n) > free:
		return fmt.Errorf("%w: %s wants %d bytes of memory, but of %s only %d are to be had without the OOM killer\n"+
			"free some, or ask for less", errs.ErrNoSpace, what, n, of, free)
	}
	a.left, a.until = int64((free-uint64(n))/part), a.now().Add(valid)
	return nil
}

// FileSize says errs.ErrNoSpace if this process may not make a file that large: the kernel would end it by SIGXFSZ.
func FileSize(what string, size int64) error {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &lim); err != nil || uint64(size) <= lim.Cur {
		return nil
	}
	return fmt.Errorf("%w: %s wants a file of %d bytes, but those of this process may have %d at most (RLIMIT_FSIZE)\n"+
		"raise the limit (ulimit -f), or ask for less", errs.ErrNoSpace, what, size, lim.Cur)
}
