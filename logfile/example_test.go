package logfile_test

import (
	"log/slog"
	"os"

	"github.com/shiplap-ipc/shiplap/logfile"
)

func Example() {
	h, err := logfile.New(&logfile.Options{
		Screen: os.Stdout, // or File: "app.log", or Files: "app.*.log"
		Level:  slog.LevelDebug,
		Time:   "(here the time)", // a layout of package time
	})
	if err != nil {
		panic(err)
	}
	defer h.Close()
	log := slog.New(h)
	log.Info("segment created", "id", 5, "size", 4096)
	log.Warn("two\nlines stay one")
	// Output:
	// [info][(here the time)]: segment created id=5 size=4096
	// [warning][(here the time)]: two\nlines stay one
}
