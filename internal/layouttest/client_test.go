package layouttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/queue"
)

const many = 100_000

// built are the C clients, compiled once.
var built struct {
	sync.Once
	dir, skip string
	err       error
}

// client is the C client on a queue of the default domain below dir.
func client(t testing.TB, dir, name string, args ...string) *process {
	t.Helper()
	return start(t, clientCmd(t, dir, name, args...))
}

func clientCmd(t testing.TB, dir, name string, args ...string) *exec.Cmd {
	t.Helper()
	return program(t, "client", dir, name, args...)
}

// program is a C client: client for queues, store, topic, channel.
func program(t testing.TB, which, dir, name string, args ...string) *exec.Cmd {
	t.Helper()
	built.Do(func() {
		cc, err := exec.LookPath("cc")
		if err != nil {
			built.skip = fmt.Sprintf("the C clients cannot be compiled here: %v", err)
			return
		}
		if built.dir, built.err = os.MkdirTemp("", "shiplap-client-"); built.err != nil {
			return
		}
		for _, p := range []string{"client", "store", "topic", "channel"} {
			out, err := exec.Command(cc, "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-o", filepath.Join(built.dir, p), "testdata/"+p+".c").CombinedOutput()
			if err != nil {
				built.err = errors.Join(built.err, fmt.Errorf("%s.c: %w\n%s", p, err, out))
			}
		}
	})
	if built.skip != "" {
		t.Skip(built.skip)
	}
	ok(t, built.err)
	return exec.Command(filepath.Join(built.dir, which), append([]string{dir, shiplap.DefaultDomain, name}, args...)...)
}

func setup(t *testing.T, opt queue.Options) (dir string, d *shiplap.Domain, q *queue.Raw) {
	t.Helper()
	dir = shmDir(t)
	d = join(t, dir)
	if opt.Capacity == 0 {
		opt.Capacity = 1 << 16
	}
	return dir, d, create(t, d, "q", opt)
}

func TestGoToC(t *testing.T) {
	dir, _, q := setup(t, queue.Options{})
	c := client(t, dir, "q", "get", "0")
	go func() {
		for i := range many {
			if err := q.Put(bg, line(i)); err != nil {
				t.Error(err)
				break
			}
		}
		if err := q.CloseQueue(); err != nil {
			t.Error(err)
		}
	}()
	c.lines(0, many)
	c.done()
}

func TestCToGo(t *testing.T) {
	dir, _, q := setup(t, queue.Options{})
	feed(t, clientCmd(t, dir, "q", "put"), 0, many)
	getAll(t, q, 0, many)
}

// feed starts a client that puts lines; the test fails unless it ends well.
func feed(t *testing.T, cmd *exec.Cmd, from, to int) {
	t.Helper()
	in, err := cmd.StdinPipe()
	ok(t, err)
	cmd.Stderr = os.Stderr
	ok(t, cmd.Start())
	var wg sync.WaitGroup
	wg.Go(func() {
		var b bytes.Buffer
		for i := from; i < to; i++ {
			b.Write(append(line(i), '\n'))
		}
		_, err := io.Copy(in, &b)
		if err := errors.Join(err, in.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(wg.Wait)
}

func getAll(t *testing.T, q *queue.Raw, from, to int) {
	t.Helper()
	var b []byte
	for i := from; i < to; i++ {
		var err error
		if b, err = q.Get(limited(t), b[:0]); err != nil || !bytes.Equal(b, line(i)) {
			t.Fatalf("message %d: %.80q, %v", i, b, err)
		}
	}
}

func recoveries(t *testing.T, d *shiplap.Domain, lock string) uint32 {
	t.Helper()
	locks, err := d.Locks("q")
	ok(t, err)
	for _, l := range locks {
		if l.Lock == lock {
			return l.Recoveries
		}
	}
	t.Fatalf("no lock %q", lock)
	return 0
}

// C dies with the consumer lock in its hands, in the middle of a stream; Go goes on.
func TestCDiesConsuming(t *testing.T) {
	dir, d, q := setup(t, queue.Options{})
	c := client(t, dir, "q", "get", fmt.Sprint(many/3), "consumer")
	var wg sync.WaitGroup
	t.Cleanup(func() { settle(t, q, &wg) })
	wg.Go(func() {
		for i := range many {
			if err := q.Put(bg, line(i)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	c.lines(0, many/3)
	c.says("held")
	died := time.Now()
	c.kill()
	getAll(t, q, many/3, many/3+1)
	t.Logf("taken over %v after SIGKILL", time.Since(died))
	getAll(t, q, many/3+1, many)
	if n := recoveries(t, d, "consumer"); n != 1 {
		t.Errorf("%d recoveries", n)
	}
}

// settle waits for the goroutines of a test. One that failed has them end, also if nobody takes what they put.
func settle(t *testing.T, q *queue.Raw, wg *sync.WaitGroup) {
	if t.Failed() {
		q.CloseQueue()
	}
	wg.Wait()
}

// Go dies with the consumer lock in its hands; C goes on.
func TestGoDiesConsuming(t *testing.T) {
	dir, d, q := setup(t, queue.Options{})
	g := goPeer(t, dir, "q", "consume", many/3)
	var wg sync.WaitGroup
	t.Cleanup(func() { settle(t, q, &wg) })
	wg.Go(func() {
		for i := range many {
			if err := q.Put(bg, line(i)); err != nil {
				t.Error(err)
				return
			}
		}
		if err := q.CloseQueue(); err != nil {
			t.Error(err)
		}
	})
	g.says("held")
	c := client(t, dir, "q", "get", "0")
	time.Sleep(20 * time.Millisecond) // asleep on the lock word
	g.kill()
	c.lines(many/3, many)
	c.done()
	if n := recoveries(t, d, "consumer"); n != 1 {
		t.Errorf("%d recoveries", n)
	}
}

// Go dies as the exclusive producer; C goes on putting where it stopped.
func TestGoDiesProducing(t *testing.T) {
	dir, d, q := setup(t, queue.Options{Capacity: 1 << 20})
	g := goPeer(t, dir, "q", "produce", 1000)
	g.says("held")
	feed(t, clientCmd(t, dir, "q", "put"), 1000, 2000)
	time.Sleep(20 * time.Millisecond)
	g.kill()
	getAll(t, q, 0, 2000)
	if n := recoveries(t, d, "producer"); n != 1 {
		t.Errorf("%d recoveries", n)
	}
}

// C dies at each step of a put, again and again; Go and C go on.
func TestCDiesPutting(t *testing.T) {
	for _, tt := range []struct {
		place string
		there bool
	}{{"before", false}, {"busy", false}, {"commit", true}, {"tail", true}} {
		for _, ack := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s ack=%v", tt.place, ack), func(t *testing.T) {
				dir, d, q := setup(t, queue.Options{Capacity: 4096, Ack: ack})
				for i := range 50 { // some rounds through the area
					c := client(t, dir, "q", "die", tt.place, strings.Repeat("y", 3*i))
					if _, err := io.Copy(io.Discard, c.out); err != nil {
						t.Fatal(err)
					}
					if err := c.Wait(); err == nil {
						t.Fatal("it lives")
					}
					ok(t, q.Put(limited(t), line(i)))
					if tt.there {
						b, err := q.Get(limited(t), nil)
						if err != nil || string(b) != strings.Repeat("y", 3*i) {
							t.Fatalf("%q, %v", b, err)
						}
					}
					getAll(t, q, i, i+1)
				}
				if n := recoveries(t, d, "producer"); n != 50 {
					t.Errorf("%d recoveries", n)
				}
				s, err := q.Stats()
				ok(t, err)
				if s.Depth != 0 || s.Used != 0 {
					t.Errorf("%+v", s)
				}
			})
		}
	}
}

// C dies busy; the queue is closed afterwards: consumers of both languages find it drained.
func TestCDiesBusyAndClosed(t *testing.T) {
	for _, lang := range []string{"go", "c"} {
		dir, _, q := setup(t, queue.Options{})
		c := client(t, dir, "q", "die", "busy", "never seen")
		io.Copy(io.Discard, c.out)
		c.Wait()
		client(t, dir, "q", "close").done()
		if lang == "c" {
			client(t, dir, "q", "get", "0").done()
			continue
		}
		if b, err := q.Get(limited(t), nil); !errors.Is(err, shiplap.ErrClosed) {
			t.Errorf("%q, %v", b, err)
		}
	}
}

// Go is killed at any moment of its puts, C of its gets: what is taken is a prefix, in order.
func TestKilledAnywhere(t *testing.T) {
	for round := range 20 {
		dir, d, q := setup(t, queue.Options{Capacity: 4096})
		g := goPeer(t, dir, "q", "put", 0)
		g.says("putting")
		c := client(t, dir, "q", "get", "0")
		var all []byte
		var read sync.WaitGroup
		read.Go(func() { all, _ = io.ReadAll(c.out) })
		time.Sleep(time.Duration(round) * 500 * time.Microsecond)
		g.kill()
		ok(t, q.Put(limited(t), []byte("last")))
		client(t, dir, "q", "close").done()
		read.Wait()
		ok(t, c.Wait())
		lines := strings.Split(strings.TrimSuffix(string(all), "\n"), "\n")
		for i, l := range lines {
			if last := i == len(lines)-1; last && l != "last" || !last && l != string(line(i)) {
				t.Fatalf("line %d of %d is %.80q", i, len(lines), l)
			}
		}
		members, err := d.Members()
		ok(t, err)
		for _, m := range members {
			if m.Pid == g.Process.Pid && m.Alive {
				t.Error("a dead member lives")
			}
		}
	}
}

func TestAckAcrossLanguages(t *testing.T) {
	dir, _, q := setup(t, queue.Options{Ack: true})
	for i := range 6 {
		ok(t, q.Put(bg, line(i)))
	}
	c := client(t, dir, "q", "lease", "3")
	for i := range 3 {
		c.says(fmt.Sprintf("1 %s", line(i)))
	}
	c.says("leased")
	c.kill()
	g := goPeer(t, dir, "q", "lease", 6) // three new ones, then those of the dead
	g.says("held")
	g.kill()
	c = client(t, dir, "q", "nack", "1")
	c.says(fmt.Sprintf("3 %s", line(0)))
	c.done()
	seen := map[string]int{}
	for range 3 {
		del, err := q.Receive(limited(t))
		ok(t, err)
		seen[string(del.Body)] = del.Count
		ok(t, del.Ack())
	}
	c = client(t, dir, "q", "receive", "0")
	ok(t, q.CloseQueue())
	for range 3 {
		s, err := c.out.ReadString('\n')
		ok(t, err)
		var n int
		count, body, _ := strings.Cut(strings.TrimSuffix(s, "\n"), " ")
		fmt.Sscan(count, &n)
		seen[body] = n
	}
	c.done()
	for i, n := range []int{4, 3, 3, 2, 2, 2} {
		if seen[string(line(i))] != n {
			t.Errorf("message %d was handed out %d times; %d is wanted", i, seen[string(line(i))], n)
		}
	}
	if _, err := q.Receive(limited(t)); !errors.Is(err, shiplap.ErrClosed) {
		t.Error(err)
	}
}

// Both languages receive and acknowledge from a small queue at once.
func TestAckTogether(t *testing.T) {
	const n = many / 5
	dir, _, q := setup(t, queue.Options{Ack: true, Capacity: 1 << 14})
	c := client(t, dir, "q", "receive", "0")
	seen := make(map[string]int, n)
	var mu sync.Mutex
	saw := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		seen[s]++
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			if err := q.Put(limited(t), line(i)); err != nil {
				t.Error(err)
				break
			}
		}
		if err := q.CloseQueue(); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		for del, err := range q.Deliveries(limited(t)) {
			if err == nil {
				saw(string(del.Body))
				err = del.Ack()
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	inC := 0
	for {
		s, err := c.out.ReadString('\n')
		if err != nil {
			break
		}
		inC++
		saw(strings.TrimPrefix(strings.TrimSuffix(s, "\n"), "1 "))
	}
	ok(t, c.Wait())
	wg.Wait()
	for i := range n {
		if seen[string(line(i))] != 1 {
			t.Errorf("message %d came %d times", i, seen[string(line(i))])
		}
	}
	t.Logf("%d of %d in C", inC, n)
}

func TestRemovedUnderC(t *testing.T) {
	dir, d, _ := setup(t, queue.Options{})
	cmd := clientCmd(t, dir, "q", "get", "1")
	var msg bytes.Buffer
	cmd.Stderr = &msg
	ok(t, cmd.Start())
	eventually(t, "the client has the queue open", func() bool {
		in, err := d.Stat("q")
		return err == nil && len(in.Users) == 2
	})
	ok(t, d.Remove(limited(t), "q"))
	if err := cmd.Wait(); err == nil || !strings.Contains(msg.String(), "removed") {
		t.Errorf("%v: %s", err, &msg)
	}
}
