package lint

import (
	"fmt"
	"go/ast"
	"path"
	"strings"
	"testing"
)

// All methods of a type call their receiver by one name: code that moves from one method to another stays as it is, and a
// reader does not have to look up what s is this time. A receiver without a name, or _, has none to agree on.

// receiver is the first name that a method of a type gives its receiver.
type receiver struct{ name, at string }

// receivers checks the files of one folder after the other. Tests of package x_test have types of their own.
type receivers map[string]receiver

func (r receivers) check(f file) (bad []string) {
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Recv == nil || len(fn.Recv.List[0].Names) == 0 {
			continue
		}
		name := fn.Recv.List[0].Names[0].Name
		if name == "_" {
			continue
		}
		of := path.Dir(f.path) + " " + f.ast.Name.Name + "." + typeName(fn.Recv.List[0].Type)
		at := fmt.Sprintf("%s: method %s", f.fset.Position(fn.Pos()), fn.Name.Name)
		first, seen := r[of]
		if !seen {
			r[of] = receiver{name, at}
		} else if first.name != name {
			bad = append(bad, fmt.Sprintf("%s calls its receiver %s, and %s calls it %s", at, name, first.at, first.name))
		}
	}
	return bad
}

// typeName is the name of a receiver's type, without pointer and type parameters.
func typeName(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.StarExpr:
		return typeName(x.X)
	case *ast.ParenExpr:
		return typeName(x.X)
	case *ast.IndexExpr:
		return typeName(x.X)
	case *ast.IndexListExpr:
		return typeName(x.X)
	case *ast.Ident:
		return x.Name
	}
	return ""
}

func TestReceivers(t *testing.T) {
	r := receivers{}
	for _, f := range loaded(t).files {
		for _, s := range r.check(f) {
			t.Error(s)
		}
	}
}

func TestReceiverRule(t *testing.T) {
	for _, tt := range []struct {
		good bool
		srcs []string // files of one folder
	}{
		{true, []string{"package x\nfunc (s *T) A() {}\nfunc (s T) B() {}\nfunc (_ T) C() {}\nfunc (T) D() {}\nfunc (u *U) A() {}\n"}},
		{true, []string{"package x\nfunc (s *T[K]) A() {}\n", "package x\nfunc (s T[K]) B() {}\n"}},
		{true, []string{"package x\nfunc (s T) A() {}\n", "package x_test\nfunc (t T) A() {}\n"}},
		{false, []string{"package x\nfunc (s *T) A() {}\nfunc (t *T) B() {}\n"}},
		{false, []string{"package x\nfunc (s *T) A() {}\n", "package x\nfunc (t T) B() {}\n"}},
		{false, []string{"package x\nfunc (s *T[K]) A() {}\nfunc (t T[J]) B() {}\n"}},
		{false, []string{"package x\nfunc (s *T[K, V]) A() {}\nfunc (t (T[K, V])) B() {}\n"}},
	} {
		r, bad := receivers{}, []string(nil)
		for _, src := range tt.srcs {
			f, err := parse("x/x.go", []byte(src))
			if err != nil {
				t.Fatal(err)
			}
			bad = append(bad, r.check(f)...)
		}
		if (len(bad) == 0) != tt.good {
			t.Errorf("%s: %q", strings.Join(tt.srcs, "---\n"), bad)
		}
	}
}
