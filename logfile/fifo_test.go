package logfile_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/logfile"
)

// A FIFO that is full cuts a long record; the next one stands on a line of its own.
func TestCutInFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := unix.FcntlInt(r.Fd(), unix.F_SETPIPE_SZ, 8192); err != nil {
		t.Fatal(err)
	}
	var failed []error
	h := open(t, &logfile.Options{File: path, OnError: func(err error) { failed = append(failed, err) }})
	log := slog.New(h)
	log.Info("first", "x", strings.Repeat("a", 6000))
	log.Info("second", "x", strings.Repeat("b", 6000))
	if len(failed) != 1 || !strings.Contains(failed[0].Error(), "cut") {
		t.Errorf("%v", failed)
	}
	var out bytes.Buffer
	b := make([]byte, 8192)
	drain := func() {
		n, err := syscall.Read(int(r.Fd()), b)
		if err != nil || n <= 0 {
			t.Fatal(n, err)
		}
		out.Write(b[:n])
	}
	for !strings.Contains(out.String(), "second") {
		drain()
	}
	log.Info("third")
	for !strings.Contains(out.String(), "third") {
		drain()
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 3 || !strings.Contains(lines[1], "second") || !strings.Contains(lines[2], "]: third") || len(failed) != 1 {
		t.Errorf("%d lines, the last is %.100q; %v", len(lines), lines[len(lines)-1], failed)
	}
}
