package logfile

import (
	"encoding"
	"fmt"
	"log/slog"
	"reflect"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

// appendLine adds text so that it stays one line and does nothing to a terminal.
func appendLine(b []byte, text string) []byte {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b = fmt.Appendf(b, `\x%02x`, text[i])
		case r == ' ' || r == '\u00a0' || unicode.IsPrint(r):
			b = append(b, text[i:i+n]...)
		default:
			q := strconv.AppendQuoteRune(nil, r)
			b = append(b, q[1:len(q)-1]...)
		}
		i += n
	}
	return b
}

// appendAttr adds " key=value", or what a group has. As slog asks, it resolves values and leaves out empty attributes and
// empty groups, and the members of a group without a name stand in its place.
func appendAttr(b []byte, group string, a slog.Attr) []byte {
	v := a.Value.Resolve()
	if a.Key == "" && v.Kind() != slog.KindGroup && v.Equal(slog.Value{}) {
		return b
	}
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, m := range v.Group() {
			b = appendAttr(b, group, m)
		}
		return b
	}
	b = appendQuoted(append(b, ' '), group+a.Key)
	return appendQuoted(append(b, '='), valueText(v))
}

// appendQuoted adds text, in quotes where it could not be told from what stands around it.
func appendQuoted(b []byte, text string) []byte {
	quote := text == ""
	for _, r := range text {
		quote = quote || r <= ' ' || r == '"' || r == '=' || r == utf8.RuneError || !unicode.IsPrint(r)
	}
	if quote {
		return strconv.AppendQuote(b, text)
	}
	return append(b, text...)
}

func valueText(v slog.Value) string {
	switch v.Kind() {
	case slog.KindTime:
		return v.Time().Format(time.RFC3339Nano)
	case slog.KindAny:
		switch x := v.Any().(type) {
		case []byte:
			return string(x)
		case encoding.TextMarshaler:
			return marshalled(x)
		default:
			return fmt.Sprintf("%+v", x)
		}
	}
	return v.String()
}

// marshalled does not let the panic of a nil pointer's method end the program.
func marshalled(m encoding.TextMarshaler) (text string) {
	defer func() {
		if p := recover(); p != nil {
			if v := reflect.ValueOf(m); v.Kind() == reflect.Pointer && v.IsNil() {
				text = "<nil>"
				return
			}
			text = fmt.Sprintf("!PANIC: %v", p)
		}
	}()
	b, err := m.MarshalText()
	if err != nil {
		return "!ERROR: " + err.Error()
	}
	return string(b)
}
