package main_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestLossesOnTheCommandLine: a core that has just begun knows no day that is over, so it must refuse, and say why.
func TestLossesOnTheCommandLine(t *testing.T) {
	b := openBureau(t)
	today := time.Now().In(time.FixedZone("JST", 9*60*60)).Format(time.DateOnly)
	eventually(t, "a day is opened", func() bool {
		all, _ := planned(t, b.data, "--all")
		return len(all.Days) > 0
	})
	b.addHold() // so that something stands on the day
	id := uuid.Must(uuid.NewV7()).String()
	b.refuses(map[string]refusal{
		"today":                  {[]string{"retention", "lost", "propose", today, "--reason", "x", "--id", id}, "the day is not over"},
		"a day that is unknown":  {[]string{"retention", "lost", "propose", "2019-04-01", "--reason", "x"}, "not found"},
		"no day":                 {[]string{"retention", "lost", "propose", "2019-04-31", "--reason", "x"}, "2019-04-31"},
		"no reason":              {[]string{"retention", "lost", "propose", today}, "--reason"},
		"an approval of nothing": {append([]string{"retention", "lost", "approve", strings.Repeat("0", 64), "--yes"}, b.as("officials", "official-1")...), "not found"},
		"a release":              {append([]string{"retention", "lost", "approve", b.proposeRelease(b.addHold()), "--yes"}, b.as("officials", "official-1")...), "nothing was signed"},
		"nothing to acknowledge": {[]string{"retention", "lost", "acknowledge", today, "--reason", "reported"}, "no loss"},
		"acknowledging no day":   {[]string{"retention", "lost", "acknowledge", "--reason", "reported"}, "<day>"},
	})
	if list := b.json("retention", "lost", "list"); len(list["days"].([]any)) != 0 || len(list["proposals"].([]any)) != 0 {
		t.Errorf("%v", list)
	}
	if text := b.run("retention", "lost", "list").must(t).out; !strings.Contains(text, "FOUND MISSING") {
		t.Error(text)
	}
	help := b.run("retention", "lost", "propose", "--help").must(t).out
	for _, taught := range []string{"Nothing here destroys a key", "two different officials", "kiroku retention lost approve"} {
		if !strings.Contains(strings.Join(strings.Fields(help), " "), taught) {
			t.Errorf("the help does not teach %q:\n%s", taught, help)
		}
	}
	if b.process.stop(t) != 0 {
		t.Error("the core ended badly")
	}
}
