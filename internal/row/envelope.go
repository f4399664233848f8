package row

import "github.com/shiplap-ipc/shiplap/internal/envelope"

// A record whose header says so has an envelope: its payload begins with a block that tells its own length, and the
// body is what follows. The fast paths know only plain records, and leave the others to the slow ones.

// parts is where the parts of a record's payload are.
type parts struct {
	payload uint64 // position
	block   int    // bytes of the envelope, 0 if there is none
	bodyLen int
}

func (p parts) body() uint64 { return p.payload + uint64(p.block) }

// parts reads the first word of an envelope once: others may change it.
func (r *Row) parts(pos, h uint64) (parts, error) {
	p := parts{payload: pos + r.head, bodyLen: int(payloadLen(h))}
	if h&hasEnvelope == 0 {
		return p, nil
	}
	n, err := envelope.Len(r.word(p.payload).Load(), p.bodyLen)
	if err != nil {
		return parts{}, err
	}
	p.block, p.bodyLen = n, p.bodyLen-n
	return p, nil
}

// copyBlock sets *block to a copy of a record's envelope, empty if it has none. block may be nil.
func (r *Row) copyBlock(block *[]byte, p parts) {
	if block == nil {
		return
	}
	if *block = nil; p.block > 0 {
		*block = append([]byte(nil), r.view(p.payload, p.block)...)
	}
}

// envelopeBit is what the header of a record with that block has in addition.
func envelopeBit(block []byte) uint64 {
	if len(block) == 0 {
		return 0
	}
	return hasEnvelope
}
