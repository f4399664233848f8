package proc_test

import (
	"context"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/proc"
)

// The guardian may die while nobody looks: what is started then starts under the next one.
func TestStartWhileGuardianDies(t *testing.T) {
	b := manage(t, nil)
	b.add(proc.Spec{Name: "first", Func: "sleep"}, proc.Spec{Name: "x", Command: sh("exit 0"), Ready: proc.ReadyExit})
	ok(t, b.Start(limit(t), "first"))
	ok(t, b.Stop(limit(t), "first"))
	for range 30 {
		ok(t, syscall.Kill(guardianOf(t, os.Getpid()), syscall.SIGKILL))
		ok(t, b.Start(limit(t), "x"))
		ok(t, b.Wait(limit(t), "x"))
	}
}

// A signal reaches the process that is named, or none, also when its life ended with a guardian that another one has
// succeeded, which numbers the lives anew.
func TestSignalAfterGuardian(t *testing.T) {
	b := manage(t, nil)
	b.add(proc.Spec{Name: "old", Func: "sleep", Ready: proc.ReadyWord}, proc.Spec{Name: "new", Func: "sleep", Ready: proc.ReadyWord})
	ok(t, b.Start(limit(t), "old"))
	told, goOn := make(chan struct{}), make(chan struct{})
	defer close(goOn)
	b.OnUnexpectedExit(func(name string, _ proc.Exit) {
		if name == "old" {
			close(told)
			<-goOn
		}
	})
	ok(t, syscall.Kill(guardianOf(t, os.Getpid()), syscall.SIGKILL))
	<-told
	ok(t, b.Start(limit(t), "new"))
	is(t, b.Signal("old", syscall.SIGKILL), os.ErrProcessDone)
	ctx, cancel := context.WithTimeout(bg, 300*time.Millisecond)
	defer cancel()
	is(t, b.Wait(ctx, "new"), context.DeadlineExceeded)
}
