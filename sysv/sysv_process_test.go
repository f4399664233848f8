package sysv_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/sysv"
)

// child is what a process started by a test does.
func child(role []string) error {
	if len(role) < 2 {
		return fmt.Errorf("role %q", role)
	}
	key, err := sysv.ParseKey(role[1])
	if err != nil {
		return err
	}
	switch role[0] {
	case "make": // a segment, and be killed with it attached
		s, err := sysv.Create(key, 4096, nil)
		if err != nil {
			return err
		}
		if err := s.WriteString(0, 0, "from the child"); err != nil {
			return err
		}
		fmt.Println("ready")
		select {}
	case "nobody": // whatever others may not
		return asNobody(key)
	case "limits": // in an IPC namespace of its own
		return atTheLimits()
	case "huge":
		return withoutHugePages()
	}
	return fmt.Errorf("role %q", role)
}

func start(t *testing.T, role string, key sysv.Key) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SYSV_CHILD="+role+" "+key.String())
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// A killed process leaves the segment, detached by the kernel, with all that is in it.
func TestKilled(t *testing.T) {
	key := newKey(t)
	cmd := start(t, "make", key)
	out, err := cmd.StdoutPipe()
	ok(t, err)
	ok(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "ready\n" {
		t.Error(line, err)
	}
	ok(t, cmd.Process.Kill())
	cmd.Wait()
	info, err := sysv.Find(key)
	ok(t, err)
	if info.CreatorPID != cmd.Process.Pid || info.LastPID != cmd.Process.Pid || info.Attachments != 0 || info.Detached.IsZero() {
		t.Errorf("left: %+v", *info)
	}
	s, err := sysv.Open(key, nil)
	ok(t, err)
	if text, err := s.ReadString(0, 0); text != "from the child" || err != nil {
		t.Error(text, err)
	}
	ok(t, s.Close())
	ok(t, s.ID().Remove())
}

func TestPermission(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	key := newKey(t)
	create(t, key, 4096, &sysv.Options{Mode: 0o600})
	if err := start(t, "nobody", key).Run(); err != nil {
		t.Error(err)
	}
}

func asNobody(key sysv.Key) error {
	const nobody = 65534
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
		return err
	}
	var bad []string
	check := func(err error, texts ...string) {
		for _, s := range append(texts, "") {
			if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), s) {
				bad = append(bad, fmt.Sprintf("%v, want permission denied, %q", err, s))
			}
		}
	}
	owner := "it belongs to uid 0, gid 0, mode 0600; this process is uid 65534"
	_, err := sysv.Get(key, 0, 0o400)
	check(err, owner)
	_, err = sysv.Open(key, nil)
	check(err, owner)
	info, err := sysv.Find(key) // everybody may see that it is there
	if err != nil {
		return err
	}
	if info.Size != 4096 || info.Mode != 0o600 {
		bad = append(bad, info.String())
	}
	check(statErr(info.ID), owner)
	check(info.ID.Remove(), owner)
	check(info.ID.Set(nobody, nobody, 0o666), owner)
	check(info.ID.Lock(), owner)
	if len(bad) > 0 {
		return errors.New(strings.Join(bad, "\n"))
	}
	return nil
}

func TestAtTheLimits(t *testing.T) {
	isolated(t, "limits")
}

// isolated runs the child in an IPC namespace of its own, where it may change limits.
func isolated(t *testing.T, role string) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make an IPC namespace")
	}
	cmd := start(t, role, 0)
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWIPC
	if err := cmd.Run(); err != nil {
		if errors.Is(err, syscall.EPERM) {
			t.Skip("IPC namespaces are not allowed here")
		}
		t.Error(err)
	}
}

func atTheLimits() error {
	before, err := sysv.List()
	if err != nil || len(before) != 0 {
		return fmt.Errorf("a new namespace has %v, %w", before, err)
	}
	set := func(file, value string) error { return os.WriteFile("/proc/sys/kernel/"+file, []byte(value), 0) }
	if err := errors.Join(set("shmmni", "2"), set("shmmax", "100000"), set("shmall", "30")); err != nil {
		fmt.Fprintln(os.Stderr, "limits cannot be set here:", err)
		return nil
	}
	l, err := sysv.SystemLimits()
	if err != nil || l != (sysv.Limits{MaxSize: 100000, MaxSegments: 2, MaxPages: 30, PageSize: os.Getpagesize()}) {
		return fmt.Errorf("limits %+v, %w", l, err)
	}
	var bad []string
	check := func(size int, want error, texts ...string) {
		s, err := sysv.Create(sysv.IPC_PRIVATE, size, nil)
		if s != nil {
			s.ID().Remove()
		}
		for _, text := range texts {
			if !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
				bad = append(bad, fmt.Sprintf("%v, want %v, %q", err, want, text))
			}
		}
	}
	check(100001, shiplap.ErrTooLarge, "100001 bytes, at most 100000")
	a, err := sysv.Create(sysv.IPC_PRIVATE, 80000, nil)
	if err != nil {
		return err
	}
	check(80000, shiplap.ErrNoSpace, "1 of 2 segments", "20 of 30 pages", "shmall")
	b, err := sysv.Create(sysv.IPC_PRIVATE, 1, nil)
	if err != nil {
		return err
	}
	check(1, shiplap.ErrNoSpace, "2 of 2 segments", "shmmni")
	if u, err := sysv.SystemUsage(); err != nil || u.Segments != 2 || u.Pages != 21 {
		bad = append(bad, fmt.Sprintf("in use: %+v, %v", u, err))
	}
	if err := errors.Join(a.ID().Remove(), a.Close(), statErr(a.ID())); !errors.Is(err, shiplap.ErrNotExist) {
		bad = append(bad, fmt.Sprint("gone: ", err))
	}
	if err := errors.Join(b.ID().Remove(), b.Close()); err != nil {
		return err
	}
	if len(bad) > 0 {
		return errors.New(strings.Join(bad, "\n"))
	}
	return nil
}

func TestHugePages(t *testing.T) { isolated(t, "huge") }

// withoutHugePages wants more of them than there are, and one if there is.
func withoutHugePages() error {
	_, err := sysv.Create(sysv.IPC_PRIVATE, 1<<40, &sysv.Options{HugePage: 2 << 20})
	if !errors.Is(err, shiplap.ErrNoSpace) && !errors.Is(err, shiplap.ErrUnsupported) {
		return fmt.Errorf("2^19 huge pages: %v", err)
	}
	if errors.Is(err, shiplap.ErrNoSpace) && !strings.Contains(err.Error(), "huge pages of 2097152 bytes are free") {
		return err
	}
	_, err = sysv.Create(sysv.IPC_PRIVATE, 1, &sysv.Options{HugePage: 8192})
	if !errors.Is(err, shiplap.ErrUnsupported) || !strings.Contains(err.Error(), "no huge pages of 8192 bytes, only") {
		return fmt.Errorf("huge pages of 8192 bytes: %v", err)
	}
	const pages = "/proc/sys/vm/nr_hugepages"
	was, err := os.ReadFile(pages)
	if err != nil {
		return nil // a kernel without
	}
	free, _ := os.ReadFile("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
	if strings.TrimSpace(string(free)) == "0" || len(free) == 0 {
		fmt.Fprintf(os.Stderr, "no free huge page of 2 MB (%s configured): not tried\n", strings.TrimSpace(string(was)))
		return nil
	}
	s, err := sysv.Create(sysv.IPC_PRIVATE, 100, &sysv.Options{HugePage: 2 << 20})
	if err != nil {
		return err
	}
	small, err := sysv.Create(sysv.IPC_PRIVATE, 100, nil)
	if err != nil {
		return err
	}
	// As many bytes, but not as many pages: it would cover what lies behind.
	if _, err := s.ID().Attach(&sysv.AttachOptions{Over: small}); !errors.Is(err, shiplap.ErrIncompatible) {
		return fmt.Errorf("huge over small: %v", err)
	}
	return errors.Join(s.ID().Remove(), s.Close(), small.ID().Remove(), small.Close())
}

// Keys as glibc makes them.
func TestFtokOfGlibc(t *testing.T) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler: ", err)
	}
	dir := t.TempDir()
	src, prog := filepath.Join(dir, "ftok.c"), filepath.Join(dir, "ftok")
	ok(t, os.WriteFile(src, []byte(`#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>
int main(int argc, char **argv) {
	for (int i = 1; i + 1 < argc; i += 2)
		printf("0x%08x\n", (unsigned)ftok(argv[i], atoi(argv[i + 1])));
}
`), 0o600))
	if out, err := exec.Command(cc, "-o", prog, src).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	link := filepath.Join(dir, "link")
	ok(t, os.Symlink(src, link))
	var args []string
	for _, path := range []string{src, link, dir, "/", "/proc", "/dev/null", "/dev/shm", "/tmp", "/etc/passwd"} {
		if _, err := os.Stat(path); err != nil {
			continue
		}
		for _, id := range []int{0, 1, 'A', 255, 256, 0x1234, -1, -200} {
			args = append(args, path, strconv.Itoa(id))
		}
	}
	out, err := exec.Command(prog, args...).Output()
	ok(t, err)
	for i, want := range strings.Fields(string(out)) {
		id, _ := strconv.Atoi(args[2*i+1])
		if got, err := sysv.Ftok(args[2*i], id); got.String() != want || err != nil {
			t.Errorf("%s %d: %v, %v; glibc says %s", args[2*i], id, got, err, want)
		}
	}
	_, err = sysv.Ftok(filepath.Join(dir, "nothing"), 1)
	is(t, err, shiplap.ErrNotExist, "nothing")
}

// ipcs and ipcrm of util-linux see what we make, and take it away.
func TestIpcs(t *testing.T) {
	for _, prog := range []string{"ipcs", "ipcrm"} {
		if _, err := exec.LookPath(prog); err != nil {
			t.Skip("util-linux is not here: ", err)
		}
	}
	key := newKey(t)
	s := create(t, key, 4321, &sysv.Options{Mode: 0o640})
	out, err := exec.Command("ipcs", "-m").Output()
	ok(t, err)
	var found []string
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 5 && f[0] == key.String() {
			found = f
		}
	}
	if want := []string{key.String(), fmt.Sprint(int(s.ID()))}; len(found) < 6 || !reflect.DeepEqual(found[:2], want) ||
		!reflect.DeepEqual(found[3:6], []string{"640", "4321", "1"}) {
		t.Errorf("ipcs says %q of %v\n%s", found, key, out)
	}
	if out, err := exec.Command("ipcrm", "-M", key.String()).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if info, err := s.Stat(); err != nil || !info.Removed {
		t.Error(info, err)
	}
	ok(t, s.Close())
	if err := statErr(s.ID()); err == nil {
		t.Error("still there")
	}
}

func sysctl(t *testing.T, file string) uint64 {
	b, err := os.ReadFile("/proc/sys/kernel/" + file)
	ok(t, err)
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	ok(t, err)
	return n
}

func mapping(maps string, addr uintptr) string {
	for line := range strings.Lines(maps) {
		if strings.HasPrefix(line, fmt.Sprintf("%x-", addr)) {
			return line
		}
	}
	return ""
}

// heapAddresses are two in the heap and one in the program's text.
func heapAddresses(b []byte) []uintptr {
	p := reflect.ValueOf(b).Pointer()
	return []uintptr{p, p + uintptr(len(b))/2, reflect.ValueOf(heapAddresses).Pointer()}
}
