package main

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"kiroku/adapters/datadir"
	"kiroku/adapters/hsm"
	"kiroku/adapters/jukinet"
	"kiroku/cmd/kiroku/internal/demo"
	"kiroku/domain/symbol"
)

// pkiJukiNetCmd is kiroku pki juki-net.
type pkiJukiNetCmd struct {
	Person []int  `required:"" placeholder:"N" help:"Which made-up people of the demonstration to delete, counted from 0."`
	Out    string `required:"" placeholder:"FILE" help:"File for the message."`
}

// Help teaches.
func (pkiJukiNetCmd) Help() string {
	return `Makes a message that asks for physical deletions (物理削除要求電文) as Juki-net (住民基本台帳ネットワークシステム) sends them: about made-up people of kiroku demo, encrypted for the development token in the data directory. With it a deletion can be tried from end to end. It works with the development token only: in production such messages come from Juki-net alone, and resident codes (住民票コード) are on no command line.

Example:

    kiroku demo --people 100 --inquiries 200 --data /tmp/kiroku-demo
    kiroku pki juki-net --person 3 --out deletion.msg --data /tmp/kiroku-demo`
}

// errNotForDevelopment: what stands for Juki-net must not come near a token that is in use.
var errNotForDevelopment = errors.New("the configured token is not the development token in the data directory; messages for it come from Juki-net alone")

// Run makes it.
func (cmd pkiJukiNetCmd) Run(c *call) error {
	settings, err := c.configuration()
	if err != nil {
		return err
	}
	if !settings.HSM.Development() {
		return fmt.Errorf("making a message of Juki-net: %w", errNotForDevelopment)
	}
	if len(cmd.Person) > mostDeletions {
		return fmt.Errorf("making a message of Juki-net: %w", errTooManyRequests)
	}
	text, err := c.publicPart(settings, hsm.LabelJuki)
	if err != nil {
		return err
	}
	message, err := cmd.message(text)
	if err != nil {
		return fmt.Errorf("making a message of Juki-net: %w", err)
	}
	if err := datadir.WritePrivate(cmd.Out, message); err != nil {
		return err
	}
	return c.print(map[string]any{"file": cmd.Out, "requests": len(cmd.Person)},
		fmt.Sprintf("%s asks for %d deletions; next: kiroku deletion propose %s --reason …", cmd.Out, len(cmd.Person), cmd.Out))
}

func (cmd pkiJukiNetCmd) message(public []byte) ([]byte, error) {
	block, _ := pem.Decode(public)
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%s is no RSA key", hsm.LabelJuki)
	}
	var message bytes.Buffer
	var failed error
	err = jukinet.SealDeletions(&message, key, 1, func(yield func(jukinet.Delivery) bool) {
		for _, n := range cmd.Person {
			more, err := deliver(n, yield)
			if failed = err; err != nil || !more {
				return
			}
		}
	})
	return message.Bytes(), errors.Join(failed, err)
}

// deliver hands over the request for one person.
func deliver(n int, yield func(jukinet.Delivery) bool) (more bool, err error) {
	if n < 0 {
		return false, errors.New("people are counted from 0")
	}
	code, err := demo.ResidentCode(n)
	if err != nil {
		return false, err
	}
	defer code.Destroy()
	return yield(jukinet.Delivery{AcquisitionNumber: symbol.AcquisitionNumber(fmt.Sprint("D-", n)), Code: code}), nil
}
