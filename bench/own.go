//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/store"
)

// own is a client of Shiplap's store; what it is told, and how it answers, is as in c/load.c.
type own struct {
	s       *store.Store
	keys    string // all of them, one behind the other
	value   []byte
	version uint64
	draws   map[string][]uint32
}

const domainName = "bench"

// ownClient is the process of a client: WHERE NUMBER.
func ownClient(args []string) (err error) {
	if len(args) != 2 {
		return errors.New("this command is a client, which bench starts")
	}
	number, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	d, err := shiplap.Join(domainName, &shiplap.Options{Dir: args[0]})
	if err != nil {
		return err
	}
	defer d.Close()
	s, err := store.OpenOrCreate(d, "store", &store.Options{Keys: nKeys})
	if err != nil {
		return err
	}
	defer s.Close()
	o := &own{s: s, value: make([]byte, 0, valueLen), version: uint64(number+1) << 40, draws: map[string][]uint32{}}
	var b strings.Builder
	for i := range nKeys {
		fmt.Fprintf(&b, "k%015d", i)
	}
	o.keys = b.String()
	answer := "ok"
	for in := bufio.NewScanner(os.Stdin); ; {
		if _, err := fmt.Println(answer); err != nil {
			return err
		}
		if !in.Scan() {
			return in.Err()
		}
		if answer, err = o.do(in.Text()); err != nil {
			return err
		}
	}
}

func (o *own) do(order string) (answer string, err error) {
	var path string
	var start, from, end int64
	switch {
	case order == "load":
		return "ok", o.load()
	case order == "check":
		return o.check()
	}
	if _, err := fmt.Sscanf(order, "run %s %d %d %d", &path, &start, &from, &end); err != nil {
		return "", fmt.Errorf("cannot %s", order)
	}
	if o.draws[path] == nil {
		if o.draws[path], err = readDraws(path); err != nil {
			return "", err
		}
	}
	return o.run(o.draws[path], start, from, end)
}

func (o *own) key(id uint32) string { return o.keys[keyLen*int(id):][:keyLen] }

func (o *own) load() error {
	for id := range uint32(nKeys) {
		if err := o.set(id, 0); err != nil {
			return err
		}
	}
	return nil
}

func (o *own) set(id uint32, version uint64) error {
	v := o.value[:valueLen]
	fill(v, id, version)
	_, err := o.s.Set(context.Background(), o.key(id), v)
	return err
}

func (o *own) get(id uint32) (v []byte, err error) {
	if v, err = o.s.Append(o.value[:0], o.key(id)); err == nil && !good(v, id) {
		err = fmt.Errorf("key %d has a value that is torn, or another key's: %x", id, v)
	}
	return v, err
}

func (o *own) check() (string, error) {
	right, changed := 0, 0
	for id := range uint32(nKeys) {
		v, err := o.get(id)
		if err != nil {
			return "", err
		}
		right++
		if binary.LittleEndian.Uint64(v[8:]) != 0 {
			changed++
		}
	}
	n, err := o.s.Len()
	return fmt.Sprintf("ok %d %d %d", n, right, changed), err
}

// run carries out draws from start to end and counts from `from` on; all are nanoseconds of the machine's monotonic clock.
// The answer: gets, sets, how late the counting began, how long it was.
func (o *own) run(draws []uint32, start, from, end int64) (string, error) {
	base, err := monotonic()
	if err != nil {
		return "", err
	}
	zero := time.Now() // this clock is the same one, and cheaper to look at
	now := func() int64 { return base + int64(time.Since(zero)) }
	for now() < start {
	}
	var gets, sets, begun, t int64
	for at := 0; ; {
		if t = now(); begun == 0 && t >= from {
			begun, gets, sets = t, 0, 0
		}
		if t >= end {
			break
		}
		for range look {
			d := draws[at]
			if at++; at == len(draws) {
				at = 0
			}
			if d&setBit != 0 {
				sets++
				o.version++
				err = o.set(d&^setBit, o.version)
			} else {
				gets++
				_, err = o.get(d)
			}
			if err != nil {
				return "", err
			}
		}
	}
	return fmt.Sprintf("ok %d %d %d %d", gets, sets, begun-from, t-begun), nil
}

func monotonic() (int64, error) {
	var t unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano(), err
}
