package config

import "reflect"

// Keys are the keys that a struct takes.
var Keys = keys

// RuleKeys are the keys of a [[rule]].
func RuleKeys() []string { return keys(reflect.TypeFor[rule]()) }

// Slip lets tests see which event a name is taken for.
var Slip = slip
