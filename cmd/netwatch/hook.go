package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/config"
	"netwatch/control"
	"netwatch/sources"
)

// hookTime is how long a hook may wait for the daemon. OpenVPN stands still
// meanwhile, and the program also needs about 3 ms to start.
const hookTime = 6 * time.Millisecond

// A hook is one call of netwatch hook openvpn.
type hook struct {
	config string
	args   []string
}

// parseHook finds a hook in a command line without what the other commands need: a
// hook may take neither time nor threads. It leaves everything else to cobra, and
// questions for help too. Flags stand before the arguments, which OpenVPN appends.
// Unknown flags count as arguments, since what OpenVPN calls must not fail.
func parseHook(words []string) (h hook, ok bool) {
	h.config = defaultConfig()
	for _, name := range []string{"hook", "openvpn"} {
		words = h.flags(words)
		if len(words) == 0 || words[0] != name {
			return h, false
		}
		words = words[1:]
	}
	h.args = h.flags(words)
	return h, len(h.args) == 0 || h.args[0] != "-h" && h.args[0] != "--help"
}

// flags takes --config, in all its forms, from the beginning of words.
func (h *hook) flags(words []string) (rest []string) {
	for len(words) > 0 {
		name, value, joined := strings.Cut(words[0], "=")
		switch {
		case joined && (name == "--config" || name == "-c"):
		case (name == "--config" || name == "-c") && len(words) > 1:
			value, words = words[1], words[1:]
		case strings.HasPrefix(words[0], "-c") && words[0] != "-c":
			value = words[0][len("-c"):]
		default:
			return words
		}
		h.config, words = value, words[1:]
	}
	return nil
}

// run tells the daemon, and prints on stderr in one line what went wrong. It returns
// the exit code. That is 0, since a script that fails can end OpenVPN, except where 0
// would let everybody in.
func (h hook) run(stderr io.Writer) int {
	signal.Ignore(unix.SIGPIPE) // Who does not read what went wrong must not end us
	if os.Getenv("script_type") == "auth-user-pass-verify" {
		complain(stderr, errors.New("a hook is no judge of passwords: auth-user-pass-verify must name another program"))
		return exitFailed
	}
	defer func() { _ = recover() }()
	if err := h.tell(time.Now().Add(hookTime)); err != nil {
		complain(stderr, fmt.Errorf("telling the daemon about OpenVPN: %w", err))
	}
	return 0
}

func (h hook) tell(deadline time.Time) error {
	socket, err := config.Socket(h.config)
	if err != nil {
		return err
	}
	return control.Tell(string(socket), h.request(), deadline)
}

// request is what the daemon is told. OpenVPN does not wait for what follows.
func (h hook) request() control.Request {
	return control.Request{
		Event: netwatch.VPNChanged, Source: "openvpn", Fields: sources.OpenVPNFields(h.args, os.Getenv), NoWait: true,
	}
}

// complain prints an error and its remedy as one line, for the log of OpenVPN, unless
// it would have to wait for that.
func complain(w io.Writer, err error) {
	if !writable(w) {
		return
	}
	text := "netwatch: " + err.Error()
	if hint := netwatch.Hint(err); hint != "" {
		text += "; hint: " + hint
	}
	_, _ = io.WriteString(w, strings.ReplaceAll(text, "\n", " ")+"\n")
}

// hookCommand is there for help and completion; parseHook finds the hooks.
func (c *command) hookCommand() *cobra.Command {
	openvpn := &cobra.Command{
		Use: "openvpn [ARG...]", Short: "What OpenVPN's scripts are to be",
		Long: "Tells the daemon that OpenVPN runs a script, as vpn-changed. " +
			"It is for ipchange, up, route-up, route-pre-down,\n" +
			"down, client-connect, client-disconnect and learn-address, with script-security 2 in OpenVPN's configuration:\n\n" +
			"    ipchange \"/usr/bin/netwatch hook openvpn\"\n\n" +
			"It waits for the daemon 6 ms at most and exits 0, whether the daemon is there or not.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if (hook{c.config, args}).run(cmd.ErrOrStderr()) != 0 {
				return errFailed
			}
			return nil
		},
	}
	cmd := &cobra.Command{
		Use: "hook", Short: "What other programs run to tell the daemon something",
		RunE: func(_ *cobra.Command, args []string) error {
			return usageError{fmt.Errorf("looking for the hook: %q is none; there is openvpn", strings.Join(args, " "))}
		},
	}
	cmd.AddCommand(openvpn)
	return cmd
}
