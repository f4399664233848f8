package killtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// CheckCovered fails the test unless every exported operation of the package in dir is covered by a scenario or
// exempt. An operation is an exported function, or an exported method of an exported type (promoted ones of
// embedded unexported types of the package included), named "queue.New" or "queue.Raw.Put". Exempt maps operations,
// or patterns of them as for path.Match ("queue.*.String"), to the reason why they need no scenario, in general
// because they change nothing that is shared. Exemptions and Covers entries that name nothing are failures too.
//
// A pattern names its methods, so that it does not excuse a method that is added later. It may leave them open
// ("queue.Producer.*") only for a typed handle, and excuses those that its raw type ("queue.RawProducer" or "queue.Raw")
// has as well, covered or exempt by name.
func CheckCovered(t *testing.T, dir string, exempt map[string]string, scenarios ...Scenario) {
	t.Helper()
	ops, err := operations(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range uncovered(ops, exempt, scenarios) {
		t.Error(problem)
	}
}

func uncovered(ops []string, exempt map[string]string, scenarios []Scenario) (problems []string) {
	covered := map[string]bool{}
	for _, s := range scenarios {
		for _, op := range s.Covers {
			if !slices.Contains(ops, op) {
				problems = append(problems, fmt.Sprintf("scenario %s covers %s, which does not exist", s.Name, op))
			}
			covered[op] = true
		}
	}
	excused := map[string]bool{}
	var open []string // patterns that name no method
	for _, pattern := range slices.Sorted(maps.Keys(exempt)) {
		if strings.TrimSpace(exempt[pattern]) == "" {
			problems = append(problems, fmt.Sprintf("exemption %s gives no reason", pattern))
		}
		stale := true
		for _, op := range ops {
			ok, err := path.Match(pattern, op)
			if err != nil {
				problems = append(problems, fmt.Sprintf("exemption %s: %v", pattern, err))
				break
			}
			if ok {
				stale = false
				if isOpen(pattern) {
					continue
				}
				excused[op] = true
				if covered[op] && pattern == op {
					problems = append(problems, fmt.Sprintf("%s is exempt, and covered as well", op))
				}
			}
		}
		if stale {
			problems = append(problems, fmt.Sprintf("exemption %s matches no operation", pattern))
		}
		if isOpen(pattern) {
			open = append(open, pattern)
		}
	}
	mirrors := func(op string) bool {
		raw := rawNames(op)
		return matchesAny(open, op) && slices.ContainsFunc(raw, func(r string) bool { return covered[r] || excused[r] })
	}
	for _, op := range ops {
		if !covered[op] && !excused[op] && !mirrors(op) {
			problems = append(problems, fmt.Sprintf("%s has no killtest scenario, and is not exempt", op))
		}
	}
	return problems
}

// isOpen reports that a pattern does not name the method or function that it is about.
func isOpen(pattern string) bool {
	return strings.ContainsAny(pattern[strings.LastIndex(pattern, ".")+1:], "*?[")
}

func matchesAny(patterns []string, op string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, op)
		return ok && err == nil
	})
}

// rawNames are the methods that a method of a typed handle may do its work by: of "queue.Producer.Put",
// "queue.RawProducer.Put" and "queue.Raw.Put".
func rawNames(op string) []string {
	parts := strings.Split(op, ".")
	if len(parts) != 3 || strings.HasPrefix(parts[1], "Raw") {
		return nil
	}
	return []string{parts[0] + ".Raw" + parts[1] + "." + parts[2], parts[0] + ".Raw." + parts[2]}
}

// forExplorer reports that a file is only part of builds for package explore: what it exports is no operation of users.
func forExplorer(f *ast.File) bool {
	for _, group := range f.Comments {
		if group.Pos() < f.Package && slices.ContainsFunc(group.List, func(c *ast.Comment) bool { return c.Text == "//go:build explore" }) {
			return true
		}
	}
	return false
}

// operations lists the exported operations of the package in dir, on any platform.
func operations(dir string) ([]string, error) {
	fset := token.NewFileSet()
	names, err := filepath.Glob(filepath.Join(dir, "*.go")) // of all platforms
	if err != nil {
		return nil, err
	}
	pkgs := map[string][]*ast.File{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			return nil, err
		}
		if !forExplorer(f) {
			pkgs[f.Name.Name] = append(pkgs[f.Name.Name], f)
		}
	}
	found := map[string]bool{}
	for name, files := range pkgs {
		methods, embedded := map[string][]string{}, map[string][]string{}
		for _, file := range files {
			for _, decl := range file.Decls {
				switch d := decl.(type) {
				case *ast.FuncDecl:
					if !d.Name.IsExported() {
						continue
					}
					if d.Recv == nil {
						found[name+"."+d.Name.Name] = true
					} else if recv := typeName(d.Recv.List[0].Type); recv != "" {
						methods[recv] = append(methods[recv], d.Name.Name)
					}
				case *ast.GenDecl:
					for _, spec := range d.Specs {
						if ts, ok := spec.(*ast.TypeSpec); ok {
							embedded[ts.Name.Name] = append(embedded[ts.Name.Name], embeds(ts)...)
						}
					}
				}
			}
		}
		for typ := range embedded {
			if ast.IsExported(typ) {
				for _, m := range methodSet(typ, methods, embedded, 0) {
					found[name+"."+typ+"."+m] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

func methodSet(typ string, methods, embedded map[string][]string, depth int) []string {
	set := slices.Clone(methods[typ])
	for _, e := range embedded[typ] {
		if !ast.IsExported(e) && depth < 10 {
			set = append(set, methodSet(e, methods, embedded, depth+1)...)
		}
	}
	return set
}

// embeds lists the types of this package that a struct type embeds.
func embeds(ts *ast.TypeSpec) (names []string) {
	st, ok := ts.Type.(*ast.StructType)
	if !ok {
		return nil
	}
	for _, f := range st.Fields.List {
		if name := typeName(f.Type); len(f.Names) == 0 && name != "" {
			names = append(names, name)
		}
	}
	return names
}

// typeName is the name behind pointers and type parameters; "" for a type of another package.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.IndexExpr:
		return typeName(e.X)
	case *ast.IndexListExpr:
		return typeName(e.X)
	}
	return ""
}
