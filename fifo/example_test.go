package fifo_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/shiplap-ipc/shiplap/fifo"
)

func Example() {
	dir, err := os.MkdirTemp("", "bell")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path, ctx := filepath.Join(dir, "bell"), context.Background()
	if err := fifo.Make(path, 0o600); err != nil {
		panic(err)
	}
	go func() { // or another process, or "echo -n hello > bell"
		w, err := fifo.OpenWriter(ctx, path)
		if err != nil {
			panic(err)
		}
		defer w.Close()
		w.Write(ctx, []byte("hello"))
	}()
	r, err := fifo.OpenReader(ctx, path)
	if err != nil {
		panic(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r.Stream(ctx))
	fmt.Printf("%s %v\n", text, err)
	// Output: hello <nil>
}
