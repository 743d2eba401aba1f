package setup

import (
	"context"
	"fmt"

	"netwatch/actions"
	"netwatch/config"
	"netwatch/rewrite"
)

// A Value is what is to stand in a configuration under a name (config.Set).
type Value struct{ Name, Text string }

// Set writes values into a configuration, all or, if one cannot be or the configuration
// would have a mistake, none.
func Set(ctx context.Context, file string, values []Value) (changed bool, err error) {
	if _, err := config.Read(file); err != nil {
		return false, fmt.Errorf("reading the configuration: %w", err)
	}
	before, after, err := rewrite.Edit{File: file, New: func(text []byte) ([]byte, error) {
		for _, v := range values {
			if text, err = config.Set(file, text, v.Name, v.Text); err != nil {
				return nil, err
			}
		}
		_, err = config.Parse(file, text, actions.Env{})
		return text, err
	}}.Do(ctx)
	return string(before) != string(after), err
}
