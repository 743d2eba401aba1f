// Package packaging holds what an installation brings that the program must know.
package packaging

import _ "embed"

// Configuration is the netwatch.toml that an installation puts into place: an
// example that nobody has written.
//
//go:embed netwatch.toml
var Configuration []byte
