package sources

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"netwatch"
)

// A File is the settings of a source that emits file-changed when somebody else
// than netwatch gave a file another content.
type File struct {
	// Files are watched, over all symlinks. One that is not there is waited for.
	Files []netwatch.Path `toml:"files"`
}

func newFile() Settings { return &File{} }

// Check lists what is wrong beyond the types of single values.
func (s *File) Check() []Mistake { return checkFiles("files", s.Files) }

// checkFiles says what is wrong with a list of files: it is empty, or has one twice.
func checkFiles(key string, files []netwatch.Path) (all []Mistake) {
	if len(files) == 0 {
		all = append(all, Mistake{key, -1, "there is no file to watch"})
	}
	for i, file := range files {
		if slices.Contains(files[:i], file) {
			all = append(all, Mistake{key, i, fmt.Sprintf("%s is there twice", file)})
		}
	}
	return all
}

// Claims are the files: the state keeps one fingerprint for each.
func (s *File) Claims() (key string, values []string) { return claimFiles(s.Files) }

func claimFiles(files []netwatch.Path) (key string, values []string) {
	for _, file := range files {
		values = append(values, string(file))
	}
	return "files", values
}

// Needs are the files.
func (s *File) Needs() Needs { return Needs{Watches: s.Files} }

// Source makes the source.
func (s *File) Source(name string, env Env) netwatch.Source {
	f := newFollower(name, netwatch.FileChanged, env, s.Files, nil, readContent)
	f.wrote, f.reopen = env.Wrote, env.Reopen
	return f
}

// readContent sees a file by its whole content.
func readContent(file string) (sight, error) {
	text, err := readFile(file)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return sight{}, netwatch.WithHint(err, netwatch.GrantHint)
	case err != nil:
		return sight{}, err
	}
	return sight{fingerprint: netwatch.Fingerprint(text)}, nil
}
