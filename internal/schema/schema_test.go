package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

type (
	point struct {
		X, Y float64
		ID   uint32
	}
	packedBytes struct {
		A int8
		_ [3]byte
		B [2]bool
		_ struct{}
		c complex64
	}
	line struct {
		Ends [2]point
		point
		Word uintptr
	}
	named   []byte
	enum    int16
	withStr struct{ Name string }
	hidden  struct{ _ *int }
	deepStr struct{ A [2]struct{ B withStr } }
	node    struct{ Next *node }
	forest  []forest
	tagged  struct {
		Name  string `json:"name"`
		Age   int    `cbor:"1,keyasint" json:"age,string"`
		Skip  int    `json:"-"`
		Odd   bool   `json:"a b"`
		When  *time.Time
		small int
	}
	tuple struct {
		_ struct{} `cbor:",toarray"`
		B string
		A []byte
	}
	base    struct{ ID, Kind int }
	derived struct {
		base
		*point
		Kind string
	}
	onlyEncodes struct{ n int }
	closed      struct{ n int }
	hasMethod   interface{ M() }
)

func (onlyEncodes) MarshalText() ([]byte, error) { return nil, nil }

func TestDescribe(t *testing.T) {
	for _, tt := range []struct {
		v     any
		codec Codec
		want  string // the descriptor, or after "! " a part of the error
	}{
		{[]byte(nil), Auto, "bytes"},
		{"", Raw, "bytes"},
		{"", Auto, "cbor:str"},
		{named(nil), Auto, "cbor:bytes"},
		{named(nil), Raw, "! codec raw takes []byte and string only"},
		{0, Raw, "! codec raw takes"},
		{0, Codec("xml"), `! unknown codec "xml"`},

		{false, Auto, "fixed:|b1"},
		{int8(0), Auto, "fixed:|i1"},
		{byte(0), Auto, "fixed:|u1"},
		{0, Auto, "fixed:<i8"},
		{uint(0), Auto, "fixed:<u8"},
		{uintptr(0), Auto, "fixed:<u8"},
		{enum(0), Auto, "fixed:<i2"},
		{time.Second, Auto, "fixed:<i8"},
		{float32(0), Auto, "fixed:<f4"},
		{complex64(0), Auto, "fixed:<c8"},
		{complex128(0), Auto, "fixed:<c16"},
		{Float16{}, Auto, "fixed:<f2"},
		{[2]BFloat16{}, Auto, "fixed:[2]bfloat16"},
		{Text[[12]byte]{}, Auto, "fixed:utf8[12]"},
		{Bytes[[5]byte]{}, Auto, "fixed:|S5"},
		{struct {
			A byte
			T Text[[3]byte]
			H Float16
		}{}, Auto, "fixed:{A:|u1@0,T:utf8[3]@1,H:<f2@4;size=6,align=2}"},
		{shortFloats{}, CBOR, "cbor:{B:bf16,H:f16,S:bytes,T:str}"},
		{Text[int]{}, CBOR, "! of an array of bytes"},
		{Bytes[[0]byte]{}, CBOR, "! of an array of bytes"},
		{Bytes[[5]byte]{}, JSON, "! without exported fields"},
		{struct{ T Text[[2]int] }{}, Auto, "! of an array of bytes"},
		{[2][3]uint16{}, Auto, "fixed:[2][3]<u2"},
		{point{}, Auto, "fixed:{X:<f8@0,Y:<f8@8,ID:<u4@16;size=24,align=8}"},
		{packedBytes{c: 1}, Fixed, "fixed:{A:|i1@0,B:[2]|b1@4,c:<c8@8;size=16,align=4}"},
		{line{}, Fixed, "fixed:{Ends:[2]{X:<f8@0,Y:<f8@8,ID:<u4@16;size=24,align=8}@0," +
			"point:{X:<f8@0,Y:<f8@8,ID:<u4@16;size=24,align=8}@48,Word:<u8@72;size=80,align=8}"},
		{atomic.Int64{}, Auto, "fixed:{v:<i8@0;size=8,align=8}"},
		{struct{ _ [8]byte }{}, Fixed, "fixed:{;size=8,align=1}"},
		{struct{ Größe, _x int8 }{}, Fixed, "fixed:{Größe:|i1@0,_x:|i1@1;size=2,align=1}"},
		{withStr{}, Fixed, "! type schema.withStr: field Name is a string: not of fixed layout; use a codec"},
		{deepStr{}, Fixed, "! field A[].B.Name is a string"},
		{hidden{}, Fixed, "! field _ is a pointer"},
		{"", Fixed, "! type string: it is a string: not of fixed layout"},
		{struct{}{}, Fixed, "! has no bytes"},
		{[0]int{}, Fixed, "! has no bytes"},
		{struct{}{}, Auto, "cbor:{}"},
		{withStr{}, Auto, "cbor:{Name:str}"},

		{0, CBOR, "cbor:i64"},
		{[]float32{}, CBOR, "cbor:[]f32"},
		{[2]bool{}, JSON, "json:[2]bool"},
		{[3]byte{}, CBOR, "cbor:bytes3"},
		{[3]byte{}, JSON, "json:[3]u8"},
		{map[string][]int8{}, JSON, "json:map[str][]i8"},
		{map[int]any{}, CBOR, "cbor:map[i64]any"},
		{[]any{}, CBOR, "cbor:[]any"},
		{node{}, CBOR, "cbor:{Next:?^2}"},
		{&node{}, CBOR, "cbor:?{Next:^2}"},
		{forest{}, JSON, "json:[]^1"},
		{tagged{}, CBOR, `cbor:{"a b":bool,1:i64,When:?time,name:str}`},
		{tagged{small: 1}, JSON, `json:{"a b":bool,When:?time,age:~i64,name:str}`},
		{tuple{}, CBOR, "cbor:(B:str,A:bytes)"},
		{tuple{}, JSON, "json:{A:bytes,B:str}"},
		{derived{}, CBOR, "cbor:{Kind:str,X:f64,Y:f64}"},
		{netip.Addr{}, Auto, `cbor:@"net/netip.Addr"`},
		{big.Int{}, JSON, "json:big"},
		{big.Float{}, CBOR, `cbor:@"math/big.Float"`},
		{json.Number(""), JSON, "json:number"},
		{json.RawMessage{}, JSON, "json:any"},
		{make(chan int), Auto, "! type chan int: it is a channel: codec cbor cannot carry it"},
		{struct{ F func() }{}, JSON, "! field F is a function"},
		{struct{ C complex64 }{}, CBOR, "! field C is complex"},
		{struct{ I hasMethod }{}, CBOR, "! field I is an interface"},
		{map[bool]int{}, JSON, "! with keys of type bool"},
		{onlyEncodes{n: 1}, CBOR, "! that has MarshalText, but not UnmarshalText"},
		{closed{n: 1}, CBOR, "! without exported fields: codec cbor would lose it"},
		{struct {
			A int `cbor:"x,keyasint"`
		}{}, CBOR, `! field A: keyasint, but its name is "x"`},
	} {
		d, err := Describe(reflect.TypeOf(tt.v), tt.codec)
		if part, bad := strings.CutPrefix(tt.want, "! "); bad {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("Describe(%T, %q) = %v, %v, want error with %q", tt.v, tt.codec, d, err, part)
			}
			continue
		}
		if err != nil || d.Text != tt.want {
			t.Errorf("Describe(%T, %q) = %v, %v, want %s", tt.v, tt.codec, d, err, tt.want)
			continue
		}
		parsed, err := Parse(d.Text)
		if diff := cmp.Diff(d, parsed); err != nil || diff != "" {
			t.Errorf("Parse(%q): %v (-described +parsed)\n%s", d.Text, err, diff)
		}
	}
	if _, err := Describe(nil, Auto); err == nil {
		t.Error("Describe(nil) succeeds")
	}
}

// A descriptor's hash is part of the layout: it must never change.
func TestHash(t *testing.T) {
	d, err := Parse("bytes")
	if err != nil || d.Hash != 0x4fdf0b1cd9897027 {
		t.Errorf("hash of %q is %#x (%v), want %#x", d.Text, d.Hash, err, uint64(0x4fdf0b1cd9897027))
	}
}

type quad[T any] struct{ A, B, C, D T }

func wide(n int, of reflect.Type) reflect.Type {
	fields := make([]reflect.StructField, n)
	for i := range fields {
		fields[i] = reflect.StructField{Name: fmt.Sprintf("Field%d", i), Type: of}
	}
	return reflect.StructOf(fields)
}

func TestDescribeLarge(t *testing.T) {
	ints := wide(300, reflect.TypeFor[int]())
	for _, c := range []Codec{Auto, Fixed} {
		if d, err := Describe(ints, c); err == nil || !strings.Contains(err.Error(), "too large to describe") {
			t.Errorf("300 ints, codec %q: %v, %v", c, d, err)
		}
	}
	exponential := reflect.TypeFor[quad[quad[quad[quad[quad[quad[quad[quad[quad[quad[int8]]]]]]]]]]]()
	if d, err := Describe(exponential, Fixed); err == nil {
		t.Errorf("4^10 fields: %v", d)
	}
	if d, err := Describe(exponential, CBOR); err == nil {
		t.Errorf("4^10 fields: %v", d)
	}
	deep := reflect.TypeFor[string]()
	for range maxDepth + 1 {
		deep = reflect.SliceOf(deep)
	}
	seen := make(map[uint64]bool)
	for _, typ := range []reflect.Type{ints, wide(300, reflect.TypeFor[uint]()), deep} {
		d, err := Describe(typ, CBOR)
		if err != nil || len(d.Text) != len("cbor:#")+64 || seen[d.Hash] {
			t.Errorf("%v, %v, want a digest of its own", d, err)
		}
		seen[d.Hash] = true
		if p, err := Parse(d.Text); err != nil || p != d {
			t.Errorf("Parse(%v) = %v, %v", d, p, err)
		}
	}
	if d, err := Describe(deep.Elem(), CBOR); err != nil || strings.Contains(d.Text, "#") {
		t.Errorf("%d levels: %v, %v", maxDepth, d, err)
	}
}

func TestIncompatible(t *testing.T) {
	a, _ := Parse("fixed:<i8")
	b, _ := Parse("cbor:str")
	if err := Incompatible(a, a); err != nil {
		t.Error(err)
	}
	err := Incompatible(a, b)
	if !errors.Is(err, errs.ErrIncompatible) {
		t.Fatalf("error %v", err)
	}
	for _, side := range []string{a.Text, b.Text} {
		if !strings.Contains(err.Error(), side) {
			t.Errorf("%q does not show %q", err, side)
		}
	}
	if Incompatible(Descriptor{}, a) == nil || Incompatible(Descriptor{}, Descriptor{}) == nil {
		t.Error("the zero descriptor fits something")
	}
}
