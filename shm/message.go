package shm

import (
	"encoding/binary"
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// message goes over a socket beside the descriptor: 8 bytes "shiplapM", the memory's size as 8 bytes,
// little-endian.
type message struct{ size uint64 }

const (
	messageMagic = "shiplapM"
	messageSize  = len(messageMagic) + 8
)

func (m message) marshal() []byte {
	return binary.LittleEndian.AppendUint64([]byte(messageMagic), m.size)
}

func parseMessage(b []byte) (message, error) {
	if len(b) != messageSize || string(b[:len(messageMagic)]) != messageMagic {
		return message{}, fmt.Errorf("%w: %.32q is no message about memory", errs.ErrCorrupt, b)
	}
	return message{binary.LittleEndian.Uint64(b[len(messageMagic):])}, nil
}
