package netwatch

import "time"

// Moments are when what happened because of a change of our public address. A moment
// that did not come, or is not known, is zero.
type Moments struct {
	// Confirmed is when a server last said the address before.
	Confirmed time.Time `json:"confirmed,omitzero"`
	// Noticed is when there was first a reason to look, or, without one, when the look
	// found the new address out.
	Noticed time.Time `json:"noticed,omitzero"`
	// Accepted is when the new address was believed.
	Accepted time.Time `json:"accepted,omitzero"`
	// Rewritten is when the last file was another, Restarted when the last unit that
	// depends on one was started again, and Proven when the last proof was made.
	Rewritten time.Time `json:"rewritten,omitzero"`
	Restarted time.Time `json:"restarted,omitzero"`
	Proven    time.Time `json:"proven,omitzero"`
}

// Wrong is for how long callers were told an address that was no longer ours, in
// seconds: it cannot be known more exactly than between two bounds.
type Wrong struct {
	Least float64 `json:"least"`
	Most  float64 `json:"most"`
}

// What a change of our public address is noticed by.
const (
	// BySTUN is a poll that nothing else had led to.
	BySTUN = "stun"
	// ByRouter is what the router said.
	ByRouter = "router"
	// ByKernel is another address, link or way out.
	ByKernel = "kernel"
	// ByFile is a file or certificate that became another.
	ByFile = "file"
	// ByPeer is another machine.
	ByPeer = "peer"
	// ByFire is an event that a person or a program fired.
	ByFire = "fire"
)

// What a change of our public address was seen after, if not at once.
const (
	// AfterOutage is a time in which no server answered.
	AfterOutage = "outage"
	// AfterStop is a time in which netwatch did not run.
	AfterStop = "stop"
)
