package main

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
)

const asProgram = "SHIPLAP_EXAMPLE_IMAGEFILTER"

// TestMain is the example itself when a test, or the example, starts it as such.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	leaktest.Main(m)
}

// example runs it as a user would.
func example(t *testing.T, args ...string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), asProgram+"=yes", "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, complaints.String())
	}
	if left, err := shiplap.Domains(""); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
	return string(out)
}

// check compares a PNG file with what one process alone makes of p.
func check(t *testing.T, file string, p *image.RGBA) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	want := image.NewRGBA(p.Rect)
	blur(want.Pix, p.Pix, p.Rect.Dx(), p.Rect.Dy(), 0, p.Rect.Dy(), func(int) {})
	if g, ok := got.(*image.RGBA); !ok || g.Rect != want.Rect || !bytes.Equal(g.Pix, want.Pix) {
		t.Errorf("%s is another picture", file)
	}
	if bytes.Equal(want.Pix, p.Pix) {
		t.Error("the filter changes nothing")
	}
}

const progress = `25 % done
50 % done
75 % done
100 % done
one process alone gets the same, byte for byte
`

// without takes a line out of what it wrote, where it has to stand once, wherever.
func without(t *testing.T, said, line string) string {
	t.Helper()
	at := regexp.MustCompile("(?m)^"+line+"\n").FindAllStringIndex(said, -1)
	if len(at) != 1 {
		t.Errorf("%d times %q in\n%s", len(at), line, said)
		return said
	}
	return said[:at[0][0]] + said[at[0][1]:]
}

// A process is killed in the middle of a band: another does it again.
func TestKilled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out.png")
	said := example(t, "-out", file)
	rest := without(t, said, "process 1 stands still in band 0: kill -9")
	rest = without(t, rest, "process [2-4] does band 0 once more")
	if rest != "a picture of 1280 × 800 pixels, 4 processes\n"+progress {
		t.Errorf("it wrote\n%s", said)
	}
	check(t, file, draw(1280, 800))
}

// A picture from a file, with fewer rows than there are bands at most.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.png"), filepath.Join(dir, "out.png")
	p := draw(61, 37)
	if err := save(in, p); err != nil {
		t.Fatal(err)
	}
	if said := example(t, "-in", in, "-out", out, "-kill=false"); said != "a picture of 61 × 37 pixels, 4 processes\n"+progress {
		t.Errorf("it wrote\n%s", said)
	}
	check(t, out, p)
}

// However a picture is cut, it is the same.
func TestBands(t *testing.T) {
	p := draw(40, 30)
	whole := make([]uint8, len(p.Pix))
	blur(whole, p.Pix, 40, 30, 0, 30, func(int) {})
	cut := make([]uint8, len(p.Pix))
	for _, b := range [][2]int{{0, 1}, {1, 9}, {9, 10}, {10, 30}} {
		blur(cut[b[0]*p.Stride:b[1]*p.Stride], p.Pix, 40, 30, b[0], b[1], func(int) {})
	}
	if !bytes.Equal(cut, whole) {
		t.Error("in bands it is another picture")
	}
	flat := bytes.Repeat([]byte{200}, len(p.Pix))
	blur(cut, flat, 40, 30, 0, 30, func(int) {})
	if !bytes.Equal(cut, flat) {
		t.Error("a picture of one colour changes")
	}
}
