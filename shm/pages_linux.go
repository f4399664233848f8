package shm

import (
	"fmt"
	"os"
	"reflect"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Pages asks the kernel what backs the memory: huge pages or small ones, and how much of it is mapped
// at all. The kernel may change that at any time.
func (s *Segment) Pages() (Pages, error) {
	if !s.users.enter() {
		return Pages{}, s.fail("pages of", errs.ErrClosed)
	}
	defer s.leave()
	b, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return Pages{}, s.fail("pages of", err)
	}
	from := uint64(reflect.ValueOf(s.b).Pointer())
	p, found := parseSmaps(b, from, from+uint64(s.size))
	if !found {
		return Pages{}, s.fail("pages of", fmt.Errorf("%w: /proc/self/smaps does not show the mapping", errs.ErrUnsupported))
	}
	if p.Huge < s.size {
		p.Note = s.hugeNote
		if p.Huge == 0 {
			if p.Note != "" {
				p.Note += "; "
			}
			p.Note += s.whySmall()
		}
	}
	return p, nil
}

const shmemEnabled = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"

// whySmall says what the kernel's settings let one expect of transparent huge pages.
func (s *Segment) whySmall() string {
	if s.name != "" {
		mount := mountOf(s.dir)
		b, err := os.ReadFile("/proc/self/mountinfo")
		var fs unix.Statfs_t
		if err != nil || unix.Statfs(mount, &fs) != nil || fs.Type != unix.TMPFS_MAGIC {
			return mount + " is no tmpfs"
		}
		how := parseHuge(b, mount)
		if how == "never" {
			return fmt.Sprintf("%s is mounted with huge=never; mount -o remount,huge=advise %s lets those have them who ask", mount, mount)
		}
		return fmt.Sprintf("%s is mounted with huge=%s", mount, how)
	}
	b, err := os.ReadFile(shmemEnabled)
	_, how, ok := strings.Cut(string(b), "[")
	how, _, ok2 := strings.Cut(how, "]")
	if err != nil || !ok || !ok2 {
		return "the kernel has no transparent huge pages for shared memory"
	}
	if how == "never" || how == "deny" {
		return fmt.Sprintf("%s is %q; echo advise > %s lets those have them who ask", shmemEnabled, how, shmemEnabled)
	}
	return fmt.Sprintf("%s is %q", shmemEnabled, how)
}
