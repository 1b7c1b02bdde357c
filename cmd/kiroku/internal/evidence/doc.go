// Package evidence proves, to whoever has to answer for the core, two of its promises on the whole of it rather than on
// its parts: that after work is done no secret lies anywhere outside the token, and that whatever is changed in the
// ledger is noticed and named by stream and event. It consists of tests only; they run the core on its real parts and
// the program as it is shipped.
package evidence
