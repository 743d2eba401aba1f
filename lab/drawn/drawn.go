// Package drawn lets the tests of properties draw the same texts and numbers in every run:
// whether a change passes is no matter of luck. "make fuzz" draws others, and many more.
package drawn

import (
	"flag"

	_ "pgregory.net/rapid" // Whose flag is set here
)

// Err is why they do not, if rapid has no such flag any more.
var Err = flag.Set("rapid.seed", "1")
