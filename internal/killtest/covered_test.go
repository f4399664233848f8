package killtest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestOperations(t *testing.T) {
	dir := t.TempDir()
	for name, src := range map[string]string{
		"a.go": `package q
			type Raw struct { *handle; other; Field int }
			type Queue[T any] struct { r *Raw }
			type handle struct{}
			type other struct{}
			func New() *Raw { return nil }
			func helper() {}
			func (r *Raw) Put() {}
			func (r *Raw) put() {}
			func (q *Queue[T]) Get() {}
			func (h *handle) Close() {}
			func (other) hidden() {}`,
		"a_stub.go": "//go:build !linux\n\npackage q\nfunc Only() {}",
		"a_test.go": "package q\nfunc TestX() {}",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := operations(dir)
	want := []string{"q.New", "q.Only", "q.Queue.Get", "q.Raw.Close", "q.Raw.Put"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestUncovered(t *testing.T) {
	ops := []string{"q.Raw.Get", "q.Raw.Len", "q.Raw.Put", "q.Raw.String"}
	typed := []string{"q.New", "q.Queue.Len", "q.Queue.Put", "q.Raw.Len", "q.Raw.Put"}
	put := Scenario{Name: "put", Covers: []string{"q.Raw.Put"}}
	for _, c := range []struct {
		ops       []string
		exempt    map[string]string
		scenarios []Scenario
		want      []string
	}{
		{ops, map[string]string{"q.Raw.Len": "reads", "q.*.String": "reads", "q.Raw.Get": "reads"}, []Scenario{put}, nil},
		{ops, map[string]string{"q.*.Len": "reads", "q.*.String": "reads", "q.*.Get": "reads"}, nil, []string{"q.Raw.Put has no killtest scenario"}},
		{ops, map[string]string{"q.*.Len": "reads", "q.*.String": "reads", "q.*.Get": "reads", "q.Raw.Peek": "reads"}, []Scenario{put},
			[]string{"q.Raw.Peek matches no operation"}},
		{ops[2:3], map[string]string{"q.Raw.Put": " "}, nil, []string{"gives no reason"}},
		{ops[2:3], map[string]string{"q.Raw.Put": "reads"}, []Scenario{put}, []string{"covered as well"}},
		{ops[2:3], nil, []Scenario{put, {Name: "x", Covers: []string{"q.Raw.Pot"}}}, []string{"covers q.Raw.Pot"}},
		{ops[:1], map[string]string{"q.Raw.*": "all"}, nil, []string{"q.Raw.Get has no killtest scenario"}},
		{ops[:1], map[string]string{"q.Raw.[GLS]*": "reads"}, nil, []string{"q.Raw.Get has no killtest scenario"}},
		{typed[:1], map[string]string{"q.N*": "birth"}, nil, []string{"q.New has no killtest scenario"}},
		{typed[1:], map[string]string{"q.Queue.*": "typed", "q.Raw.Len": "reads"}, []Scenario{put}, nil},
		{typed[1:4], map[string]string{"q.Queue.*": "typed", "q.Raw.Len": "reads"}, nil, []string{"q.Queue.Put has no killtest scenario"}},
	} {
		got := uncovered(c.ops, c.exempt, c.scenarios)
		if len(got) != len(c.want) || len(got) == 1 && !strings.Contains(got[0], c.want[0]) {
			t.Errorf("%v: %q, %q is wanted", c.exempt, got, c.want)
		}
	}
}
