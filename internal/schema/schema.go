package schema

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

const (
	// MaxText is the longest descriptor, in bytes.
	MaxText = 2048

	maxDepth  = 32
	maxAlign  = 64
	maxSize   = 1 << 30
	maxNumber = 1<<31 - 1
	maxShape  = 1 << 20 // longest shape that is worth a digest
)

// Descriptor says what one element of an object is. Descriptors are comparable; the zero value
// describes nothing and equals no other.
type Descriptor struct {
	Text  string
	Hash  uint64 // of Text, see the package comment
	Codec Codec  // how elements become bytes
	Fixed bool   // Codec is Fixed: elements of Size bytes, aligned to Align
	Size  int
	Align int
}

func (d Descriptor) String() string {
	if d.Text == "" {
		return "nothing"
	}
	return d.Text
}

func describe(text string, c Codec, size, align int) Descriptor {
	sum := sha256.Sum256([]byte(text))
	return Descriptor{
		Text:  text,
		Hash:  binary.LittleEndian.Uint64(sum[:8]),
		Codec: c,
		Fixed: c == Fixed,
		Size:  size,
		Align: align,
	}
}

// Describe returns the descriptor of Go type t under codec c. Auto takes Raw for []byte, Fixed
// for types of fixed layout that hold no pointer, and CBOR for everything else. Raw takes exactly
// []byte and string.
func Describe(t reflect.Type, c Codec) (Descriptor, error) {
	if t == nil {
		return Descriptor{}, fmt.Errorf("type descriptor: no type")
	}
	switch c {
	case Auto:
		if t == bytesType {
			return Describe(t, Raw)
		}
		d, err := Describe(t, Fixed)
		if errors.Is(err, errNotFixed) {
			return Describe(t, CBOR)
		}
		return d, err
	case Raw:
		if t != bytesType && t != stringType {
			return Descriptor{}, fmt.Errorf("type %s: codec raw takes []byte and string only", t)
		}
		return describe("bytes", Raw, 0, 1), nil
	case Fixed:
		text, err := layoutText(t)
		if err != nil {
			return Descriptor{}, err
		}
		return describe("fixed:"+text, Fixed, int(t.Size()), t.Align()), nil
	case CBOR, JSON:
		text, deep, err := shapeText(t, c)
		if err != nil {
			return Descriptor{}, err
		}
		if deep || len(c)+1+len(text) > MaxText {
			sum := sha256.Sum256([]byte(text))
			text = "#" + hex.EncodeToString(sum[:])
		}
		return describe(string(c)+":"+text, c, 0, 1), nil
	}
	return Descriptor{}, fmt.Errorf("type %s: unknown codec %q", t, string(c))
}

// Incompatible returns nil if an object that holds have serves a program that wants want, else
// an ErrIncompatible that shows both.
func Incompatible(have, want Descriptor) error {
	if have.Text == want.Text && have.Text != "" {
		return nil
	}
	return fmt.Errorf("%w: elements are %v, wanted %v", errs.ErrIncompatible, have, want)
}

var (
	bytesType  = reflect.TypeFor[[]byte]()
	stringType = reflect.TypeFor[string]()
)
