package projections

import (
	"kiroku/domain/event"
)

// Decoded returns the payload of an event as T, the payload struct of its type.
// The runner decodes the payloads that several projections read once for all of
// them: change nothing in it, and keep no slice of it after Apply returns, for it is wiped then.
func Decoded[T any](o *Opened) (*T, error) {
	if p, ok := o.decoded.(*T); ok {
		return p, nil
	}
	p := new(T)
	if err := event.DecodeTo(o.Payload, p); err != nil {
		return nil, err
	}
	return p, nil
}

// payload knows how to decode a type of payload, and what in it to wipe.
type payload struct {
	decode func(plain []byte) (any, error)
	wipe   func(decoded any)
}

func of[T any](protected func(*T) []event.Protected) payload {
	return payload{
		decode: func(plain []byte) (any, error) {
			p := new(T)
			return p, event.DecodeTo(plain, p)
		},
		wipe: func(decoded any) {
			if p, ok := decoded.(*T); ok {
				for _, secret := range protected(p) {
					clear(secret)
				}
			}
		},
	}
}

type protected = []event.Protected

// personal are the payloads about persons. Those of the registry are rare and public.
var personal = map[string]payload{
	event.TypeSymbolIssued: of(func(p *event.SymbolIssued) protected {
		return protected{p.Subject.ID, p.Subject.Linkage, p.Subject.Management, p.Subject.Salt}
	}),
	event.TypeSymbolAlreadyAcquired: of(func(p *event.SymbolAlreadyAcquired) protected { return protected{p.Subject} }),
	event.TypeResidentCodeChanged: of(func(p *event.ResidentCodeChanged) protected {
		return protected{p.Subject, p.OldManagement, p.Management}
	}),
	event.TypeResidentCodeChangeRefused: of(func(p *event.ResidentCodeChangeRefused) protected { return protected{p.Subject, p.Other} }),
	event.TypeInquiryNotified:           of(func(p *event.InquiryNotified) protected { return personIn(&p.Record) }),
	event.TypeInquiryRefused:            of(func(p *event.InquiryRefused) protected { return personIn(&p.Record) }),
	event.TypeProvisionReported:         of(func(p *event.ProvisionReported) protected { return personIn(&p.Record) }),
	event.TypeInquiryLapsed:             of(func(p *event.InquiryLapsed) protected { return personIn(&p.Record) }),
	event.TypeRecordsDisclosed:          of(func(p *event.RecordsDisclosed) protected { return protected{p.Symbol} }),
}

func personIn(r *event.Record) protected { return protected{r.Symbol, r.Subject} }

// decode reads the payload ahead of the projections.
func (o *Opened) decode() error {
	p, known := personal[o.Event.Type]
	if !known {
		return nil
	}
	var err error
	o.decoded, err = p.decode(o.Payload)
	return err
}

// wipe overwrites what was decrypted.
func wipe(batch []Opened) {
	for i := range batch {
		o := &batch[i]
		if !o.Header.Sealed() || o.Unreadable {
			continue
		}
		clear(o.Payload)
		if p, known := personal[o.Event.Type]; known {
			p.wipe(o.decoded)
		}
	}
}
