package rpc

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/pipe"
)

// A connection is a pipe of messages, each a frame: a header of 24 bytes, little-endian, and a payload.
//
//	0   u8   kind
//	1   u8   flags: bit 0, more of this message follows in frames with the same kind and number
//	2   u16  0
//	4   u32  method: of call and bound, the number that bound gave it
//	8   u64  number of the call, which the client chose; not 0, but for bye
//	16  u64  of call: nanoseconds until its deadline, 0 for none
//
//	client → server                            server → client
//	bind    CBOR of bindRequest                bound   CBOR of bindReply, or fail
//	call    the request                        result  the reply, or fail: CBOR of Error
//	cancel  nothing                            bye     nothing: do not call any more
//
// Each bind and each call is answered by one bound, result or fail, also if it was cancelled.
type kind uint8

const (
	kindBind kind = 1 + iota
	kindBound
	kindCall
	kindResult
	kindFail
	kindCancel
	kindBye
)

const (
	headerSize = 24
	flagMore   = 1
	version    = 1
)

// A method is bound in one of these modes.
const (
	modeTyped = "typed" // the types of both sides are compared
	modeRaw   = "raw"   // they are not; bytes are as the method's types want them
	modeJSON  = "json"  // requests and replies are JSON
)

type bindRequest struct {
	Version           int
	Method            string
	Request, Response string // descriptors, of typed
	Mode              string
}

type bindReply struct {
	Request, Response string // the method's descriptors
}

type frame struct {
	kind    kind
	more    bool
	method  uint32
	id      uint64
	arg     uint64
	payload []byte
}

// parseFrame views a frame in b.
func parseFrame(b []byte) (f frame, err error) {
	bad := func(what string, v any) (frame, error) {
		return frame{}, fmt.Errorf("%w: a frame with %s %v", errs.ErrCorrupt, what, v)
	}
	if len(b) < headerSize {
		return bad("a length of", len(b))
	}
	le := binary.LittleEndian
	f = frame{kind: kind(b[0]), more: b[1]&flagMore != 0, method: le.Uint32(b[4:]), id: le.Uint64(b[8:]), arg: le.Uint64(b[16:]), payload: b[headerSize:]}
	switch {
	case f.kind < kindBind || f.kind > kindBye:
		return bad("the kind", b[0])
	case b[1]&^flagMore != 0 || b[2] != 0 || b[3] != 0:
		return bad("the flags", b[1:4])
	case f.more && f.kind >= kindCancel:
		return bad("more to come of kind", b[0])
	case (f.id == 0) != (f.kind == kindBye):
		return bad("the number", f.id)
	}
	return f, nil
}

// putHeader fills the first bytes of b.
func putHeader(b []byte, f *frame) {
	le := binary.LittleEndian
	b[0], b[1], b[2], b[3] = byte(f.kind), 0, 0, 0
	if f.more {
		b[1] = flagMore
	}
	le.PutUint32(b[4:], f.method)
	le.PutUint64(b[8:], f.id)
	le.PutUint64(b[16:], f.arg)
}

var noHeader [headerSize]byte

// startFrame leaves room for the header.
func startFrame(buf []byte) []byte { return append(buf[:0], noHeader[:]...) }

const mostPiece = 128 << 10

// pieces is how long a payload may be before it goes in pieces.
func pieces(e *pipe.End) int { return min(mostPiece, e.MaxMessage()/4) - headerSize }

// send sends a message whose payload stands in buf behind room for the header. began says that some of it was sent, also
// with an error. Pieces overwrite what was sent before them.
func send(ctx context.Context, e *pipe.End, piece int, f frame, buf []byte) (began bool, err error) {
	for ; len(buf)-headerSize > piece; buf = buf[piece:] {
		f.more = true
		putHeader(buf, &f)
		if err := e.Send(ctx, buf[:headerSize+piece]); err != nil {
			return began, err
		}
		began = true
	}
	f.more = false
	putHeader(buf, &f)
	return began, e.Send(ctx, buf)
}

func encode(buf []byte, v any) []byte {
	b, err := schema.CBOR.Append(startFrame(buf), v)
	if err != nil {
		panic(err) // our own types
	}
	return b
}

func decode(b []byte, v any) error { return schema.CBOR.Decode(b, v) }
