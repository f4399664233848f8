package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// yamlReader takes a YAML document apart, strictly. It notes what is wrong, with the line, and goes on, so that one run shows all mistakes.
// Of YAML's library it needs nodes with their lines alone.
type yamlReader struct {
	file     string
	problems []yamlProblem
	visited  int
}

type yamlProblem struct {
	line int
	text string
}

// maxYAMLNodes bounds how much small documents can become through aliases.
const maxYAMLNodes = 100_000

func (r *yamlReader) bad(line int, format string, a ...any) {
	p := yamlProblem{line, fmt.Sprintf(format, a...)}
	if !slices.Contains(r.problems, p) {
		r.problems = append(r.problems, p)
	}
}

// err is all that was wrong, in the order of lines.
func (r *yamlReader) err() error {
	slices.SortStableFunc(r.problems, func(a, b yamlProblem) int { return a.line - b.line })
	var all []error
	for _, p := range r.problems {
		all = append(all, fmt.Errorf("%s:%d: %s", r.file, p.line, p.text))
	}
	return errors.Join(all...)
}

// document is the root of the only document; nil if there is none.
func (r *yamlReader) document(b []byte) *yaml.Node {
	var doc yaml.Node
	err := yaml.Load(b, &doc)
	if err == nil && len(doc.Content) == 1 {
		return doc.Content[0]
	}
	line, text := 1, "one YAML document is wanted"
	if e, ok := errors.AsType[*yaml.LoadError](err); ok {
		line, text = max(e.Mark.Line, 1), strings.TrimPrefix(e.Message, "yaml: ")
		if e.ContextMsg != "" && e.ContextMark.Line > 0 {
			text = fmt.Sprintf("%s, %s that begins on line %d", text, e.ContextMsg, e.ContextMark.Line)
		}
		if i := lineOf(b, line); bytes.HasPrefix(bytes.TrimLeft(i, " "), []byte("\t")) {
			text += "; YAML indents with spaces, not tabs"
		}
	} else if err != nil {
		text = err.Error()
	}
	r.bad(line, "%s", text)
	return nil
}

func lineOf(b []byte, n int) []byte {
	for range n - 1 {
		_, b, _ = bytes.Cut(b, []byte("\n"))
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return line
}

func (r *yamlReader) resolve(n *yaml.Node) *yaml.Node {
	if r.visited++; r.visited == maxYAMLNodes {
		r.bad(n.Line, "aliases make this document too large")
	}
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias // which is none itself
	}
	return n
}

type yamlField struct{ key, value *yaml.Node }

// fields is a mapping, with what is merged into it.
func (r *yamlReader) fields(n *yaml.Node, what string) []yamlField { return r.mapping(n, what, 0) }

const maxMerges = 20

func (r *yamlReader) mapping(n *yaml.Node, what string, depth int) (all []yamlField) {
	at := n.Line
	n = r.resolve(n)
	if r.visited > maxYAMLNodes {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		r.bad(at, "%s is %s, and should be keys with values", what, kindOf(n))
		return nil
	}
	var merged []*yaml.Node
	own := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := r.resolve(n.Content[i]), n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode:
			r.bad(key.Line, "a key of %s is %s, and should be a word", what, kindOf(key))
		case key.ShortTag() == "!!merge":
			if v := r.resolve(value); v.Kind == yaml.SequenceNode {
				merged = append(merged, v.Content...)
			} else {
				merged = append(merged, value)
			}
		case own[key.Value] > 0:
			r.bad(key.Line, "%s has the key %q twice: it is on line %d already", what, key.Value, own[key.Value])
		default:
			own[key.Value] = key.Line
			all = append(all, yamlField{key, value})
		}
	}
	for _, m := range merged {
		if depth >= maxMerges {
			r.bad(m.Line, "%s: more than %d merges inside each other", what, maxMerges)
			break
		}
		for _, f := range r.mapping(m, "what is merged into "+what, depth+1) {
			if own[f.key.Value] == 0 {
				own[f.key.Value] = f.key.Line
				all = append(all, f)
			}
		}
	}
	return all
}

// schema calls for each key what knows its value.
func (r *yamlReader) schema(n *yaml.Node, what string, known map[string]func(*yaml.Node)) {
	for _, f := range r.fields(n, what) {
		if take := known[f.key.Value]; take != nil {
			take(f.value)
			continue
		}
		r.bad(f.key.Line, "%s: unknown key %q; %s", what, f.key.Value, suggest(f.key.Value, known))
	}
}

func suggest[V any](word string, known map[string]V) string {
	best, least := "", 3
	for _, k := range sortedKeys(known) {
		if d := editDistance(strings.ToLower(word), k); d < least {
			best, least = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "known are " + strings.Join(sortedKeys(known), ", ")
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// editDistance is how many letters to change, add or leave out.
func editDistance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		if n.ShortTag() == "!!null" {
			return "empty"
		}
		return fmt.Sprintf("%q", n.Value)
	}
	return "an alias"
}

// text takes numbers and truth values as they are written.
func (r *yamlReader) text(n *yaml.Node, what string) (string, bool) {
	at := n.Line
	n = r.resolve(n)
	if n.Kind == yaml.ScalarNode {
		switch n.ShortTag() {
		case "!!null":
			r.bad(at, `%s is empty; write "" if that is meant`, what)
			return "", false
		case "!!str", "!!int", "!!float", "!!bool", "!!timestamp", "!!merge":
			return n.Value, true
		}
		r.bad(at, "%s has the tag %s; a text is wanted", what, n.ShortTag())
		return "", false
	}
	r.bad(at, "%s is %s; a text is wanted", what, kindOf(n))
	return "", false
}

func (r *yamlReader) list(n *yaml.Node, what string) (all []string) {
	at := n.Line
	n = r.resolve(n)
	if n.Kind != yaml.SequenceNode {
		r.bad(at, "%s is %s; a list is wanted, as in [one, two]", what, kindOf(n))
		return nil
	}
	for _, c := range n.Content {
		if r.visited > maxYAMLNodes {
			return nil
		}
		if s, ok := r.text(c, "an item of "+what); ok {
			all = append(all, s)
		}
	}
	return all
}

// words is a list of words, or one.
func (r *yamlReader) words(n *yaml.Node, what string) []string {
	if r.resolve(n).Kind == yaml.ScalarNode {
		if s, ok := r.text(n, what); ok {
			return []string{s}
		}
		return nil
	}
	return r.list(n, what)
}

func (r *yamlReader) duration(n *yaml.Node, what string) (d time.Duration, ok bool) {
	s, ok := r.text(n, what)
	if !ok {
		return 0, false
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		r.bad(n.Line, "%s is %q; a time with its unit is wanted, as in 500ms, 10s, 1m30s", what, s)
		return 0, false
	}
	return d, true
}

func (r *yamlReader) truth(n *yaml.Node, what string) (yes, ok bool) {
	s, ok := r.text(n, what)
	if ok && s != "true" && s != "false" {
		r.bad(n.Line, "%s is %q; true or false is wanted", what, s)
		return false, false
	}
	return s == "true", ok
}

// number is not negative.
func (r *yamlReader) number(n *yaml.Node, what string) (int, bool) {
	s, ok := r.text(n, what)
	if !ok {
		return 0, false
	}
	v, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		r.bad(n.Line, "%s is %q; a whole number from 0 is wanted", what, s)
		return 0, false
	}
	return int(v), true
}

func (r *yamlReader) float(n *yaml.Node, what string) (float64, bool) {
	s, ok := r.text(n, what)
	if !ok {
		return 0, false
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		r.bad(n.Line, "%s is %q; a number is wanted", what, s)
		return 0, false
	}
	return v, true
}
