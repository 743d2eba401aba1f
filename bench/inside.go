package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// insideWord is the first word when this program runs in the server, or in a
// namespace of the lab.
const insideWord = "inside"

// inside has this program do some work in the server, and reads what came of it.
func (b *bench) inside(ctx context.Context, result any, work string, words ...string) error {
	text, err := b.server.Exec(ctx, append([]string{self, insideWord, work}, words...)...)
	if err != nil {
		return err
	}
	return json.NewDecoder(strings.NewReader(text)).Decode(result)
}

// serveInside does one piece of work there and prints what came of it as JSON.
func serveInside(words []string) error {
	result, err := workInside(words[0], words[1:])
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

func workInside(work string, words []string) (any, error) {
	switch work {
	case "spawn":
		return spawnInside(words[0])
	case "arrive":
		return arriveInside(words[0])
	case "usage":
		return usageInside(words)
	case "wakes":
		return wakesInside(words)
	case "web":
		return nil, webInside()
	}
	return nil, fmt.Errorf("there is no work %q", work)
}
