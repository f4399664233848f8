package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
	"github.com/shiplap-ipc/shiplap/pipe"
	"github.com/shiplap-ipc/shiplap/queue"
	"github.com/shiplap-ipc/shiplap/shared"
	"github.com/shiplap-ipc/shiplap/topic"
)

type statted struct {
	shiplap.Info
	Queue *queue.Stats `json:"queue,omitempty"`
	Pipe  *pipe.Stats  `json:"pipe,omitempty"`
	lockStats
	Value   *shared.Stats  `json:"value,omitempty"`
	Array   *arrayStats    `json:"array,omitempty"`
	Store   *storeStats    `json:"store,omitempty"`
	Topic   *topic.Stats   `json:"topic,omitempty"`
	Channel *channel.Stats `json:"channel,omitempty"`
}

type arrayStats struct {
	Shape  []int  `json:"shape"`
	Frames int    `json:"frames"`
	DType  string `json:"dtype"` // for numpy.dtype
	shared.Stats
}

func newStatCmd(at *place) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stat NAME…",
		Short: "Show everything about an object",
		Long: `Show what an object is, who has it open, and its counters. It takes no lock and needs nobody alive; counters
of an operation in flight, or whose process died in it, may be missing.`,
		Example: `  shiplap stat jobs deploy
  shiplap stat jobs --json | jq '.[0].queue.depth'`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: at.names(""),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		d, err := at.look()
		if err != nil {
			return err
		}
		defer d.Close()
		var all []statted
		for _, name := range args {
			s, err := stat(d, name)
			if err != nil {
				return err
			}
			all = append(all, s)
		}
		if *asJSON {
			return writeJSON(cmd, all)
		}
		for i, s := range all {
			if i > 0 {
				fmt.Fprintln(cmd.OutOrStdout())
			}
			t := newTable(cmd.OutOrStdout())
			s.print(t)
			if err := t.Flush(); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

func stat(d *shiplap.Domain, name string) (statted, error) {
	in, err := d.Stat(name)
	if err != nil {
		return statted{}, fmt.Errorf("stat %q: %w", name, err)
	}
	s := statted{Info: in}
	if in.Err != nil || in.Removed {
		return s, nil
	}
	switch in.Kind {
	case "queue":
		q, err := queue.OpenRaw(d, name, nil)
		if err != nil {
			return s, err
		}
		defer q.Close()
		st, err := q.Stats()
		s.Queue = &st
		return s, err
	case "pipe":
		st, err := pipe.StatsOf(d, name)
		s.Pipe = &st
		return s, err
	case "value":
		s.holder = holderOf(d, name, "lock")
		s.Value, err = statsOf(d, name, shared.OpenRawValue)
		return s, err
	case "array":
		s.holder = holderOf(d, name, "lock")
		s.Array, err = arrayStatsOf(d, name)
		return s, err
	case "store":
		s.Store, err = storeStatsOf(d, name)
		return s, err
	case "topic":
		st, err := topic.StatsOf(d, name)
		s.Topic = &st
		return s, err
	case "channel":
		st, err := channel.StatsOf(d, name)
		s.Channel = &st
		return s, err
	}
	return s, s.lockStats.fill(d, in.Kind, name)
}

func arrayStatsOf(d *shiplap.Domain, name string) (*arrayStats, error) {
	a, err := shared.OpenRawArray(d, name)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	st, err := a.Stats()
	return &arrayStats{a.Shape(), a.FrameCount(), a.DType(), st}, err
}

func (s *statted) print(t table) {
	t.row("name", s.Name)
	if s.Problem != "" {
		t.row("size", bytesOf(s.Size))
		t.row("problem", s.Problem)
		return
	}
	t.row("kind", s.Kind)
	t.row("type", dash(s.Type))
	if s.Label != "" {
		t.row("label", s.Label)
	}
	t.row("size", bytesOf(s.Size))
	t.row("created", fmt.Sprintf("%s by pid %d", s.Created.Format(time.DateTime), s.Creator))
	t.row("open in", users(s.Users))
	if s.Ephemeral {
		t.row("ephemeral", "goes with its last user")
	}
	if s.Removed {
		t.row("removed", "yes, but its name is still there: shiplap sweep")
	}
	if q := s.Queue; q != nil {
		printQueue(t, q)
	}
	if p := s.Pipe; p != nil {
		t.row("end A", p.A)
		t.row("end B", p.B)
		printDirection(t, "A to B", p.AtoB)
		printDirection(t, "B to A", p.BtoA)
	}
	s.lockStats.print(t)
	if v := s.Value; v != nil {
		printShared(t, v, s.holder)
	}
	if a := s.Array; a != nil {
		t.row("shape", shapeText(a.Shape))
		t.row("dtype", a.DType)
		if a.Frames > 1 {
			latest := "nothing is published yet"
			if a.Version > 0 {
				latest = "the latest is version " + grouped(a.Version)
			}
			t.row("frames", grouped(a.Frames)+"; "+latest)
		}
		printShared(t, &a.Stats, s.holder)
	}
	if st := s.Store; st != nil {
		st.print(t)
	}
	if st := s.Topic; st != nil {
		printTopic(t, st)
	}
	if st := s.Channel; st != nil {
		printChannel(t, st)
	}
}

func printShared(t table, s *shared.Stats, holder *shiplap.Process) {
	if s.Lock == nil {
		t.row("lock", "made without")
		return
	}
	t.row("lock held by", orNobody(holder))
	if s.Lock.Damaged {
		t.row("damaged", "an owner of the lock died: the content may be half changed")
	}
}

func printQueue(t table, q *queue.Stats) {
	state := "open"
	if q.Closed {
		state = "closed: takes no more messages"
	}
	t.row("state", state)
	t.row("messages", grouped(q.Depth))
	t.row("memory", fmt.Sprintf("%s of %s in use, at most %s so far", formatSize(int64(q.Used)), formatSize(int64(q.Capacity)), formatSize(int64(q.HighWater))))
	t.row("put", fmt.Sprintf("%s messages, %s bytes; %s waits for room", grouped(q.Puts), grouped(q.Bytes), grouped(q.PutWaits)))
	t.row("taken", fmt.Sprintf("%s messages; %s waits for one", grouped(q.Gets), grouped(q.GetWaits)))
	if q.Ack {
		t.row("deliveries", fmt.Sprintf("%s, of which %s not for the first time", grouped(q.Deliveries), grouped(q.Redeliveries)))
	}
	if q.MaxDeliveries > 0 {
		left := grouped(q.Dropped) + " dropped"
		if q.DeadName != "" {
			left = fmt.Sprintf("%s moved to queue %s", grouped(q.DeadLetters), inQuotes(q.DeadName))
		}
		t.row("limit", fmt.Sprintf("%s deliveries; %s", grouped(q.MaxDeliveries), left))
	}
}

func printDirection(t table, name string, d pipe.Direction) {
	closed := ""
	if d.Closed {
		closed = "; nothing more will come"
	}
	t.row(name, fmt.Sprintf("%s bytes sent, %s of %s in use%s", grouped(d.Bytes), formatSize(int64(d.Used)), formatSize(int64(d.Capacity)), closed))
	t.row("", fmt.Sprintf("%s waits for room, %s for data", grouped(d.SendWaits), grouped(d.RecvWaits)))
}

func bytesOf(n int64) string { return fmt.Sprintf("%s (%s bytes)", formatSize(n), grouped(n)) }

func users(pids []int) string {
	if len(pids) == 0 {
		return "no process"
	}
	s := make([]string, len(pids))
	for i, p := range pids {
		s[i] = strconv.Itoa(p)
	}
	return "pid " + strings.Join(s, ", ")
}
