package schema

import (
	"reflect"
	"strings"
	"testing"
)

func TestLayoutTree(t *testing.T) {
	type inner struct {
		A uint8
		B float64
	}
	type all struct {
		B  bool
		I  int16
		C  complex128
		G  [2][3]float32
		In [2]inner
		X  complex64
		U  uint8
	}
	d, err := Describe(reflect.TypeFor[all](), Fixed)
	if err != nil {
		t.Fatal(err)
	}
	l, err := d.Layout()
	if err != nil {
		t.Fatal(err)
	}
	if got := "fixed:" + l.String(); got != d.Text {
		t.Errorf("%s\n%s", got, d.Text)
	}
	if l.Size != d.Size || l.Align != d.Align {
		t.Errorf("%+v", l)
	}
	// B@0 I@2 C@8 G@24 In@48 (A@0 B@8, 16 each) X@80 U@88, 96 in all
	want := strings.Repeat("#", 96)
	for _, g := range [][2]int{{1, 1}, {4, 4}, {49, 7}, {65, 7}, {89, 7}} {
		want = want[:g[0]] + strings.Repeat("\x00", g[1]) + want[g[0]+g[1]:]
	}
	got := []byte(strings.Repeat("#", 96))
	if l.ClearPadding(got); string(got) != want || !l.Padded() {
		t.Errorf("\n%q\n%q", got, want)
	}
	raw, _ := Describe(bytesType, Raw)
	if _, err := raw.Layout(); err == nil {
		t.Error("bytes have no layout")
	}
}

func FuzzLayout(f *testing.F) {
	for _, s := range []string{"<f8", "[3]|b1", "{X:<f8@0,Y:[2]{a:<c16@0;size=16,align=8}@8;size=40,align=8}", "{;size=1,align=1}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := Parse("fixed:" + s)
		if err != nil {
			return
		}
		l, err := d.Layout()
		if err != nil || l.String() != s || l.Size != d.Size || l.Align != d.Align {
			t.Errorf("%q: %v %v", s, l, err)
		}
		if l.Size < 1<<16 {
			l.ClearPadding(make([]byte, l.Size))
		}
	})
}
