package redisdriver

// The scripts on groups keep a record of each: when it was last seen, up to which
// id it has settled everything, how many entries the stream had ever had by then,
// after how many milliseconds without a sign an ephemeral group is removed (0:
// never), and how many entries were trimmed before it read them, where the server
// tells that.
//
//nolint:gochecknoglobals // constants
var (
	// joinScript makes the group where it is missing: ARGV start, ttl, what the
	// caller remembers as the record. It returns 0 for a group that was there, 1 for
	// a new one, 2 for one that was lost and is made again, then the id where it
	// starts, the record, and how many entries were missed since the last one.
	joinScript = embedded("group", "join")

	// beatScript is a sign of life of a member and its group: ARGV member, how long
	// it counts as alive, ttl of the group. It removes members that gave none, once
	// they have nothing pending. Like joinScript and trimScript it removes ephemeral
	// groups of dead processes. It returns the record, empty
	// where the group is missing, and how many entries were missed since the last one.
	beatScript = embedded("group", "beat")

	// destroyScript removes an ephemeral group.
	destroyScript = embedded("group", "destroy")

	// trimScript drops what is older than ARGV[2] milliseconds and settled by every
	// group that was seen within ARGV[3] milliseconds, at most about ARGV[4] entries
	// and down to ARGV[5] bytes where that is not 0. A group that moved since it was
	// looked at is alive, whoever reads it; one that was deleted counts by its record.
	// It returns the number of entries dropped, and the groups that did not count
	// because nobody has seen them for so long.
	trimScript = embedded("group", "trim")
)
