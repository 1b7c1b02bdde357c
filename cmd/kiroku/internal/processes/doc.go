// Package processes harms the real processes of kiroku (the store, the core, the demonstration) as machines and people
// do: killed, paused, cut off, out of disk, without their token, with a wrong clock. It holds tests only, and promises
// whoever operates kiroku what they assert: nothing that was acknowledged is lost, nothing is there twice, no stream ever
// has two histories, errors say what to do, and what was harmed goes on by itself once the cause is gone.
//
// The store and kiroku serve are the program as built. Because commands have no network interface, the cores
// that take them are the test binary itself, started again: the node of kiroku serve behind a pipe. The test
// plays the agencies' gateways, which repeat each command with its id until it is answered, at whichever core answers.
package processes
