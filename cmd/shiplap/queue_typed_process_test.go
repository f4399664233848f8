package main

import (
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/queue"
)

// Typed messages are shown as JSON, with what stands in front of them; what is none of the type, in base64.
func TestQueueTyped(t *testing.T) {
	type job struct {
		Name string  `json:"name"`
		Size float64 `json:"size"`
	}
	s := newTool(t)
	d := s.domain()
	defer d.Close()
	jobs, err := queue.Create[job](d, "jobs", &queue.Options{Ack: true, MaxDeliveries: 1, DeadLetters: "dead"})
	if err != nil {
		t.Fatal(err)
	}
	defer jobs.Close()
	put := func(name string) {
		t.Helper()
		if err := jobs.PutWith(t.Context(), job{name, 0.5}, shiplap.Envelope{"id": []byte(name)}); err != nil {
			t.Fatal(err)
		}
	}
	put("one")
	m, err := jobs.Receive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Nack(); err != nil {
		t.Fatal(err)
	}
	put("two")
	if err := jobs.Raw().Put(t.Context(), []byte{0xff}); err != nil {
		t.Fatal(err)
	}
	if got := s.run("queue", "dead", "ls", "jobs"); !strings.Contains(got, `"name":"one"`) {
		t.Errorf("dead letters are listed as\n%s", got)
	}
	got := strings.Join(strings.Fields(s.run("queue", "dead", "ls", "jobs", "--json")), "")
	if !strings.Contains(got, `"message":{"name":"one","size":0.5},"envelope":{"id":"one"}`) {
		t.Errorf("dead letters are listed as\n%s", got)
	}
	const want = `{"message":{"name":"two","size":0.5},"envelope":{"id":"two"}}` + "\n" + `{"message_base64":"/w=="}` + "\n"
	if got := s.run("queue", "get", "jobs", "--all", "--json"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	refused := s.start(nil, nil, "queue", "get", "jobs")
	refused.ends(exitFailure)
	if !strings.Contains(refused.stderr.String(), "--raw") {
		t.Errorf("it says %q", refused.stderr.String())
	}
}
