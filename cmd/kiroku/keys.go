package main

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"kiroku/adapters/datadir"
	"kiroku/adapters/hsm"
	"kiroku/cmd/kiroku/internal/config"
)

// keysCmd is kiroku keys.
type keysCmd struct {
	Init         keysInitCmd         `cmd:"" help:"Make the keys that are missing."`
	List         keysListCmd         `cmd:"" help:"List the keys and assert their attributes."`
	ExportPublic keysExportPublicCmd `cmd:"" help:"Write the public half of a key pair."`
	Rotate       keysRotateCmd       `cmd:"" help:"Replace keys that are in use."`
}

// keysInitCmd is kiroku keys init.
type keysInitCmd struct{}

// Help teaches.
func (keysInitCmd) Help() string {
	return `Makes version 1 of every standing key that the token or tokens lack, and what comes with them: in the data directory's own SoftHSM token if no other is configured, after making that. It changes no key that exists and can be repeated.

Keys are made inside the token and never leave it. Losing the token means losing what the ledger says of persons, so back it up by its maker's means.

Example:

    kiroku keys init --set hsm.token.module=/opt/vendor/pkcs11.so --set hsm.token.label=production --set hsm.token.pin_file=/run/secrets/pin`
}

// Run makes the keys.
func (keysInitCmd) Run(c *call) error {
	settings, err := c.configuration()
	if err != nil {
		return err
	}
	var token hsm.Config
	if settings.HSM.Development() {
		token, err = makeDevelopmentToken(c.ctx, settings)
	} else if token, err = tokenConfig(settings); err == nil {
		err = hsm.Init(c.ctx, token)
	}
	if err == nil {
		err = makeJukiKey(c.ctx, token)
	}
	if err != nil {
		return fmt.Errorf("making keys: %w", err)
	}
	return c.listKeys(token)
}

// makeJukiKey makes the key that Juki-net (住民基本台帳ネットワークシステム) encrypts for, where it is missing.
func makeJukiKey(ctx context.Context, token hsm.Config) error {
	opened, err := hsm.Open(ctx, token)
	if err != nil {
		return err
	}
	return errors.Join(opened.EnsureKey(ctx, hsm.LabelJuki), opened.Close())
}

// keysListCmd is kiroku keys list.
type keysListCmd struct{}

// Help teaches.
func (keysListCmd) Help() string {
	return `Lists every key of the ledger in the token or tokens, and asserts of each that it is sensitive, was never extractable, cannot be modified and has one use. A key of which that is not true is an error.

Example:

    kiroku keys list --json`
}

// Run lists.
func (keysListCmd) Run(c *call) error {
	settings, err := c.configuration()
	if err != nil {
		return err
	}
	token, err := tokenConfig(settings)
	if err != nil {
		return err
	}
	return c.listKeys(token)
}

// keyLine is a key as kiroku keys list --json shows it.
type keyLine struct {
	Label      string          `json:"label"`
	Purpose    string          `json:"purpose,omitempty"`
	Version    string          `json:"version"`
	Token      string          `json:"token"`
	Class      string          `json:"class"`
	Mechanisms []string        `json:"mechanisms"`
	Attributes map[string]bool `json:"attributes"` // flags of PKCS#11
}

// flags names the attributes that are set, sorted.
func flags(attributes map[string]bool) string {
	var set []string
	for name, on := range attributes {
		if on {
			set = append(set, strings.ToLower(strings.TrimPrefix(name, "CKA_")))
		}
	}
	slices.Sort(set)
	return strings.Join(set, " ")
}

func (c *call) listKeys(token hsm.Config) error {
	opened, err := hsm.Open(c.ctx, token)
	if err != nil {
		return fmt.Errorf("opening the token: %w", err)
	}
	defer opened.Close() //nolint:errcheck // nothing was written
	keys, err := opened.Keys(c.ctx)
	if err != nil {
		return fmt.Errorf("listing keys: %w", err)
	}
	lines := make([]keyLine, 0, len(keys))
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "LABEL\tVERSION\tPURPOSE\tTOKEN\tMECHANISMS\tATTRIBUTES")
	for _, k := range keys {
		lines = append(lines, keyLine{k.Label, string(k.Purpose), k.Version, k.Token, k.Class, k.Mechanisms, k.Attributes})
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", k.Label, k.Version, k.Purpose, k.Token, strings.Join(k.Mechanisms, " "), flags(k.Attributes))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("listing keys: %w", err)
	}
	return c.print(map[string]any{"keys": lines}, text.String())
}

// keysExportPublicCmd is kiroku keys export-public.
type keysExportPublicCmd struct {
	Label string `arg:"" optional:"" help:"Label of a key pair in the token; none: the ledger's signing keys."`
	Out   string `placeholder:"FILE" help:"Write to FILE instead of standard output."`
}

// Help teaches.
func (keysExportPublicCmd) Help() string {
	return `Without a label: writes the public keys file of the ledger, every signing key with the time it was in use. It is what kiroku verify --keys takes; keep a copy where whoever can change the ledger cannot reach it.

With a label: writes that key's public half as PEM (SubjectPublicKeyInfo), as Juki-net needs it to encrypt for the core.

Examples:

    kiroku keys export-public --out keys.pem
    kiroku keys export-public juki/1 --out juki.pem`
}

// Run exports.
func (cmd keysExportPublicCmd) Run(c *call) error {
	settings, err := c.configuration()
	if err != nil {
		return err
	}
	var text []byte
	if cmd.Label == "" {
		text, err = c.signingKeys(settings)
	} else {
		text, err = c.publicPart(settings, cmd.Label)
	}
	if err != nil {
		return err
	}
	if cmd.Out == "" {
		return c.print(map[string]string{"pem": string(text)}, string(text))
	}
	if err := datadir.WritePublic(cmd.Out, text); err != nil {
		return err
	}
	return c.print(map[string]string{"pem": string(text), "file": cmd.Out}, cmd.Out)
}

// publicPart asks the token for the public half of a key pair.
func (c *call) publicPart(settings config.Config, label string) ([]byte, error) {
	token, err := tokenConfig(settings)
	if err != nil {
		return nil, err
	}
	opened, err := hsm.Open(c.ctx, token)
	if err != nil {
		return nil, fmt.Errorf("opening the token: %w", err)
	}
	defer opened.Close() //nolint:errcheck // nothing was written
	part, err := opened.ExportPublic(c.ctx, label)
	if err != nil {
		if errors.Is(err, hsm.ErrNoKey) {
			err = fmt.Errorf("%w; kiroku keys init makes what is missing", err)
		}
		return nil, fmt.Errorf("exporting the public half of %s: %w", label, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: part.SPKI}), nil
}

// signingKeys asks the ledger for its signing keys.
func (c *call) signingKeys(settings config.Config) (text []byte, err error) {
	core, err := openLedger(c.ctx, settings, c.quiet())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, core.Close()) }()
	keys, err := publishedKeys(c.ctx, core.Store)
	if err != nil {
		return nil, err
	}
	text, err = keys.MarshalPEM()
	if err != nil {
		return nil, fmt.Errorf("writing the public keys: %w", err)
	}
	return text, nil
}
