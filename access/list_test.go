package access

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"netwatch"
	_ "netwatch/lab/drawn" // Alike in every run
)

// TestPermitted is each rule of acl(5) once; that the kernel reckons alike is
// tested on real files where there is a root to be.
func TestPermitted(t *testing.T) {
	st := &unix.Stat_t{Uid: 10, Gid: 20}
	masked := func(mask perm, more ...entry) list {
		return append(append(modeList(0o604), entry{maskEntry, mask, noID}), more...)
	}
	for name, c := range map[string]struct {
		user    User
		entries list
		want    bool
	}{
		"owner":                       {User{UID: 10, GID: 1}, modeList(0o400), true},
		"owner, whatever others may":  {User{UID: 10, GID: 20}, modeList(0o077), false},
		"group":                       {User{UID: 1, GID: 20}, modeList(0o040), true},
		"group, whatever others may":  {User{UID: 1, GID: 20}, modeList(0o704), false},
		"another group of his":        {User{UID: 1, GID: 2, Groups: []uint32{3, 20}}, modeList(0o040), true},
		"others":                      {User{UID: 1, GID: 2}, modeList(0o004), true},
		"nobody":                      {User{UID: 1, GID: 2}, modeList(0o770), false},
		"named":                       {User{UID: 1, GID: 2}, masked(4, entry{userEntry, 4, 1}), true},
		"named, masked":               {User{UID: 1, GID: 2}, masked(3, entry{userEntry, 4, 1}), false},
		"named, whatever others may":  {User{UID: 1, GID: 2}, masked(7, entry{userEntry, 0, 1}), false},
		"another is named":            {User{UID: 1, GID: 2}, masked(7, entry{userEntry, 0, 5}), true},
		"named group":                 {User{UID: 1, GID: 2}, masked(4, entry{namedGroup, 4, 2}), true},
		"one of two groups":           {User{UID: 1, GID: 20, Groups: []uint32{3}}, masked(4, entry{namedGroup, 4, 3}), true},
		"named group, masked":         {User{UID: 1, GID: 2}, masked(1, entry{namedGroup, 4, 2}), false},
		"named, with an empty mask":   {User{UID: 1, GID: 2}, masked(0, entry{userEntry, 0, 1}), true},
		"owner, whatever the mask is": {User{UID: 10, GID: 2}, masked(0), true},
	} {
		if got := c.user.permitted(c.entries, st, mayRead); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestParseACL(t *testing.T) {
	value := []byte{2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 110, 0, 0, 0}
	want := list{{ownerEntry, 6, 1<<32 - 1}, {userEntry, 4, 110}}
	if diff := cmp.Diff(want, parse(value), cmp.AllowUnexported(entry{})); diff != "" {
		t.Error(diff)
	}
	for _, value := range [][]byte{nil, {2, 0}, {1, 0, 0, 0, 1, 0, 6, 0, 1, 0, 0, 0}, {2, 0, 0, 0, 1, 0}} {
		if got := parse(value); got != nil {
			t.Errorf("%v: %v", value, got)
		}
	}
}

func TestValue(t *testing.T) {
	l := modeList(0o640).put(entry{maskEntry, 4, noID}).put(entry{userEntry, 4, 998})
	if diff := cmp.Diff(l, parse(l.value()), cmp.AllowUnexported(entry{})); diff != "" {
		t.Error(diff)
	}
}

// me is whom the lists of these tests are changed for.
const me = 7

// text is a list as setfacl(1) takes it, without the owner.
func (l list) text() string {
	var words []string
	for _, e := range l[1:] {
		tag := map[uint16]string{userEntry: "u", groupEntry: "g", namedGroup: "g", maskEntry: "m", otherEntry: "o"}[e.tag]
		id := ""
		if e.named() {
			id = fmt.Sprint(e.id)
		}
		words = append(words, tag+":"+id+":"+strings.ReplaceAll(e.perm.String(), "-", ""))
	}
	return strings.Join(words, " ")
}

// What is given, and what is left once it is taken back.
func TestGive(t *testing.T) {
	with := func(mode uint32, more ...entry) list {
		l := modeList(mode)
		for _, e := range more {
			l = l.put(e)
		}
		return l
	}
	mask := func(p perm) entry { return entry{maskEntry, p, noID} }
	for name, c := range map[string]struct {
		list               list
		want               perm
		given, taken, fail string
	}{
		"Debian's coturn.conf": {with(0o640), 4, "u:7:r g::r m::r o::", "g::r o::", ""},
		"for its owner alone":  {with(0o600), 4, "u:7:r g:: m::r o::", "g:: o::", ""},
		"its group may write":  {with(0o660), 4, "u:7:r g::rw m::rw o::", "g::rw o::", ""},
		"YunoHost's coturn.conf": {
			with(0o640, entry{userEntry, 4, 3}, mask(4)), 4, "u:3:r u:7:r g::r m::r o::",
			"u:3:r g::r m::r o::", "",
		},
		"YunoHost's directory": {
			with(0o750, entry{userEntry, 5, 9}, mask(5)), 5, "u:7:rx u:9:rx g::rx m::rx o::",
			"u:9:rx g::rx m::rx o::", "",
		},
		"a mask that masks nobody": {
			with(0o600, entry{namedGroup, 1, 9}, mask(1)), 4, "u:7:r g:: g:9:x m::rx o::",
			"g:: g:9:x m::rx o::", "",
		},
		"an entry of an admin's": {
			with(0o700, entry{userEntry, 1, me}, mask(1)), 5, "u:7:rx g:: m::rx o::",
			"u:7:x g:: m::rx o::", "",
		},
		"a mask against somebody":    {with(0o640, entry{userEntry, 6, 3}, mask(2)), 4, "", "", "a mask"},
		"a mask against the group":   {with(0o640, entry{userEntry, 1, 3}, mask(1)), 4, "", "", "a mask"},
		"an empty mask, after chmod": {with(0o604, entry{userEntry, 0, 3}, mask(0)), 4, "", "", "a mask"},
	} {
		got, err := c.list.with(me, c.want)
		if c.fail != "" {
			if err == nil || !strings.Contains(err.Error(), c.fail) || netwatch.Hint(err) == "" {
				t.Errorf("%s: %s, %v", name, got.text(), err)
			}
			continue
		}
		own, _ := c.list.find(userEntry, me)
		taken := got.without(me, c.want&^own.perm)
		if err != nil || got.text() != c.given || taken.text() != c.taken {
			t.Errorf("%s: given %q, taken %q, %v, want %q, %q", name, got.text(), taken.text(), err, c.given, c.taken)
		}
	}
}

// Promise: nobody else gains or loses anything, whatever the list is; and what
// stands already is right.
func TestGiveNobodyElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perms := rapid.Custom(func(t *rapid.T) perm { return perm(rapid.Uint16Range(0, 7).Draw(t, "perm")) })
		l := modeList(rapid.Uint32Range(0, 0o777).Draw(t, "mode"))
		for _, tag := range rapid.SliceOfN(rapid.SampledFrom([]uint16{userEntry, namedGroup}), 0, 3).Draw(t, "tags") {
			l = l.put(entry{tag, perms.Draw(t, "named"), rapid.Uint32Range(1, 4).Draw(t, "id")})
			l = l.put(entry{maskEntry, perms.Draw(t, "mask"), noID})
		}
		want := rapid.SampledFrom([]perm{mayRead, maySearch, mayRead | maySearch}).Draw(t, "want")
		given, err := l.with(me, want)
		if err != nil {
			return
		}
		st := &unix.Stat_t{Uid: 1, Gid: 1}
		same := func(what string, now list) {
			for id := range 36 {
				u := User{UID: id%6 + 1, GID: id/6 + 1}
				for p := range mayAll + 1 {
					if was, is := u.permitted(l, st, p), u.permitted(now, st, p); was != is {
						t.Fatalf("%s: %+v may %s: %v, and before %v\n%s\nbefore\n%s", what, u, p, is, was, now.text(), l.text())
					}
				}
			}
		}
		same("given", given)
		if !(User{UID: me}).permitted(given, st, want) {
			t.Fatalf("it is not given by %s", given.text())
		}
		taken := given.without(me, want)
		same("taken", taken)
		if again, err := taken.with(me, want); err != nil || again.text() != given.text() {
			t.Fatalf("again it gives %s, %v, not %s", again.text(), err, given.text())
		}
	})
}
