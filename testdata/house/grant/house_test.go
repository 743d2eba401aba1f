package grant

import (
	"fmt"
	"os"
	"testing"
)

// TestHouse is run by house_test.go in the copy that has one more of each: what they
// need is granted.
func TestHouse(t *testing.T) {
	n, err := Load(os.Getenv("HOUSE_CONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(n.units, n.reads, n.rotations); got != os.Getenv("HOUSE_NEEDS") {
		t.Error(got)
	}
}
