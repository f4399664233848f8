package killtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/leaktest"
)

// Descriptors of a victim in Interrupt trials.
const (
	fdOrders  = 3
	fdAnswers = 4
)

// envExeced tells the program that a victim became to do nothing.
const (
	envExeced  = "SHIPLAP_KILLTEST_EXECED"
	execedName = "killtest-execed"
)

// Orders to a victim. Each is a line, and so is each answer.
const (
	orderCancel = "cancel" // the context
	orderClose  = "close"  // the handle, while the operation is in progress
	orderResult = "result" // of the operation, once it has ended
	orderUndo   = "undo"   // what the operation achieved
	orderLeave  = "leave"  // close everything; nothing may be left
	orderExec   = "exec"   // become another program
	orderFork   = "fork"   // start a program, whose path follows
)

// answer of a victim.
type answer struct {
	Err      string
	Canceled bool // the error is that of the context
	Closed   bool // the error says that the handle is closed
}

func answerOf(err error) (a answer) {
	if err != nil {
		a = answer{err.Error(), errors.Is(err, context.Canceled), errors.Is(err, os.ErrClosed)}
	}
	return a
}

func (a answer) err() error {
	if a.Err == "" {
		return nil
	}
	return errors.New(a.Err)
}

// performInterrupted is perform for a victim that stays alive. Orders are carried out by a thread of its own, so that they come through
// while the main thread stands still.
func performInterrupted(s Scenario) {
	v := &Victim{Dir: os.Getenv(envDir), Arg: os.Getenv(envArg)}
	if err := prepareAwaiting(); err != nil {
		giveUp("%v", err)
	}
	warm := leaktest.Descriptors()
	goroutines := runtime.NumGoroutine()
	prepare := s.Interrupt.Prepare
	if prepare == nil {
		prepare = s.Prepare
	}
	op, err := prepare(v)
	if err != nil {
		giveUp("prepare: %v", err)
	}
	ended, waits := make(chan struct{}), make(chan struct{})
	go obey(v, &err, waits, ended, func() error { return leaks(warm, goroutines+1) })
	<-waits
	runtime.Gosched()
	err = bracket(op)
	close(ended)
	select {} // the tracer ends it
}

// obey carries out orders until there are no more.
func obey(v *Victim, result *error, waits chan<- struct{}, ended <-chan struct{}, left func() error) {
	runtime.LockOSThread()
	close(waits)
	awaitOrder()
	orders := bufio.NewScanner(os.NewFile(fdOrders, "orders"))
	answers := json.NewEncoder(os.NewFile(fdAnswers, "answers"))
	for orders.Scan() {
		var err error
		order, path, _ := strings.Cut(orders.Text(), " ")
		switch order {
		case orderExec:
			giveUp("exec: %v", syscall.Exec("/proc/self/exe", []string{execedName}, append(os.Environ(), envExeced+"=1")))
		case orderFork:
			err = exec.Command(path).Run()
		case orderCancel:
			endInterruptible()
		case orderClose:
			if v.Close == nil {
				giveUp("nothing to close")
			}
			if err = v.Close(); errors.Is(err, os.ErrClosed) { // the operation closed it
				err = nil
			}
		case orderResult:
			<-ended
			err = *result
		case orderUndo:
			if v.Undo != nil {
				err = v.Undo()
			}
		case orderLeave:
			err = errors.Join(v.leave(), left())
		}
		if err := answers.Encode(answerOf(err)); err != nil {
			giveUp("answer: %v", err)
		}
	}
	os.Exit(0)
}

// patience is how long what is on its way out may take.
const patience = 3 * time.Second

// leaks compares what the process has with what it had before it prepared the operation.
func leaks(descriptors []string, goroutines int) error {
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		var left []string
		was := slices.Clone(descriptors)
		for _, fd := range leaktest.Descriptors() {
			if i := slices.Index(was, fd); i >= 0 {
				was = slices.Delete(was, i, i+1)
			} else {
				left = append(left, fd)
			}
		}
		n := runtime.NumGoroutine()
		if n <= goroutines && len(left) == 0 {
			return nil
		}
		if time.Now().Before(end) {
			continue
		}
		if n <= goroutines {
			return fmt.Errorf("everything is closed, and these descriptors are left: %q", left)
		}
		stacks := make([]byte, 1<<16)
		stacks = stacks[:runtime.Stack(stacks, true)]
		return fmt.Errorf("everything is closed, and there are %d goroutines instead of %d, and descriptors %q:\n%s",
			n, goroutines, left, stacks)
	}
}
