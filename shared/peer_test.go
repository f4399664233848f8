package shared_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/shared"
)

// until calls f again and again until stdin ends.
func until(stop <-chan struct{}, f func(i int) error) error {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := f(i); err != nil {
			return err
		}
	}
}

var roles = peertest.Roles[int]{
	"add": adder, "write": writer, "publish": publisher, "hold": holder, "scribble": scribbler, "stopped writer": stoppedWriter,
	"stopped publisher": stoppedPublisher, "change": changer, "replace": replacer,
}

// adder adds 1 to all counters, and after each to its own tally.
func adder(d *shiplap.Domain, arg int) error {
	word, e1 := shared.OpenValue[int64](d, "word")
	float, e2 := shared.OpenValue[float64](d, "float")
	blocks, e3 := shared.OpenValue[block](d, "block")
	tally, e4 := shared.OpenArray[int64](d, "tally")
	if err := errors.Join(e1, e2, e3, e4); err != nil {
		return err
	}
	mine, release, err := tally.Slice()
	if err != nil {
		return err
	}
	defer release()
	mine = mine[3*arg:]
	stop := peertest.StdinEnds()
	peertest.Say("going")
	return until(stop, func(int) error {
		_, e1 := shared.Add(word, 1)
		mine[0]++
		_, e2 := shared.Add(float, 1)
		mine[1]++
		_, e3 := blocks.Update(bg, func(b *block) error { *b = blockOf(b.n() + 1); return nil })
		mine[2]++
		return errors.Join(e1, e2, e3)
	})
}

// writer writes blocks.
func writer(d *shiplap.Domain, arg int) error {
	v, err := shared.OpenValue[[1000]int](d, "large")
	if err != nil {
		return err
	}
	stop := peertest.StdinEnds()
	peertest.Say("going")
	var x [1000]int
	return until(stop, func(i int) error {
		_ = filled(arg*1_000_000 + i)(x[:])
		return v.Store(bg, x)
	})
}

func publisher(d *shiplap.Domain, arg int) error {
	a, err := shared.OpenArray[int](d, "frames")
	if err != nil {
		return err
	}
	stop := peertest.StdinEnds()
	peertest.Say("going")
	return until(stop, func(i int) error { return second(a.Publish(bg, filled(arg*1_000_000+i))) })
}

// replacer replaces an array under its lock.
func replacer(d *shiplap.Domain, arg int) error {
	a, err := shared.OpenArray[int](d, "plain")
	if err != nil {
		return err
	}
	src := make([]int, a.Len())
	stop := peertest.StdinEnds()
	peertest.Say("going")
	return until(stop, func(i int) error {
		_ = filled(arg*1_000_000 + i)(src)
		return a.Replace(bg, src)
	})
}

// holder takes the lock of "v".
func holder(d *shiplap.Domain, _ int) error {
	v, err := shared.OpenValue[int64](d, "v")
	if err != nil {
		return err
	}
	if err := v.Lock(bg); err != nil {
		return err
	}
	stop := peertest.StdinEnds()
	peertest.Say("holding")
	<-stop
	return v.Unlock()
}

// stoppedWriter is inside of Update until stdin ends.
func stoppedWriter(d *shiplap.Domain, _ int) error {
	v, err := shared.OpenValue[block](d, "block")
	if err != nil {
		return err
	}
	stop := peertest.StdinEnds()
	_, err = v.Update(bg, func(b *block) error {
		peertest.Say("inside")
		<-stop
		*b = blockOf(b.n() + 1)
		return nil
	})
	return err
}

func stoppedPublisher(d *shiplap.Domain, _ int) error {
	a, err := shared.OpenArray[int](d, "frames")
	if err != nil {
		return err
	}
	stop := peertest.StdinEnds()
	_, err = a.Publish(bg, func(f []int) error {
		f[0] = -1
		peertest.Say("inside")
		<-stop
		return filled(2)(f)
	})
	return err
}

// changer opens an array and doubles it in place.
func changer(d *shiplap.Domain, arg int) error {
	a, err := shared.OpenArrayShape[float64](d, "a", []int{arg, 2})
	if err != nil {
		return err
	}
	v, err := a.Pin()
	if err != nil {
		return err
	}
	defer v.Release()
	for _, p := range v.All() {
		*p *= 2
	}
	return nil
}

// scribbler writes random words at random places of all files, control words more often, for arg milliseconds.
func scribbler(d *shiplap.Domain, arg int) error {
	var files []*os.File
	for _, name := range []string{"word", "bool", "large", "frames", "plain"} {
		f, err := os.OpenFile(filepath.Join(d.Dir(), name), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		files = append(files, f)
	}
	peertest.Say("going")
	r := rand.New(rand.NewPCG(uint64(arg), 7))
	for end := time.Now().Add(time.Duration(arg) * time.Millisecond); time.Now().Before(end); {
		f := files[r.IntN(len(files))]
		st, err := f.Stat()
		if err != nil {
			return err
		}
		at := r.Int64N(st.Size()/8) * 8
		if r.IntN(2) == 0 {
			at = 4096 + r.Int64N(40)*8
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
