package agency

import (
	"errors"
	"fmt"

	"kiroku/domain/text"
)

// Bounds of the texts of this package, in characters.
const (
	MaxCode       = 32
	MaxName       = 200
	MaxDepartment = 200
	MaxClass      = 100
)

// ErrInvalid is wrapped by every error that says a value is not acceptable.
var ErrInvalid = errors.New("invalid agency data")

// Code is an agency code (機関コード): 1 to 32 ASCII letters, digits and
// hyphens, neither first nor last a hyphen. Letters are compared as written.
// The zero value names no agency.
type Code struct{ s string }

// ParseCode checks s.
func ParseCode(s string) (Code, error) {
	if s == "" {
		return Code{}, fmt.Errorf("%w: agency code is empty", ErrInvalid)
	}
	if len(s) > MaxCode {
		return Code{}, fmt.Errorf("%w: agency code has %d characters, the limit is %d", ErrInvalid, len(s), MaxCode)
	}
	for i := 0; i < len(s); i++ {
		if !codeByte(s[i]) {
			return Code{}, fmt.Errorf("%w: agency code may hold ASCII letters, digits and hyphens only (character %d)", ErrInvalid, i+1)
		}
	}
	if s[0] == '-' || s[len(s)-1] == '-' {
		return Code{}, fmt.Errorf("%w: agency code begins or ends with a hyphen", ErrInvalid)
	}
	return Code{s}, nil
}

func codeByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '-'
}

func (c Code) String() string { return c.s }

// IsZero reports whether c names no agency.
func (c Code) IsZero() bool { return c.s == "" }

// MarshalText gives the code as written.
func (c Code) MarshalText() ([]byte, error) { return []byte(c.s), nil }

// UnmarshalText is ParseCode.
func (c *Code) UnmarshalText(b []byte) (err error) {
	*c, err = ParseCode(string(b))
	return err
}

// Name is the official name of an agency (機関名): one line, 1 to 200
// characters, normalisation form C.
type Name struct{ s string }

// ParseName checks and normalises s.
func ParseName(s string) (Name, error) {
	s, err := line("agency name", s, MaxName)
	return Name{s}, err
}

func (n Name) String() string { return n.s }

// IsZero reports whether n is no name.
func (n Name) IsZero() bool { return n.s == "" }

// MarshalText gives the name in UTF-8.
func (n Name) MarshalText() ([]byte, error) { return []byte(n.s), nil }

// UnmarshalText is ParseName.
func (n *Name) UnmarshalText(b []byte) (err error) {
	*n, err = ParseName(string(b))
	return err
}

// Department is a department of an agency (部署名): one line, 1 to 200
// characters, normalisation form C.
type Department struct{ s string }

// ParseDepartment checks and normalises s.
func ParseDepartment(s string) (Department, error) {
	s, err := line("department", s, MaxDepartment)
	return Department{s}, err
}

func (d Department) String() string { return d.s }

// IsZero reports whether d is no department.
func (d Department) IsZero() bool { return d.s == "" }

// MarshalText gives the department in UTF-8.
func (d Department) MarshalText() ([]byte, error) { return []byte(d.s), nil }

// UnmarshalText is ParseDepartment.
func (d *Department) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDepartment(string(b))
	return err
}

// Class is a kind of agency that the scope rules speak of, by its Japanese
// name (市町村長, 都道府県知事): one line, 1 to 100 characters, normalisation
// form C. An agency holds as many as the law makes it: a city is 市町村長,
// 都道府県知事等 and 医療保険者 at once.
type Class struct{ s string }

// ParseClass checks and normalises s.
func ParseClass(s string) (Class, error) {
	s, err := line("agency class", s, MaxClass)
	return Class{s}, err
}

func (c Class) String() string { return c.s }

// IsZero reports whether c is no class.
func (c Class) IsZero() bool { return c.s == "" }

// MarshalText gives the class in UTF-8.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.s), nil }

// UnmarshalText is ParseClass.
func (c *Class) UnmarshalText(b []byte) (err error) {
	*c, err = ParseClass(string(b))
	return err
}

func line(what, s string, limit int) (string, error) {
	s, err := text.Line(what, s, limit)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return s, nil
}
