package segment

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// MaxName is the longest name of an object or a domain, in bytes.
const MaxName = 128

// maxFile leaves room below the kernel's 255 for what prefixes add.
const maxFile = 240

// FileName is the file that holds the object called name. File names that begin with '#' or '.'
// never arise from a name: they are the domain's own.
func FileName(name string) (string, error) {
	bad := func(why string) error { return fmt.Errorf("%w %q: %s", errs.ErrName, clip(name), why) }
	switch {
	case name == "":
		return "", bad("it is empty")
	case len(name) > MaxName:
		return "", bad(fmt.Sprintf("%d bytes, at most %d are allowed", len(name), MaxName))
	case !utf8.ValidString(name):
		return "", bad("it is not valid UTF-8")
	case name == "." || name == "..":
		return "", bad("that is a directory")
	}
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '/':
			return "", bad("'/' is not allowed")
		case c == 0:
			return "", bad("a NUL byte is not allowed")
		case c < ' ' || c == 0x7f:
			return "", bad(fmt.Sprintf("the control character %#02x is not allowed", c))
		case c == '%', i == 0 && (c == '.' || c == '#'):
			fmt.Fprintf(&b, "%%%02X", c)
		default:
			b.WriteByte(c)
		}
	}
	if b.Len() > maxFile {
		return "", bad(fmt.Sprintf("its file name would have %d bytes, at most %d are possible", b.Len(), maxFile))
	}
	return b.String(), nil
}

// ObjectName is the inverse; ok is false for files that hold no object.
func ObjectName(file string) (name string, ok bool) {
	if file == "" || file[0] == '#' || file[0] == '.' {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(file); i++ {
		if file[i] != '%' {
			b.WriteByte(file[i])
			continue
		}
		if i+2 >= len(file) {
			return "", false
		}
		var c byte
		if n, err := fmt.Sscanf(file[i+1:i+3], "%02X", &c); n != 1 || err != nil {
			return "", false
		}
		b.WriteByte(c)
		i += 2
	}
	back, err := FileName(b.String())
	return b.String(), err == nil && back == file
}

func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}
