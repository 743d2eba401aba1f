package actions

import (
	"maps"

	"netwatch"
)

// told is what a program and a notice are told of a run, by name: its newest event
// with every field that any event may have, and the public addresses. What is not
// known is empty.
func told(job netwatch.Job) map[string]string {
	ev := job.Event
	values := maps.Clone(ev.Fields)
	if values == nil {
		values = map[string]string{}
	}
	maps.DeleteFunc(values, func(field, _ string) bool { return netwatch.CheckField(field) != nil })
	for _, field := range netwatch.FieldNames() {
		values[field] = ev.Fields[field]
	}
	for _, family := range netwatch.Families {
		values[string(family)] = ""
		if known, ok := job.Confirmed[family]; ok {
			values[string(family)] = known.Address.String()
		}
	}
	values["event"], values["id"], values["source"] = ev.Name, ev.ID, ev.Source
	return values
}
