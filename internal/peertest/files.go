package peertest

import (
	"os"
	"slices"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/bell"
	"github.com/shiplap-ipc/shiplap/internal/member"
)

// Files are what lies in the directory of a domain, beside the table of members and the FIFOs of members that live. So
// the FIFO of a process that is gone counts as left behind.
func Files(d *shiplap.Domain) (names []string, err error) {
	members, err := d.Members() // first: one that leaves meanwhile takes its FIFO along
	if err != nil {
		return nil, err
	}
	expected := []string{member.FileName}
	for _, m := range members {
		if m.Alive {
			expected = append(expected, FIFO(m))
		}
	}
	files, err := os.ReadDir(d.Dir())
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if !slices.Contains(expected, f.Name()) {
			names = append(names, f.Name())
		}
	}
	return names, nil
}

// FIFO is the name of a member's FIFO in the directory of its domain.
func FIFO(m shiplap.Process) string { return bell.FileName(int(m.Token % member.Slots)) }
