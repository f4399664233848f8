package layouttest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/store"
)

// storeClient is the C client of a store, which does what it is told line by line.
type storeClient struct {
	*process
	in io.WriteCloser
}

// storeIn starts one; with steps it dies in the place of the store to shared memory of that number.
func storeIn(t testing.TB, dir string, steps ...string) *storeClient {
	t.Helper()
	cmd := program(t, "store", dir, "s", append([]string{"run"}, steps...)...)
	in, err := cmd.StdinPipe()
	ok(t, err)
	return &storeClient{start(t, cmd), in}
}

func (c *storeClient) tell(format string, a ...any) {
	c.t.Helper()
	_, err := fmt.Fprintf(c.in, format+"\n", a...)
	ok(c.t, err)
}

// does tells it and compares what it says.
func (c *storeClient) does(want, format string, a ...any) {
	c.t.Helper()
	c.tell(format, a...)
	c.says(want)
}

func (c *storeClient) end() {
	c.t.Helper()
	ok(c.t, c.in.Close())
	c.done()
}

func TestStoreGoToC(t *testing.T) {
	dir := shmDir(t)
	d := join(t, dir)
	s := newStore(t, d, store.Options{MaxBytes: 1 << 20, Keys: 32})
	for i := range 300 { // in 16 buckets
		set(t, s, fmt.Sprint("k", i), string(line(i)))
	}
	for i := 0; i < 300; i += 3 {
		ok(t, s.Delete(bg, fmt.Sprint("k", i)))
	}
	set(t, s, "long", "lived", store.TTL(time.Hour))
	_, err := store.Set(bg, s, "n", 17)
	ok(t, err)
	set(t, s, "j", `{"a":1}`, store.Encoded(store.FormatJSON))
	set(t, s, "short", "lived", store.TTL(time.Nanosecond)) // last: that its memory comes back is a change of its own
	c := storeIn(t, dir)
	for i := range 300 {
		c.tell("get k%d", i)
	}
	for i := range 300 {
		if i%3 == 0 {
			c.says("none")
			continue
		}
		c.says(fmt.Sprintf("0 %d %s", i+1, line(i)))
	}
	c.does("none", "get short")
	c.does("0 401 lived", "get long")
	c.does("0 402 17", "get n")
	c.does(`2 403 {"a":1}`, "get j")
	ok(t, s.Clear(bg))
	c.does("none", "get k1")
	c.does("none", "get j")
	c.end()
}

// random is a history: each line is an order to C, and what the model holds after it.
func random(rng *rand.Rand, model map[string]string, prefix string) string {
	key := fmt.Sprint(prefix, rng.IntN(150))
	switch n := rng.IntN(40); {
	case n < 12:
		delete(model, key)
		return "delete " + key
	case n == 13 && rng.IntN(10) == 0:
		clear(model)
		return "clear"
	case n == 14:
		delete(model, key)
		return fmt.Sprintf("expire %s 0 gone", key)
	case n == 15:
		model[key] = "later"
		return fmt.Sprintf("expire %s 3600 later", key)
	}
	model[key] = strings.Repeat("v", 1+rng.IntN(60)*rng.IntN(30))
	return fmt.Sprintf("set %s %s", key, model[key])
}

// holds compares a store with a model, in Go and by the page.
func holds(t *testing.T, d *shiplap.Domain, s *store.Store, model map[string]string) {
	t.Helper()
	ok(t, s.Check(bg))
	all := readStore(t, d.Dir(), "s").check()
	for key, v := range model {
		if got, err := s.Get(key); err != nil || string(got) != v || all[key].value != v {
			t.Fatalf("%q is %.20q, %v, %.20q by the page; %.20q is wanted", key, got, err, all[key].value, v)
		}
	}
	entries, err := s.All(bg, "")
	ok(t, err)
	if len(entries) != len(model) || len(all) != len(model) {
		t.Fatalf("%d entries, %d by the page; %d are wanted", len(entries), len(all), len(model))
	}
}

func TestStoreCToGo(t *testing.T) {
	for seed := range uint64(4) {
		dir := shmDir(t)
		d := join(t, dir)
		s := newStore(t, d, store.Options{MaxBytes: 1 << 20, Keys: []int{32, 600}[seed%2]})
		c := storeIn(t, dir)
		rng := rand.New(rand.NewPCG(seed, 1))
		model := map[string]string{}
		for i := range 100 {
			for range 20 {
				c.tell("%s", random(rng, model, "k"))
			}
			for range 20 {
				if answer, err := c.out.ReadString('\n'); err != nil || answer == "full\n" {
					t.Fatalf("%q, %v", answer, err)
				}
			}
			key := fmt.Sprint("k", rng.IntN(150)) // and Go in between
			if i%2 == 0 {
				delete(model, key)
				if err := s.Delete(bg, key); err != nil && !errors.Is(err, shiplap.ErrNotExist) {
					t.Fatal(err)
				}
			} else {
				model[key] = string(line(i))
				set(t, s, key, model[key])
			}
			if i%20 == 19 {
				holds(t, d, s, model)
			}
		}
		c.end()
		holds(t, d, s, model)
		_, err := s.Reclaim(bg)
		ok(t, err)
		holds(t, d, s, model)
	}
}

// A store without room: C says so, changes nothing, and Go finds room for what Go needs.
func TestStoreFullInC(t *testing.T) {
	dir := shmDir(t)
	d := join(t, dir)
	s := newStore(t, d, store.Options{MaxBytes: 256 << 10, Keys: 32})
	c := storeIn(t, dir)
	model := map[string]string{}
	for i := 0; ; i++ {
		key, v := fmt.Sprint("k", i), strings.Repeat("v", 1500)
		c.tell("set %s %s", key, v)
		answer, err := c.out.ReadString('\n')
		ok(t, err)
		if answer == "full\n" {
			break
		}
		model[key] = v
	}
	if len(model) < 100 {
		t.Errorf("full after %d entries", len(model))
	}
	holds(t, d, s, model)
	ok(t, s.Delete(bg, "k1"))
	delete(model, "k1")
	model["small"] = strings.Repeat("w", 1400)
	c.tell("set small %s", model["small"])
	if answer, err := c.out.ReadString('\n'); err != nil || answer == "full\n" {
		t.Errorf("%q, %v", answer, err)
	}
	c.end()
	holds(t, d, s, model)
}

// Both languages change one store at once, each its own keys, and read each other's.
func TestStoreTogether(t *testing.T) {
	dir := shmDir(t)
	d := join(t, dir)
	s := newStore(t, d, store.Options{MaxBytes: 1 << 20, Keys: 32})
	c := storeIn(t, dir)
	model := map[string]string{}
	rng := rand.New(rand.NewPCG(3, 1))
	var orders strings.Builder
	for range 4000 {
		if order := random(rng, model, "c"); order != "clear" {
			fmt.Fprintln(&orders, order)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := io.WriteString(c.in, orders.String()); err != nil {
			t.Error(err)
		}
	})
	said := make(chan error, 1)
	go func() {
		for range strings.Count(orders.String(), "\n") {
			if _, err := c.out.ReadString('\n'); err != nil {
				said <- err
				return
			}
		}
		said <- nil
	}()
	own := map[string]string{}
	n := 0
	for done := false; !done; n++ {
		key := fmt.Sprint("g", n%100)
		own[key] = string(line(n))
		set(t, s, key, own[key])
		if _, err := s.Get(fmt.Sprint("c", n%150)); err != nil && !errors.Is(err, shiplap.ErrNotExist) {
			t.Fatal(err)
		}
		select {
		case err := <-said:
			ok(t, err)
			done = true
		default:
		}
	}
	wg.Wait()
	c.end()
	t.Logf("%d sets of Go beside %d orders of C", n, strings.Count(orders.String(), "\n"))
	all := map[string]string{}
	entries, err := s.All(bg, "")
	ok(t, err)
	for _, e := range entries {
		all[e.Key] = string(e.Value)
	}
	if strings.Contains(orders.String(), "clear") {
		t.Fatal("clear")
	}
	for key, v := range own {
		if all[key] != v {
			t.Errorf("%q is %.20q; %.20q is wanted", key, all[key], v)
		}
	}
	ok(t, s.Check(bg))
	readStore(t, d.Dir(), "s").check()
}

// Whoever reads while the other language writes gets whole values.
func TestStoreNoTornValues(t *testing.T) {
	dir := shmDir(t)
	d := join(t, dir)
	s := newStore(t, d, store.Options{MaxBytes: 1 << 20, Keys: 32})
	value := func(i int) string { return strings.Repeat(string(rune('a'+i%26)), 100+i*37%4000) }
	set(t, s, "x", value(0))
	c := storeIn(t, dir)
	c.tell("hammer x 20000")
	done := make(chan string, 1)
	go func() {
		answer, _ := c.out.ReadString('\n')
		done <- answer
	}()
	n := 0
	for going := true; going; n++ {
		set(t, s, "x", value(n))
		select {
		case answer := <-done:
			if going = false; answer != "whole\n" {
				t.Fatalf("it says %q", answer)
			}
		default:
		}
	}
	t.Logf("%d sets of Go under 20000 gets of C", n)
	var orders strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&orders, "set x %s\n", value(i))
	}
	go io.WriteString(c.in, orders.String())
	answers := make(chan error, 1)
	go func() {
		for range 3000 {
			if _, err := c.out.ReadString('\n'); err != nil {
				answers <- err
				return
			}
		}
		answers <- nil
	}()
	n = 0
	for {
		b, err := s.Get("x")
		if err != nil || strings.Trim(string(b), string(b[:1])) != "" {
			t.Fatalf("%.100q, %v", b, err)
		}
		n++
		select {
		case err := <-answers:
			ok(t, err)
			c.end()
			t.Logf("%d gets of Go under 3000 sets of C", n)
			return
		default:
		}
	}
}

// C dies in the place of each of its stores to shared memory, in each sort of change; Go goes on, and finds the old value
// or the new one, from some store on always the new one.
func TestStoreCDies(t *testing.T) {
	filler := func(t *testing.T, s *store.Store, n, size int) {
		for i := range n {
			set(t, s, fmt.Sprint("f", i), strings.Repeat("f", size))
		}
	}
	neighbours := func(t *testing.T, s *store.Store, d *shiplap.Domain, n int) { // as many keys of the bucket of x
		f := readStore(t, d.Dir(), "s")
		for i := 0; n > 0; i++ {
			if key := fmt.Sprint("n", i); f.hash(key)%uint64(f.b) == f.hash("x")%uint64(f.b) {
				set(t, s, key, "value")
				n--
			}
		}
	}
	long := strings.Repeat("n", 1500)
	for _, tt := range []struct {
		name    string
		prepare func(t *testing.T, s *store.Store, d *shiplap.Domain) // leaves key x with the value "old", or without one
		order   string
		old     string // "" for none
		new     string
	}{
		{"new at the top", func(*testing.T, *store.Store, *shiplap.Domain) {}, "set x new", "", "new"},
		{"new in a free block", func(t *testing.T, s *store.Store, _ *shiplap.Domain) {
			filler(t, s, 3, 4000)
			ok(t, s.Delete(bg, "f1"))
		}, "set x " + long, "", long},
		{"new from the spare blocks", func(t *testing.T, s *store.Store, _ *shiplap.Domain) {
			filler(t, s, 1, 10)
			filler(t, s, 1, 10)
		}, "set x new", "", "new"},
		{"new in an overflow bucket", func(t *testing.T, s *store.Store, d *shiplap.Domain) { neighbours(t, s, d, 7) }, "set x new", "", "new"},
		{"new in a second one", func(t *testing.T, s *store.Store, d *shiplap.Domain) { neighbours(t, s, d, 13) }, "set x new", "", "new"},
		{"replaced by one of its size", func(t *testing.T, s *store.Store, _ *shiplap.Domain) { set(t, s, "x", "old") }, "set x new", "old", "new"},
		{"replaced by a longer one", func(t *testing.T, s *store.Store, _ *shiplap.Domain) {
			set(t, s, "x", "old")
			filler(t, s, 2, 10)
		}, "expire x 3600 " + long, "old", long},
		{"replaced by a shorter one", func(t *testing.T, s *store.Store, _ *shiplap.Domain) {
			filler(t, s, 2, 2000)
			set(t, s, "x", long)
			ok(t, s.Delete(bg, "f1"))
			filler(t, s, 1, 2)
		}, "set x new", long, "new"},
		{"deleted", func(t *testing.T, s *store.Store, _ *shiplap.Domain) {
			filler(t, s, 2, 2000)
			set(t, s, "x", long)
			filler(t, s, 3, 2000)
			ok(t, s.Delete(bg, "f1"))
		}, "delete x", long, ""},
		{"deleted from an overflow bucket", func(t *testing.T, s *store.Store, d *shiplap.Domain) {
			neighbours(t, s, d, 7)
			set(t, s, "x", "old")
		}, "delete x", "old", ""},
		{"deleted from a second one", func(t *testing.T, s *store.Store, d *shiplap.Domain) {
			neighbours(t, s, d, 13)
			set(t, s, "x", "old")
		}, "delete x", "old", ""},
		{"cleared", func(t *testing.T, s *store.Store, _ *shiplap.Domain) { set(t, s, "x", "old") }, "clear", "old", ""},
	} {
		for stripes, keys := range map[int]int{1: 32, 4: 600} {
			t.Run(fmt.Sprint(tt.name, ", stripes: ", stripes), func(t *testing.T) {
				dir := shmDir(t)
				d := join(t, dir)
				s := newStore(t, d, store.Options{MaxBytes: 256 << 10, Keys: keys, Locks: 1})
				tt.prepare(t, s, d)
				img := file(t, d, "s")
				f, err := os.OpenFile(filepath.Join(d.Dir(), "s"), os.O_RDWR, 0)
				ok(t, err)
				defer f.Close()
				committed, places := false, 0
				for died := true; died; places++ {
					_, err := f.WriteAt(img, 0) // as it was
					ok(t, err)
					c := storeIn(t, dir, fmt.Sprint(places))
					c.tell("%s", tt.order)
					ok(t, c.in.Close())
					answer, _ := io.ReadAll(c.out)
					died = c.Wait() != nil
					if died == (len(answer) > 0) {
						t.Fatalf("it says %q, and died: %v", answer, died)
					}
					if places%4 != 0 { // whoever comes first goes on
						set(t, s, "other", "value")
					} else {
						c := storeIn(t, dir)
						c.tell("set other value")
						if a, err := c.out.ReadString('\n'); err != nil || a == "full\n" {
							t.Fatalf("%q, %v", a, err)
						}
						c.end()
					}
					got, err := s.Get("x")
					if err != nil && !errors.Is(err, shiplap.ErrNotExist) {
						t.Fatal(err)
					}
					is := string(got)
					if is != tt.old && is != tt.new || committed && is != tt.new || !died && is != tt.new {
						t.Fatalf("at store %d: %.20q, committed: %v", places, is, committed)
					}
					committed = is == tt.new
					ok(t, s.Check(bg))
					readStore(t, d.Dir(), "s").check()
				}
				if !committed {
					t.Error("never")
				}
				t.Logf("%d places", places)
			})
		}
	}
}

// Go is killed at any moment of its sets; C goes on.
func TestStoreGoDies(t *testing.T) {
	dir := shmDir(t)
	d := join(t, dir)
	s := newStore(t, d, store.Options{MaxBytes: 1 << 20, Keys: 32})
	c := storeIn(t, dir)
	for i := range 20 {
		g := goPeer(t, dir, "s", "store", i)
		for range 1 + i*7 {
			if _, err := g.out.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		g.kill()
		c.tell("set mine %d", i)
		if answer, err := c.out.ReadString('\n'); err != nil || answer == "full\n" {
			t.Fatalf("%q, %v", answer, err)
		}
		readStore(t, d.Dir(), "s").check()
		if b, err := s.Get("mine"); err != nil || string(b) != fmt.Sprint(i) {
			t.Errorf("%q, %v", b, err)
		}
		ok(t, s.Check(bg))
	}
	c.end()
	locks, err := d.Locks("s")
	ok(t, err)
	t.Logf("%d of 20 died with the lock", locks[2].Recoveries)
}

func TestStoreAwait(t *testing.T) {
	dir := shmDir(t)
	d := join(t, dir)
	s := newStore(t, d, store.Options{MaxBytes: 1 << 20, Keys: 32})
	set(t, s, "a", "b")
	c := storeIn(t, dir)
	c.tell("await 2")
	eventually(t, "C sleeps", func() bool { return readStore(t, d.Dir(), "s").ctl("changed sleeps") > 0 })
	set(t, s, "a", "c")
	c.says("2")
	woken := make(chan error, 1)
	ctx := limited(t)
	go func() {
		for e, err := range s.Watch(ctx, "x", nil) {
			if err == nil && string(e.Value) != "y" {
				err = fmt.Errorf("%q", e.Value)
			}
			woken <- err
			return
		}
	}()
	eventually(t, "Go sleeps", func() bool { return readStore(t, d.Dir(), "s").ctl("changed sleeps") > 1 })
	c.does("3", "set x y")
	ok(t, <-woken)
	c.end()
}

func TestStoreKeyLocks(t *testing.T) {
	dir := shmDir(t)
	d := join(t, dir)
	s := newStore(t, d, store.Options{MaxBytes: 1 << 20, Locks: 2})
	c := storeIn(t, dir)
	c.does("held", "lock a")
	if _, err := s.TryLock("a"); !errors.Is(err, shiplap.ErrBusy) {
		t.Error(err)
	}
	l, err := s.TryLock("b")
	ok(t, err)
	if _, err := s.TryLock("c"); !errors.Is(err, shiplap.ErrFull) {
		t.Error(err)
	}
	c.kill()
	a, err := s.Lock(limited(t), "a")
	if !errors.Is(err, shiplap.ErrOwnerDied) {
		t.Fatal(err)
	}
	ok(t, a.Repaired())
	ok(t, a.Unlock())
	ok(t, l.Unlock())

	c = storeIn(t, dir)
	c.does("held", "lock a")
	c.does("unlocked", "unlock")
	g := goPeer(t, dir, "s", "storelock", 0)
	g.says("held")
	c.tell("lock key")
	g.kill()
	c.says("damaged")
	c.kill() // nobody repaired it: the next one is told too
	k, err := s.Lock(limited(t), "key")
	if !errors.Is(err, shiplap.ErrOwnerDied) {
		t.Fatal(err)
	}
	ok(t, k.Unlock())
	c = storeIn(t, dir)
	c.does("damaged", "lock key")
	c.does("unlocked", "unlock")
	k, err = s.Lock(limited(t), "key")
	if !errors.Is(err, shiplap.ErrOwnerDied) {
		t.Fatal(err)
	}
	ok(t, k.Repaired())
	ok(t, k.Unlock())
	c.does("held", "lock key")
	c.does("unlocked", "unlock")
	c.end()
}
