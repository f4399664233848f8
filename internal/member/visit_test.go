package member

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/segment"
)

// Whatever is wrong with the table, members and visitors are told what helps; and it does.
func TestDamagedTable(t *testing.T) {
	for what, damage := range map[string]func(path string) error{
		"empty":     func(path string) error { return os.Truncate(path, 0) },
		"too long":  func(path string) error { return os.Truncate(path, fileSize+1) },
		"magic":     func(path string) error { return writeAt(path, 0, "X") },
		"layout":    func(path string) error { return writeAt(path, offLayout, "\x07") },
		"slots":     func(path string) error { return writeAt(path, offSlots, "\x07") },
		"mode":      func(path string) error { return os.Chmod(path, 0o666) },
		"directory": func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"link":      func(path string) error { return errors.Join(os.Rename(path, path+"2"), os.Symlink(path+"2", path)) },
	} {
		t.Run(what, func(t *testing.T) {
			base := t.TempDir() + "/it's here"
			if err := os.Mkdir(base, 0o700); err != nil {
				t.Fatal(err)
			}
			d, err := segment.OpenDir(base, "domain", true)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			tab, err := Join(d)
			if err != nil {
				t.Fatal(err)
			}
			if err := tab.Leave(); err != nil {
				t.Fatal(err)
			}
			if err := damage(d.Path() + "/" + FileName); err != nil {
				t.Fatal(err)
			}
			_, joining := Join(d)
			_, visiting := Visit(d)
			var advice string
			for how, err := range map[string]error{"join": joining, "visit": visiting} {
				if err == nil {
					t.Fatalf("%s: no error", how)
				}
				if !errors.Is(err, errs.ErrCorrupt) && !errors.Is(err, errs.ErrIncompatible) && !errors.Is(err, os.ErrPermission) {
					t.Errorf("%s: %v", how, err)
				}
				var ok bool
				if _, advice, ok = strings.Cut(err.Error(), "all that is in it: "); !ok {
					t.Fatalf("%s: %v", how, err)
				}
			}
			if out, err := exec.Command("sh", "-c", advice).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", advice, err, out)
			}
			again := join(t, base)
			if err := again.Leave(); err != nil {
				t.Error(err)
			}
		})
	}
}

func writeAt(path string, at int64, text string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt([]byte(text), at)
	return err
}

// A directory that is deleted while somebody joins is an error, not a loop.
func TestJoinInADeletedDirectory(t *testing.T) {
	d, err := segment.OpenDir(t.TempDir(), "domain", true)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := os.RemoveAll(d.Path()); err != nil {
		t.Fatal(err)
	}
	if _, err := Join(d); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
