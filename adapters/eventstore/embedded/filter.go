package embedded

import (
	"regexp"
	"strings"

	streams "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"

	"kiroku/adapters/eventstore/embedded/internal/journal"
)

// filter selects events of $all.
type filter struct {
	onType   bool // else on the stream's name
	regex    *regexp.Regexp
	prefixes []string
	window   uint64 // events considered per page
	interval uint64 // events considered per checkpoint
}

// defaultWindow is used when the client leaves the window to the server.
const defaultWindow = 32

func parseFilter(o *streams.ReadReq_Options_FilterOptions) (*filter, error) {
	f := &filter{window: defaultWindow}
	var expression *streams.ReadReq_Options_FilterOptions_Expression
	switch v := o.GetFilter().(type) {
	case *streams.ReadReq_Options_FilterOptions_EventType:
		f.onType, expression = true, v.EventType
	case *streams.ReadReq_Options_FilterOptions_StreamIdentifier:
		expression = v.StreamIdentifier
	default:
		return nil, invalid("the filter is neither on event types nor on stream names")
	}
	if text := expression.GetRegex(); text != "" {
		compiled, err := regexp.Compile(text)
		if err != nil {
			return nil, invalid("the filter's regular expression: %v", err)
		}
		f.regex = compiled
	}
	f.prefixes = expression.GetPrefix()
	if m, ok := o.GetWindow().(*streams.ReadReq_Options_FilterOptions_Max); ok {
		f.window = uint64(m.Max)
	}
	if f.window == 0 {
		return nil, invalid("the filter's window is zero")
	}
	if o.GetCheckpointIntervalMultiplier() == 0 {
		return nil, errHandler
	}
	f.interval = f.window * uint64(o.GetCheckpointIntervalMultiplier())
	return f, nil
}

func (f *filter) matches(e *journal.Event) bool {
	subject := e.Stream
	if f.onType {
		subject = e.Type
	}
	if f.regex != nil {
		return f.regex.MatchString(subject)
	}
	for _, prefix := range f.prefixes {
		if strings.HasPrefix(subject, prefix) {
			return true
		}
	}
	return false
}

// inAll: the server's own bookkeeping streams are not part of $all.
func inAll(e *journal.Event) bool {
	if !strings.HasPrefix(e.Stream, "$") {
		return true
	}
	if e.Stream == "$epoch-information" {
		return false
	}
	return !strings.HasPrefix(e.Stream, "$persistentsubscription-$all::") ||
		!strings.HasSuffix(e.Stream, "-checkpoint") && !strings.HasSuffix(e.Stream, "-parked")
}
