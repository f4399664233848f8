package schema

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

var errNotFixed = errors.New("not of fixed layout; use a codec")

// layoutText spells the layout of t, or says which part of it has none.
func layoutText(t reflect.Type) (string, error) {
	if t.Size() > maxSize {
		return "", fmt.Errorf("type %s has %d bytes (maximum %d)", t, t.Size(), maxSize)
	}
	w := layoutWriter{root: t}
	if err := w.write(t, "", 0); err != nil {
		return "", err
	}
	if t.Size() == 0 {
		return "", fmt.Errorf("type %s has no bytes: %w", t, errNotFixed)
	}
	return w.b.String(), nil
}

type layoutWriter struct {
	root reflect.Type
	b    strings.Builder
}

func (w *layoutWriter) write(t reflect.Type, path string, depth int) error {
	if depth > maxDepth || w.b.Len() > MaxText-len("fixed:") {
		return fmt.Errorf("type %s: layout too large to describe; use a codec", w.root)
	}
	if s := namedScalar(t); s != "" {
		w.b.WriteString(s)
		return nil
	}
	if err := checkChars(t); err != nil {
		return err
	}
	switch t.Kind() {
	case reflect.Bool:
		w.b.WriteString("|b1")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		w.scalar('i', t)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		w.scalar('u', t)
	case reflect.Float32, reflect.Float64:
		w.scalar('f', t)
	case reflect.Complex64, reflect.Complex128:
		w.scalar('c', t)
	case reflect.Array:
		w.b.WriteString("[" + strconv.Itoa(t.Len()) + "]")
		if err := w.write(t.Elem(), path+"[]", depth+1); err != nil {
			return err
		}
	case reflect.Struct:
		if err := w.structure(t, path, depth); err != nil {
			return err
		}
	default:
		return fmt.Errorf("type %s: %s: %w", w.root, subject(path, t), errNotFixed)
	}
	if w.b.Len() > MaxText-len("fixed:") {
		return fmt.Errorf("type %s: layout too large to describe; use a codec", w.root)
	}
	return nil
}

func (w *layoutWriter) scalar(class byte, t reflect.Type) {
	order := byte('<')
	if t.Size() == 1 {
		order = '|'
	}
	w.b.WriteByte(order)
	w.b.WriteByte(class)
	w.b.WriteString(strconv.Itoa(int(t.Size())))
}

func (w *layoutWriter) structure(t reflect.Type, path string, depth int) error {
	w.b.WriteByte('{')
	first := true
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Type.Size() == 0 {
			continue
		}
		sub := strings.TrimPrefix(path+"."+f.Name, ".")
		if f.Name == "_" { // padding, which must not hide a pointer
			blank := layoutWriter{root: w.root}
			if err := blank.write(f.Type, sub, depth+1); err != nil {
				return err
			}
			continue
		}
		if !first {
			w.b.WriteByte(',')
		}
		first = false
		w.b.WriteString(f.Name + ":")
		if err := w.write(f.Type, sub, depth+1); err != nil {
			return err
		}
		w.b.WriteString("@" + strconv.Itoa(int(f.Offset)))
	}
	fmt.Fprintf(&w.b, ";size=%d,align=%d}", t.Size(), t.Align())
	return nil
}

// subject names the part of a type that an error is about.
func subject(path string, t reflect.Type) string {
	if path == "" {
		return "it is " + kindName(t)
	}
	return "field " + path + " is " + kindName(t)
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return "a pointer"
	case reflect.Interface:
		return "an interface"
	case reflect.Func:
		return "a function"
	case reflect.Chan:
		return "a channel"
	case reflect.UnsafePointer:
		return "an unsafe pointer"
	case reflect.Uintptr:
		return "a uintptr"
	case reflect.Complex64, reflect.Complex128:
		return "complex"
	}
	return "a " + t.Kind().String()
}
