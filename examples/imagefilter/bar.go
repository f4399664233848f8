package main

import (
	"fmt"
	"os"
	"strings"
)

// bar shows progress: on a terminal as a bar that grows, elsewhere as a line at each quarter.
type bar struct {
	n, quarter int
	terminal   bool
}

func newBar(n int) *bar {
	st, err := os.Stdout.Stat()
	return &bar{n: n, terminal: err == nil && st.Mode()&os.ModeCharDevice != 0}
}

const barWidth = 40

func (b *bar) show(done int) {
	if b.quarter == 4 {
		return // it is complete
	}
	percent := 100 * done / b.n
	if b.terminal {
		fmt.Printf("\r\x1b[K[%-*s] %d %%", barWidth, strings.Repeat("=", barWidth*done/b.n), percent)
	}
	for ; b.quarter < percent/25; b.quarter++ {
		switch {
		case !b.terminal:
			fmt.Printf("%d %% done\n", 25*(b.quarter+1))
		case b.quarter == 3:
			fmt.Println()
		}
	}
}

// say writes a line where the bar is.
func (b *bar) say(format string, a ...any) {
	if b.terminal {
		fmt.Print("\r\x1b[K")
	}
	fmt.Printf(format+"\n", a...)
}
