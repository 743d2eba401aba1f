package netwatch

import "errors"

// hinted is an error with a remedy.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// WithHint adds a remedy to err: one sentence that says what to do. It takes the place
// of one that err has already: who adds one knows more than what went wrong there.
func WithHint(err error, hint string) error { return hinted{err, hint} }

// Hint is the remedy of err, or empty. If several errors in the chain have one, it is
// that of the outermost. Of several errors that were joined each has its own: see Parts.
func Hint(err error) string {
	var h hinted
	if errors.As(err, &h) {
		return h.hint
	}
	return ""
}

// Parts are the errors that errors.Join made err of, each with a remedy of its own, or
// err alone.
func Parts(err error) (all []error) {
	several, is := err.(interface{ Unwrap() []error })
	if !is {
		return []error{err}
	}
	text := ""
	for _, part := range several.Unwrap() {
		text += "\n" + part.Error()
		all = append(all, Parts(part)...)
	}
	if text != "\n"+err.Error() { // It is one that wraps several, as by fmt.Errorf
		return []error{err}
	}
	return all
}

// GrantHint is the remedy where the daemon may not read a file that the
// configuration names.
const GrantHint = "run `netwatch grant` as root, which lets the user netwatch read it, " +
	"as each start and reload of netwatch.service does; any other user needs setfacl(1)"
