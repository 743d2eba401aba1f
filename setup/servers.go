package setup

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"netwatch"
	"netwatch/config"
	"netwatch/machine"
)

// A kept is a server whose file is kept right: what its rules say of it.
type kept struct {
	name, unit, file string
	// do are the steps for another address, and moves those for another one of this machine,
	// at which it listens; none where it needs none.
	do, moves []string
	// words are said of the first rule.
	words string
	// itself says that it asks for its address itself, and its file says none.
	itself bool
}

// usable are the other servers whose files can be given an address.
func usable(m machine.Machine) (all []machine.Server) {
	for _, s := range m.Servers {
		if s.Refused == nil {
			all = append(all, s)
		}
	}
	return all
}

// keptOnes are all that rules are written for.
func keptOnes(m machine.Machine) (all []kept) {
	for _, t := range m.Turns {
		all = append(all, keptTurn(t))
	}
	for _, s := range usable(m) {
		all = append(all, keptServer(s))
	}
	return all
}

func keptTurn(t machine.Turn) kept {
	rotate, restart := "rotate coturn "+word(t.File), "restart "+word(t.Unit)
	if t.Auto {
		rotate += " private=auto"
	}
	var verify []string
	if t.Unproven == nil {
		verify = []string{"verify turn " + word(t.File)}
	}
	k := kept{
		name: "coturn", unit: t.Unit, file: t.File, do: append([]string{rotate, restart}, verify...),
		words: said("restart", true, t.Unproven),
	}
	if !t.Elsewhere { // Else it listens on none of this machine's
		k.moves = append([]string{"probe stun", rotate, restart + " always"}, verify...)
	}
	return k
}

func keptServer(s machine.Server) kept {
	k := kept{
		name: s.Name, unit: s.Unit, file: s.File, do: s.Steps(s.File, s.Unit, s.Text, false),
		itself: s.Itself != nil && s.Itself(s.Text), words: said(s.Follow, s.Proven(), s.CheckProof(s.Text)),
	}
	if s.Loses && s.CheckProof(s.Text) != nil {
		k.words += "# The second " + s.Follow + " opens what the first may have closed: a port of TCP or TLS.\n"
	}
	if s.Binds {
		k.moves = append([]string{"probe stun"}, s.Steps(s.File, s.Unit, s.Text, true)...)
	}
	return k
}

// said is what each rule that puts a file right says of itself.
func said(follow string, proven bool, unproven error) string {
	text := "# The " + follow + " is skipped when the file was right."
	switch {
	case errors.Is(unproven, machine.ErrWaysIn):
		text += "\n# No verify asks as a caller does: " + unproven.Error() +
			".\n# Where they are the same as in there, write it behind the restart."
	case unproven != nil:
		text += "\n# No verify asks as a caller does, for want of credentials in its file:\n# " +
			unproven.Error() + ". netwatch doctor says what to do."
	case proven:
		text += " A caller's way in proves it."
	}
	return text + "\n"
}

// keep writes the rules for one server. Where there are several, that somebody rewrote the
// file of one is no reason to touch another: only an event that has a file can fit a match
// that names one, so that it needs a rule of its own.
func (d *draft) keep(k kept, alone bool) {
	stem := strings.TrimSuffix(k.unit, ".service")
	name, all := quote(stem), steps(k.do...)
	switch {
	case k.itself:
		fmt.Fprintf(d, "\n# The address is another: %s of %s asks for it itself, and only when it starts.\n"+
			"# The first address that netwatch learns is no other one.\n"+
			"[[rule]]\nname  = %s\non    = [\"ip-changed\"]\nmatch = { old = \"?*\" }\ndo    = %s\n",
			k.name, netwatch.Printable(k.unit), name, all)
	case alone:
		fmt.Fprintf(d, "\n# The address is another, or somebody rewrote the file of %s: put it right.\n%s"+
			"[[rule]]\nname = %s\non   = [\"started\", \"ip-changed\", \"file-changed\"]\ndo   = %s\n",
			netwatch.Printable(stem), k.words, name, all)
	default:
		fmt.Fprintf(d, "\n# The address is another: put the file of %s right.\n%s[[rule]]\nname = %s\n"+
			"on   = [\"started\", \"ip-changed\"]\ndo   = %s\n", netwatch.Printable(stem), k.words, name, all)
		fmt.Fprintf(d, "\n# Somebody rewrote that file, and not that of another server.\n"+
			"[[rule]]\nname  = %s\non    = [\"file-changed\"]\nmatch = { file = %s }\ndo    = %s\n",
			quote(stem+" rewritten"), quote(exactly(k.file)), all)
	}
	if k.moves != nil {
		fmt.Fprintf(d, "\n# This machine has other addresses by which callers come in: %s must be started to\n"+
			"# listen on them, also where the public one is the same. Those of containers are none.\n"+
			"[[rule]]\nname   = %s\non     = [\"addr-changed\"]\nmatch  = { use = \"callers\" }\nsettle = \"5s\"\n"+
			"do     = %s\n", k.name, quote(stem+" moves"), steps(k.moves...))
	}
}

// certDrain is how long callers of a server may go on when it is started again for a new
// certificate, which is no haste: less than systemd waits by itself.
const certDrain = "60s"

// startedFor are the steps by which the other servers that serve a certificate read it
// again, and what is said of them.
func (d *draft) startedFor(c machine.Certificate) (steps, words []string) {
	for _, s := range usable(d.Machine) {
		if s.Certificate.File != c.File {
			continue
		}
		drain := s.Drain
		if drain != "" {
			drain = certDrain
		}
		steps = append(steps, quote(s.FollowStep(s.Unit, false, drain)))
		words = append(words, s.Name+" reads it\n# only when it starts.")
	}
	return steps, words
}

// A Later is a drop-in that comes of the mark that netwatch grant will write, by the
// configuration.
type Later struct {
	Mark, File string
	// Text is what it says.
	Text string
	// Moves is what it writes into the server's own file first, which names no address; empty
	// where that names one.
	Moves string
}

// later are the drop-ins that the configuration in force will have.
func later(m machine.Machine, cfg *config.Config) (all []Later) {
	var rotated []string
	for _, r := range cfg.Needs().Rewrites {
		rotated = append(rotated, r.Server+" "+r.File)
	}
	for _, s := range m.Servers {
		text := s.Flag.Wanted()
		if text != "" && slices.Contains(rotated, s.Name+" "+s.File) && !s.Flag.Marked {
			all = append(all, Later{s.Flag.Mark(), s.Flag.DropIn(), text, moves(s)})
		}
	}
	return all
}

// moves is what is to be written into the file of a server before the option is left out.
func moves(s machine.Server) string {
	if s.Text == nil || !s.Flag.Address.IsValid() || len(s.Advertised(s.Text, nil)) > 0 {
		return ""
	}
	return fmt.Sprintf("%s %s into %s, which names no address", s.Key, s.Flag.Address, s.File)
}

// print shows what it will say.
func (l Later) print(w io.Writer) {
	fmt.Fprintf(w, "\nnetwatch grant, which each start of netwatch.service does, will write %s,\n"+
		"by which systemd makes %s each time that it reads its units\n",
		netwatch.Printable(l.Mark), netwatch.Printable(l.File))
	for line := range strings.Lines(l.Text) {
		fmt.Fprintf(w, "    + %s\n", netwatch.Printable(strings.TrimRight(line, "\n")))
	}
	if l.Moves != "" {
		fmt.Fprintf(w, "and write before that %s\n", netwatch.Printable(l.Moves))
	}
}
