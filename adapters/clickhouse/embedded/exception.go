package embedded

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// Codes of ClickHouse's exceptions, as far as they are given or looked at here.
const (
	codeBadArguments         = 36
	codeUnknownFunction      = 46
	codeUnknownIdentifier    = 47
	codeNotImplemented       = 48
	codeUnknownTable         = 60
	codeSyntaxError          = 62
	codeUnknownDatabase      = 81
	codeUnknownSetting       = 115
	codeTimeoutExceeded      = 159
	codeReadonly             = 164
	codeTooManyQueries       = 202
	codeMemoryLimit          = 241
	codeQueryIsTooLarge      = 266
	codeQueryWasCancelled    = 394
	codeAccessDenied         = 497
	codeAuthenticationFailed = 516
	codeUnknown              = 1002
)

// named are the names of the codes given here; the engine names its own.
var named = map[int]string{
	codeBadArguments: "BAD_ARGUMENTS", codeNotImplemented: "NOT_IMPLEMENTED", codeSyntaxError: "SYNTAX_ERROR",
	codeTimeoutExceeded: "TIMEOUT_EXCEEDED", codeReadonly: "READONLY", codeTooManyQueries: "TOO_MANY_SIMULTANEOUS_QUERIES",
	codeQueryIsTooLarge: "QUERY_IS_TOO_LARGE", codeQueryWasCancelled: "QUERY_WAS_CANCELLED",
	codeAccessDenied: "ACCESS_DENIED", codeAuthenticationFailed: "AUTHENTICATION_FAILED", codeUnknown: "UNKNOWN_EXCEPTION",
}

// Exception is a failure as ClickHouse tells it.
type Exception struct {
	Code int
	text string // whole, beginning with the code
}

func (e *Exception) Error() string { return e.text }

func exception(code int, message string, arguments ...any) *Exception {
	return &Exception{code, fmt.Sprintf("Code: %d. DB::Exception: %s. (%s)", code, fmt.Sprintf(message, arguments...), named[code])}
}

var codeAtStart = regexp.MustCompile(`^Code: (\d+)\. `)

// parseException makes an exception of what the engine says.
func parseException(text string) *Exception {
	text = strings.TrimSpace(text)
	if found := codeAtStart.FindStringSubmatch(text); found != nil {
		if code, err := strconv.Atoi(found[1]); err == nil {
			return &Exception{code, text}
		}
	}
	return exception(codeUnknown, "%s", text)
}

// asException is any failure as one for the client, who learns nothing of this
// machine from those that are not the engine's.
func asException(err error) *Exception {
	if e, ok := errors.AsType[*Exception](err); ok {
		return e
	}
	return exception(codeUnknown, "the server failed, its log says how")
}

// status is the HTTP status that goes with an exception.
func (e *Exception) status() int {
	switch e.Code {
	case codeAuthenticationFailed, codeAccessDenied, codeReadonly:
		return http.StatusForbidden
	case codeSyntaxError, codeBadArguments, codeUnknownSetting, codeUnknownIdentifier:
		return http.StatusBadRequest
	case codeUnknownTable, codeUnknownDatabase, codeUnknownFunction:
		return http.StatusNotFound
	case codeNotImplemented:
		return http.StatusNotImplemented
	case codeTimeoutExceeded:
		return http.StatusRequestTimeout
	case codeQueryIsTooLarge:
		return http.StatusRequestEntityTooLarge
	case codeTooManyQueries:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}
