package servers

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"netwatch"
)

// Where the keys are elsewhere, the step to write is told, and nothing of the file's that
// would be more than a path in it.
func TestKeysElsewhere(t *testing.T) {
	for file, want := range map[string]string{
		"/etc/livekit/keys.yaml":        "write keys=/etc/livekit/keys.yaml behind",
		"keys.yaml":                     "write keys=PATH behind",
		`/k", "exec /bin/x`:             "write keys=PATH behind",
		"/k always":                     "write keys=PATH behind",
		"/" + strings.Repeat("k", 4096): "write keys=PATH behind",
	} {
		_, err := livekitCalls(fmt.Appendf(nil, "key_file: %q\n", file), nil)
		if hint := netwatch.Hint(err); !errors.Is(err, ErrNoKeys) || !strings.Contains(hint, want) || len(err.Error()) > 200 {
			t.Errorf("%.80s: %v, hint %.200s", file, err, hint)
		}
	}
}
