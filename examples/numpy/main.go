// Numpy shows arrays that Go and a stock Python with NumPy change in place: attach.py maps the file and reads its header as
// docs/layout.md says. Nothing is copied, and Python needs no package but NumPy.
//
//	go run ./examples/numpy [-python /usr/bin/python3]
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/shared"
)

//go:embed attach.py change.py timing.py
var scripts embed.FS

// Point is a record: in NumPy a structured dtype with the same fields at the same offsets.
type Point struct {
	ID   uint16
	Used bool
	Pos  [2]float64
}

func main() {
	python := flag.String("python", "python3", "a Python that has NumPy")
	flag.Parse()
	if err := run(os.Stdout, *python); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const domain = "numpy-example"

func run(out io.Writer, python string) error {
	d, err := shiplap.Join(domain, nil)
	if err != nil {
		return err
	}
	defer d.Close()

	frame, err := shared.CreateArray[uint8](d, "frame", []int{480, 640, 3}, &shared.ArrayOptions{Ephemeral: true})
	if err != nil {
		return err
	}
	defer frame.Close()
	view, err := frame.Pin() // in place, until Release
	if err != nil {
		return err
	}
	defer view.Release()
	for i, p := range view.All() {
		*p = uint8(i[0] + i[1] + 50*i[2])
	}

	points, err := shared.CreateArray[Point](d, "points", []int{3}, &shared.ArrayOptions{Ephemeral: true})
	if err != nil {
		return err
	}
	defer points.Close()
	for i := range 3 {
		if err := points.Set(Point{ID: uint16(i + 1), Pos: [2]float64{float64(i), 0.5}}, i); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "Go: made %v\nGo: made %v\n", frame, points)

	if err := runPython(out, python, "change.py", domain); err != nil {
		return err
	}

	fmt.Fprintln(out, "Go: frame at 100,200:", view.At(100, 200, 0), view.At(100, 200, 1), view.At(100, 200, 2), "at 300,200:", view.At(300, 200, 2))
	all := make([]Point, 3)
	if err := points.Snapshot(context.Background(), all); err != nil {
		return err
	}
	fmt.Fprintln(out, "Go: points:", all)
	return nil
}

// runPython runs one of the scripts, which are in this program, and may be anywhere.
func runPython(out io.Writer, python, script string, args ...string) (err error) {
	dir, err := os.MkdirTemp("", "shiplap-numpy-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.CopyFS(dir, scripts); err != nil {
		return err
	}
	cmd := exec.Command(python, append([]string{filepath.Join(dir, script)}, args...)...)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s (is there NumPy?): %w", python, script, err)
	}
	return nil
}
