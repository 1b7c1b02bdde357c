package embedded

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Folders and files below Config.Dir.
const (
	dataFolder = "data" // the engine's own
	// The engine starts what drops tables only where it finds this folder at its
	// start: without it, the first DROP … SYNC of its life would wait for ever.
	metadataFolder = "data/metadata"
	insertFolder   = "inserts" // bodies of inserts under way, see body.go
	configFile     = "engine.xml"
	usersFile      = "users.xml"
)

// role is what a connection may do, by the name of the role in users.xml.
type role string

const (
	writer  role = "writer"
	analyst role = "analyst"
)

// engine is the running engine. It runs at most once in a process.
type engine struct {
	config    Config
	library   *library
	arguments []string
	tables    map[string]bool // names of table functions, in lower case
	functions map[string]bool // names of functions, likewise
	hangs     chan struct{}   // has an element once a killed query goes on

	control sync.Mutex  // guards keep
	keep    *connection // keeps the engine running, and kills queries; nil once stopped
}

// one is held by the engine that runs in this process.
var one sync.Mutex

// start starts the engine on the folders of the configuration.
func start(config Config) (*engine, error) {
	if !one.TryLock() {
		return nil, errors.New("the ClickHouse engine runs already in this process")
	}
	e, err := startLocked(config)
	if err != nil {
		one.Unlock()
		return nil, err
	}
	return e, nil
}

func startLocked(config Config) (*engine, error) {
	if err := prepare(config); err != nil {
		return nil, err
	}
	unkept, err := strikeUnkept(filepath.Join(config.Dir, dataFolder))
	if err != nil {
		return nil, err
	}
	if unkept > 0 {
		config.Log.Warn("the engine was killed before it kept what it had noted; it is taken when it comes again", "inserts", unkept)
	}
	l, err := load(config.Library)
	if err != nil {
		return nil, err
	}
	e := &engine{config: config, library: l, hangs: make(chan struct{}, 1), arguments: []string{"clickhouse",
		"--path=" + filepath.Join(config.Dir, dataFolder), "--config-file=" + filepath.Join(config.Dir, configFile)}}
	if e.keep, err = l.open(e.arguments); err != nil {
		return nil, err
	}
	if err := e.first(); err != nil {
		e.keep.close()
		return nil, fmt.Errorf("starting the ClickHouse engine: %w", err)
	}
	return e, nil
}

// first asks the engine for what is needed of it before the first request.
func (e *engine) first() error {
	if err := e.keep.do("SET ROLE " + string(writer)); err != nil {
		return err
	}
	var err error
	if e.tables, err = e.names("table_functions"); err != nil {
		return err
	}
	e.functions, err = e.names("functions")
	return err
}

// names are those in a table of the database system, in lower case.
func (e *engine) names(table string) (map[string]bool, error) {
	lines, err := e.keep.query("SELECT lower(name) FROM system."+table, "TSV", nil)
	if err != nil {
		return nil, err
	}
	defer lines.release()
	names := map[string]bool{}
	for name := range strings.Lines(string(lines.data)) {
		names[strings.TrimSpace(name)] = true
	}
	return names, nil
}

// stop ends the engine. No query may be running.
func (e *engine) stop() {
	e.control.Lock()
	defer e.control.Unlock()
	if e.keep != nil {
		e.keep.close()
		e.keep = nil
		one.Unlock()
	}
}

// query is what one request asks of the engine.
type query struct {
	role       role
	database   string            // empty: the engine's default
	settings   map[string]string // beyond those of the role
	text       string
	format     string // where the text names none
	parameters map[string]string
}

// answer is what a query gave. It lives until it is closed.
type answer struct {
	*result
	format     string // of data
	connection *connection
}

func (a *answer) close() {
	a.release()
	a.connection.close()
}

// run runs a query on a connection of its own. When ctx ends the query is
// killed and run fails with what the engine says then; run always waits for
// the engine to be done.
func (e *engine) run(ctx context.Context, q query) (*answer, error) {
	c, err := e.library.open(e.arguments)
	if err != nil {
		return nil, err
	}
	r, format, err := e.runOn(ctx, c, q)
	if err != nil {
		c.close()
		return nil, err
	}
	return &answer{r, format, c}, nil
}

func (e *engine) runOn(ctx context.Context, c *connection, q query) (*result, string, error) {
	if err := c.do("SET ROLE " + string(q.role)); err != nil {
		return nil, "", err
	}
	if q.database != "" {
		if err := c.do("USE " + quoteName(q.database)); err != nil {
			return nil, "", err
		}
	}
	if err := c.do(setStatement(q, e.config.analystMemory())); err != nil {
		return nil, "", err
	}
	if q.role == analyst {
		allowed, err := e.allowed(c, q.text)
		if err != nil {
			return nil, "", err
		}
		q.text = allowed
	}
	if named := formatOf(q.text); named != "" {
		q.format = named
	}
	mark := "kiroku " + rand.Text()
	defer e.killWhen(ctx, mark)()
	if ctx.Err() != nil {
		return nil, "", exception(codeQueryWasCancelled, "the query ended before it began")
	}
	r, err := c.query("/* "+mark+" */ "+q.text, q.format, q.parameters)
	if err == nil && len(r.data) == 0 && q.format == nativeFormat {
		r.columns = columnsOf(c, q)
	}
	return r, q.format, err
}

// columnsOf is the columns of a SELECT without rows, which the engine leaves
// out of a Native result: as DESCRIBE tells them, names and types first. It is
// nil if the statement is something else.
func columnsOf(c *connection, q query) []byte {
	all := tokens(q.text)
	if first := tokenOf(all, 0); !first.is("SELECT") && !first.is("WITH") {
		return nil
	}
	text := q.text
	for _, t := range all {
		if t.depth == 0 && (t.is("FORMAT") || t.sign(";")) {
			text = q.text[:t.start]
		}
	}
	r, err := c.query("DESCRIBE TABLE ("+text+"\n)", nativeFormat, q.parameters)
	if err != nil {
		return nil // then it has none for the client either
	}
	defer r.release()
	return bytes.Clone(r.data)
}

// setStatement sets what holds for one query. The limits of the analyst come
// last and together with readonly, after which nothing can be set.
func setStatement(q query, analystMemory uint64) string {
	assignments := make([]string, 0, len(q.settings)+1)
	for name, value := range q.settings {
		assignments = append(assignments, name+" = "+quoteText(value))
	}
	if q.role == analyst {
		assignments = append(assignments, fmt.Sprintf("max_memory_usage = %d", analystMemory), "readonly = 1")
	}
	if len(assignments) == 0 {
		return "SET readonly = 0"
	}
	return "SET " + strings.Join(assignments, ", ")
}

// killAgain is the pause between two attempts to kill a query: one that is
// being parsed is not in the engine's list yet.
const killAgain = 50 * time.Millisecond

// killWhen kills the query that bears the mark when ctx ends, unless the
// returned function was called before, which waits for the killing to end.
func (e *engine) killWhen(ctx context.Context, mark string) (finished func()) {
	done := make(chan struct{})
	var killer sync.WaitGroup
	killer.Go(func() {
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		for killed := time.Now(); ; {
			e.kill(mark)
			if time.Since(killed) > e.config.KillWithin {
				e.giveUp()
			}
			select {
			case <-done:
				return
			case <-time.After(killAgain):
			}
		}
	})
	return func() {
		close(done)
		killer.Wait()
	}
}

// giveUp says that the engine does not let go of a query.
func (e *engine) giveUp() {
	select {
	case e.hangs <- struct{}{}:
	default:
	}
}

func (e *engine) kill(mark string) {
	e.control.Lock()
	defer e.control.Unlock()
	if e.keep == nil {
		return
	}
	if err := e.keep.do("KILL QUERY WHERE startsWith(query, " + quoteText("/* "+mark+" */") + ")"); err != nil {
		e.config.Log.Error("a query could not be killed", "error", err.Error())
	}
}

// quoteText is a text as a literal of ClickHouse's SQL.
func quoteText(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\x00", `\0`).Replace(text) + "'"
}

// quoteName is a name as an identifier of ClickHouse's SQL.
func quoteName(name string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`", "\x00", `\0`).Replace(name) + "`"
}

// prepare makes the folders and writes the engine's configuration anew.
func prepare(config Config) error {
	for _, folder := range []string{config.Dir, filepath.Join(config.Dir, metadataFolder), filepath.Join(config.Dir, insertFolder)} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return fmt.Errorf("making the folder for statistics: %w", err)
		}
	}
	if err := clearBodies(filepath.Join(config.Dir, insertFolder)); err != nil {
		return err
	}
	for name, text := range map[string]string{configFile: engineXML(config), usersFile: usersXML(config)} {
		if err := os.WriteFile(filepath.Join(config.Dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("writing the ClickHouse engine's configuration: %w", err)
		}
	}
	return nil
}

func escaped(text string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(text)) // a buffer takes everything
	return b.String()
}

// engineXML configures the engine for a small part of one machine: a server's
// defaults are for a whole one.
func engineXML(config Config) string {
	return fmt.Sprintf(`<clickhouse>
  <users_config>%s</users_config>
  <max_server_memory_usage>%d</max_server_memory_usage>
  <mark_cache_size>%d</mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <mmap_cache_size>64</mmap_cache_size>
  <max_thread_pool_size>512</max_thread_pool_size>
  <max_thread_pool_free_size>32</max_thread_pool_free_size>
  <background_pool_size>2</background_pool_size>
  <background_move_pool_size>1</background_move_pool_size>
  <background_fetches_pool_size>1</background_fetches_pool_size>
  <background_common_pool_size>2</background_common_pool_size>
  <background_schedule_pool_size>8</background_schedule_pool_size>
  <merge_tree>
    <number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
    <number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
    <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
  </merge_tree>
</clickhouse>
`, escaped(filepath.Join(config.Dir, usersFile)), config.MaxMemoryBytes, config.MaxMemoryBytes/16)
}

// usersXML gives the engine's one user no right but the two roles, of which
// each connection takes one.
func usersXML(config Config) string {
	var grants strings.Builder
	for _, database := range config.AnalystDatabases {
		fmt.Fprintf(&grants, "<query>%s</query>", escaped("GRANT SELECT ON "+quoteName(database)+".*"))
	}
	return fmt.Sprintf(`<clickhouse>
  <profiles>
    <default>
      <max_threads>%d</max_threads>
      <max_memory_usage>%d</max_memory_usage>
      <result_overflow_mode>throw</result_overflow_mode>
      <timeout_overflow_mode>throw</timeout_overflow_mode>
      <max_temporary_data_on_disk_size_for_query>%d</max_temporary_data_on_disk_size_for_query>
      <http_max_tries>1</http_max_tries>
      <async_insert>0</async_insert>
    </default>
  </profiles>
  <roles>
    <writer><grants><query>GRANT ALL ON *.*</query></grants></writer>
    <analyst><grants>%s</grants></analyst>
  </roles>
  <users>
    <default>
      <password></password>
      <networks><ip>::/0</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <grants><query>GRANT writer</query><query>GRANT analyst</query></grants>
    </default>
  </users>
  <quotas><default></default></quotas>
</clickhouse>
`, config.MaxThreads, config.MaxMemoryBytes/4*3, 4*config.MaxMemoryBytes, grants.String())
}
