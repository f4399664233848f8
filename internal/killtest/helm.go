//go:build linux && (amd64 || arm64)

package killtest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// helm is the tracer's end of the pipes by which a victim gets orders.
type helm struct {
	orders, answers      *os.File // ours
	ordersIn, answersOut *os.File // the victim's
	in                   *bufio.Reader
}

func newHelm() (h *helm, err error) {
	h = &helm{}
	if h.ordersIn, h.orders, err = os.Pipe(); err != nil {
		return nil, err
	}
	if h.answers, h.answersOut, err = os.Pipe(); err != nil {
		h.close()
		return nil, err
	}
	h.in = bufio.NewReader(h.answers)
	return h, nil
}

// started closes what the victim has now.
func (h *helm) started() {
	h.ordersIn.Close()
	h.answersOut.Close()
}

func (h *helm) close() {
	for _, f := range []*os.File{h.orders, h.answers, h.ordersIn, h.answersOut} {
		if f != nil {
			f.Close() // a second time: that does not matter
		}
	}
}

func (h *helm) order(what string) error {
	_, err := h.orders.WriteString(what + "\n")
	return err
}

var errNoAnswer = errors.New("no answer")

// answer waits for the answer to the oldest order that was not answered.
func (h *helm) answer(limit time.Duration) (a answer, err error) {
	if err := h.answers.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return a, err
	}
	line, err := h.in.ReadBytes('\n') // an answer is written at once
	if errors.Is(err, os.ErrDeadlineExceeded) && len(line) == 0 {
		return a, errNoAnswer
	}
	if errors.Is(err, io.EOF) {
		return a, fmt.Errorf("the victim is gone: %w", err)
	}
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(line, &a)
}

// ask is order and answer.
func (h *helm) ask(what string, limit time.Duration) (a answer, err error) {
	if err := h.order(what); err != nil {
		return a, err
	}
	return h.answer(limit)
}
