// Terminals shares ten bytes between two terminals, as the documentation of Python's SharedMemory does, with
// Go or Python at either end. README.md tells the story.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/shiplap-ipc/shiplap/shm"
)

const usage = `usage: terminals first          make ten bytes
       terminals second NAME    see and change them from another terminal`

func main() {
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 1 && args[0] == "first":
		err = first(os.Stdin, os.Stdout)
	case len(args) == 2 && args[0] == "second":
		err = second(args[1], os.Stdout)
	default:
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func first(in io.Reader, out io.Writer) (err error) {
	block, err := shm.Create("", 10, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, block.Close()) }()

	fmt.Fprintln(out, "object:", block)
	fmt.Fprintln(out, "name:", block.Name())
	fmt.Fprintf(out, "bytes: % x\n", block.Bytes())

	b := block.Bytes()
	b[len(b)-1] = 2

	other, err := shm.Attach(block.Name(), nil) // another handle on the same memory
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "by another handle: % x\n", other.Bytes())
	if err := other.Close(); err != nil {
		return err
	}

	fmt.Fprintln(out, "in another terminal: go run ./examples/terminals second", block.Name())
	fmt.Fprintln(out, "                 or: python3 examples/terminals/second.py", block.Name())
	fmt.Fprintln(out, "then press Enter here")
	if _, err := bufio.NewReader(in).ReadString('\n'); err != nil && err != io.EOF {
		return err
	}

	fmt.Fprintf(out, "bytes at the end: % x\n", block.Bytes())
	if !block.Linked() {
		fmt.Fprintln(out, "somebody removed the name: Python does when it ends")
		return nil
	}
	return block.Unlink()
}

func second(name string, out io.Writer) (err error) {
	block, err := shm.Attach(name, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, block.Close()) }()

	fmt.Fprintf(out, "bytes: % x\n", block.Bytes())
	block.Bytes()[0] = 1
	return nil
}
