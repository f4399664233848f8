package schema

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Parse reads a descriptor, of whatever origin. It accepts the one spelling that the package
// comment defines, so the Text of the result is text; anything else is ErrCorrupt.
func Parse(text string) (Descriptor, error) {
	d, _, err := parse(text)
	return d, err
}

func parse(text string) (Descriptor, *layout, error) {
	if len(text) > MaxText {
		return Descriptor{}, nil, fmt.Errorf("%w: type descriptor of %d bytes (maximum %d)",
			errs.ErrCorrupt, len(text), MaxText)
	}
	if text == "bytes" {
		return describe(text, Raw, 0, 1), nil, nil
	}
	class, _, _ := strings.Cut(text, ":")
	p := parser{s: text, pos: len(class) + 1}
	var (
		root = &layout{align: 1}
		err  error
	)
	switch Codec(class) {
	case Fixed:
		root, err = p.layout(0)
	case CBOR, JSON:
		if p.skip("#") {
			err = p.digest()
		} else {
			err = p.shape(Codec(class), 0)
		}
	default:
		p.pos = 0
		err = p.fail("unknown class")
	}
	if err == nil && p.pos < len(text) {
		err = p.fail("something after the end")
	}
	if err != nil {
		return Descriptor{}, nil, err
	}
	return describe(text, Codec(class), root.size, root.align), root, nil
}

// layout is a parsed layout: scalar, array (elem) or struct (fields).
type layout struct {
	size, align int
	boolean     bool // is or holds a |b1
	elem        *layout
	fields      []layoutField
}

type layoutField struct {
	name   string
	offset int
	*layout
}

type parser struct {
	s   string
	pos int
}

func (p *parser) fail(what string) error {
	return fmt.Errorf("%w: type descriptor: %s at byte %d", errs.ErrCorrupt, what, p.pos)
}

func (p *parser) skip(token string) bool {
	if p.pos > len(p.s) || !strings.HasPrefix(p.s[p.pos:], token) {
		return false
	}
	p.pos += len(token)
	return true
}

func (p *parser) expect(token string) error {
	if !p.skip(token) {
		return p.fail("no " + token)
	}
	return nil
}

func (p *parser) digit() bool {
	return p.pos < len(p.s) && '0' <= p.s[p.pos] && p.s[p.pos] <= '9'
}

func (p *parser) number() (int, error) {
	start, n := p.pos, 0
	for p.digit() {
		n = n*10 + int(p.s[p.pos]-'0')
		if n > maxNumber || p.pos > start && p.s[start] == '0' {
			return 0, p.fail("bad number")
		}
		p.pos++
	}
	if p.pos == start {
		return 0, p.fail("no number")
	}
	return n, nil
}

func (p *parser) name() (string, error) {
	start := p.pos
	for p.pos < len(p.s) {
		r, n := utf8.DecodeRuneInString(p.s[p.pos:])
		if r == utf8.RuneError || !isNameRune(r, p.pos == start) {
			break
		}
		p.pos += n
	}
	name := p.s[start:p.pos]
	if !isName(name) {
		return "", p.fail("no name")
	}
	return name, nil
}

func (p *parser) layout(depth int) (*layout, error) {
	if depth > maxDepth {
		return nil, p.fail("nested too deep")
	}
	switch {
	case p.skip("["):
		count, err := p.count()
		if err != nil {
			return nil, err
		}
		elem, err := p.layout(depth + 1)
		if err != nil {
			return nil, err
		}
		if count < 1 || count > maxSize/elem.size {
			return nil, p.fail("bad array length")
		}
		return &layout{size: count * elem.size, align: elem.align, boolean: elem.boolean, elem: elem}, nil
	case p.skip("{"):
		return p.structure(depth)
	}
	if l, n, ok := scalarIn(p.s[min(p.pos, len(p.s)):]); ok {
		p.pos += n
		return &l, nil
	}
	return nil, p.fail("no type")
}

func (p *parser) count() (int, error) {
	n, err := p.number()
	if err != nil {
		return 0, err
	}
	return n, p.expect("]")
}

func (p *parser) structure(depth int) (*layout, error) {
	l := &layout{}
	end := 0
	seen := make(map[string]bool)
	for !p.skip(";size=") {
		if len(l.fields) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		f, err := p.field(depth)
		if err != nil {
			return nil, err
		}
		if seen[f.name] {
			return nil, p.fail("name taken twice")
		}
		if f.offset < end {
			return nil, p.fail("fields overlap")
		}
		seen[f.name] = true
		end = f.offset + f.size
		l.boolean = l.boolean || f.boolean
		l.fields = append(l.fields, f)
	}
	var err error
	if l.size, err = p.number(); err != nil {
		return nil, err
	}
	if err := p.expect(",align="); err != nil {
		return nil, err
	}
	if l.align, err = p.number(); err != nil {
		return nil, err
	}
	if a := l.align; a < 1 || a > maxAlign || a&(a-1) != 0 || l.size%a != 0 {
		return nil, p.fail("bad alignment")
	}
	if l.size < 1 || l.size < end || l.size > maxSize {
		return nil, p.fail("bad size")
	}
	return l, p.expect("}")
}

func (p *parser) field(depth int) (layoutField, error) {
	name, err := p.name()
	if err != nil {
		return layoutField{}, err
	}
	if err := p.expect(":"); err != nil {
		return layoutField{}, err
	}
	l, err := p.layout(depth + 1)
	if err != nil {
		return layoutField{}, err
	}
	if err := p.expect("@"); err != nil {
		return layoutField{}, err
	}
	offset, err := p.number()
	if err != nil {
		return layoutField{}, err
	}
	if offset > maxSize {
		return layoutField{}, p.fail("bad offset")
	}
	return layoutField{name: name, offset: offset, layout: l}, nil
}

// kinds that stand alone in a shape, none a prefix of another.
var kinds = []string{
	"bool", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f16", "bf16", "f32", "f64",
	"str", "bytes", "time", "big", "number", "any",
}

// shape reads one shape; depth is the number of levels open around it.
func (p *parser) shape(c Codec, depth int) error {
	if depth > maxDepth {
		return p.fail("nested too deep")
	}
	for _, k := range kinds {
		if !p.skip(k) {
			continue
		}
		if k == "bytes" && c == CBOR && p.digit() {
			_, err := p.number()
			return err
		}
		return nil
	}
	switch {
	case p.skip("?"), p.skip("[]"):
		return p.shape(c, depth+1)
	case p.skip("["):
		if _, err := p.count(); err != nil {
			return err
		}
		return p.shape(c, depth+1)
	case p.skip("map["):
		if err := p.shape(c, depth+1); err != nil {
			return err
		}
		if err := p.expect("]"); err != nil {
			return err
		}
		return p.shape(c, depth+1)
	case p.skip("{"):
		return p.keys(c, "}", depth+1)
	case p.skip("("):
		return p.keys(c, ")", depth+1)
	case p.skip("~"):
		return p.shape(c, depth)
	case p.skip("@"):
		_, err := p.quoted()
		return err
	case p.skip("^"):
		n, err := p.number()
		if err == nil && (n < 1 || n > depth) {
			err = p.fail("no such level")
		}
		return err
	}
	return p.fail("no type")
}

func (p *parser) keys(c Codec, closing string, depth int) error {
	seen := make(map[string]bool)
	last := ""
	for first := true; !p.skip(closing); first = false {
		if !first {
			if err := p.expect(","); err != nil {
				return err
			}
		}
		k, err := p.key()
		if err != nil {
			return err
		}
		if seen[k] {
			return p.fail("name taken twice")
		}
		if closing == "}" && k < last {
			return p.fail("names out of order")
		}
		seen[k], last = true, k
		if err := p.expect(":"); err != nil {
			return err
		}
		if err := p.shape(c, depth); err != nil {
			return err
		}
	}
	return nil
}

// key returns a key as it is spelled.
func (p *parser) key() (string, error) {
	start := p.pos
	if p.pos < len(p.s) {
		switch c := p.s[p.pos]; {
		case c == '"':
			inner, err := p.quoted()
			if err == nil && isName(inner) {
				err = p.fail("needless quotes")
			}
			return p.s[start:p.pos], err
		case c == '-', '0' <= c && c <= '9':
			minus := p.skip("-")
			n, err := p.number()
			if err == nil && minus && n == 0 {
				err = p.fail("bad number")
			}
			return p.s[start:p.pos], err
		}
	}
	return p.name()
}

func (p *parser) quoted() (string, error) {
	if err := p.expect(`"`); err != nil {
		return "", err
	}
	var b strings.Builder
	for p.pos < len(p.s) {
		r, n := utf8.DecodeRuneInString(p.s[p.pos:])
		switch {
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return "", p.fail("unprintable character")
		case r == '"':
			p.pos++
			return b.String(), nil
		case r == '\\':
			p.pos++
			if !p.skip(`"`) && !p.skip(`\`) {
				return "", p.fail("bad escape")
			}
			b.WriteByte(p.s[p.pos-1])
			continue
		}
		b.WriteRune(r)
		p.pos += n
	}
	return "", p.fail("no closing quote")
}

func (p *parser) digest() error {
	for range 64 {
		if p.pos >= len(p.s) || !strings.ContainsRune("0123456789abcdef", rune(p.s[p.pos])) {
			return p.fail("bad digest")
		}
		p.pos++
	}
	return nil
}
