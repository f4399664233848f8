package object

import (
	"fmt"
	"strings"
)

// Kind says what an object is. The numbers are part of the layout.
type Kind uint32

const (
	Queue     Kind = 1
	Pipe      Kind = 2
	Listener  Kind = 3
	Mutex     Kind = 4
	RWMutex   Kind = 5
	Semaphore Kind = 6
	Cond      Kind = 7
	Event     Kind = 8
	Barrier   Kind = 9
	Value     Kind = 10
	Array     Kind = 11
	Store     Kind = 12
	Topic     Kind = 13
	Channel   Kind = 14
)

var kinds = [...]string{
	Queue: "queue", Pipe: "pipe", Listener: "listener",
	Mutex: "mutex", RWMutex: "rwmutex", Semaphore: "semaphore", Cond: "cond", Event: "event", Barrier: "barrier",
	Value: "value", Array: "array", Store: "store", Topic: "topic", Channel: "channel",
}

func (k Kind) String() string {
	if int64(k) < int64(len(kinds)) && kinds[k] != "" {
		return kinds[k]
	}
	return fmt.Sprintf("kind %d", uint32(k))
}

// held reports whether users of such an object hold locks of it, which outlast the handle. The name must stay as long as
// one does, or others would make an object anew, and hold its lock as well.
func (k Kind) held() bool {
	switch k {
	case Mutex, RWMutex, Semaphore, Value, Array, Store:
		return true
	}
	return false
}

// HasBells reports whether the events of such an object have room for the entries of bells.
func (k Kind) HasBells() bool {
	switch k {
	case Queue, Pipe, Listener, Topic, Channel:
		return true
	}
	return false
}

// withArticle is the kind with "a" or "an" in front.
func (k Kind) withArticle() string {
	if s := k.String(); strings.ContainsRune("aeiou", rune(s[0])) {
		return "an " + s
	}
	return "a " + k.String()
}
