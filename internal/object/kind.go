package object

import "fmt"

// Kind says what an object is. The numbers are part of the layout.
type Kind uint32

const (
	Queue    Kind = 1
	Pipe     Kind = 2
	Listener Kind = 3
)

func (k Kind) String() string {
	switch k {
	case Queue:
		return "queue"
	case Pipe:
		return "pipe"
	case Listener:
		return "listener"
	}
	return fmt.Sprintf("kind %d", uint32(k))
}
