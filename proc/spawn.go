package proc

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// output is what a life says.
type output struct {
	files []*os.File // reading ends
	word  *os.File   // the same of the descriptor for the word, or nil
	c     *collector // nil if nothing is collected
	m     *Manager
}

// start starts a life.
func (p *process) start(ctx context.Context, g *guard) (*life, *output, error) {
	o, err := p.order(p.spec.argv(os.Args[0]))
	if err != nil {
		return nil, nil, err
	}
	if p.spec.Func != "" {
		o.Path, o.Env = "/proc/self/exe", append(o.Env, envRole+"="+roleFunc, envFunc+"="+p.spec.Func)
	}
	o = p.spec.Limits.wrap(o, p.spec.Func != "")
	out := &output{m: p.m}
	fds, give, err := p.pipes(out, &o)
	defer closeAll(give)
	if err != nil {
		out.abandon()
		return nil, nil, err
	}
	l, err := g.start(ctx, o, fds...)
	if err != nil {
		out.abandon()
		return nil, nil, fmt.Errorf("%s: %w", o.Path, err)
	}
	if out.c != nil {
		out.c.run(out.files[0], out.files[1])
	}
	return l, out, nil
}

// order is how to start a program as this process, or beside it.
func (p *process) order(argv []string) (o order, err error) {
	o = order{Argv: argv, Env: environ(p.spec.Env, p.identity()...)}
	if o.Dir, err = filepath.Abs(p.spec.Dir); err != nil { // of "" it is where we are
		return o, err
	}
	if _, err := os.Stat(o.Dir); err != nil {
		return o, fmt.Errorf("its directory: %w", err)
	}
	if o.Path = argv[0]; !strings.Contains(o.Path, "/") { // else the kernel finds it, from Dir
		o.Path, err = exec.LookPath(o.Path)
	}
	return o, err
}

// pipes makes what the process writes to: fds are for it, give are those of them that are to be closed here.
func (p *process) pipes(out *output, o *order) (fds []int, give []*os.File, err error) {
	to, turn := p.spec.Output, &p.turn
	if to == nil {
		to, turn = p.m.opt.Output, &p.m.turn
	}
	switch to {
	case PassThrough:
		fds = []int{int(os.Stdout.Fd()), int(os.Stderr.Fd())}
	case io.Discard:
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return nil, nil, err
		}
		give = append(give, null)
		fds = []int{int(null.Fd()), int(null.Fd())}
	default:
		for range 2 {
			r, w, err := newPipe()
			if err != nil {
				return nil, give, err
			}
			out.files, give, fds = append(out.files, r), append(give, w), append(fds, int(w.Fd()))
		}
		out.c = newCollector(p.spec.Name, to, turn, func(lines, dropped int) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.st.Lines += uint64(lines)
			p.st.Dropped += uint64(dropped)
		})
	}
	if p.spec.Ready == ReadyWord {
		r, w, err := newPipe()
		if err != nil {
			return nil, give, err
		}
		out.word, give, fds = r, append(give, w), append(fds, int(w.Fd()))
		o.Env = append(o.Env, EnvReadyFD+"=3")
	}
	return fds, give, nil
}

// awaitWord waits for a line.
func (o *output) awaitWord(ctx context.Context) bool {
	stop := context.AfterFunc(ctx, func() { _ = o.word.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	b := make([]byte, 64)
	for {
		n, err := o.word.Read(b)
		if slices.Contains(b[:n], '\n') {
			return true
		}
		if err != nil {
			return false
		}
	}
}

// abandon is for a life that did not begin.
func (o *output) abandon() {
	closeAll(o.files)
	closeAll([]*os.File{o.word})
}

// close is for after a life. Its last lines are written when it returns, unless the writer is slow.
func (o *output) close() {
	closeAll([]*os.File{o.word})
	if o.c == nil {
		return
	}
	for _, f := range o.files {
		_ = f.SetReadDeadline(time.Now().Add(drainPatience))
	}
	t := time.NewTimer(2 * drainPatience)
	defer t.Stop()
	select {
	case <-o.c.done:
	case <-t.C:
	}
}
