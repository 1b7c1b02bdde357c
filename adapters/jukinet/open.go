package jukinet

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"kiroku/domain/secret"
	"kiroku/domain/symbol"
)

// Open reads a message and yields its deliveries in their order. A nil policy is symbol.Mod11.
//
// A delivery comes with a nil error, its code the receiver's to destroy. A record that is authentic, but whose code or
// acquisition number is not valid, comes with an error for which Refused is true, its acquisition number where that
// can be read, and no code; the next record follows. Any other error is the last thing yielded, names the record's
// index from 0, and means that the rest of the message cannot be trusted or read: ErrFormat, ErrAltered, ErrTruncated,
// ErrTooMany, the context's, the Decrypter's or the source's own. Every delivery yielded before it stands, since each
// record is authenticated by itself in its place; only a sequence without such an error was the whole message.
//
// No error holds anything of a code. The sequence can be ranged over once.
func Open(ctx context.Context, hsm Decrypter, source io.Reader, policy symbol.CheckDigit) iter.Seq2[Delivery, error] {
	return open(ctx, hsm, source, policy, deliveryMagic)
}

// OpenDeletions is Open for a message that asks for physical deletions: the acquisition number is the request's number.
func OpenDeletions(ctx context.Context, hsm Decrypter, source io.Reader, policy symbol.CheckDigit) iter.Seq2[Delivery, error] {
	return open(ctx, hsm, source, policy, deletionMagic)
}

func open(ctx context.Context, hsm Decrypter, source io.Reader, policy symbol.CheckDigit, purpose magic) iter.Seq2[Delivery, error] {
	return func(yield func(Delivery, error) bool) {
		r := &reader{source: bufio.NewReaderSize(source, 64<<10), policy: policy}
		if err := r.start(ctx, hsm, purpose); err != nil {
			yield(Delivery{}, fmt.Errorf("opening the %s: %w", purpose, err))
			return
		}
		r.frame = secret.New(frameSize)
		defer r.frame.Destroy()
		for {
			index := r.frames.index
			d, err := r.next(ctx)
			if err == io.EOF {
				return
			}
			if err != nil {
				err = fmt.Errorf("opening record %d of the %s: %w", index, purpose, err)
			}
			if !yield(d, err) || err != nil && !Refused(err) {
				return
			}
		}
	}
}

// Refused reports whether the error is about one authentic record only: its code or its acquisition number is not
// valid. The records after it are read as usual.
func Refused(err error) bool {
	return errors.Is(err, symbol.ErrResidentCode) || errors.Is(err, symbol.ErrCheckDigit) || errors.Is(err, symbol.ErrAcquisitionNumber)
}

type reader struct {
	source *bufio.Reader // ciphertext only
	frames *frames
	frame  *secret.Bytes
	policy symbol.CheckDigit
}

func (r *reader) start(ctx context.Context, hsm Decrypter, purpose magic) error {
	header, version, wrapped, err := purpose.decodeHeader(r.source)
	if err != nil {
		return err
	}
	key, err := hsm.Decrypt(ctx, keyLabel(version), wrapped)
	if err != nil {
		return fmt.Errorf("unwrapping its key with %s: %w", keyLabel(version), err)
	}
	defer key.Destroy()
	r.frames, err = newFrames(key.Expose(), header)
	return err
}

// next is the next delivery, or io.EOF itself after the end frame.
func (r *reader) next(ctx context.Context) (Delivery, error) {
	if r.frames.index%256 == 0 && ctx.Err() != nil {
		return Delivery{}, ctx.Err()
	}
	kind, err := r.source.ReadByte()
	if err != nil {
		return Delivery{}, readError(err)
	}
	frame := r.frame.Expose()
	if _, err := io.ReadFull(r.source, frame); err != nil {
		return Delivery{}, readError(err)
	}
	if err := r.frames.open(kind, frame); err != nil {
		return Delivery{}, err
	}
	defer secret.Wipe(frame)
	switch {
	case kind == kindEnd:
		return Delivery{}, r.end()
	case kind != kindRecord:
		return Delivery{}, ErrFormat
	case r.frames.index > MaxDeliveries:
		return Delivery{}, ErrTooMany
	}
	return decodeRecord(frame[:plainSize], r.policy)
}

// end is io.EOF if nothing follows the end frame.
func (r *reader) end() error {
	switch _, err := r.source.ReadByte(); err {
	case nil:
		return fmt.Errorf("something follows the end: %w", ErrAltered)
	default:
		return err
	}
}

func decodeRecord(plain []byte, policy symbol.CheckDigit) (Delivery, error) {
	n := int(plain[lengthAt])
	if n > symbol.MaxAcquisitionNumber {
		return Delivery{}, fmt.Errorf("reading its acquisition number: %w", symbol.ErrAcquisitionNumber)
	}
	number, err := symbol.ParseAcquisitionNumber(string(plain[acquisitionAt : acquisitionAt+n]))
	if err != nil {
		return Delivery{}, err
	}
	code, err := symbol.ParseResidentCode(plain[:symbol.ResidentCodeSize], policy)
	return Delivery{AcquisitionNumber: number, Code: code}, err
}
