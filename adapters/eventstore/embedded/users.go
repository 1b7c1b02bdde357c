package embedded

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
)

// Groups with rights of their own.
const (
	GroupAdmins     = "$admins" // everything
	GroupOperations = "$ops"    // scavenge
)

// User may log in with a password. It prints and logs without it.
type User struct {
	Name     string
	Password Password
	Groups   []string
}

// Password redacts itself wherever it is printed, logged or marshalled.
type Password string

func (Password) String() string               { return "[redacted]" }
func (Password) GoString() string             { return "[redacted]" }
func (Password) LogValue() slog.Value         { return slog.StringValue("[redacted]") }
func (Password) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// LoadUsers reads a credentials file of mode 0600 or stricter. A line is
// name:groups:password, groups separated by commas or empty, the password everything
// after the second colon; empty lines and lines beginning with # are skipped.
func LoadUsers(path string) ([]User, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read store credentials: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("read store credentials %s: mode %o lets others read it; make it 0600", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read store credentials: %w", err)
	}
	var users []User
	for n, line := range strings.Split(string(text), "\n") {
		line = strings.TrimRight(line, "\r")
		if line == "" || line[0] == '#' {
			continue
		}
		parts := strings.SplitN(line, ":", 3)
		if len(parts) != 3 || parts[0] == "" || parts[2] == "" {
			return nil, fmt.Errorf("store credentials %s, line %d: want name:groups:password", path, n+1)
		}
		u := User{Name: parts[0], Password: Password(parts[2])}
		if parts[1] != "" {
			u.Groups = strings.Split(parts[1], ",")
		}
		users = append(users, u)
	}
	return users, nil
}

// account is a user as the server keeps it: without the password.
type account struct {
	name   string
	groups []string
	digest [sha256.Size]byte
}

func (a *account) is(roles ...string) bool {
	if a.name == "admin" || slices.Contains(a.groups, GroupAdmins) {
		return true
	}
	for _, role := range roles {
		if role == a.name || slices.Contains(a.groups, role) {
			return true
		}
	}
	return false
}

type accounts map[string]*account

func newAccounts(users []User) (accounts, error) {
	as := accounts{}
	for _, u := range users {
		if u.Name == "" || strings.Contains(u.Name, ":") || u.Password == "" {
			return nil, fmt.Errorf("user %q: a name without a colon and a password are needed", u.Name)
		}
		if as[u.Name] != nil {
			return nil, fmt.Errorf("user %q is listed twice", u.Name)
		}
		as[u.Name] = &account{name: u.Name, groups: slices.Clone(u.Groups), digest: sha256.Sum256([]byte(u.Password))}
	}
	return as, nil
}

// login checks an authorization header. nil and no error: anonymous.
func (as accounts) login(header string) (*account, error) {
	encoded, ok := strings.CutPrefix(header, "Basic ")
	if !ok {
		return nil, nil
	}
	plain, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, errUnauthenticated
	}
	name, password, ok := strings.Cut(string(plain), ":")
	digest := sha256.Sum256([]byte(password))
	a := as[name]
	if !ok || a == nil || subtle.ConstantTimeCompare(a.digest[:], digest[:]) != 1 {
		return nil, errUnauthenticated
	}
	return a, nil
}
