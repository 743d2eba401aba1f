//go:build lab

package lab

import (
	"path/filepath"
	"testing"
)

// nobody is how often tests of this process want the user to be theirs.
var nobody struct {
	wanted int
	unlock func()
}

// asNobody has this test alone run programs as the user nobody, as OpenVPN does, whom
// Debian's unit gives ten tasks: the kernel counts those of all labs of this machine as
// one user's. It waits for the tests of other processes.
func asNobody(t *testing.T) {
	t.Helper()
	if nobody.wanted == 0 {
		cache, err := cacheDir()
		must(t, err)
		nobody.unlock, err = lock(filepath.Join(cache, "nobody.lock"))
		must(t, err)
	}
	nobody.wanted++
	t.Cleanup(func() {
		if nobody.wanted--; nobody.wanted == 0 {
			nobody.unlock()
		}
	})
}
