package config

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
)

// Sources is where Load looks, besides the built-in defaults.
type Sources struct {
	File        string            // YAML; empty: none
	Environment map[string]string // of the process
	Flags       map[string]string // by key; each entry was given on the command line
}

// ErrUnknownKey is returned for a setting that does not exist.
var ErrUnknownKey = errors.New("no such setting")

// ErrOutOfBounds is returned for a setting whose value cannot be used.
var ErrOutOfBounds = errors.New("cannot be used")

// environmentPrefix begins the name of each variable that is a setting.
const environmentPrefix = "KIROKU_"

// notSettings are variables with the prefix that other parts read: the path of
// the file itself, where the ClickHouse engine is, and what tests and scripts are told.
func notSetting(variable string) bool {
	name := strings.TrimPrefix(variable, environmentPrefix)
	return name == "CONFIG" || name == "CHDB" || strings.HasPrefix(name, "TEST_") || strings.HasPrefix(name, "OPS_")
}

// Load gathers the configuration. Warnings are things to tell the person that
// do not stop anything.
func Load(sources Sources) (c Config, warnings []string, err error) {
	l := loader{merged: koanf.New("."), origin: map[string]string{}, keys: Keys()}
	steps := []func() error{
		func() error { return l.add("the built-in defaults", confmap.Provider(defaults(), ".")) },
		func() error { return l.addFile(sources.File) },
		func() error { return l.addEnvironment(sources.Environment, &warnings) },
		func() error { return l.addFlags(sources.Flags) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return Config{}, warnings, err
		}
	}
	if c, err = l.decode(); err != nil {
		return Config{}, warnings, err
	}
	if c.Data == "" {
		if c.Data, err = defaultData(sources.Environment); err != nil {
			return Config{}, warnings, err
		}
	}
	if c.Data, err = filepath.Abs(c.Data); err != nil {
		return Config{}, warnings, fmt.Errorf("finding the data directory: %w", err)
	}
	return c, warnings, l.check(c)
}

// Keys lists every setting, sorted.
func Keys() []string {
	keys := keysOf(reflect.TypeFor[Config](), "")
	slices.Sort(keys)
	return keys
}

func keysOf(t reflect.Type, prefix string) []string {
	var keys []string
	for i := range t.NumField() {
		field := t.Field(i)
		key := prefix + field.Tag.Get("koanf")
		if field.Type.Kind() == reflect.Struct {
			keys = append(keys, keysOf(field.Type, key+".")...)
			continue
		}
		keys = append(keys, key)
	}
	return keys
}

// Variable is the environment variable of a key.
func Variable(key string) string {
	return environmentPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// loader merges the sources and remembers where each value came from.
type loader struct {
	merged *koanf.Koanf
	origin map[string]string // by key
	keys   []string
}

func (l *loader) add(origin string, provider koanf.Provider) error {
	return l.merge(origin, provider, nil, "")
}

// merge takes a source in. Relative paths in it are relative to base, where
// there is one.
func (l *loader) merge(origin string, provider koanf.Provider, parser koanf.Parser, base string) error {
	source := koanf.New(".")
	if err := source.Load(provider, parser); err != nil {
		return fmt.Errorf("reading %s: %w", origin, err)
	}
	for key, value := range source.All() {
		if value == nil {
			source.Delete(key) // "store:" with nothing below it says nothing
			continue
		}
		if !slices.Contains(l.keys, key) {
			return fmt.Errorf("reading %s: %s: %w; %s", origin, key, ErrUnknownKey, l.suggest(key))
		}
		if path, ok := value.(string); ok && base != "" && isPath(key) && path != "" && !filepath.IsAbs(path) {
			if err := source.Set(key, filepath.Join(base, path)); err != nil {
				return fmt.Errorf("reading %s: %s: %w", origin, key, err)
			}
		}
		l.origin[key] = origin
	}
	if err := l.merged.Merge(source); err != nil {
		return fmt.Errorf("reading %s: %w", origin, err)
	}
	return nil
}

// isPath reports whether a key names a file or folder.
func isPath(key string) bool {
	return key == "data" || strings.HasSuffix(key, "_file") || strings.HasSuffix(key, ".module")
}

func (l *loader) addFile(path string) error {
	if path == "" {
		return nil
	}
	base, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("reading the configuration %s: %w", path, err)
	}
	return l.merge(path, file.Provider(path), yaml.Parser(), base)
}

func (l *loader) addEnvironment(environment map[string]string, warnings *[]string) error {
	byVariable := map[string]string{}
	for _, key := range l.keys {
		byVariable[Variable(key)] = key
	}
	values := map[string]any{}
	for variable, value := range environment {
		if !strings.HasPrefix(variable, environmentPrefix) || notSetting(variable) {
			continue
		}
		key, ok := byVariable[variable]
		if !ok {
			*warnings = append(*warnings, fmt.Sprintf("the environment variable %s is no setting; the nearest is %s", variable, Variable(l.nearest(asKey(variable)))))
			continue
		}
		values[key] = value
	}
	slices.Sort(*warnings)
	for key, value := range values {
		if err := l.add("the environment variable "+Variable(key), confmap.Provider(map[string]any{key: value}, ".")); err != nil {
			return err
		}
	}
	return nil
}

func asKey(variable string) string {
	return strings.ToLower(strings.Replace(strings.TrimPrefix(variable, environmentPrefix), "_", ".", 1))
}

func (l *loader) addFlags(flags map[string]string) error {
	values := map[string]any{}
	for key, value := range flags {
		values[key] = value
	}
	return l.add("the command line", confmap.Provider(values, "."))
}

func (l *loader) decode() (Config, error) {
	var c Config
	err := l.merged.UnmarshalWithConf("", &c, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		Result:           &c,
		TagName:          "koanf",
		WeaklyTypedInput: true, // variables and flags are text
		DecodeHook:       mapstructure.ComposeDecodeHookFunc(durations, names),
	}})
	if err == nil {
		return c, nil
	}
	// The decoder names the key; the origin is known only here.
	for _, key := range l.keys {
		if strings.Contains(err.Error(), "'"+key+"'") {
			return Config{}, fmt.Errorf("reading %s from %s: %w: %w", key, l.origin[key], ErrOutOfBounds, err)
		}
	}
	return Config{}, fmt.Errorf("reading the configuration: %w: %w", ErrOutOfBounds, err)
}

// durations refuses a duration without a unit: 60 would be 60 ns.
func durations(from, to reflect.Type, value any) (any, error) {
	if to != reflect.TypeFor[time.Duration]() {
		return value, nil
	}
	text, ok := value.(string)
	if !ok {
		return nil, fmt.Errorf("%v needs a unit, as in 90s, 5m or 72h", value)
	}
	parsed, err := time.ParseDuration(text)
	if err != nil {
		return nil, fmt.Errorf("%q is no duration such as 90s, 5m or 72h", text)
	}
	return parsed, nil
}

// names reads a list of names given as text, with commas between them.
func names(from, to reflect.Type, value any) (any, error) {
	text, ok := value.(string)
	if !ok || to != reflect.TypeFor[[]string]() {
		return value, nil
	}
	var list []string
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			list = append(list, name)
		}
	}
	return list, nil
}

// suggest says what the person may have meant by an unknown key.
func (l *loader) suggest(key string) string {
	var below []string
	for _, known := range l.keys {
		if strings.HasPrefix(known, key+".") {
			below = append(below, known)
		}
	}
	if len(below) > 0 {
		return "it is a group, with " + strings.Join(below, ", ")
	}
	return "the nearest is " + l.nearest(key)
}

// nearest is the known key that takes the fewest edits to reach.
func (l *loader) nearest(key string) string {
	return slices.MinFunc(l.keys, func(a, b string) int { return cmp.Compare(edits(key, a), edits(key, b)) })
}

// edits is the Levenshtein distance of two keys.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
