package proc

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// Between manager and guardian: frames of a length (32 bits) and a gob, with descriptors beside the length.

type orderKind int

const (
	orderStart  orderKind = iota // start a process; its descriptors are stdout, stderr, and maybe the one for its word
	orderSignal                  // send a signal to the process group
	orderStop                    // the same, and what is left of the group when its leader ends may take its time
	orderAbort                   // start it no more: it was ordered, and is not started yet
	orderBye                     // the manager ends in peace: no sweep
)

// order is what the manager wants.
type order struct {
	Kind   orderKind
	ID     uint64
	Path   string
	Argv   []string
	Env    []string
	Dir    string
	Signal int
	Files  int // how many descriptors are beside it
}

type reportKind int

const (
	reportStarted reportKind = iota // or not: see Errno
	reportExited                    // the leader ended
	reportGone                      // nobody of its group is left
)

// report is what the guardian says about a process.
type report struct {
	Kind   reportKind
	ID     uint64
	Pid    int
	Errno  int
	Status uint32
	User   int64 // ns
	System int64
	MaxRSS int64 // bytes
	OOM    bool
}

const maxFrame = 16 << 20 // arguments and environment: the kernel takes 6 MiB

func writeFrame(c *net.UnixConn, v any, files ...int) error {
	var body bytes.Buffer
	body.Write(make([]byte, 4))
	if err := gob.NewEncoder(&body).Encode(v); err != nil {
		return err
	}
	b := body.Bytes()
	if len(b) > maxFrame {
		return fmt.Errorf("arguments and environment of %d bytes: %w", len(b), syscall.E2BIG)
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)-4))
	if len(files) == 0 {
		_, err := c.Write(b)
		return err
	}
	if _, _, err := c.WriteMsgUnix(b[:4], syscall.UnixRights(files...), nil); err != nil {
		return err
	}
	_, err := c.Write(b[4:])
	return err
}

// readFrame returns the descriptors that came along; the caller closes them.
func readFrame(c *net.UnixConn, v any) (files []*os.File, err error) {
	defer func() {
		if err != nil {
			closeAll(files)
			files = nil
		}
	}()
	head, rights := make([]byte, 4), make([]byte, 256)
	n, rn, _, _, err := c.ReadMsgUnix(head, rights)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, io.EOF
	}
	if rn > 0 {
		if files, err = received(rights[:rn]); err != nil {
			return files, err
		}
	}
	if _, err := io.ReadFull(c, head[n:]); err != nil {
		return files, err
	}
	size := binary.LittleEndian.Uint32(head)
	if size > maxFrame {
		return files, fmt.Errorf("a frame of %d bytes", size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c, body); err != nil {
		return files, err
	}
	return files, gob.NewDecoder(bytes.NewReader(body)).Decode(v)
}

func received(rights []byte) (files []*os.File, err error) {
	messages, err := syscall.ParseSocketControlMessage(rights)
	for i := range messages {
		fds, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			return files, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "from the manager"))
		}
	}
	return files, err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

func connOf(f *os.File) (*net.UnixConn, error) {
	defer f.Close() // FileConn takes a copy
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.New("descriptor 3 is no Unix socket"), c.Close())
	}
	return u, nil
}
