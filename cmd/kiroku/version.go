package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// versionCmd is kiroku version.
type versionCmd struct{}

// Help teaches.
func (versionCmd) Help() string {
	return `Prints the revision this program was built from, and the Go release it was built with.

Example:

    kiroku version --json`
}

// Run prints the version.
func (versionCmd) Run(c *call) error {
	v := struct {
		Version  string `json:"version"`
		Revision string `json:"revision,omitempty"`
		Modified bool   `json:"modified,omitempty"`
		Go       string `json:"go"`
		System   string `json:"system"`
	}{Version: "unknown", Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		v.Version = info.Main.Version
		for _, setting := range info.Settings {
			switch setting.Key {
			case "vcs.revision":
				v.Revision = setting.Value
			case "vcs.modified":
				v.Modified = setting.Value == "true"
			}
		}
	}
	text := "kiroku " + v.Version
	if v.Revision != "" {
		text += " (" + v.Revision + ")"
	}
	return c.print(v, fmt.Sprintf("%s, built with %s for %s", text, v.Go, v.System))
}
