package lint

import (
	"fmt"
	"go/ast"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The tables of docs/layout.md that come behind "<!-- pairs -->" list the pairs of stores and loads. Their last column
// names the scene of the explorer that runs the pair, or says why there is none.
const (
	pairsPage = "docs/layout.md"
	pairsMark = "<!-- pairs -->"
	pairCells = 6
)

var (
	sceneOf  = regexp.MustCompile("^`(Test\\w+)(?:/([^`]+))?`")
	fences   = map[string]bool{"light": true, "heavy": true, "full": true, "order": true, "kernel": true}
	noScene  = "none: "
	scenesIn = []string{"internal/explore/", "internal/row/"}
)

// scenes are the tests in the folders of scenesIn, and the text in quotes that each file has.
func scenes(files []file) (tests map[string]file, texts map[string]string) {
	tests, texts = map[string]file{}, map[string]string{}
	for _, f := range files {
		in := false
		for _, dir := range scenesIn {
			in = in || f.test && strings.HasPrefix(f.path, dir)
		}
		if !in {
			continue
		}
		var text strings.Builder
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok {
				if s, err := strconv.Unquote(lit.Value); err == nil {
					text.WriteString(s + "\n")
				}
			}
			return true
		})
		texts[f.path] = text.String()
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				tests[fn.Name.Name] = f
			}
		}
	}
	return tests, texts
}

// checkPair says what is wrong with one row.
func checkPair(cells []string, tests map[string]file, texts map[string]string) string {
	if len(cells) != pairCells {
		return fmt.Sprintf("%d cells, wanted are %d", len(cells), pairCells)
	}
	if !fences[cells[2]] || !fences[cells[4]] {
		return fmt.Sprintf("%q and %q are not both kinds of fences", cells[2], cells[4])
	}
	if cells[2] == "light" && cells[4] != "heavy" || cells[2] == "order" && cells[4] != "full" {
		return fmt.Sprintf("%q is not enough opposite to %q", cells[4], cells[2])
	}
	scene := cells[5]
	if why, ok := strings.CutPrefix(scene, noScene); ok && len(strings.Fields(why)) >= 3 {
		return ""
	}
	m := sceneOf.FindStringSubmatch(scene)
	if m == nil {
		return fmt.Sprintf("%q names no scene, and does not say why there is none", scene)
	}
	f, ok := tests[m[1]]
	if !ok {
		return fmt.Sprintf("%s is no test in %v", m[1], scenesIn)
	}
	if !strings.Contains(texts[f.path], m[2]) {
		return fmt.Sprintf("%s has no scene %q", f.path, m[2])
	}
	return ""
}

// rows are those of the tables behind the mark.
func pairRows(page string) (rows [][]string) {
	lines := strings.Split(page, "\n")
	for i := range lines {
		if lines[i] != pairsMark {
			continue
		}
		for _, l := range lines[min(i+3, len(lines)):] { // behind the head and its line
			l, ok := strings.CutPrefix(l, "| ")
			if !ok {
				break
			}
			rows = append(rows, strings.Split(strings.TrimSuffix(l, " |"), " | "))
		}
	}
	return rows
}

func TestPairs(t *testing.T) {
	page, err := os.ReadFile("../../" + pairsPage)
	if err != nil {
		t.Fatal(err)
	}
	tests, texts := scenes(loaded(t).files)
	rows := pairRows(string(page))
	if len(rows) < 30 {
		t.Errorf("%s has %d pairs: where are the others?", pairsPage, len(rows))
	}
	for _, cells := range rows {
		if bad := checkPair(cells, tests, texts); bad != "" {
			t.Errorf("%s, pair %q: %s", pairsPage, cells[0], bad)
		}
	}
}

func TestPairRule(t *testing.T) {
	src := "package x\n\nfunc TestX(t *testing.T) { run(\"one, late\") }\n"
	f, err := parse("internal/explore/x_test.go", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	tests, texts := scenes([]file{f})
	for row, good := range map[string]bool{
		"p | a; b | light | b; a | heavy | `TestX`":               true,
		"p | a; b | full | b; a | full | `TestX/one` (late)":      true,
		"p | a; b | full | b; a | full | none: they are one word": true,
		"p | a; b | full | b; a | full | none: so":                false,
		"p | a; b | full | b; a | full |":                         false,
		"p | a; b | full | b; a | full | TestX":                   false,
		"p | a; b | full | b; a | full | `TestY`":                 false,
		"p | a; b | full | b; a | full | `TestX/two`":             false,
		"p | a; b | light | b; a | full | `TestX`":                false,
		"p | a; b | order | b; a | light | `TestX`":               false,
		"p | a; b | strong | b; a | full | `TestX`":               false,
		"p | a; b | full | full | `TestX`":                        false,
	} {
		if bad := checkPair(strings.Split(row, " | "), tests, texts); (bad == "") != good {
			t.Errorf("%q: %q", row, bad)
		}
	}
}
