//go:build !race

package simulate

// slowness is how much longer everything takes.
const slowness = 1
