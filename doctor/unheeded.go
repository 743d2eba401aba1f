package doctor

import (
	"fmt"

	"github.com/kballard/go-shellquote"

	"netwatch"
	"netwatch/servers"
)

// judgeUnheeded says which lines of a file that is right are not heeded, and by which step
// they would be, if that is sure. Callers of the other family get the first line's address
// too (measured, 4.6.1) or one that nothing stands for (4.18).
func judgeUnheeded(server servers.Server, r servers.Rotation, text []byte, well Finding) Finding {
	if server.Unheeded == nil {
		return well
	}
	lost := server.Unheeded(text)
	if len(lost) == 0 {
		return well
	}
	well.Level = Note
	well.Found += fmt.Sprintf(": %s heeds that alone, and no line with %s", server.Name, addresses(lost))
	well.Hint = fmt.Sprintf("take the lines with %s out of it", addresses(lost))
	for _, options := range mendings(r.Public) {
		r.Options = options
		mended, word, err := server.Rewrite(text, r.Wanted())
		if err == nil && word == "" && len(server.Unheeded(mended)) == 0 {
			well.Hint = "have the step be `" + stepOf(server, r.Target) + "`" + opened(r)
			break
		}
	}
	return well
}

// mendings are what may follow a step so that no line is in another's way: pairs where both
// families are known, or one line.
func mendings(public netwatch.Addresses) (all []servers.Options) {
	if len(public) == len(netwatch.Families) {
		all = append(all, servers.Options{"private": string(servers.PrivateAuto), "families": "ipv4,ipv6"})
	}
	return append(all, servers.Options{"private": string(servers.PrivateNone)})
}

// stepOf is the step with these options.
func stepOf(server servers.Server, t servers.Target) string {
	words := []string{"rotate", t.Server, t.File}
	for _, o := range server.Options {
		if value, given := t.Options[o.Name]; given {
			words = append(words, o.Name+"="+value)
		}
	}
	return shellquote.Join(words...)
}

// opened warns of what pairs open: the private part of one is a peer for callers, whatever
// denied-peer-ip says (measured).
func opened(r servers.Rotation) string {
	for _, a := range r.Public {
		if r.Options["private"] == string(servers.PrivateAuto) && a.Own.IsValid() && a.Own != a.Address {
			return fmt.Sprintf("; callers may then reach %s as a peer, whatever denied-peer-ip says", a.Own)
		}
	}
	return ""
}
