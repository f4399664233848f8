package pymp

import (
	"math/big"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDigits is how long a number in text may be: as in Python since 3.11, and for the same reason,
// that reading one takes time that grows faster than its length.
const maxDigits = 4300

// text handles the opcodes with arguments in text, most of them of protocol 0; ok says whether op is
// one of them.
func (d *decoder) text(op byte) (ok bool, err error) {
	var v any
	switch op {
	case opInt, opLong:
		v, err = d.decimal(op)
	case opFloat:
		v, err = d.float()
	case opUnicode:
		v, err = d.rawUnicode()
	case opGlobal, opInst:
		v, err = d.globalLines(op)
	case opStackGlobal:
		v, err = d.stackGlobal()
	default:
		return false, nil
	}
	if err != nil {
		return true, err
	}
	return true, d.push(v)
}

func (d *decoder) decimal(op byte) (any, error) {
	line, err := d.line()
	if err != nil {
		return nil, err
	}
	s := string(line)
	if op == opInt && (s == "00" || s == "01") {
		return s == "01", nil // how protocols 0 and 1 spell bool
	}
	if op == opLong {
		s = strings.TrimSuffix(s, "L")
	}
	if len(s) > maxDigits {
		return nil, badPickle("a number of %d digits in text (maximum %d)", len(s), maxDigits)
	}
	n, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return nil, badPickle("%q is no integer", s)
	}
	return small(n), nil
}

func (d *decoder) float() (any, error) {
	line, err := d.line()
	if err != nil {
		return nil, err
	}
	s := string(line)
	if len(s) > maxDigits {
		return nil, badPickle("a float of %d digits (maximum %d)", len(s), maxDigits)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !strings.Contains(err.Error(), strconv.ErrRange.Error()) {
		return nil, badPickle("%q is no float", s)
	}
	return f, nil
}

func (d *decoder) index() (uint64, error) {
	line, err := d.line()
	if err != nil {
		return 0, err
	}
	i, err := strconv.ParseUint(string(line), 10, 32)
	if err != nil {
		return 0, badPickle("%q is no place in the memo", line)
	}
	return i, nil
}

// rawUnicode is Latin-1 with \u and \U escapes.
func (d *decoder) rawUnicode() (any, error) {
	line, err := d.line()
	if err != nil {
		return nil, err
	}
	var b []byte
	for i := 0; i < len(line); {
		digits := 0
		if line[i] == '\\' && i+1 < len(line) {
			digits = map[byte]int{'u': 4, 'U': 8}[line[i+1]]
		}
		if digits == 0 {
			b = utf8.AppendRune(b, rune(line[i]))
			i++
			continue
		}
		if i+2+digits > len(line) {
			return nil, badPickle("an escape is cut off")
		}
		n, err := strconv.ParseUint(string(line[i+2:i+2+digits]), 16, 32)
		if err != nil || n > utf8.MaxRune {
			return nil, badPickle("%q is no escape", line[i:i+2+digits])
		}
		if utf16.IsSurrogate(rune(n)) {
			return nil, errSurrogate
		}
		b = utf8.AppendRune(b, rune(n))
		i += 2 + digits
	}
	return string(b), nil
}

var errSurrogate = badPickle("a str is no valid Unicode (a lone surrogate, as in file names that are not UTF-8): send it as bytes")

func unicode(b []byte) (any, error) {
	if !utf8.Valid(b) {
		return nil, errSurrogate
	}
	return string(b), nil
}

// globalLines reads a name of two lines. INST calls it at once, with the values since the mark.
func (d *decoder) globalLines(op byte) (any, error) {
	module, err := d.line()
	if err != nil {
		return nil, err
	}
	name, err := d.line()
	if err != nil {
		return nil, err
	}
	g := d.global(string(module), string(name))
	if op == opInst {
		return nil, badPickle("it makes an object of the class %q", string(module)+"."+string(name))
	}
	return g, nil
}

func (d *decoder) stackGlobal() (any, error) {
	vs, err := d.pop(2)
	if err != nil {
		return nil, err
	}
	module, ok1 := vs[0].(string)
	name, ok2 := vs[1].(string)
	if !ok1 || !ok2 {
		return nil, badPickle("a name that is not two strings")
	}
	return d.global(module, name), nil
}
