package access

import (
	"os/user"
	"strconv"
	"sync"
)

// Group is the group whose members may do with the daemon what root may, and read what
// it did.
const Group = "netwatch"

// GroupID is the id of Group, or -1. It is looked up once: to read the file of groups
// for everybody who connects would be too much. A group that is made later counts from
// the next start on.
var GroupID = sync.OnceValue(func() int {
	if g, err := user.LookupGroup(Group); err == nil {
		if id, err := strconv.Atoi(g.Gid); err == nil {
			return id
		}
	}
	return -1
})
