package queue_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/queue"
)

var roles = peertest.Roles[int]{
	"put":              opened(putForever),
	"get":              opened(getForever),
	"receive":          opened(receiveForever),
	"hold Reserve":     opened(holdReserve),
	"hold Producer":    opened(holdProducer),
	"hold Peek":        opened(holdPeek),
	"hold Consumer":    opened(holdConsumer),
	"hold delivery":    opened(holdDelivery),
	"shared put":       opened(putForeverQuietly),
	"shared get":       opened(getForeverQuietly),
	"scribble":         opened(scribble),
	"coming and going": comeAndGo,
	"echo":             opened(echo),
}

// opened is a role that has the queue open.
func opened(role func(d *shiplap.Domain, q *queue.Raw, arg int) error) func(*shiplap.Domain, int) error {
	return func(d *shiplap.Domain, arg int) error {
		q, err := queue.OpenRaw(d, "q", nil)
		if err != nil {
			return err
		}
		defer q.Close()
		return role(d, q, arg)
	}
}

// putForever puts arg·1e6, arg·1e6+1, … and says so when it is done, until stdin ends.
func putForever(_ *shiplap.Domain, q *queue.Raw, arg int) error {
	stop := peertest.StdinEnds()
	for i := arg * 1_000_000; ; i++ {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := q.Put(bg, message(i, 16+i%200)); errors.Is(err, shiplap.ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
		peertest.Say(i)
	}
}

func getForever(_ *shiplap.Domain, q *queue.Raw, _ int) error {
	for b, err := range q.All(bg) {
		if err != nil {
			return err
		}
		i, err := number(b)
		if err != nil {
			return err
		}
		peertest.Say(i)
	}
	return nil
}

func receiveForever(_ *shiplap.Domain, q *queue.Raw, _ int) error {
	for d, err := range q.Deliveries(bg) {
		if err != nil {
			return err
		}
		i, err := number(d.Body)
		if err != nil {
			return err
		}
		peertest.Say(i)
		if err := d.Ack(); err != nil {
			return err
		}
	}
	return nil
}

// forever keeps a peer alive until it is killed.
func forever() error {
	time.Sleep(time.Hour)
	return nil
}

func holdProducer(_ *shiplap.Domain, q *queue.Raw, _ int) error {
	p, err := q.Producer(bg)
	if err != nil {
		return err
	}
	peertest.Say("holding")
	<-peertest.StdinEnds()
	if err := p.Put(bg, message(1, 100)); err != nil {
		return err
	}
	if err := p.Close(); err != nil {
		return err
	}
	peertest.Say("done")
	return forever()
}

func holdReserve(_ *shiplap.Domain, q *queue.Raw, _ int) error {
	p, err := q.Producer(bg)
	if err != nil {
		return err
	}
	b, err := p.Reserve(bg, 100)
	if err != nil {
		return err
	}
	copy(b, message(1, 100))
	peertest.Say("holding")
	<-peertest.StdinEnds()
	if err := errors.Join(p.Commit(100), p.Close()); err != nil {
		return err
	}
	peertest.Say("done")
	return forever()
}

func holdConsumer(_ *shiplap.Domain, q *queue.Raw, _ int) error {
	c, err := q.Consumer(bg)
	if err != nil {
		return err
	}
	peertest.Say("holding")
	<-peertest.StdinEnds()
	if _, err := c.Get(bg, nil); err != nil {
		return err
	}
	if err := c.Close(); err != nil {
		return err
	}
	peertest.Say("done")
	return forever()
}

func holdPeek(_ *shiplap.Domain, q *queue.Raw, _ int) error {
	c, err := q.Consumer(bg)
	if err != nil {
		return err
	}
	if _, err := c.Peek(bg); err != nil {
		return err
	}
	peertest.Say("holding")
	<-peertest.StdinEnds()
	if err := errors.Join(c.Release(), c.Close()); err != nil {
		return err
	}
	peertest.Say("done")
	return forever()
}

func holdDelivery(_ *shiplap.Domain, q *queue.Raw, _ int) error {
	d, err := q.Receive(bg)
	if err != nil {
		return err
	}
	peertest.Say("holding")
	<-peertest.StdinEnds()
	if err := d.Ack(); err != nil {
		return err
	}
	peertest.Say("done")
	return forever()
}

func putForeverQuietly(_ *shiplap.Domain, q *queue.Raw, _ int) error {
	peertest.Say("going")
	for i := 0; ; i++ {
		if err := q.Put(bg, message(i, 1000)); err != nil {
			return err
		}
	}
}

func getForeverQuietly(_ *shiplap.Domain, q *queue.Raw, _ int) error {
	peertest.Say("going")
	for {
		b, err := q.Get(bg, nil)
		if err == nil {
			_, err = number(b)
		}
		if err != nil {
			return err
		}
	}
}

// scribble writes random words at random places of the file, control words more often, for arg milliseconds.
func scribble(d *shiplap.Domain, _ *queue.Raw, arg int) error {
	f, err := os.OpenFile(filepath.Join(d.Dir(), "q"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	peertest.Say("going")
	r := rand.New(rand.NewPCG(uint64(arg), 7))
	for end := time.Now().Add(time.Duration(arg) * time.Millisecond); time.Now().Before(end); {
		at := r.Int64N(st.Size()/8) * 8
		if r.IntN(2) == 0 {
			at = 4096 + r.Int64N(96)*8
		}
		v := r.Uint64()
		switch r.IntN(4) {
		case 0:
			v %= 4096
		case 1:
			v = 0
		}
		if _, err := f.WriteAt(binary.LittleEndian.AppendUint64(nil, v), at); err != nil {
			return err
		}
		if r.IntN(50) == 0 {
			time.Sleep(time.Duration(r.IntN(300)) * time.Microsecond)
		}
	}
	return nil
}
