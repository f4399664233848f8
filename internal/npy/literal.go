package npy

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// A Python literal is a string, an int64, a bool, nil for None, a list, a tuple or a dict.
type (
	list  []any
	tuple []any
	dict  []entry // in the order of the text
	entry struct{ key, value any }
)

const maxNesting = 64

// literal reads one literal and nothing behind it but white space. It reads what repr writes, and a
// little more; it is no Python.
type literal struct {
	s   string // UTF-8
	pos int
}

func parseLiteral(s string) (any, error) {
	p := &literal{s: s}
	v, err := p.value(0)
	if err == nil {
		if p.space(); p.pos < len(p.s) {
			err = p.fail("something after the end")
		}
	}
	return v, err
}

func (p *literal) fail(what string) error {
	return fmt.Errorf("%w: npy header: %s at byte %d", errs.ErrIncompatible, what, p.pos)
}

func (p *literal) space() {
	for p.pos < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.pos]) >= 0 {
		p.pos++
	}
}

func (p *literal) skip(token string) bool {
	if !strings.HasPrefix(p.s[p.pos:], token) {
		return false
	}
	p.pos += len(token)
	return true
}

// peek is the next byte that is not white space, 0 at the end.
func (p *literal) peek() byte {
	if p.space(); p.pos < len(p.s) {
		return p.s[p.pos]
	}
	return 0
}

func (p *literal) value(depth int) (any, error) {
	if depth > maxNesting {
		return nil, p.fail("nested too deep")
	}
	switch c := p.peek(); {
	case c == '{':
		return p.dict(depth)
	case c == '[':
		l, _, err := p.items(']', depth)
		return list(l), err
	case c == '(':
		l, comma, err := p.items(')', depth)
		if err == nil && len(l) == 1 && !comma {
			return l[0], nil // parentheses
		}
		return tuple(l), err
	case c == '-' || '0' <= c && c <= '9':
		return p.number()
	case p.skip("True"):
		return true, nil
	case p.skip("False"):
		return false, nil
	case p.skip("None"):
		return nil, nil
	}
	return p.text()
}

// items reads what stands between brackets, the opening one included.
func (p *literal) items(end byte, depth int) (l []any, comma bool, err error) {
	p.pos++
	for p.peek() != end {
		if len(l) > 0 && !comma {
			return nil, false, p.fail("no comma")
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, false, err
		}
		l = append(l, v)
		p.space()
		comma = p.skip(",")
	}
	p.pos++
	return l, comma, nil
}

func (p *literal) dict(depth int) (d dict, err error) {
	p.pos++
	comma := true
	for p.peek() != '}' {
		if !comma {
			return nil, p.fail("no comma")
		}
		var e entry
		if e.key, err = p.value(depth + 1); err != nil {
			return nil, err
		}
		if p.peek() != ':' {
			return nil, p.fail("no colon")
		}
		p.pos++
		if e.value, err = p.value(depth + 1); err != nil {
			return nil, err
		}
		d = append(d, e)
		p.space()
		comma = p.skip(",")
	}
	p.pos++
	return d, nil
}

func (p *literal) number() (any, error) {
	end := p.pos + 1
	for end < len(p.s) && '0' <= p.s[end] && p.s[end] <= '9' {
		end++
	}
	n, err := strconv.ParseInt(p.s[p.pos:end], 10, 64)
	if err != nil {
		return nil, p.fail("bad number")
	}
	p.pos = end
	p.skip("L") // Python 2 wrote that
	return n, nil
}

func (p *literal) text() (any, error) {
	if !p.skip("u") {
		p.skip("b")
	}
	quote := p.peek()
	if quote != '\'' && quote != '"' {
		return nil, p.fail("no literal")
	}
	p.pos++
	var b strings.Builder
	for {
		if p.pos >= len(p.s) {
			return nil, p.fail("a string without end")
		}
		c := p.s[p.pos]
		p.pos++
		switch c {
		case quote:
			return b.String(), nil
		case '\\':
			r, err := p.escape()
			if err != nil {
				return nil, err
			}
			b.WriteRune(r)
		default:
			b.WriteByte(c)
		}
	}
}

func (p *literal) escape() (rune, error) {
	if p.pos >= len(p.s) {
		return 0, p.fail("a string without end")
	}
	c := p.s[p.pos]
	p.pos++
	digits := 0
	switch c {
	case '\\', '\'', '"':
		return rune(c), nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'x':
		digits = 2
	case 'u':
		digits = 4
	case 'U':
		digits = 8
	}
	if digits > 0 && p.pos+digits <= len(p.s) {
		n, err := strconv.ParseUint(p.s[p.pos:p.pos+digits], 16, 32)
		if err == nil && n <= utf8.MaxRune && utf8.ValidRune(rune(n)) {
			p.pos += digits
			return rune(n), nil
		}
	}
	return 0, p.fail("an unknown escape")
}

// quote writes a string as a Python literal.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, r := range s {
		switch {
		case r == '\'' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, "\\x%02x", r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('\'')
	return b.String()
}
