// Package secrettest searches everything that prints, logs or encodes for a value that must not appear. It serves
// the tests of every type that carries a secret; it is linked into no binary.
package secrettest

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/fxamacker/cbor/v2"
	"go.yaml.in/yaml/v3"
)

var verbs = []string{
	"%v", "%+v", "%#v", "%s", "%q", "%+q", "%#q", "%x", "%X", "% x", "%#x", "%d", "%o", "%O", "%b", "%c", "%U",
	"%e", "%t", "%T", "%p", "%64v", "%-64s", "%.3s", "%08d", "%!",
}

// Leaks passes v, alone and inside structs, slices and maps, through every verb of fmt, the slog handlers and the
// encoders of the project, and names each way by which needle came out. The needle is looked for raw, in hexadecimal,
// in base64 and as each verb prints bytes. Needles below 4 bytes would be found by chance.
func Leaks[T any](v T, needle []byte) []string {
	type exported struct{ Field T }
	type unexported struct{ field T }
	type anonymous struct{ any }
	shapes := map[string]any{
		"value":            v,
		"pointer":          &v,
		"exported field":   exported{v},
		"unexported field": unexported{v},
		"pointer to field": &unexported{v},
		"field of any":     anonymous{v},
		"slice":            []T{v},
		"array":            [1]T{v},
		"map value":        map[string]T{"k": v},
		"nested":           map[string][]any{"k": {exported{v}, &unexported{v}, &v}},
		"error":            fmt.Errorf("doing: %w", fmt.Errorf("%v %+v %s", any(v), unexported{v}, any(&v))),
		"joined error":     errors.Join(fmt.Errorf("%x %q", any(v), any(&v))),
	}
	forms := formsOf(needle)
	var found []string
	for shape, value := range shapes {
		for way, text := range write(value) {
			if shows(text, forms) {
				found = append(found, way+" of "+shape)
			}
		}
	}
	return found
}

// Shows reports whether text contains needle in one of the forms that Leaks looks for.
func Shows(text, needle []byte) bool { return shows(text, formsOf(needle)) }

// write returns what each printer, handler and encoder makes of the value, or nothing where it refuses.
func write(value any) map[string][]byte {
	out := map[string][]byte{}
	for _, verb := range verbs {
		out["fmt "+verb] = fmt.Appendf(nil, verb, value)
	}
	out["print"] = fmt.Append(nil, value)
	var text, structured bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&text, nil), slog.NewJSONHandler(&structured, nil)} {
		log := slog.New(h)
		log.Info("m", "k", value, slog.Group("g", "k", value))
		log.With("k", value).WithGroup("g").Error("m", "err", fmt.Errorf("doing: %v", value))
	}
	out["slog text"], out["slog JSON"] = text.Bytes(), structured.Bytes()
	out["JSON"], _ = json.Marshal(value)
	out["CBOR"], _ = cbor.Marshal(value)
	out["YAML"] = yamlOf(value)
	var g bytes.Buffer
	_ = gob.NewEncoder(&g).Encode(value)
	out["gob"] = g.Bytes() // also what was written before an error
	return out
}

// yamlOf is what the YAML encoder writes; it panics on what it cannot encode.
func yamlOf(value any) (text []byte) {
	defer func() {
		if p := recover(); p != nil {
			text = fmt.Append(nil, p)
		}
	}()
	text, _ = yaml.Marshal(value)
	return text
}

func formsOf(needle []byte) [][]byte {
	forms := [][]byte{
		needle,
		[]byte(base64.RawStdEncoding.EncodeToString(needle)),
		[]byte(base64.RawURLEncoding.EncodeToString(needle)),
		[]byte(hex.EncodeToString(needle)),
	}
	for _, verb := range verbs {
		if verb == "%p" || verb == "%T" || verb == "%!" || strings.HasPrefix(verb, "%.") {
			continue
		}
		// As the verb prints the bytes, without the brackets and padding around them.
		forms = append(forms, bytes.Trim(fmt.Appendf(nil, verb, needle), "[]{} \""))
	}
	return append(forms, bytes.TrimSuffix(bytes.TrimPrefix(fmt.Appendf(nil, "%#v", needle), []byte("[]byte{")), []byte("}")))
}

func shows(text []byte, forms [][]byte) bool {
	for _, form := range forms {
		if len(form) > 0 && bytes.Contains(text, form) {
			return true
		}
	}
	return false
}
