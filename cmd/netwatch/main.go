// Netwatch keeps network-dependent services right when the network moves. See
// netwatch(8).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"netwatch"
	"netwatch/config"
	"netwatch/control"
)

// version is set when a release is built.
var version = "devel"

// The exit codes.
const (
	exitFailed       = 1 // a step failed, or there is a mistake in the configuration
	exitUsage        = 2
	exitUnreachable  = 3
	exitNotPermitted = 4
)

// errFailed ends a command whose failure is already on the screen.
var errFailed = errors.New("failed")

func main() {
	os.Exit(run(os.Args[1:], standardOutput(), standardError()))
}

// run is the whole program, without the process.
func run(args []string, stdout, stderr *output) int {
	if h, ok := parseHook(args); ok {
		return h.run(stderr)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := &command{stdout: stdout, stderr: stderr}
	root := c.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := proposed(root.ExecuteContext(ctx))
	if failed := stdout.failed(); failed != nil {
		err = fmt.Errorf("writing what was asked for: %w", failed)
	}
	if err != nil && !errors.Is(err, errFailed) {
		within(lastWords, func() { printError(stderr, err) })
	}
	return c.exitCode(err)
}

// proposed makes a hint of what cobra proposes below the error about an unknown command.
func proposed(err error) error {
	if err == nil {
		return nil
	}
	head, names, found := strings.Cut(err.Error(), "\n\nDid you mean this?\n")
	if !found {
		return err
	}
	return netwatch.WithHint(errors.New(head), "did you mean "+strings.Join(strings.Fields(names), " or ")+"?")
}

// lastWords is how long the reader of the error may take before netwatch ends all the
// same.
const lastWords = 2 * time.Second

// within calls f, and returns when f has returned or d is over.
func within(d time.Duration, f func()) {
	done := make(chan struct{})
	go func() { // Ends with f, or the process.
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(d):
	}
}

// A command is what all commands have in common.
type command struct {
	stdout, stderr *output
	// config is the file of --config.
	config string
	json   bool
	// parsed says that the command line was right and the command has begun.
	parsed bool
}

func (c *command) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "netwatch",
		Short: "Keep network-dependent services right when the network moves",
		Long: "netwatch notices when the public address, the VPN or a certificate changes, makes the\n" +
			"services that depend on it follow, and proves that they did. See netwatch(8).",
		Version:          version,
		SilenceUsage:     true,
		SilenceErrors:    true,
		PersistentPreRun: func(*cobra.Command, []string) { c.parsed = true },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return netwatch.WithHint(err, cmd.CommandPath()+" --help says what there is")
	})
	root.PersistentFlags().StringVarP(&c.config, "config", "c", defaultConfig(), "configuration `FILE`")
	root.AddCommand(
		c.runCommand(), c.fireCommand(), c.hookCommand(), c.checkCommand(),
		c.statusCommand(), c.historyCommand(), c.reportCommand(), c.dismissCommand(),
		c.probeCommand(), c.initCommand(), c.setCommand(), c.doctorCommand(), c.grantCommand(), c.generateCommand(),
		c.helperCommand(), c.versionCommand(),
	)
	return root
}

// defaultConfig is $NETWATCH_CONFIG, or else the file of an installation.
func defaultConfig() string {
	if file := os.Getenv("NETWATCH_CONFIG"); file != "" {
		return file
	}
	return config.DefaultFile
}

// jsonFlag gives a command that prints data the flag --json.
func (c *command) jsonFlag(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&c.json, "json", false, "print JSON")
	return cmd
}

func (c *command) versionCommand() *cobra.Command {
	return c.jsonFlag(&cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if c.json {
				return c.printJSON(map[string]string{"version": version})
			}
			_, err := fmt.Fprintln(c.stdout, "netwatch", version)
			return err
		},
	})
}

// client is a client of the daemon of the configuration. A configuration that does
// not exist, or has mistakes elsewhere, keeps nobody from asking.
func (c *command) client() (*control.Client, error) {
	socket, err := config.Socket(c.config)
	if err != nil {
		return nil, err
	}
	return control.NewClient(string(socket)), nil
}

// exitCode is the exit code for an error.
func (c *command) exitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case !c.parsed, errors.Is(err, control.ErrUnknownEvent), errors.As(err, new(usageError)):
		return exitUsage
	case errors.Is(err, control.ErrUnreachable):
		return exitUnreachable
	case errors.Is(err, control.ErrNotPermitted), errors.Is(err, fs.ErrPermission):
		return exitNotPermitted
	}
	return exitFailed
}

// A usageError is a wrong command line that only the command itself can notice.
type usageError struct{ error }

// withRemedy is a mistake, and below it what to do, if that is known.
func withRemedy(m config.Mistake) string {
	if m.Hint == "" {
		return m.Error()
	}
	return m.Error() + "\nhint: " + m.Hint
}

// printError prints an error with its remedy; the mistakes of a configuration one on a
// line, each with its own.
func printError(w io.Writer, err error) {
	if mistakes := config.Mistakes(nil); errors.As(err, &mistakes) {
		_, _ = fmt.Fprintln(w, mistakes.Lines(withRemedy))
		return
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	for _, part := range netwatch.Parts(err) {
		_, _ = fmt.Fprintln(w, "netwatch:", lines(part.Error(), "    "))
		if hint := netwatch.Hint(part); hint != "" {
			_, _ = fmt.Fprintln(w, "hint:", shown(strings.TrimSuffix(hint, ".")))
		}
	}
}
