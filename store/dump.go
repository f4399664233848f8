package store

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// line is one entry of a dump. Keys and values that are no UTF-8 stand in base64.
type line struct {
	Key         *string   `json:"key,omitempty"`
	KeyBase64   []byte    `json:"key_base64,omitempty"`
	Value       *string   `json:"value,omitempty"`
	ValueBase64 []byte    `json:"value_base64,omitempty"`
	Format      string    `json:"format,omitempty"` // "cbor" or "json"; else bytes
	Revision    uint64    `json:"revision,omitempty"`
	Expires     time.Time `json:"expires,omitzero"`
}

func lineOf(e *Entry) (l line) {
	if utf8.ValidString(e.Key) {
		l.Key = &e.Key
	} else {
		l.KeyBase64 = []byte(e.Key)
	}
	if utf8.Valid(e.Value) {
		v := string(e.Value)
		l.Value = &v
	} else {
		l.ValueBase64 = e.Value
	}
	if e.Format != FormatBytes {
		l.Format = e.Format.String()
	}
	l.Revision, l.Expires = e.Revision, e.Expires.UTC()
	if e.Expires.IsZero() {
		l.Expires = time.Time{}
	}
	return l
}

func writeLine(w io.Writer, e *Entry) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(lineOf(e))
}

// parseLine reads an entry of a dump.
func parseLine(b []byte) (e Entry, err error) {
	if !utf8.Valid(b) {
		return e, errors.New("it is no UTF-8; other bytes stand in base64")
	}
	var l line
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return e, err
	}
	if rest := bytes.TrimSpace(b[d.InputOffset():]); len(rest) > 0 {
		return e, fmt.Errorf("%.40q follows the entry", rest)
	}
	switch {
	case (l.Key == nil) == (l.KeyBase64 == nil):
		return e, errors.New(`it needs either "key" or "key_base64"`)
	case (l.Value == nil) == (l.ValueBase64 == nil):
		return e, errors.New(`it needs either "value" or "value_base64"`)
	case l.Key != nil:
		e.Key = *l.Key
	default:
		e.Key = string(l.KeyBase64)
	}
	if e.Value = l.ValueBase64; l.Value != nil {
		e.Value = []byte(*l.Value)
	}
	switch l.Format {
	case "", FormatBytes.String():
	case FormatCBOR.String():
		e.Format = FormatCBOR
	case FormatJSON.String():
		e.Format = FormatJSON
	default:
		return e, fmt.Errorf("format %q; bytes, cbor and json are known", l.Format)
	}
	e.Revision, e.Expires = l.Revision, l.Expires
	return e, nil
}

// Dump writes the entries whose keys begin with prefix, as All returns them, one JSON object a line: "key" or, if it is no
// UTF-8, "key_base64"; "value" or "value_base64"; "format" if it is not bytes; "revision"; "expires" as RFC 3339. It returns how
// many there were.
func (s *Store) Dump(ctx context.Context, w io.Writer, prefix string) (n int, err error) {
	all, err := s.All(ctx, prefix)
	if err != nil {
		return 0, err
	}
	out := bufio.NewWriter(w)
	for i := range all {
		if err := writeLine(out, &all[i]); err != nil {
			return i, fmt.Errorf("dump of store %q: %w", s.Name(), err)
		}
	}
	if err := out.Flush(); err != nil {
		return 0, fmt.Errorf("dump of store %q: %w", s.Name(), err)
	}
	return len(all), nil
}

// Load sets what a Dump wrote, key by key, and returns how many it set. What has expired since is left out; revisions are new ones. Keys
// that are not in the dump stay.
func (s *Store) Load(ctx context.Context, r io.Reader) (n int, err error) {
	in := bufio.NewReader(r)
	longest := 6*(MaxKey+int(min(MaxValue, s.obj.Size))) + 1024 // escapes in JSON have six bytes
	for number := 1; ; number++ {
		b, err := readLine(in, longest)
		if err != nil && err != io.EOF {
			return n, fmt.Errorf("load store %q: line %d: %w", s.Name(), number, err)
		}
		end := err == io.EOF
		if b = bytes.TrimSpace(b); len(b) > 0 {
			did, err := s.loadLine(ctx, b)
			if err != nil {
				return n, fmt.Errorf("load store %q: line %d: %w", s.Name(), number, err)
			}
			if did {
				n++
			}
		}
		if end {
			return n, nil
		}
	}
}

// readLine reads up to the end of a line, which is not longer than most.
func readLine(in *bufio.Reader, most int) (line []byte, err error) {
	for {
		b, err := in.ReadSlice('\n')
		if line = append(line, b...); err != bufio.ErrBufferFull {
			return line, err
		}
		if len(line) > most {
			return nil, fmt.Errorf("%w: it has more than the %d bytes that an entry of this store can take; is this a dump?", errs.ErrTooLarge, most)
		}
	}
}

func (s *Store) loadLine(ctx context.Context, b []byte) (did bool, err error) {
	e, err := parseLine(b)
	if err != nil {
		return false, err
	}
	if len(e.Key) > MaxKey || len(e.Value) > MaxValue {
		return false, fmt.Errorf("%w: a key of %d bytes and a value of %d", errs.ErrTooLarge, len(e.Key), len(e.Value))
	}
	opts := []SetOption{Encoded(e.Format)}
	if !e.Expires.IsZero() {
		if !e.Expires.After(time.Now()) {
			return false, nil
		}
		opts = append(opts, ExpireAt(e.Expires))
	}
	_, err = s.Set(ctx, e.Key, e.Value, opts...)
	return err == nil, err
}
