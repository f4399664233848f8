//go:build linux && (amd64 || arm64)

package killtest

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	pageSize   = 4096
	watchBytes = 16 << 20 // of one mapping
	hotPages   = 256
)

// watch tells which steps change shared memory. It reads the pages that are known to change after every step, and
// all the others after every window of steps: a page that turns out to have changed joins the hot ones.
type watch struct {
	pid     int
	areas   []area
	hot     []page
	hotKeys map[pageKey]bool // survives from one pass to the next
	buf     []byte
	window  int
	since   int // steps since all pages were compared
}

type area struct {
	low  uint64
	key  pageKey
	seen []byte
}

// pageKey names a page of shared memory across processes.
type pageKey struct {
	file   string
	offset uint64
}

type page struct {
	addr uint64
	seen []byte // part of area.seen
}

// remap looks for shared mappings, and takes what they hold as seen.
func (w *watch) remap() error {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", w.pid))
	if err != nil {
		return err
	}
	w.areas, w.hot = w.areas[:0], w.hot[:0]
	have, total := map[pageKey]bool{}, 0
	for line := range strings.Lines(string(maps)) {
		f := strings.Fields(line)
		if len(f) < 5 || len(f[1]) != 4 || f[1][3] != 's' || f[1][0] != 'r' {
			continue
		}
		low, high, _ := strings.Cut(f[0], "-")
		lo, err1 := strconv.ParseUint(low, 16, 64)
		hi, err2 := strconv.ParseUint(high, 16, 64)
		off, err3 := strconv.ParseUint(f[2], 16, 64)
		if err1 != nil || err2 != nil || err3 != nil {
			return fmt.Errorf("unexpected line in maps: %q", line)
		}
		key := pageKey{strings.Join(f[5:], " "), off}
		size := min(hi-lo, watchBytes)
		if have[key] { // the second view of a ring
			continue
		}
		have[key] = true
		a := area{low: lo, key: key, seen: make([]byte, size)}
		a.seen = a.seen[:w.read(a.low, a.seen)]
		total += len(a.seen)
		w.areas = append(w.areas, a)
		for at := uint64(0); at < uint64(len(a.seen)); at += pageSize {
			// What is written most is the first page, with the control words.
			if at == 0 || w.hotKeys[pageKey{key.file, off + at}] {
				w.heat(&w.areas[len(w.areas)-1], at)
			}
		}
	}
	w.window = max(64, 64*(total>>20))
	w.since = 0
	return nil
}

func (w *watch) heat(a *area, at uint64) {
	w.hotKeys[pageKey{a.key.file, a.key.offset + at}] = true
	if len(w.hot) < hotPages {
		w.hot = append(w.hot, page{a.low + at, a.seen[at:min(at+pageSize, uint64(len(a.seen)))]})
	}
}

// heatUsed expects changes of all pages that are not empty.
func (w *watch) heatUsed(a *area) {
	var empty [pageSize]byte
	for at := 0; at < len(a.seen); at += pageSize {
		if page := a.seen[at:min(at+pageSize, len(a.seen))]; !bytes.Equal(page, empty[:len(page)]) {
			w.heat(a, uint64(at))
		}
	}
}

// changed reports over how many of the last steps something may have changed: 0 if nothing, 1 if the last did.
func (w *watch) changed() int {
	if w.since+1 >= w.window {
		return w.compareAll()
	}
	w.since++
	if w.hotChanged() {
		return 1
	}
	return 0
}

// compareAll is changed with all pages.
func (w *watch) compareAll() int {
	n := 0
	if w.hotChanged() {
		n = 1
	}
	w.since++
	for i := range w.areas {
		if w.compare(&w.areas[i]) {
			n = w.since
		}
	}
	w.since = 0
	return n
}

func (w *watch) hotChanged() (changed bool) {
	if len(w.hot) == 0 {
		return false
	}
	w.grow(len(w.hot) * pageSize)
	remote := make([]unix.RemoteIovec, len(w.hot))
	total := 0
	for i, p := range w.hot {
		remote[i] = unix.RemoteIovec{Base: uintptr(p.addr), Len: len(p.seen)}
		total += len(p.seen)
	}
	if w.readv(w.buf[:total], remote) != total {
		return w.hotChangedOneByOne()
	}
	b := w.buf
	for _, p := range w.hot {
		if !bytes.Equal(p.seen, b[:len(p.seen)]) {
			copy(p.seen, b)
			changed = true
		}
		b = b[len(p.seen):]
	}
	return changed
}

// hotChangedOneByOne is for when one of the pages cannot be read: the file was truncated.
func (w *watch) hotChangedOneByOne() (changed bool) {
	for _, p := range w.hot {
		n := w.read(p.addr, w.buf[:len(p.seen)])
		clear(w.buf[n:len(p.seen)])
		if !bytes.Equal(p.seen, w.buf[:len(p.seen)]) {
			copy(p.seen, w.buf)
			changed = true
		}
	}
	return changed
}

func (w *watch) compare(a *area) (changed bool) {
	w.grow(len(a.seen))
	n := w.read(a.low, w.buf[:len(a.seen)])
	clear(w.buf[n:len(a.seen)])
	if bytes.Equal(a.seen, w.buf[:len(a.seen)]) {
		return false
	}
	for at := 0; at < len(a.seen); at += pageSize {
		end := min(at+pageSize, len(a.seen))
		if !bytes.Equal(a.seen[at:end], w.buf[at:end]) {
			copy(a.seen[at:end], w.buf[at:end])
			w.heat(a, uint64(at))
		}
	}
	return true
}

func (w *watch) grow(n int) {
	if len(w.buf) < n {
		w.buf = make([]byte, n)
	}
}

// read returns how much of dst it could read.
func (w *watch) read(addr uint64, dst []byte) int {
	return w.readv(dst, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(dst)}})
}

func (w *watch) readv(dst []byte, remote []unix.RemoteIovec) int {
	if len(dst) == 0 {
		return 0
	}
	local := unix.Iovec{Base: &dst[0]}
	local.SetLen(len(dst))
	n, err := unix.ProcessVMReadv(w.pid, []unix.Iovec{local}, remote, 0)
	if err != nil {
		return 0
	}
	return n
}
