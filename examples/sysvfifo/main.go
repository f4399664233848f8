// Sysvfifo is the two programs of the folder cpp in Go: A sends lines to B through a System V segment, with a
// FIFO as the bell. Each works with the other side in C++.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/shiplap-ipc/shiplap/fifo"
	"github.com/shiplap-ipc/shiplap/logfile"
	"github.com/shiplap-ipc/shiplap/sysv"
)

const (
	segmentSize = 4096
	messageSize = 1024 // with its NUL
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) != 4 {
		return fmt.Errorf("usage: sysvfifo a|b PATH ID FIFO")
	}
	id, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	key, err := sysv.Ftok(args[1], id)
	if err != nil {
		return err
	}
	switch args[0] {
	case "a":
		return a(ctx, key, args[3], in)
	case "b":
		return b(ctx, key, args[3], out)
	}
	return fmt.Errorf("%q is neither a nor b", args[0])
}

// a makes the segment and the FIFO, and sends lines.
func a(ctx context.Context, key sysv.Key, path string, in io.Reader) error {
	seg, err := sysv.Create(key, segmentSize, nil)
	if err != nil {
		return err
	}
	defer seg.Close()
	defer seg.ID().Remove()
	if err := fifo.Make(path, 0o600); err != nil {
		return err
	}
	defer fifo.Remove(path)
	bell, err := fifo.OpenWriter(ctx, path) // waits for B
	if err != nil {
		return err
	}
	defer bell.Close()
	// A line that is typed when the context is done already comes too late.
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(in); s.Scan(); {
			select {
			case lines <- s.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case line, more := <-lines:
			if !more {
				_, err := bell.Write(ctx, []byte("x"))
				return err
			}
			if err := seg.WriteString(0, messageSize, line); err != nil {
				return err
			}
			if _, err := bell.Write(ctx, []byte("a")); err != nil {
				return err
			}
			if err := bell.Drain(ctx); err != nil { // the memory holds one message
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// b attaches the segment and logs each message that A rings for.
func b(ctx context.Context, key sysv.Key, path string, out io.Writer) error {
	h, err := logfile.New(&logfile.Options{Screen: out})
	if err != nil {
		return err
	}
	defer h.Close()
	log := slog.New(h)
	seg, err := sysv.Open(key, &sysv.AttachOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer seg.Close()
	bell, err := fifo.OpenReader(ctx, path) // waits for A
	if err != nil {
		return err
	}
	defer bell.Close()
	for code := make([]byte, 1); ; {
		if err := bell.Ready(ctx); err != nil {
			return err
		}
		// A goes on once the code was taken. So copy the message first.
		text, bad := seg.ReadString(0, 0)
		if _, err := bell.Read(ctx, code); err == io.EOF {
			log.Warn("A ended without a stop")
			return nil
		} else if err != nil {
			return err
		}
		switch {
		case code[0] == 'x':
			log.Info("B stops")
			return nil
		case bad != nil:
			log.Warn("no message", "error", bad)
		default:
			log.Info("B got: " + text)
		}
	}
}
