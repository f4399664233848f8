package layouttest

import (
	"encoding/hex"
	"fmt"
	"math/big"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/pythontest"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/shared"
)

type shapeNode struct {
	S    string
	Next *shapeNode
	Down []shapeNode
}

type shapeNumbered struct {
	A int8    `cbor:"1,keyasint"`
	B float64 `cbor:"-20,keyasint"`
	C string  `cbor:"a \"b"`
}

type shapeListed struct {
	_ struct{} `cbor:",toarray"`
	B bool
	A []byte
	T time.Time
}

type shapeAll struct {
	I8  int8
	I64 int64
	U16 uint16
	U64 uint64
	F32 float32
	F64 float64
	On  bool
	S   string
	B   []byte
	K   [3]byte
	T   time.Time
	P   *time.Time
	N   *big.Int
	Big big.Int
	L   []int32
	L2  [2]string
	M   map[string]uint8
	By  map[int16][]string
	Any any
	H   shared.Float16
	F   shared.BFloat16
}

// shapes are types, and values of them that are not zero.
func shapes() []any {
	n, _ := new(big.Int).SetString("-340282366920938463463374607431768211457", 10)
	at := time.Date(2026, 2, 3, 4, 5, 6, 789_000_000, time.FixedZone("", -5400))
	all := shapeAll{
		-128, -1 << 63, 65535, 1<<64 - 1, 0.1, 1e300, true, "\u00e4", []byte{0}, [3]byte{1, 2, 3}, at, &at, n, *n,
		[]int32{1}, [2]string{"a"}, map[string]uint8{"x": 255}, map[int16][]string{-1: {"a"}, 24: nil},
		map[int]any{1: []any{1.5, "x", nil, at}}, shared.ToFloat16(0.1), shared.ToBFloat16(0.1),
	}
	return []any{
		all, shapeNode{"a", &shapeNode{S: "b"}, []shapeNode{{S: "c"}}}, shapeNumbered{1, 2, "c"}, shapeListed{B: true, T: at},
		"text", []any{1, "a", map[string]any{}}, map[bool]int{true: 1}, [][3]uint8{{1, 2, 3}}, map[string]map[uint8]*shapeNode{"a": {1: nil}},
	}
}

// runShapes runs shapes.py.
func runShapes(t *testing.T, p pythontest.Python, lines []string, args ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), p.Path, append([]string{"testdata/shapes.py"}, args...)...)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	var told strings.Builder
	cmd.Stderr = &told
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &told)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

// TestShapesByThePage: what a program in Python writes by the page, a Go program of the type reads; and what that writes is what
// the page says, and the same value.
func TestShapesByThePage(t *testing.T) {
	p := pythontest.WithCBOR(t)
	var texts, checks []string
	all := shapes()
	for _, v := range all {
		d, err := schema.Describe(reflect.TypeOf(v), schema.CBOR)
		ok(t, err)
		texts = append(texts, strings.TrimPrefix(d.Text, "cbor:"))
	}
	const each = 200
	for i, line := range runShapes(t, p, texts, "make", fmt.Sprint(each)) {
		messages := strings.Fields(line)
		if len(messages) != each {
			t.Fatalf("%d messages of %s", len(messages), texts[i])
		}
		for _, m := range messages {
			b, err := hex.DecodeString(m)
			ok(t, err)
			got := reflect.New(reflect.TypeOf(all[i])).Interface()
			if err := schema.CBOR.Decode(b, got); err != nil {
				t.Errorf("%v: %.100s of %s cannot be read", err, m, texts[i])
				continue
			}
			back, err := schema.CBOR.Append(nil, got)
			if err != nil {
				t.Errorf("%v: what was read of %.100s, %s, cannot be written", err, m, texts[i])
				continue
			}
			checks = append(checks, texts[i]+"\t"+m+" "+hex.EncodeToString(back))
		}
	}
	for i, v := range all {
		for _, v := range []any{v, reflect.Zero(reflect.TypeOf(v)).Interface()} {
			b, err := schema.CBOR.Append(nil, v)
			ok(t, err)
			checks = append(checks, texts[i]+"\t"+hex.EncodeToString(b))
		}
	}
	for i, bad := range runShapes(t, p, checks, "check") {
		if bad != "" {
			t.Errorf("%.600s: %.300s", bad, checks[i])
		}
	}
}
