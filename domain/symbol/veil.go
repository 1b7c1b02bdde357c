package symbol

import "kiroku/domain/secret"

// veiled keeps a symbol from being printed as it is, and from lying in a heap dump.
type veiled struct{ v secret.Veiled }

func veil(b [Size]byte) veiled { return veiled{secret.Veil(b)} }

func (v veiled) reveal() [Size]byte { return v.v.Reveal() }
