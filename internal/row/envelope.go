package row

import (
	"context"
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/envelope"
)

// A record whose header says so has an envelope: its payload begins with a block that tells its own length,
// and the body is what follows. The fast paths know only plain records, and leave the others to the slow
// ones.

// parts is how long the parts of a record's payload are.
type parts struct {
	block uint32 // bytes of the envelope, 0 if there is none
	body  uint32
}

// parts tells the parts of the record at pos.
func (r *Row) parts(pos, h uint64) (parts, error) {
	if h&hasEnvelope == 0 {
		return parts{0, uint32(h)}, nil
	}
	return r.split(pos, h)
}

// split reads the first word of an envelope once: others may change it.
func (r *Row) split(pos, h uint64) (parts, error) {
	n, err := envelope.Len(r.word(pos+r.head).Load(), payloadLen(h))
	if err != nil {
		return parts{}, err
	}
	return parts{uint32(n), uint32(payloadLen(h)) - uint32(n)}, nil
}

// body is the body of the record at pos, in place.
func (r *Row) body(pos uint64, p parts) []byte {
	return r.view(pos+r.head+uint64(p.block), int(p.body))
}

// copyBlock sets *block to a copy of the envelope of the record at pos, empty if it has none. block may be
// nil.
func (r *Row) copyBlock(block *[]byte, pos uint64, p parts) {
	if block == nil {
		return
	}
	if *block = nil; p.block > 0 {
		*block = append([]byte(nil), r.view(pos+r.head, int(p.block))...)
	}
}

// PutWith is Put of a message with an envelope, whose block has a multiple of 8 bytes, or none. The block is
// no longer the caller's.
func (r *Row) PutWith(ctx context.Context, block, b []byte) error {
	if len(block) == 0 {
		return r.Put(ctx, b)
	}
	payload, err := r.join(block, b)
	if err != nil {
		return err
	}
	return r.put(ctx, hasEnvelope, payload)
}

// TryPutWith is TryPut of a message with an envelope: see PutWith.
func (r *Row) TryPutWith(block, b []byte) error {
	if len(block) == 0 {
		return r.TryPut(b)
	}
	payload, err := r.join(block, b)
	if err != nil {
		return err
	}
	return r.tryPut(hasEnvelope, payload)
}

// PutWith is Put of a message with an envelope: see Row.PutWith.
func (p *Producer) PutWith(ctx context.Context, block, b []byte) error {
	if len(block) == 0 {
		return p.Put(ctx, b)
	}
	payload, err := p.r.join(block, b)
	if err != nil {
		return err
	}
	return p.put(ctx, hasEnvelope, payload)
}

// TryPut puts one message if there is room now.
func (p *Producer) TryPut(b []byte) error {
	if p.PutNow(b) {
		return nil
	}
	return p.tryPut(0, b)
}

// TryPutWith is TryPut of a message with an envelope: see Row.PutWith.
func (p *Producer) TryPutWith(block, b []byte) error {
	if len(block) == 0 {
		return p.TryPut(b)
	}
	payload, err := p.r.join(block, b)
	if err != nil {
		return err
	}
	return p.tryPut(hasEnvelope, payload)
}

func (p *Producer) tryPut(bits uint64, b []byte) error {
	if err := p.add(bits, b); err != nil {
		return err
	}
	return p.Commit()
}

// join makes one payload of both parts, so that putting knows of one.
func (r *Row) join(block, b []byte) ([]byte, error) {
	if err := r.Fits(len(block) + len(b)); err != nil {
		return nil, fmt.Errorf("%w; its envelope has %d of them", err, len(block))
	}
	return append(block, b...), nil
}
