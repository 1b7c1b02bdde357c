package symbol

// CheckDigit computes the check digit of the first ten digits of a resident code; digits and result are ASCII. The
// law leaves the formula to a notice of the minister (住民基本台帳法施行規則1条), so it is a policy to be set, not a
// constant. It must not keep the slice. A nil CheckDigit stands for Mod11.
type CheckDigit func(first10 []byte) byte

func (p CheckDigit) of(first10 []byte) byte {
	if p == nil {
		return Mod11(first10)
	}
	return p(first10)
}

// Mod11 is the default policy, the formula that an individual number (個人番号) uses: from the right the digits weigh
// 2, 3, 4, 5, 6, 7, 2, 3, 4, 5; with r the weighted sum modulo 11, the check digit is 11 − r, or 0 where r ≤ 1.
//
// It detects every error in one digit but these: the wrong digit turns r from 0 to 1 or from 1 to 0, both of which
// have the check digit 0. So an undetected one-digit error needs a code that ends in 0 and a change by d in a digit
// of weight w with w·d ≡ ±1 (mod 11). The same holds for two neighbouring digits exchanged.
func Mod11(first10 []byte) byte {
	sum := 0
	for i := range first10 {
		sum += int(first10[len(first10)-1-i]-'0') * (2 + i%6)
	}
	if r := sum % 11; r > 1 {
		return '0' + byte(11-r)
	}
	return '0'
}
