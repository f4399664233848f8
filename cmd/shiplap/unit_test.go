package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseSize(t *testing.T) {
	for _, tt := range []struct {
		text string
		want int64 // -1: refused
	}{
		{"0", 0}, {"4096", 4096}, {"64K", 64 << 10}, {"64k", 64 << 10}, {"1M", 1 << 20}, {"1MiB", 1 << 20}, {"2GB", 2 << 30},
		{"1T", 1 << 40}, {"", -1}, {"K", -1}, {"-1", -1}, {"1.5M", -1}, {"1X", -1}, {"9999999999T", -1}, {"99999999999999999999", -1},
	} {
		got, err := parseSize(tt.text)
		if err != nil {
			got = -1
		}
		if got != tt.want {
			t.Errorf("%q is %d (%v), want %d", tt.text, got, err, tt.want)
		}
	}
}

func TestFormatSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 1023: "1023", 1024: "1K", 1536: "1.5K", 1<<20 - 1: "1M", 5 << 30: "5G", 3 << 50: "3072T"} {
		if got := formatSize(n); got != want && got != strings.Replace(want, "M", ".0M", 1) {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
	if got := grouped(1234567); got != "1,234,567" {
		t.Error(got)
	}
}

func TestFindMount(t *testing.T) {
	const info = `22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:26 / /dev/shm rw,nosuid shared:4 - tmpfs tmpfs rw
31 22 0:27 / /my\040dir rw - ramfs none rw
nonsense
`
	for path, want := range map[string]mount{
		"/dev/shm/x": {"/dev/shm", "tmpfs"}, "/dev/shmx": {"/", "ext4"}, "/my dir/a": {"/my dir", "ramfs"}, "/": {"/", "ext4"},
	} {
		if got := findMount(strings.NewReader(info), path); got != want {
			t.Errorf("%s is on %v, want %v", path, got, want)
		}
	}
}

func TestRemoveIPC(t *testing.T) {
	root := t.TempDir()
	write := func(file, text string) {
		t.Helper()
		file = filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	says := func(want string) {
		t.Helper()
		if f := examineRemoveIPC(root); !strings.Contains(f.Detail, want) {
			t.Errorf("%s: %s, want %q", f.Status, f.Detail, want)
		}
	}
	says("no systemd")
	write("run/systemd/system/x", "")
	says("yes (the default)")
	write("etc/systemd/logind.conf", "[Login]\n#RemoveIPC=yes\n")
	says("yes (the default)")
	write("etc/systemd/logind.conf", "[Login]\nRemoveIPC = no\n")
	says("no (" + root + "/etc/systemd/logind.conf)")
	write("usr/lib/systemd/logind.conf.d/50.conf", "RemoveIPC=yes\n")
	says("yes (" + root + "/usr/lib/systemd/logind.conf.d/50.conf)")
	write("etc/systemd/logind.conf.d/50.conf", "RemoveIPC=off\n")
	says("off (" + root + "/etc/systemd/logind.conf.d/50.conf)")
}
