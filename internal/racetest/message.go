package racetest

import (
	"encoding/binary"
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// What a cell says of a message.
const (
	putting = 1 << iota // somebody is about to put it
	put                 // it was put, says Put
	refused             // it was not, says Put
	acking              // somebody is about to acknowledge it
	acked               // it was acknowledged, says Ack
	ackedBy = 8         // bits 8-15: which delivery was acknowledged, the first, the second …
	taken   = 1 << 16   // and above: how often it arrived
)

const headOf = 24 // bytes of a message before its filling

// message makes one: its cell, the name of its sender, and a filling that follows from both.
func message(dst []byte, cell int, from name, fill int) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(cell))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(from))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(fill))
	for i := range fill {
		dst = append(dst, byte(cell*31+i))
	}
	return dst
}

// parse reads a message; the error says that somebody tore it.
func parse(msg []byte) (cell int, from name, err error) {
	if len(msg) < headOf {
		return 0, 0, fmt.Errorf("a message of %d bytes", len(msg))
	}
	cell = int(binary.LittleEndian.Uint64(msg))
	from = name(binary.LittleEndian.Uint64(msg[8:]))
	fill := binary.LittleEndian.Uint64(msg[16:])
	if cell < 0 || cell >= maxCells || fill != uint64(len(msg)-headOf) {
		return 0, 0, fmt.Errorf("a message of %d bytes is for cell %d and says that it has %d", len(msg),
			cell, fill+headOf)
	}
	for i, c := range msg[headOf:] {
		if c != byte(cell*31+i) {
			return 0, 0, fmt.Errorf("byte %d of a message of %d is %#x", i, len(msg), c)
		}
	}
	return cell, from, nil
}

// puts sends a message by f and writes down what became of it. It is false when the handle is not
// good any more.
func (h *hand) puts(f func(msg []byte) error, full ...error) bool {
	c, there := h.newCell()
	if !there {
		h.pause()
		return !h.stopping()
	}
	cell := h.cell(c)
	cell.Store(putting)
	err := f(message(nil, c, h.me(), h.rng.IntN(300)))
	if err == nil {
		cell.Add(put)
		return true
	}
	cell.Add(refused)
	return h.goesOn("sending", err, full...)
}

// change sets and clears bits of a cell. Several may do so at once: a message that comes again has
// more than one receiver.
func change(cell *mem.U64, set, clear uint64) (was uint64) {
	for {
		was := cell.Load()
		if cell.CAS(was, was&^clear|set) {
			return was
		}
	}
}

// takes writes down that a message has arrived.
func (h *hand) takes(msg []byte) (cell int, ok bool) {
	cell, _, err := parse(msg)
	if err != nil {
		h.complain("torn", "%v received %v", h.me(), err)
		return 0, false
	}
	was := h.cell(cell).Add(taken) - taken
	if was&putting == 0 {
		h.complain("made-up", "message %d arrived, and nobody put it", cell)
	}
	return cell, true
}

// busyAtDeath counts goroutines of dead processes that died in an operation.
func (b *bout) busyAtDeath(in op) (n int) {
	b.mu.Lock()
	hires := len(b.hires)
	b.mu.Unlock()
	for i := range hires {
		r := b.ledger.row(i)
		for e := range maxExecs {
			if r.condemned.Load() == 0 && e >= int(r.execs.Load()) {
				continue
			}
			for k := range maxHands {
				if op(b.ledger.slot(i, e, k).op.Load()) == in {
					n++
				}
			}
		}
	}
	return n
}
