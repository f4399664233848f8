package shm

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Pages says what a segment's mapping in this process is made of.
type Pages struct {
	PageSize int64 `json:"page_size"` // bytes of the pages that back it; 4096, or that of the huge page pool
	Resident int64 `json:"resident"`  // bytes that are mapped at this moment
	Huge     int64 `json:"huge"`      // bytes of those in huge pages
	// Note says why there are fewer huge pages than were asked for, "" if there is nothing to say.
	Note string `json:"note,omitempty"`
}

// String is one line for people.
func (p Pages) String() string {
	s := fmt.Sprintf("pages of %d bytes, %d bytes mapped, %d of them in huge pages", p.PageSize, p.Resident, p.Huge)
	if p.Note != "" {
		s += ": " + p.Note
	}
	return s
}

// parseSmaps adds up what /proc/PID/smaps says of the mappings inside of [from, to).
func parseSmaps(smaps []byte, from, to uint64) (p Pages, found bool) {
	inside := false
	for line := range bytes.Lines(smaps) {
		f := strings.Fields(string(line))
		if len(f) == 0 {
			continue
		}
		if !strings.HasSuffix(f[0], ":") {
			begin, end, ok := addresses(f[0])
			inside = ok && begin >= from && begin < to && end > begin
			found = found || inside
			continue
		}
		if !inside || len(f) < 2 {
			continue
		}
		n, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil || n < 0 || n > 1<<50 {
			continue
		}
		n <<= 10
		switch f[0] {
		case "KernelPageSize:":
			p.PageSize = max(p.PageSize, n)
		case "Rss:":
			p.Resident += n
		case "Shared_Hugetlb:", "Private_Hugetlb:":
			p.Resident += n
			p.Huge += n
		case "ShmemPmdMapped:":
			p.Huge += n
		}
	}
	return p, found
}

func addresses(s string) (begin, end uint64, ok bool) {
	a, b, ok := strings.Cut(s, "-")
	begin, err := strconv.ParseUint(a, 16, 64)
	end, err2 := strconv.ParseUint(b, 16, 64)
	return begin, end, ok && err == nil && err2 == nil
}

// parseHuge finds what the mount that path lies on says of huge pages, in the lines of
// /proc/PID/mountinfo; "never" if it says nothing.
func parseHuge(mountinfo []byte, mount string) string {
	how := "never"
	for line := range bytes.Lines(mountinfo) {
		before, after, ok := strings.Cut(string(line), " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 5 || len(g) < 3 || unescape(f[4]) != mount {
			continue
		}
		how = "never" // the last mount at a place is the one that is seen
		for opt := range strings.SplitSeq(g[2], ",") {
			if v, ok := strings.CutPrefix(opt, "huge="); ok {
				how = v
			}
		}
	}
	return how
}

// unescape undoes the octal escapes of the kernel's lists: \040 is a space.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
