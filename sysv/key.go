package sysv

import (
	"fmt"
	"strconv"
	"strings"
)

// Key is what processes agree on to find the same segment.
type Key int32

// IPC_PRIVATE is the key of segments that nobody finds by key: each Get makes another one.
const IPC_PRIVATE Key = 0

// Ftok makes a key of an existing file and a project number, exactly as glibc's ftok does: eight bits
// of id, eight of the file's device and sixteen of its inode. So different files can have the same
// key, and a file that was deleted and made again has another one than before.
//
// C asks for an id whose low eight bits are not zero; others work here as they do in glibc.
func Ftok(path string, id int) (Key, error) {
	dev, ino, err := sysFile(path)
	if err != nil {
		return 0, fmt.Errorf("ftok: %w", err)
	}
	return ftok(dev, ino, id), nil
}

func ftok(dev, ino uint64, id int) Key {
	return Key(uint32(id&0xff)<<24 | uint32(dev&0xff)<<16 | uint32(ino&0xffff))
}

// ParseKey reads a key as String, ipcs(1) and C programs write it: 0x41013f2a, or a decimal number,
// which may be negative.
func ParseKey(text string) (Key, error) {
	hex := strings.HasPrefix(text, "0x") || strings.HasPrefix(text, "0X")
	if hex {
		n, err := strconv.ParseUint(text[2:], 16, 32)
		if err == nil {
			return Key(uint32(n)), nil
		}
	} else if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= -1<<31 && n < 1<<32 {
		return Key(uint32(n)), nil
	}
	return 0, fmt.Errorf("%q is no key: write 0x and up to eight hexadecimal digits, or a decimal number of 32 bits", text)
}

// String is the key as ipcs(1) shows it.
func (k Key) String() string { return fmt.Sprintf("0x%08x", uint32(k)) }

// MarshalText is String.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is ParseKey.
func (k *Key) UnmarshalText(text []byte) (err error) {
	*k, err = ParseKey(string(text))
	return err
}
