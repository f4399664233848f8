package npy

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/pythontest"
	"github.com/shiplap-ipc/shiplap/internal/schema"
)

type record struct {
	ID   uint8
	Pos  [2][3]float32
	Ok   bool
	Nest [2]struct {
		A int16
		B complex128
	}
	Größe int64
	Tail  uint8
}

func layout(t testing.TB, typ reflect.Type) *schema.Layout {
	t.Helper()
	d, err := schema.Describe(typ, schema.Fixed)
	if err != nil {
		t.Fatal(err)
	}
	l, err := d.Layout()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func file(version byte, text string) []byte {
	b := append([]byte(magic), version, 0, byte(len(text)), byte(len(text)>>8))
	if version > 1 {
		b = append(b, 0, 0)
	}
	return append(b, text...)
}

func TestRoundTrip(t *testing.T) {
	for _, typ := range []reflect.Type{
		reflect.TypeFor[uint8](), reflect.TypeFor[bool](), reflect.TypeFor[int64](), reflect.TypeFor[complex64](), reflect.TypeFor[record](),
		reflect.TypeFor[struct{ A, B int32 }](),
	} {
		l := layout(t, typ)
		for _, shape := range [][]int{{1}, {480, 640, 3}, {2, 3, 4, 5, 6, 7, 8}} {
			var b bytes.Buffer
			if err := Write(&b, &Header{Layout: l, Shape: shape}); err != nil {
				t.Fatal(err)
			}
			if b.Len()%64 != 0 {
				t.Errorf("%d bytes", b.Len())
			}
			h, err := Read(&b)
			if err != nil {
				t.Fatal(err)
			}
			if h.Layout.String() != l.String() || !reflect.DeepEqual(h.Shape, shape) || h.Fortran || b.Len() != 0 {
				t.Errorf("%v %v %v, wanted %v %v", h.Layout, h.Shape, h.Fortran, l, shape)
			}
		}
	}
}

func TestArraysOfArrays(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, &Header{Layout: layout(t, reflect.TypeFor[[2][3]int32]()), Shape: []int{7}}); err != nil {
		t.Fatal(err)
	}
	h, err := Read(&b)
	if err != nil || h.Layout.String() != "<i4" || fmt.Sprint(h.Shape) != "[7 2 3]" {
		t.Errorf("%+v %v", h, err)
	}
}

func TestLong(t *testing.T) {
	l := &schema.Layout{Size: 4, Align: 1, Fields: []schema.Field{{Name: strings.Repeat("a", 1<<16), Layout: &schema.Layout{Scalar: "<u4", Size: 4, Align: 4}}}}
	var b bytes.Buffer
	if err := Write(&b, &Header{Layout: l}); err != nil || b.Bytes()[6] != 2 || b.Len()%64 != 0 {
		t.Errorf("%v, version %d, %d bytes", err, b.Bytes()[6], b.Len())
	}
	if _, err := Read(&b); !errors.Is(err, errs.ErrIncompatible) {
		t.Errorf("a descriptor that is too long: %v", err)
	}
}

func TestRead(t *testing.T) {
	const shape = "'fortran_order': False, 'shape': (2,)"
	for _, tt := range []struct {
		text string
		want string // descriptor, or a part of the error
		err  error
	}{
		{"{'descr': '<f8', 'fortran_order': True, 'shape': (3, 4), }   \n", "fixed:<f8", nil},
		{"{'descr': '=i2', " + shape + "}", "fixed:<i2", nil},
		{"{'descr': 'u4', " + shape + "}", "fixed:<u4", nil},
		{"{'descr': '<f2', " + shape + "}", "fixed:<f2", nil},
		{"{'descr': '|S5', " + shape + "}", "fixed:|S5", nil},
		{"{'descr': '<V2', " + shape + "}", "fixed:bfloat16", nil},
		{"{'descr': '?', " + shape + "}", "fixed:|b1", nil},
		{"{'descr': '>u1', " + shape + "}", "fixed:|u1", nil},
		{`{"descr": "<c16", "fortran_order": False, "shape": (10L,)}`, "fixed:<c16", nil},
		{"{'descr': '<c8', 'fortran_order': False, 'shape': ()}", "fixed:<c8", nil},
		{"{'descr': [('a', '<i4'), ('b', '|u1')], " + shape + "}", "fixed:{a:<i4@0,b:|u1@4;size=5,align=1}", nil},
		{"{'descr': [('a', '<i4'), ('b', '|u1'), ('', '|V3')], " + shape + "}", "fixed:{a:<i4@0,b:|u1@4;size=8,align=4}", nil},
		{"{'descr': [(('title', 'a'), '<i4', 3)], " + shape + "}", "fixed:{a:[3]<i4@0;size=12,align=4}", nil},
		{"{'descr': [('\\u00e4\\x62', [('x', '<f4', (2, 2))])], " + shape + "}", "fixed:{äb:{x:[2][2]<f4@0;size=16,align=4}@0;size=16,align=4}", nil},

		{"{'descr': '>f8', " + shape + "}", "big-endian", errs.ErrIncompatible},
		{"{'descr': [('a', '>i4')], " + shape + "}", `field "a"`, errs.ErrIncompatible},
		{"{'descr': '|O', " + shape + "}", "Python objects", errs.ErrIncompatible},
		{"{'descr': '<U7', " + shape + "}", "no counterpart", errs.ErrIncompatible},
		{"{'descr': '<f16', " + shape + "}", "no counterpart", errs.ErrIncompatible},
		{"{'descr': '<M8[s]', " + shape + "}", "a.view('i8')", errs.ErrIncompatible},
		{"{'descr': '<U5', " + shape + "}", "numpy.strings.encode", errs.ErrIncompatible},
		{"{'descr': '|V3', " + shape + "}", "\"|V3\"", errs.ErrIncompatible},
		{"{'descr': '<M8[ns]', " + shape + "}", "no counterpart", errs.ErrIncompatible},
		{"{'descr': '|V8', " + shape + "}", "no counterpart", errs.ErrIncompatible},
		{"{'descr': '{', " + shape + "}", "no counterpart", errs.ErrIncompatible},
		{"{'descr': '', " + shape + "}", "empty", errs.ErrIncompatible},
		{"{'descr': [], " + shape + "}", "without bytes", errs.ErrIncompatible},
		{"{'descr': [('a b', '<f4')], " + shape + "}", "letters, digits", errs.ErrIncompatible},
		{"{'descr': [('a', '<f4'), ('a', '<f4')], " + shape + "}", "name taken twice", errs.ErrIncompatible},
		{"{'descr': [('', '<f4')], " + shape + "}", "without a name", errs.ErrIncompatible},
		{"{'descr': [('a', '<f4', (-1,))], " + shape + "}", "shape", errs.ErrIncompatible},
		{"{'descr': [('a', '<f4', (1000000, 1000000))], " + shape + "}", "an array", errs.ErrIncompatible},
		{"{'descr': [('', '|V1073741824'), ('a', '<f4')], " + shape + "}", "more than", errs.ErrIncompatible},
		{"{'descr': 5, " + shape + "}", "no dtype", errs.ErrIncompatible},
		{"{" + shape + "}", "2 keys", errs.ErrIncompatible},
		{"{'descr': '<f4', 'more': 1, " + shape + "}", "unknown key", errs.ErrIncompatible},
		{"{'descr': '<f4', 'descr': '<f4', " + shape + "}", "twice", errs.ErrIncompatible},
		{"{'descr': '<f4', 'fortran_order': 0, 'shape': ()}", "fortran_order 0", errs.ErrIncompatible},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': 5}", "shape", errs.ErrIncompatible},
		{"('descr',)", "no dict", errs.ErrIncompatible},
		{"{'descr' '<f4'}", "no colon", errs.ErrIncompatible},
		{"{'descr': '<f4' 'b'}", "no comma", errs.ErrIncompatible},
		{"{'descr': '<f4", "without end", errs.ErrIncompatible},
		{"{'descr': '\\q'}", "escape", errs.ErrIncompatible},
		{"{'descr': __import__('os')}", "no literal", errs.ErrIncompatible},
		{"{'descr': 99999999999999999999}", "bad number", errs.ErrIncompatible},
		{strings.Repeat("(", 5000), "nested too deep", errs.ErrIncompatible},
		{"{} {}", "after the end", errs.ErrIncompatible},
		{"", "no literal", errs.ErrIncompatible},
	} {
		h, err := Read(bytes.NewReader(file(1, tt.text)))
		if tt.err != nil {
			if !errors.Is(err, tt.err) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%.80q: %v; %q is wanted", tt.text, err, tt.want)
			}
			continue
		}
		if err != nil || h.Descriptor() != tt.want {
			t.Errorf("%.80q: %v, %v; %q is wanted", tt.text, h, err, tt.want)
		}
	}
	for name, b := range map[string][]byte{
		"empty": {}, "short": []byte("\x93NUM"), "zip": []byte("PK\x03\x04xxxxxxxxxxxxxxx"), "version": file(4, "{}"),
		"cut": file(1, "{'descr': '<f8'")[:15], "huge": append([]byte(magic), 2, 0, 0xff, 0xff, 0xff, 0xff), "utf8": file(3, "\xff"),
	} {
		if _, err := Read(bytes.NewReader(b)); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

// NumPy reads what we write, and we read what it writes.
func TestNumPy(t *testing.T) {
	p := pythontest.WithNumPy(t)
	dir := t.TempDir()
	l := layout(t, reflect.TypeFor[record]())
	var b bytes.Buffer
	if err := Write(&b, &Header{Layout: l, Shape: []int{2, 3}}); err != nil {
		t.Fatal(err)
	}
	for i := range 6 * l.Size {
		b.WriteByte(byte(i % 2)) // bools too
	}
	if err := os.WriteFile(filepath.Join(dir, "ours.npy"), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	script := `
import numpy as np
a = np.load("ours.npy")
assert a.shape == (2, 3), a.shape
assert a.dtype == np.dtype(` + DType(l) + `), a.dtype
np.save("theirs.npy", a)
np.save("fortran.npy", np.asfortranarray(np.arange(6, dtype="<u2").reshape(2, 3)))
np.save("scalar.npy", np.float32(7))
for v in (1, 2, 3):
    with open("v%d.npy" % v, "wb") as f:
        np.lib.format.write_array(f, np.zeros((2, 0), "|b1"), (v, 0))
print(a.dtype.fields["Größe"][1])
`
	cmd := exec.Command(p.Path, "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PYTHONIOENCODING=utf-8", "PYTHONUTF8=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got, want := strings.TrimSpace(string(out)), fmt.Sprint(l.Fields[4].Offset); got != want {
		t.Errorf("NumPy has the field at %s, we at %s", got, want)
	}
	for name, want := range map[string]string{
		"theirs": l.String() + " [2 3] false", "fortran": "<u2 [2 3] true", "scalar": "<f4 [] false",
		"v1": "|b1 [2 0] false", "v2": "|b1 [2 0] false", "v3": "|b1 [2 0] false",
	} {
		f, err := os.Open(filepath.Join(dir, name+".npy"))
		if err != nil {
			t.Fatal(err)
		}
		h, err := Read(f)
		f.Close()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := fmt.Sprint(h.Layout, h.Shape, h.Fortran); got != want {
			t.Errorf("%s: %s, wanted %s", name, got, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	if err := Write(&b, &Header{Layout: layout(f, reflect.TypeFor[record]()), Shape: []int{2, 3}}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	for v := range byte(4) {
		f.Add(file(v, "{'descr': [(('t', 'a'), '<i4', 3), ('', '|V3')], 'fortran_order': True, 'shape': (1, 2L,), }"))
	}
	f.Add(file(3, `{"descr": "\x3cf8", "fortran_order": None, "shape": ()}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := Read(bytes.NewReader(b))
		if err != nil {
			if h != nil || !errors.Is(err, errs.ErrIncompatible) {
				t.Errorf("%v, %v", h, err)
			}
			return
		}
		var w bytes.Buffer
		if err := Write(&w, h); err != nil {
			t.Fatal(err)
		}
		again, err := Read(&w)
		if err != nil {
			t.Fatalf("%v written, and then: %v", h, err)
		}
		elem, dims := flatten(h.Layout)
		if got, want := again.Layout.String(), elem.String(); got != want || len(again.Shape) != len(h.Shape)+len(dims) {
			t.Errorf("%v %v became %v %v", want, h.Shape, got, again.Shape)
		}
	})
}

// What NumPy cannot say about a type makes no difference, and everything else does.
func TestAlike(t *testing.T) {
	header := func(typ string, shape ...int) *Header {
		d, err := schema.Parse("fixed:" + typ)
		if err != nil {
			t.Fatal(err)
		}
		l, err := d.Layout()
		if err != nil {
			t.Fatal(err)
		}
		return &Header{Layout: l, Shape: shape}
	}
	for _, tt := range []struct {
		a, b *Header
		want bool
	}{
		{header("[3]<f4", 2), header("<f4", 2, 3), true},
		{header("[2][3]<f4", 4), header("[3]<f4", 4, 2), true},
		{header("[3]<f4", 2), header("<f4", 3, 2), false},
		{header("utf8[3]", 2), header("|S3", 2), true},
		{header("bfloat16", 2), header("<f2", 2), false},
		{header("<f4", 2), header("<i4", 2), false},
		{header("{A:|u1@0;size=16,align=8}", 2), header("{A:|u1@0;size=16,align=1}", 2), true},
		{header("{A:|u1@0;size=16,align=8}", 2), header("{A:|u1@0;size=8,align=8}", 2), false},
		{header("{A:|u1@0;size=2,align=1}", 2), header("{A:|u1@1;size=2,align=1}", 2), false},
		{header("{A:|u1@0;size=2,align=1}", 2), header("{B:|u1@0;size=2,align=1}", 2), false},
		{header("{A:{B:<u4@0;size=8,align=8}@0;size=8,align=8}", 2), header("{A:{B:<u4@0;size=8,align=4}@0;size=8,align=4}", 2), true},
	} {
		if got := tt.a.Alike(tt.b); got != tt.want || got != tt.b.Alike(tt.a) {
			t.Errorf("%v %v and %v %v: %v", tt.a.Layout, tt.a.Shape, tt.b.Layout, tt.b.Shape, got)
		}
	}
}
