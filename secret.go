package netwatch

import "errors"

// maxSecret is how many bytes a file may have that holds a secret.
const maxSecret = 64 << 10

// ReadSecret reads a small file. It refuses one that every user may read or change. Its
// errors do not name the file: who calls does.
func ReadSecret(file string) (string, error) {
	f, info, err := OpenRegular(file, 0)
	if err != nil {
		return "", errors.Unwrap(err)
	}
	defer f.Close()
	if info.Mode().Perm()&0o007 != 0 {
		err := errors.New("every user may read or change it, and it may hold a secret")
		return "", WithHint(err, "chmod o= "+ShellPath(file))
	}
	text, err := ReadWhole(f, maxSecret)
	return string(text), err
}
