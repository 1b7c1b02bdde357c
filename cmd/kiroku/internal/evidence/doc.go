// Package evidence proves, to whoever has to answer for the core, three of its promises on the whole of it rather than on
// its parts: that after work is done no secret lies anywhere outside the token, that whatever is changed in the ledger is
// noticed and named by stream and event, and that what ended cannot be brought back from whatever was copied before. It
// consists of tests only; they run the core on its real parts and the program as it is shipped.
package evidence
