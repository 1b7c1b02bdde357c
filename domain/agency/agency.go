// Package agency describes the organisations that exchange through the core
// (情報照会者等): their codes, names, classes and standing. It promises that a
// value of its types other than the zero value has been checked, and that an
// Agency never changes under its holder.
package agency

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// MaxClasses is how many classes one agency may hold.
const MaxClasses = 32

// ParameterSize is the length of an agency parameter in bytes.
const ParameterSize = 16

// Parameter is an agency parameter (機関別パラメータ): the 16 bytes that make
// one agency's symbols differ from every other agency's. It is an input to
// keyed cryptography and no secret of its own. The zero value is refused: it
// is what a forgotten parameter looks like.
type Parameter [ParameterSize]byte

// ParseParameter reads 32 hexadecimal digits.
func ParseParameter(s string) (Parameter, error) {
	var p Parameter
	if len(s) != 2*ParameterSize {
		return Parameter{}, fmt.Errorf("%w: agency parameter has %d characters, it is %d hexadecimal digits", ErrInvalid, len(s), 2*ParameterSize)
	}
	if _, err := hex.Decode(p[:], []byte(s)); err != nil {
		return Parameter{}, fmt.Errorf("%w: agency parameter is not hexadecimal", ErrInvalid)
	}
	if p.IsZero() {
		return Parameter{}, fmt.Errorf("%w: agency parameter is all zero", ErrInvalid)
	}
	return p, nil
}

// String gives 32 hexadecimal digits.
func (p Parameter) String() string { return hex.EncodeToString(p[:]) }

// IsZero reports whether p was never set.
func (p Parameter) IsZero() bool { return p == Parameter{} }

// MarshalText is String.
func (p Parameter) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is ParseParameter.
func (p *Parameter) UnmarshalText(b []byte) (err error) {
	*p, err = ParseParameter(string(b))
	return err
}

// Status is the standing of an agency with the core.
type Status uint8

// An agency is active (稼働) or suspended (停止). The zero value is neither.
const (
	Active Status = iota + 1
	Suspended
)

var statusNames = map[Status]string{Active: "active", Suspended: "suspended"}

// String gives the stable name, "active" or "suspended".
func (s Status) String() string {
	if n, ok := statusNames[s]; ok {
		return n
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// ParseStatus reads what String gives.
func ParseStatus(s string) (Status, error) {
	for v, n := range statusNames {
		if n == s {
			return v, nil
		}
	}
	return 0, fmt.Errorf("%w: agency status is neither active nor suspended", ErrInvalid)
}

// MarshalText is String; a status that is neither is refused.
func (s Status) MarshalText() ([]byte, error) {
	if _, ok := statusNames[s]; !ok {
		return nil, fmt.Errorf("%w: agency status %d", ErrInvalid, uint8(s))
	}
	return []byte(s.String()), nil
}

// UnmarshalText is ParseStatus.
func (s *Status) UnmarshalText(b []byte) (err error) {
	*s, err = ParseStatus(string(b))
	return err
}

// Fields are what an agency is made of.
type Fields struct {
	Code      Code
	Name      Name
	Classes   []Class // 1 to 32; order and repetition do not matter
	Parameter Parameter
	Status    Status
}

// Agency is a registered organisation. It is immutable; copies are equal.
type Agency struct {
	code      Code
	name      Name
	classes   []Class // sorted, without repetition, never handed out
	parameter Parameter
	status    Status
}

// New checks f. Every error wraps ErrInvalid and names the agency by its code.
func New(f Fields) (Agency, error) {
	if f.Code.IsZero() {
		return Agency{}, fmt.Errorf("%w: no agency code", ErrInvalid)
	}
	refuse := func(what string) (Agency, error) {
		return Agency{}, fmt.Errorf("%w: agency %s: %s", ErrInvalid, f.Code, what)
	}
	if f.Name.IsZero() {
		return refuse("no name")
	}
	if len(f.Classes) == 0 {
		return refuse("no class; give the classes the scope rules know it by, such as 市町村長")
	}
	if len(f.Classes) > MaxClasses {
		return refuse(fmt.Sprintf("%d classes, the limit is %d", len(f.Classes), MaxClasses))
	}
	if slices.ContainsFunc(f.Classes, Class.IsZero) {
		return refuse("an empty class")
	}
	if f.Parameter.IsZero() {
		return refuse("no agency parameter")
	}
	if _, ok := statusNames[f.Status]; !ok {
		return refuse("no status")
	}
	return Agency{code: f.Code, name: f.Name, classes: canonical(f.Classes), parameter: f.Parameter, status: f.Status}, nil
}

func canonical(classes []Class) []Class {
	c := slices.Clone(classes)
	slices.SortFunc(c, func(a, b Class) int { return strings.Compare(a.s, b.s) })
	return slices.Compact(c)
}

// Code gives the agency code.
func (a Agency) Code() Code { return a.code }

// Name gives the official name.
func (a Agency) Name() Name { return a.name }

// Classes gives a copy of the classes held, sorted by their bytes.
func (a Agency) Classes() []Class { return slices.Clone(a.classes) }

// Holds reports whether the agency is of class c.
func (a Agency) Holds(c Class) bool { return slices.Contains(a.classes, c) }

// Parameter gives the agency parameter.
func (a Agency) Parameter() Parameter { return a.parameter }

// Status gives the standing.
func (a Agency) Status() Status { return a.status }

// IsActive reports whether the agency may exchange.
func (a Agency) IsActive() bool { return a.status == Active }

// IsZero reports whether a is no agency.
func (a Agency) IsZero() bool { return a.code.IsZero() }

// Fields gives a copy of everything, for storing and for New.
func (a Agency) Fields() Fields {
	return Fields{a.code, a.name, a.Classes(), a.parameter, a.status}
}

// WithStatus gives the same agency in another standing.
func (a Agency) WithStatus(s Status) (Agency, error) {
	f := a.Fields()
	f.Status = s
	return New(f)
}

// Equal reports whether a and b are the same in every field.
func (a Agency) Equal(b Agency) bool {
	return a.code == b.code && a.name == b.name && a.parameter == b.parameter &&
		a.status == b.status && slices.Equal(a.classes, b.classes)
}
