package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/schema"
)

// wording turns the messages of a topic or a channel into text and back: bytes are text as they are, everything else is JSON.
type wording struct {
	desc   schema.Descriptor
	layout *schema.Layout // of fixed layouts
	shape  *shape         // of CBOR and JSON
}

// wordingOf is how messages of a type are read and written; raw takes any as bytes.
func wordingOf(typ string, raw bool) (*wording, error) {
	if raw {
		typ = "bytes"
	}
	d, err := schema.Parse(typ)
	w := &wording{desc: d}
	if err == nil && d.Fixed {
		w.layout, err = d.Layout()
	}
	if _, spelling, ok := strings.Cut(d.Text, ":"); ok && err == nil && !d.Fixed {
		w.shape = shapeOf(spelling)
	}
	return w, err
}

func (w *wording) isText() bool { return w.desc.Codec == schema.Raw }

// longestLine is the longest text of a message, where messages have so many bytes at most.
func (w *wording) longestLine(most int) int {
	if w.isText() {
		return most
	}
	return max(most, maxLiteral)
}

// appendText appends a message as text.
func (w *wording) appendText(dst, msg []byte) ([]byte, error) {
	switch w.desc.Codec {
	case schema.Fixed:
		if len(msg) != w.layout.Size {
			return dst, fmt.Errorf("%w: a message of %d bytes, the type has %d", shiplap.ErrCorrupt, len(msg), w.layout.Size)
		}
		return appendJSON(dst, w.layout, msg), nil
	case schema.CBOR:
		return w.shape.cborToJSON(dst, msg)
	case schema.JSON:
		b := bytes.NewBuffer(dst)
		err := json.Compact(b, msg)
		return b.Bytes(), err
	}
	return append(dst, msg...), nil
}

// appendObject appends a message as an object of JSON on one line.
func (w *wording) appendObject(dst, msg []byte) ([]byte, error) {
	if w.isText() && !utf8.Valid(msg) {
		return appendBase64(dst, msg), nil
	}
	var err error
	dst = append(dst, `{"message":`...)
	if w.isText() {
		dst, err = schema.JSON.Append(dst, string(msg))
	} else {
		dst, err = w.appendText(dst, msg)
	}
	return append(dst, '}'), err
}

// appendAny is appendObject also for a message that is none of the type.
func (w *wording) appendAny(dst, msg []byte) []byte {
	if b, err := w.appendObject(nil, msg); err == nil && json.Valid(b) {
		return append(dst, b...)
	}
	return appendBase64(dst, msg)
}

func appendBase64(dst, msg []byte) []byte {
	dst = append(dst, `{"message_base64":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, msg)
	return append(dst, `"}`...)
}

// parse turns text into a message. It may be the text itself.
func (w *wording) parse(text []byte) ([]byte, error) {
	switch w.desc.Codec {
	case schema.Fixed:
		b, err := parseLiteral(w.layout, string(text))
		return b, err
	case schema.CBOR, schema.JSON:
		return w.encode(text)
	}
	return text, nil
}

func (w *wording) encode(text []byte) ([]byte, error) {
	v, err := decodeText(text)
	if err != nil {
		return nil, usagef("%.60q is no JSON, and messages are %s: %w", text, w.desc.Text, err)
	}
	if v, err = w.shape.value(v, w.desc.Codec == schema.CBOR); err != nil {
		return nil, usagef("%.60q does not fit, messages are %s: %w", text, w.desc.Text, err)
	}
	return w.desc.Codec.Append(nil, v)
}

// decodeText is a value of JSON, its numbers as they stand there.
func decodeText(text []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err = d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something stands behind the value")
	}
	return v, nil
}

// eachLines hands over lines in batches, as they come, without their newlines; number counts the lines before;
// next is the hint for a line of more than most bytes.
func eachLines(ctx context.Context, name string, r io.Reader, most int, next string, each func(number int64, lines [][]byte) error) error {
	in := newFeed(ctx, r, 256<<10)
	var carry []byte // the beginning of a line
	var lines [][]byte
	number := int64(0)
	for {
		b, err := in.next()
		if err == io.EOF && len(carry) > 0 {
			return each(number, [][]byte{carry})
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		lines = lines[:0]
		for {
			text, rest, found := bytes.Cut(b, []byte{'\n'})
			if n := len(carry) + len(text); n > most {
				if err := each(number, lines); err != nil {
					return err
				}
				return exitError{fmt.Errorf("%s: line %d: %w: it has %s bytes or more, and messages up to %s",
					name, number+int64(len(lines))+1, shiplap.ErrTooLarge, grouped(n), grouped(most)), exitFailure, next}
			}
			if !found {
				break
			}
			if len(carry) > 0 {
				text, carry = append(carry, text...), nil
			}
			lines, b = append(lines, text), rest
		}
		if err := each(number, lines); err != nil {
			return err
		}
		number += int64(len(lines))
		carry = append(carry, b...)
	}
}
