package embedded

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// call is what a request's address says.
type call struct {
	statement  string // of the parameter query; the body may hold the rest
	database   string
	format     string
	revision   uint64 // of Native results; 0: as files have them
	settings   map[string]string
	parameters map[string]string
	report     bool   // it says so, see ReportKey
	limits     Limits // of the user, tightened by what the request asks

	unpack       bool   // the body is packed in blocks of ClickHouse's own
	pack         string // method to pack the result so; empty: not
	httpCompress bool
}

// Parameters of the address that are the interface's, not settings.
var (
	ours = map[string]bool{
		"query": true, "database": true, "default_format": true, "client_protocol_version": true, "query_id": true,
		"quota_key": true, "compress": true, "decompress": true, "network_compression_method": true,
		"network_zstd_compression_level": true, "enable_http_compression": true, "http_zlib_compression_level": true,
		"buffer_size": true, "wait_end_of_query": true, "send_progress_in_http_headers": true,
		"http_headers_progress_interval_ms": true, "cancel_http_readonly_queries_on_client_close": true,
		"add_http_cors_header": true, "http_write_exception_in_output_format": true, "stacktrace": true,
		"async_insert": true, "wait_for_async_insert": true, // an insert is one block already, and waited for
		"max_execution_time": true, "max_result_bytes": true,
	}
	refused = map[string]string{
		"session_id": "sessions are not offered: every request stands alone", "session_check": "sessions are not offered",
		"session_timeout": "sessions are not offered", "role": "the role follows from the user",
		"user": "the user and password go into the headers", "password": "the user and password go into the headers",
	}
)

var settingName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]{0,127}$`)

// read takes a request's address apart, and refuses what it may not ask for.
func read(values url.Values, role role, limits Limits) (call, error) {
	c := call{statement: values.Get("query"), database: values.Get("database"), format: values.Get("default_format"),
		settings: map[string]string{}, parameters: map[string]string{}, report: values.Get("quota_key") == ReportKey, limits: limits,
		unpack: on(values.Get("decompress")), httpCompress: values.Get("enable_http_compression") != "0"}
	if c.format == "" {
		c.format = "TabSeparated"
	}
	if !settingName.MatchString(c.format) {
		return c, exception(codeBadArguments, "%q is no name of a format", c.format)
	}
	if version := values.Get("client_protocol_version"); version != "" {
		revision, err := strconv.ParseUint(version, 10, 32)
		if err != nil {
			return c, exception(codeBadArguments, "client_protocol_version is no number")
		}
		c.revision = revision
	}
	if on(values.Get("compress")) {
		c.pack = strings.ToUpper(values.Get("network_compression_method"))
		if c.pack == "" {
			c.pack = "LZ4"
		}
		if _, ok := packMethods[c.pack]; !ok {
			c.pack = ""
			return c, exception(codeNotImplemented, "network_compression_method %q", values.Get("network_compression_method"))
		}
	}
	for name := range values {
		if why, ok := refused[name]; ok {
			return c, exception(codeNotImplemented, "%s: %s", name, why)
		}
		if parameter, ok := strings.CutPrefix(name, "param_"); ok {
			c.parameters[parameter] = values.Get(name)
			continue
		}
		if ours[name] {
			continue
		}
		if !settingName.MatchString(name) {
			return c, exception(codeBadArguments, "%q is no name of a setting", name)
		}
		if role == analyst && !presentation(name) {
			return c, exception(codeReadonly, "Cannot modify '%s' setting in readonly mode", name)
		}
		c.settings[name] = values.Get(name)
	}
	return c.limited(values, role)
}

// limited applies the limits: a request can ask for less, not for more.
func (c call) limited(values url.Values, role role) (call, error) {
	seconds, err := atMost(values, "max_execution_time", c.limits.Time.Seconds())
	if err != nil {
		return c, err
	}
	size, err := atMost(values, "max_result_bytes", float64(c.limits.ResultBytes))
	if err != nil {
		return c, err
	}
	c.limits.Time = time.Duration(seconds * float64(time.Second))
	c.limits.ResultBytes = uint64(size)
	c.settings["max_execution_time"] = strconv.FormatFloat(seconds, 'f', -1, 64)
	c.settings["max_result_bytes"] = strconv.FormatUint(c.limits.ResultBytes, 10)
	if role == analyst {
		delete(c.settings, "readonly")
	}
	return c, nil
}

// atMost is the value asked for, or the limit if that is less or none is asked
// for; 0 asks for no limit.
func atMost(values url.Values, name string, limit float64) (float64, error) {
	asked := values.Get(name)
	if asked == "" {
		return limit, nil
	}
	value, err := strconv.ParseFloat(asked, 64)
	if err != nil || value < 0 || value != value {
		return 0, exception(codeBadArguments, "%s is not a positive number", name)
	}
	if value == 0 {
		return limit, nil
	}
	return min(value, limit), nil
}

func on(value string) bool { return value == "1" || value == "true" }

// presentation reports whether a setting changes only how a result is written
// down; those are free to everybody.
func presentation(name string) bool {
	return name == "session_timezone" || name == "date_time_output_format" || strings.HasPrefix(name, "output_format_") ||
		name == "readonly" // which the analyst is anyway
}
