package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/lock"
	"github.com/shiplap-ipc/shiplap/queue"
	"github.com/shiplap-ipc/shiplap/shared"
)

// band is rows Lo to Hi-1 of the picture, and the bit of it in the progress.
type band struct{ Lo, Hi, Bit int32 }

// shop is what the processes share.
type shop struct {
	source, result *shared.Array[uint8] // height × width × 4
	bands          *queue.Queue[band]
	progress       *shared.Value[uint64] // one bit a band: setting it twice, after a death, does no harm
	start          *lock.Barrier
}

const mostBands = 64 // bits of the progress

// create makes everything, for the parent.
func create(d *shiplap.Domain, width, height int) (s *shop, err error) {
	s = &shop{}
	defer s.unlessOpen(&err)
	shape := []int{height, width, pixel}
	if s.source, err = shared.CreateArray[uint8](d, "source", shape, nil); err != nil {
		return s, err
	}
	if s.result, err = shared.CreateArray[uint8](d, "result", shape, nil); err != nil {
		return s, err
	}
	if s.progress, err = shared.CreateValue[uint64](d, "progress", 0, nil); err != nil {
		return s, err
	}
	if s.bands, err = queue.Create[band](d, "bands", &queue.Options{Ack: true, Capacity: 16 << 10}); err != nil {
		return s, err
	}
	s.start, err = lock.CreateBarrier(d, "start", workers, nil)
	return s, err
}

// open opens everything, for a worker.
func open(d *shiplap.Domain) (s *shop, err error) {
	s = &shop{}
	defer s.unlessOpen(&err)
	if s.source, err = shared.OpenArray[uint8](d, "source"); err != nil {
		return s, err
	}
	if s.result, err = shared.OpenArray[uint8](d, "result"); err != nil {
		return s, err
	}
	if s.progress, err = shared.OpenValue[uint64](d, "progress"); err != nil {
		return s, err
	}
	if s.bands, err = queue.Open[band](d, "bands", nil); err != nil {
		return s, err
	}
	s.start, err = lock.OpenBarrier(d, "start")
	return s, err
}

func (s *shop) unlessOpen(err *error) {
	if *err != nil {
		*err = errors.Join(*err, s.close())
	}
}

func (s *shop) close() (err error) {
	if s.source != nil {
		err = errors.Join(err, s.source.Close())
	}
	if s.result != nil {
		err = errors.Join(err, s.result.Close())
	}
	if s.progress != nil {
		err = errors.Join(err, s.progress.Close())
	}
	if s.bands != nil {
		err = errors.Join(err, s.bands.Close())
	}
	if s.start != nil {
		err = errors.Join(err, s.start.Close())
	}
	return err
}

// work is a worker process. One that is to be killed stands still in the middle of its first band.
func work(ctx context.Context, domain string, who int, doomed bool) (err error) {
	d, err := shiplap.Join(domain, nil)
	if err != nil {
		return err
	}
	defer d.Close()
	s, err := open(d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	var first *queue.Delivery[band]
	if doomed { // it has one before others can take them all
		if first, err = s.bands.Receive(ctx); err != nil {
			return err
		}
	}
	if _, err := s.start.Wait(ctx); err != nil {
		return err
	}
	if doomed {
		return s.filter(first.Value, func(row int) {
			if row == int(first.Value.Lo+first.Value.Hi)/2 {
				fmt.Printf("process %d stands still in band %d\n", who, first.Value.Bit)
				<-ctx.Done() // which it does not live to see
			}
		})
	}
	for job, err := range s.bands.Deliveries(ctx) { // until the queue is closed and everything acknowledged
		if err != nil {
			return err
		}
		if job.Count > 1 {
			fmt.Printf("process %d does band %d once more\n", who, job.Value.Bit)
		}
		if err := s.filter(job.Value, func(int) {}); err != nil {
			return err
		}
		if err := job.Ack(); err != nil { // had it died before this, another would get the band
			return err
		}
	}
	return nil
}

// filter filters one band, and says that it is done.
func (s *shop) filter(b band, after func(row int)) error {
	src, release, err := s.source.Slice()
	if err != nil {
		return err
	}
	defer release()
	dst, err := s.result.Pin()
	if err != nil {
		return err
	}
	defer dst.Release()
	shape := s.result.Shape()
	if b.Lo < 0 || b.Hi <= b.Lo || int(b.Hi) > shape[0] {
		return fmt.Errorf("band %+v of a picture of %d rows", b, shape[0])
	}
	rows, _ := dst.Slice(0, int(b.Lo), int(b.Hi), 1).Contiguous()
	blur(rows, src, shape[1], shape[0], int(b.Lo), int(b.Hi), after)
	_, err = s.progress.Update(context.Background(), func(bits *uint64) error {
		*bits |= 1 << b.Bit
		return nil
	})
	return err
}
