package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	procs "github.com/shiplap-ipc/shiplap/proc"
)

// runFile is what "shiplap run" is told to run.
type runFile struct {
	path   string // as the user named it
	dir    string // absolute; paths in the file are relative to it
	name   string
	domain string // "" if the file does not say
	procs  []runProc
}

// runProc is one process of the file.
type runProc struct {
	spec   procs.Spec // without what cannot be compared
	line   int
	manual bool // only started on demand
	output string
	watch  []string // absolute
	probe  probe
}

// probe looks at something from outside.
type probe struct{ network, address, file string }

const maxRunFile = 1 << 20

// readRunFile reads and checks a file; "-" is standard input.
func readRunFile(path string, stdin io.Reader) (*runFile, error) {
	dir := ""
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		stdin, dir = f, filepath.Dir(path)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(stdin, maxRunFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxRunFile {
		return nil, fmt.Errorf("%s: larger than %s: is it the right file?", path, formatSize(maxRunFile))
	}
	if path == "-" {
		path = "standard input"
	}
	return parseRunFile(path, dir, b)
}

func parseRunFile(path, dir string, b []byte) (*runFile, error) {
	f := &runFile{path: path, dir: dir, name: procs.DefaultName}
	r := &yamlReader{file: path}
	if root := r.document(b); root != nil {
		f.read(r, root)
	}
	if err := r.err(); err != nil {
		return nil, exitError{err, exitFailure, "mend it, and see: shiplap run --check " + quoteArg(path) + "; shiplap run --example shows all keys"}
	}
	return f, nil
}

func quoteArg(s string) string {
	if s == "standard input" {
		return "-"
	}
	if strings.ContainsAny(s, " '\"$\\*?&;|<>()") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

func (f *runFile) read(r *yamlReader, root *yaml.Node) {
	var env []string
	var processes *yaml.Node
	known := map[string]func(*yaml.Node){
		"name": func(n *yaml.Node) {
			if s, ok := r.text(n, "name"); ok {
				f.name = s
				if err := procs.CheckName(s); err != nil {
					r.bad(n.Line, "%v", err)
				}
			}
		},
		"domain":    func(n *yaml.Node) { f.domain, _ = r.text(n, "domain") },
		"env":       func(n *yaml.Node) { env = r.environment(n, "env") },
		"processes": func(n *yaml.Node) { processes = n },
	}
	for _, field := range r.fields(root, "the file") { // a place for anchors
		if strings.HasPrefix(field.key.Value, "x-") {
			known[field.key.Value] = func(*yaml.Node) {}
		}
	}
	r.schema(root, "the file", known)
	if processes == nil {
		r.bad(root.Line, "no processes: write processes: and below it, indented, one name with its command for each")
		return
	}
	for _, field := range r.fields(processes, "processes") {
		p := f.process(r, field, env)
		if err := p.complete().Check(); err != nil && !r.hasProblem(field) {
			r.bad(field.key.Line, "%v", err)
		}
		f.procs = append(f.procs, p)
	}
	if len(f.procs) == 0 && len(r.problems) == 0 {
		r.bad(processes.Line, "processes has no process")
	}
	f.checkOrder(r)
}

// hasProblem reports whether something was wrong within that process already.
func (r *yamlReader) hasProblem(f yamlField) bool {
	prefix := fmt.Sprintf("process %q", f.key.Value)
	return slices.ContainsFunc(r.problems, func(p yamlProblem) bool { return strings.HasPrefix(p.text, prefix) || p.line == f.key.Line })
}

func (r *yamlReader) environment(n *yaml.Node, what string) (env []string) {
	for _, f := range r.fields(n, what) {
		if s, ok := r.text(f.value, what+": "+f.key.Value); ok {
			env = append(env, f.key.Value+"="+s)
		}
	}
	return env
}

func (f *runFile) path1(p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(f.dir, p)
}

func (f *runFile) process(r *yamlReader, field yamlField, env []string) runProc {
	name := field.key.Value
	what := fmt.Sprintf("process %q", name)
	p := runProc{line: field.key.Line, spec: procs.Spec{Name: name, Dir: f.dir, Env: env}}
	s := &p.spec
	commanded := false
	r.schema(field.value, what, map[string]func(*yaml.Node){
		"command": func(n *yaml.Node) { s.Command, commanded = r.command(n, what+": command"), true },
		"args":    func(n *yaml.Node) { s.Args = r.list(n, what+": args") },
		"env":     func(n *yaml.Node) { s.Env = slices.Concat(env, r.environment(n, what+": env")) },
		"dir": func(n *yaml.Node) {
			if d, ok := r.text(n, what+": dir"); ok {
				s.Dir = f.path1(d)
			}
		},
		"restart": func(n *yaml.Node) { r.restart(n, what+": restart", s) },
		"ready":   func(n *yaml.Node) { f.ready(r, n, what+": ready", &p) },
		"after":   func(n *yaml.Node) { s.After = r.words(n, what+": after") },
		"stop":    func(n *yaml.Node) { r.stop(n, what+": stop", s) },
		"limits":  func(n *yaml.Node) { s.Limits = r.limits(n, what+": limits") },
		"channels": func(n *yaml.Node) {
			text, ok := r.text(n, what+": channels")
			size, err := parseSize(text)
			switch {
			case !ok || text == "true":
			case text == "false":
				s.ChannelCapacity = -1
			case err != nil || size == 0:
				r.bad(n.Line, "%s: channels is %q; a size as 64K is wanted, or false", what, text)
			default:
				s.ChannelCapacity = size
			}
		},
		"output": func(n *yaml.Node) {
			p.output = r.choice(n, what+": output", outputNamed, outputRaw, outputDiscard)
		},
		"autostart": func(n *yaml.Node) {
			yes, ok := r.truth(n, what+": autostart")
			p.manual = ok && !yes
		},
		"watch": func(n *yaml.Node) {
			for _, w := range r.words(n, what+": watch") {
				if _, err := filepath.Match(w, ""); err != nil || w == "" {
					r.bad(n.Line, "%s: watch: %q is no path and no pattern", what, w)
				}
				p.watch = append(p.watch, f.path1(w))
			}
		},
	})
	if !commanded && r.resolve(field.value).Kind == yaml.MappingNode {
		r.bad(field.key.Line, "%s has no command: write command: [program, argument], or a line for the shell", what)
	}
	return p
}

// Where the output of a process goes.
const (
	outputNamed   = "named"
	outputRaw     = "raw"
	outputDiscard = "discard"
)

func (r *yamlReader) choice(n *yaml.Node, what string, words ...string) string {
	s, ok := r.text(n, what)
	if ok && !slices.Contains(words, s) {
		r.bad(n.Line, "%s is %q; %s is wanted", what, s, strings.Join(words, ", "))
		return ""
	}
	return s
}

// command is a list, or a line for the shell.
func (r *yamlReader) command(n *yaml.Node, what string) []string {
	at := n.Line
	if n = r.resolve(n); n.Kind == yaml.SequenceNode {
		list := r.list(n, what)
		if len(n.Content) == 0 {
			r.bad(at, "%s is an empty list", what)
		}
		return list
	}
	line, ok := r.text(n, what)
	if ok && strings.TrimSpace(line) == "" {
		r.bad(at, "%s is empty", what)
	}
	return []string{"/bin/sh", "-c", line}
}

// shellPrefix is what stands before a line for the shell.
const shellPrefix = "/bin/sh -c "

func (r *yamlReader) restart(n *yaml.Node, what string, s *procs.Spec) {
	policy := func(n *yaml.Node) {
		s.Restart = procs.Policy(r.choice(n, what, string(procs.Never), string(procs.OnFailure), string(procs.Always)))
	}
	if r.resolve(n).Kind == yaml.ScalarNode {
		policy(n)
		return
	}
	duration := func(to *time.Duration, key string) func(*yaml.Node) {
		return func(n *yaml.Node) { *to, _ = r.duration(n, what+": "+key) }
	}
	r.schema(n, what, map[string]func(*yaml.Node){
		"policy": policy,
		"first":  duration(&s.Backoff.First, "first"),
		"max":    duration(&s.Backoff.Max, "max"),
		"reset":  duration(&s.Backoff.Reset, "reset"),
		"window": duration(&s.Window, "window"),
		"factor": func(n *yaml.Node) { s.Backoff.Factor, _ = r.float(n, what+": factor") },
		"jitter": func(n *yaml.Node) { s.Backoff.Jitter, _ = r.float(n, what+": jitter") },
		"limit":  func(n *yaml.Node) { s.MaxRestarts, _ = r.number(n, what+": limit") },
	})
	if s.Restart == "" && r.resolve(n).Kind == yaml.MappingNode {
		r.bad(n.Line, "%s has no policy: on-failure or always is wanted", what)
	}
}

func (f *runFile) ready(r *yamlReader, n *yaml.Node, what string, p *runProc) {
	s := &p.spec
	when := func(n *yaml.Node) {
		s.Ready = procs.Readiness(r.choice(n, what, string(procs.ReadyAtStart), string(procs.ReadyWord), string(procs.ReadyExit)))
	}
	if r.resolve(n).Kind == yaml.ScalarNode {
		when(n)
		return
	}
	ways := 0
	one := func(take func(*yaml.Node)) func(*yaml.Node) {
		return func(n *yaml.Node) { ways++; take(n) }
	}
	r.schema(n, what, map[string]func(*yaml.Node){
		"when": one(when),
		"exec": one(func(n *yaml.Node) { s.ProbeCommand = r.command(n, what+": exec") }),
		"tcp": one(func(n *yaml.Node) {
			address, ok := r.text(n, what+": tcp")
			if _, port, err := net.SplitHostPort(address); ok && (err != nil || port == "") {
				r.bad(n.Line, "%s: tcp is %q; host:port is wanted, as in localhost:8080", what, address)
			}
			p.probe = probe{network: "tcp", address: address}
		}),
		"unix": one(func(n *yaml.Node) {
			path, _ := r.text(n, what+": unix")
			p.probe = probe{network: "unix", address: f.path1(path)}
		}),
		"file": one(func(n *yaml.Node) {
			path, _ := r.text(n, what+": file")
			p.probe = probe{file: f.path1(path)}
		}),
		"interval": func(n *yaml.Node) { s.ProbeInterval, _ = r.duration(n, what+": interval") },
		"attempt":  func(n *yaml.Node) { s.ProbeTimeout, _ = r.duration(n, what+": attempt") },
		"timeout": func(n *yaml.Node) {
			if text := r.resolve(n); text.Kind == yaml.ScalarNode && text.Value == "never" {
				s.ReadyTimeout = -1
				return
			}
			s.ReadyTimeout, _ = r.duration(n, what+": timeout")
		},
	})
	if ways != 1 && r.resolve(n).Kind == yaml.MappingNode {
		r.bad(n.Line, "%s says %d ways to be ready; one of when, exec, tcp, unix, file is wanted", what, ways)
	}
}

func (r *yamlReader) stop(n *yaml.Node, what string, s *procs.Spec) {
	r.schema(n, what, map[string]func(*yaml.Node){
		"signal": func(n *yaml.Node) {
			text, ok := r.text(n, what+": signal")
			if !ok {
				return
			}
			sig, err := parseSignal(text)
			if err != nil {
				r.bad(n.Line, "%s: %v", what, err)
			}
			s.StopSignal = sig
		},
		"timeout": func(n *yaml.Node) {
			d, ok := r.duration(n, what+": timeout")
			if s.StopTimeout = d; ok && d == 0 {
				s.StopTimeout = -1
			}
		},
	})
}

func (r *yamlReader) limits(n *yaml.Node, what string) procs.Limits {
	l := procs.Limits{}
	known := map[string]func(*yaml.Node){}
	for _, resource := range procs.Resources() {
		known[string(resource)] = func(n *yaml.Node) {
			text, ok := r.text(n, what+": "+string(resource))
			v, err := parseSize(text)
			switch {
			case !ok:
			case text == "unlimited":
				l[resource] = procs.Unlimited
			case err != nil:
				r.bad(n.Line, "%s: %s is %q; a number is wanted, as 1024 or 512M, or unlimited", what, resource, text)
			default:
				l[resource] = uint64(v)
			}
		}
	}
	r.schema(n, what, known)
	return l
}

// checkOrder looks for processes that start after nobody, or after each other.
func (f *runFile) checkOrder(r *yamlReader) {
	byName := map[string]*runProc{}
	for i := range f.procs {
		byName[f.procs[i].spec.Name] = &f.procs[i]
	}
	done := map[string]bool{}
	var path []string
	var visit func(p *runProc)
	visit = func(p *runProc) {
		name := p.spec.Name
		if done[name] {
			return
		}
		if i := slices.Index(path, name); i >= 0 {
			r.bad(p.line, "processes start after each other: %s; take one of these out", strings.Join(append(slices.Clone(path[i:]), name), " after "))
			return
		}
		path = append(path, name)
		for _, after := range p.spec.After {
			if d := byName[after]; d != nil {
				visit(d)
			} else {
				others := maps.Clone(byName)
				delete(others, name)
				r.bad(p.line, "process %q starts after %q, which is not in the file; %s", name, after, suggest(after, others))
			}
		}
		path = path[:len(path)-1]
		done[name] = true
	}
	for i := range f.procs {
		visit(&f.procs[i])
	}
}

// same reports whether a process is what it was.
func (p runProc) same(q runProc) bool {
	p.line, q.line = 0, 0
	return reflect.DeepEqual(p, q)
}

// complete is the spec with what the file cannot hold.
func (p runProc) complete() procs.Spec {
	s := p.spec
	switch p.output {
	case outputRaw:
		s.Output = procs.PassThrough
	case outputDiscard:
		s.Output = io.Discard
	}
	if p.probe != (probe{}) {
		s.Probe = p.probe.try
	}
	return s
}

func (p probe) try(ctx context.Context) error {
	if p.file != "" {
		_, err := os.Stat(p.file)
		return err
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, p.network, p.address)
	if err != nil {
		return err
	}
	return c.Close()
}
