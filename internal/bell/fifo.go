package bell

import (
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/futex"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// NamePrefix begins the names of FIFOs in a domain's directory. The number of the owner's member
// slot follows.
const NamePrefix = "#bell."

// FileName is the FIFO of a slot's owner.
func FileName(slot int) string { return NamePrefix + strconv.Itoa(slot) }

const slotMask = 1<<10 - 1 // of a token

// firstTicket differs, so that rings for a dead owner of the slot are for nobody.
func firstTicket() uint32 { return rand.Uint32() & ticketMask }

// fifo is the process's own. Its methods are called with b.mu held, except for await and read,
// which whoever leads calls.
type fifo struct {
	file  *os.File
	conn  syscall.RawConn
	fd    int
	retry time.Time // not to be tried before; it could not be had
	buf   []byte
	msgs  []uint64
}

// retryAfter is how long goroutines sleep on futexes when no FIFO could be had.
const retryAfter = time.Second

func (f *fifo) works() bool { return f.file != nil }

// open makes the FIFO at the first sleep. It is not ok if there can be none.
func (f *fifo) open(b *Bell) (ok bool) {
	if f.file != nil || hooked {
		return true
	}
	if mem.IsReproducible() { // to park runs the scheduler, which goes another way each time
		return false
	}
	if b.replacing || b.leader != nobody { // one that still waits at the FIFO before
		return false
	}
	self := b.home.Self()
	if self == 0 || b.dir == nil || !f.retry.IsZero() && time.Now().Before(f.retry) {
		return false
	}
	name := FileName(int(self & slotMask))
	fd, err := b.dir.MakeFIFO(name)
	if err != nil {
		f.retry = time.Now().Add(retryAfter)
		return false
	}
	f.fd, f.file = fd, os.NewFile(uintptr(fd), name) // it does not block, so the runtime's poller waits for it
	if f.conn, err = f.file.SyscallConn(); err != nil {
		f.fail()
		return false
	}
	f.buf = make([]byte, capacity)
	return true
}

// fail gives the FIFO up, unless that was done; sleepers use futexes for a while.
func (f *fifo) fail() {
	if f.file != nil {
		f.file.Close()
		*f = fifo{retry: time.Now().Add(retryAfter)}
	}
}

// detach ends the use of the FIFO. The caller closes what it is given, if there is any.
func (f *fifo) detach() *os.File {
	file := f.file
	f.file = nil
	return file
}

// nudge lets whoever waits at the poller look. A FIFO that is full does so, too.
func (f *fifo) nudge() {
	if f.file != nil {
		futex.Tell(f.fd, message(0, 0))
	}
}

// await calls look until that is true, each time something may have come.
func (f *fifo) await(look func(fd uintptr) bool) error { return f.conn.Read(look) }

// capacity is what a FIFO holds at least. If so much is read at once, it may have been full.
const capacity = 4096

// read hands on what has come, and reports whether something is missing or was for nobody.
func (f *fifo) read(dispatch func([]uint64) bool) (lost bool) {
	for {
		n, err := syscall.Read(f.fd, f.buf)
		if n <= 0 || err != nil {
			return lost
		}
		f.msgs = f.msgs[:0]
		for b := f.buf[:n]; len(b) >= 8; b = b[8:] {
			f.msgs = append(f.msgs, uint64(b[0])|uint64(b[1])<<8|uint64(b[2])<<16|uint64(b[3])<<24|
				uint64(b[4])<<32|uint64(b[5])<<40|uint64(b[6])<<48|uint64(b[7])<<56)
		}
		if dispatch(f.msgs) || n%8 != 0 {
			lost = true
		}
		if n < len(f.buf) {
			return lost
		}
		lost = true
	}
}

// peers are the FIFOs of other processes that this one has rung: the last ones.
type peers struct {
	mu   sync.RWMutex
	open map[uint32]*peer
	tick uint32
}

type peer struct {
	fd   int
	used uint32 // hint: the tick when it was opened
}

const mostPeers = 128

// ring writes a message into the FIFO of a token's owner. It reports whether that is there.
func (ps *peers) ring(b *Bell, token uint32, msg uint64) bool {
	ps.mu.RLock()
	if p := ps.open[token]; p != nil {
		err := futex.Tell(p.fd, msg)
		ps.mu.RUnlock()
		if err == 0 || err == syscall.EAGAIN { // full: its owner looks at everybody
			return true
		}
		ps.forget(token, p) // it is dead, or has made another FIFO
	} else {
		ps.mu.RUnlock()
	}
	if b.dir == nil {
		return false
	}
	fd, err := b.dir.OpenFIFO(FileName(int(token & slotMask)))
	if err != nil {
		return false
	}
	if b.home.Dead(token) { // it may be the FIFO of the slot's next owner
		syscall.Close(fd)
		return false
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.tick++
	if old := ps.open[token]; old != nil {
		syscall.Close(fd)
		fd = old.fd
	} else {
		ps.add(token, &peer{fd, ps.tick})
	}
	errno := futex.Tell(fd, msg)
	return errno == 0 || errno == syscall.EAGAIN
}

// forget closes one that has no reader any more.
func (ps *peers) forget(token uint32, p *peer) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.open[token] == p {
		syscall.Close(p.fd)
		delete(ps.open, token)
	}
}

// add remembers one; the one that was opened first has to go. An earlier owner of the slot is dead.
func (ps *peers) add(token uint32, p *peer) {
	oldest, found := uint32(0), false
	for t, q := range ps.open {
		if t&slotMask == token&slotMask {
			oldest, found = t, true
			break
		}
		if !found || q.used < ps.open[oldest].used {
			oldest, found = t, true
		}
	}
	if found && (len(ps.open) >= mostPeers || oldest&slotMask == token&slotMask) {
		syscall.Close(ps.open[oldest].fd)
		delete(ps.open, oldest)
	}
	if ps.open == nil {
		ps.open = map[uint32]*peer{}
	}
	ps.open[token] = p
}

func (ps *peers) close() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.open {
		syscall.Close(p.fd)
	}
	ps.open = nil
}
