package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const maxLines = 500

func checkLength(f file) []string {
	if !f.test && f.lines > maxLines {
		return []string{fmt.Sprintf("%s has %d lines (maximum %d): how many concepts are in it?", f.path, f.lines, maxLines)}
	}
	return nil
}

// A suppressed finding names what it suppresses and why.
var (
	suppression = regexp.MustCompile(`^//\s*(nolint|lint:ignore|lint:file-ignore|#nosec)\b`)
	withReason  = regexp.MustCompile(`^//(nolint:[\w,]+ // ?\S.{7}|lint:(file-)?ignore [\w,*]+ \S.{7})`)
)

func checkSuppressions(f file) (bad []string) {
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			if suppression.MatchString(c.Text) && !withReason.MatchString(c.Text) {
				bad = append(bad, fmt.Sprintf("%s: %s without a reason", f.fset.Position(c.Pos()), c.Text))
			}
		}
	}
	return bad
}

// A skipped test says why: a call of Skip on a parameter of a type of package testing has text, and so has a call on
// what is called as they usually are.
func checkSkips(f file) (bad []string) {
	testers := map[string]bool{"t": true, "b": true, "f": true, "tb": true}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		field, ok := n.(*ast.Field)
		if !ok || !ofTesting(field.Type) {
			return true
		}
		for _, name := range field.Names {
			testers[name.Name] = true
		}
		return true
	})
	ast.Inspect(f.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if !isTester(sel.X, testers) {
			return true
		}
		switch sel.Sel.Name {
		case "SkipNow":
		case "Skip", "Skipf":
			if len(call.Args) > 0 && !emptyText(call.Args[0]) {
				return true
			}
		default:
			return true
		}
		bad = append(bad, fmt.Sprintf("%s: %s without a reason", f.fset.Position(call.Pos()), sel.Sel.Name))
		return true
	})
	return bad
}

// isTester reports that e is one of names, or a field of such a name: h.t.
func isTester(e ast.Expr, names map[string]bool) bool {
	switch x := e.(type) {
	case *ast.Ident:
		return names[x.Name]
	case *ast.SelectorExpr:
		return names[x.Sel.Name]
	}
	return false
}

// ofTesting reports that a type is testing.T, B, F or TB, or a pointer to it.
func ofTesting(e ast.Expr) bool {
	if p, ok := e.(*ast.StarExpr); ok {
		e = p.X
	}
	sel, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == "testing" && slices.Contains([]string{"T", "B", "F", "TB"}, sel.Sel.Name)
}

func emptyText(e ast.Expr) bool {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return false
	}
	s, err := strconv.Unquote(lit.Value)
	return err != nil || strings.TrimSpace(s) == ""
}

// byName are the packages of the library that may remove an object by its name: that makes the removal, and that offers it
// to users.
var byName = map[string]bool{"internal/object": true, ".": true}

// The library removes no object by its name: what it looked at through a handle may not be what the name leads to by then.
// A call of Remove with two arguments, on anything but a package, is one by name; Object.Remove has none.
func checkRemovals(f file) (bad []string) {
	dir := filepath.ToSlash(filepath.Dir(f.path))
	if f.test || byName[dir] || !inLibrary(dir) {
		return nil
	}
	packages := map[string]bool{}
	for _, spec := range f.ast.Imports {
		name := path.Base(strings.Trim(spec.Path.Value, `"`))
		if spec.Name != nil {
			name = spec.Name.Name
		}
		packages[name] = true
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 2 {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != "Remove" {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && packages[x.Name] {
			return true
		}
		bad = append(bad, fmt.Sprintf("%s: removes an object by its name: use the handle's Remove", f.fset.Position(call.Pos())))
		return true
	})
	return bad
}

var fileRules = map[string]func(file) []string{
	"length":       checkLength,
	"suppressions": checkSuppressions,
	"skips":        checkSkips,
	"removals":     checkRemovals,
}

func TestFiles(t *testing.T) {
	m := loaded(t)
	for name, rule := range fileRules {
		t.Run(name, func(t *testing.T) {
			for _, f := range m.files {
				for _, s := range rule(f) {
					t.Error(s)
				}
			}
		})
	}
}

// Each rule must see what it is there for.
func TestFileRules(t *testing.T) {
	long := "package x\n" + strings.Repeat("\n", maxLines)
	for _, tt := range []struct {
		path, src string
		rule      string // that objects, or "" for none
	}{
		{"x.go", "package x\n", ""},
		{"x.go", long, "length"},
		{"x_test.go", long, ""},
		{"x.go", "package x\n\n//nolint\nvar a int\n", "suppressions"},
		{"x.go", "package x\n\n//nolint:errcheck\nvar a int\n", "suppressions"},
		{"x.go", "package x\n\n//lint:ignore U1000\nvar a int\n", "suppressions"},
		{"x.go", "package x\n\n//nolint:errcheck // the file is gone anyway\nvar a int\n", ""},
		{"x.go", "package x\n\n//lint:ignore U1000 read by the debugger\nvar a int\n", ""},
		{"x_test.go", "package x\n\nfunc f() { t.Skip() }\n", "skips"},
		{"x_test.go", "package x\n\nfunc f() { tb.Skipf(\" \") }\n", "skips"},
		{"x_test.go", "package x\n\nfunc f() { b.SkipNow() }\n", "skips"},
		{"x_test.go", "package x\n\nfunc f(tt *testing.T) { tt.SkipNow() }\n", "skips"},
		{"x_test.go", "package x\n\nfunc f(a int, x testing.TB) { x.Skip() }\n", "skips"},
		{"x_test.go", "package x\n\nvar _ = func(h *testing.B) { h.Skipf(\"\") }\n", "skips"},
		{"x_test.go", "package x\n\ntype s struct { tester *testing.F }\nfunc (x s) f() { x.tester.SkipNow() }\n", "skips"},
		{"x_test.go", "package x\n\nfunc f(tt *testing.T) { tt.Skip(\"one CPU\"); x.SkipNow() }\n", ""},
		{"x_test.go", "package x\n\nfunc f() { t.Skip(\"one CPU\"); t.Skip(err); it.Skip() }\n", ""},
		{"pipe/x.go", "package x\n\nfunc f() { d.Remove(ctx, name) }\n", "removals"},
		{"channel/x.go", "package x\n\nfunc f() { r.obj.Space.Remove(context.Background(), r.obj.Name) }\n", "removals"},
		{"pipe/x.go", "package x\n\nimport \"container/heap\"\n\nfunc f() { heap.Remove(h, i); o.Remove(); p.Remove(x) }\n", ""},
		{"pipe/x_test.go", "package x\n\nfunc f() { d.Remove(ctx, name) }\n", ""},
		{"cmd/shiplap/x.go", "package x\n\nfunc f() { d.Remove(ctx, name) }\n", ""},
		{"domain.go", "package x\n\nfunc f() { d.space.Remove(ctx, name) }\n", ""},
	} {
		f, err := parse(tt.path, []byte(tt.src))
		if err != nil {
			t.Fatal(err)
		}
		for name, rule := range fileRules {
			if bad := rule(f); (len(bad) > 0) != (name == tt.rule) {
				t.Errorf("%.60q: rule %s says %q", tt.src, name, bad)
			}
		}
	}
}
