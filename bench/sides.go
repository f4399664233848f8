//go:build linux

package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// side is a store to measure.
type side struct {
	name  string
	title string
	start func(ctx context.Context, e *env) (s setup, err error)
}

// env is where a side may put things.
type env struct {
	config
	memory string // directory in memory
	temp   string // for what is compiled, and the socket: its path has to be short
}

// setup is what a side needs to be used.
type setup struct {
	client []string // command line of a client, to which its number is added
	server *exec.Cmd
}

var sides = []side{
	{"shiplap", "Shiplap, package store", startOwn},
	{"redis", "Redis, Unix socket, pipeline 32", startRedis},
	{"lmdb", "LMDB, no sync, write map", startLMDB},
	{"table", "limit: a hash table in C, without recovery", startTable},
}

func names() string {
	var all []string
	for _, s := range sides {
		all = append(all, s.name)
	}
	return strings.Join(all, ", ")
}

// missing says that the machine does not have something, and how to get it.
type missing struct{ what, install string }

func (m missing) Error() string { return m.what + " is missing; to install it: " + m.install }

func startOwn(_ context.Context, e *env) (setup, error) {
	dir := filepath.Join(e.memory, "shiplap")
	return setup{client: append(e.self, dir)}, os.Mkdir(dir, 0o700)
}

func startRedis(ctx context.Context, e *env) (s setup, err error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return s, missing{"redis-server", "apt-get install redis-server"}
	}
	client, err := compile(ctx, e, "redis")
	if err != nil {
		return s, err
	}
	dir := filepath.Join(e.temp, "redis.d")
	socket := filepath.Join(dir, "socket")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return s, err
	}
	if s.server, err = spawn(ctx, -1, func(*exec.Cmd) error { return nil }, program, "--port", "0", "--unixsocket", socket,
		"--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", dir, "--logfile", filepath.Join(dir, "log")); err != nil {
		return s, err
	}
	if err := listens(ctx, socket); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		return s, fmt.Errorf("redis-server: %w\n%s", errors.Join(err, stopServer(s.server)), log)
	}
	s.client = []string{client, socket}
	return s, nil
}

// listens waits until somebody listens on a socket.
func listens(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		c, err := net.Dial("unix", socket)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func stopServer(cmd *exec.Cmd) error {
	err := cmd.Process.Signal(syscall.SIGTERM)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	gaveUp := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
	defer gaveUp.Stop()
	return errors.Join(err, cmd.Wait())
}

func startLMDB(ctx context.Context, e *env) (s setup, err error) {
	if cc, err := compiler(); err != nil {
		return s, err
	} else if err := exec.CommandContext(ctx, cc, "-E", "-include", "lmdb.h", "-x", "c", "-o", "/dev/null", "/dev/null").Run(); err != nil {
		return s, missing{"lmdb.h", "apt-get install liblmdb-dev"}
	}
	client, err := compile(ctx, e, "lmdb", "-llmdb")
	if err != nil {
		return s, err
	}
	dir := filepath.Join(e.memory, "lmdb")
	return setup{client: []string{client, dir}}, os.Mkdir(dir, 0o700)
}

func startTable(ctx context.Context, e *env) (s setup, err error) {
	client, err := compile(ctx, e, "table")
	return setup{client: []string{client, filepath.Join(e.memory, "table")}}, err
}

//go:embed c/*.c
var sources embed.FS

func compiler() (string, error) {
	for _, name := range []string{"gcc", "cc"} {
		if cc, err := exec.LookPath(name); err == nil {
			return cc, nil
		}
	}
	return "", missing{"a C compiler, for the clients of all but Shiplap", "apt-get install gcc libc6-dev"}
}

// compile makes a client of c/load.c and a store's own file.
func compile(ctx context.Context, e *env, name string, libs ...string) (program string, err error) {
	cc, err := compiler()
	if err != nil {
		return "", err
	}
	for _, file := range []string{"load.c", name + ".c"} {
		b, err := sources.ReadFile("c/" + file)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(e.temp, file), b, 0o600); err != nil {
			return "", err
		}
	}
	program = filepath.Join(e.temp, name)
	args := append([]string{"-O2", "-std=gnu11", "-DSTORE=\"" + name + ".c\"", "-o", program, filepath.Join(e.temp, "load.c")}, libs...)
	if out, err := exec.CommandContext(ctx, cc, args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cc, err, out)
	}
	return program, nil
}
