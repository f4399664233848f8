package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/shiplap-ipc/shiplap/store"
)

const demoKeys = 50

// tallyUp adds 1 to one key of a store after the other, until it is killed, and says of each that it did.
func (c *child) tallyUp() error {
	s, err := store.Open(c.d, c.name, nil)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		if _, err := s.Add(c.ctx, fmt.Sprintf("counter %d", n%demoKeys), 1); err != nil {
			return errors.Join(err, s.Close())
		}
		if _, err := os.Stdout.Write(number(n)); err != nil {
			return err
		}
	}
}

func (s *demo) actStore() error {
	const writers, kills, apart = 3, 6, 10_000
	s.act("kill -9 processes that change a key-value store")
	st, err := store.Create(s.d, "counters", nil)
	if err != nil {
		return err
	}
	defer st.Close()
	s.tell("%d processes add 1 to %d keys in turns; %d of them are killed on the way.", writers, demoKeys, kills)
	said := make(chan uint64, 1024)
	running := make(chan struct{}, kills)
	begin := func() (*kid, error) {
		k, err := s.start("tally", "counters")
		if err == nil {
			go func() {
				k.numbers(said)
				running <- struct{}{}
			}()
		}
		return k, err
	}
	var staff []*kid
	for range writers {
		k, err := begin()
		if err != nil {
			return err
		}
		staff = append(staff, k)
	}
	reported, killed, ended := 0, 0, 0
	for ended < kills {
		select {
		case <-said:
			reported++
		case <-running:
			ended++
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
		if killed < kills && reported >= (killed+1)*apart {
			staff[0].kill()
			staff = staff[1:]
			killed++
			if killed+len(staff) < kills {
				k, err := begin()
				if err != nil {
					return err
				}
				staff = append(staff, k)
			}
		}
	}
	for len(said) > 0 {
		<-said
		reported++
	}
	sum := int64(0)
	for i := range demoKeys {
		n, err := store.GetOr[int64](st, fmt.Sprintf("counter %d", i), 0)
		if err != nil {
			return err
		}
		sum += n
	}
	s.check(sum >= int64(reported) && sum <= int64(reported+kills),
		"the counters' sum is %s; %s additions were reported as done, and at most one a kill was done and not reported", grouped(int(sum)), grouped(reported))
	err = st.Check(s.ctx)
	s.check(err == nil, "every bucket, entry and free block of the store is as it should be%s", because(err))
	return nil
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}
