package pymp

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/schema"
)

// A Dict is no empty struct to encoders, as it was once.
func TestDictEncoders(t *testing.T) {
	d := NewDict()
	if err := d.Set("a", 1); err != nil {
		t.Fatal(err)
	}
	if b, err := json.Marshal(map[string]any{"d": d}); !errors.Is(err, errs.ErrUnsupported) {
		t.Errorf("JSON: %s, %v", b, err)
	}
	if b, err := schema.CBOR.Append(nil, []any{d}); !errors.Is(err, errs.ErrUnsupported) {
		t.Errorf("CBOR: %x, %v", b, err)
	}
}
