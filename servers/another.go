package servers

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"netwatch"
)

// ErrLasting says that there are only credentials which are good for ever, and so not to be
// given to another machine.
var ErrLasting = errors.New("it has passwords alone, and one would be given to another machine for good")

// ForAnother is a credential that another machine may have, by what its file offers: it is
// good for a minute, and has a name of its own, so that nobody's quota is used up.
func (s Server) ForAnother(o *Offer, file string, now time.Time) (*Credential, error) {
	words := s.Words.Of(file)
	switch {
	case o.Secret != "":
		return byExpiry(o.Secret, now.Add(credentialTime), ":"+hashed(rand.Text())+o.Behind), nil
	case slices.Contains(o.Credentials, nil):
		return nil, netwatch.WithHint(errors.New(words.Nobody), words.Ends)
	}
	return nil, netwatch.WithHint(ErrLasting, words.Ends)
}

// ForAnother is one for the TURN server in LiveKit of a version. Until 1.12 those are good as
// long as the key is (read in its source).
func (c Calls) ForAnother(v Version, now time.Time) (*Credential, error) {
	if !v.AtLeast(1, 12) {
		is := "which version this one is cannot be found out"
		if v != (Version{}) {
			is = fmt.Sprintf("this one is %d.%d", v.Major, v.Minor)
		}
		return nil, netwatch.WithHint(fmt.Errorf("up to LiveKit 1.11 credentials are good for ever, and %s", is),
			"install LiveKit 1.12 or newer, or leave out from=")
	}
	who, until := "netwatch-"+rand.Text(), now.Add(credentialTime).Unix()
	sum := sha256.Sum256(fmt.Appendf(nil, "%s|%s|%d", c.Secret, who, until))
	return &Credential{Name: base62(fmt.Appendf(nil, "%s|%s|%d", c.Key, who, until)), Password: base62(sum[:])}, nil
}

const base62Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// base62 is how LiveKit writes bytes in letters and digits: six bits, the lowest first, are
// one of them; those for which there is none give five and leave the sixth to the next.
func base62(bytes []byte) string {
	n, six, text := new(big.Int).SetBytes(bytes), big.NewInt(1<<6-1), []byte(nil)
	for left := 8 * len(bytes); left > 0; {
		bits, size := new(big.Int).And(n, six).Int64(), 6
		if bits&0x1e == 0x1e {
			if left > size || bits&(1<<5) != 0 {
				size = 5
			}
			bits &= 1<<5 - 1
		}
		text = append(text, base62Letters[bits])
		n.Rsh(n, uint(size))
		left -= size
	}
	return string(text)
}
