package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/queue"
)

func newQueueDeadCmd(at *place) *cobra.Command {
	return group("dead", "Look at dead letters, send them again, drop them",
		`A queue that was made with --max-deliveries hands each message out that often. A message that comes back once more,
because its consumer died or gave it back, goes to the queue that --dead-letters names. It is an ordinary
queue with acknowledgement; these commands find it by the name of the first one.`,
		newQueueDeadLsCmd(at), newQueueDeadRequeueCmd(at), newQueueDeadDropCmd(at))
}

// withDead runs f with a queue and the queue of its dead letters, nil if no message ever went there.
func (p *place) withDead(name string, f func(q, dead *queue.Raw) error) error {
	d, err := p.find()
	if err != nil {
		return err
	}
	defer d.Close()
	q, err := queue.OpenRaw(d, name, nil)
	if err != nil {
		return err
	}
	defer q.Close()
	if q.DeadLetters() == "" {
		return exitError{fmt.Errorf("queue %q: %w: it has no dead letters", name, shiplap.ErrUnsupported), exitFailure,
			"make a queue with shiplap queue create --max-deliveries N --dead-letters NAME"}
	}
	dead, err := queue.OpenRaw(d, q.DeadLetters(), nil)
	if errors.Is(err, shiplap.ErrNotExist) {
		return f(q, nil)
	}
	if err != nil {
		return err
	}
	return errors.Join(f(q, dead), dead.Close())
}

type letter struct {
	Size    int             `json:"size"`
	Count   int             `json:"count"`            // how often it was handed out as a dead letter
	Holder  int             `json:"holder,omitempty"` // pid
	Message json.RawMessage `json:"message,omitempty"`
	Base64  []byte          `json:"message_base64,omitempty"` // of what is no text, or none of the type
	envelopeText
	text string // for people
}

func letterOf(w *wording, m queue.Message) (letter, error) {
	l := letter{Size: len(m.Body), Count: m.Count, Holder: m.Holder, text: string(m.Body)}
	l.envelopeText = envelopeTextOf(m.Envelope())
	if text, err := w.appendText(nil, m.Body); err == nil {
		l.text = string(text)
	}
	return l, json.Unmarshal(w.appendAny(nil, m.Body), &l)
}

func newQueueDeadLsCmd(at *place) *cobra.Command {
	var most int
	cmd := &cobra.Command{
		Use:     "ls NAME",
		Aliases: []string{"list"},
		Short:   "List the dead letters of a queue",
		Long: `List the dead letters of a queue, the oldest first, and leave them where they are. DELIVERED is how often one was
handed out as a dead letter, HELD BY is the process that has it in its hands. Typed messages are shown as JSON.`,
		Example: `  shiplap queue dead ls jobs
  shiplap queue dead ls jobs --json | jq '.[].message'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(at.names("queue")),
	}
	cmd.Flags().IntVarP(&most, "count", "c", 100, "show `N` at the most, 0 for all")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if most < 0 {
			return usagef("--count %d: at least 0", most)
		}
		if most == 0 {
			most = math.MaxInt
		}
		return at.withDead(args[0], func(q, dead *queue.Raw) error {
			list, err := letters(cmd.Context(), dead, most)
			switch {
			case err != nil:
				return err
			case *asJSON:
				return writeJSON(cmd, list)
			case len(list) == 0:
				fmt.Fprintf(cmd.ErrOrStderr(), "no dead letters of queue %q\n", q.Name())
				return nil
			}
			return printLetters(cmd, dead, list)
		})
	}
	return cmd
}

// letters are at most so many of a queue, which may be nil.
func letters(ctx context.Context, dead *queue.Raw, most int) ([]letter, error) {
	list := []letter{}
	if dead == nil {
		return list, nil
	}
	w, err := wordingOf(dead.Type(), false)
	if err != nil {
		return nil, err
	}
	all, err := dead.Browse(ctx, most)
	for _, m := range all {
		l, err := letterOf(w, m)
		if err != nil {
			return nil, err
		}
		list = append(list, l)
	}
	return list, err
}

func printLetters(cmd *cobra.Command, dead *queue.Raw, list []letter) error {
	t := newTable(cmd.OutOrStdout(), "SIZE", "DELIVERED", "HELD BY", "MESSAGE")
	for _, l := range list {
		holder := "-"
		if l.Holder != 0 {
			holder = fmt.Sprint("pid ", l.Holder)
		}
		t.row(formatSize(int64(l.Size)), fmt.Sprint(l.Count), holder, shortCell(l.text))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	st, err := dead.Stats()
	if more := int64(st.Depth) - int64(len(list)); err == nil && more > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s more; --count 0 shows all\n", grouped(more))
	}
	return err
}

// settler does something with each of so many dead letters.
type settler struct {
	patience
	count int
	all   bool
	done  string // what was done with them
}

// bind lets a command call f for each letter; q is the queue that it came from.
func (s *settler) bind(at *place, cmd *cobra.Command,
	f func(ctx context.Context, q *queue.Raw, d *queue.RawDelivery) error) {
	cmd.Args, cmd.ValidArgsFunction = cobra.ExactArgs(1), first(at.names("queue"))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if s.count < 1 {
			return usagef("--count %d: at least 1", s.count)
		}
		return at.withDead(args[0], func(q, dead *queue.Raw) error {
			return s.run(cmd, dead, func(d *queue.RawDelivery) error { return f(cmd.Context(), q, d) })
		})
	}
	cmd.Flags().IntVarP(&s.count, "count", "c", 1, "`N` letters, the oldest first")
	cmd.Flags().BoolVarP(&s.all, "all", "a", false, "all that are there")
	cmd.MarkFlagsMutuallyExclusive("count", "all")
}

// run hands letters to f until there are none, or so many are done. Those that were there at the start are
// handed out once.
func (s *settler) run(cmd *cobra.Command, dead *queue.Raw, f func(*queue.RawDelivery) error) error {
	n := 0
	defer func() { fmt.Fprintf(cmd.ErrOrStderr(), "%s %s\n", counted(n, "message"), s.done) }()
	if dead == nil {
		return nil
	}
	st, err := dead.Stats()
	if err != nil {
		return err
	}
	left := int(st.Depth)
	if !s.all {
		left = min(left, s.count)
	}
	for ; n < left; n++ {
		var d *queue.RawDelivery
		err := now(cmd.Context(), func() (err error) { d, err = dead.TryReceive(); return err })
		if errors.Is(err, shiplap.ErrEmpty) || errors.Is(err, shiplap.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(d); err != nil {
			return errors.Join(err, d.Nack())
		}
	}
	return nil
}

func newQueueDeadRequeueCmd(at *place) *cobra.Command {
	s := &settler{done: "put back"}
	cmd := &cobra.Command{
		Use:   "requeue NAME",
		Short: "Put dead letters back into their queue",
		Long: `Put dead letters back into the queue that they came from: the oldest, or with --count more, or --all. Each
goes as one step: whenever this command is killed, a message is in exactly one of the two queues. It counts as
not yet handed out. If the queue is full, the command waits for room.`,
		Example: `  shiplap queue dead requeue jobs
  shiplap queue dead requeue jobs --all --timeout 10s`,
	}
	s.bind(at, cmd, func(ctx context.Context, q *queue.Raw, d *queue.RawDelivery) error {
		ctx, cancel := s.context(ctx)
		defer cancel()
		err := d.MoveTo(ctx, q)
		if errors.Is(err, context.DeadlineExceeded) {
			return exitError{fmt.Errorf("queue %q: no room within %v", q.Name(), s.timeout), exitTimeout, ""}
		}
		return err
	})
	cmd.Flags().DurationVarP(&s.timeout, "timeout", "t", 0, "longest wait for room, for each message (default: for ever)")
	return cmd
}

func newQueueDeadDropCmd(at *place) *cobra.Command {
	s := &settler{done: "dropped"}
	cmd := &cobra.Command{
		Use:   "drop NAME",
		Short: "Throw dead letters away",
		Long:  `Throw dead letters away: the oldest, or with --count more, or --all. This cannot be undone.`,
		Example: `  shiplap queue dead drop jobs
  shiplap queue dead drop jobs --all`,
	}
	s.bind(at, cmd, func(_ context.Context, _ *queue.Raw, d *queue.RawDelivery) error { return d.Ack() })
	return cmd
}
