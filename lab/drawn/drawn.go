// Package drawn lets the tests of properties draw the same texts and numbers in every run:
// whether a change passes is no matter of luck. "make fuzz" draws others, and many more.
package drawn

import (
	"flag"

	_ "pgregory.net/rapid" // Whose flag is set here
)

func init() {
	if err := flag.Set("rapid.seed", "1"); err != nil {
		panic(err)
	}
}
