package killtest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Page is what docs/crash-coverage.md holds: a row for each scenario, in one table for deaths and pauses and in another for
// interruptions.
type Page struct {
	kills, interrupts map[string]string // rows by scenario
}

const (
	killsHead = "| Scenario | Operations | Instructions | System calls | Effects | Kills | Pauses | Recoverer kills | Points | Result |\n" +
		"|---|---|--:|--:|--:|--:|--:|--:|---|---|\n"
	interruptsHead = "| Scenario | Points | Contexts ended | Handles closed | Calls failed | In waits | Execs | Deaths while forking | Moot | Result |\n" +
		"|---|--:|--:|--:|--:|--:|--:|--:|--:|---|\n"
)

// ReadPage takes the rows out of a page that was written before.
func ReadPage(text string) *Page {
	p := &Page{kills: map[string]string{}, interrupts: map[string]string{}}
	var rows map[string]string
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(killsHead, line):
			rows = p.kills
		case strings.HasPrefix(interruptsHead, line):
			rows = p.interrupts
		case strings.HasPrefix(line, "|---"):
		case strings.HasPrefix(line, "| ") && rows != nil:
			rows[cell(line, 0)] = strings.TrimSpace(line)
		default:
			rows = nil
		}
	}
	return p
}

// cell returns a cell of a row.
func cell(row string, i int) string {
	cells := strings.Split(strings.Trim(strings.TrimSpace(row), "|"), "|")
	if i >= len(cells) {
		return ""
	}
	return strings.TrimSpace(cells[i])
}

// Merge puts results in the place of older ones of the same scenarios.
func (p *Page) Merge(results []Result) {
	for _, r := range results {
		if r.Interrupted != nil {
			p.interrupts[r.Scenario] = r.row()
		} else {
			p.kills[r.Scenario] = r.row()
		}
	}
}

// Kills renders the table of deaths and pauses, and Interrupts the other one.
func (p *Page) Kills() string { return table(killsHead, p.kills, 5, 6, 7) }

// Interrupts renders the table of interruptions; moot trials do not count.
func (p *Page) Interrupts() string { return table(interruptsHead, p.interrupts, 2, 3, 4, 6, 7) }

// table sorts rows, and sums up the trials in some columns.
func table(head string, rows map[string]string, columns ...int) string {
	var b strings.Builder
	b.WriteString(head)
	trials := 0
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		for _, i := range columns {
			digits, _, _ := strings.Cut(cell(rows[name], i), ",")
			n, _ := strconv.Atoi(digits) // an odd cell counts for nothing
			trials += n
		}
		b.WriteString(rows[name] + "\n")
	}
	fmt.Fprintf(&b, "\n%d scenarios, %d trials.\n", len(rows), trials)
	return b.String()
}
