package rpc

import (
	"fmt"
	"log/slog"
	"unicode"
	"unicode/utf8"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/pipe"
)

// Codec names how requests and replies become bytes.
type Codec = schema.Codec

// Codecs. Auto takes Bytes for []byte, Fixed for types without pointers, and CBOR for everything else.
const (
	Auto  = schema.Auto
	Bytes = schema.Raw
	Fixed = schema.Fixed
	CBOR  = schema.CBOR
	JSON  = schema.JSON
)

// Defaults of Options.
const (
	DefaultMaxMessage  = 64 << 20
	DefaultConcurrency = 256
	DefaultQueue       = 16384
)

// Options of a service or a client. The zero value is good.
type Options struct {
	// Capacity of each direction of a connection in bytes (client); 0 means pipe.DefaultCapacity. Longer messages go in
	// pieces.
	Capacity int64
	// MaxMessage is the longest request or reply, encoded; 0 means DefaultMaxMessage.
	MaxMessage int
	// Concurrency is how many functions run at a time, for all clients together (service); 0 means DefaultConcurrency.
	Concurrency int
	// Queue is how many calls may wait for that (service); 0 means DefaultQueue. More get shiplap.ErrBusy.
	Queue int
	// Setup registers methods before the first client can call (service).
	Setup func(*Server) error
	// Codec of all types; it must be the same on both sides.
	Codec Codec
	// Logger gets panics of functions, and trouble with connections (service); nil means slog.Default.
	Logger *slog.Logger
	// Wait is how connections wait, if not as their domain does.
	Wait shiplap.WaitMode
}

func (o *Options) filled() Options {
	var f Options
	if o != nil {
		f = *o
	}
	for _, d := range []struct {
		v *int
		d int
	}{{&f.MaxMessage, DefaultMaxMessage}, {&f.Concurrency, DefaultConcurrency}, {&f.Queue, DefaultQueue}} {
		if *d.v <= 0 {
			*d.v = d.d
		}
	}
	return f
}

func (o *Options) pipe() *pipe.Options { return &pipe.Options{Capacity: o.Capacity, Wait: o.Wait} }

// listener has the ends that are accepted take no longer frames than any that may be sent: the other
// side decides how large the pipe is.
func (o *Options) listener() *pipe.Options {
	p := o.pipe()
	p.Logger = o.log()
	p.MaxReceive = headerSize + max(o.MaxMessage, mostPiece)
	return p
}

func (o *Options) log() *slog.Logger {
	if o.Logger != nil {
		return o.Logger
	}
	return slog.Default()
}

const (
	prefix     = "rpc:" // of the names of listeners: services have names of their own
	longest    = 128    // name of a method
	reserved   = "rpc." // names of methods that begin so are the package's own
	methodList = "rpc.methods"
)

func checkMethod(name string) error {
	if name == "" || len(name) > longest || !utf8.ValidString(name) {
		return fmt.Errorf("%w: a method %q; names are UTF-8 of 1 to %d bytes", errs.ErrName, name, longest)
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("%w: a method %q; names are printable", errs.ErrName, name)
		}
	}
	return nil
}
