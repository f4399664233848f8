package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// hogs keeps the processors busy until stop is called.
func (r *runner) hogs(ctx context.Context, n int) (stop func(), err error) {
	var cmds []*exec.Cmd
	stop = func() {
		for _, c := range cmds {
			c.Process.Kill()
			c.Wait()
		}
	}
	for range n {
		c := exec.CommandContext(ctx, r.cfg.Peer[0], r.cfg.Peer[1:]...)
		c.Env = append(os.Environ(), envHog+"=1")
		in, err := c.StdinPipe() // it ends with us
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			stop()
			return nil, err
		}
		_ = in
		cmds = append(cmds, c)
	}
	return stop, nil
}

func bind(cpu int) { bindThread(0, cpu) }

// bindThread binds a thread, 0 for the calling one, to a processor, -1 for all.
func bindThread(tid, cpu int) {
	var set unix.CPUSet
	if cpu >= 0 {
		set.Set(cpu)
	} else {
		for i := range runtime.NumCPU() {
			set.Set(i)
		}
	}
	_ = unix.SchedSetaffinity(tid, &set)
}

// Peer is the other process; it returns at the end of its standard input.
func Peer() error {
	if os.Getenv(envHog) != "" {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
		for i := 0; ; i++ {
			if i == -1 {
				return nil
			}
		}
	}
	if base := os.Getenv(envPlayer); base != "" {
		return play(base)
	}
	if base := os.Getenv(envCrew); base != "" {
		return work(base)
	}
	base := os.Getenv(envPeer)
	if base == "" {
		return errors.New("this command is the other half of shiplap bench, which starts it")
	}
	d, err := shiplap.Join("bench", &shiplap.Options{Dir: base})
	if err != nil {
		return err
	}
	defer d.Close()
	region, err := mem.Map(fdRaw, mem.Part{Len: rawSize})
	if err != nil {
		return err
	}
	p := &peer{env: Env{Side: 1, Domain: d, Raw: region.Span(0), Sock: fdSock, In: fdIn, Out: fdOut}, loops: map[string]Loop{}, sections: Sections()}
	runtime.LockOSThread()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var o order
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			return err
		}
		answer := "ok"
		if err := p.do(o); err != nil {
			answer = strconv.Quote(err.Error())
		}
		if _, err := fmt.Println(answer); err != nil {
			return err
		}
	}
	return in.Err()
}

type peer struct {
	env      Env
	loops    map[string]Loop
	sections []Section
}

func (p *peer) do(o order) error {
	if o.Do == "probe" {
		bind(apart[1])
		bounce(p.env.Raw, rawProbeAt, 1, 20+probeTrips)
		return nil
	}
	cases := p.sections[o.Section].Cases
	i := slices.IndexFunc(cases, func(c Case) bool { return c.Name == o.Case })
	if i < 0 {
		return fmt.Errorf("no case %q", o.Case)
	}
	c := cases[i]
	switch o.Do {
	case "open":
		e := p.env
		e.Name, e.Bytes = fmt.Sprintf("%d.%s", o.Section, c.Name), c.Bytes
		l, err := c.Open(&e)
		p.loops[o.Case] = l
		return err
	case "close":
		if f := p.loops[o.Case].Close; f != nil {
			f()
		}
		delete(p.loops, o.Case)
		return nil
	case "run":
		bind(c.CPU[1])
		err := p.loops[o.Case].Run(o.N)
		p.env.Raw.U64(rawDoneAt).Add(1)
		return err
	}
	return fmt.Errorf("cannot %q", o.Do)
}
