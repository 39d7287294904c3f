package redisdriver

// holding is the consumer that keeps what was given back until it is due.
const holding = "delayed"

// soleOwner is the one consumer of an ordered shard.
const soleOwner = "owner"

// The scripts on deliveries name stream, group and consumer alike. Where ARGV[1]
// is not empty, KEYS[2] must hold it: the fence of an ordered shard, which each new
// reader sets.
//
//nolint:gochecknoglobals // constants
var (
	// takeScript takes what is due, and what others let lapse: ARGV holding, most,
	// lease of consumers whose names do not end with theirs (0: look at what is due
	// only), and 1 to search for what the holding consumer has without a due record,
	// which becomes due. It returns entries, lost ids, and milliseconds until
	// something else is due (-1: nothing).
	takeScript = embedded("delivery", "take")

	// claimScript delivers again what this consumer has: ARGV ids.
	claimScript = embedded("delivery", "claim")

	// ackOwnedScript acknowledges for the owner of a shard: ARGV ids.
	ackOwnedScript = embedded("delivery", "ack_owned")

	// ackScript acknowledges what is still this consumer's: ARGV ids. It returns 1
	// for those, 0 for what is someone else's or done.
	ackScript = embedded("delivery", "ack")

	// extendScript renews leases: ARGV ids. It returns 1 for what is renewed, 0 for
	// what is someone else's, 2 for what was trimmed.
	extendScript = embedded("delivery", "extend")

	// giveScript gives entries back, to be due after a delay: ARGV holding, then id,
	// delay in milliseconds, and delivery count of each. It answers as extendScript.
	giveScript = embedded("delivery", "give")

	// leaveScript gives all of a consumer back and removes it: ARGV holding. Removing
	// a consumer drops what it has, so it must have nothing.
	leaveScript = embedded("delivery", "leave")

	// ownScript makes this the only reader of a shard: it sets the fence (KEYS[3])
	// to ARGV[4] and takes over whatever the group has pending. It returns lost ids.
	ownScript = embedded("delivery", "own")

	// disownScript ends the fence of a reader that leaves.
	disownScript = embedded("delivery", "disown")
)
