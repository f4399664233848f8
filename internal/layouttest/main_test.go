package layouttest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
	"github.com/shiplap-ipc/shiplap/lock"
	"github.com/shiplap-ipc/shiplap/proc"
	"github.com/shiplap-ipc/shiplap/queue"
	"github.com/shiplap-ipc/shiplap/store"
)

var bg = context.Background()

// TestMain is a peer or the test run, which must leave nothing behind.
func TestMain(m *testing.M) {
	proc.Init() // a manager's copies of this program
	if s := os.Getenv("LAYOUTTEST_PEER"); s != "" {
		if err := peer(strings.Fields(s)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goroutines, files := runtime.NumGoroutine(), descriptors()
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	var left string
	for range 200 {
		if left = leftovers(goroutines, files); left == "" || code != 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if left != "" && code == 0 {
		fmt.Fprintln(os.Stderr, "left behind:", left)
		code = 1
	}
	os.Exit(code)
}

func leftovers(goroutines, files int) (left string) {
	if n := runtime.NumGoroutine(); n > goroutines {
		buf := make([]byte, 1<<16)
		left += fmt.Sprintf("%d goroutines, %d before\n%s", n, goroutines, buf[:runtime.Stack(buf, true)])
	}
	if n := descriptors(); n > files+3 { // the network poller's own may have come
		left += fmt.Sprintf("%d descriptors, %d before\n", n, files)
	}
	list, _ := filepath.Glob("/proc/self/task/*/children")
	for _, l := range list {
		b, _ := os.ReadFile(l)
		left += string(b)
	}
	return left
}

func descriptors() int {
	list, _ := os.ReadDir("/proc/self/fd")
	return len(list)
}

func shmDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "shiplap-layout-")
	ok(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func join(t testing.TB, dir string) *shiplap.Domain {
	t.Helper()
	d, err := shiplap.Join("", &shiplap.Options{Dir: dir})
	ok(t, err)
	t.Cleanup(func() { ok(t, d.Close()) })
	return d
}

// create makes a queue of bytes whose handles sleep at once.
func create(t testing.TB, d *shiplap.Domain, name string, opt queue.Options) *queue.Raw {
	t.Helper()
	opt.Wait = shiplap.WaitSleep
	q, err := queue.CreateRaw(d, name, &opt)
	ok(t, err)
	t.Cleanup(func() {
		if err := q.Close(); err != nil && !errors.Is(err, shiplap.ErrClosed) {
			t.Error(err)
		}
	})
	return q
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !f(); time.Sleep(200 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// limited is a context for what must not take long.
func limited(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(bg, time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// peer is a Go process that the tests kill: DIR QUEUE MODE N.
func peer(args []string) error {
	d, err := shiplap.Join("", &shiplap.Options{Dir: args[0]})
	if err != nil {
		return err
	}
	if args[2] == "join" {
		return forever("joined")
	}
	if args[2] == "mutex" {
		m, err := lock.OpenMutex(d, args[1])
		if err == nil {
			err = m.Lock(bg)
		}
		if err != nil {
			return err
		}
		return forever("held")
	}
	if strings.HasPrefix(args[2], "store") {
		return storePeer(d, args[1], args[2])
	}
	if args[2] == "topic" {
		return topicPeer(d, args[1])
	}
	if strings.HasPrefix(args[2], "channel") {
		if args[2] == "channelbytes" {
			_, err = channel.Set[[]byte](d, args[1], nil)
		} else {
			_, err = channel.Set[int64](d, args[1], nil)
		}
		if err != nil {
			return err
		}
		return forever("held")
	}
	q, err := queue.OpenRaw(d, args[1], nil)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	switch args[2] {
	case "produce": // as the exclusive producer
		p, err := q.Producer(bg)
		for i := 0; err == nil && i < n; i++ {
			err = p.Put(bg, line(i))
		}
		if err != nil {
			return err
		}
	case "put": // until killed
		fmt.Println("putting")
		for i := 0; err == nil; i++ {
			err = q.Put(bg, line(i))
		}
		return err
	case "consume": // as the exclusive consumer
		c, err := q.Consumer(bg)
		for i := 0; err == nil && i < n; i++ {
			var b []byte
			if b, err = c.Get(bg, b); err == nil && string(b) != string(line(i)) {
				err = fmt.Errorf("message %d is %q", i, b)
			}
		}
		if err != nil {
			return err
		}
	case "lease":
		for range n {
			if _, err := q.Receive(bg); err != nil {
				return err
			}
		}
	}
	return forever("held")
}

// storePeer locks the key "key", or sets keys until it is killed.
func storePeer(d *shiplap.Domain, name, mode string) error {
	s, err := store.Open(d, name, nil)
	if err != nil {
		return err
	}
	if mode == "storelock" {
		if _, err := s.Lock(bg, "key"); err != nil {
			return err
		}
		return forever("held")
	}
	for i := 0; ; i++ {
		if _, err := s.Set(bg, fmt.Sprint("go", i%100), line(i*37)); err != nil {
			return err
		}
		fmt.Println(i)
	}
}

func forever(say string) error {
	fmt.Println(say)
	time.Sleep(time.Hour)
	return nil
}

// line is message i: lengths vary, so that records wrap at all places.
func line(i int) []byte {
	return fmt.Appendf(nil, "%d %s", i, strings.Repeat("x", i%61))
}

// process is a peer of either language.
type process struct {
	*exec.Cmd
	out *bufio.Reader
	t   testing.TB
}

func start(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	out, err := cmd.StdoutPipe()
	ok(t, err)
	cmd.Stderr = os.Stderr
	ok(t, cmd.Start())
	p := &process{cmd, bufio.NewReaderSize(out, 1<<16), t}
	t.Cleanup(p.kill)
	return p
}

func goPeer(t testing.TB, dir, name, mode string, n int) *process {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), fmt.Sprintf("LAYOUTTEST_PEER=%s %s %s %d", dir, name, mode, n))
	return start(t, cmd)
}

// kill is SIGKILL; it returns when the process is gone.
func (p *process) kill() {
	if p.ProcessState == nil {
		p.Process.Kill()
		p.Wait()
	}
}

// says reads one line and compares it.
func (p *process) says(want string) {
	p.t.Helper()
	got, err := p.out.ReadString('\n')
	if err != nil || strings.TrimSuffix(got, "\n") != want {
		p.t.Fatalf("it says %.80q (%v); %.80q is wanted", got, err, want)
	}
}

// lines reads messages from to up to.
func (p *process) lines(from, to int) {
	p.t.Helper()
	for i := from; i < to; i++ {
		p.says(string(line(i)))
	}
}

// done waits for a good end without further output.
func (p *process) done() {
	p.t.Helper()
	if rest, err := p.out.ReadString('\n'); rest != "" {
		p.t.Fatalf("it says %.80q (%v) at the end", rest, err)
	}
	ok(p.t, p.Wait())
}
