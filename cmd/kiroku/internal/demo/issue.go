package demo

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"io"
	"iter"
	"strconv"

	"kiroku/adapters/hsm"
	"kiroku/adapters/jukinet"
	"kiroku/commands"
	"kiroku/domain/symbol"
)

// againEvery is how many people an agency asks about a second time.
const againEvery = 25

// lacks reports whether an agency never asks for a person's symbol: so that some inquiries find a provider without one.
// The disclosure system asks for everybody's.
func (w *world) lacks(agency, person int) bool {
	return agency != disclosureAt && (person*7+agency*3)%20 == 0
}

// issue has Juki-net deliver every agency's people, and some of them twice.
func (w *world) issue(ctx context.Context) (string, error) {
	public, err := w.jukiKey(ctx)
	if err != nil {
		return "", err
	}
	for i, p := range w.agencies {
		var all, again []int
		for person := range w.o.People {
			if w.lacks(i, person) {
				continue
			}
			all = append(all, person)
			if len(all)%againEvery == 0 {
				again = append(again, person)
			}
		}
		if err := w.deliver(ctx, public, p, all, w.take(p)); err != nil {
			return "", err
		}
		if err := w.deliver(ctx, public, p, again, w.expectAcquired(p)); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d symbols for %d people at %d agencies, %d requests answered \"already acquired\" (取得済み)",
		w.report.SymbolsIssued, w.o.People, len(w.agencies), w.report.AlreadyAcquired), nil
}

func (w *world) jukiKey(ctx context.Context) (*rsa.PublicKey, error) {
	if err := w.hsm.EnsureKey(ctx, hsm.LabelJuki); err != nil {
		return nil, err
	}
	part, err := w.hsm.ExportPublic(ctx, hsm.LabelJuki)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKIXPublicKey(part.SPKI)
	if err != nil {
		return nil, fmt.Errorf("public key for Juki-net: %w", err)
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("public key for Juki-net is a %T", parsed)
	}
	return key, nil
}

// deliver sends people's resident codes, encrypted to the core, as Juki-net would, and hands each answer to check.
func (w *world) deliver(ctx context.Context, public *rsa.PublicKey, p *participant, people []int, check func(int, commands.Issued) error) error {
	var message bytes.Buffer
	if err := jukinet.Seal(&message, public, 1, w.codes(p, people)); err != nil {
		return err
	}
	var failed error
	done := 0
	cmd := commands.IssueSymbols{Meta: p.meta(), Agency: p.code, Requests: requests(ctx, w.hsm, &message)}
	err := w.n.Core.IssueSymbols(ctx, cmd, func(a commands.ItemIssued) {
		done++
		w.progress("issue", 1)
		if a.Err == nil {
			a.Err = check(people[a.Index], a.Issued)
		}
		if a.Err != nil && failed == nil {
			failed = fmt.Errorf("request %d of agency %s: %w", a.Index, p.code, a.Err)
		}
	})
	if err == nil && failed == nil && done != len(people) {
		err = fmt.Errorf("%d of %d requests of agency %s were answered: %w", done, len(people), p.code, ErrUnexpected)
	}
	if err != nil {
		return err
	}
	return failed
}

// requests turns a delivery into requests for symbols.
func requests(ctx context.Context, h jukinet.Decrypter, message io.Reader) iter.Seq2[commands.SymbolRequest, error] {
	return func(yield func(commands.SymbolRequest, error) bool) {
		for d, err := range jukinet.Open(ctx, h, message, nil) {
			r := commands.SymbolRequest{AcquisitionNumber: d.AcquisitionNumber, Code: d.Code}
			if jukinet.Refused(err) {
				r.Err, err = err, nil
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// codes yields made-up resident codes. A code is destroyed as soon as it has been sealed.
func (w *world) codes(p *participant, people []int) iter.Seq[jukinet.Delivery] {
	return func(yield func(jukinet.Delivery) bool) {
		for i, person := range people {
			code, err := ResidentCode(w.first + person)
			if err != nil {
				return // Seal then misses a delivery, and the count of answers tells
			}
			ok := yield(jukinet.Delivery{AcquisitionNumber: symbol.AcquisitionNumber(p.code.String() + "-" + strconv.Itoa(i)), Code: code})
			code.Destroy()
			if !ok {
				return
			}
		}
	}
}

// ResidentCode makes the code of the n-th made-up person of a ledger, from 0. Its first ten digits are a permutation of
// n, so that no two people have the same. The caller destroys it. It is known outside so that what a demonstration
// leaves behind can be searched for it.
func ResidentCode(n int) (symbol.ResidentCode, error) {
	const all = 10_000_000_000
	number := (uint64(n)*3_141_592_653 + 2_718_281_829) % all
	digits := make([]byte, 10)
	for i := range digits {
		digits[9-i] = byte('0' + number%10)
		number /= 10
	}
	return symbol.WithCheckDigit(digits, symbol.Mod11)
}

// take enters issued symbols in the agency's books.
func (w *world) take(p *participant) func(int, commands.Issued) error {
	return func(person int, a commands.Issued) error {
		if a.AlreadyAcquired || a.Symbol.IsZero() {
			return fmt.Errorf("a person who is new to the agency: already acquired: %w", ErrUnexpected)
		}
		if _, taken := p.knows[a.Symbol]; taken {
			return fmt.Errorf("two people with one symbol: %w", ErrUnexpected)
		}
		p.holds[person], p.knows[a.Symbol] = a.Symbol, person
		w.report.SymbolsIssued++
		return nil
	}
}

func (w *world) expectAcquired(*participant) func(int, commands.Issued) error {
	return func(_ int, a commands.Issued) error {
		if !a.AlreadyAcquired {
			return fmt.Errorf("a person whose symbol the agency has was issued another: %w", ErrUnexpected)
		}
		w.report.AlreadyAcquired++
		return nil
	}
}
