package projectiontest

import (
	"encoding/base64"
	"encoding/hex"
)

// Forms returns each secret as it is, in hexadecimal and in base64.
func Forms(secrets ...[]byte) (all [][]byte) {
	for _, s := range secrets {
		all = append(all, s, []byte(hex.EncodeToString(s)),
			[]byte(base64.RawStdEncoding.EncodeToString(s)), []byte(base64.RawURLEncoding.EncodeToString(s)))
	}
	return all
}
