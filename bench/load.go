//go:build linux

package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
)

// nDraws is how many operations a client has before it begins anew: some five for each key.
const nDraws = 1 << 19

// setBit marks a draw whose key is set, not read.
const setBit = 1 << 31

// draws makes the operations of one client, the same in every run.
func draws(m mix, client int, uniform bool) []uint32 {
	r := rand.New(rand.NewPCG(uint64(m), uint64(client)))
	exponent := 0.99
	if uniform {
		exponent = 0
	}
	upTo := make([]float64, nKeys)
	sum := 0.0
	for i := range upTo {
		sum += math.Pow(float64(i+1), -exponent)
		upTo[i] = sum
	}
	order := rand.New(rand.NewPCG(1, 2)).Perm(nKeys) // the same keys are popular with both clients
	all := make([]uint32, nDraws)
	for i := range all {
		rank := sort.SearchFloat64s(upTo, r.Float64()*sum)
		all[i] = uint32(order[min(rank, nKeys-1)])
		if r.IntN(100) >= int(m) {
			all[i] |= setBit
		}
	}
	return all
}

func drawsFile(dir string, m mix, client int) string {
	return filepath.Join(dir, fmt.Sprintf("draws-%d-%d", int(m), client))
}

// writeDraws writes the draws of all clients and mixes, as c/load.c and ownClient read them.
func writeDraws(dir string, uniform bool) error {
	for _, m := range mixes {
		for c := range clients {
			var b []byte
			for _, d := range draws(m, c, uniform) {
				b = binary.NativeEndian.AppendUint32(b, d)
			}
			if err := os.WriteFile(drawsFile(dir, m, c), b, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

func readDraws(path string) ([]uint32, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	all := make([]uint32, len(b)/4)
	for i := range all {
		all[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return all, nil
}

// A value begins with the number of its key, and has its version behind that and at its end.
func fill(v []byte, id uint32, version uint64) {
	_ = v[valueLen-1]
	binary.LittleEndian.PutUint64(v, uint64(id))
	binary.LittleEndian.PutUint64(v[8:], version)
	binary.LittleEndian.PutUint64(v[valueLen-8:], version)
}

func good(v []byte, id uint32) bool {
	return len(v) == valueLen && binary.LittleEndian.Uint64(v) == uint64(id) &&
		binary.LittleEndian.Uint64(v[8:]) == binary.LittleEndian.Uint64(v[valueLen-8:])
}
