package pymp

import (
	"errors"
	"fmt"
	"strings"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// MaxValue is the largest value of a semaphore.
const MaxValue = 1<<31 - 1

// SemaphoreOptions of a semaphore. The zero value is good.
type SemaphoreOptions struct {
	// Max is the value above which Release refuses to go, as Python's BoundedSemaphore does; 0 means
	// MaxValue. It does not lie in the memory: everybody has to give the same.
	Max int
}

func (o *SemaphoreOptions) max() (uint32, error) {
	switch {
	case o == nil || o.Max == 0:
		return MaxValue, nil
	case o.Max < 0 || o.Max > MaxValue:
		return 0, fmt.Errorf("pymp: a maximum of %d; possible are 1 to %d", o.Max, MaxValue)
	}
	return uint32(o.Max), nil
}

const (
	semPrefix = "sem." // glibc's, before the name of the file
	autoName  = "mp-"  // Python's, before 8 random characters
	maxName   = 250    // what glibc allows beside its prefix
)

// semName is the name without the slash that Python shows before it.
func semName(name string) (string, error) {
	n := strings.TrimLeft(name, "/")
	switch {
	case n == "":
		return "", fmt.Errorf("%w: %q is empty (a Python lock of the start method \"fork\" has no name: use \"spawn\" or \"forkserver\")", errs.ErrName, name)
	case strings.ContainsAny(n, "/\x00"):
		return "", fmt.Errorf("%w: %q: no slash or NUL is allowed inside", errs.ErrName, name)
	case len(n) > maxName:
		return "", fmt.Errorf("%w: it has %d bytes, at most %d are possible", errs.ErrName, len(n), maxName)
	}
	return n, nil
}

// pythonExpr is Python code for an object of multiprocessing.synchronize over the semaphore.
func pythonExpr(class string, kind int, max uint32, name string) string {
	return fmt.Sprintf(`(lambda s: (lambda l: (l.__setstate__((0, %d, %d, %s)), l)[1])(s.%s.__new__(s.%s)))(__import__("multiprocessing.synchronize").synchronize)`,
		kind, max, pythonString(name), class, class)
}

// pythonString is a Python literal.
func pythonString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(s) {
		if c == '"' || c == '\\' || c < ' ' || c > '~' {
			// A name that is not ASCII is read back as Python reads file names.
			return fmt.Sprintf("__import__(\"os\").fsdecode(bytes.fromhex(%q))", fmt.Sprintf("%x", s))
		}
		b.WriteByte(c)
	}
	b.WriteByte('"')
	return b.String()
}

const (
	kindRLock     = 0
	kindSemaphore = 1
)

var errReleased = errors.New("it was released more often than acquired")
