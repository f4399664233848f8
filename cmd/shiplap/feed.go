package main

import (
	"context"
	"io"
	"os"
)

// inputError is about a file that the user named.
type inputError struct{ error }

func (e inputError) Unwrap() error { return e.error }

// feed reads ahead in a goroutine of its own, so that a signal ends a command whose input does not come.
type feed struct {
	ctx    context.Context
	chunks chan chunk
	free   chan []byte
	last   []byte
	err    error // comes after last
}

type chunk struct {
	b   []byte
	err error
}

const feedDepth = 3

func newFeed(ctx context.Context, r io.Reader, size int) *feed {
	f := &feed{ctx: ctx, chunks: make(chan chunk), free: make(chan []byte, feedDepth)}
	for range feedDepth {
		f.free <- make([]byte, size)
	}
	go f.read(r)
	return f
}

func (f *feed) read(r io.Reader) {
	for {
		var buf []byte
		select {
		case buf = <-f.free:
		case <-f.ctx.Done():
			return
		}
		n, err := r.Read(buf)
		select {
		case f.chunks <- chunk{buf[:n], err}:
		case <-f.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// next is the next piece of input, as soon as there is any; io.EOF at the end. It stays valid until
// the next call.
func (f *feed) next() ([]byte, error) {
	if f.last != nil {
		f.free <- f.last[:cap(f.last)]
		f.last = nil
	}
	if f.err != nil {
		return nil, f.err
	}
	select {
	case c := <-f.chunks:
		f.last, f.err = c.b, c.err
		if len(c.b) == 0 && c.err != nil {
			return nil, c.err
		}
		return c.b, nil
	case <-f.ctx.Done():
		return nil, context.Cause(f.ctx)
	}
}

// inputs opens the files named, or standard input if there are none or for "-", one after the other.
func inputs(stdin io.Reader, files []string, each func(name string, r io.Reader) error) error {
	if len(files) == 0 {
		files = []string{"-"}
	}
	for _, name := range files {
		if err := input(stdin, name, each); err != nil {
			return err
		}
	}
	return nil
}

func input(stdin io.Reader, name string, each func(string, io.Reader) error) error {
	if name == "-" {
		return each("standard input", stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return inputError{err}
	}
	defer f.Close()
	return each(name, f)
}
