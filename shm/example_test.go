package shm_test

import (
	"fmt"
	"log"

	"github.com/shiplap-ipc/shiplap/shm"
)

func Example() {
	s, err := shm.Create("", 10, nil) // Python: SharedMemory(create=True, size=10)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	defer s.Unlink()
	s.Bytes()[9] = 2

	other, err := shm.Attach(s.Name(), &shm.Options{ReadOnly: true}) // here or in any process
	if err != nil {
		log.Fatal(err)
	}
	defer other.Close()
	fmt.Println(other.Bytes())
	// Output: [0 0 0 0 0 0 0 0 0 2]
}

// Anonymous memory that the other side can rely on.
func ExampleAnonymous() {
	s, err := shm.Anonymous(4096, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	copy(s.Bytes(), "for everybody to read")
	if err := s.Seal(shm.SealSize | shm.SealWrite | shm.SealSeal); err != nil {
		log.Fatal(err)
	}

	f, err := s.File() // for exec.Cmd's ExtraFiles; or s.Send over a Unix socket
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	r, err := shm.FromFile(f, &shm.Options{Seals: shm.SealSize | shm.SealWrite})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	fmt.Printf("%.21s\n", r.Bytes())
	// Output: for everybody to read
}
