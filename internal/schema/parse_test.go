package schema

import (
	"errors"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

func TestParseSizes(t *testing.T) {
	for _, tt := range []struct {
		text        string
		size, align int
	}{
		{"fixed:[3]<c8", 24, 4},
		{"fixed:[2][3]|b1", 6, 1},
		{"fixed:{a:|u1@0,b:<u4@1;size=5,align=1}", 5, 1}, // packed
		{"fixed:{v:[4]<f4@0;size=64,align=64}", 64, 64},
		{"fixed:[1073741824]|u1", 1 << 30, 1},
		{"fixed:<f2", 2, 2},
		{"fixed:[3]bfloat16", 6, 2},
		{"fixed:|S5", 5, 1},
		{"fixed:[2]utf8[30]", 60, 1},
		{"fixed:{a:|S12@0,b:utf8[1]@12,c:bfloat16@14;size=16,align=2}", 16, 2},
		{"cbor:?[]{a:^1}", 0, 1},
	} {
		d, err := Parse(tt.text)
		if err != nil || d.Size != tt.size || d.Align != tt.align {
			t.Errorf("Parse(%q) = size %d, align %d, %v, want %d, %d", tt.text, d.Size, d.Align, err, tt.size, tt.align)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"", "byte", "bytes ", "bytes:", "fixed", "fixed:", "raw:", ":", "cbor:", "json:#", "xml:str",
		"fixed:i8", "fixed:<i1", "fixed:>i8", "fixed:|b2", "fixed:|S", "fixed:|S0", "fixed:|S05", "fixed:<S5", "fixed:|S1073741825", "fixed:|S99999999999999999999",
		"fixed:utf8[", "fixed:utf8[]", "fixed:utf8[5", "fixed:utf8[0]", "fixed:utf8[-5]", "fixed:bfloat1", "fixed:<bfloat16", "fixed:<f3", "cbor:bytes05", "json:bytes5", "fixed:<i8 ", "fixed:<i8,", "fixed:<c1",
		"fixed:[0]<i8", "fixed:[]<i8", "fixed:[-1]<i8", "fixed:[01]<i8", "fixed:[1<i8", "fixed:[2]",
		"fixed:[1073741825]|u1", "fixed:[99999999999999999999]|u1", "fixed:[65536][65536][65536][65536]<i8",
		"fixed:{}", "fixed:{;size=0,align=1}", "fixed:{;size=1}", "fixed:{;size=1,align=0}", "fixed:{;size=1,align=1",
		"fixed:{;size=6,align=3}", "fixed:{;size=4,align=8}", "fixed:{;size=128,align=128}", "fixed:{;size=01,align=1}",
		"fixed:{;size=2147483647,align=1}", "fixed:{;size=18446744073709551617,align=1}",
		"fixed:{a:<i8@0;size=4,align=4}", "fixed:{a:<i8@1;size=8,align=8}", "fixed:{a:<i8@0,b:<i8@7;size=16,align=8}",
		"fixed:{a:<i8@8,b:<i8@0;size=16,align=8}", "fixed:{a:<i8@0,a:<i8@8;size=16,align=8}",
		"fixed:{_:<i8@0;size=8,align=8}", "fixed:{1:<i8@0;size=8,align=8}", "fixed:{:<i8@0;size=8,align=8}",
		"fixed:{a:<i8@0,;size=8,align=8}", "fixed:{,a:<i8@0;size=8,align=8}", "fixed:{a:<i8;size=8,align=8}",
		"fixed:{a\x00:<i8@0;size=8,align=8}", "fixed:{a\xff:<i8@0;size=8,align=8}", "fixed:{\"a\":<i8@0;size=8,align=8}",
		"fixed:{a:<i8@2147483647;size=8,align=8}",
		"cbor:int", "cbor:str,", "cbor:i64i64", "cbor:^0", "cbor:^1", "cbor:[]^2", "cbor:[]^01", "cbor:?", "cbor:[x]str",
		"cbor:map[str", "cbor:map[str]", "cbor:{a:str", "cbor:{a}", "cbor:{b:str,a:str}", "cbor:{a:str,a:str}",
		"cbor:{a:str,}", "cbor:(a:str}", `cbor:{"a":str}`, `cbor:{"a b:str}`, `cbor:{"a\nb":str}`, "cbor:{\"a\nb\":str}",
		"cbor:{\"\xff\":str}", "cbor:{-0:str}", "cbor:{01:str}", "cbor:{-:str}", "cbor:@x", `cbor:@"x`,
		"cbor:#" + strings.Repeat("a", 63), "cbor:#" + strings.Repeat("a", 65), "cbor:#" + strings.Repeat("A", 64),
		"cbor:" + strings.Repeat("[]", maxDepth+1) + "str", "fixed:" + strings.Repeat("[1]", maxDepth+1) + "|u1",
		strings.Repeat("[", MaxText), "fixed:" + strings.Repeat("[", MaxText), "cbor:@\"" + strings.Repeat("x", MaxText) + "\"",
	} {
		if d, err := Parse(text); !errors.Is(err, errs.ErrCorrupt) || d != (Descriptor{}) {
			t.Errorf("Parse(%q) = %v, %v, want ErrCorrupt", text, d, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"bytes", "fixed:<c16", "fixed:{a:[2]|b1@0,ß:{;size=2,align=2}@4;size=8,align=4}",
		`cbor:{"a b":~i64,-1:?^2,k:(x:map[str]any)}`, `json:@"a\"\\"`, "json:#" + strings.Repeat("0f", 32),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := Parse(s)
		if err != nil {
			if !errors.Is(err, errs.ErrCorrupt) {
				t.Fatalf("error %v is not ErrCorrupt", err)
			}
			return
		}
		if d.Text != s || d.Align < 1 || d.Fixed != (d.Size > 0) || d.Size > maxSize || Incompatible(d, d) != nil {
			t.Fatalf("%q: %+v", s, d)
		}
		if check := d.Checker(); check != nil && d.Size <= 1<<16 {
			b := make([]byte, d.Size)
			if err := check(b); err != nil {
				t.Fatalf("zero element: %v", err)
			}
			for i := range b {
				b[i] = 2
			}
			if check(b) == nil {
				t.Fatal("bool of value 2 passes")
			}
		}
	})
}

func TestChecker(t *testing.T) {
	d, err := Parse("fixed:{a:|u1@0,b:[2]{c:|b1@1;size=2,align=1}@1,d:|b1@6;size=8,align=1}")
	if err != nil {
		t.Fatal(err)
	}
	check := d.Checker()
	bools := map[int]bool{2: true, 4: true, 6: true}
	for i := range d.Size {
		b := make([]byte, d.Size)
		b[i] = 1
		if err := check(b); err != nil {
			t.Errorf("byte %d = 1: %v", i, err)
		}
		b[i] = 0x82
		if err := check(b); (err != nil) != bools[i] || err != nil && !errors.Is(err, errs.ErrCorrupt) {
			t.Errorf("byte %d = 0x82: %v", i, err)
		}
	}
	if err := check(nil); !errors.Is(err, errs.ErrCorrupt) {
		t.Errorf("no bytes: %v", err)
	}
	for _, text := range []string{"bytes", "cbor:bool", "fixed:<i8", "fixed:[1000000]|u1"} {
		if d, _ := Parse(text); d.Checker() != nil {
			t.Errorf("%s: a checker that checks nothing", text)
		}
	}
}
