package lint

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/shiplap-ipc/shiplap"

// pkg is one package of the module. Paths are relative to it, "." is the root package.
type pkg struct {
	path    string
	name    string
	doc     string
	imports []string // of non-test files, whatever their build constraints
	deps    []dep    // what a user of the package links, on this platform
}

type dep struct{ path, module string } // module "" is the standard library

// file is one Go file of the module.
type file struct {
	path  string
	test  bool
	lines int
	fset  *token.FileSet
	ast   *ast.File
}

var load = sync.OnceValues(func() (*moduleInfo, error) {
	gomod, err := run(".", "go", "env", "GOMOD")
	if err != nil {
		return nil, err
	}
	m := &moduleInfo{root: filepath.Dir(strings.TrimSpace(gomod))}
	if m.files, err = readFiles(m.root); err != nil {
		return nil, err
	}
	if m.pkgs, err = readPackages(m.root, m.files); err != nil {
		return nil, err
	}
	if len(m.pkgs) == 0 || len(m.files) == 0 {
		return nil, errors.New("no package found")
	}
	return m, nil
})

type moduleInfo struct {
	root  string
	pkgs  []pkg
	files []file
}

func loaded(t *testing.T) *moduleInfo {
	t.Helper()
	m, err := load()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func run(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return "", fmt.Errorf("%s: %w: %s", cmd, err, exit.Stderr)
	}
	return string(out), err
}

// readFiles parses all Go files of the module, without nested modules and test data.
func readFiles(root string) ([]file, error) {
	var files []file
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path == root {
				return nil
			}
			_, nested := os.Stat(filepath.Join(path, "go.mod"))
			if nested == nil || d.Name() == "testdata" || strings.ContainsAny(d.Name()[:1], "._") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f, err := parse(filepath.ToSlash(rel), src)
		files = append(files, f)
		return err
	})
	return files, err
}

func parse(path string, src []byte) (file, error) {
	f := file{
		path:  path,
		test:  strings.HasSuffix(path, "_test.go"),
		lines: strings.Count(string(src), "\n"),
		fset:  token.NewFileSet(),
	}
	var err error
	f.ast, err = parser.ParseFile(f.fset, path, src, parser.ParseComments|parser.SkipObjectResolution)
	return f, err
}

func readPackages(root string, files []file) ([]pkg, error) {
	out, err := run(root, "go", "list", "-deps", "-json=ImportPath,Name,Doc,Deps,Module,Standard", "./...")
	if err != nil {
		return nil, err
	}
	type listed struct {
		ImportPath, Name, Doc string
		Deps                  []string
		Standard              bool
		Module                *struct{ Path string }
	}
	owner := make(map[string]string) // of every dependency, by import path
	var own []listed
	for d := json.NewDecoder(strings.NewReader(out)); ; {
		var l listed
		if err := d.Decode(&l); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		if l.Module != nil {
			owner[l.ImportPath] = l.Module.Path
			if l.Module.Path == module {
				own = append(own, l)
			}
		}
	}
	var pkgs []pkg
	for _, l := range own {
		p := pkg{path: relative(l.ImportPath), name: l.Name, doc: l.Doc}
		for _, f := range files {
			if !f.test && filepath.Dir(f.path) == p.path {
				p.imports = append(p.imports, f.imports()...)
			}
		}
		slices.Sort(p.imports)
		p.imports = slices.Compact(p.imports)
		for _, d := range l.Deps {
			p.deps = append(p.deps, dep{d, owner[d]})
		}
		pkgs = append(pkgs, p)
	}
	return pkgs, nil
}

func (f file) imports() []string {
	var paths []string
	for _, spec := range f.ast.Imports {
		if path, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths = append(paths, path)
		}
	}
	return paths
}

// relative turns an import path into one relative to the module, if it is of the module.
func relative(path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}

func ours(path string) bool {
	return path == module || strings.HasPrefix(path, module+"/")
}

// lookup finds the entry of a package or of the nearest folder above it.
func lookup[T any](table map[string]T, path string) (T, bool) {
	for {
		if v, ok := table[path]; ok {
			return v, true
		}
		i := strings.LastIndexByte(path, '/')
		if i < 0 {
			var none T
			return none, false
		}
		path = path[:i]
	}
}
