package commands

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"kiroku/domain/approval"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/register"
)

// VaultKeys are the root keys of the vault in the HSM.
type VaultKeys interface {
	// EnsureKey makes the key of a label where there is none.
	EnsureKey(ctx context.Context, label string) error
	// Destroy ends a key for good. It MUST return nil only if the token proved itself and holds the key no more.
	Destroy(ctx context.Context, label string) error
	// Token names the token that holds a key.
	Token(ctx context.Context, label string) (event.Token, error)
}

// Deletion is a physical deletion (物理削除) that two officials approved.
type Deletion struct {
	Proposal approval.Hash
	Revision uint64      // of its deletion-requested in issuance
	Leaf     ledger.Hash // of that event
}

// RotateVault is an operator's order to rotate the vault, and to carry out the deletions named.
type RotateVault struct {
	Meta
	Deletions []Deletion
	Rotations []approval.Hash // proposals to rotate that two officials approved; one is needed where nobody is deleted
	// Approved stands for all deletions and rotations that are approved when the rotation begins, instead of a list.
	Approved bool
}

// parts are what of it goes into the command's digest.
func (cmd RotateVault) parts() [][]byte {
	if cmd.Approved {
		return [][]byte{[]byte("approved")}
	}
	var parts [][]byte
	for _, d := range cmd.Deletions {
		parts = append(parts, []byte(event.ProposalDeletion), slices.Clone(d.Proposal[:]), binary.BigEndian.AppendUint64(nil, d.Revision), slices.Clone(d.Leaf[:]))
	}
	for _, h := range cmd.Rotations {
		parts = append(parts, []byte(event.ProposalRotation), slices.Clone(h[:]))
	}
	return parts
}

// RotationStep is how far a rotation has come.
type RotationStep struct {
	Generation int
	Step       string // one of the steps below
	Done, Of   uint64
}

// The steps of a rotation, in their order.
const (
	StepBucketKeys = "wrapping the bucket keys anew"
	StepPeople     = "moving people to their bucket's new key"
	StepCompare    = "comparing whom the register, its view and the vault name"
	StepComplete   = "putting the generation in force"
	StepOpens      = "opening everybody's key under the new root key"
	StepDestroy    = "destroying the old root key"
	StepCertify    = "certifying it"
)

// RotatedVault is what a rotation came to.
type RotatedVault struct {
	Generation int // in force now
	Deletions  int // carried out by it, or by the same command before
	Before     int // of these, deletions of people whom an earlier rotation had deleted
	Moved      int // people whose key was wrapped under another bucket key, as far as this call did it
}

// Errors of a rotation.
var (
	// ErrRotating: another call rotates the vault.
	ErrRotating = errors.New("the vault is being rotated already")
	// ErrRootNotDestroyed: the new generation is in force, and the old root key may still be there. It is tried again;
	// until then nothing is certified and no further rotation begins.
	ErrRootNotDestroyed = errors.New("the old root key of the vault is not known to be destroyed")
	// ErrNotApproved: a deletion is carried out as two different officials approved it, and once.
	ErrNotApproved = errors.New("no such physical deletion is approved and waits for a rotation of the vault")
	// ErrRotationNotApproved: a root key that need not go for a deletion goes only as two different officials approved.
	ErrRotationNotApproved = errors.New("nobody is to be deleted, and two officials did not approve a rotation of the vault by itself: `kiroku keys rotate propose`")
)

// rotation is one call of RotateVault.
type rotation struct {
	*Core
	id   uuid.UUID // of the event that begins it
	tell func(RotationStep)
	out  RotatedVault
}

// RotateVault moves all bucket keys under a new root key and destroys the old one, so that copies of the ledger from
// before open nothing any more. It carries out the physical deletions given: these people's keys do not go along. Symbols
// are issued meanwhile as ever, but for those who are being deleted.
//
// A rotation that was interrupted, by whichever core, is finished first; if it left nothing to do, no other begins. What a
// rotation carries out is settled when it begins. The same command again finishes what it began, and begins no other; with
// another content it is ErrConflict. progress may be nil. Errors: ErrNotAllowed, ErrRotating, ErrRootNotDestroyed,
// ErrNotApproved, ErrRotationNotApproved, ErrRegisterDiffers, ErrNotFound and ErrConflict (also of a deletion), ErrTooOld, keyring's, those of the sequencer; after each of the last the same command goes on.
func (c *Core) RotateVault(ctx context.Context, cmd RotateVault, progress func(RotationStep)) (RotatedVault, error) {
	if err := c.checkAs(cmd.Meta, RoleOperator); err != nil {
		return RotatedVault{}, err
	}
	if !c.rotating.TryLock() {
		return RotatedVault{}, ErrRotating
	}
	defer c.rotating.Unlock()
	leave, err := c.takeVault(ctx)
	if err != nil {
		return RotatedVault{}, err
	}
	defer leave()
	x := newCall(cmd.Meta, c.d.Keyring.Digest("rotate-vault", cmd.parts()...))
	release, err := c.claim(x, c.vault)
	if err != nil {
		return RotatedVault{}, err
	}
	defer release()
	if err := c.recordOperation(ctx, x, event.TypeVaultRotated); err != nil {
		return RotatedVault{}, err
	}
	r := &rotation{Core: c, id: event.IDOf(x.key, 0), tell: progress}
	if progress == nil {
		r.tell = func(RotationStep) {}
	}
	err = r.run(ctx, cmd)
	return r.out, err
}

func (r *rotation) run(ctx context.Context, cmd RotateVault) error {
	resumed, err := r.finish(ctx)
	if err != nil {
		return err
	}
	if before, began := r.began(r.id); began {
		r.out.Deletions = len(before.proposals)
		return nil
	}
	if cmd.Approved {
		cmd.Deletions, cmd.Rotations = r.ApprovedDeletions(), r.ApprovedRotations()
	}
	if err := r.begin(ctx, cmd, resumed); err != nil {
		return err
	}
	_, err = r.finish(ctx)
	return err
}

// ResumeRotation finishes a rotation that was interrupted, and does nothing if none was.
func (c *Core) ResumeRotation(ctx context.Context) error {
	if err := c.writer(); err != nil {
		return err
	}
	if _, rotating := c.Vault(); !rotating {
		return nil
	}
	leave, err := c.takeVault(ctx)
	if err != nil {
		return err
	}
	defer leave()
	_, err = (&rotation{Core: c, tell: func(RotationStep) {}}).finish(ctx)
	return err
}

// takeVault waits until no other call adds to the vault.
func (c *Core) takeVault(ctx context.Context) (leave func(), err error) {
	select {
	case c.vaultTurn <- struct{}{}:
		return func() { <-c.vaultTurn }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the vault: %w", context.Cause(ctx))
	}
}

// Vault reports the generation in force and whether a rotation to it, or beyond it, is under way.
func (c *Core) Vault() (generation int, rotating bool) {
	generation = c.d.Keyring.Generation()
	_, opening := c.d.Keyring.Rotating()
	return generation, opening || c.uncertified(generation)
}

func (c *Core) uncertified(generation int) bool {
	return generation > 1 && !slices.ContainsFunc(c.d.Rotations(), func(r event.VaultRotated) bool { return r.Generation == generation })
}

// finish takes a rotation from wherever it stands to its end. It returns false if there was none.
func (r *rotation) finish(ctx context.Context) (bool, error) {
	err := r.FollowVault(ctx)
	if err == nil {
		err = r.vaultIsWhole()
	}
	if err != nil {
		return false, err
	}
	next, opening := r.d.Keyring.Rotating()
	if opening {
		if err := r.complete(ctx, next); err != nil {
			return true, fmt.Errorf("rotate the vault to generation %d: %w", next.Opened.Generation, err)
		}
	}
	generation := r.d.Keyring.Generation()
	r.out.Generation = generation
	if !r.uncertified(generation) {
		return opening, nil
	}
	if err := r.settle(ctx); err != nil {
		return true, err
	}
	if err := r.end(ctx, generation); err != nil {
		return true, fmt.Errorf("end vault generation %d: %w", generation-1, err)
	}
	return true, nil
}

// begin opens the next generation. After a rotation that was resumed there is one only for deletions left over.
func (r *rotation) begin(ctx context.Context, cmd RotateVault, resumed bool) error {
	var people []register.SubjectID
	var proposals [][]byte
	approved := r.ApprovedDeletions()
	for _, d := range cmd.Deletions {
		if resumed && r.carriedOut(d.Proposal) {
			continue // by the rotation that was resumed
		}
		if !slices.Contains(approved, d) {
			return fmt.Errorf("physical deletion %s: %w", d.Proposal, ErrNotApproved)
		}
		proposals = append(proposals, slices.Clone(d.Proposal[:]))
		id, err := r.whom(ctx, d)
		if errors.Is(err, keyring.ErrShredded) {
			r.out.Before++ // the person was deleted before: this rotation certifies that the proposal is done
			continue
		}
		if err != nil {
			return fmt.Errorf("physical deletion %s: %w", d.Proposal, err)
		}
		if !slices.Contains(people, id) {
			people = append(people, id)
		}
	}
	if resumed && len(proposals) == 0 {
		return nil
	}
	rotations, err := r.rotations(cmd.Rotations)
	if err == nil && len(proposals)+len(rotations) == 0 {
		err = ErrRotationNotApproved
	}
	if err != nil {
		return err
	}
	generation := r.d.Keyring.Generation() + 1
	if err := r.d.Vault.EnsureKey(ctx, keyring.RootLabel(generation)); err != nil {
		return unavailable("make the root key of vault generation", err)
	}
	o, err := r.d.Keyring.NextVault(ctx, people, proposals)
	if err != nil {
		return fmt.Errorf("open vault generation %d: %w", generation, err)
	}
	o.Rotations = rotations
	return r.extendVault(ctx, event.TypeVaultOpened, r.id, o)
}

// complete takes a generation that was opened to where it is in force.
func (r *rotation) complete(ctx context.Context, next keyring.Rotation) error {
	o := next.Opened
	err := r.storeBucketKeys(ctx, next, func(loaded int) {
		r.tell(RotationStep{o.Generation, StepBucketKeys, uint64(loaded), uint64(o.Buckets)})
	})
	if err != nil {
		return err
	}
	days := map[calendar.Day]bool{}
	if len(o.Rotated) > 0 {
		if days, err = r.move(ctx, o); err != nil {
			return err
		}
	}
	r.tell(RotationStep{Generation: o.Generation, Step: StepComplete})
	done := event.VaultCompleted{Generation: o.Generation, Deleted: o.Deleted}
	for day := range days {
		done.Days = append(done.Days, day.String())
	}
	slices.Sort(done.Days)
	return r.extendVault(ctx, event.TypeVaultCompleted, r.stepID(event.TypeVaultCompleted, 0), done)
}

// settle has this core forget the deleted: from then on their symbols and codes name nobody.
func (r *rotation) settle(ctx context.Context) error {
	h, ok := r.vault.seq.Head()
	if !ok {
		return r.writer()
	}
	if err := r.d.RegisterHas(ctx, event.StreamVault, h.Count); err != nil {
		return fmt.Errorf("the register's view has not caught up with the vault yet: %w", err)
	}
	r.issuance.expire()
	return nil
}

// rotationNamespace makes the id of the one certificate of a generation.
var rotationNamespace = uuid.MustParse("2d0a9a06-0f55-5f0b-8a0f-5d8a3c1e7b44")

// end destroys the root key before the one in force and certifies that.
func (r *rotation) end(ctx context.Context, generation int) error {
	if err := r.everybodyOpens(ctx, generation); err != nil {
		return fmt.Errorf("%w: %w", ErrRootNotDestroyed, err)
	}
	r.tell(RotationStep{Generation: generation, Step: StepDestroy})
	if err := r.d.Keyring.CheckRoot(ctx); err != nil { // nothing is destroyed that the new key does not replace
		return fmt.Errorf("%w: %w", ErrRootNotDestroyed, err)
	}
	old := keyring.RootLabel(generation - 1)
	if err := r.d.Vault.Destroy(ctx, old); err != nil {
		return fmt.Errorf("%w: %w", ErrRootNotDestroyed, err)
	}
	if err := r.d.RegisterCompact(ctx); err != nil {
		return fmt.Errorf("the old root key is destroyed, and files of the register's view may still hold rows of the deleted; the certificate waits: %w", err)
	}
	token, err := r.d.Vault.Token(ctx, keyring.RootLabel(generation))
	if err != nil {
		return unavailable("name the token", err)
	}
	r.tell(RotationStep{Generation: generation, Step: StepCertify})
	g, before := r.generation(generation), r.generation(generation-1)
	id := uuid.NewSHA1(rotationNamespace, fmt.Appendf(nil, "generation %d", generation))
	_, recorded, err := r.ComposeFact(ctx, id, event.TypeVaultRotated, func(context.Context, uint64) ([]any, error) {
		if !r.uncertified(generation) {
			return nil, nil
		}
		return []any{event.VaultRotated{Generation: generation, Destroyed: old, Commitment: before.commitment,
			Proposals: g.proposals, Rotations: g.rotations, Days: g.days, Token: token, At: r.now().UnixMicro()}}, nil
	})
	if err != nil {
		return err
	}
	if recorded {
		r.out.Deletions += len(g.proposals)
	}
	return nil
}
