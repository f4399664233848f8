//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// round is one measurement of one store.
type round struct {
	Rate   float64 `json:"rate"` // operations a second, of all clients together
	Gets   int64   `json:"gets"`
	Sets   int64   `json:"sets"`
	Others float64 `json:"others"` // share of the machine's processors that others took meanwhile, 0 to 1
	Late   bool    `json:"late"`   // a client could not begin in time
}

// quiet reports whether nobody disturbed the round.
func (r round) quiet() bool { return !r.Late && r.Others < 0.1 }

// checked is what a client found when it read everything back.
type checked struct {
	Keys    int64 `json:"keys"`    // as the store counts them
	Right   int64 `json:"right"`   // whose values are whole and belong to them
	Changed int64 `json:"changed"` // that were set since they were loaded
}

// running is a store that is being measured.
type running struct {
	side
	setup
	clients []*client
	rounds  map[mix][]round
	checks  []checked
}

// measure lets the stores take turns.
func measure(ctx context.Context, cfg config) (rep *report, err error) {
	e := &env{config: cfg}
	if e.memory, err = os.MkdirTemp(cfg.dir, "shiplap-bench-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(e.memory)) }()
	if e.temp, err = os.MkdirTemp("", "shiplap-bench-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(e.temp)) }()
	if err := writeDraws(e.memory, cfg.uniform); err != nil {
		return nil, err
	}
	rep = newReport(cfg)
	var all []*running
	defer func() {
		for _, r := range all {
			if stop := r.stop(); err == nil && stop != nil {
				err = fmt.Errorf("%s: %w", r.name, stop)
			}
		}
	}()
	for _, s := range sides {
		if !cfg.only.MatchString(s.name) {
			continue
		}
		r := &running{side: s, rounds: map[mix][]round{}}
		all = append(all, r)
		err := r.begin(ctx, e)
		var lack missing
		if errors.As(err, &lack) {
			cfg.note("WITHOUT " + s.title + ": " + lack.Error())
			rep.Missing = append(rep.Missing, lackOf{s.name, lack.what, lack.install})
			all = all[:len(all)-1]
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("nothing to measure: --only matches none of " + names() + ", or what it matches is missing")
	}
	for i := range cfg.rounds {
		for _, m := range mixes {
			for k := range all {
				r := all[(i+k)%len(all)] // nobody always comes behind the same other one
				if err := r.round(ctx, e, m); err != nil {
					return nil, fmt.Errorf("%s: %w", r.name, err)
				}
			}
		}
	}
	for _, r := range all {
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		rep.add(r)
	}
	rep.judge()
	return rep, nil
}

func (r *running) begin(ctx context.Context, e *env) (err error) {
	if r.setup, err = r.start(ctx, e); err != nil {
		return err
	}
	for i := range clients {
		cpu := -1
		if e.pin {
			cpu = i
		}
		c, err := startClient(ctx, cpu, append(r.client[:len(r.client):len(r.client)], fmt.Sprint(i))...)
		if err != nil {
			return err
		}
		r.clients = append(r.clients, c)
	}
	_, err = r.clients[0].ask("load")
	return err
}

func (r *running) stop() (err error) {
	for _, c := range r.clients {
		err = errors.Join(err, c.end())
	}
	if r.server != nil {
		err = errors.Join(err, stopServer(r.server))
	}
	return err
}

// round lets all clients work at the same time.
func (r *running) round(ctx context.Context, e *env, m mix) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	at, err := monotonic()
	if err != nil {
		return err
	}
	watch, err := r.watch()
	if err != nil {
		return err
	}
	start := at + int64(2*time.Millisecond)
	from := start + int64(e.warmup)
	for i, c := range r.clients {
		if err := c.tell("run %s %d %d %d", drawsFile(e.memory, m, i), start, from, from+int64(e.duration)); err != nil {
			return err
		}
	}
	var out round
	for _, c := range r.clients {
		v, err := c.answer()
		if err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		if len(v) != 4 {
			return fmt.Errorf("the client answers %d numbers", len(v))
		}
		gets, sets, late, took := v[0], v[1], v[2], v[3]
		out.Gets += gets
		out.Sets += sets
		out.Late = out.Late || late > int64(e.duration)/20 || took == 0
		if took > 0 {
			out.Rate += float64(gets+sets) / time.Duration(took).Seconds()
		}
	}
	if out.Others, err = watch(); err != nil {
		return err
	}
	r.rounds[m] = append(r.rounds[m], out)
	return nil
}

// check lets every client read everything back.
func (r *running) check() error {
	for i, c := range r.clients {
		v, err := c.ask("check")
		if err != nil {
			return err
		}
		if len(v) != 3 {
			return fmt.Errorf("the client answers %d numbers", len(v))
		}
		got := checked{v[0], v[1], v[2]}
		if got.Keys != nKeys || got.Right != nKeys {
			return fmt.Errorf("client %d finds %d keys and %d right values; %d of both are wanted", i, got.Keys, got.Right, nKeys)
		}
		r.checks = append(r.checks, got)
	}
	return nil
}
