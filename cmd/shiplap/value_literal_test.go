package main

import (
	"bytes"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/schema"
)

func TestParseType(t *testing.T) {
	for text, want := range map[string]string{
		"i8": "fixed:|i1", "int64": "fixed:<i8", "i4": "fixed:<i4", "u1": "fixed:|u1", "<f4": "fixed:<f4", "|b1": "fixed:|b1", "f8": "fixed:<f8",
		"c128": "fixed:<c16", "fixed:[3]<f4": "fixed:[3]<f4", "[2]|u1": "fixed:[2]|u1", "": "", ">f4": "", "bytes": "", "cbor:i8": "", "f16": "fixed:<f2", "bf16": "fixed:bfloat16", "|S5": "fixed:|S5", "utf8[5]": "fixed:utf8[5]", "f128": "",
	} {
		got, l, err := parseType(text)
		if got != want || (err == nil) != (want != "") || err == nil && "fixed:"+l.String() != want {
			t.Errorf("%q is %q (%v), want %q", text, got, err, want)
		}
	}
}

func TestFortranOrder(t *testing.T) {
	// numpy.arange(12).reshape(2, 2, 3) in the order of its first index
	f := []byte{0, 6, 3, 9, 1, 7, 4, 10, 2, 8, 5, 11}
	if got := toC(f, []int{2, 2, 3}, 1); !bytes.Equal(got, []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}) {
		t.Error(got)
	}
}

// What is written can be read, and is the same to the last bit (but for which NaN it is, and padding).
func FuzzLiteral(f *testing.F) {
	const record = "{X:<f8@0,Tag:[3]|u1@8,Ok:|b1@11,Z:<c8@12,In:{A:<i2@0,B:<u8@8;size=16,align=8}@24;size=40,align=8}"
	for _, s := range []string{"1", "-1e300", `"NaN"`, "true", "[1,2]", "0x7f", `{"X":1,"Tag":[1,2,3],"Ok":true,"Z":[1,"Infinity"],"In":{"A":-1,"B":18446744073709551615}}`} {
		for _, l := range []string{"<f8", "<f4", "<i8", "|u1", "|b1", "<c8", "[2]<i2", record} {
			f.Add(l, s, []byte("0123456789abcdef0123456789abcdef01234567"))
		}
	}
	f.Fuzz(func(t *testing.T, typ, text string, raw []byte) {
		_, l, err := parseType(typ)
		if err != nil || l.Size > 1<<12 {
			return
		}
		again := func(b []byte) {
			j := appendJSON(nil, l, b)
			c, err := parseLiteral(l, string(j))
			if err != nil {
				t.Fatalf("%s written as %s, and then: %v", l, j, err)
			}
			if !bytes.Equal(appendJSON(nil, l, c), j) {
				t.Fatalf("%s became %s", j, appendJSON(nil, l, c))
			}
			if _, err := parseLiteral(l, string(appendText(nil, l, b))); err != nil {
				t.Fatal(err)
			}
		}
		if b, err := parseLiteral(l, text); err == nil {
			again(b)
		}
		if len(raw) >= l.Size {
			b := raw[:l.Size]
			d, err := schema.Parse("fixed:" + l.String())
			if err != nil {
				t.Fatal(err)
			}
			if check := d.Checker(); check == nil || check(b) == nil {
				again(b)
			}
		}
	})
}
