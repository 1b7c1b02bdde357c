package lint_test

import (
	"go/ast"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// arrow is what one layer of the tree may import of the tree.
type arrow struct {
	layer string   // folder at the top
	may   []string // folders at the top it may import from
}

// arrows point inward: what stands later knows what stands earlier.
var arrows = []arrow{
	{"domain", []string{"domain"}},
	{"commands", []string{"domain", "commands"}},
	{"projections", []string{"domain", "projections"}},
	{"adapters", []string{"domain", "commands", "projections", "adapters"}},
	{"cmd", []string{"domain", "commands", "projections", "adapters", "cmd", "ops"}},
	{"ops", []string{"domain", "commands", "projections", "adapters", "ops"}},
}

// domainMayImport lists the modules the rules may lean on: encodings,
// identifiers, text, and the system calls that keep memory from being paged out.
var domainMayImport = []string{
	"github.com/fxamacker/cbor/v2",
	"github.com/google/uuid",
	"github.com/veraison/go-cose",
	"golang.org/x/sync",
	"golang.org/x/sys",
	"golang.org/x/text",
}

// domainMayNot lists what of the standard library would give the rules an
// outside world.
var domainMayNot = []string{"database/sql", "net", "os", "plugin", "log"}

// domainMay are the exceptions to domainMayNot, which holds for folders too.
var domainMay = []string{
	"log/slog",  // the secret types say there how they are logged
	"net/netip", // a value, not a network
	"net/url",   // a value, not a network
}

// fences keep each piece of infrastructure in the one folder that adapts it.
var fences = []struct {
	library string
	inside  []string
}{
	{"github.com/miekg/pkcs11", []string{"adapters/hsm"}},
	{"github.com/EventStore/EventStore-Client-Go", []string{"adapters/eventstore"}},
	{"github.com/cockroachdb/pebble", []string{"adapters/views", "adapters/eventstore/embedded"}},
	{"github.com/ClickHouse", []string{"adapters/clickhouse"}},
	{"filippo.io/age", []string{"adapters/backup"}},
	{"google.golang.org/grpc", []string{"adapters"}},
	{"connectrpc.com", []string{"adapters", "cmd"}},
	{"github.com/alecthomas/kong", []string{"cmd"}},
	{"github.com/knadh/koanf", []string{"cmd"}},
	{"github.com/vbauerster/mpb", []string{"cmd"}},
}

// TestImportsPointInward is the architecture. Tests of a package may reach
// outwards: they run on the real parts.
func TestImportsPointInward(t *testing.T) {
	for _, s := range sources(t, tree(t)) {
		if s.test() {
			continue
		}
		for _, spec := range s.syntax.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if complaint := crosses(s.folder(), imported); complaint != "" {
				t.Errorf("%s:%d: %s", s.path, s.line(spec), complaint)
			}
		}
	}
}

// TestArrowsCatchACrossing shows that the rules above forbid what they are
// there to forbid.
func TestArrowsCatchACrossing(t *testing.T) {
	for _, c := range []struct {
		folder, imported string
		allowed          bool
	}{
		{"domain/inquiry", "kiroku/domain/scope", true},
		{"domain/inquiry", "kiroku/commands", false},
		{"domain/inquiry", "kiroku/adapters/hsm", false},
		{"domain/inquiry", "github.com/google/uuid", true},
		{"domain/inquiry", "github.com/google/uuidx", false},
		{"domain/inquiry", "github.com/miekg/pkcs11", false},
		{"domain/inquiry", "net/http", false},
		{"domain/inquiry", "os/exec", false},
		{"domain/inquiry", "log", false},
		{"domain/inquiry", "log/slog", true},
		{"domain/secret", "golang.org/x/sys/unix", true},
		{"commands", "kiroku/domain/inquiry", true},
		{"commands", "kiroku/commands/sequencer", true},
		{"commands/sequencer", "kiroku/adapters/eventstore", false},
		{"commands", "kiroku/projections/dedup", false},
		{"projections/dedup", "kiroku/domain/event", true},
		{"projections/dedup", "kiroku/projections", true},
		{"projections/dedup", "kiroku/projections/dedup/rows", true},
		{"projections/dedup", "kiroku/projections/mediation", false},
		{"projections", "kiroku/projections/dedup", false},
		{"projections/dedup", "kiroku/commands", false},
		{"projections/dedup", "github.com/cockroachdb/pebble/v2", false},
		{"adapters/views", "github.com/cockroachdb/pebble/v2/vfs", true},
		{"adapters/rpc", "kiroku/commands", true},
		{"adapters/rpc", "kiroku/cmd/kiroku/internal/config", false},
		{"adapters/hsmlike", "github.com/miekg/pkcs11", false},
		{"cmd/kiroku", "kiroku/adapters/hsm", true},
		{"cmd/kiroku", "github.com/miekg/pkcs11", false},
		{"ops/lint", "kiroku/cmd/kiroku/internal/config", false},
		{"cmd/kiroku", "kiroku/adapters/hsm/hsmtest", false},
	} {
		complaint := crosses(c.folder, c.imported)
		if (complaint == "") != c.allowed {
			t.Errorf("%s importing %s: allowed should be %v, got %q", c.folder, c.imported, c.allowed, complaint)
		}
	}
}

// crosses says what is wrong with a package in folder importing imported, or
// nothing.
func crosses(folder, imported string) string {
	layer, _, _ := strings.Cut(folder, "/")
	if target, ok := strings.CutPrefix(imported, module+"/"); ok {
		return crossesLayers(folder, layer, target)
	}
	for _, f := range fences {
		if within(imported, f.library) && !slices.ContainsFunc(f.inside, func(in string) bool { return within(folder, in) }) {
			return f.library + " is adapted in " + strings.Join(f.inside, " and ") + "; import that from " + folder + ", through an interface of its own"
		}
	}
	if layer == "domain" {
		return leavesDomain(imported)
	}
	return ""
}

func crossesLayers(folder, layer, target string) string {
	if forTests(target) {
		return target + " is for tests"
	}
	to, _, _ := strings.Cut(target, "/")
	i := slices.IndexFunc(arrows, func(a arrow) bool { return a.layer == layer })
	if i < 0 || !slices.Contains(arrows[i].may, to) {
		return layer + " may not import " + to + " (" + target + ")"
	}
	if layer == "projections" && to == "projections" && target != "projections" && !within(target, oneBelow(folder)) {
		return "a projection may not import another: " + target
	}
	return ""
}

// oneBelow is the projection a folder belongs to; for the runner's own folder
// it is nothing that exists, since the runner knows no projection by name.
func oneBelow(folder string) string {
	parts := strings.Split(folder, "/")
	if len(parts) < 2 {
		return folder + "/."
	}
	return strings.Join(parts[:2], "/")
}

func leavesDomain(imported string) string {
	first, _, _ := strings.Cut(imported, "/")
	if strings.Contains(first, ".") {
		if slices.ContainsFunc(domainMayImport, func(m string) bool { return within(imported, m) }) {
			return ""
		}
		return "domain may not lean on " + imported
	}
	if slices.Contains(domainMay, imported) {
		return ""
	}
	if slices.ContainsFunc(domainMayNot, func(m string) bool { return within(imported, m) }) {
		return "domain does no input or output: " + imported
	}
	return ""
}

// within reports whether p is folder or stands below it.
func within(p, folder string) bool {
	return p == folder || strings.HasPrefix(p, folder+"/")
}

// TestDomainHasNoClock keeps time an argument: what the rules decide must come
// out the same when the ledger is read again years later.
func TestDomainHasNoClock(t *testing.T) {
	clock := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
	for _, s := range sources(t, tree(t)) {
		if s.test() || !within(s.folder(), "domain") {
			continue
		}
		ast.Inspect(s.syntax, func(node ast.Node) bool {
			selector, ok := node.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if pkg, ok := selector.X.(*ast.Ident); ok && pkg.Name == "time" && slices.Contains(clock, selector.Sel.Name) {
				t.Errorf("%s:%d: domain has no clock: time.%s; take the time as an argument", s.path, s.line(node), selector.Sel.Name)
			}
			return true
		})
	}
}
