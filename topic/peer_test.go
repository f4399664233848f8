package topic_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/topic"
)

var roles = peertest.Roles[int]{
	"publish": opened(publishForever), "receive": opened(receiveForever), "subscribe": opened(subscribeOnly),
	"hold": opened(holdPublisher), "scribble": opened(scribble), "come and go": opened(comeAndGo), "receive traced": opened(receiveTraced),
	"bench publish": opened(benchPublish), "bench receive": opened(benchReceive),
}

// opened is a role that has the topic open.
func opened(role func(d *shiplap.Domain, r *topic.Raw, arg int) error) func(*shiplap.Domain, int) error {
	return func(d *shiplap.Domain, arg int) error {
		r, err := topic.OpenRaw(d, "t", nil)
		if err != nil {
			return err
		}
		defer r.Close()
		return role(d, r, arg)
	}
}

// publishForever publishes arg·1e6, arg·1e6+1, … and says so when it is done, until stdin ends.
func publishForever(_ *shiplap.Domain, r *topic.Raw, arg int) error {
	stop := peertest.StdinEnds()
	for i := arg * 1_000_000; ; i++ {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := r.Publish(bg, message(i, 16+i%200)); errors.Is(err, shiplap.ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
		peertest.Say(i)
	}
}

// receiveForever says what it receives until the topic is closed; of a topic with Overwrite, also how many it missed.
func receiveForever(_ *shiplap.Domain, r *topic.Raw, _ int) error {
	s, err := r.Subscribe(nil)
	if err != nil {
		return err
	}
	defer s.Close()
	peertest.Say("here")
	missed, got := uint64(0), uint64(0)
	for b, err := range s.All(bg) {
		var e topic.ErrLagged
		if errors.As(err, &e) {
			missed += e.N
			continue
		}
		if err != nil {
			return err
		}
		i, err := number(b)
		if err != nil {
			return err
		}
		got++
		if r.Policy() == topic.Block {
			peertest.Say(i)
		}
	}
	if r.Policy() == topic.Overwrite {
		peertest.Say(missed + got)
	}
	return nil
}

// subscribeOnly receives arg messages and then nothing until stdin ends; then the rest, until the topic is closed.
func subscribeOnly(_ *shiplap.Domain, r *topic.Raw, arg int) error {
	s, err := r.Subscribe(nil)
	if err != nil {
		return err
	}
	defer s.Close()
	peertest.Say("here")
	for range arg {
		if _, err := s.Receive(bg, nil); err != nil {
			return err
		}
	}
	peertest.Say("received")
	<-peertest.StdinEnds()
	for b, err := range s.All(bg) {
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

func holdPublisher(_ *shiplap.Domain, r *topic.Raw, _ int) error {
	p, err := r.Publisher(bg)
	if err != nil {
		return err
	}
	if err := p.Publish(bg, message(1, 100)); err != nil {
		return err
	}
	peertest.Say("holding")
	<-peertest.StdinEnds()
	return p.Close()
}

// comeAndGo subscribes, receives a little, and leaves, again and again, until stdin ends.
func comeAndGo(_ *shiplap.Domain, r *topic.Raw, arg int) error {
	stop := peertest.StdinEnds()
	peertest.Say("here")
	for i := arg; ; i++ {
		select {
		case <-stop:
			return nil
		default:
		}
		s, err := r.Subscribe(&topic.SubOptions{Last: i % 3 * 10})
		if errors.Is(err, shiplap.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		for range i % 30 {
			b, err := s.TryReceive(nil)
			if err == shiplap.ErrEmpty || errors.As(err, new(topic.ErrLagged)) {
				continue
			}
			if errors.Is(err, shiplap.ErrClosed) {
				break
			}
			if err == nil {
				_, err = number(b)
			}
			if err != nil {
				return err
			}
		}
		if err := s.Close(); err != nil {
			return err
		}
	}
}

// scribble writes random words at random places of the file, control words more often, for arg milliseconds.
func scribble(d *shiplap.Domain, _ *topic.Raw, arg int) error {
	f, err := os.OpenFile(filepath.Join(d.Dir(), "t"), os.O_RDWR, 0)
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
		switch r.IntN(3) {
		case 0:
			at = 4096 + r.Int64N(96)*8
		case 1:
			at = 8192 + r.Int64N(64)*8
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
