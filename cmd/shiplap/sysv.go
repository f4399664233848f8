package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/sysv"
)

func newSysvCmd() *cobra.Command {
	c := group("sysv", "System V segments, and messages through one",
		`System V shared memory is the kind of shmget(2), which C and C++ programs use. A segment belongs to the kernel:
it has an id, most have a key, and it stays when its processes end or are killed, until somebody
removes it or the machine restarts. ipcs(1) and ipcrm(1) show and remove the same segments.

"writer" and "reader" are two programs that talk through a segment, with a FIFO as the bell. Either of them can be yours.
They need to agree on three things:

  the key      ftok(path, id): a file that exists, and a number. The same file, not one of the same name
               that was made again.
  the memory   one segment; the message is a string at its beginning that ends with a NUL byte
  the FIFO     one byte when a message is in memory: a, take it; x, stop`,
		newSysvWriterCmd(), newSysvReaderCmd(), newSysvLsCmd(), newSysvRmCmd())
	c.Example = `  shiplap sysv writer          in one terminal; type lines, end with Ctrl-D
  shiplap sysv reader          in another, in the same directory
  shiplap sysv ls`
	return c
}

// rendezvous is where the two programs meet.
type rendezvous struct {
	path, fifo, keyText string
	id                  int
}

func (r *rendezvous) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.path, "path", ".", "file or directory for the key: ftok(`PATH`, id)")
	f.IntVar(&r.id, "id", 'A', "number for the key; its low eight bits count")
	f.StringVar(&r.keyText, "key", "", "this `KEY`, as ipcs shows it, and no ftok")
	f.StringVar(&r.fifo, "fifo", "sysv.fifo", "the FIFO that is the bell")
	cmd.MarkFlagsMutuallyExclusive("key", "path")
	cmd.MarkFlagsMutuallyExclusive("key", "id")
}

func (r *rendezvous) key() (sysv.Key, error) {
	if r.keyText != "" {
		k, err := sysv.ParseKey(r.keyText)
		if err == nil && k == sysv.IPC_PRIVATE {
			err = errors.New("0 is IPC_PRIVATE, by which nobody finds a segment")
		}
		if err != nil {
			return 0, usagef("--key: %w", err)
		}
		return k, nil
	}
	k, err := sysv.Ftok(r.path, r.id)
	if errors.Is(err, shiplap.ErrNotExist) {
		return 0, exitError{fmt.Errorf("--path: %w", err), exitNotFound, "make it, or name a file that both programs know"}
	}
	return k, err
}

// other is how the other side is called.
func (r *rendezvous) other(verb string) string {
	s := "shiplap sysv " + verb
	if r.keyText != "" {
		s += " --key " + r.keyText
	} else {
		s += fmt.Sprintf(" --path %s --id %d", quoted(r.path), r.id)
	}
	return s + " --fifo " + quoted(r.fifo)
}

func quoted(s string) string {
	if s == "" || strings.ContainsAny(s, " \t\n'\"\\$`&|;<>()*?[]{}~#!") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

// sysvError gives an error of this family the next step.
func sysvError(err error, next string) error {
	return exitError{err, codeFor(err, true), next}
}

const (
	codeMessage = 'a'
	codeStop    = 'x'
)

// runs reports whether a process is there. One that this process cannot see is taken to be.
func runs(pid int) bool {
	return pid <= 0 || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// leftOver reports that nobody has the segment attached, and that those who had are dead.
func leftOver(i *sysv.Info) bool {
	never := i.LastPID == 0 && i.Attached.IsZero()
	return i.Attachments == 0 && !i.Removed && !runs(i.CreatorPID) && (never || !runs(i.LastPID))
}

func permissions(m fs.FileMode) string { return fmt.Sprintf("%04o", m.Perm()) }

func pidText(pid int) string {
	switch {
	case pid <= 0:
		return "-"
	case !runs(pid):
		return fmt.Sprintf("pid %d (dead)", pid)
	}
	return fmt.Sprintf("pid %d", pid)
}
