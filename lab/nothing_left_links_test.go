//go:build lab

package lab

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netwatch"
)

// link is one of a document to another file.
var link = netwatch.Pattern(`\]\(([^):#]+)\)`)

// linked wants the links of all documents in a directory to lead to something in it.
func linked(t *testing.T, dir string) {
	t.Helper()
	documents := 0
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".md") {
			return err
		}
		documents++
		text, err := os.ReadFile(path)
		for _, m := range link().FindAllStringSubmatch(string(text), -1) {
			if _, missing := os.Stat(filepath.Join(filepath.Dir(path), m[1])); missing != nil {
				t.Errorf("%s has a link to %s, which is not there", path, m[1])
			}
		}
		return err
	}))
	if documents < 2 {
		t.Errorf("%s has %d documents", dir, documents)
	}
}
