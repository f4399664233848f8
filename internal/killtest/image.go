//go:build linux && (amd64 || arm64)

package killtest

import (
	"bufio"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
)

// image is the code of this test binary, which is also the victim's: what is at an address can be looked up here
// instead of in the victim.
type image struct {
	code  []byte
	vaddr uint64 // where the file wants code to be
	first uint64 // where it wants its first segment to be
	pie   bool   // it may be elsewhere
	slide uint64 // by how much elsewhere in this process
}

const selfExe = "/proc/self/exe"

var loadImage = sync.OnceValues(func() (*image, error) {
	f, err := elf.Open(selfExe)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	im := &image{pie: f.Type == elf.ET_DYN}
	for i, p := range f.Progs {
		if p.Type != elf.PT_LOAD {
			continue
		}
		if im.first == 0 && (i == 0 || p.Off == 0) {
			im.first = p.Vaddr
		}
		if p.Flags&elf.PF_X != 0 && im.code == nil {
			im.vaddr = p.Vaddr
			im.code = make([]byte, p.Filesz)
			if _, err := p.ReadAt(im.code, 0); err != nil {
				return nil, fmt.Errorf("read the code of %s: %w", selfExe, err)
			}
		}
	}
	if im.code == nil {
		return nil, fmt.Errorf("%s has no code", selfExe)
	}
	im.slide, err = im.slideOf(os.Getpid())
	return im, err
})

// slideOf finds out by how much the binary was moved in process pid.
func (im *image) slideOf(pid int) (uint64, error) {
	if !im.pie {
		return 0, nil
	}
	exe, err := os.Readlink(selfExe)
	if err != nil {
		return 0, err
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if line := s.Text(); strings.HasSuffix(line, exe) {
			low, _, _ := strings.Cut(line, "-")
			base, err := strconv.ParseUint(low, 16, 64)
			return base - im.first, err
		}
	}
	return 0, fmt.Errorf("%s is not mapped in process %d", exe, pid)
}

// place names an instruction of the binary, wherever it was loaded: 0 is an address outside of it.
type place uint32

func (im *image) place(pc, slide uint64) place {
	if at := pc - slide - im.vaddr; at < uint64(len(im.code)) {
		return place(at + 1)
	}
	return 0
}

func (im *image) at(p place) []byte                     { return im.code[p-1:] }
func (im *image) pc(p place, slide uint64) uint64       { return uint64(p-1) + im.vaddr + slide }
func (im *image) local(pc uint64, slide uint64) uintptr { return uintptr(pc - slide + im.slide) }

// describe names the functions and lines of a stack, given in the addresses of this process, innermost first.
func describe(stack []uintptr) (lines []string) {
	for i, pc := range stack {
		if runtime.FuncForPC(pc) == nil {
			if i == 0 {
				lines = append(lines, fmt.Sprintf("%#x, outside of the binary", pc))
			}
			continue
		}
		if i == 0 {
			pc++ // CallersFrames takes return addresses
		}
		frames := runtime.CallersFrames([]uintptr{pc})
		for more := true; more; {
			var f runtime.Frame
			f, more = frames.Next()
			if strings.HasSuffix(f.Function, "killtest.bracket") {
				return lines
			}
			lines = append(lines, fmt.Sprintf("%s (%s:%d)", f.Function, filepath.Base(f.File), f.Line))
		}
	}
	return lines
}
