package sqlstore

import (
	"errors"
	"fmt"
	"strings"
)

// Dialect is the kind of database.
type Dialect uint8

// The dialects.
const (
	Postgres Dialect = iota + 1 // PostgreSQL, 13 or newer
	SQLite                      // SQLite, 3.42 or newer
)

// String is the dialect's name.
func (d Dialect) String() string {
	switch d {
	case Postgres:
		return "postgres"
	case SQLite:
		return "sqlite"
	default:
		return fmt.Sprintf("dialect %d", uint8(d))
	}
}

// maxPrefix leaves room for the tables' own names in PostgreSQL's 63 bytes.
const maxPrefix = 40

func (o *Options) check(d Dialect) error {
	switch {
	case d != Postgres && d != SQLite:
		return fmt.Errorf("sql store: %v is not known: use sqlstore.Postgres or sqlstore.SQLite", d)
	case len(o.Prefix) > maxPrefix || strings.ContainsRune(o.Prefix, 0):
		return fmt.Errorf("sql store: prefix %q has %d bytes: at most %d, and no zero byte", o.Prefix, len(o.Prefix), maxPrefix)
	case o.Schema != "" && d == SQLite:
		return fmt.Errorf("sql store: schema %q: SQLite has none, use a prefix", o.Schema)
	}
	return nil
}

// name is the quoted name of a table or an index.
func (o *Options) name(base string) string { return quote(o.Prefix + base) }

// table is the quoted name of a table, with its schema.
func (o *Options) table(base string) string {
	if o.Schema == "" {
		return o.name(base)
	}
	return quote(o.Schema) + "." + o.name(base)
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// tables are the base names of all that the store makes.
func tables() []string { return []string{"schema", "records", "outbox", "relay"} }

// expand fills in what differs between databases. Times are microseconds since
// 1970 by the database's clock.
func expand(d Dialect, o *Options, text string) string {
	now, bytes, empty, id := "cast(unixepoch('subsec') * 1000000 as integer)", "blob", "x''", "integer primary key autoincrement"
	if d == Postgres {
		now = "cast(extract(epoch from statement_timestamp()) * 1000000 as bigint)"
		bytes, empty, id = "bytea", "''::bytea", "bigint generated always as identity primary key"
	}
	pairs := []string{"{now}", now, "{bytes}", bytes, "{empty}", empty, "{id}", id, "{records_expires}", o.name("records_expires")}
	for _, base := range tables() {
		pairs = append(pairs, "{"+base+"}", o.table(base))
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// PostgreSQL's drivers have an error with a method for its SQLSTATE, SQLite's one
// with a method for its code: neither has to be imported.
type (
	stateError interface{ SQLState() string }
	codeError  interface{ Code() int }
)

// isPassing reports whether the database refused something that may be repeated
// at once: what was under way is rolled back.
func isPassing(err error) bool {
	if state := stateOf(err); state != "" {
		switch state {
		case "40001", "40P01", "55P03": // not serializable, deadlock, lock not available
			return true
		}
		return false
	}
	code := codeOf(err)
	return code == 5 || code == 6 // busy, locked
}

// isMissing reports whether a statement of ours does not fit the tables.
func isMissing(err error) bool {
	switch stateOf(err) {
	case "42P01", "42703", "3F000": // no such table, column, schema
		return true
	}
	return codeOf(err) == 1 // our statements have no other mistakes
}

func stateOf(err error) string {
	var e stateError
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}

// codeOf is SQLite's primary result code.
func codeOf(err error) int {
	var e codeError
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}
