package layouttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/pipe"
	"github.com/shiplap-ipc/shiplap/proc"
	"github.com/shiplap-ipc/shiplap/rpc"
	"github.com/shiplap-ipc/shiplap/topic"
)

// wireFrame is a frame as the page has it.
type wireFrame struct {
	kind             string
	more             int
	method           int
	number, deadline uint64
	payload          []byte
}

func frameKind(t testing.TB, name string) int {
	t.Helper()
	for kind, n := range get(t, "framekinds").keyed("Kind", "Name") {
		if n == name {
			return atoi(t, kind)
		}
	}
	t.Fatalf("no kind %q", name)
	return 0
}

func (f wireFrame) bytes(t testing.TB) []byte {
	t.Helper()
	fields := get(t, "frame").fields(t, alike(len(f.payload)))
	b := make([]byte, 24, 24+len(f.payload))
	for _, x := range fields {
		v, ok := map[string]uint64{"frame kind": uint64(frameKind(t, f.kind)), "frame flags": uint64(f.more), "frame zero": 0,
			"method": uint64(f.method), "call number": f.number, "deadline": f.deadline}[x.name]
		for i := 0; ok && i < x.size; i++ {
			b[x.off+i] = byte(v >> (8 * i))
		}
	}
	return append(b, f.payload...)
}

// send sends a frame.
func (f wireFrame) send(t testing.TB, e *pipe.End) {
	t.Helper()
	ok(t, e.Send(limited(t), f.bytes(t)))
}

// hears receives a frame and compares all that is known of it: a number of 0 and a nil payload stand for any.
func hears(t testing.TB, e *pipe.End, kind string, more, method int, number uint64) (n uint64, deadline uint64, payload []byte) {
	t.Helper()
	b, err := e.Recv(limited(t), nil)
	ok(t, err)
	if len(b) < 24 {
		t.Fatalf("%d bytes", len(b))
	}
	anything := check(func(v uint64) error { n = v; return nil })
	w := want{"frame kind": frameKind(t, kind), "frame flags": more, "frame zero": 0, "method": method, "call number": int(number),
		"deadline": check(func(v uint64) error { deadline = v; return nil }), "frame payload": skip{}}
	if number == 0 && kind != "bye" {
		w["call number"] = anything
	}
	compare(t, "frame", b, 0, len(b), len(b)-24, w)
	return n, deadline, b[24:]
}

func cborOf(t testing.TB, v any) []byte {
	t.Helper()
	b, err := schema.CBOR.Append(nil, v)
	ok(t, err)
	return b
}

// isCBOR compares with a map; a value of skip is any.
func isCBOR(t testing.TB, b []byte, w map[string]any) {
	t.Helper()
	var got map[string]any
	ok(t, schema.CBOR.Decode(b, &got))
	for k, v := range w {
		if _, any := v.(skip); any && got[k] != nil {
			w[k] = got[k]
		}
	}
	if !reflect.DeepEqual(got, w) {
		t.Errorf("%#v; %#v is wanted", got, w)
	}
}

// A service that was written from the page serves a Go client.
func TestServiceByThePage(t *testing.T) {
	d := join(t, shmDir(t))
	l, err := pipe.Listen(d, "rpc:svc", nil)
	ok(t, err)
	defer l.Close()
	type answer struct {
		s   string
		err error
	}
	got := make(chan answer)
	c, err := rpc.Dial(bg, d, "svc", &rpc.Options{Capacity: 4096})
	ok(t, err)
	defer c.Close()
	call := func(ctx context.Context, s string) {
		r, err := rpc.Call[string, string](ctx, c, "up", s)
		got <- answer{r, err}
	}
	e, err := l.AcceptEnd(limited(t))
	ok(t, err)
	defer e.Close()

	go call(limited(t), "a")
	n, _, p := hears(t, e, "bind", 0, 0, 0)
	isCBOR(t, p, map[string]any{"Version": int64(1), "Method": "up", "Request": "cbor:str", "Response": "cbor:str", "Mode": "typed"})
	wireFrame{kind: "bound", method: 7, number: n, payload: cborOf(t, map[string]any{"Request": "cbor:str", "Response": "cbor:str"})}.send(t, e)
	n, left, p := hears(t, e, "call", 0, 7, 0)
	if string(p) != "\x61a" || left < 50e9 || left > 60e9 {
		t.Errorf("%q, %d ns", p, left)
	}
	wireFrame{kind: "result", more: 1, number: n, payload: []byte("\x62")}.send(t, e) // in pieces
	wireFrame{kind: "result", more: 1, number: n, payload: []byte("A")}.send(t, e)
	wireFrame{kind: "result", number: n, payload: []byte("B")}.send(t, e)
	if a := <-got; a.s != "AB" || a.err != nil {
		t.Errorf("%+v", a)
	}

	go call(bg, strings.Repeat("b", 3000))
	var long []byte
	for more := true; more; { // in pieces the other way
		b, err := e.Recv(limited(t), nil)
		ok(t, err)
		more = b[at(t, "frame", "frame flags").off] == 1
		n = word(b[at(t, "frame", "call number").off:][:8])
		long = append(long, b[24:]...)
	}
	if len(long) != 3003 || n == 0 {
		t.Errorf("%d bytes", len(long))
	}
	wireFrame{kind: "fail", number: n, payload: cborOf(t, map[string]any{"Code": "not_exist", "Message": "no, really", "Data": nil})}.send(t, e)
	if a := <-got; !errors.Is(a.err, shiplap.ErrNotExist) || !strings.Contains(a.err.Error(), "no, really") {
		t.Errorf("%+v", a)
	}

	ctx, cancel := context.WithCancel(bg)
	go call(ctx, "c")
	n, left, _ = hears(t, e, "call", 0, 7, 0)
	if left != 0 {
		t.Errorf("a deadline in %d ns", left)
	}
	cancel()
	if a := <-got; !errors.Is(a.err, context.Canceled) {
		t.Errorf("%+v", a)
	}
	hears(t, e, "cancel", 0, 0, n)
	wireFrame{kind: "fail", number: n, payload: cborOf(t, map[string]any{"Code": "canceled", "Message": "", "Data": nil})}.send(t, e)

	go call(bg, "d")
	n, _, _ = hears(t, e, "call", 0, 7, 0)
	wireFrame{kind: "bye"}.send(t, e)
	wireFrame{kind: "result", number: n, payload: []byte("\x61D")}.send(t, e)
	if a := <-got; a.s != "D" || a.err != nil {
		t.Errorf("%+v", a)
	}
	go call(bg, "e")
	if a := <-got; !errors.Is(a.err, shiplap.ErrPeerGone) {
		t.Errorf("%+v", a)
	}
}

// A caller that was written from the page calls a Go service.
func TestCallerByThePage(t *testing.T) {
	d := join(t, shmDir(t))
	entered := make(chan struct{})
	s, err := rpc.Serve(bg, d, "svc", &rpc.Options{MaxMessage: 5000, Setup: func(s *rpc.Server) error {
		return errors.Join(
			rpc.Handle(s, "up", func(_ context.Context, s string) (string, error) { return strings.ToUpper(s), nil }),
			rpc.Handle(s, "wait", func(ctx context.Context, _ int64) (bool, error) {
				close(entered)
				<-ctx.Done()
				return false, ctx.Err()
			}))
	}})
	ok(t, err)
	e, err := pipe.Dial(bg, d, "rpc:svc", &pipe.Options{Ephemeral: true})
	ok(t, err)
	defer e.Close()
	bind := func(number uint64, method, req, resp, mode string) {
		wireFrame{kind: "bind", number: number, payload: cborOf(t, map[string]any{"Version": 1, "Method": method, "Request": req,
			"Response": resp, "Mode": mode})}.send(t, e)
	}
	bind(9, "up", "cbor:str", "cbor:str", "typed")
	_, _, p := hears(t, e, "bound", 0, 0, 9)
	isCBOR(t, p, map[string]any{"Request": "cbor:str", "Response": "cbor:str"})
	bind(9, "up", "cbor:str", "cbor:i64", "typed")
	_, _, p = hears(t, e, "fail", 0, 0, 9)
	isCBOR(t, p, map[string]any{"Code": "incompatible", "Message": skip{}, "Data": nil})
	bind(10, "rpc.methods", "", "", "json")
	hears(t, e, "bound", 0, 1, 10)
	wireFrame{kind: "call", method: 1, number: 11, payload: []byte("{}")}.send(t, e)
	_, _, p = hears(t, e, "result", 0, 0, 11)
	const list = `[{"name":"up","request":"cbor:str","response":"cbor:str"},{"name":"wait","request":"fixed:<i8","response":"fixed:|b1"}]`
	if string(p) != list {
		t.Errorf("%s; %s is wanted", p, list)
	}
	wireFrame{kind: "call", more: 1, method: 0, number: 12, payload: []byte("\x63x")}.send(t, e)
	wireFrame{kind: "call", method: 0, number: 13, deadline: 60e9, payload: []byte("\x61z")}.send(t, e) // in between
	_, _, p = hears(t, e, "result", 0, 0, 13)
	if string(p) != "\x61Z" {
		t.Errorf("%q", p)
	}
	wireFrame{kind: "call", number: 12, payload: []byte("yz")}.send(t, e)
	_, _, p = hears(t, e, "result", 0, 0, 12)
	if string(p) != "\x63XYZ" {
		t.Errorf("%q", p)
	}
	wireFrame{kind: "call", more: 1, number: 14, payload: make([]byte, 4000)}.send(t, e)
	wireFrame{kind: "call", number: 14, payload: make([]byte, 4000)}.send(t, e)
	_, _, p = hears(t, e, "fail", 0, 0, 14)
	isCBOR(t, p, map[string]any{"Code": "too_large", "Message": skip{}, "Data": nil})
	wireFrame{kind: "call", more: 1, number: 15, payload: []byte("\x61")}.send(t, e)
	wireFrame{kind: "cancel", number: 15}.send(t, e)
	_, _, p = hears(t, e, "fail", 0, 0, 15)
	isCBOR(t, p, map[string]any{"Code": "canceled", "Message": skip{}, "Data": nil})

	bind(16, "wait", "", "", "raw")
	hears(t, e, "bound", 0, 2, 16)
	wireFrame{kind: "call", method: 2, number: 17, payload: make([]byte, 8)}.send(t, e)
	<-entered
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(limited(t)) }()
	hears(t, e, "bye", 0, 0, 0)
	wireFrame{kind: "cancel", number: 17}.send(t, e)
	_, _, p = hears(t, e, "fail", 0, 0, 17)
	isCBOR(t, p, map[string]any{"Code": "canceled", "Message": skip{}, "Data": nil})
	ok(t, <-down)
	if b, err := e.Recv(limited(t), nil); err != io.EOF {
		t.Errorf("%q, %v", b, err)
	}
}

// What a manager makes, tells and hears is what the page says.
func TestManager(t *testing.T) {
	dir := shmDir(t)
	d := join(t, dir)
	out := filepath.Join(dir, "environment")
	m, err := proc.New(d, &proc.Options{Name: "MANAGER"})
	ok(t, err)
	tp, err := topic.OpenRaw(d, "MANAGER.events", nil)
	ok(t, err)
	events, err := tp.Subscribe(nil)
	ok(t, err)
	ok(t, m.Add(proc.Spec{Name: "PROCESS", Ready: proc.ReadyWord,
		Command: []string{"/bin/sh", "-c", "env >" + out + "; echo >&$SHIPLAP_READY_FD; exec sleep 600"}}))
	ok(t, m.StartAll(limited(t)))

	text, err := readPage()
	ok(t, err)
	if !strings.Contains(text, "    "+tp.Type()+"\n") {
		t.Errorf("the page does not say that events are %s", tp.Type())
	}
	for _, r := range get(t, "procobjects").rows {
		name := strings.Trim(r["Object"], "`")
		if o, err := d.Stat(name); err != nil || o.Kind != r["Kind"] || !o.Ephemeral || r["Kind"] == "channel" && o.Type != "cbor:any" {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
	}
	b, err := os.ReadFile(out)
	ok(t, err)
	env := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "="); strings.HasPrefix(k, "SHIPLAP_") && os.Getenv(k) != v {
			env[k] = v // and not one of ours that it inherited
		}
	}
	wants := map[string]string{"DOMAIN": d.Name(), "DIR": dir, "MANAGER": "MANAGER", "PROC": "PROCESS", "RESTARTS": "0", "STOP_SIGNAL": "15",
		"ACTIVE": "PROCESS-active", "PASSIVE": "PROCESS-passive", "READY_FD": "3"}
	for _, r := range get(t, "procenv").rows {
		k := strings.TrimPrefix(strings.Trim(r["Variable"], "`"), "SHIPLAP_")
		if w, known := wants[k]; !known || env["SHIPLAP_"+k] != w {
			t.Errorf("%s is %q; %q is wanted", k, env["SHIPLAP_"+k], w)
		}
	}
	if len(env) != len(wants) || len(wants) != len(get(t, "procenv").rows) {
		t.Errorf("%v", env)
	}

	e, err := pipe.Dial(bg, d, "MANAGER.control", &pipe.Options{Ephemeral: true})
	ok(t, err)
	type answer struct {
		ID          int
		States      []struct{ Name, Phase string }
		Error, Kind string
	}
	ask := func(order string) (a answer) {
		t.Helper()
		ok(t, e.Send(limited(t), []byte(order)))
		b, err := e.Recv(limited(t), nil)
		ok(t, err)
		ok(t, json.Unmarshal(b, &a))
		return a
	}
	if a := ask(`{"id": 1, "op": "states", "unknown": true}`); a.ID != 1 || len(a.States) != 1 || a.States[0].Name != "PROCESS" || a.States[0].Phase != "running" {
		t.Errorf("%+v", a)
	}
	if a := ask(`{"id": 2, "op": "signal", "names": ["b"], "signal": 10}`); a.ID != 2 || a.Kind != "not-exist" || a.Error == "" {
		t.Errorf("%+v", a)
	}
	if a := ask(`{"id": 3, "op": "dance"}`); a.ID != 3 || a.Kind != "" || a.Error == "" {
		t.Errorf("%+v", a)
	}
	if a := ask(`{"id": 4, "op": "stop"}`); a.ID != 4 || a.Error != "" || a.States[0].Phase != "stopped" {
		t.Errorf("%+v", a)
	}
	var seen []string
	for range 5 {
		b, err := events.Receive(limited(t), nil)
		ok(t, err)
		var ev struct {
			Manager, Process, Kind, Time string
			Exit                         struct{ Signal int }
		}
		ok(t, json.Unmarshal(b, &ev))
		if ev.Manager != "MANAGER" || ev.Process != "PROCESS" || ev.Time == "" {
			t.Errorf("%s", b)
		}
		seen = append(seen, ev.Kind+strings.TrimSuffix(strconv.Itoa(ev.Exit.Signal), "0"))
	}
	if got := fmt.Sprint(seen); got != "[starting ready stopping exited15 stopped]" {
		t.Error(got)
	}
	ok(t, errors.Join(e.Close(), m.Close(), tp.Close()))
}
