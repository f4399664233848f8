package pymp

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// global is a name that a pickle calls. The few that plain data needs are known; they are not looked
// up or called but understood.
type global string

// known are the callables of plain data: of old protocols for what newer ones have opcodes for, and
// of complex and OrderedDict, which never got one.
var known = map[string]global{
	"_codecs.encode":          "_codecs.encode", // bytes, up to protocol 2
	"builtins.bytes":          "builtins.bytes", // empty ones
	"builtins.bytearray":      "builtins.bytearray",
	"builtins.set":            "builtins.set",
	"builtins.frozenset":      "builtins.frozenset",
	"builtins.complex":        "builtins.complex",
	"collections.OrderedDict": "collections.OrderedDict",
}

// global is the name that a pickle asks for. Unknown ones are collected: the first is often a helper that
// would make the object, and the class comes behind it. Whatever follows, such a pickle is refused.
func (d *decoder) global(module, name string) global {
	if module == "__builtin__" { // Python 2's name of it, written up to protocol 2
		module = "builtins"
	}
	full := module + "." + name
	if g, ok := known[full]; ok {
		return g
	}
	if len(full) > 100 {
		full = full[:100] + "…"
	}
	if len(d.unknown) < 3 {
		d.unknown = append(d.unknown, full)
	}
	return ""
}

// refuseUnknown is the error of a pickle that asks for what is not known.
func refuseUnknown(names []string) error {
	hint := "only plain data is read: None, bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset"
	if slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "numpy.") }) {
		hint = "NumPy arrays and scalars are no plain data: send array.tobytes() with send_bytes, or share the memory; for scalars send x.item()"
	}
	return badPickle("it calls for %q, and nothing is ever called (%s)", names, hint)
}

func (g global) refuse() error { return badPickle("the value is the callable %q itself", string(g)) }

// call understands what one of the known callables would have returned.
func (d *decoder) call(g global, args []any) (any, error) {
	switch {
	case g == "collections.OrderedDict" && len(args) == 0:
		return &node{kind: dictNode}, nil
	case g == "builtins.bytes" && len(args) == 0:
		return []byte{}, nil
	case g == "builtins.bytearray" && len(args) == 0:
		return ByteArray{}, nil
	case g == "builtins.bytearray" && len(args) == 1:
		if b, ok := args[0].([]byte); ok {
			if err := d.copies(len(b)); err != nil {
				return nil, err
			}
			return append(ByteArray{}, b...), nil
		}
	case g == "_codecs.encode" && len(args) == 2:
		if s, ok := args[0].(string); ok && (args[1] == "latin1" || args[1] == "latin-1") {
			return d.latin1(s)
		}
	case g == "builtins.complex" && len(args) == 2:
		re, ok1 := args[0].(float64)
		im, ok2 := args[1].(float64)
		if ok1 && ok2 {
			return complex(re, im), nil
		}
	case (g == "builtins.set" || g == "builtins.frozenset") && len(args) == 1:
		if l, ok := args[0].(*node); ok && l.kind == listNode {
			k := setNode
			if g == "builtins.frozenset" {
				k = frozenNode
			}
			if err := d.count(len(l.items)); err != nil {
				return nil, err
			}
			return &node{kind: k, items: append([]any(nil), l.items...)}, nil
		}
	}
	return nil, badPickle("%q with these %d arguments", string(g), len(args))
}

func (d *decoder) latin1(s string) ([]byte, error) {
	if err := d.copies(len(s)); err != nil {
		return nil, err
	}
	b := make([]byte, 0, utf8.RuneCountInString(s))
	for _, r := range s {
		if r > 0xff {
			return nil, badPickle("bytes with the character %q", r)
		}
		b = append(b, byte(r))
	}
	return b, nil
}

// copies charges for a copy of something that the pickle may name many times.
func (d *decoder) copies(n int) error {
	if d.copied += n; d.copied > 2*len(d.data)+copySlack {
		return badPickle("it has the same value copied again and again, %d bytes of %d", d.copied, len(d.data))
	}
	return nil
}

// copySlack is far more than what the callables of a real pickle copy beside its own bytes.
const copySlack = 1 << 20
