package jukinet

import (
	"bufio"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"fmt"
	"io"
	"iter"

	"kiroku/domain/secret"
	"kiroku/domain/symbol"
)

// Seal writes a message of the deliveries, for whoever holds the private key of public, which is the HSM's
// "juki/<keyVersion>". It is the counterpart of Open that stands for Juki-net in development; in production Juki-net
// does this. The codes stay the caller's to destroy. It refuses destroyed codes, acquisition numbers that are not
// valid, and more than MaxDeliveries; what was written by then is no complete message.
func Seal(w io.Writer, public *rsa.PublicKey, keyVersion uint8, deliveries iter.Seq[Delivery]) error {
	return seal(w, public, keyVersion, deliveries, deliveryMagic)
}

// SealDeletions is Seal for a message that asks for physical deletions, the counterpart of OpenDeletions.
func SealDeletions(w io.Writer, public *rsa.PublicKey, keyVersion uint8, deletions iter.Seq[Delivery]) error {
	return seal(w, public, keyVersion, deletions, deletionMagic)
}

func seal(w io.Writer, public *rsa.PublicKey, keyVersion uint8, deliveries iter.Seq[Delivery], purpose magic) error {
	out := bufio.NewWriterSize(w, 64<<10) // ciphertext only
	frames, err := sealHeader(out, public, keyVersion, purpose)
	if err != nil {
		return fmt.Errorf("sealing the %s: %w", purpose, err)
	}
	frame := secret.New(frameSize)
	defer frame.Destroy()
	for d := range deliveries {
		index := frames.index
		if err := sealRecord(out, frames, frame.Expose(), d); err != nil {
			return fmt.Errorf("sealing record %d of the %s: %w", index, purpose, err)
		}
	}
	if err := sealFrame(out, frames, kindEnd, frame.Expose()); err != nil {
		return fmt.Errorf("sealing the end of the %s: %w", purpose, err)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing the %s: %w", purpose, err)
	}
	return nil
}

func sealHeader(w io.Writer, public *rsa.PublicKey, keyVersion uint8, purpose magic) (*frames, error) {
	key := secret.New(keySize)
	defer key.Destroy()
	if _, err := rand.Read(key.Expose()); err != nil {
		return nil, fmt.Errorf("drawing its key: %w", err)
	}
	wrapped, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, public, key.Expose(), nil)
	if err != nil {
		return nil, fmt.Errorf("wrapping its key for %s: %w", keyLabel(keyVersion), err)
	}
	header := purpose.encodeHeader(keyVersion, wrapped)
	if _, err := w.Write(header); err != nil {
		return nil, err
	}
	return newFrames(key.Expose(), header)
}

func sealRecord(w io.Writer, f *frames, frame []byte, d Delivery) error {
	number, err := symbol.ParseAcquisitionNumber(string(d.AcquisitionNumber))
	if err != nil {
		return err
	}
	digits := d.Code.Expose()
	if len(digits) != symbol.ResidentCodeSize {
		return fmt.Errorf("its code is destroyed: %w", symbol.ErrResidentCode)
	}
	if f.index >= MaxDeliveries {
		return ErrTooMany
	}
	copy(frame, digits)
	frame[lengthAt] = byte(len(number))
	copy(frame[acquisitionAt:], number)
	return sealFrame(w, f, kindRecord, frame)
}

// sealFrame encrypts and writes the frame, and leaves it all zeros.
func sealFrame(w io.Writer, f *frames, kind byte, frame []byte) error {
	defer clear(frame)
	f.seal(kind, frame)
	if _, err := w.Write([]byte{kind}); err != nil {
		return err
	}
	_, err := w.Write(frame)
	return err
}
