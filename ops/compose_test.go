package ops_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"kiroku/adapters/clickhouse"
	"kiroku/adapters/clickhouse/clickhousetest"
)

func TestMain(m *testing.M) { clickhousetest.Main(m) }

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func readYAML[T any](t *testing.T, name string) (v T) {
	t.Helper()
	if err := yaml.Unmarshal(read(t, name), &v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

// compose is what the tests look at of compose.yaml.
type compose struct {
	Services map[string]struct {
		Build       struct{ Context, Dockerfile string }
		DependsOn   map[string]any `yaml:"depends_on"`
		Environment map[string]string
		Volumes     []string
		Networks    []string
		Secrets     []struct{ Source, Target string }
		Ports       []string
	}
	Networks, Volumes, Secrets map[string]any
}

// TestComposeNamesWhatIsThere: what the file mounts, builds from, waits for and lets in exists.
func TestComposeNamesWhatIsThere(t *testing.T) {
	c := readYAML[compose](t, "compose.yaml")
	for _, name := range []string{"eventstore", "clickhouse", "kiroku", "grafana"} {
		if _, ok := c.Services[name]; !ok {
			t.Errorf("there is no service %s", name)
		}
	}
	for name, s := range c.Services {
		if s.Build.Context != "" {
			if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
				t.Errorf("%s is built from what is not there: %v", name, err)
			}
		}
		for other := range s.DependsOn {
			if _, ok := c.Services[other]; !ok {
				t.Errorf("%s waits for %s, which is no service", name, other)
			}
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if _, known := c.Volumes[from]; strings.HasPrefix(from, ".") {
				if _, err := os.Stat(from); err != nil {
					t.Errorf("%s mounts what is not there: %v", name, err)
				}
			} else if !known {
				t.Errorf("%s mounts the volume %s, which is not declared", name, from)
			}
		}
		for _, n := range s.Networks {
			if _, ok := c.Networks[n]; !ok {
				t.Errorf("%s is on the network %s, which is not declared", name, n)
			}
		}
		for _, secret := range s.Secrets {
			if _, ok := c.Secrets[secret.Source]; !ok {
				t.Errorf("%s is given the secret %s, which is not declared", name, secret.Source)
			}
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s can be reached from other machines at %s", name, p)
			}
		}
		for variable, value := range s.Environment {
			if strings.Contains(variable, "PASSWORD") && !strings.HasPrefix(value, "${") {
				t.Errorf("%s of %s holds a password: it must come from outside", variable, name)
			}
		}
	}
}

// TestGrafanaFindsItsParts: the dashboard's source is the one provisioned, in a folder that the provider reads.
func TestGrafanaFindsItsParts(t *testing.T) {
	sources := readYAML[struct {
		Datasources []struct{ UID, Type string }
	}](t, "grafana/datasource.yaml").Datasources
	providers := readYAML[struct {
		Providers []struct{ Options struct{ Path string } }
	}](t, "grafana/provider.yaml").Providers
	if len(sources) != 1 || len(providers) != 1 {
		t.Fatalf("%d sources and %d providers, want one each", len(sources), len(providers))
	}
	mounted := slices.ContainsFunc(readYAML[compose](t, "compose.yaml").Services["grafana"].Volumes, func(v string) bool {
		return strings.HasPrefix(v, "./grafana/statistics.json:"+providers[0].Options.Path+"/")
	})
	if !mounted {
		t.Errorf("the dashboard is not mounted below %s", providers[0].Options.Path)
	}
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			if target.Datasource.UID != sources[0].UID || target.Datasource.Type != sources[0].Type {
				t.Errorf("%s asks %+v, provisioned is %+v", p.Title, target.Datasource, sources[0])
			}
		}
	}
}

// panel is what the tests look at of a panel.
type panel struct {
	ID      int
	Title   string
	Type    string
	Options struct{ XField string }
	Targets []struct {
		Datasource struct{ UID, Type string }
		RawSQL     string `json:"rawSql"`
	}
}

func panels(t *testing.T) []panel {
	t.Helper()
	var dashboard struct{ Panels []panel }
	if err := json.Unmarshal(read(t, "grafana/statistics.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	return dashboard.Panels
}

// TestTheDashboardsQueriesAreAnswered asks the real engine, as the analyst, what the dashboard asks.
func TestTheDashboardsQueriesAreAnswered(t *testing.T) {
	engine := clickhousetest.Start(t)
	if err := engine.Open().Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	analyst := engine.OpenAnalyst()
	days := strings.NewReplacer("${__from:date:YYYY-MM-DD}", "2026-04-01", "${__to:date:YYYY-MM-DD}", "2027-03-31")
	asked := ""
	ids := map[int]bool{}
	for _, p := range panels(t) {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			asked += target.RawSQL
			table, err := analyst.Query(t.Context(), days.Replace(target.RawSQL))
			if err != nil {
				t.Errorf("%s: %v", p.Title, err)
				continue
			}
			if p.Options.XField != "" && table.Columns[0].Name != p.Options.XField {
				t.Errorf("%s is drawn over %s, which is not its first column %s", p.Title, p.Options.XField, table.Columns[0].Name)
			}
			if p.Type == "timeseries" && !strings.HasPrefix(table.Columns[0].Type, "DateTime") {
				t.Errorf("%s is drawn over time, its first column is %s", p.Title, table.Columns[0].Type)
			}
		}
	}
	for _, r := range clickhouse.Reports() {
		if !strings.Contains(asked, "statistics."+r.Name+"(") {
			t.Errorf("the dashboard does not show the report %s", r.Name)
		}
	}
}

// user is one of users.xml.
type user struct {
	Password struct {
		FromEnv string `xml:"from_env,attr"`
		Text    string `xml:",chardata"`
	} `xml:"password"`
	Profile string   `xml:"profile"`
	Quota   string   `xml:"quota"`
	Grants  []string `xml:"grants>query"`
}

func wellFormed(t *testing.T, name string) {
	t.Helper()
	for decoder := xml.NewDecoder(bytes.NewReader(read(t, name))); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

var granted = regexp.MustCompile(`^GRANT ([A-Z, ]+) ON ([a-z_]+)\.([a-z_]+|\*)$`)

// TestClickHouseUsers: each has a profile and a quota that are there and a password from outside; the analyst can only
// read, and no state; the real engine understands the grants. Whether they suffice shows on a server only.
func TestClickHouseUsers(t *testing.T) {
	wellFormed(t, "clickhouse/server.xml")
	wellFormed(t, "clickhouse/users.xml")
	text := string(read(t, "clickhouse/users.xml"))
	var parsed struct {
		Users struct {
			Kiroku  user `xml:"kiroku"`
			Analyst user `xml:"analyst"`
		} `xml:"users"`
	}
	if err := xml.Unmarshal([]byte(text), &parsed); err != nil {
		t.Fatal(err)
	}
	engine := clickhousetest.Start(t).Open()
	given := readYAML[compose](t, "compose.yaml").Services["clickhouse"].Environment
	for name, u := range map[string]user{"kiroku": parsed.Users.Kiroku, "analyst": parsed.Users.Analyst} {
		if given[u.Password.FromEnv] == "" || u.Password.Text != "" {
			t.Errorf("the password of %s does not come from the server's environment", name)
		}
		for _, part := range []string{u.Profile, u.Quota} {
			if part == "" || strings.Count(text, "<"+part+">") < 2 {
				t.Errorf("%s has the profile %q and the quota %q, of which one is not there", name, u.Profile, u.Quota)
			}
		}
		if len(u.Grants) == 0 {
			t.Errorf("%s is granted nothing", name)
		}
		for _, g := range u.Grants {
			if _, err := engine.Query(t.Context(), "EXPLAIN AST "+g+" TO "+name); err != nil {
				t.Errorf("%s: %v", g, err)
			}
			parts := granted.FindStringSubmatch(g)
			if parts == nil {
				t.Errorf("%q is no grant that this test understands", g)
				continue
			}
			reads := parts[1] == "SELECT" || parts[1] == "SELECT, SHOW"
			if name == "analyst" && (!reads || parts[2] == "statistics_state" || parts[2] == "system" && parts[3] == "*") {
				t.Errorf("the analyst is granted too much: %s", g)
			}
		}
	}
}
