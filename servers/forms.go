package servers

import (
	"errors"
	"fmt"
	"net/netip"

	"netwatch"
	"netwatch/edit"
)

// What netwatch has no word of its own for: one value in a file of a common form.
var (
	yamlFile = byKey("yaml", edit.YAML, "KEY")
	iniFile  = byKey("ini", edit.INI, "SECTION.KEY")
	envFile  = byKey("env", edit.Env, "KEY")
)

// keyOption and familyOption are what a step says of such a value.
const (
	keyOption    = "key"
	familyOption = "family"
)

// byKey is any file of a form. One value of it is our address, of one family.
func byKey(name string, form edit.Form, key string) Server {
	return Server{
		Name: name, Named: "the server's own option",
		Options: []Option{
			{Name: keyOption, Usage: key, Bare: true, Check: form.Check},
			{Name: familyOption, Usage: "ipv4|ipv6", Check: func(value string) error {
				return new(netwatch.Family).UnmarshalText([]byte(value))
			}},
		},
		Rewrite: func(conf []byte, w Wanted) (text []byte, word string, err error) { return newValue(form, conf, w) },
		Advertised: func(conf []byte, o Options) []netip.Addr {
			value, err := form.Get(conf, o[keyOption])
			if a := parseAddress(value.Text); err == nil && a.IsValid() {
				return []netip.Addr{a}
			}
			return nil
		},
		Blind: "what it would do then is not known",
	}
}

// newValue is conf with the public address at a key. Whatever else it has there may mean
// more than an address: that is refused.
func newValue(form edit.Form, conf []byte, w Wanted) (text []byte, word string, err error) {
	if err := w.check(); err != nil {
		return nil, "", err
	}
	family := netwatch.Family(w.Options[familyOption])
	if family == "" {
		family = netwatch.IPv4
	}
	key := w.Options[keyOption]
	value, err := form.Get(conf, key)
	switch to := w.Public[family].Address; {
	case errors.Is(err, edit.ErrMissing):
		return nil, "", netwatch.WithHint(fmt.Errorf("%s: %w", key, err),
			"write the key into the file, with an address or with nothing")
	case err != nil:
		return nil, "", err
	case !isAddress(value.Text):
		return nil, "", notAddress(value)
	case !to.IsValid():
		return conf, fmt.Sprintf("no public %s address is known", family), nil
	case parseAddress(value.Text) == to:
		return conf, "", nil
	default:
		text, err = form.Set(conf, key, to.String())
		return text, "", err
	}
}

// isAddress says whether a value is an address, or empty. A zone can be any text, as
// "; KEY=1" is, so that one with a zone is none.
func isAddress(text string) bool {
	a, err := netip.ParseAddr(text)
	return text == "" || err == nil && a.Zone() == ""
}

// notAddress is the refusal of a value that is something else.
func notAddress(value edit.Value) error {
	return netwatch.WithHint(value.Wrong("the value is neither an address nor empty"),
		"if it is a template, name the file that is made of it; else put an address there by hand, once")
}
