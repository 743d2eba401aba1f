package actions

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"netwatch"
)

// noticePauses are the pauses between tries of a notice. There is one more try than pauses.
var noticePauses = []time.Duration{time.Second, 5 * time.Second}

// A part is a text with placeholders, or a file with such a text in it.
type part struct {
	text string
	file netwatch.Path
}

// parsePart reads TEXT or @FILE.
func parsePart(word string) (part, error) {
	if name, ok := strings.CutPrefix(word, "@"); ok {
		file, err := netwatch.ParsePath(name)
		return part{file: file}, err
	}
	return part{text: word}, nil
}

// read returns the text; that of a file without the line feeds at its end. Its errors
// do not show the text, which may be secret.
func (p part) read() (string, error) {
	if p.file == "" {
		return p.text, nil
	}
	text, err := netwatch.ReadSecret(string(p.file))
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", p.file, err)
	}
	return strings.TrimRight(text, "\r\n"), nil
}

// placeholders are the values of {name} in a text, by name. What is not known is
// empty.
func placeholders(job netwatch.Job) map[string]string {
	values := told(job)
	values["host"], _ = os.Hostname()
	values["rule"], values["outcome"] = job.Ended.Rule, string(job.Ended.Outcome)
	values["step"], values["error"] = job.Ended.Step, job.Ended.Error
	return values
}

// placeholder fits {name}, and never the brace of a JSON object, which a quotation
// mark follows.
var placeholder = netwatch.Pattern(`\{[A-Za-z][A-Za-z0-9_-]*\}`)

// A filler puts the values of a run into the texts of a notice. It is whether a
// placeholder may name a field that netwatch does not know.
type filler bool

// fill replaces each {name} in a text by its value, escaped.
func (anyField filler) fill(text string, values map[string]string, escape func(string) string) (string, error) {
	var unknown error
	filled := placeholder().ReplaceAllStringFunc(text, func(found string) string {
		value, ok := values[found[1:len(found)-1]]
		if !ok && !bool(anyField) {
			unknown = fmt.Errorf("%s stands for nothing; there are %s", found,
				strings.Join(slices.Sorted(maps.Keys(values)), ", "))
		}
		return escape(value)
	})
	return filled, unknown
}

// deliver sends a notice, and tries again after a pause where send says that this may
// help.
func deliver(
	ctx context.Context, pauses []time.Duration, send func() (said string, again bool, err error),
) netwatch.Result {
	for try := 0; ; try++ {
		said, again, err := send()
		if err == nil {
			return netwatch.Result{Outcome: netwatch.Changed, Detail: said}
		}
		if !again || try == len(pauses) || ctx.Err() != nil {
			return netwatch.Failure(fmt.Errorf("sending a notice: %w", err))
		}
		pause(ctx, pauses[try])
	}
}

// pause waits for d, or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
