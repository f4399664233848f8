package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/pipe"
	"github.com/shiplap-ipc/shiplap/queue"
)

// newDemoChildCmd is what the demo's processes run.
func newDemoChildCmd(at *place) *cobra.Command {
	return &cobra.Command{
		Use: "demo-child ROLE NAME [NUMBER…]", Hidden: true, Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var n [2]int
			for i, a := range args[2:min(len(args), 4)] {
				n[i], _ = strconv.Atoi(a)
			}
			d, err := at.join()
			if err != nil {
				return err
			}
			defer d.Close()
			c := &child{cmd.Context(), d, args[1], n[0], n[1]}
			role, ok := roles[args[0]]
			if !ok {
				return usagef("no role %q", args[0])
			}
			return role(c)
		},
	}
}

type child struct {
	ctx  context.Context
	d    *shiplap.Domain
	name string
	a, b int
}

var roles = map[string]func(*child) error{
	"produce": onQueue((*child).produce),
	"consume": onQueue((*child).consume),
	"hold":    onQueue((*child).hold),
	"next":    onQueue((*child).next),
	"grab":    onQueue((*child).grab),
	"work":    onQueue((*child).work),
	"report":  onQueue((*child).report),
	"blast":   onQueue((*child).blast),
	"absorb":  onQueue((*child).absorb),
	"send":    (*child).send,
	"recv":    (*child).recv,
	"count":   (*child).count,
	"dawdle":  (*child).dawdle,
	"tally":   (*child).tallyUp,
	"manage":  (*child).manage,
}

func onQueue(f func(*child, *queue.Raw) error) func(*child) error {
	return func(c *child) error {
		q, err := queue.OpenRaw(c.d, c.name, nil)
		if err != nil {
			return err
		}
		return errors.Join(f(c, q), q.Close())
	}
}

func number(n int) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(n)) }

// produce puts the numbers from a on, b of them.
func (c *child) produce(q *queue.Raw) error {
	for n := 0; n < c.b; {
		var batch [][]byte
		for ; n < c.b && len(batch) < 64; n++ {
			batch = append(batch, number(c.a+n))
		}
		if _, err := q.PutMany(c.ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// consume writes what it takes until the queue is closed.
func (c *child) consume(q *queue.Raw) error {
	w := bufio.NewWriterSize(os.Stdout, 64<<10)
	for {
		_, err := q.GetMany(c.ctx, 256, func(msg []byte) error {
			_, err := w.Write(msg)
			return err
		})
		if errors.Is(err, shiplap.ErrClosed) {
			return w.Flush()
		}
		if err != nil {
			return err
		}
	}
}

// hold takes the producing side, puts a number, and stops halfway through another.
func (c *child) hold(q *queue.Raw) error {
	p, err := q.Producer(c.ctx)
	if err != nil {
		return err
	}
	if err := p.Put(c.ctx, number(c.a)); err != nil {
		return err
	}
	half, err := p.Reserve(c.ctx, 1000)
	if err != nil {
		return err
	}
	copy(half, "never to be seen")
	fmt.Println("holding")
	<-c.ctx.Done()
	return c.ctx.Err()
}

// next waits for the producing side and puts a number.
func (c *child) next(q *queue.Raw) error {
	p, err := q.Producer(c.ctx)
	if err != nil {
		return err
	}
	return p.Put(c.ctx, number(c.a))
}

// grab takes a deliveries and keeps them.
func (c *child) grab(q *queue.Raw) error {
	for range c.a {
		if _, err := q.Receive(c.ctx); err != nil {
			return err
		}
	}
	fmt.Println("holding")
	<-c.ctx.Done()
	return c.ctx.Err()
}

// work writes each delivery, then acknowledges it.
func (c *child) work(q *queue.Raw) error {
	for d, err := range q.Deliveries(c.ctx) {
		if err != nil {
			return err
		}
		if _, err := os.Stdout.Write(d.Body); err != nil {
			return err
		}
		if err := d.Ack(); err != nil {
			return err
		}
	}
	return nil
}

// report puts numbers one by one from 0 on and says of each that it is put.
func (c *child) report(q *queue.Raw) error {
	for n := 0; ; n++ {
		if err := q.Put(c.ctx, number(n)); err != nil {
			return err
		}
		if _, err := os.Stdout.Write(number(n)); err != nil {
			return err
		}
	}
}

// blast puts a messages of 64 bytes, in batches of b, or singly through an exclusive handle if b is 0.
func (c *child) blast(q *queue.Raw) error {
	msg := make([]byte, 64)
	if c.b == 0 {
		p, err := q.Producer(c.ctx)
		for n := 0; n < c.a && err == nil; n++ {
			err = p.Put(c.ctx, msg)
		}
		return err
	}
	batch := make([][]byte, c.b)
	for i := range batch {
		batch[i] = msg
	}
	for n := 0; n < c.a; n += c.b {
		if _, err := q.PutMany(c.ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// absorb takes what blast puts, and says how many nanoseconds that took from the first on.
func (c *child) absorb(q *queue.Raw) error {
	buf := make([]byte, 0, 64)
	buf, err := q.Get(c.ctx, buf)
	start := time.Now()
	if c.b == 0 && err == nil {
		var r *queue.RawConsumer
		r, err = q.Consumer(c.ctx)
		for n := 1; n < c.a && err == nil; n++ {
			buf, err = r.Get(c.ctx, buf[:0])
		}
	} else {
		for n, k := 1, 0; n < c.a && err == nil; n += k {
			k, err = q.GetMany(c.ctx, c.b, func(msg []byte) error {
				buf = append(buf[:0], msg...)
				return nil
			})
		}
	}
	if err != nil {
		return err
	}
	fmt.Println(time.Since(start).Nanoseconds())
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// send sends a bytes in writes of b, and says their checksum.
func (c *child) send() error {
	e, err := pipe.OpenOrCreate(c.d, c.name, nil)
	if err != nil {
		return err
	}
	buf := make([]byte, c.b)
	sum := uint32(0)
	for n := 0; n < c.a; n += c.b {
		for i := 0; i < len(buf); i += 512 {
			buf[i] = byte(n>>16 + i)
		}
		sum = crc32.Update(sum, castagnoli, buf)
		if _, err := e.Write(buf); err != nil {
			return err
		}
	}
	if err := e.CloseWrite(); err != nil {
		return err
	}
	if _, err := e.Read(buf); err != io.EOF {
		return fmt.Errorf("pipe %q: %w, but the other end should have closed", c.name, err)
	}
	fmt.Println(sum)
	return e.Close()
}

// recv receives everything, and says the checksum and the nanoseconds from the first byte on.
func (c *child) recv() error {
	e, err := pipe.OpenOrCreate(c.d, c.name, nil)
	if err != nil {
		return err
	}
	buf := make([]byte, c.b)
	sum, start := uint32(0), time.Time{}
	for {
		n, err := e.Read(buf)
		if start.IsZero() {
			start = time.Now()
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		sum = crc32.Update(sum, castagnoli, buf[:n])
	}
	d := time.Since(start)
	fmt.Println(sum)
	fmt.Println(d.Nanoseconds())
	return e.Close()
}
