package setup

import "testing"

// What is installed elsewhere has its examples there.
func TestExamplesAreBesideTheProgram(t *testing.T) {
	for program, want := range map[string]string{
		"/usr/bin/netwatch":       "/usr/share/doc/netwatch/examples/",
		"/usr/local/bin/netwatch": "/usr/local/share/doc/netwatch/examples/",
	} {
		if got := (&Plan{program: program}).examples(); got != want {
			t.Errorf("of %s they are %s", program, got)
		}
	}
}
