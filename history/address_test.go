package history

import (
	"testing"

	"netwatch"
)

// What is printed as an address is one, whatever stands in the file.
func TestAddressWithAnyText(t *testing.T) {
	var all Addresses
	for _, text := range []string{"2001:db8::7", "2001:db8::8%x\nhint: \x1b[31m"} {
		all.Add(netwatch.Entry{
			Kind: netwatch.EntryEvent, Moments: &netwatch.Moments{}, Fields: map[string]string{"new": text},
		})
	}
	if len(all.all) != 1 || all.all[0].Address.String() != "2001:db8::7" {
		t.Errorf("%+v", all.all)
	}
}
