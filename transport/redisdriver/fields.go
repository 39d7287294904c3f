package redisdriver

import (
	"github.com/anywire/anywire/transport/driver"
)

const (
	attributePrefix = "ce_"
	contentType     = "content-type"
	keyField        = attributePrefix + "partitionkey"
	bodyField       = "data"
	packedField     = "ce"
)

// decodeEntry makes a message of an entry's fields, names and values in turn.
// What it does not know comes up as it is; nothing is an error.
func decodeEntry(fields []string) *driver.Message {
	m := &driver.Message{}
	for i := 0; i+1 < len(fields); i += 2 {
		name, value := fields[i], fields[i+1]
		switch name {
		case bodyField:
			m.Body = []byte(value)
			continue
		case keyField:
			m.Key = value
		}
		m.Headers = append(m.Headers, driver.Header{Name: name, Value: value})
	}
	return m
}
