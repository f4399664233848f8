package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/internal/pythontest"
	"github.com/shiplap-ipc/shiplap/shared"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const output = `Go: made array "frame" of 480×640×3 fixed:|u1
Go: made array "points" of 3 fixed:{ID:<u2@0,Used:|b1@2,Pos:[2]<f8@8;size=24,align=8}
Python: frame (480, 640, 3) uint8 at 100,200: [44, 94, 144]
Python: points (3,) ('ID', 'Used', 'Pos') [1, 2, 3] [0.0, 1.0, 2.0]
Go: frame at 100,200: 22 47 72 at 300,200: 255
Go: points: [{1 false [0 5]} {2 true [10 5]} {3 false [20 5]}]
`

func TestExample(t *testing.T) {
	p := pythontest.WithNumPy(t)
	var out strings.Builder
	if err := run(&out, p.Path); err != nil {
		t.Fatal(err)
	}
	if out.String() != output {
		t.Errorf("it prints\n%s\nwanted is\n%s", &out, output)
	}
}

// Names that are escaped, types inside of types, and what is no plain array.
func TestAttach(t *testing.T) {
	p := pythontest.WithNumPy(t)
	const name = "#50% of it"
	d, err := shiplap.Join(".hidden", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	type inner struct {
		A [2][3]int16
		B complex64
	}
	a, err := shared.CreateArray[struct {
		X    uint8
		In   [2]inner
		Last float32
	}](d, name, []int{2, 2}, &shared.ArrayOptions{Ephemeral: true})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	f, err := shared.CreateArray[int8](d, "frames", []int{2}, &shared.ArrayOptions{Ephemeral: true, Frames: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dir := t.TempDir()
	if err := os.CopyFS(dir, scripts); err != nil {
		t.Fatal(err)
	}
	script := `
from attach import attach, np
a = attach("` + name + `", ".hidden")
assert a.shape == (2, 2) and a.dtype == np.dtype(` + a.DType() + `), a.dtype
a["In"]["A"][1, 0, 1, 1, 2] = 77
try:
    attach("frames", ".hidden")
    print("attached")
except ValueError as e:
    print(str(e).split("/")[-1])
`
	if err := os.WriteFile(filepath.Join(dir, "script.py"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(p.Path, filepath.Join(dir, "script.py"))
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "frames is no plain array\n" {
		t.Fatalf("%s (%v)", out, err)
	}
	if x, err := a.At(1, 0); err != nil || x.In[1].A[1][2] != 77 {
		t.Error(x, err)
	}
}

// What it costs to attach 100 MB. Times are printed, and not checked.
func TestTiming(t *testing.T) {
	p := pythontest.WithNumPy(t)
	d, err := shiplap.Join(domain, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	a, err := shared.CreateArray[float64](d, "large", []int{12_500_000}, &shared.ArrayOptions{Ephemeral: true})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var out strings.Builder
	if err := runPython(&out, p.Path, "timing.py", "large", domain); err != nil {
		t.Fatal(err)
	}
	t.Log(out.String())
}
