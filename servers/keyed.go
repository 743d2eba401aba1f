package servers

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"netwatch"
	"netwatch/edit"
)

// A keyed file holds the address of each family at a key of its own, or at several where
// the server has parts that each have theirs.
type keyed struct {
	form edit.Form
	// keys are those of a family.
	keys func(conf []byte, family netwatch.Family) ([]string, error)
	// off is what stands at a key in place of an address whose family is not to be lent,
	// and stays; empty if nothing does.
	off string
}

// errOff says that a family is not to be lent.
var errOff = errors.New("it is off")

// rewrite gives each key that is there the address of its family. A file without an
// address gets one (Wanted.lacks).
func (k keyed) rewrite(conf []byte, w Wanted) (text []byte, word string, err error) {
	if err := w.check(); err != nil {
		return nil, "", err
	}
	text, names := conf, false
	bare := map[netwatch.Family][]string{} // The keys that are not there
	for _, family := range netwatch.Families {
		keys, err := k.keys(conf, family)
		if err != nil {
			return nil, "", err
		}
		for _, key := range keys {
			is, there, err := k.get(text, key)
			switch {
			case errors.Is(err, errOff):
				if w.to(family).IsValid() && family == netwatch.IPv4 {
					word = fmt.Sprintf("%s is %s, and stays so", lastPart(key), k.off)
				}
				continue
			case err != nil:
				return nil, "", err
			case !there:
				bare[family] = append(bare[family], key)
				continue
			}
			if to := w.to(family); to.IsValid() && is != to {
				is = to
				if text, err = k.form.Set(text, key, to.String()); err != nil {
					return nil, "", err
				}
			}
			names = names || is.IsValid()
		}
	}
	text, err = k.add(text, w, bare, names)
	return text, cmp.Or(word, w.foreign(names)), err
}

// lastPart is a key without what it is below.
func lastPart(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// get is the address at a key, invalid if it is empty, and whether the key is there.
func (k keyed) get(text []byte, key string) (is netip.Addr, there bool, err error) {
	value, err := k.form.Get(text, key)
	if errors.Is(err, edit.ErrMissing) {
		return is, false, nil
	}
	switch {
	case err == nil && k.off != "" && value.Text == k.off:
		err = errOff
	case err == nil && !isAddress(value.Text):
		err = notAddress(value)
	}
	return parseAddress(value.Text), true, err
}

// add writes the keys that a file lacks.
func (k keyed) add(text []byte, w Wanted, bare map[netwatch.Family][]string, names bool) (_ []byte, err error) {
	for _, family := range netwatch.Families {
		if !w.lacks(family, names) {
			continue
		}
		for _, key := range bare[family] {
			if text, err = k.form.Add(text, key, w.to(family).String()); err != nil {
				return nil, err
			}
		}
	}
	return text, nil
}

// advertised are the addresses at the keys, the first one of each family.
func (k keyed) advertised(conf []byte, _ Options) (all []netip.Addr) {
	for _, family := range netwatch.Families {
		keys, _ := k.keys(conf, family)
		for _, key := range keys {
			if a, _, err := k.get(conf, key); err == nil && a.IsValid() {
				all = append(all, a)
				break
			}
		}
	}
	return all
}
