package layouttest

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const page = "../../docs/layout.md"

var readPage = sync.OnceValues(func() (string, error) {
	b, err := os.ReadFile(page)
	return string(b), err
})

// table is one table of the page; the comment <!-- table: NAME --> stands before it.
type table struct {
	name string
	rows []map[string]string // by column
}

// tables reads all named tables and reports those that were not asked for.
var tables = sync.OnceValues(func() (map[string]table, error) {
	text, err := readPage()
	if err != nil {
		return nil, err
	}
	all := map[string]table{}
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		name, ok := strings.CutPrefix(lines[i], "<!-- table: ")
		if !ok {
			continue
		}
		t := table{name: strings.TrimSuffix(name, " -->")}
		if i+3 >= len(lines) || !strings.HasPrefix(lines[i+2], "|---") {
			return nil, fmt.Errorf("%s:%d: no table", page, i+1)
		}
		head := cells(lines[i+1])
		for i += 3; i < len(lines) && strings.HasPrefix(lines[i], "|"); i++ {
			c := cells(lines[i])
			if len(c) != len(head) {
				return nil, fmt.Errorf("%s:%d: %d cells, the table has %d columns", page, i+1, len(c), len(head))
			}
			row := map[string]string{}
			for k, h := range head {
				row[h] = c[k]
			}
			t.rows = append(t.rows, row)
		}
		if _, twice := all[t.name]; twice {
			return nil, fmt.Errorf("%s: table %s stands there twice", page, t.name)
		}
		all[t.name] = t
	}
	return all, nil
})

func cells(line string) []string {
	c := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
	for i := range c {
		c[i] = strings.TrimSpace(c[i])
	}
	return c
}

// get is the table of that name.
func get(t testing.TB, name string) table {
	t.Helper()
	all, err := tables()
	if err != nil {
		t.Fatal(err)
	}
	tab, ok := all[name]
	if !ok {
		t.Fatalf("%s has no table %s", page, name)
	}
	return tab
}

// keyed is what one column says by another one.
func (tab table) keyed(key, value string) map[string]string {
	m := map[string]string{}
	for _, r := range tab.rows {
		m[r[key]] = r[value]
	}
	return m
}

// field is a row of a table with offsets.
type field struct {
	name  string
	off   int
	size  int // of all entries
	entry int // of one, where there are several
}

var repeated = regexp.MustCompile(`^(\d+) × (\d+)$`)

// variables are the sizes that differ from object to object, by their names on the page.
type variables map[string]int

var variable = strings.Fields("area payload slots log records bindings buckets heap key value")

// alike says that all of them are n.
func alike(n int) variables {
	v := variables{}
	for _, name := range variable {
		v[name] = n
	}
	return v
}

// fields reads the rows.
func (tab table) fields(t testing.TB, vars variables) (all []field) {
	t.Helper()
	end := 0
	for _, r := range tab.rows {
		f := field{name: r["Name"], off: offset(t, r["Offset"], vars)}
		typ := r["Type"]
		n, varies := vars[typ]
		switch m := repeated.FindStringSubmatch(typ); {
		case varies:
			f.size = n
		case typ == "u8":
			f.size = 1
		case typ == "u16":
			f.size = 2
		case typ == "u32":
			f.size = 4
		case typ == "u64":
			f.size = 8
		case m != nil:
			f.entry = atoi(t, m[2])
			f.size = atoi(t, m[1]) * f.entry
		case strings.HasPrefix(typ, "bytes "):
			f.size = atoi(t, typ[6:])
		default:
			t.Fatalf("table %s: type %q", tab.name, typ)
		}
		if f.off < end {
			t.Errorf("table %s: %s at %d overlaps what stands before it, which ends at %d", tab.name, f.name, f.off, end)
		}
		if a := map[string]int{"u16": 2, "u32": 4, "u64": 8}[typ]; a > 0 && f.off%a != 0 {
			t.Errorf("table %s: %s at %d is not aligned", tab.name, f.name, f.off)
		}
		end = f.off + f.size
		all = append(all, f)
	}
	return all
}

func offset(t testing.TB, s string, vars variables) (n int) {
	t.Helper()
	base, rest, more := strings.Cut(s, " + ")
	n = atoi(t, base)
	for more {
		var name string
		name, rest, more = strings.Cut(rest, " + ")
		v, ok := vars[name]
		if !ok {
			t.Fatalf("offset %q", s)
		}
		n += v
	}
	return n
}

func atoi(t testing.TB, s string) int {
	t.Helper()
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// bits is a range of a word, as "0–31" or "5".
type bits struct{ low, high uint }

func (tab table) bits(t testing.TB, column string) map[string]bits {
	t.Helper()
	m := map[string]bits{}
	for name, s := range tab.keyed("Name", column) {
		low, high, ok := strings.Cut(s, "–")
		if !ok {
			high = low
		}
		m[name] = bits{uint(atoi(t, low)), uint(atoi(t, high))}
	}
	return m
}

// put is v at the place of the range, if it fits.
func (b bits) put(v uint64) uint64 { return v << b.low }

// A want says what a field holds: a number, bytes (the rest is 0), a check, or nothing that can be
// said here.
type (
	want  map[string]any
	check func(v uint64) error
	skip  struct{}
)

// compare holds the bytes at base to the fields of a table: every field has its value in w, each value
// its field, and what is not 0 is covered by a field.
func compare(t testing.TB, name string, img []byte, base, length, variable int, w want) {
	t.Helper()
	compareWith(t, name, img, base, length, alike(variable), w)
}

func compareWith(t testing.TB, name string, img []byte, base, length int, vars variables, w want) {
	t.Helper()
	covered := make([]bool, length)
	seen := map[string]bool{}
	for _, f := range get(t, name).fields(t, vars) {
		seen[f.name] = true
		if f.off+f.size > length {
			t.Errorf("table %s: %s ends at %d of %d", name, f.name, f.off+f.size, length)
			continue
		}
		for i := range f.size {
			covered[f.off+i] = true
		}
		v, ok := w[f.name]
		if !ok {
			t.Errorf("table %s: this test knows nothing of %q", name, f.name)
			continue
		}
		if err := matches(img[base+f.off:base+f.off+f.size], v); err != nil {
			t.Errorf("table %s: %s at %d+%d: %v", name, f.name, base, f.off, err)
		}
	}
	for n := range w {
		if !seen[n] {
			t.Errorf("table %s says nothing of %q", name, n)
		}
	}
	for i, c := range covered {
		if !c && img[base+i] != 0 {
			t.Errorf("table %s does not mention byte %d, which is %#x", name, i, img[base+i])
		}
	}
}

func matches(b []byte, v any) error {
	switch v := v.(type) {
	case skip:
		return nil
	case string:
		if !bytes.Equal(b[:len(v)], []byte(v)) || len(bytes.Trim(b[len(v):], "\x00")) > 0 {
			return fmt.Errorf("%q; %q is wanted", b, v)
		}
		return nil
	case check:
		return v(word(b))
	case int:
		if len(b) > 8 || word(b) != uint64(v) {
			return fmt.Errorf("%#x; %#x is wanted", b, v)
		}
		return nil
	}
	return fmt.Errorf("a want of type %T", v)
}

func word(b []byte) (v uint64) {
	for i, c := range b {
		v |= uint64(c) << (8 * i)
	}
	return v
}

// at finds one field.
func at(t testing.TB, name, fieldName string) field {
	t.Helper()
	return atWith(t, name, fieldName, alike(4096))
}

func atWith(t testing.TB, name, fieldName string, vars variables) field {
	t.Helper()
	for _, f := range get(t, name).fields(t, vars) {
		if f.name == fieldName {
			return f
		}
	}
	t.Fatalf("table %s has no %s", name, fieldName)
	return field{}
}
