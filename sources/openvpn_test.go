package sources

import (
	"os/user"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOpenVPNUsers(t *testing.T) {
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.ParseUint(nobody.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	s := &OpenVPN{Users: []string{"nobody"}}
	for id, may := range map[uint32]bool{uint32(uid): true, uint32(uid) - 1: false, 0: false} {
		if got := s.MayFire(id); got != may {
			t.Errorf("user %d may fire: %v", id, got)
		}
	}
}

func TestOpenVPNMistakes(t *testing.T) {
	s := &OpenVPN{Users: []string{"root", "no such user", "root"}}
	want := []Mistake{{"users", 1, `"no such user" is no user of this machine`}, {"users", 2, "root is there twice"}}
	if diff := cmp.Diff(want, s.Check()); diff != "" {
		t.Errorf("wanted (-) and found (+):\n%s", diff)
	}
	if all := newOpenVPN().Check(); len(all) > 0 {
		t.Errorf("the defaults are wrong: %v", all)
	}
}
