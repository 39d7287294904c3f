// Package value holds the scalars of anywire's configuration file that Go has
// no type for: secrets, sizes, durations in days, ranges of durations.
//
// They are for structs that a YAML entry fills, such as a driver's Options:
//
//	type Options struct {
//		Password value.Secret   `yaml:"password" doc:"password of the user" example:"${REDIS_PASSWORD}"`
//		MaxBytes value.Size     `yaml:"max_bytes" doc:"bytes kept at most" default:"1GiB"`
//		MaxAge   value.Duration `yaml:"max_age" doc:"age of the oldest message kept" default:"7d"`
//	}
//
// Each type reads its text with UnmarshalText and writes it with MarshalText,
// so encoding/json, flag.TextVar and the package config work with it alike.
// The zero value of each means "not given". All are plain values: they may be
// copied and read by several goroutines; all but secrets may be compared
// with ==.
package value
