package shm

import (
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/segment"
)

// Options of a segment. The zero value is good, and so is nil.
type Options struct {
	// Dir is where named segments lie. "" means $SHIPLAP_SHM_DIR, or else /dev/shm, the only place
	// where Python and shm_open(3) look.
	Dir string
	// Mode is the permission bits that Create gives, whatever the umask is; 0 means 0600.
	Mode fs.FileMode
	// ReadOnly maps memory that cannot be written through this handle: WriteAt fails, and a store to
	// Bytes is a fault that ends the process. Create does not take it.
	ReadOnly bool
	// Huge asks for huge pages (Create, Anonymous). What was got is told by Pages.
	Huge bool
	// Keep keeps the segment from being lost when its name is removed by somebody else, so that Relink
	// can put the name back: see the package's documentation. It needs the right to write the file.
	Keep bool
	// Seals are those that memory from another process must have (FromFile, FromFD, Receive). With
	// SealShrink nobody can truncate it beneath this process; with SealWrite nobody can change it.
	Seals Seals
}

func (o *Options) or() Options {
	if o == nil {
		return Options{}
	}
	return *o
}

func (o *Options) dir() string {
	if o != nil && o.Dir != "" {
		return o.Dir
	}
	if d := os.Getenv("SHIPLAP_SHM_DIR"); d != "" {
		return d
	}
	return segment.DefaultBase
}

const (
	autoPrefix = "psm_" // as Python names what was given no name

	// privatePrefix begins the names of hard links and temporaries that are ours alone.
	privatePrefix = ".shiplap-shm."

	mostNew   = 254 // what every glibc can open; from 2.34 on it takes one byte more
	mostThere = 255
)

// fileName checks a name as shm_open does and returns that of the file: leading slashes, which Python's
// _name has, are not part of it.
func fileName(name string, most int) (string, error) {
	file := strings.TrimLeft(name, "/")
	switch {
	case file == "":
		return "", fmt.Errorf("%w: %q is empty", errs.ErrName, name)
	case strings.Contains(file, "/"):
		return "", fmt.Errorf("%w: %q: no slash is allowed inside", errs.ErrName, name)
	case strings.Contains(file, "\x00"):
		return "", fmt.Errorf("%w: %q: no NUL is allowed", errs.ErrName, name)
	case file == "." || file == "..":
		return "", fmt.Errorf("%w: %q is a directory", errs.ErrName, name)
	case len(file) > most:
		return "", fmt.Errorf("%w: it has %d bytes, at most %d are possible: %.40q…", errs.ErrName, len(file), most, file)
	case strings.HasPrefix(file, privatePrefix):
		return "", fmt.Errorf("%w: %q: names that begin with %q are for this package itself", errs.ErrName, name, privatePrefix)
	}
	return file, nil
}

func (o *Options) mode() (uint32, error) {
	if o.Mode&^fs.ModePerm != 0 {
		return 0, fmt.Errorf("%w: mode %v: only permission bits count", fs.ErrInvalid, o.Mode)
	}
	if o.Mode == 0 {
		return 0o600, nil
	}
	return uint32(o.Mode), nil
}

// Seals of anonymous memory: what nobody can do to it any more, whoever has it open. They cannot be
// taken off.
type Seals uint32

// The seals that Linux knows; their values are the kernel's.
const (
	SealSeal        Seals = 0x01 // no further seals
	SealShrink      Seals = 0x02 // it cannot get smaller
	SealGrow        Seals = 0x04 // it cannot get larger
	SealWrite       Seals = 0x08 // its bytes cannot change
	SealFutureWrite Seals = 0x10 // nobody new can write; who has it mapped already still can
	SealExec        Seals = 0x20 // it cannot be made executable; Anonymous sets it where it can

	// SealSize is what makes memory from somebody else safe to read and write.
	SealSize = SealShrink | SealGrow

	knownSeals = SealSeal | SealShrink | SealGrow | SealWrite | SealFutureWrite | SealExec
)

// String is as in "shrink|grow", or "none".
func (s Seals) String() string {
	var all []string
	for i, name := range []string{"seal", "shrink", "grow", "write", "future-write", "exec"} {
		if s&(1<<i) != 0 {
			all = append(all, name)
		}
	}
	if rest := s &^ knownSeals; rest != 0 {
		all = append(all, fmt.Sprintf("%#x", uint32(rest)))
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, "|")
}
