package retention

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"kiroku/domain/approval"
	"kiroku/domain/event"
)

// outsideOfficials is what is known of officials without the registry. The zero value is nothing.
type outsideOfficials struct {
	given       approval.Officials
	set         approval.Set
	own         map[[sha256.Size]byte][]byte // officials' certificates by their SHA-256
	between     []event.Protected            // certificates between them and an authority
	authorities map[string][]byte            // by SHA-256, of the registry
	names       map[string]string            // pseudonym in the registry by who it is
	dropped     map[uint64]bool              // approvals that count no more, by revision
}

// Trust says which authorities of officials are known from outside, and which certificates. With authorities, an approval
// counts only if it names one of them, besides what the registry says of which is in force; without any (the zero
// Officials), the registry's word on them is taken. certificates are in DER, of officials and of what lies between them
// and an authority: an approval made with one of them has to hold by it.
func (c *Checker) Trust(authorities approval.Officials, certificates ...[]byte) error {
	o := &c.officials
	o.given, o.set, o.own = authorities, authorities.Set(), map[[sha256.Size]byte][]byte{}
	for i, der := range certificates {
		parsed, err := x509.ParseCertificate(der)
		switch {
		case err != nil:
			return fmt.Errorf("certificate %d of officials cannot be read", i+1) // the parser's error may quote it
		case parsed.IsCA:
			o.between = append(o.between, der)
		default:
			o.own[sha256.Sum256(der)] = der
		}
	}
	return nil
}

// checkApprovals proves each approval by itself. One that does not hold is reported and counts no more.
func (c *Checker) checkApprovals() {
	o := &c.officials
	o.names, o.dropped, o.authorities = map[string]string{}, map[uint64]bool{}, map[string][]byte{}
	for _, f := range c.sets {
		for _, der := range f.says.Authorities {
			sum := sha256.Sum256(der)
			o.authorities[string(sum[:])] = der
		}
	}
	unseen := 0
	for _, f := range inOrder(c.approvals) {
		err := c.checkApproval(f)
		seen := false
		if err == nil {
			c.out.Approvals++
			seen, err = c.checkOfficial(f.says)
		}
		switch {
		case err != nil:
			o.dropped[f.revision()] = true
			c.out.Flaws = append(c.out.Flaws, fmt.Sprintf("%s: %s", f.proven, err))
		case seen:
			c.out.Officials++
		default:
			unseen++
		}
	}
	if unseen > 0 {
		c.out.NotChecked = append(c.out.NotChecked, fmt.Sprintf(
			"that an authority certified the officials of %d approvals, and that they are different persons: their certificates stand sealed in the audit stream, and were not given", unseen))
	}
	if c.out.Approvals > 0 {
		c.out.NotChecked = append(c.out.NotChecked, "whether officials' certificates were revoked")
		if !o.given.Known() {
			c.out.NotChecked = append(c.out.NotChecked, "whose authorities certify officials: that is the registry's own word")
		}
	}
}

func (c *Checker) checkApproval(f fact[event.ProposalApproved]) error {
	if err := approval.Signed(f.says); err != nil {
		return err
	}
	s := c.proposals[approval.Hash(f.says.Proposal)]
	switch {
	case s == nil || s.Revision >= f.revision():
		return errors.New("the proposal that it approves does not stand before it")
	case f.at.Sub(time.UnixMicro(f.says.At)).Abs() > clockSkew:
		return fmt.Errorf("it says that it was given at %s, and was recorded at %s", time.UnixMicro(f.says.At).UTC().Format(time.RFC3339), f.at.UTC().Format(time.RFC3339))
	case c.officials.given.Known() && !c.officials.set.Has(f.says.Authority):
		return fmt.Errorf("it rests on the authority %s, which is none of those given", hex.EncodeToString(f.says.Authority))
	}
	return nil
}

// checkOfficial proves an approval by the official's certificate, if that was given; otherwise it returns false.
func (c *Checker) checkOfficial(a event.ProposalApproved) (seen bool, err error) {
	o := &c.officials
	if len(a.Certificate) != sha256.Size || o.own[[sha256.Size]byte(a.Certificate)] == nil {
		return false, nil
	}
	authority, err := c.authority(a.Authority)
	if err != nil {
		return false, err
	}
	given := approval.Given{Certificate: o.own[[sha256.Size]byte(a.Certificate)], Chain: o.between, Signature: a.Signature}
	signer, err := authority.Verify(approval.Hash(a.Proposal), given, time.UnixMicro(a.At).UTC())
	if err != nil {
		return false, err
	}
	if !bytes.Equal(signer.SPKI, a.SPKI) {
		return false, errors.New("the key that it names is not that of the official's certificate")
	}
	who := string(signer.Subject)
	if before, known := o.names[who]; known && before != a.Official {
		return false, errors.New("it was given under another pseudonym than an earlier one of the same official")
	}
	o.names[who] = a.Official
	return true, nil
}

// authority returns one authority alone, by its SHA-256.
func (c *Checker) authority(sum []byte) (approval.Officials, error) {
	for _, der := range c.officials.given.Certificates() {
		if own := sha256.Sum256(der); bytes.Equal(own[:], sum) {
			return approval.NewOfficials([][]byte{der})
		}
	}
	der, known := c.officials.authorities[string(sum)]
	if !known {
		return approval.Officials{}, errors.New("it names an authority that the registry does not")
	}
	return approval.NewOfficials([][]byte{der})
}

// standing is a proposal with the approvals that stood before a place in the registry; nil if it did not stand there itself.
func (c *Checker) standing(hash []byte, before uint64) *approval.Standing {
	if len(hash) != len(approval.Hash{}) {
		return nil
	}
	s := c.proposals[approval.Hash(hash)]
	if s == nil || s.Revision >= before {
		return nil
	}
	found := *s
	found.Terms, found.Approvals = c.terms, nil
	for _, f := range inOrder(c.approvals) {
		if f.revision() < before && !c.officials.dropped[f.revision()] && bytes.Equal(f.says.Proposal, hash) {
			found.Approvals = append(found.Approvals, f.says)
		}
	}
	return &found
}

// checkOfficials puts the sets of authorities and the lists of copies into their order: each rests on what was in force
// before it. One that nobody approved changes nothing, and is reported; so is a set with an authority that is not known
// from outside, where any is.
func (c *Checker) checkOfficials() {
	bad := func(p proven, err error) {
		if err != nil {
			c.out.Flaws = append(c.out.Flaws, fmt.Sprintf("%s: %s", p, err))
		}
	}
	var err error
	for _, f := range inOrder(c.sets) {
		c.terms, err = c.terms.Next(f.says, f.revision(), c.standing(f.says.Proposal, f.revision()))
		bad(f.proven, err)
		for _, der := range f.says.Authorities {
			if sum := sha256.Sum256(der); c.officials.given.Known() && !c.officials.set.Has(sum[:]) {
				bad(f.proven, fmt.Errorf("it puts the authority %s into force, which is none of those given", hex.EncodeToString(sum[:])))
			}
		}
	}
	for _, f := range inOrder(c.declared) {
		c.copies, err = c.copies.Next(f.says, f.revision(), c.standing(f.says.Proposal, f.revision()))
		bad(f.proven, err)
	}
}
