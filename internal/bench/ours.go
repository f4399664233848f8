//go:build linux

package bench

import (
	"errors"
	"io"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/pipe"
	"github.com/shiplap-ipc/shiplap/queue"
)

// pairOfQueues gives each side a queue to put into and one to take from.
func pairOfQueues(e *Env, opt *queue.Options) (out, in *queue.Raw, err error) {
	name := [2]string{e.Name + ".0", e.Name + ".1"}
	var q [2]*queue.Raw
	for i := range q {
		if e.Side == 0 {
			q[i], err = queue.CreateRaw(e.Domain, name[i], opt)
		} else {
			q[i], err = queue.OpenRaw(e.Domain, name[i], opt)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return q[e.Side], q[1-e.Side], nil
}

func queueTrip(mode shiplap.WaitMode) func(e *Env) (Loop, error) {
	return func(e *Env) (Loop, error) {
		out, in, err := pairOfQueues(e, &queue.Options{Ephemeral: true, Wait: mode})
		if err != nil {
			return Loop{}, err
		}
		p, err := out.Producer(background)
		if err != nil {
			return Loop{}, err
		}
		c, err := in.Consumer(background)
		if err != nil {
			return Loop{}, err
		}
		buf := make([]byte, e.Bytes)
		got := make([]byte, 0, e.Bytes)
		return Loop{Run: func(n int) error {
			var err error
			for range n {
				if e.Side == 0 {
					if err = p.Put(background, buf); err != nil {
						return err
					}
					if got, err = c.Get(background, got[:0]); err != nil {
						return err
					}
				} else {
					if got, err = c.Get(background, got[:0]); err != nil {
						return err
					}
					if err = p.Put(background, got); err != nil {
						return err
					}
				}
			}
			return nil
		}, Close: func() { out.Close(); in.Close() }}, nil
	}
}

func sharedTrip(e *Env) (Loop, error) {
	out, in, err := pairOfQueues(e, &queue.Options{Ephemeral: true})
	if err != nil {
		return Loop{}, err
	}
	buf := make([]byte, e.Bytes)
	return Loop{Run: func(n int) error {
		var err error
		for range n {
			if e.Side == 0 {
				if err = out.Put(background, buf); err != nil {
					return err
				}
			}
			if buf, err = in.Get(background, buf[:0]); err != nil {
				return err
			}
			if e.Side == 1 {
				if err = out.Put(background, buf); err != nil {
					return err
				}
			}
		}
		return nil
	}, Close: func() { out.Close(); in.Close() }}, nil
}

func pipeEnd(e *Env) (*pipe.End, error) {
	if e.Side == 0 {
		return pipe.Create(e.Domain, e.Name, nil)
	}
	return pipe.Open(e.Domain, e.Name, nil)
}

func pipeTrip(e *Env) (Loop, error) {
	end, err := pipeEnd(e)
	if err != nil {
		return Loop{}, err
	}
	buf := make([]byte, e.Bytes)
	return Loop{Run: func(n int) error {
		var err error
		for range n {
			if e.Side == 0 {
				if err = end.Send(background, buf); err != nil {
					return err
				}
			}
			if buf, err = end.Recv(background, buf[:0]); err != nil {
				return err
			}
			if e.Side == 1 {
				if err = end.Send(background, buf); err != nil {
					return err
				}
			}
		}
		return nil
	}, Close: func() { end.Close() }}, nil
}

func pipeStream(e *Env) (Loop, error) {
	end, err := pipeEnd(e)
	if err != nil {
		return Loop{}, err
	}
	buf := make([]byte, e.Bytes)
	touch(buf)
	return Loop{Run: func(n int) error {
		if e.Side == 0 {
			for range n {
				if _, err := end.Write(buf); err != nil {
					return err
				}
			}
			return nil
		}
		for left := n * e.Bytes; left > 0; {
			k, err := end.Read(buf[:min(left, len(buf))])
			if err != nil {
				return err
			}
			left -= k
		}
		return nil
	}, Close: func() { end.Close() }}, nil
}

func queueOneWay(e *Env) (Loop, error) {
	out, in, err := pairOfQueues(e, &queue.Options{Ephemeral: true})
	if err != nil {
		return Loop{}, err
	}
	closing := func() { out.Close(); in.Close() }
	buf := make([]byte, e.Bytes)
	if e.Side == 0 {
		p, err := out.Producer(background)
		if err != nil {
			return Loop{}, err
		}
		return Loop{Run: func(n int) error {
			for range n {
				if err := p.Put(background, buf); err != nil {
					return err
				}
			}
			return nil
		}, Close: closing}, nil
	}
	c, err := in.Consumer(background)
	if err != nil {
		return Loop{}, err
	}
	return Loop{Run: func(n int) (err error) {
		for range n {
			if buf, err = c.Get(background, buf[:0]); err != nil {
				return err
			}
		}
		return nil
	}, Close: closing}, nil
}

func queueBatches(e *Env) (Loop, error) {
	const batch = 16
	out, in, err := pairOfQueues(e, &queue.Options{Ephemeral: true})
	if err != nil {
		return Loop{}, err
	}
	p, err1 := out.Producer(background)
	c, err2 := in.Consumer(background)
	if err := errors.Join(err1, err2); err != nil {
		return Loop{}, err
	}
	buf := make([]byte, e.Bytes)
	msgs := make([][]byte, batch)
	for i := range msgs {
		msgs[i] = buf
	}
	take := func(b []byte) error {
		copy(buf, b)
		return nil
	}
	return Loop{Run: func(n int) error {
		for left := n; left > 0; {
			k := min(left, batch)
			var err error
			if e.Side == 0 {
				k, err = p.PutMany(background, msgs[:k])
			} else {
				k, err = c.GetMany(background, k, take)
			}
			if err != nil {
				return err
			}
			left -= k
		}
		return nil
	}, Close: func() { out.Close(); in.Close() }}, nil
}

func sharedOneWay(batch int) func(e *Env) (Loop, error) {
	return func(e *Env) (Loop, error) {
		out, in, err := pairOfQueues(e, &queue.Options{Ephemeral: true})
		if err != nil {
			return Loop{}, err
		}
		closing := func() { out.Close(); in.Close() }
		buf := make([]byte, e.Bytes)
		msgs := make([][]byte, batch)
		for i := range msgs {
			msgs[i] = buf
		}
		take := func(b []byte) error {
			if len(b) != e.Bytes {
				return io.ErrUnexpectedEOF
			}
			copy(buf, b)
			return nil
		}
		return Loop{Run: func(n int) (err error) {
			for left := n; left > 0; {
				k := min(left, batch)
				switch {
				case e.Side == 0 && batch == 1:
					err = out.Put(background, buf)
				case e.Side == 0:
					k, err = out.PutMany(background, msgs[:k])
				case batch == 1:
					buf, err = in.Get(background, buf[:0])
				default:
					k, err = in.GetMany(background, k, take)
				}
				if err != nil {
					return err
				}
				left -= k
			}
			return nil
		}, Close: closing}, nil
	}
}

// inPlace hands messages over without copying or touching them.
func inPlace(e *Env) (Loop, error) {
	out, in, err := pairOfQueues(e, &queue.Options{Ephemeral: true, Capacity: 8 << 20})
	if err != nil {
		return Loop{}, err
	}
	p, err1 := out.Producer(background)
	c, err2 := in.Consumer(background)
	if err := errors.Join(err1, err2); err != nil {
		return Loop{}, err
	}
	put := func() error {
		if _, err := p.Reserve(background, e.Bytes); err != nil {
			return err
		}
		return p.Commit(e.Bytes)
	}
	take := func() error {
		b, err := c.Peek(background)
		if err != nil {
			return err
		}
		if len(b) != e.Bytes {
			return io.ErrUnexpectedEOF
		}
		return c.Release()
	}
	first, second := put, take
	if e.Side == 1 {
		first, second = take, put
	}
	return Loop{Run: func(n int) error {
		for range n {
			if err := first(); err != nil {
				return err
			}
			if err := second(); err != nil {
				return err
			}
		}
		return nil
	}, Close: func() { out.Close(); in.Close() }}, nil
}
