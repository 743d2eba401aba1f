package access

// A Reader is the user of a unit of systemd that has to be able to read a file.
type Reader struct {
	// Unit is its name.
	Unit string `json:"unit"`
	// User, Group and Groups are as User=, Group= and SupplementaryGroups= say,
	// names or numbers (systemd.exec(5)). Without a Group it is the user's own.
	User   string   `json:"user"`
	Group  string   `json:"group,omitempty"`
	Groups []string `json:"groups,omitempty"`
}

// Lookup finds the user, with the groups of the unit.
func (r Reader) Lookup() (User, error) {
	u, err := Lookup(r.User)
	if err != nil {
		return u, err
	}
	if r.Group != "" {
		if u.GID, err = lookupGroup(r.Group); err != nil {
			return u, err
		}
	}
	for _, name := range r.Groups {
		gid, err := lookupGroup(name)
		if err != nil {
			return u, err
		}
		u.Groups = append(u.Groups, uint32(gid)) //nolint:gosec // It was one.
	}
	return u, nil
}
