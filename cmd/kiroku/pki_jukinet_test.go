package main_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// TestAMessageOfJukiNetForDevelopment asks for deletions as the core takes them, and is made for no other token.
func TestAMessageOfJukiNetForDevelopment(t *testing.T) {
	b := officeWithPeople(t)
	message := filepath.Join(b.folder, "deletion.msg")
	b.run("pki", "juki-net", "--person", "0,3", "--out", message).must(t)
	var answer struct {
		Requests []struct{ Number, Proposal, Error string }
	}
	if err := json.Unmarshal([]byte(b.run("deletion", "propose", message, "--reason", "clerical error", "--json").must(t).out), &answer); err != nil {
		t.Fatal(err)
	}
	if len(answer.Requests) != 2 || answer.Requests[0].Number != "D-0" || answer.Requests[1].Proposal == "" {
		t.Errorf("%+v", answer)
	}
	b.refuses(map[string]refusal{
		"nobody": {[]string{"pki", "juki-net", "--person=-1", "--out", message}, "from 0"},
		"another token": {[]string{"pki", "juki-net", "--person", "1", "--out", message, "--set", "hsm.token.module=/nowhere.so", "--set", "hsm.token.label=production", "--set", "hsm.token.pin_file=/nowhere"},
			"not the development token"},
	})
	if empty := kiroku(t, "pki", "juki-net", "--person", "1", "--out", message, "--data", filepath.Join(b.folder, "empty")); empty.code == 0 || !strings.Contains(empty.err, "keys init") {
		t.Errorf("without a token: %s%s", empty.out, empty.err)
	}
}
