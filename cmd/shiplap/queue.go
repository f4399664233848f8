package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/queue"
)

func newQueueCmd(at *place) *cobra.Command {
	return group("queue", "Create queues, put messages, get them",
		`A queue carries messages from any number of producers to any number of consumers. Each message goes
to one consumer, in order. It stays until it is removed, whoever comes and goes.`,
		newQueueCreateCmd(at), newQueuePutCmd(at), newQueueGetCmd(at), newQueueCloseCmd(at), newQueueDeadCmd(at))
}

func newQueueCreateCmd(at *place) *cobra.Command {
	var opt queue.Options
	capacity := size(queue.DefaultCapacity)
	var existOK bool
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a queue",
		Long: `Make a queue. Its memory is reserved now, so that a full /dev/shm is an error now and not later.

With --ack, a message that a consumer has taken goes to the next one if that consumer dies before it
has acknowledged it: every message is handled at least once. Without, a message is gone once it is taken.

With --max-deliveries, a message that was handed out that often and comes back goes to the queue that --dead-letters
names, which is made as well; without that, it is dropped. See shiplap queue dead --help.`,
		Example: `  shiplap queue create jobs
  shiplap queue create jobs --ack --capacity 64M
  shiplap queue create jobs --ack --max-deliveries 5 --dead-letters jobs.dead`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := at.join()
			if err != nil {
				return err
			}
			defer d.Close()
			opt.Capacity = int64(capacity)
			q, err := queue.CreateRaw(d, args[0], &opt)
			if existOK && errors.Is(err, shiplap.ErrExist) {
				if q, err = openBytes(d, args[0], false); err == nil && !sameQueue(q, &opt) {
					q.Close()
					err = fmt.Errorf("queue %q: %w: it is there with --ack=%t --max-deliveries=%d --dead-letters=%q",
						args[0], shiplap.ErrExist, q.Ack(), q.MaxDeliveries(), q.DeadLetters())
				}
			}
			if err != nil {
				return err
			}
			return q.Close()
		},
	}
	f := cmd.Flags()
	f.VarP(&capacity, "capacity", "c", "`size` of its memory, rounded up to a power of two")
	f.BoolVar(&opt.Ack, "ack", false, "hand out deliveries that have to be acknowledged")
	f.IntVar(&opt.MaxDeliveries, "max-deliveries", 0, "hand a message out `N` times at most; with --ack (default: no limit)")
	f.StringVar(&opt.DeadLetters, "dead-letters", "", "`name` of the queue for messages that were handed out that often")
	f.StringVar(&opt.Label, "label", "", "`text` for people, shown by ls and stat")
	f.BoolVar(&existOK, "exist-ok", false, "fine if it is there already")
	return cmd
}

func sameQueue(q *queue.Raw, opt *queue.Options) bool {
	return q.Ack() == opt.Ack && q.MaxDeliveries() == opt.MaxDeliveries && q.DeadLetters() == opt.DeadLetters
}

func newQueueCloseCmd(at *place) *cobra.Command {
	return &cobra.Command{
		Use:   "close NAME",
		Short: "Let nothing more be put; consumers take what is left",
		Long: `Close a queue for everybody: put fails from now on, get takes what is left and then ends. This cannot
be undone. The queue itself stays: remove it with shiplap rm.`,
		Example:           `  seq 100 | shiplap queue put jobs && shiplap queue close jobs`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(at.names("queue")),
		RunE: func(_ *cobra.Command, args []string) error {
			return at.withQueue(args[0], true, func(q *queue.Raw) error { return q.CloseQueue() })
		},
	}
}

// withQueue runs f with an open queue and closes it again.
func (p *place) withQueue(name string, anyType bool, f func(*queue.Raw) error) error {
	d, err := p.find()
	if err != nil {
		return err
	}
	defer d.Close()
	q, err := openBytes(d, name, anyType)
	if err != nil {
		return err
	}
	return errors.Join(f(q), q.Close())
}

// openBytes opens a queue of bytes. Lines of text are of no use to programs that share typed values.
func openBytes(d *shiplap.Domain, name string, anyType bool) (*queue.Raw, error) {
	q, err := queue.OpenRaw(d, name, nil)
	if err != nil || anyType {
		return q, err
	}
	typed, err := queue.Open[[]byte](d, name, nil)
	if err != nil {
		q.Close()
		return nil, exitError{err, exitFailure, "--raw moves its messages as the bytes they are"}
	}
	return q, typed.Close()
}

// patience is how long put and get wait.
type patience struct {
	timeout time.Duration
	noWait  bool
}

func (p *patience) flags(cmd *cobra.Command, what string) {
	cmd.Flags().DurationVarP(&p.timeout, "timeout", "t", 0, "longest wait "+what+", as in 500ms or 10s (default: for ever)")
	cmd.Flags().BoolVarP(&p.noWait, "no-wait", "n", false, "do not wait at all")
	cmd.MarkFlagsMutuallyExclusive("timeout", "no-wait")
}

// lockPatience bounds --no-wait where a side is taken: most often for a microsecond.
const lockPatience = 100 * time.Millisecond

func (p *patience) context(ctx context.Context) (context.Context, context.CancelFunc) {
	if p.timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, p.timeout)
}

// either makes the call that does not wait, or the one that does.
func (p *patience) either(ctx context.Context, try func() error, do func(wait context.Context) error) error {
	if p.noWait {
		return now(ctx, try)
	}
	wait, cancel := p.context(ctx)
	defer cancel()
	return do(wait)
}

// now repeats a call that does not wait while it fails only because somebody holds the lock.
func now(ctx context.Context, try func() error) error {
	start := time.Now()
	for {
		err := try()
		if !errors.Is(err, shiplap.ErrBusy) || time.Since(start) > lockPatience || ctx.Err() != nil {
			return err
		}
		time.Sleep(20 * time.Microsecond)
	}
}
