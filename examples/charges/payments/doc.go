// Package payments is a payment API that takes no money, and its client. Like
// the real ones it takes an idempotency key with each charge: the same key is the
// same charge, however often it is asked for. And like the real ones it is slow,
// has too much to do, fails, and sometimes makes the charge and loses the answer.
package payments

// Request asks for money.
type Request struct {
	Customer string `json:"customer"`
	Order    string `json:"order"`
	Cents    int    `json:"cents"`
}

// Charge is money that was taken.
type Charge struct {
	Request

	Receipt string `json:"receipt"`
	Key     string `json:"key"`
}

// keyHeader carries the idempotency key.
const keyHeader = "Idempotency-Key"
