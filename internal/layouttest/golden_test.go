package layouttest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/member"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/row"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/internal/segment"
	hashtable "github.com/shiplap-ipc/shiplap/internal/table"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
	"github.com/shiplap-ipc/shiplap/pipe"
	"github.com/shiplap-ipc/shiplap/queue"
	"github.com/shiplap-ipc/shiplap/store"
	"github.com/shiplap-ipc/shiplap/topic"
)

// file reads a whole file of the domain.
func file(t testing.TB, d *shiplap.Domain, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(d.Dir(), name))
	ok(t, err)
	return b
}

func self(t testing.TB, d *shiplap.Domain) shiplap.Process {
	t.Helper()
	members, err := d.Members()
	ok(t, err)
	for _, m := range members {
		if m.Pid == os.Getpid() {
			return m
		}
	}
	t.Fatal("not a member")
	return shiplap.Process{}
}

// recent checks a time of this test run.
var recent = check(func(v uint64) error {
	if age := time.Since(time.Unix(0, int64(v))); age < 0 || age > time.Hour {
		return fmt.Errorf("%d is %v ago", v, age)
	}
	return nil
})

// positive checks counters of events that may come more than once.
var positive = check(func(v uint64) error {
	if v == 0 || v > 1000 {
		return fmt.Errorf("%d is no count", v)
	}
	return nil
})

func TestConstants(t *testing.T) {
	d := join(t, shmDir(t))
	q := create(t, d, "q", queue.Options{Capacity: 4096})
	if _, err := queue.CreateRaw(d, "label", &queue.Options{Label: strings.Repeat("l", 257)}); !errors.Is(err, shiplap.ErrTooLarge) {
		t.Errorf("a label of 257 bytes: %v", err)
	}
	if f, err := segment.FileName(strings.Repeat("%", 80)); err != nil || len(f) != 240 {
		t.Errorf("%q, %v", f, err)
	}
	if f, err := segment.FileName(strings.Repeat("%", 79) + "aaaa"); err == nil {
		t.Errorf("%d bytes", len(f))
	}
	l, err := pipe.Listen(d, "l", nil)
	ok(t, err)
	defer l.Close()
	want := map[string]int{
		"layout version":     segment.Layout,
		"header size":        object.HeaderSize,
		"member slots":       member.Slots,
		"members file size":  len(file(t, d, member.FileName)),
		"lock record size":   wordlock.Size,
		"ring control size":  row.ControlSize,
		"control span size":  len(file(t, d, "q")) - 4096,
		"smallest area":      row.MinArea,
		"largest area":       row.MaxArea,
		"listener area":      len(file(t, d, "l")) - len(file(t, d, "q")) + 4096,
		"longest name":       segment.MaxName,
		"longest file name":  240,
		"longest label":      256,
		"longest descriptor": schema.MaxText,

		"granule":              hashtable.Granule,
		"largest store":        hashtable.MaxSize,
		"longest key":          store.MaxKey,
		"longest value":        store.MaxValue,
		"topic control size":   row.ControlSize,
		"subscriber slot size": row.SlotSize,
		"most subscribers":     topic.MaxSubscribers,
	}
	if q.MaxMessage() != 4096-16 {
		t.Errorf("a ring of 4096 bytes takes %d", q.MaxMessage())
	}
	same(t, "constants", get(t, "constants").keyed("Name", "Value"), want)
	if !strings.HasSuffix(filepath.Dir(d.Dir()), fmt.Sprintf("/shiplap-%d/v%d", os.Geteuid(), want["layout version"])) {
		t.Error(d.Dir())
	}
}

func same(t *testing.T, what string, page map[string]string, want map[string]int) {
	t.Helper()
	for name, v := range want {
		if s, there := page[name]; !there || atoi(t, s) != v {
			t.Errorf("%s: %s is %q on the page, in truth %d", what, name, s, v)
		}
	}
	if len(page) != len(want) {
		t.Errorf("%s: %d on the page, %d known here", what, len(page), len(want))
	}
}

func TestNames(t *testing.T) {
	d := join(t, shmDir(t))
	for name, f := range map[string]string{".a%b": "%2Ea%25b", "#x.#": "%23x.#", "ä b": "ä b"} {
		create(t, d, name, queue.Options{Capacity: 4096})
		file(t, d, f)
	}
	for _, name := range []string{"", ".", "..", "a/b", "a\n", "a\x7f", "\xff", strings.Repeat("a", 129)} {
		if _, err := queue.CreateRaw(d, name, nil); !errors.Is(err, shiplap.ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestMembersTable(t *testing.T) {
	dir := shmDir(t)
	d := join(t, dir)
	p := goPeer(t, dir, "-", "join", 0)
	p.says("joined")
	img := file(t, d, "#members")
	slots := at(t, "members", "slot")
	compare(t, "members", img, 0, len(img), 0, want{"magic": "SHIPMEMB", "layout": 2, "slots": 1024, "slot": skip{}})
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	ok(t, err)
	id, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(boot)), "-", ""))
	ok(t, err)
	var ns unix.Stat_t
	ok(t, unix.Stat("/proc/self/ns/pid", &ns))
	for i, proc := range []struct {
		pid int
		cmd string
	}{{os.Getpid(), strings.Join(os.Args, " ")}, {p.Process.Pid, "/proc/self/exe"}} {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", proc.pid))
		ok(t, err)
		after := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		compare(t, "slot", img, slots.off+i*slots.entry, slots.entry, 0, want{
			"generation": 1, "state": 1, "pid": proc.pid, "uid": os.Geteuid(), "joined": recent, "boot": string(id),
			"command": proc.cmd[:min(72, len(proc.cmd))], "start": atoi(t, after[22-3]), "pidns": int(ns.Ino),
		})
	}
	b := get(t, "token").bits(t, "Bits")
	if got, page := uint64(self(t, d).Token), b["slot"].put(0)|b["generation"].put(1); got != page {
		t.Errorf("our token is %#x, by the page %#x", got, page)
	}
	members, err := d.Members()
	ok(t, err)
	if got, page := uint64(members[1].Token), b["slot"].put(1)|b["generation"].put(1); got != page {
		t.Errorf("the second token is %#x, by the page %#x", got, page)
	}
	if b["slot"].high != 9 || b["generation"] != (bits{10, 30}) {
		t.Error("the widths of slot and generation")
	}
	p.kill()
	table := object.OfDomain(d).Table
	for len(table.Leftovers()) == 0 { // the kernel drops its locks
		time.Sleep(time.Millisecond)
	}
	left := table.Leftovers()[0]
	left.Next, left.Left = 1023, 1024
	if ok, err := table.Advance(left); !ok || err != nil {
		t.Error(ok, err)
	}
	img = file(t, d, "#members")
	b = get(t, "sweepstate").bits(t, "Bits")
	state := slots.off + slots.entry + at(t, "slot", "state").off
	if got, page := uint64(word(img[state:state+4])), b["in use"].put(1)|b["next"].put(1023)|b["left"].put(1024); got != page {
		t.Errorf("the state of a slot half swept is %#x, by the page %#x", got, page)
	}
	_, err = d.Sweep(bg, false)
	ok(t, err)
	img = file(t, d, "#members")
	if at := slots.off + slots.entry + at(t, "slot", "state").off; word(img[at:at+4]) != 0 {
		t.Error("the slot of the dead is not free")
	}
}

func headerWant(d shiplap.Process, more want) want {
	w := want{"magic": "SHIPLAP\x00", "layout": 2, "creator token": int(d.Token), "creator pid": d.Pid, "created": recent,
		"descriptor hash": 0x4fdf0b1cd9897027, "descriptor length": 5, "descriptor": "bytes", "params": skip{}, "state": 0,
		"lock entry": skip{}, "event entry": skip{}, "flags": 0, "label": "", "label length": 0}
	for k, v := range more {
		w[k] = v
	}
	return w
}

// entries checks the lock and event tables, and the params by a table of their own.
func entries(t *testing.T, img []byte, locks map[string]int, order []string, events []int, params string, values map[string]int) {
	t.Helper()
	le, ee, pe := at(t, "header", "lock entry"), at(t, "header", "event entry"), at(t, "header", "params")
	for i, name := range order {
		compare(t, "lockentry", img, le.off+i*le.entry, le.entry, 0, want{"lock offset": locks[name], "lock name": name})
	}
	for i, off := range events {
		if got := word(img[ee.off+i*ee.entry:][:4]); got != uint64(off) {
			t.Errorf("event %d is at %d; %d is wanted", i, got, off)
		}
	}
	page := map[string]string{}
	if params != "" {
		page = get(t, params).keyed("Param", "Name")
	}
	for k := range pe.size / pe.entry {
		name := page[fmt.Sprint(k)]
		if got := word(img[pe.off+k*pe.entry:][:pe.entry]); got != uint64(values[name]) {
			t.Errorf("param %d %s is %d; %d is wanted", k, name, got, values[name])
		}
	}
	if len(page) != len(values) {
		t.Errorf("table %s has %d rows; %d are known here", params, len(page), len(values))
	}
}

// identity is what a queue is told apart by, a random number.
func identity(t *testing.T, img []byte) int {
	t.Helper()
	f := at(t, "header", "params")
	id := word(img[f.off+3*f.entry:][:f.entry])
	if id == 0 {
		t.Error("a queue without an identity")
	}
	return int(id)
}

func TestQueueHeader(t *testing.T) {
	d := join(t, shmDir(t))
	q := create(t, d, "q", queue.Options{Capacity: 8192, Ack: true, Ephemeral: true, Label: "for people"})
	img := file(t, d, "q")
	me := self(t, d)
	flags, state := get(t, "flags").bits(t, "Bit"), get(t, "state").bits(t, "Bit")
	w := headerWant(me, want{"kind": 1, "size": 8192 + 8192, "flags": int(flags["ephemeral"].put(1)), "label": "for people",
		"label length": 10, "lock count": 2, "event count": 2})
	compare(t, "header", img, 0, object.HeaderSize, 0, w)
	base := at(t, "queue", "queue ring").off
	entries(t, img, map[string]int{"producer": base + at(t, "ring", "producer lock").off, "consumer": base + at(t, "ring", "consumer lock").off},
		[]string{"producer", "consumer"}, []int{base + at(t, "ring", "not empty").off, base + at(t, "ring", "not full").off},
		"queueparams", map[string]int{"area": 8192, "acknowledgement": 1, "limit": 0, "identity": identity(t, img)})

	open, err := os.Open(filepath.Join(d.Dir(), "q"))
	ok(t, err)
	defer open.Close()
	w["state"] = int(state["closed"].put(1))
	ok(t, q.CloseQueue())
	compare(t, "header", file(t, d, "q"), 0, object.HeaderSize, 0, w)
	w["state"] = int(state["closed"].put(1) | state["removed"].put(1))
	ok(t, d.Remove(bg, "q"))
	img, err = io.ReadAll(open)
	ok(t, err)
	compare(t, "header", img, 0, object.HeaderSize, 0, w)
}

// parallel runs f and stops it at the end of the test.
func parallel(t *testing.T, f func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(bg)
	var wg sync.WaitGroup
	wg.Go(func() { f(ctx) })
	t.Cleanup(wg.Wait)
	t.Cleanup(cancel)
}

func TestRingWords(t *testing.T) {
	d := join(t, shmDir(t))
	q := create(t, d, "q", queue.Options{Capacity: 4096})
	base, data := at(t, "queue", "queue ring").off, at(t, "queue", "queue area").off
	field := func(name string) uint64 {
		f := at(t, "ring", name)
		return word(file(t, d, "q")[base+f.off:][:f.size])
	}
	got := make(chan string, 1)
	parallel(t, func(context.Context) {
		b, _ := q.Get(bg, nil)
		got <- string(b)
	})
	eventually(t, "a consumer sleeps", func() bool { return field("not empty")&2 != 0 && field("not empty sleeps") > 0 })
	bellEntry(t, d, file(t, d, "q")[base+at(t, "ring", "not empty entries").off:])
	ok(t, q.Put(bg, []byte("abc")))
	if s := <-got; s != "abc" {
		t.Error(s)
	}
	ok(t, q.Put(bg, []byte("0123456789")))
	ok(t, q.Put(bg, make([]byte, 600)))
	w := want{"producer lock": "", "consumer lock": "", "not empty": skip{}, "not empty sleeps": positive, "not empty entries": "",
		"not full": 0, "not full sleeps": 0, "not full entries": "",
		"tail": 16 + 24 + 608, "puts": 3, "bytes": 613, "high": 24 + 608, "seen": 16, "busy": 0, "taken": 16, "gets": 1,
		"partial": 0, "cursor": 0, "leases": 0, "again": 0, "repeats": 0, "worn": 0, "moving": 0, "buried": 0, "dropped": 0}
	img := file(t, d, "q")
	compare(t, "ring", img, base, at(t, "queue", "queue ring").size, 0, w)
	compare(t, "queue", img, 0, len(img), 4096, want{"queue ring": skip{}, "queue area": skip{},
		"dead name length": 0, "dead name": "", "move identity": 0, "move name length": 0, "move name": "", "move": ""}.and(img[:object.HeaderSize]))

	h := get(t, "headerbits").bits(t, "Bits")
	rec := func(at, n int, payload string, number uint64) {
		t.Helper()
		compare(t, "record", img, data+at, 8+(n+7)&^7, (n+7)&^7, want{"payload": payload,
			"record header": int(h["length"].put(uint64(n)) | h["valid"].put(1) | h["number"].put(number))})
	}
	rec(0, 3, "abc", 1)
	rec(16, 10, "0123456789", 2)
	rec(40, 600, "", 3)
	if end := data + 40 + 608; word(img[end:end+8]) != 0 {
		t.Error("I1: the word at the end is not 0")
	}
	for q.TryPut(make([]byte, 100)) == nil {
	}
	parallel(t, func(ctx context.Context) { q.Put(ctx, make([]byte, 100)) })
	eventually(t, "a producer sleeps", func() bool { return field("not full")&2 != 0 && field("not full sleeps") > 0 })
}

// and leaves the header page out of a comparison.
func (w want) and(page []byte) want {
	clear(page)
	return w
}

// busy is on only for moments; what the code does about it shows where it is.
func TestBusyWord(t *testing.T) {
	d := join(t, shmDir(t))
	q := create(t, d, "q", queue.Options{Capacity: 4096})
	ok(t, q.CloseQueue())
	f, err := os.OpenFile(filepath.Join(d.Dir(), "q"), os.O_RDWR, 0)
	ok(t, err)
	defer f.Close()
	off := int64(at(t, "queue", "queue ring").off + at(t, "ring", "busy").off)
	_, err = f.WriteAt([]byte{1, 0, 0, 0}, off)
	ok(t, err)
	if _, err := q.Get(limited(t), nil); !errors.Is(err, shiplap.ErrClosed) {
		t.Error(err)
	}
	b := make([]byte, 4)
	_, err = f.ReadAt(b, off)
	ok(t, err)
	if word(b) != 0 {
		t.Error("the code did not clear it: it stands elsewhere")
	}
}

func TestAckWords(t *testing.T) {
	d := join(t, shmDir(t))
	q := create(t, d, "q", queue.Options{Capacity: 4096, Ack: true})
	for _, s := range []string{"abc", "0123456789", "third"} {
		ok(t, q.Put(bg, []byte(s)))
	}
	one, err := q.Receive(bg)
	ok(t, err)
	two, err := q.Receive(bg)
	ok(t, err)
	ok(t, two.Nack())
	base, data := at(t, "queue", "queue ring").off, at(t, "queue", "queue area").off
	w := want{"producer lock": "", "consumer lock": "", "not empty": 0, "not empty sleeps": 0, "not empty entries": "", "not full": 0,
		"not full sleeps": 0, "not full entries": "",
		"tail": 24 + 32 + 24, "puts": 3, "bytes": 18, "high": 80, "seen": 0, "busy": 0, "taken": 0, "gets": 0,
		"partial": 0, "cursor": 24 + 32, "leases": 2, "again": 1, "repeats": 0,
		"worn": 0, "moving": 0, "buried": 0, "dropped": 0}
	look := func(states ...uint64) {
		t.Helper()
		img := file(t, d, "q")
		compare(t, "ring", img, base, 768, 0, w)
		h := get(t, "headerbits").bits(t, "Bits")
		at := data
		for i, s := range []string{"abc", "0123456789", "third"} {
			n := (len(s) + 7) &^ 7
			compare(t, "ackrecord", img, at, 16+n, n, want{"payload": s, "record state": int(states[i]),
				"record header": int(h["length"].put(uint64(len(s))) | h["valid"].put(1) | h["number"].put(uint64(i+1)))})
			at += 16 + n
		}
	}
	st := get(t, "recordstate").bits(t, "Bits")
	const ready, leased, done = 0, 1, 2
	state := func(s, count uint64, held bool) uint64 {
		v := st["state"].put(s) | st["count"].put(count)
		if held {
			v |= st["holder"].put(uint64(self(t, d).Token))
		}
		return v
	}
	look(state(leased, 1, true), state(ready, 1, false), 0)
	two, err = q.Receive(bg)
	ok(t, err)
	if two.Count != 2 {
		t.Error(two.Count)
	}
	w["leases"], w["repeats"] = 3, 1
	look(state(leased, 1, true), state(leased, 2, true), 0)
	ok(t, two.Ack())
	look(state(leased, 1, true), done, 0)
	ok(t, one.Ack())
	w["taken"], w["gets"] = 56, 2
	look(done, done, 0)
}

func TestLockRecord(t *testing.T) {
	dir := shmDir(t)
	d := join(t, dir)
	q := create(t, d, "q", queue.Options{Capacity: 4096})
	dead := goPeer(t, dir, "q", "produce", 0)
	dead.says("held")
	dead.kill()
	p, err := q.Producer(bg)
	ok(t, err)
	defer p.Close()
	parallel(t, func(ctx context.Context) { q.Put(ctx, nil) })
	base := at(t, "queue", "queue ring").off + at(t, "ring", "producer lock").off
	token := int(self(t, d).Token)
	waiter := at(t, "lock", "waiter")
	eventually(t, "somebody waits", func() bool { return word(file(t, d, "q")[base+waiter.off+8:][:8]) != 0 })
	time.Sleep(2 * time.Millisecond)
	img := file(t, d, "q")
	compare(t, "lock", img, base, wordlock.Size, 0, want{
		"word":       int(get(t, "token").bits(t, "Bits")["waiters"].put(1)) | token,
		"recoveries": 1, "since": recent, "sleeps": positive, "waiter": skip{}, "line": skip{}, "damaged": 0})
	compare(t, "waiter", img, base+waiter.off, waiter.entry, 0, want{"waiter token": token, "waiter since": recent})
}

func TestPipe(t *testing.T) {
	d := join(t, shmDir(t))
	a, err := pipe.Create(d, "p", &pipe.Options{Capacity: 4096, Label: "x"})
	ok(t, err)
	token := int(self(t, d).Token)
	word := func(name, sub string) (v uint64) {
		f := at(t, "pipe", name)
		img := file(t, d, "p")[f.off:][:f.size]
		if sub != "" {
			g := at(t, "ring", sub)
			img = img[g.off:][:g.size]
		}
		for i := range min(len(img), 8) {
			v |= uint64(img[i]) << (8 * i)
		}
		return v
	}
	is := func(name, sub string, want int) {
		t.Helper()
		if got := word(name, sub); got != uint64(want) {
			t.Errorf("%s %s is %#x; %#x is wanted", name, sub, got, want)
		}
	}
	img := file(t, d, "p")
	compare(t, "header", img, 0, object.HeaderSize, 0, headerWant(self(t, d), want{"kind": 2, "size": 8192 + 2*4096,
		"label": "x", "label length": 1, "lock count": 4, "event count": 4}))
	r0, r1 := at(t, "pipe", "ring 0").off, at(t, "pipe", "ring 1").off
	pl, cl := at(t, "ring", "producer lock").off, at(t, "ring", "consumer lock").off
	ne, nf := at(t, "ring", "not empty").off, at(t, "ring", "not full").off
	entries(t, img, map[string]int{"A send": r0 + pl, "A receive": r1 + cl, "B send": r1 + pl, "B receive": r0 + cl},
		[]string{"A send", "A receive", "B send", "B receive"}, []int{r0 + ne, r0 + nf, r1 + ne, r1 + nf}, "pipeparams", map[string]int{"area": 4096})
	is("opened", "", 1)
	is("expect", "", 0)
	is("ring 0", "producer lock", token)
	is("ring 1", "consumer lock", token)
	is("ring 1", "producer lock", 0)
	ok(t, a.Send(bg, []byte("hello")))
	ok(t, a.Send(bg, []byte("world")))
	b, err := pipe.Open(d, "p", nil)
	ok(t, err)
	is("opened", "", 3)
	is("ring 1", "producer lock", token)
	is("ring 0", "consumer lock", token)
	ok(t, b.Send(bg, []byte("back!")))
	img = file(t, d, "p")
	for area, s := range map[string]string{"area 0": "hello", "area 1": "back!"} {
		for _, f := range get(t, "pipe").fields(t, alike(4096)) {
			if f.name == area && string(img[f.off+8:][:5]) != s {
				t.Errorf("%s holds %q", area, img[f.off+8:][:5])
			}
		}
	}
	buf := make([]byte, 7)
	n, err := b.Read(buf)
	if err != nil || string(buf[:n]) != "hellowo" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	is("ring 0", "taken", 16)
	is("ring 0", "partial", 16/8<<32|2)
	all := file(t, d, "p")
	clear(all[:object.HeaderSize])
	compare(t, "pipe", all, 0, len(all), 4096, want{"ring 0": skip{}, "ring 1": skip{}, "state 0": 0, "state 1": 0, "opened": 3, "expect": 0,
		"area 0": skip{}, "area 1": skip{}})
	ok(t, a.Close())
	state := get(t, "state").bits(t, "Bit")
	is("state 0", "", int(state["closed"].put(1)))
	is("state 1", "", int(state["deaf"].put(1)))
	ok(t, b.Close())
	if _, err := d.Stat("p"); !errors.Is(err, shiplap.ErrNotExist) {
		t.Errorf("both ends are finished: %v", err)
	}
}

func TestListener(t *testing.T) {
	d := join(t, shmDir(t))
	l, err := pipe.Listen(d, "l", nil)
	ok(t, err)
	a, err := pipe.Dial(bg, d, "l", nil)
	ok(t, err)
	defer a.Close()
	me := self(t, d)
	img := file(t, d, "l")
	compare(t, "header", img, 0, object.HeaderSize, 0, headerWant(me, want{"kind": 3, "size": 8192 + 65536,
		"flags": 1, "lock count": 2, "event count": 2}))
	base := at(t, "listener", "listener ring").off
	entries(t, img, map[string]int{"dial": base + at(t, "ring", "producer lock").off, "listen": base + at(t, "ring", "consumer lock").off},
		[]string{"dial", "listen"}, []int{base + at(t, "ring", "not empty").off, base + at(t, "ring", "not full").off}, "pipeparams", map[string]int{"area": 65536})
	name := fmt.Sprintf("l~%08x.", me.Token)
	if got := string(img[at(t, "listener", "listener area").off+8:][:len(name)]); got != name || !strings.HasPrefix(a.Name(), name) {
		t.Errorf("%q was dialled, %q is in the ring", a.Name(), got)
	}
	ex := at(t, "pipe", "expect")
	if got := word(file(t, d, a.Name())[ex.off:][:4]); got != uint64(me.Token) {
		t.Errorf("expect is %#x", got)
	}
	clear(img[:object.HeaderSize])
	compare(t, "listener", img, 0, len(img), 0, want{"listener ring": skip{}, "listener state": 0, "listener area": skip{}})
	keep, err := os.Open(filepath.Join(d.Dir(), "l"))
	ok(t, err)
	defer keep.Close()
	ok(t, l.Close())
	img, err = io.ReadAll(keep)
	ok(t, err)
	if f := at(t, "listener", "listener state"); word(img[f.off:][:4]) != get(t, "state").bits(t, "Bit")["closed"].put(1) {
		t.Error("the listener is not closed")
	}
}

var formula = regexp.MustCompile(`^(?:(\d+)|(\d+) \+ (?:(\d+) × )?slot)$`)

// lockBytes is what a row of the table of locks says about a slot.
func lockBytes(t *testing.T, row, slot int) (off, n int64, exclusive bool) {
	t.Helper()
	r := get(t, "lockbytes").rows[row]
	m := formula.FindStringSubmatch(r["First byte"])
	switch {
	case m == nil:
		t.Fatalf("%q", r["First byte"])
	case m[1] != "":
		off = int64(atoi(t, m[1]))
	default:
		each := 1
		if m[3] != "" {
			each = atoi(t, m[3])
		}
		off = int64(atoi(t, m[2]) + each*slot)
	}
	return off, int64(atoi(t, r["Bytes"])), r["Mode"] == "exclusive"
}

func ofd(t *testing.T, f *os.File, cmd int, typ int16, off, n int64) int16 {
	t.Helper()
	lk := unix.Flock_t{Type: typ, Start: off, Len: n}
	ok(t, unix.FcntlFlock(f.Fd(), cmd, &lk))
	return lk.Type
}

func TestLockBytes(t *testing.T) {
	dir := shmDir(t)
	d := join(t, dir)
	if len(get(t, "lockbytes").rows) != 6 {
		t.Fatal("the rows of the table are known here by number")
	}
	create(t, d, "q", queue.Options{Capacity: 4096})
	p := goPeer(t, dir, "-", "join", 0)
	p.says("joined")
	rw := func(name string) *os.File {
		f, err := os.OpenFile(filepath.Join(d.Dir(), name), os.O_RDWR, 0)
		ok(t, err)
		t.Cleanup(func() { f.Close() })
		return f
	}
	// A tool that only looks may ask through a descriptor that cannot write.
	m, err := os.Open(filepath.Join(d.Dir(), "#members"))
	ok(t, err)
	defer m.Close()
	for slot, typ := range []int16{unix.F_WRLCK, unix.F_WRLCK, unix.F_UNLCK} {
		off, n, _ := lockBytes(t, 0, slot)
		for _, at := range []int64{off, off + n - 1} {
			if got := ofd(t, m, unix.F_OFD_GETLK, unix.F_WRLCK, at, 1); got != typ {
				t.Errorf("byte %d of #members: %d; %d is wanted", at, got, typ)
			}
		}
	}
	q := rw("q")
	for slot, typ := range []int16{unix.F_RDLCK, unix.F_UNLCK} {
		off, n, _ := lockBytes(t, 3, slot)
		if got := ofd(t, q, unix.F_OFD_GETLK, unix.F_WRLCK, off, n); got != typ {
			t.Errorf("byte %d of q: %d; %d is wanted", off, got, typ)
		}
	}

	names := rw("#members")
	off, n, _ := lockBytes(t, 2, 0)
	create(t, d, "r", queue.Options{Capacity: 4096})
	ofd(t, names, unix.F_OFD_SETLK, unix.F_WRLCK, off, n)
	ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
	defer cancel()
	if err := d.Remove(ctx, "r"); !errors.Is(err, shiplap.ErrBusy) {
		t.Errorf("removed without the name lock: %v", err)
	}
	ofd(t, names, unix.F_OFD_SETLK, unix.F_UNLCK, off, n)
	if _, err := queue.OpenRaw(d, "r", nil); !errors.Is(err, shiplap.ErrNotExist) {
		t.Errorf("half removed: %v", err)
	}

	create(t, d, "s", queue.Options{Capacity: 4096}).Close()
	s := rw("s")
	off, n, _ = lockBytes(t, 4, 0)
	ofd(t, s, unix.F_OFD_SETLK, unix.F_WRLCK, off, n)
	opened := make(chan error, 1)
	go func() {
		q, err := queue.OpenRaw(d, "s", nil)
		if err == nil {
			err = q.Close()
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		t.Errorf("opened under the remover's lock: %v", err)
	case <-time.After(30 * time.Millisecond):
		ofd(t, s, unix.F_OFD_SETLK, unix.F_UNLCK, off, n)
		ok(t, <-opened)
	}

	// Temporaries: of a living member, of a dead one, of tables in the making.
	for _, tt := range []struct {
		name string
		lock bool
		kept bool
	}{
		{fmt.Sprintf("#tmp.%08x.00000001", self(t, d).Token), false, true},
		{"#tmp.00000405.00000001", false, false}, // generation 1 of slot 5, which nobody claimed
		{"#tmp.members.1.00000001", true, true},
		{"#tmp.members.1.00000002", false, false},
	} {
		path := filepath.Join(d.Dir(), tt.name)
		ok(t, os.WriteFile(path, make([]byte, 10), 0o600))
		f := rw(tt.name)
		if tt.lock {
			off, n, _ := lockBytes(t, 5, 0)
			ofd(t, f, unix.F_OFD_SETLK, unix.F_WRLCK, off, n)
		}
		_, err := d.Sweep(bg, false)
		ok(t, err)
		if _, err := os.Stat(path); (err == nil) != tt.kept {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// The grammar of descriptors on the page is the one of package schema.
func TestGrammar(t *testing.T) {
	text, err := readPage()
	ok(t, err)
	src, err := os.ReadFile("../schema/doc.go")
	ok(t, err)
	doc := strings.ReplaceAll(string(src), "//\t", "")
	for _, block := range []string{"descriptor", "layout", "shape", "lexical"} {
		_, rest, found := strings.Cut(text, "```"+block+"\n")
		rules, _, ended := strings.Cut(rest, "```")
		if !found || !ended || len(rules) < 100 || !strings.Contains(doc, rules) {
			t.Errorf("the rules %q differ from package schema", block)
		}
	}
	for name, hash := range get(t, "hash").keyed("Descriptor", "Hash") {
		desc, err := schema.Parse(strings.Trim(name, "`"))
		if err != nil || fmt.Sprintf("%#x", desc.Hash) != hash {
			t.Errorf("%s: %s on the page, %#x, %v", name, hash, desc.Hash, err)
		}
	}
}

// Every named table is used by some test.
func TestAllTablesAreChecked(t *testing.T) {
	all, err := tables()
	ok(t, err)
	files, err := filepath.Glob("*_test.go")
	ok(t, err)
	var src strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		ok(t, err)
		src.Write(b)
	}
	for name := range all {
		base, params := strings.CutSuffix(name, "params") // helpers put the suffix behind the kind's own table
		if !strings.Contains(src.String(), `"`+name+`"`) && !(params && strings.Contains(src.String(), `"`+base+`"`)) {
			t.Errorf("no test looks at table %s", name)
		}
	}
}

// A move leaves its name, and nothing else.
func TestMoveWords(t *testing.T) {
	d := join(t, shmDir(t))
	q := create(t, d, "q", queue.Options{Capacity: 4096, Ack: true, MaxDeliveries: 1, DeadLetters: "dead letters"})
	ok(t, q.Put(bg, []byte("abc")))
	m, err := q.Receive(bg)
	ok(t, err)
	ok(t, m.Nack())
	img, dead := file(t, d, "q"), file(t, d, "dead letters")
	compare(t, "queue", img, 0, len(img), 4096, want{"queue ring": skip{}, "queue area": skip{},
		"dead name length": 12, "dead name": "dead letters", "move identity": identity(t, dead),
		"move name length": 12, "move name": "dead letters", "move": ""}.and(img[:object.HeaderSize]))
	base := at(t, "queue", "queue ring").off
	for name, n := range map[string]uint64{"moving": 0, "worn": 0, "buried": 1, "dropped": 0, "taken": 24} {
		f := at(t, "ring", name)
		if got := word(img[base+f.off:][:f.size]); got != n {
			t.Errorf("%s is %d; %d is wanted", name, got, n)
		}
	}
	e := at(t, "queue", "move")
	compare(t, "move", dead, e.off, e.entry, 0, want{"move from": identity(t, file(t, d, "q")), "move record": 0, "move to": 0, "move state": 0})
}
