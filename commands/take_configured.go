package commands

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/approval"
	"kiroku/domain/event"
)

// errTaken: another core took over what is configured first.
var errTaken = errors.New("the registry has it already")

// TakeConfigured states in the registry what this core is configured with and may state by itself: the first set of
// authorities of officials, and copies of the HSM's keys that are not declared yet. Everything else about either takes two
// officials; see Unheeded. It states nothing twice, and is called before anything rests on either.
func (c *Core) TakeConfigured(ctx context.Context) error {
	if err := c.writer(); err != nil {
		return err
	}
	c.configured.Lock()
	defer c.configured.Unlock()
	return errors.Join(c.takeAuthorities(ctx), c.declareCopies(ctx))
}

func (c *Core) takeAuthorities(ctx context.Context) error {
	none := func() bool { return len(c.d.Retention.Authorities()) == 0 }
	ders := c.d.Officials.Certificates()
	if len(ders) == 0 || !none() {
		return nil
	}
	if err := c.mayBeInForce(c.d.Officials, c.now()); err != nil {
		return fmt.Errorf("put the configured authorities in force: %w", err)
	}
	x := c.own("authorities", ders...)
	_, _, err := stateFact(ctx, c, x, event.TypeAuthoritiesSet, nil, func(at time.Time) (event.AuthoritiesSet, error) {
		if !none() {
			return event.AuthoritiesSet{}, errTaken
		}
		command := c.openCommand(x)
		return event.AuthoritiesSet{Command: &command, Authorities: ders, At: at.UnixMicro()}, nil
	})
	return unlessTaken("put the configured authorities in force", err)
}

func (c *Core) declareCopies(ctx context.Context) error {
	undeclared := func() []string {
		return slices.DeleteFunc(slices.Clone(c.d.Copies), func(name string) bool { return slices.Contains(c.Copies(), name) })
	}
	if len(undeclared()) == 0 {
		return nil
	}
	var parts [][]byte
	for _, name := range undeclared() {
		parts = append(parts, []byte(name))
	}
	x := c.own("copies", parts...)
	_, _, err := stateFact(ctx, c, x, event.TypeCopiesDeclared, nil, func(at time.Time) (event.CopiesDeclared, error) {
		added := undeclared()
		if len(added) == 0 {
			return event.CopiesDeclared{}, errTaken
		}
		names := append(slices.Clone(c.Copies()), added...)
		slices.Sort(names)
		command := c.openCommand(x)
		return event.CopiesDeclared{Command: &command, Copies: names, At: at.UnixMicro()}, nil
	})
	return unlessTaken("declare the configured copies of the HSM's keys", err)
}

func unlessTaken(doing string, err error) error {
	if err == nil || errors.Is(err, errTaken) {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// unnamedStarter stands for who runs a core that was not told.
const unnamedStarter = "kiroku"

// own is a command that the core gives itself in the name of who runs it.
func (c *Core) own(purpose string, parts ...[]byte) call {
	identity := c.d.Starter
	if identity == "" {
		identity = unnamedStarter
	}
	m := Meta{Actor: event.Actor{Identity: identity, Role: RoleOperator}, ID: idAt(c.now())}
	return newCall(m, c.d.Keyring.Digest("configured "+purpose, parts...))
}

// idAt makes a UUIDv7 (RFC 9562 §5.7) of a time.
func idAt(at time.Time) (id uuid.UUID) {
	rand.Read(id[:]) //nolint:errcheck // never fails
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(at.UnixMilli()))
	copy(id[:6], ms[2:])
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	return id
}

// mayBeInForce refuses authorities for development where they do not count, and such as end soon.
func (c *Core) mayBeInForce(o approval.Officials, at time.Time) error {
	if o.Development() && !c.d.Development {
		return approval.ErrDevelopment
	}
	return o.Lasts(at)
}

// OfficialsUntil returns when the last of the authorities ends that count now, and whether that is so near, or past, that
// it is an alarm: from then on nobody can approve anything, not even other authorities. It is zero where none counts.
func (c *Core) OfficialsUntil() (end time.Time, soon bool) {
	known, err := c.officialsInForce()
	if err != nil {
		return time.Time{}, false
	}
	end = known.End()
	return end, !c.now().Add(approval.EndingWithin).Before(end)
}

// officialsInForce returns the authorities that count now, as the registry has them: the configuration does not matter.
// Errors: ErrNoAuthorities, ErrDevelopment.
func (c *Core) officialsInForce() (approval.Officials, error) {
	last, any := c.d.Retention.Authorities().Last()
	if !any {
		return approval.Officials{}, approval.ErrNoAuthorities
	}
	o, err := approval.NewOfficials(last.Fact.Authorities)
	if err != nil || c.d.Development {
		return o, err
	}
	if o = o.Production(); !o.Known() {
		return o, approval.ErrDevelopment
	}
	return o, nil
}

// Unheeded says in what the configuration differs from the registry, and so does not count; none: in nothing. It is an
// alarm: somebody changed a file where two officials are needed, or they decided and the file is not up to date.
func (c *Core) Unheeded() []string {
	var differs []string
	last, any := c.d.Retention.Authorities().Last()
	configured := c.d.Officials.Set()
	if any && len(configured) > 0 && !slices.Equal(configured, last.Set) {
		differs = append(differs, "officials.ca_file names other authorities than are in force; it does not count: kiroku authorities propose changes them, with two officials")
	}
	var missing []string
	for _, name := range c.Copies() {
		if !slices.Contains(c.d.Copies, name) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		differs = append(differs, "retention.copies leaves out "+strings.Join(missing, ", ")+", and attestations are needed for it nevertheless: kiroku attest drop removes a copy, with two officials")
	}
	return differs
}
