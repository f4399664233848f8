package pymp

// The opcodes of pickles, by protocol. Their meaning is documented in CPython's pickletools.
const (
	opMark    = '('
	opStop    = '.'
	opPop     = '0'
	opPopMark = '1'
	opDup     = '2'
	opFloat   = 'F'
	opInt     = 'I'
	opLong    = 'L'
	opNone    = 'N'
	opReduce  = 'R'
	opString  = 'S' // Python 2
	opUnicode = 'V'
	opAppend  = 'a'
	opBuild   = 'b'
	opGlobal  = 'c'
	opDict    = 'd'
	opGet     = 'g'
	opInst    = 'i'
	opList    = 'l'
	opPut     = 'p'
	opSetItem = 's'
	opTuple   = 't'
	opPersID  = 'P'

	// Protocol 1.
	opBinInt      = 'J'
	opBinInt1     = 'K'
	opBinInt2     = 'M'
	opBinPersID   = 'Q'
	opBinString   = 'T' // Python 2
	opShortString = 'U' // Python 2
	opBinUnicode  = 'X'
	opBinFloat    = 'G'
	opAppends     = 'e'
	opBinGet      = 'h'
	opLongBinGet  = 'j'
	opEmptyList   = ']'
	opEmptyTuple  = ')'
	opEmptyDict   = '}'
	opObj         = 'o'
	opBinPut      = 'q'
	opLongBinPut  = 'r'
	opSetItems    = 'u'

	// Protocol 2.
	opProto  = 0x80
	opNewObj = 0x81
	opExt1   = 0x82
	opExt2   = 0x83
	opExt4   = 0x84
	opTuple1 = 0x85
	opTuple2 = 0x86
	opTuple3 = 0x87
	opTrue   = 0x88
	opFalse  = 0x89
	opLong1  = 0x8a
	opLong4  = 0x8b

	// Protocol 3.
	opBinBytes      = 'B'
	opShortBinBytes = 'C'

	// Protocol 4.
	opShortBinUnicode = 0x8c
	opBinUnicode8     = 0x8d
	opBinBytes8       = 0x8e
	opEmptySet        = 0x8f
	opAddItems        = 0x90
	opFrozenSet       = 0x91
	opNewObjEx        = 0x92
	opStackGlobal     = 0x93
	opMemoize         = 0x94
	opFrame           = 0x95

	// Protocol 5.
	opByteArray8     = 0x96
	opNextBuffer     = 0x97
	opReadonlyBuffer = 0x98
)

// container handles the opcodes that make and fill containers, and those that call.
func (d *decoder) container(op byte) error {
	switch op {
	case opEmptyList:
		return d.push(&node{kind: listNode})
	case opEmptyDict:
		return d.push(&node{kind: dictNode})
	case opEmptySet:
		return d.push(&node{kind: setNode})
	case opEmptyTuple:
		return d.push(&node{kind: tupleNode})
	case opTuple1, opTuple2, opTuple3:
		vs, err := d.pop(int(op) - opTuple1 + 1)
		if err != nil {
			return err
		}
		return d.collect(tupleNode, vs)
	case opTuple, opList, opDict, opFrozenSet:
		vs, err := d.popMark()
		if err != nil {
			return err
		}
		return d.collect(map[byte]kind{opTuple: tupleNode, opList: listNode, opDict: dictNode, opFrozenSet: frozenNode}[op], vs)
	case opAppend:
		return d.fill(listNode, 1)
	case opAppends:
		return d.fill(listNode, sinceMark)
	case opSetItem:
		return d.fill(dictNode, 2)
	case opSetItems:
		return d.fill(dictNode, sinceMark)
	case opAddItems:
		return d.fill(setNode, sinceMark)
	case opReduce:
		return d.reduce()
	}
	return d.refuse(op)
}

func (d *decoder) collect(k kind, vs []any) error {
	if k == dictNode && len(vs)%2 != 0 {
		return badPickle("a dict of %d keys and values", len(vs))
	}
	return d.push(&node{kind: k, items: append([]any(nil), vs...)})
}

const sinceMark = -1

// fill moves the last n values, or those since the mark, into the container below them.
func (d *decoder) fill(k kind, n int) error {
	var vs []any
	var err error
	if n == sinceMark {
		vs, err = d.popMark()
	} else {
		vs, err = d.pop(n)
	}
	if err != nil {
		return err
	}
	if k == dictNode && len(vs)%2 != 0 {
		return badPickle("a dict gets %d keys and values", len(vs))
	}
	v, err := d.top()
	if err != nil {
		return err
	}
	c, ok := v.(*node)
	if !ok || c.kind != k {
		return badPickle("something else than a %s is filled like one", k)
	}
	c.items = append(c.items, vs...)
	return nil
}

func (d *decoder) reduce() error {
	vs, err := d.pop(2)
	if err != nil {
		return err
	}
	g, ok := vs[0].(global)
	args, isNode := vs[1].(*node)
	if !ok || !isNode || args.kind != tupleNode {
		return badPickle("it calls something that is no known name, or not with a tuple")
	}
	v, err := d.call(g, args.items)
	if err != nil {
		return err
	}
	return d.push(v)
}

// refuse says why an opcode that is left over is not carried out.
func (d *decoder) refuse(op byte) error {
	switch op {
	case opBuild, opNewObj, opNewObjEx, opObj:
		return badPickle("it makes an object of a class (opcode %#x); only plain data is read", op)
	case opExt1, opExt2, opExt4:
		return badPickle("it names a class by a number of the extension registry; only plain data is read")
	case opPersID, opBinPersID:
		return badPickle("it refers to a persistent object")
	case opNextBuffer, opReadonlyBuffer:
		return badPickle("it refers to a buffer outside of itself")
	case opString, opBinString, opShortString:
		return badPickle("it holds a string of Python 2")
	}
	return badPickle("unknown opcode %#x", op)
}
