package store

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/internal/table"
)

// Codec names how typed values become bytes.
type Codec = schema.Codec

// Codecs of typed values. Auto is CBOR.
const (
	Auto = schema.Auto
	CBOR = schema.CBOR
	JSON = schema.JSON
)

const (
	// DefaultMaxBytes is the size of a store that asks for nothing else.
	DefaultMaxBytes = 64 << 20
	// MaxKey is the longest key, in bytes.
	MaxKey = table.MaxKey
	// MaxValue is the longest value, in bytes.
	MaxValue = table.MaxValue
)

// Options of a store. The zero value is good. Those marked (creation) count only for who makes it.
type Options struct {
	// MaxBytes is the size of the file (creation), rounded up to pages; 0 means DefaultMaxBytes. It never changes.
	// An entry takes 32 bytes, its key rounded up to 8, and its value, together rounded up to 64.
	MaxBytes int64
	// Reserve is how much of MaxBytes is set aside at once (creation); 0 means what a small store needs. The rest is when it
	// is needed; then a full file system is an error of the change that needs it.
	Reserve int64
	// Keys is how many keys are expected (creation): a store with many more is slower. 0 means one for each KiB of MaxBytes.
	Keys int
	// Evict makes room by taking away entries that were not read lately, instead of shiplap.ErrFull (creation). A change
	// of what its key has (Update, Expire, Persist, Add, KeepTTL) does not take that away: ErrFull if nothing else helps.
	Evict bool
	// Locks is how many keys can be locked at a time (creation); 0 means 256, or 64 in stores of less than 4 MiB.
	Locks int
	// Ephemeral removes the store with its last user, also when that dies (creation).
	Ephemeral bool
	// Label is free text for people, up to 256 bytes (creation).
	Label string
	// Codec of typed values that this handle writes. All handles read all.
	Codec Codec
	// Wait is how watchers of this handle wait, if not as its domain does.
	Wait shiplap.WaitMode

	now   func() int64 // the clock of tests
	first int64        // bytes of the heap that are set aside at once, of tests; 0: firstBytes
	seed  [2]uint64    // of the hash, of tests; zeros: random
	parts uint64       // stripes, of tests; 0: as many as are good
}

// Numbers in the header.
const (
	paramBuckets = 0
	paramLog     = 1
	paramLocks   = 2
	paramEvict   = 3
	paramSeed    = 4 // and 5
	paramStripes = 6
)

const (
	smallStore  = 4 << 20
	keyPer      = 1024 // bytes of MaxBytes, if Keys says nothing
	keysPer     = 4    // keys in a bucket, of the seven that fit
	firstBytes  = 256 << 10
	leastSecond = 64 << 10 // bytes that a bucket may serve
	perStripe   = 64       // buckets, at least
)

func (o *Options) geometry() (g table.Geometry, err error) {
	bad := func(format string, a ...any) (table.Geometry, error) {
		return g, fmt.Errorf("%w: "+format, append([]any{errs.ErrTooLarge}, a...)...)
	}
	g.Size = o.MaxBytes
	if g.Size == 0 {
		g.Size = DefaultMaxBytes
	}
	if g.Size < 0 || g.Size > table.MaxSize {
		return bad("MaxBytes is %d, at most %d are possible", o.MaxBytes, int64(table.MaxSize))
	}
	keys := int64(o.Keys)
	if keys == 0 {
		keys = g.Size / keyPer
	}
	if keys < 0 || keys > 1<<30 || o.Locks < 0 || o.Locks > 1<<16 {
		return bad("Keys is %d and Locks %d, at most %d and %d are possible", o.Keys, o.Locks, 1<<30, 1<<16)
	}
	buckets := max(8, uint64(keys+keysPer-1)/keysPer, uint64(g.Size/leastSecond))
	g.Buckets = 1 << bits.Len64(buckets-1)
	g.Log, g.Locks = 8192, 256
	if g.Size < smallStore {
		g.Log, g.Locks = 1024, 64
	}
	if o.Locks > 0 {
		g.Locks = uint64(o.Locks)
	}
	// Evicting takes neighbours in the heap away, wherever their keys are: that is for one writer at a time.
	if g.Evict, g.Stripes = o.Evict, 1; !g.Evict {
		g.Stripes = max(1, min(g.Buckets/perStripe, table.MaxStripes))
		if o.parts > 0 {
			g.Stripes = o.parts
		}
	}
	if least := g.Least(); g.Size < least {
		if o.Keys > 0 && o.MaxBytes > 0 {
			return bad("MaxBytes is %d, and %d keys and %d locks take at least %d", o.MaxBytes, o.Keys, g.Locks, least)
		}
		g.Size = least
	}
	g.Size = (g.Size + table.PageSize - 1) / table.PageSize * table.PageSize
	g.Seed = o.seed
	if g.Seed == [2]uint64{} {
		var seed [16]byte
		rand.Read(seed[:])
		g.Seed = [2]uint64{binary.LittleEndian.Uint64(seed[:]), binary.LittleEndian.Uint64(seed[8:])}
	}
	return g, g.Check()
}

func (o *Options) spec() (object.Spec, error) {
	g, err := o.geometry()
	if err != nil {
		return object.Spec{}, err
	}
	first := o.first
	if first == 0 {
		first = firstBytes
	}
	reserve := min(g.Size, max(o.Reserve, g.Overhead()+first)+table.PageSize-1) / table.PageSize * table.PageSize
	s := object.Spec{
		Kind: object.Store, Label: o.Label,
		Parts: []mem.Part{{Len: int(g.Size)}}, Reserve: reserve,
		Locks: []object.LockAt{{Name: "key locks", Off: table.BindingLock}, {Name: "heap", Off: table.HeapLock}}, Events: []int{table.Changed},
		Init: func(r *mem.Region) { table.Init(r.Span(0), g, reserve) },
	}
	for i := range int(g.Stripes) {
		s.Locks = append(s.Locks, object.LockAt{Name: fmt.Sprint("writer ", i), Off: table.WriterLock(i)})
	}
	s.Params[paramStripes] = g.Stripes
	s.Params[paramBuckets], s.Params[paramLog], s.Params[paramLocks] = g.Buckets, g.Log, g.Locks
	if g.Evict {
		s.Params[paramEvict] = 1
	}
	s.Params[paramSeed], s.Params[paramSeed+1] = g.Seed[0], g.Seed[1]
	if o.Ephemeral {
		s.Flags |= object.Ephemeral
	}
	return s, nil
}

// geometryOf reads what an opened store says of itself.
func geometryOf(h *object.Header) (g table.Geometry, err error) {
	if h.Params[paramEvict] > 1 {
		return g, fmt.Errorf("%w: eviction mode %d", errs.ErrIncompatible, h.Params[paramEvict])
	}
	g = table.Geometry{
		Size: h.Size, Buckets: h.Params[paramBuckets], Stripes: h.Params[paramStripes], Log: h.Params[paramLog], Locks: h.Params[paramLocks],
		Evict: h.Params[paramEvict] == 1, Seed: [2]uint64{h.Params[paramSeed], h.Params[paramSeed+1]},
	}
	return g, g.Check()
}
