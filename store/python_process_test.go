package store

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/pythontest"
)

// TestPythonReads: a program in another language, written from docs/layout.md, finds what is there.
func TestPythonReads(t *testing.T) {
	py := pythontest.One(t)
	d := domain(t)
	s := create(t, d, &Options{MaxBytes: 256 << 10, Keys: 8, parts: 2})
	args := []string{"testdata/read.py", filepath.Join(d.Dir(), "s")}
	want := ""
	for i := range 200 { // many of them in overflow buckets
		key := "key" + strconv.Itoa(i)
		rev, err := s.Set(bg, key, []byte("value "+strconv.Itoa(i)))
		ok(t, err)
		args = append(args, key)
		want += fmt.Sprintf("0 %d value %d\n", rev, i)
	}
	j, err := Open(d, "s", &Options{Codec: JSON})
	ok(t, err)
	defer j.Close()
	rev, err := Set(bg, j, "json", map[string]int{"a": 1})
	ok(t, err)
	want += fmt.Sprintf("2 %d {\"a\":1}\n", rev)
	_, err = s.Set(bg, "expired", nil, TTL(-1))
	ok(t, err)
	_, err = s.Set(bg, "deleted", nil)
	ok(t, err, s.Delete(bg, "deleted"))
	args = append(args, "json", "expired", "deleted", "missing")
	want += "none\nnone\nnone\n"
	if st, err := s.Stats(); err != nil || st.Overflows == 0 {
		t.Fatalf("%+v, %v", st, err)
	}
	out, err := exec.Command(py.Path, args...).CombinedOutput()
	if err != nil || string(out) != want {
		t.Errorf("%v\n%.2000s\nwanted is\n%s", err, out, want)
	}
	ok(t, s.Clear(bg))
	out, err = exec.Command(py.Path, args[0], args[1], "key1").CombinedOutput()
	if err != nil || string(out) != "none\n" {
		t.Errorf("after Clear: %v\n%s", err, out)
	}
}
