package pymp

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

const (
	// Up to so many bytes the length and the message go out in one write, as Python's do: a second
	// small write would wait for an answer to the first one on TCP.
	inOneWrite = 16384

	longMark   = math.MaxUint32 // -1 as the short length: a long one follows
	firstPiece = 64 << 10       // is allocated on the word of the sender; more only as bytes come
)

// appendHeader writes the length of a message: 4 bytes, big-endian, or -1 and 8 bytes.
func appendHeader(b []byte, n int) []byte {
	if n > math.MaxInt32 {
		return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, longMark), uint64(n))
	}
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

// writeFrame returns how many bytes it wrote.
func writeFrame(w io.Writer, p []byte) (int64, error) {
	if len(p) <= inOneWrite {
		n, err := w.Write(append(appendHeader(make([]byte, 0, 4+len(p)), len(p)), p...))
		return int64(n), err
	}
	both := net.Buffers{appendHeader(nil, len(p)), p}
	return both.WriteTo(w)
}

// frameReader reads messages. What it has read of one is kept over an error, so that a cancelled call
// loses nothing.
type frameReader struct {
	r    *bufio.Reader
	head []byte // of the length, as much as came
	body []byte
	size int64
	read bool // the length is known
	err  error
}

// next is the next message, of at most so many bytes. Errors of what came are final, those of the
// stream pass.
func (f *frameReader) next(most int64) ([]byte, error) {
	if f.err != nil {
		return nil, f.err
	}
	if !f.read {
		if err := f.length(most); err != nil {
			return nil, err
		}
	}
	for int64(len(f.body)) < f.size {
		if len(f.body) == cap(f.body) {
			grown := make([]byte, len(f.body), min(f.size, max(2*int64(len(f.body)), firstPiece)))
			copy(grown, f.body)
			f.body = grown
		}
		n, err := f.r.Read(f.body[len(f.body):cap(f.body)])
		f.body = f.body[:len(f.body)+n]
		if err != nil && int64(len(f.body)) < f.size {
			return nil, f.ended(err)
		}
	}
	p := f.body
	f.head, f.body, f.read = f.head[:0], nil, false
	if p == nil {
		p = []byte{}
	}
	return p, nil
}

func (f *frameReader) length(most int64) error {
	if err := f.headUpTo(4); err != nil {
		return err
	}
	n := uint64(binary.BigEndian.Uint32(f.head))
	if n == longMark {
		if err := f.headUpTo(12); err != nil {
			return err
		}
		n = binary.BigEndian.Uint64(f.head[4:])
	} else if n > math.MaxInt32 {
		f.err = fmt.Errorf("%w: a message of %d bytes", ErrProtocol, int32(n))
		return f.err
	}
	if n > uint64(most) {
		f.err = fmt.Errorf("%w: a message of %d bytes (maximum %d, Options.MaxMessage)", errs.ErrTooLarge, n, most)
		return f.err
	}
	f.size, f.read = int64(n), true
	return nil
}

func (f *frameReader) headUpTo(n int) error {
	for len(f.head) < n {
		b, err := f.r.ReadByte()
		if err != nil {
			return f.ended(err)
		}
		f.head = append(f.head, b)
	}
	return nil
}

// ended tells an end between messages from one inside.
func (f *frameReader) ended(err error) error {
	if err == io.EOF && (len(f.head) > 0 || f.read) {
		return fmt.Errorf("%w: the connection ended inside a message, after %d bytes of it: %w", errs.ErrPeerGone, len(f.head)+len(f.body), io.ErrUnexpectedEOF)
	}
	return err
}
