package main_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"kiroku/adapters/jukinet"
	"kiroku/cmd/kiroku/internal/demo"
	"kiroku/domain/symbol"
)

// juki is the key for which Juki-net encrypts.
func (b *bureau) juki() *rsa.PublicKey {
	b.t.Helper()
	block, _ := pem.Decode([]byte(b.run("keys", "export-public", "juki/1").must(b.t).out))
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		b.t.Fatal(err)
	}
	return key.(*rsa.PublicKey)
}

type sealer = func(io.Writer, *rsa.PublicKey, uint8, iter.Seq[jukinet.Delivery]) error

// message is a file of Juki-net's about people of the demonstration.
func (b *bureau) message(seal sealer, people ...int) string {
	b.t.Helper()
	var text bytes.Buffer
	err := seal(&text, b.juki(), 1, func(yield func(jukinet.Delivery) bool) {
		for _, n := range people {
			code, err := demo.ResidentCode(n)
			if err != nil {
				b.t.Error(err)
				return
			}
			more := yield(jukinet.Delivery{AcquisitionNumber: symbol.AcquisitionNumber(fmt.Sprint("D-", n)), Code: code})
			code.Destroy()
			if !more {
				return
			}
		}
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return b.write(text.Bytes())
}

func (b *bureau) write(text []byte) string {
	b.t.Helper()
	path := filepath.Join(b.t.TempDir(), "message")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// TestDeletionsAreProposedAndApproved from Juki-net's message to two officials' approvals.
func TestDeletionsAreProposedAndApproved(t *testing.T) {
	folder := t.TempDir()
	kiroku(t, "demo", "--people", "40", "--inquiries", "60", "--data", filepath.Join(folder, "data"), "--set", "statistics.connection=off").must(t)
	b := openBureauIn(t, folder)
	const nobody = 1_000_000
	id := uuid.Must(uuid.NewV7()).String()
	propose := []string{"deletion", "propose", b.message(jukinet.SealDeletions, 0, nobody, 3), "--reason", "clerical error", "--id", id, "--json"}
	first := b.run(propose...)
	var answer struct {
		Requests []struct{ Number, Proposal, Error string }
	}
	if err := json.Unmarshal([]byte(first.out), &answer); err != nil || len(answer.Requests) != 3 {
		t.Fatalf("%v: %s%s", err, first.out, first.err)
	}
	made := answer.Requests
	if made[0].Number != "D-0" || made[0].Proposal == "" || made[2].Proposal == "" || made[0].Proposal == made[2].Proposal {
		t.Errorf("%+v", made)
	}
	if first.code != 2 || made[1].Proposal != "" || !strings.Contains(made[1].Error, "unknown") || !strings.Contains(first.err, "1 of 3") {
		t.Errorf("somebody who is not there: exit status %d, %+v, %s", first.code, made[1], first.err)
	}
	if again := b.run(propose...); again.out != first.out {
		t.Errorf("the same command again: %s, and before %s", again.out, first.out)
	}
	proposal := made[0].Proposal
	for _, official := range []string{"official-1", "official-2"} {
		b.run(append([]string{"deletion", "approve", proposal, "--yes"}, b.as("officials", official)...)...).must(t)
	}
	if s := b.state("deletion", "proposal", proposal) + ", " + b.state("deletion", "proposal", made[2].Proposal); s != "approved, open" {
		t.Error(s)
	}
	if n := len(b.json("deletion", "list")["proposals"].([]any)); n != 2 {
		t.Errorf("%d proposals", n)
	}
	list := b.run("deletion", "list").must(t).out
	if !strings.Contains(list, "issuance@") || strings.Contains(list, "D-0") {
		t.Error(list)
	}
}

func TestMessagesThatAskForNoDeletion(t *testing.T) {
	b := openBureau(t)
	whole, err := os.ReadFile(b.message(jukinet.SealDeletions, 1, 2))
	if err != nil {
		t.Fatal(err)
	}
	many := make([]int, 501)
	propose := func(path string) []string { return []string{"deletion", "propose", path, "--reason", "clerical error"} }
	b.refuses(map[string]refusal{
		"a delivery":         {propose(b.message(jukinet.Seal, 1)), "not such a message"},
		"no message":         {propose(b.write([]byte("hello"))), "cut short"},
		"half a message":     {propose(b.write(whole[:len(whole)-50])), "cut short"},
		"an altered message": {propose(b.write(append(whole[:len(whole)-1:len(whole)-1], whole[len(whole)-1]^1))), "altered"},
		"one for nobody":     {propose(b.message(jukinet.SealDeletions)), "asks for none"},
		"too many":           {propose(b.message(jukinet.SealDeletions, many...)), "more than 500"},
		"too long":           {propose(b.write(make([]byte, 70_000))), "at most 65536"},
		"none":               {propose("none.msg"), "none.msg"},
		"no reason":          {[]string{"deletion", "propose", b.message(jukinet.SealDeletions, 1)}, "--reason"},
	})
	if n := len(b.json("deletion", "list")["proposals"].([]any)); n != 0 {
		t.Errorf("%d proposals came of that", n)
	}
}
