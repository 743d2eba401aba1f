package access

import (
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"testing"
)

// Users and groups are found by name and by number; with a group of its own a unit has that,
// and its others beside the user's.
func TestReader(t *testing.T) {
	group := func(name string) (gid uint32) {
		t.Helper()
		g, err := user.LookupGroup(name)
		if err != nil {
			t.Fatal(err)
		}
		_, err = fmt.Sscan(g.Gid, &gid)
		if err != nil {
			t.Fatal(err)
		}
		return gid
	}
	daemon := group("daemon")
	number := strconv.Itoa(int(daemon))
	nobody, err := Lookup("nobody")
	if err != nil || nobody.UID == 0 {
		t.Fatalf("nobody is %+v, %v", nobody, err)
	}
	for _, name := range []string{"nobody", strconv.Itoa(nobody.UID)} {
		u, err := Reader{User: name, Group: number, Groups: []string{"root", number}}.Lookup()
		if err != nil || u.UID != nobody.UID || u.GID != int(daemon) ||
			!slices.Equal(u.Groups, append(slices.Clone(nobody.Groups), 0, daemon)) {
			t.Errorf("%s is %+v, %v", name, u, err)
		}
	}
	if u, err := (Reader{User: "nobody"}).Lookup(); err != nil || u.GID != nobody.GID {
		t.Errorf("without a group it is %+v, %v", u, err)
	}
	for _, r := range []Reader{
		{User: "61007"},
		{User: "no-such"},
		{User: "root", Group: "no-such"},
		{User: "root", Groups: []string{"61007"}},
	} {
		if u, err := r.Lookup(); err == nil {
			t.Errorf("%+v is %+v", r, u)
		}
	}
}

// Who has no name goes by his number, and is in no group.
func TestNameless(t *testing.T) {
	if NameOf(0) != "root" || NameOf(61007) != "61007" {
		t.Errorf("they are called %s and %s", NameOf(0), NameOf(61007))
	}
	if u, err := lookupID(61007); err != nil || u.UID != 61007 || u.GID != nobody || u.Groups != nil {
		t.Errorf("%+v %v", u, err)
	}
}

// The group is netwatch's where it is there, and nobody's otherwise.
func TestGroupID(t *testing.T) {
	want := -1
	if g, err := user.LookupGroup(Group); err == nil {
		if _, err := fmt.Sscan(g.Gid, &want); err != nil {
			t.Fatal(err)
		}
	}
	if got := GroupID(); got != want {
		t.Errorf("it is %d, not %d", got, want)
	}
}
