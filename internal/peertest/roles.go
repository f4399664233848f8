package peertest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/shiplap-ipc/shiplap"
)

const envOrder = "SHIPLAP_PEERTEST"

// order is what a peer is to do; it travels in the environment.
type order struct {
	Role         string
	Arg          json.RawMessage
	Base, Domain string
}

func (o order) String() string { return fmt.Sprintf("peer %q %s", o.Role, o.Arg) }

// Roles of peers. An error ends a peer with status 1. Arg is what Start was given, or the zero value.
type Roles[A any] map[string]func(d *shiplap.Domain, arg A) error

// Run returns at once unless this process is a peer. A peer joins the domain, with the options if any (but for the
// directory, which is the test's), plays its role and exits. Call it in TestMain, behind killtest.RunVictim.
func (r Roles[A]) Run(opt *shiplap.Options) {
	text, peer := os.LookupEnv(envOrder)
	if !peer {
		return
	}
	if err := r.play(text, opt); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func (r Roles[A]) play(text string, opt *shiplap.Options) (err error) {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fmt.Errorf("peer %q: %w", text, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%v: %w", o, err)
		}
	}()
	role := r[o.Role]
	if role == nil {
		return errors.New("no such role")
	}
	var arg A
	if err := json.Unmarshal(o.Arg, &arg); err != nil {
		return err
	}
	var own shiplap.Options
	if opt != nil {
		own = *opt
	}
	own.Dir = o.Base
	d, err := shiplap.Join(o.Domain, &own)
	if err != nil {
		return err
	}
	defer d.Close()
	return role(d, arg)
}

// Say writes a line for the test, with one system call, so that a death leaves whole lines.
func Say(a ...any) { os.Stdout.WriteString(fmt.Sprintln(a...)) }

var stdin = bufio.NewScanner(os.Stdin)

// Hear waits for a line that the test tells; it is "" when there are no more. One goroutine may hear.
func Hear() string {
	stdin.Scan()
	return stdin.Text()
}

// StdinEnds is closed when the test wants the peer to end. A peer that hears must not call it.
func StdinEnds() <-chan struct{} {
	end := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(end)
	}()
	return end
}

// Base is the directory that the domain was joined below.
func Base(d *shiplap.Domain) string { return filepath.Dir(filepath.Dir(filepath.Dir(d.Dir()))) }
