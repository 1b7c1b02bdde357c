package main

import (
	"fmt"
	"strings"
	"time"

	"kiroku/cmd/kiroku/internal/pki"
)

// pkiCmd is kiroku pki.
type pkiCmd struct {
	Dev     pkiDevCmd     `cmd:"" help:"Make an authority and officials' certificates for development."`
	JukiNet pkiJukiNetCmd `cmd:"" name:"juki-net" help:"Make a message that asks for deletions, as Juki-net would, for development."`
}

// pkiDevCmd is kiroku pki dev.
type pkiDevCmd struct {
	Out       string `required:"" placeholder:"DIR" help:"Folder for the files; made if it is not there."`
	Officials int    `default:"2" help:"How many officials, 2 to 32."`
}

// Help teaches.
func (pkiDevCmd) Help() string {
	return `Makes an authority and officials with made-up roles, for development and demonstrations: certificates and private keys in PEM, valid for a year, the keys readable by their owner only. It writes over no file.

A core that is told of the authority at its first start takes these officials' approvals; see kiroku authorities for later. The authority's certificate says that it is for development: a core whose token is not the development token that kiroku makes refuses it, unless it is told --set officials.allow_development=true. In production the authority is the government's own, and each official's key lies where nobody else can use it.

Example:

    kiroku pki dev --out officials
    kiroku serve --set officials.ca_file=officials/authority.pem`
}

// Run makes them.
func (cmd pkiDevCmd) Run(c *call) error {
	made, err := pki.Develop(cmd.Out, cmd.Officials, time.Now())
	if err != nil {
		return fmt.Errorf("making officials for development: %w", err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "authority: %s\n", made.Authority)
	for _, o := range made.Officials {
		fmt.Fprintf(&text, "%s, %s: %s, %s\n", o.Name, o.Role, o.Certificate, o.Key)
	}
	fmt.Fprintf(&text, "valid until %s; for a core: --set officials.ca_file=%s\n", made.ValidTo.Format(time.RFC3339), made.Authority)
	return c.print(made, text.String())
}
