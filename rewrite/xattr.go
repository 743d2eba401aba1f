package rewrite

import (
	"errors"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/access"
)

// An attribute is an extended attribute (xattr(7)); an access list is one of them.
type attribute struct {
	name  string
	value []byte
}

// maxAttributes is how many bytes all attributes of a file may have: on some file
// systems they can be gigabytes.
const maxAttributes = 64 << 10

var errAttributes = netwatch.WithHint(errors.New("they are larger than 64 KiB"),
	"see getfattr -m -, and take away what is too much")

// attributesOf are the attributes of a file, except those that the kernel computes
// from the content (IMA and EVM). The access list comes last: once it is set, the
// owner may not be allowed to set others.
func attributesOf(f *os.File) ([]attribute, error) {
	fd := int(f.Fd())
	size, err := unix.Flistxattr(fd, nil) // At most 64 KiB (xattr(7))
	switch {
	case errors.Is(err, unix.ENOTSUP):
		return nil, nil
	case err != nil:
		return nil, err
	case size == 0:
		return nil, nil
	}
	list := make([]byte, size)
	if size, err = unix.Flistxattr(fd, list); err != nil {
		return nil, err
	}
	var all []attribute
	sum := 0
	for name := range strings.FieldsFuncSeq(string(list[:size]), func(r rune) bool { return r == 0 }) {
		if name == "security.ima" || name == "security.evm" {
			continue
		}
		value, err := xattr(fd, name)
		if err != nil {
			return nil, err
		}
		if sum += len(name) + len(value); sum > maxAttributes {
			return nil, errAttributes
		}
		all = append(all, attribute{name, value})
	}
	isList := func(a attribute) bool { return a.name == access.Xattr }
	if i := slices.IndexFunc(all, isList); i >= 0 {
		all = append(slices.Delete(slices.Clone(all), i, i+1), all[i])
	}
	return all, nil
}

// valueOf is the value of the attribute of that name, or nil.
func valueOf(all []attribute, name string) []byte {
	for _, a := range all {
		if a.name == name {
			return a.value
		}
	}
	return nil
}

// xattr reads an extended attribute of a file. It returns nil if there is none of
// that name.
func xattr(fd int, name string) ([]byte, error) {
	size, err := unix.Fgetxattr(fd, name, nil)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	value := make([]byte, size)
	if size == 0 {
		return value, nil
	}
	size, err = unix.Fgetxattr(fd, name, value)
	return value[:max(size, 0)], err
}
