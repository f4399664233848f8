package pymp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// DecodePickle reads a pickle of plain data, of protocol 0 to 5. limits may be nil.
//
//	None                 nil
//	bool                 bool
//	int                  int64, or *big.Int if it does not fit
//	float, complex       float64, complex128
//	str                  string (one with a lone surrogate is an error)
//	bytes, bytearray     []byte, ByteArray
//	list, tuple          []any, Tuple
//	dict, OrderedDict    *Dict
//	set, frozenset       Set, FrozenSet
//
// Nothing is executed: a pickle that calls for any other class or function is refused with its name.
// So are cycles. What appears several times in a pickle is one value in Go: change it in one place
// and the others follow. Errors wrap ErrPickle, or ErrTooLarge where a limit was met.
func DecodePickle(data []byte, limits *PickleLimits) (any, error) {
	l, err := limits.resolve()
	if err != nil {
		return nil, err
	}
	d := decoder{data: data, limits: l}
	v, err := d.run()
	if len(d.unknown) > 0 && !errors.Is(err, errs.ErrTooLarge) {
		err = refuseUnknown(d.unknown)
	}
	if err != nil {
		return nil, fmt.Errorf("pickle, at byte %d of %d: %w", d.pos, len(data), err)
	}
	b := builder{PickleLimits: l, keys: newKeyer()}
	value, _, _, err := b.build(v, 0)
	if err != nil {
		return nil, fmt.Errorf("pickle: %w", err)
	}
	return value, nil
}

// decoder is the stack machine of a pickle. Every push counts against MaxObjects, so that stack,
// marks and memo are bounded by it; every length is compared with the bytes that are there.
type decoder struct {
	data   []byte
	pos    int
	limits PickleLimits

	stack   []any
	marks   []int // heights of the stack
	memo    map[uint64]any
	counts  int      // pushes
	copied  int      // bytes, see copies
	unknown []string // see global
}

func (d *decoder) count(n int) error {
	if d.counts = addSaturating(d.counts, n); d.counts > 2*d.limits.MaxObjects {
		// Twice: an object may cost a push, and its tuple or name another one.
		return tooManyObjects(d.limits.MaxObjects)
	}
	return nil
}

func (d *decoder) push(v any) error {
	if err := d.count(1); err != nil {
		return err
	}
	d.stack = append(d.stack, v)
	return nil
}

// floor is the height below which the stack is behind the last mark.
func (d *decoder) floor() int {
	if n := len(d.marks); n > 0 {
		return d.marks[n-1]
	}
	return 0
}

var errStack = badPickle("its stack is empty where a value is needed")

// pop takes the last n values.
func (d *decoder) pop(n int) ([]any, error) {
	at := len(d.stack) - n
	if at < d.floor() {
		return nil, errStack
	}
	vs := d.stack[at:]
	d.stack = d.stack[:at]
	return vs, nil
}

// popMark takes all values since the last mark. They are valid until the next push.
func (d *decoder) popMark() ([]any, error) {
	if len(d.marks) == 0 {
		return nil, badPickle("no mark")
	}
	at := d.floor()
	d.marks = d.marks[:len(d.marks)-1]
	vs := d.stack[at:]
	d.stack = d.stack[:at]
	return vs, nil
}

func (d *decoder) top() (any, error) {
	if len(d.stack) <= d.floor() {
		return nil, errStack
	}
	return d.stack[len(d.stack)-1], nil
}

func (d *decoder) take(n uint64) ([]byte, error) {
	if n > uint64(len(d.data)-d.pos) {
		return nil, badPickle("%d bytes are announced and %d there", n, len(d.data)-d.pos)
	}
	b := d.data[d.pos : d.pos+int(n)]
	d.pos += int(n)
	return b, nil
}

// uint reads an unsigned little-endian number of 1, 2, 4 or 8 bytes.
func (d *decoder) uint(size int) (uint64, error) {
	b, err := d.take(uint64(size))
	if err != nil {
		return 0, err
	}
	var w [8]byte
	copy(w[:], b)
	return binary.LittleEndian.Uint64(w[:]), nil
}

// counted reads a length of size bytes, and that many bytes.
func (d *decoder) counted(size int) ([]byte, error) {
	n, err := d.uint(size)
	if err != nil {
		return nil, err
	}
	return d.take(n)
}

// line reads up to a newline.
func (d *decoder) line() ([]byte, error) {
	n := bytes.IndexByte(d.data[d.pos:], '\n')
	if n < 0 {
		return nil, badPickle("a line without end")
	}
	b, err := d.take(uint64(n) + 1)
	return b[:n], err
}

// run executes opcodes up to STOP and returns the one value that is left.
func (d *decoder) run() (any, error) {
	for {
		b, err := d.take(1)
		if err != nil {
			return nil, badPickle("it ends before its end")
		}
		if b[0] == opStop {
			break
		}
		if err := d.step(b[0]); err != nil {
			return nil, err
		}
	}
	switch {
	case len(d.marks) > 0 || len(d.stack) != 1:
		return nil, badPickle("it ends with %d values and %d marks, not with one value", len(d.stack), len(d.marks))
	case d.pos != len(d.data):
		return nil, badPickle("%d bytes follow its end", len(d.data)-d.pos)
	}
	return d.stack[0], nil
}

func (d *decoder) step(op byte) error {
	switch op {
	case opProto:
		v, err := d.uint(1)
		if err == nil && v > 5 {
			err = badPickle("it is of protocol %d, and 5 is the last one known", v)
		}
		return err
	case opFrame:
		n, err := d.uint(8)
		if err == nil && n > uint64(len(d.data)-d.pos) {
			err = badPickle("a frame of %d bytes where %d are left", n, len(d.data)-d.pos)
		}
		return err
	case opMark:
		d.marks = append(d.marks, len(d.stack))
		return d.count(1)
	case opPop:
		if n := len(d.marks); n > 0 && len(d.stack) == d.floor() {
			d.marks = d.marks[:n-1] // as Python does
			return nil
		}
		_, err := d.pop(1)
		return err
	case opPopMark:
		_, err := d.popMark()
		return err
	case opDup:
		v, err := d.top()
		if err != nil {
			return err
		}
		return d.push(v)
	}
	if v, ok, err := d.scalar(op); ok || err != nil {
		if err != nil {
			return err
		}
		return d.push(v)
	}
	if ok, err := d.text(op); ok {
		return err
	}
	if ok, err := d.memoize(op); ok {
		return err
	}
	return d.container(op)
}

// scalar reads what binary opcodes spell out; ok says whether op is one of them.
func (d *decoder) scalar(op byte) (v any, ok bool, err error) {
	var b []byte
	var n uint64
	switch op {
	case opNone:
		return nil, true, nil
	case opTrue, opFalse:
		return op == opTrue, true, nil
	case opBinInt:
		n, err = d.uint(4)
		return int64(int32(n)), true, err
	case opBinInt1:
		n, err = d.uint(1)
		return int64(n), true, err
	case opBinInt2:
		n, err = d.uint(2)
		return int64(n), true, err
	case opLong1, opLong4:
		if b, err = d.counted(map[byte]int{opLong1: 1, opLong4: 4}[op]); err != nil {
			return nil, true, err
		}
		return long(b), true, nil
	case opBinFloat:
		if b, err = d.take(8); err != nil {
			return nil, true, err
		}
		return math.Float64frombits(binary.BigEndian.Uint64(b)), true, nil
	}
	var size int
	switch op {
	case opShortBinUnicode, opShortBinBytes:
		size = 1
	case opBinUnicode, opBinBytes:
		size = 4
	case opBinUnicode8, opBinBytes8, opByteArray8:
		size = 8
	default:
		return nil, false, nil
	}
	if b, err = d.counted(size); err != nil {
		return nil, true, err
	}
	switch op {
	case opShortBinBytes, opBinBytes, opBinBytes8:
		return append([]byte{}, b...), true, nil
	case opByteArray8:
		return append(ByteArray{}, b...), true, nil
	}
	v, err = unicode(b)
	return v, true, err
}

// long is a little-endian two's complement number of any length.
func long(b []byte) any {
	if len(b) <= 8 {
		var w [8]byte
		if len(b) > 0 && b[len(b)-1]&0x80 != 0 {
			w = [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
		}
		copy(w[:], b)
		return int64(binary.LittleEndian.Uint64(w[:]))
	}
	be := make([]byte, len(b))
	for i, x := range b {
		be[len(b)-1-i] = x
	}
	v := new(big.Int).SetBytes(be)
	if be[0]&0x80 != 0 {
		v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return small(v)
}

// small is v as an int64 where it fits.
func small(v *big.Int) any {
	if v.IsInt64() {
		return v.Int64()
	}
	return v
}

// memoize handles the opcodes of the memo; ok says whether op is one of them.
func (d *decoder) memoize(op byte) (ok bool, err error) {
	var i uint64
	switch op {
	case opMemoize:
		i = uint64(len(d.memo))
	case opBinPut, opBinGet:
		i, err = d.uint(1)
	case opLongBinPut, opLongBinGet:
		i, err = d.uint(4)
	case opPut, opGet:
		i, err = d.index()
	default:
		return false, nil
	}
	if err != nil {
		return true, err
	}
	switch op {
	case opBinGet, opLongBinGet, opGet:
		v, ok := d.memo[i]
		if !ok {
			return true, badPickle("it refers to its object %d, which is not there yet", i)
		}
		return true, d.push(v)
	}
	v, err := d.top()
	if err != nil {
		return true, err
	}
	if d.memo == nil {
		d.memo = map[uint64]any{}
	}
	d.memo[i] = v
	if len(d.memo) > 2*d.limits.MaxObjects {
		return true, tooManyObjects(d.limits.MaxObjects)
	}
	return true, nil
}
