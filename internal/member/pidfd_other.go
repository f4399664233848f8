//go:build !linux

package member

type pidState int

const (
	pidUnknown pidState = iota
	pidGone
	pidProved
)

type pidfd struct{}

func (pidfd) Close() {}

func openPidfd(int, uint64) (pidfd, pidState) { return pidfd{}, pidUnknown }

func onExit(pidfd, func()) (cancel func()) { return func() {} }
