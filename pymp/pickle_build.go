package pymp

import "math"

// kind of a container of a pickle that is being read.
type kind uint8

const (
	listNode kind = iota
	tupleNode
	dictNode // items are keys and values in turns
	setNode
	frozenNode
)

func (k kind) String() string {
	return [...]string{"list", "tuple", "dict", "set", "frozenset"}[k]
}

// node is a container while a pickle is read: it may still grow, and may be met in several places.
type node struct {
	kind  kind
	items []any

	// Of build.
	open   bool // it is being built: met again, it contains itself
	done   bool
	value  any
	weight int // objects in it, each as often as it appears
	height int // levels below it
}

// builder makes Go values of nodes, after the last opcode. Each node is built once, so that shared
// ones stay shared; their weight is counted wherever they appear, so that a small pickle cannot be a
// giant to whoever walks it.
type builder struct {
	PickleLimits
	keys *keyer
}

func (b *builder) build(v any, depth int) (value any, weight, height int, err error) {
	n, ok := v.(*node)
	if !ok {
		if g, ok := v.(global); ok {
			return nil, 0, 0, g.refuse()
		}
		return v, 1, 0, nil
	}
	if n.open {
		return nil, 0, 0, badPickle("a %s contains itself", n.kind)
	}
	if !n.done {
		if err := b.fill(n, depth); err != nil {
			return nil, 0, 0, err
		}
	}
	if depth+n.height > b.MaxDepth {
		return nil, 0, 0, tooDeep(b.MaxDepth)
	}
	return n.value, n.weight, n.height, nil
}

func (b *builder) fill(n *node, depth int) error {
	if depth >= b.MaxDepth {
		return tooDeep(b.MaxDepth)
	}
	n.open = true
	items := make([]any, len(n.items))
	weight, height := 1, 0
	for i, e := range n.items {
		v, w, h, err := b.build(e, depth+1)
		if err != nil {
			return err
		}
		if weight = addSaturating(weight, w); weight > b.MaxObjects {
			return tooManyObjects(b.MaxObjects)
		}
		items[i], height = v, max(height, h+1)
	}
	var err error
	switch n.kind {
	case listNode:
		n.value = items
	case tupleNode:
		n.value = Tuple(items)
	case dictNode:
		d := NewDict()
		for i := 0; i+1 < len(items) && err == nil; i += 2 {
			err = d.set(b.keys, items[i], items[i+1])
		}
		n.value = d
	case setNode, frozenNode:
		if items, err = b.unique(items); n.kind == setNode {
			n.value = Set(items)
		} else {
			n.value = FrozenSet(items)
		}
	}
	n.items = nil
	n.open, n.done, n.weight, n.height = false, true, weight, height
	return err
}

// unique drops what Python would take for the same member.
func (b *builder) unique(items []any) ([]any, error) {
	seen := make(map[any]struct{}, len(items))
	out := items[:0]
	for _, v := range items {
		k, err := b.keys.key(v)
		if err != nil {
			return nil, err
		}
		if _, ok := seen[k]; !ok {
			seen[k] = struct{}{}
			out = append(out, v)
		}
	}
	return out, nil
}

func addSaturating(a, b int) int {
	if a > math.MaxInt-b {
		return math.MaxInt
	}
	return a + b
}
