//go:build linux && (amd64 || arm64)

package futex

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	peerEnv   = "FUTEX_TEST_PEER" // path:mode, for the other process
	peerTurns = 200
)

// words are on different cache lines of one mapped file.
type shared struct{ ping, pong *uint32 }

func mapFile(path string) (shared, []byte, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return shared{}, nil, err
	}
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return shared{}, nil, err
	}
	return shared{(*uint32)(unsafe.Pointer(&b[0])), (*uint32)(unsafe.Pointer(&b[128]))}, b, nil
}

// await sleeps until the word is v.
func await(word *uint32, v uint32) error {
	w := Get()
	defer w.Put()
	for end := time.Now().Add(patience); ; {
		cur := atomic.LoadUint32(word)
		if cur == v {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("word is %d, want %d", cur, v)
		}
		// A lost wake-up would show as an hour, not as a slow test.
		switch r := w.Sleep(word, cur, time.Hour, new(flag)); r {
		case Woken, Changed:
		default:
			return fmt.Errorf("sleep: %v", r)
		}
	}
}

func say(word *uint32, v uint32) {
	atomic.StoreUint32(word, v)
	Wake(word, 1)
}

// peer is the other process: it answers every ping.
func peer(arg string) int {
	path, m, _ := strings.Cut(arg, ":")
	n, _ := strconv.Atoi(m)
	mode.Store(uint32(n))
	s, _, err := mapFile(path)
	for i := uint32(1); err == nil && i <= peerTurns; i++ {
		if err = await(s.ping, i); err == nil {
			say(s.pong, i)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		return 1
	}
	return 0
}

func TestTwoProcesses(t *testing.T) {
	eachWay(t, func(t *testing.T, y way) {
		path := filepath.Join(t.TempDir(), "words")
		if err := os.WriteFile(path, make([]byte, 4096), 0o600); err != nil {
			t.Fatal(err)
		}
		s, mem, err := mapFile(path)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Munmap(mem)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s:%d", peerEnv, path, y.mode))
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for i := uint32(1); i <= peerTurns; i++ {
			say(s.ping, i)
			if err := await(s.pong, i); err != nil {
				cmd.Process.Kill()
				t.Errorf("turn %d: %v", i, err)
				break
			}
		}
		t.Logf("%d round trips in %v", peerTurns, time.Since(start))
		if err := cmd.Wait(); err != nil {
			t.Errorf("peer: %v", err)
		}
	})
}
