package embedded

import "strings"

// longestAnalysis bounds a statement of the analyst, in bytes.
const longestAnalysis = 256 << 10

// allowed is a statement of the analyst as it may be run: parsed and written
// anew by the engine, so that what is looked at here is what is run, with one
// way to write everything and no comments.
func (e *engine) allowed(c *connection, statement string) (string, error) {
	if len(statement) > longestAnalysis {
		return "", exception(codeQueryIsTooLarge, "the statement has %d bytes, and at most %d may be", len(statement), longestAnalysis)
	}
	if strings.IndexByte(statement, 0) >= 0 {
		return "", exception(codeSyntaxError, "the statement contains a zero byte")
	}
	anew, err := c.query("SELECT formatQuerySingleLine("+quoteText(statement)+")", "RawBLOB", nil)
	if err != nil {
		return "", err
	}
	defer anew.release()
	written := strings.Clone(string(anew.data))
	if err := refuse(tokens(written), e.tables, e.functions); err != nil {
		return "", err
	}
	return written, nil
}

// refuse says why a statement may not be run, nil if it may.
func refuse(statement []token, tableFunctions, functions map[string]bool) error {
	if err := refuseKind(statement); err != nil {
		return err
	}
	for i, t := range statement {
		next, third := tokenOf(statement, i+1), tokenOf(statement, i+2)
		switch name := t.name(); {
		case t.kind == unclosed:
			return exception(codeSyntaxError, "a quote does not end")
		case t.is("INTO") && next.is("OUTFILE"):
			return exception(codeAccessDenied, "INTO OUTFILE is not for the analyst")
		case t.is("SETTINGS") && next.name() != "" && third.sign("="):
			return exception(codeReadonly, "Cannot modify '%s' setting in readonly mode", next.value)
		case i == 0 && t.is("EXPLAIN") && next.is("QUERY"), name == "run_query_tree_passes":
			return exception(codeAccessDenied, "the analyst may not ask for the tree of a query: it shows the columns of any table")
		case t.is("PARALLEL") && next.is("WITH"):
			return exception(codeAccessDenied, "the analyst may run one statement at a time")
		case t.sign(":") && next.is("Identifier"):
			return exception(codeAccessDenied, "the analyst names tables and columns in the statement, not by parameters")
		// Without brackets a function stands where another calls it: arrayMap(file, …), * APPLY file.
		case hidden(name) && (next.sign("(") || functions[name] && !tokenOf(statement, i-1).is("AS")):
			return exception(codeAccessDenied, "the function %s is not for the analyst", name)
		case next.sign("(") && tableFunctions[name] && !harmless[name]:
			return exception(codeAccessDenied, "the table function %s is not for the analyst", name)
		case name == "system" && next.sign(".") && !describing[third.name()]:
			return exception(codeAccessDenied, "the table system.%s is not for the analyst", third.name())
		}
	}
	return nil
}

func tokenOf(all []token, i int) token {
	if i >= 0 && i < len(all) {
		return all[i]
	}
	return token{kind: none}
}

// refuseKind lets pass only statements that read.
func refuseKind(statement []token) error {
	first, second, third := tokenOf(statement, 0), tokenOf(statement, 1), tokenOf(statement, 2)
	switch strings.ToUpper(first.value) {
	case "SELECT", "WITH", "EXPLAIN", "DESCRIBE", "EXISTS":
		return nil
	case "SHOW":
		switch strings.ToUpper(second.value) {
		case "TABLES", "DATABASES", "COLUMNS":
			return nil
		case "CREATE":
			if third.is("TABLE") || third.is("VIEW") || third.is("DATABASE") {
				return nil
			}
		}
	}
	return exception(codeReadonly, "the analyst may read only: SELECT, EXPLAIN, DESCRIBE, EXISTS, SHOW TABLES, DATABASES, COLUMNS or CREATE TABLE")
}

// harmless are the table functions that make values out of nothing, and those
// that are ordinary functions by the same name.
var harmless = map[string]bool{
	"numbers": true, "numbers_mt": true, "zeros": true, "zeros_mt": true, "generateseries": true,
	"generate_series": true, "primes": true, "values": true, "null": true, "view": true, "format": true,
}

// describing are the tables of the database system that say what there is to
// read. The engine shows in them what the role may see.
var describing = map[string]bool{
	"one": true, "numbers": true, "numbers_mt": true, "zeros": true, "zeros_mt": true, "databases": true,
	"tables": true, "columns": true, "functions": true, "data_type_families": true, "time_zones": true,
}

// hidden reports whether a function without a right of its own reaches beyond
// the statistics: a file, another server, a log, this machine.
func hidden(function string) bool {
	switch function {
	case "file", "hascolumnintable", "catboostevaluate", "evalmlmethod", "logtrace", "fuzzquery", "obfuscatequery",
		"obfuscatequerywithseed", "generateserialid", "getclienthttpheader", "getmacro", "showcertificate", "getoskernelversion",
		"getserverport", "serveruuid", "tcpport", "zookeepersessionuptime", "naivebayesclassifier", "joinget", "joingetornull", "icebergtruncate":
		return true
	}
	for _, family := range []string{"ai", "dict", "filesystem", "region", "addressto", "transaction"} {
		if strings.HasPrefix(function, family) {
			return true
		}
	}
	return false
}
