package netwatch

import "errors"

// hinted is an error with a remedy.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// WithHint adds a remedy to err: one sentence that says what to do.
func WithHint(err error, hint string) error { return hinted{err, hint} }

// Hint is the remedy of err, or empty. If several errors in the chain have one, it is
// that of the outermost.
func Hint(err error) string {
	var h hinted
	if errors.As(err, &h) {
		return h.hint
	}
	return ""
}

// GrantHint is the remedy where the daemon may not read a file that the
// configuration names.
const GrantHint = "run `netwatch grant` as root, which lets the user netwatch read it, " +
	"as each start and reload of netwatch.service does; any other user needs setfacl(1)"
