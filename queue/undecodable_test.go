package queue_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/queue"
)

type job struct {
	Name string
	Due  time.Time
}

var badJobs = []struct {
	body string
	want error
}{
	{"\x65hello", shiplap.ErrIncompatible}, // CBOR, but a text
	{"\x65hell", shiplap.ErrCorrupt},
}

// Nothing that the typed other side cannot read gets into a queue.
func TestPutRefuses(t *testing.T) {
	q, err := queue.Create[job](join(t, shmDir(t)), "q", nil)
	ok(t, err)
	defer q.Close()
	never := job{Due: time.Unix(1<<62, 0)}
	many := func(v job) error { _, err := q.PutMany(bg, []job{{}, v}); return err }
	p, err := q.Producer(bg)
	ok(t, err)
	defer p.Close()
	for what, put := range map[string]func(job) error{
		"TryPut": q.TryPut, "PutMany": many, "Producer.TryPut": p.TryPut,
	} {
		if err := put(never); err == nil || !strings.Contains(err.Error(), "job.Due: year ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if v, err := q.TryGet(); !errors.Is(err, shiplap.ErrEmpty) {
		t.Errorf("%v was put, %v", v, err)
	}
}

// What cannot be decoded is handed out nevertheless, and is neither acknowledged nor lost.
func TestReceiveUndecodable(t *testing.T) {
	for _, bad := range badJobs {
		d := join(t, shmDir(t))
		q, err := queue.Create[job](d, "q", &queue.Options{Ack: true})
		ok(t, err)
		ok(t, q.Raw().TryPut([]byte(bad.body)))
		for n := 1; n <= 2; n++ {
			got, err := q.TryReceive()
			var e *queue.UndecodableDelivery
			if got != nil || !errors.As(err, &e) || string(e.Body) != bad.body || e.Count != n {
				t.Fatalf("%v, %v", got, err)
			}
			is(t, "the reason", err, bad.want)
			ok(t, e.Nack())
		}
		_, err = q.Receive(bg)
		var e *queue.UndecodableDelivery
		if !errors.As(err, &e) {
			t.Fatal(err)
		}
		ok(t, e.Ack())
		if _, err := q.TryReceive(); !errors.Is(err, shiplap.ErrEmpty) {
			t.Errorf("after Ack: %v", err)
		}
		q.Close()
	}
}

// One message that cannot be decoded ends no worker, whatever the workers do about it.
func TestDeliveriesGoOn(t *testing.T) {
	for _, handled := range []bool{false, true} {
		d := join(t, shmDir(t))
		q, err := queue.Create[job](d, "q", &queue.Options{Ack: true})
		ok(t, err)
		defer q.Close()
		ok(t, q.TryPut(job{Name: "first"}))
		ok(t, q.Raw().TryPut([]byte(badJobs[0].body)))
		ok(t, q.TryPut(job{Name: "last"}))
		var seen string
		opt := &queue.Options{}
		if handled {
			opt.Undecodable = func(e *queue.UndecodableDelivery) {
				seen = string(e.Body)
				ok(t, e.Ack())
			}
		}
		worker, err := queue.Open[job](d, "q", opt)
		ok(t, err)
		var got []string
		for d, err := range worker.Deliveries(bg) {
			ok(t, err)
			got = append(got, d.Value.Name)
			ok(t, d.Ack())
			if d.Value.Name == "last" {
				break
			}
		}
		ok(t, worker.Close())
		if strings.Join(got, " ") != "first last" || handled != (seen == badJobs[0].body) {
			t.Errorf("%q, %q", got, seen)
		}
		_, err = q.TryReceive()
		var e *queue.UndecodableDelivery
		if handled {
			is(t, "it was settled", err, shiplap.ErrEmpty)
		} else if !errors.As(err, &e) || e.Count != 2 {
			t.Errorf("what was set aside did not come back: %v", err)
		}
	}
}

// A queue without Ack has given the message away: its bytes are in the error, and loops go on.
func TestGetUndecodable(t *testing.T) {
	q, err := queue.Create[job](join(t, shmDir(t)), "q", nil)
	ok(t, err)
	defer q.Close()
	check := func(what string, err error, body string, want error) {
		t.Helper()
		var e *queue.UndecodableError
		if !errors.As(err, &e) || string(e.Body) != body {
			t.Errorf("%s: %v", what, err)
		}
		is(t, what, err, want)
	}
	for _, bad := range badJobs {
		ok(t, q.Raw().TryPut([]byte(bad.body)))
		_, err := q.TryGet()
		check("TryGet", err, bad.body, bad.want)
		ok(t, q.TryPut(job{Name: "a"}))
		ok(t, q.Raw().TryPut([]byte(bad.body)))
		vs, err := q.GetMany(bg, 5)
		check("GetMany", err, bad.body, bad.want)
		if len(vs) != 1 {
			t.Errorf("%d messages before it", len(vs))
		}
	}
	for _, bad := range badJobs {
		ok(t, q.Raw().TryPut([]byte(bad.body)))
	}
	ok(t, q.TryPut(job{Name: "last"}))
	ok(t, q.CloseQueue())
	n := 0
	for v, err := range q.All(bg) {
		if n < len(badJobs) {
			check("All", err, badJobs[n].body, badJobs[n].want)
		} else if err != nil || v.Name != "last" {
			t.Errorf("%v, %v", v, err)
		}
		n++
	}
	if n != len(badJobs)+1 {
		t.Errorf("%d of %d", n, len(badJobs)+1)
	}
}
