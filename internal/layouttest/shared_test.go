package layouttest

import (
	"encoding/binary"
	"math"
	"reflect"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/shared"
)

// sharedHeader checks the header of a value or an array, and returns the image without it.
func sharedHeader(t *testing.T, d *shiplap.Domain, name string, number, size int, elem reflect.Type, locks int, table string, params map[string]int) []byte {
	t.Helper()
	img := file(t, d, name)
	if len(img) != size {
		t.Fatalf("%s has %d bytes; %d are wanted", name, len(img), size)
	}
	desc, err := schema.Describe(elem, schema.Fixed)
	ok(t, err)
	compare(t, "header", img, 0, object.HeaderSize, 0, headerWant(self(t, d), want{"kind": number, "size": size,
		"descriptor": desc.Text, "descriptor length": len(desc.Text), "descriptor hash": check(func(v uint64) error {
			return matches(binary.LittleEndian.AppendUint64(nil, v), int(desc.Hash))
		}), "lock count": locks, "event count": 1}))
	entries(t, img, map[string]int{"writer": at(t, table, "writer record").off, "lock": at(t, table, "user record").off},
		[]string{"writer", "lock"}[:locks], []int{at(t, table, "changed").off}, table+"params", params)
	clear(img[:object.HeaderSize])
	return img
}

type pair struct {
	A float64
	B [9]int64
}

func TestValueObject(t *testing.T) {
	d := join(t, shmDir(t))
	w, err := shared.CreateValue(d, "word", float32(1.5), nil)
	ok(t, err)
	defer w.Close()
	img := sharedHeader(t, d, "word", 10, 8192, reflect.TypeFor[float32](), 2, "value", map[string]int{"locked": 1})
	compare(t, "value", img, 0, len(img), 0, want{"writer record": "", "user record": "", "word": int(math.Float32bits(1.5)), "changed": 0, "slots": ""})

	v, err := shared.CreateValue(d, "slots", pair{1, [9]int64{2}}, &shared.Options{Unlocked: true})
	ok(t, err)
	defer v.Close()
	ok(t, v.Store(bg, pair{3, [9]int64{4}}))
	const stride = 128 // 80, rounded up
	img = sharedHeader(t, d, "slots", 10, 8192, reflect.TypeFor[pair](), 1, "value", map[string]int{"locked": 0})
	slots := make([]byte, 2*stride)
	for i, x := range [][2]uint64{{math.Float64bits(1), 2}, {math.Float64bits(3), 4}} {
		binary.LittleEndian.PutUint64(slots[i*stride:], x[0])
		binary.LittleEndian.PutUint64(slots[i*stride+8:], x[1])
	}
	compare(t, "value", img, 0, len(img), 2*stride, want{"writer record": "", "user record": "", "word": 1, "changed": 0, "slots": string(slots)})
}

func TestArrayObject(t *testing.T) {
	d := join(t, shmDir(t))
	a, err := shared.CreateArray[int16](d, "plain", []int{2, 3}, nil)
	ok(t, err)
	defer a.Close()
	ok(t, a.Set(7, 1, 2))
	shape := get(t, "arrayshape").bits(t, "Bits")
	word := func(dims, frames, locked uint64) int {
		return int(shape["dimensions"].put(dims) | shape["frames"].put(frames) | shape["locked"].put(locked))
	}
	params := map[string]int{"shape": word(2, 1, 1), "dimension 0": 2, "dimension 1": 3, "dimension 2": 0, "dimension 3": 0,
		"dimension 4": 0, "dimension 5": 0, "dimension 6": 0}
	img := sharedHeader(t, d, "plain", 11, 8192+4096, reflect.TypeFor[int16](), 2, "array", params)
	compare(t, "array", img, 0, len(img), 4096, want{"writer record": "", "user record": "", "version": 0, "changed": 0,
		"frames": string(append(make([]byte, 10), 7))})

	f, err := shared.CreateArray[byte](d, "frames", []int{5}, &shared.ArrayOptions{Frames: 3, Unlocked: true})
	ok(t, err)
	defer f.Close()
	for i := range byte(4) {
		_, err := f.Publish(bg, func(frame []byte) error { frame[4] = 10 + i; return nil })
		ok(t, err)
	}
	params["shape"], params["dimension 0"], params["dimension 1"] = word(1, 3, 0), 5, 0
	img = sharedHeader(t, d, "frames", 11, 8192+3*4096, reflect.TypeFor[byte](), 1, "array", params)
	frames := make([]byte, 3*4096)
	frames[4], frames[4096+4], frames[2*4096+4] = 12, 13, 11 // versions 3, 4, 2
	compare(t, "array", img, 0, len(img), 3*4096, want{"writer record": "", "user record": "", "version": 4, "changed": 0, "frames": string(frames)})
}
