package racetest

// op is what a goroutine does, as its slot says.
type op uint64

const (
	opNone op = iota
	opJoin
	opOpen
	opClose
	opCloseDomain
	opLock
	opUnlock
	opAcquire
	opRelease
	opPut
	opGet
	opReceive
	opAck
	opSend
	opRecv
	opWait
	opDial
	opAccept
	opPublish
	opSubscribe
	opStore
	opLoad
	opUpdate
	opWatch
	opCheck
	opCall
	opReset
	opSweep
)

var opNames = [...]string{"nothing", "Join", "Open", "Close", "Domain.Close", "Lock", "Unlock", "Acquire",
	"Release", "Put", "Get", "Receive", "Ack", "Send", "Recv", "Wait", "Dial", "Accept", "Publish",
	"Subscribe", "Store", "Load", "Update", "Watch", "Check", "Call", "Reset", "Sweep"}

func (o op) String() string { return opNames[o] }
