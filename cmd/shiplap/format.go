package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
)

// size is a flag in bytes: 4096, 64K, 1M, 2G.
type size int64

func (s *size) String() string { return formatSize(int64(*s)) }
func (s *size) Type() string   { return "size" }

func (s *size) Set(text string) error {
	n, err := parseSize(text)
	if err == nil {
		*s = size(n)
	}
	return err
}

var units = "KMGT"

func parseSize(text string) (int64, error) {
	t := strings.ToUpper(strings.TrimSpace(text))
	t = strings.TrimSuffix(strings.TrimSuffix(t, "B"), "I")
	shift := 0
	if t != "" {
		if i := strings.IndexByte(units, t[len(t)-1]); i >= 0 {
			shift = 10 * (i + 1)
			t = t[:len(t)-1]
		}
	}
	n, err := strconv.ParseInt(t, 10, 64)
	if err != nil || n < 0 || n > 1<<62>>shift {
		return 0, fmt.Errorf("%q is no size: write bytes, or 64K, 1M, 2G", text)
	}
	return n << shift, nil
}

func formatSize(n int64) string {
	if n < 1<<10 {
		return strconv.FormatInt(n, 10)
	}
	v, i := float64(n)/(1<<10), 0
	for v >= 1023.95 && i < len(units)-1 {
		v /= 1 << 10
		i++
	}
	if v == float64(int64(v)) {
		return fmt.Sprintf("%.0f%c", v, units[i])
	}
	return fmt.Sprintf("%.1f%c", v, units[i])
}

// rate is bytes per second, in powers of ten as is usual for rates.
func rate(n int64, d time.Duration) string {
	v := float64(n) / max(d.Seconds(), 1e-9)
	switch {
	case v >= 1e9:
		return fmt.Sprintf("%.2f GB/s", v/1e9)
	case v >= 1e6:
		return fmt.Sprintf("%.1f MB/s", v/1e6)
	}
	return fmt.Sprintf("%.1f kB/s", v/1e3)
}

// grouped writes 1234567 as 1,234,567.
func grouped[N int | int64 | uint64](n N) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := time.Since(t)
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 24*time.Hour:
		return d.Round(time.Second).String()
	}
	return t.Format(time.DateTime)
}

func describe(p *shiplap.Process) string {
	if p == nil {
		return "-"
	}
	pid := "pid " + strconv.Itoa(p.Pid)
	switch {
	case p.Pid == 0: // its slot was swept, or belongs to another by now
		return "dead"
	case !p.Alive:
		return pid + " (dead)"
	}
	return pid
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// table writes lines in columns; cells are separated by tabs.
type table struct{ *tabwriter.Writer }

func newTable(w io.Writer, head ...string) table {
	t := table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	if len(head) > 0 {
		t.row(head...)
	}
	return t
}

func (t table) row(cells ...string) {
	fmt.Fprintln(t, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
}

func writeJSON(cmd *cobra.Command, v any) error {
	e := json.NewEncoder(cmd.OutOrStdout())
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func jsonFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "write JSON")
}
