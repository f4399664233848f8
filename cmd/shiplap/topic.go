package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/topic"
)

const wordingHelp = `Messages of bytes are text, a line each. Where programs share typed messages, each is written, and read, as JSON on one line, in the form
that its type says (shiplap stat shows it); --raw moves the bytes as they are.`

func newTopicCmd(at *place) *cobra.Command {
	return group("topic", "Publish messages to all who subscribe",
		`A topic carries each message to all subscribers, in all processes. A subscriber gets what is published while it is there; a late one
may ask for the last messages before. Publishers and subscribers may be killed at any moment without harm to the others.

`+wordingHelp,
		newTopicCreateCmd(at), newTopicPubCmd(at), newTopicSubCmd(at), newTopicCloseCmd(at), newTopicStatCmd(at))
}

func newTopicCreateCmd(at *place) *cobra.Command {
	var opt topic.Options
	capacity := size(topic.DefaultCapacity)
	var overwrite, existOK bool
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a topic",
		Long: `Make a topic of bytes. Its memory is reserved now, so that a full /dev/shm is an error now and not later.

When a subscriber does not keep up, publishers wait for it, and everybody gets everything. With --overwrite they do not wait: a subscriber
that is too slow misses messages, and is told how many.`,
		Example: `  shiplap topic create news
  shiplap topic create ticks --overwrite --capacity 16M`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(_ *cobra.Command, args []string) error {
			if opt.Subscribers < 0 {
				return usagef("--subscribers %d: at least 0", opt.Subscribers)
			}
			d, err := at.join()
			if err != nil {
				return err
			}
			defer d.Close()
			opt.Capacity = int64(capacity)
			if overwrite {
				opt.Policy = topic.Overwrite
			}
			t, err := topic.CreateRaw(d, args[0], &opt)
			if existOK && errors.Is(err, shiplap.ErrExist) {
				t, err = topic.OpenRaw(d, args[0], nil)
				if err == nil && (t.Policy() != opt.Policy || t.Type() != "bytes") {
					err = errors.Join(fmt.Errorf("topic %q: %w: it is there with --overwrite=%t and messages of %s",
						args[0], shiplap.ErrExist, t.Policy() == topic.Overwrite, t.Type()), t.Close())
				}
			}
			if err != nil {
				return err
			}
			return t.Close()
		},
	}
	f := cmd.Flags()
	f.VarP(&capacity, "capacity", "c", "`size` of its memory, rounded up to a power of two")
	f.BoolVar(&overwrite, "overwrite", false, "do not wait for slow subscribers")
	f.IntVar(&opt.Subscribers, "subscribers", topic.DefaultSubscribers, "how many there can be at a time: `N`")
	f.StringVar(&opt.Label, "label", "", "`text` for people, shown by ls and stat")
	f.BoolVar(&existOK, "exist-ok", false, "fine if it is there already")
	return cmd
}

func newTopicCloseCmd(at *place) *cobra.Command {
	return &cobra.Command{
		Use:   "close NAME",
		Short: "Let nothing more be published; subscribers end",
		Long: `Close a topic for everybody: pub fails from now on, subscribers receive what there is and then end. This cannot be undone. The
topic itself stays: remove it with shiplap rm.`,
		Example:           `  shiplap topic close news`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(at.names("topic")),
		RunE: func(_ *cobra.Command, args []string) error {
			return at.withTopic(args[0], func(t *topic.Raw) error { return t.CloseTopic() })
		},
	}
}

// withTopic runs f with an open topic and closes it again.
func (p *place) withTopic(name string, f func(*topic.Raw) error) error {
	d, err := p.find()
	if err != nil {
		return err
	}
	defer d.Close()
	t, err := topic.OpenRaw(d, name, nil)
	if err != nil {
		return err
	}
	return errors.Join(f(t), t.Close())
}

func newTopicStatCmd(at *place) *cobra.Command {
	return newKindStatCmd(at, "topic", `Show what was published, what is still there for late subscribers, and every subscriber: how far it is behind, and what it missed. The slowest is named,
for publishers wait for it unless the topic was made with --overwrite. It takes no lock and needs nobody alive.`,
		func(d *shiplap.Domain, name string) (any, func(table), error) {
			s, err := topic.StatsOf(d, name)
			return s, func(t table) {
				t.row("name", s.Name)
				t.row("messages", s.Type)
				printTopic(t, &s)
				for i := range s.Subscribers {
					what := ""
					if i == 0 {
						what = "subscribers"
					}
					t.row(what, subscriberText(&s.Subscribers[i]))
				}
			}, err
		})
}

func printTopic(t table, s *topic.Stats) {
	state := "open"
	if s.Closed {
		state = "closed: nothing more is published"
	}
	t.row("state", state)
	full := "publishers wait for the slowest subscriber"
	if s.Policy == topic.Overwrite.String() {
		full = "the oldest messages are overwritten"
	}
	t.row("when full", full)
	t.row("published", fmt.Sprintf("%s messages, %s bytes; %s waits for subscribers", grouped(s.Published), grouped(s.Bytes), grouped(s.PublishWaits)))
	t.row("kept", fmt.Sprintf("%s messages, %s of %s in use", grouped(s.Kept), formatSize(int64(s.Used)), formatSize(int64(s.Capacity))))
	living := 0
	for _, sub := range s.Subscribers {
		if sub.Alive {
			living++
		}
	}
	t.row("subscribed", fmt.Sprintf("%s of at most %s; they slept %s times", grouped(living), grouped(s.MaxSubscribers), grouped(s.ReceiveWaits)))
	slowest := "nobody is behind"
	switch {
	case living == 0:
		slowest = "-"
	case s.Slowest != nil && s.Slowest.Lag > 0:
		slowest = subscriberText(s.Slowest)
	}
	t.row("slowest", slowest)
}

func subscriberText(s *topic.Subscriber) string {
	text := fmt.Sprintf("pid %d: %s messages behind (%s), received %s", s.Pid, grouped(s.Lag), formatSize(int64(s.LagBytes)), grouped(s.Received))
	if s.Missed > 0 {
		text += fmt.Sprintf(", missed %s", grouped(s.Missed))
	}
	if !s.Alive {
		text += "; dead: nobody waits for it"
	}
	if !s.Since.IsZero() {
		text += fmt.Sprintf("; since %s", s.Since.Format(time.TimeOnly))
	}
	if s.Command != "" {
		text += "; " + s.Command
	}
	return text
}
