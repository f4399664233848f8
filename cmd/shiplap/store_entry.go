package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/shiplap-ipc/shiplap/store"
)

// entryJSON is an entry as get, ls and watch write it with --json.
type entryJSON struct {
	Event       string    `json:"event,omitempty"` // of watch: "set" or "del"
	Key         *string   `json:"key,omitempty"`
	KeyBase64   string    `json:"key_base64,omitempty"` // instead, if it is no UTF-8
	Value       any       `json:"value,omitempty"`      // text, or JSON if the value is JSON or CBOR
	ValueBase64 *string   `json:"value_base64,omitempty"`
	Format      string    `json:"format,omitempty"`
	Size        *int      `json:"size,omitempty"` // bytes
	Revision    uint64    `json:"revision,omitempty"`
	Expires     time.Time `json:"expires,omitzero"`
}

func entryOf(e *store.Entry, value bool) entryJSON {
	n := len(e.Value)
	j := entryJSON{Key: &e.Key, Format: e.Format.String(), Size: &n, Revision: e.Revision, Expires: e.Expires}
	if !utf8.ValidString(e.Key) {
		j.Key, j.KeyBase64 = nil, base64.StdEncoding.EncodeToString([]byte(e.Key))
	}
	if value {
		j.Value, j.ValueBase64 = jsonOf(e)
	}
	return j
}

// jsonOf is a value as JSON, or in base64 where it is no text.
func jsonOf(e *store.Entry) (any, *string) {
	switch e.Format {
	case store.FormatJSON:
		if json.Valid(e.Value) {
			return json.RawMessage(e.Value), nil
		}
	case store.FormatCBOR:
		if b, err := cborToJSON(e.Value); err == nil {
			return json.RawMessage(b), nil
		}
	default:
		if utf8.Valid(e.Value) {
			return string(e.Value), nil
		}
	}
	text := base64.StdEncoding.EncodeToString(e.Value)
	return nil, &text
}

// textOf is a value as people read it: CBOR as JSON, everything else as it is.
func textOf(e *store.Entry) ([]byte, error) {
	if e.Format != store.FormatCBOR {
		return e.Value, nil
	}
	return cborToJSON(e.Value)
}

// inQuotes is text as it is, or in quotes where that would be hard to read.
func inQuotes(text string) string {
	if text == "" || !plain(text) {
		return strconv.Quote(text)
	}
	return `"` + text + `"`
}

// plain reports whether text can stand in a line.
func plain(text string) bool {
	return utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// cell is text for a table or a line: in quotes, as Go and JSON have them, if it has control characters.
func cell(text string) string {
	if text != "" && plain(text) && text[0] != '"' {
		return text
	}
	return strconv.Quote(text)
}

// longestCell is how much of a value a table shows.
const longestCell = 60

func shortCell(text string) string {
	if c := cell(text); len(c) <= longestCell {
		return c
	}
	for most := longestCell; ; most /= 2 {
		end := min(most, len(text))
		for end > 0 && end < len(text) && !utf8.RuneStart(text[end]) {
			end--
		}
		if c := cell(text[:end]); len(c) <= longestCell+len(`""`) {
			return c + "…"
		}
	}
}

// ttl is how long an entry will be there.
func ttl(expires time.Time) string {
	if expires.IsZero() {
		return "-"
	}
	left := time.Until(expires)
	switch {
	case left <= 0:
		return "0s"
	case left < 10*time.Second:
		return left.Round(10 * time.Millisecond).String()
	case left < 48*time.Hour:
		return left.Round(time.Second).String()
	}
	return fmt.Sprintf("%dd", int(left.Hours()/24))
}
