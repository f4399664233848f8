package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/store"
)

// open joins a domain and makes a store in it that goes with its last user.
func open(name string) (s *store.Store, done func()) {
	dir, err := os.MkdirTemp("/dev/shm", "shiplap-example-")
	if err != nil {
		panic(err)
	}
	d, err := shiplap.Join("", &shiplap.Options{Dir: dir}) // nil for /dev/shm
	if err != nil {
		panic(err)
	}
	s, err = store.Create(d, name, &store.Options{MaxBytes: 1 << 20, Keys: 100, Ephemeral: true})
	if err != nil {
		panic(err)
	}
	return s, func() {
		s.Close()
		d.Close()
		os.RemoveAll(dir)
	}
}

func Example() {
	s, done := open("config")
	defer done()
	ctx := context.Background()

	_, _ = s.Set(ctx, "color", []byte("green"))
	b, err := s.Get("color") // in this process or in any other
	fmt.Println(string(b), err)
	b, err = s.GetOr("shape", []byte("round"))
	fmt.Println(string(b), err)
	keys, err := s.Keys(ctx, "")
	fmt.Println(keys, err)
	// Output:
	// green <nil>
	// round <nil>
	// [color] <nil>
}

// Typed values. Text and whole numbers can be read, and counted, by everybody.
func ExampleAs() {
	s, done := open("typed")
	defer done()
	ctx := context.Background()

	type user struct {
		Name string
		Age  int
	}
	users := store.As[user](s)
	_, _ = users.Set(ctx, "user:1", user{"Ann", 41})
	u, err := users.Get("user:1")
	fmt.Println(u.Name, u.Age, err)

	visits, _ := s.Add(ctx, "visits", 2)
	n, err := store.Get[int](s, "visits")
	fmt.Println(visits, n, err)
	_, err = store.Get[int](s, "user:1")
	fmt.Println(err != nil)
	// Output:
	// Ann 41 <nil>
	// 2 2 <nil>
	// true
}

// Update changes a key only if nobody else did since it was read.
func ExampleStore_Update() {
	s, done := open("update")
	defer done()
	ctx := context.Background()

	rev, _ := s.Create(ctx, "leader", []byte("a"))
	_, _ = s.Set(ctx, "leader", []byte("b")) // somebody was faster
	_, err := s.Update(ctx, "leader", []byte("a again"), rev)
	fmt.Println(errors.Is(err, shiplap.ErrConflict))

	e, _ := s.Entry("leader")
	_, err = s.Update(ctx, "leader", []byte("c"), e.Revision)
	fmt.Println(err)
	_, err = s.Create(ctx, "leader", nil)
	fmt.Println(errors.Is(err, shiplap.ErrExist))
	// Output:
	// true
	// <nil>
	// true
}

func ExampleStore_Watch() {
	s, done := open("watch")
	defer done()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	_, _ = s.Set(ctx, "user:1", []byte("Ann"))
	events := s.Watch(ctx, "user:*", &store.WatchOptions{Initial: true}) // from here on nothing is missed
	_, _ = s.Set(ctx, "user:2", []byte("Bob"))
	_, _ = s.Set(ctx, "other", nil)
	told := map[string]string{}
	for e, err := range events {
		if err != nil {
			fmt.Println(err)
			break
		}
		if told[e.Key] = string(e.Value); len(told) == 2 {
			break
		}
	}
	_ = s.Delete(ctx, "user:1")
	for e, err := range events { // goes on where the first loop stopped
		fmt.Println(told, e.Key, e.Deleted, err)
		break
	}
	// Output: map[user:1:Ann user:2:Bob] user:1 true <nil>
}

// A key's lock excludes all processes that lock the same key. It survives its holder.
func ExampleStore_Lock() {
	s, done := open("locks")
	defer done()
	ctx := context.Background()

	l, err := s.Lock(ctx, "account:7")
	if errors.Is(err, shiplap.ErrOwnerDied) {
		// Somebody died in here: look after account:7, then say so.
		err = l.Repaired()
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = s.TryLock("account:7")
	fmt.Println(err)
	fmt.Println(l.Unlock())
	// Output:
	// busy
	// <nil>
}

func ExampleTTL() {
	s, done := open("ttl")
	defer done()
	ctx := context.Background()

	_, _ = s.Set(ctx, "session", []byte("x"), store.TTL(time.Hour))
	left, err := s.TTL("session")
	fmt.Println(left.Round(time.Hour), err)
	_ = s.Expire(ctx, "session", 0)
	_, err = s.Get("session")
	fmt.Println(errors.Is(err, shiplap.ErrNotExist))
	// Output:
	// 1h0m0s <nil>
	// true
}

func ExampleStore_Dump() {
	s, done := open("dump")
	defer done()
	ctx := context.Background()

	_, _ = s.Set(ctx, "b", []byte("two"))
	_, _ = s.Set(ctx, "a", []byte{0xff})
	var file bytes.Buffer
	n, err := s.Dump(ctx, &file, "")
	fmt.Println(n, err)
	fmt.Print(file.String())
	_ = s.Clear(ctx)
	n, err = s.Load(ctx, &file)
	fmt.Println(n, err)
	// Output:
	// 2 <nil>
	// {"key":"a","value_base64":"/w==","revision":2}
	// {"key":"b","value":"two","revision":1}
	// 2 <nil>
}
