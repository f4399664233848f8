package sysv_test

import (
	"fmt"
	"os"

	"github.com/shiplap-ipc/shiplap/sysv"
)

// Another program finds the segment with shmget(ftok(path, 65), 4096, 0).
func Example() {
	f, err := os.CreateTemp("", "meet") // any file that both programs know
	if err != nil {
		panic(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	key, err := sysv.Ftok(f.Name(), 65)
	if err != nil {
		panic(err)
	}
	seg, err := sysv.Create(key, 4096, nil)
	if err != nil {
		panic(err)
	}
	defer seg.Close()
	defer seg.ID().Remove()
	if err := seg.WriteString(0, 1024, "hello"); err != nil {
		panic(err)
	}
	text, err := seg.ReadString(0, 1024)
	info, _ := seg.Stat()
	fmt.Println(text, err, info.Size, info.Attachments)
	// Output: hello <nil> 4096 1
}
