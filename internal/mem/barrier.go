package mem

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Asymmetric fences. The frequent side of a store-load pair ("publish, then look whether somebody
// sleeps") uses StoreRelease and an atomic Load without a fence between; the rare side ("say that I
// sleep, then look whether something was published") calls Heavy between its store and its load,
// which makes every running thread of every attached process execute a full fence
// (membarrier(2), MEMBARRIER_CMD_GLOBAL_EXPEDITED).

// asymmetric says that this process takes part in that scheme; until it does, and where it cannot,
// StoreRelease is a full fence.
//
// On other architectures than amd64 StoreRelease never becomes a plain store, and what the Go compiler emits for
// it and for a load (on arm64 STLR and LDAR) does not change places. They take part all the same: a C peer may
// load with LDAPR, and code for arm64 may run translated on an amd64 host (QEMU's user mode), where a later load
// passes both.
var asymmetric atomic.Bool

// registerAfter is how long a process lives before it registers. The kernel takes some 10 ms for that,
// and a process that ends meanwhile has to wait for it.
const registerAfter = 20 * time.Millisecond

// setupAsymmetric registers, once and later.
var setupAsymmetric = sync.OnceFunc(func() {
	if runtime.GOARCH == "amd64" && !plainRelease || reproducible.Load() {
		return
	}
	time.AfterFunc(registerAfter, func() {
		if membarrierRegister() {
			asymmetric.Store(true)
		}
	})
})

var reproducible atomic.Bool

// Reproducible lets this process take the same way each time, whatever time that takes, if it is called before memory is mapped: it does
// not register, so that release stores stay full fences, and does not measure pause hints. Package killtest counts instructions.
func Reproducible() { reproducible.Store(true) }

// IsReproducible reports whether Reproducible was called: then nothing runs beside the calls, by the clock.
func IsReproducible() bool { return reproducible.Load() }

// Heavy orders the caller's earlier stores before its later loads, also against peers that publish
// with StoreRelease.
func Heavy() {
	if hooked {
		hook(nil, AccessFence)
	}
	full()
	if membarrier() { // which also those may call who did not register
		return
	}
	// No membarrier here, but perhaps in a peer: outlast its store buffer, which drains within
	// nanoseconds. Sleeps are bounded besides (package wait).
	time.Sleep(time.Millisecond)
}

// Full orders the caller's earlier stores before its later loads.
func Full() {
	if hooked {
		hook(nil, AccessFull)
	}
	full()
}

// full is an update of a word of nobody else's, which orders what stands around it.
func full() {
	var local uint32
	atomic.AddUint32(&local, 1)
}
