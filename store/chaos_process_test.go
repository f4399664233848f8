package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
)

// record is one operation of a peer: written before it, with Ret 0, and after it.
type record struct {
	N     int    `json:"n"` // the peer's own number of it
	Op    string `json:"op"`
	Key   string `json:"key"`
	Arg   string `json:"arg,omitempty"`
	Old   string `json:"old,omitempty"` // of an update: the value whose revision it gives
	Call  int64  `json:"call"`
	Ret   int64  `json:"ret,omitempty"`
	Value string `json:"value,omitempty"`
	Err   string `json:"err,omitempty"` // "", "exist", "none", "conflict"
}

const burst = 30

func errName(err error) string {
	for name, is := range map[string]error{"exist": shiplap.ErrExist, "none": shiplap.ErrNotExist, "conflict": shiplap.ErrConflict} {
		if errors.Is(err, is) {
			return name
		}
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func init() {
	roles["random operations"] = func(d *shiplap.Domain, id int) error {
		s, err := Open(d, "s", nil)
		if err != nil {
			return err
		}
		stop := peertest.StdinEnds()
		rng := rand.New(rand.NewPCG(uint64(id), 0))
		for n := 0; ; n++ {
			select {
			case <-stop:
				return s.Close()
			default:
			}
			if err := randomOperation(s, rng, id, n); err != nil {
				return err
			}
			if n%burst == 0 { // a longer history takes too long to check
				time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
			}
		}
	}
}

// randomOperation does one, and writes it down.
func randomOperation(s *Store, rng *rand.Rand, id, n int) error {
	r := record{N: n, Key: "k" + strconv.Itoa(rng.IntN(8)), Call: time.Now().UnixNano()}
	value := func() string { return fmt.Sprintf("%d-%d-%s", id, n, strings.Repeat("x", rng.IntN(300))) }
	do := func(f func() error) error {
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		peertest.Say(string(b))
		r.Err = errName(f())
		r.Ret = time.Now().UnixNano()
		b, err = json.Marshal(r)
		peertest.Say(string(b))
		return err
	}
	switch k := rng.IntN(20); {
	case k < 7:
		r.Op = "get"
		return do(func() error {
			b, err := s.Get(r.Key)
			r.Value = string(b)
			return err
		})
	case k < 11:
		r.Op, r.Arg = "set", value()
		return do(func() error { _, err := s.Set(bg, r.Key, []byte(r.Arg)); return err })
	case k < 12:
		r.Op = "delete"
		return do(func() error { return s.Delete(bg, r.Key) })
	case k < 15:
		r.Op, r.Arg = "create", value()
		return do(func() error { _, err := s.Create(bg, r.Key, []byte(r.Arg)); return err })
	case k < 18:
		e, err := s.Entry(r.Key)
		if err != nil {
			return nil
		}
		if k == 17 {
			r.Op, r.Old = "delete revision", string(e.Value)
			return do(func() error { return s.DeleteRev(bg, r.Key, e.Revision) })
		}
		r.Op, r.Arg, r.Old = "update", value(), string(e.Value)
		return do(func() error { _, err := s.Update(bg, r.Key, []byte(r.Arg), e.Revision); return err })
	}
	r.Op, r.Key, r.Arg = "add", "n"+strconv.Itoa(rng.IntN(2)), "1"
	return do(func() error {
		sum, err := s.Add(bg, r.Key, 1)
		r.Value = strconv.FormatInt(sum, 10)
		return err
	})
}

// keyModel is one key, whose state is its value, "" for none.
var keyModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, o := range history {
			key := o.Input.(record).Key
			byKey[key] = append(byKey[key], o)
		}
		var parts [][]porcupine.Operation
		for _, p := range byKey {
			parts = append(parts, p)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		have, in, out := state.(string), input.(record), output.(record)
		value, next, err := "", have, ""
		switch in.Op {
		case "get":
			if value = have; have == "" {
				err = "none"
			}
		case "set":
			next = in.Arg
		case "delete":
			if next = ""; have == "" {
				err = "none"
			}
		case "create":
			if next = in.Arg; have != "" {
				next, err = have, "exist"
			}
		case "update", "delete revision": // which has no Arg
			switch have {
			case "":
				err = "none"
			case in.Old:
				next = in.Arg
			default:
				err = "conflict"
			}
		case "add":
			n, _ := strconv.Atoi(have)
			next = strconv.Itoa(n + 1)
			value = next
		}
		if out.Ret == 0 { // its process was killed: nobody knows
			return true, next
		}
		return out.Err == err && out.Value == value, next
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v", output) },
}

// inside reports whether the last that a peer wrote is the beginning of an operation.
func inside(p *peertest.Peer) bool {
	said := p.Said()
	return len(said) > 0 && !strings.Contains(said[len(said)-1], `"ret":`)
}

// history pairs what a peer wrote before and after each operation.
func history(t *testing.T, client int, lines []string) (ops []porcupine.Operation) {
	t.Helper()
	var open *record
	for _, l := range lines {
		var r record
		ok(t, json.Unmarshal([]byte(l), &r))
		if r.Ret == 0 {
			open = &r
			continue
		}
		ops = append(ops, porcupine.Operation{ClientId: client, Input: r, Call: r.Call, Output: r, Return: r.Ret})
		open = nil
	}
	if open != nil && open.Op != "get" {
		ops = append(ops, porcupine.Operation{ClientId: client, Input: *open, Call: open.Call, Output: *open, Return: 1<<63 - 1})
	}
	return ops
}

// TestHistories: many processes do random operations, and are stopped and killed at random; each key behaves as one variable of
// which every operation takes effect at one moment between its call and its return, or, of the killed, at some moment or never.
func TestHistories(t *testing.T) {
	many, round := 24, 3*time.Second
	if testing.Short() {
		many, round = 8, 500*time.Millisecond
	}
	d := domain(t)
	s := create(t, d, &Options{MaxBytes: 256 << 10})
	watched := s.Watch(bg, "*", nil)
	var peers []*peertest.Peer
	hire := func() { peers = append(peers, peertest.Start(t, d, "random operations", len(peers)+1)) }
	for range many {
		hire()
	}
	living := make([]int, many)
	for i := range living {
		living[i] = i
	}
	kills, stops := 0, 0
	for end := time.Now().Add(round); time.Now().Before(end); {
		time.Sleep(time.Duration(5+rand.IntN(25)) * time.Millisecond)
		i := rand.IntN(len(living))
		p := peers[living[i]]
		if rand.IntN(3) == 0 {
			p.Signal(syscall.SIGSTOP)
			time.AfterFunc(time.Duration(rand.IntN(50))*time.Millisecond, func() { p.Signal(syscall.SIGCONT) })
			stops++
			continue
		}
		for range 100 { // rather in the middle of an operation
			if inside(p) {
				break
			}
			time.Sleep(20 * time.Microsecond)
		}
		p.Kill()
		kills++
		living[i] = len(peers)
		hire()
	}
	for _, i := range living {
		peers[i].Signal(syscall.SIGCONT)
		peers[i].CloseStdin()
	}
	var ops []porcupine.Operation
	unknown := 0
	for i, p := range peers {
		_ = p.Wait()
		h := history(t, i, p.Lines())
		if n := len(h); n > 0 && h[n-1].Return == 1<<63-1 {
			unknown++
		}
		ops = append(ops, h...)
	}
	ok(t, s.Check(bg))
	told, want := map[string]string{}, map[string]string{}
	all, err := s.All(bg, "")
	ok(t, err)
	for _, e := range all {
		want[e.Key] = string(e.Value)
		r := record{Op: "get", Key: e.Key, Value: string(e.Value), Call: time.Now().UnixNano(), Ret: 1<<63 - 1}
		ops = append(ops, porcupine.Operation{ClientId: len(peers), Input: r, Call: r.Call, Output: r, Return: r.Call})
	}
	t.Logf("%d operations of %d processes; %d kills, %d stops, %d operations cut short", len(ops), len(peers), kills, stops, unknown)
	switch r, info := porcupine.CheckOperationsVerbose(keyModel, ops, 60*time.Second); r {
	case porcupine.Illegal:
		t.Errorf("the history is not linearizable: %v", info)
	case porcupine.Unknown:
		t.Log("the checker ran out of time")
	}
	expect(t, watched, told, want)
	if len(ops) < many*10 {
		t.Errorf("only %d operations", len(ops))
	}
}
