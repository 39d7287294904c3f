package main

import (
	"errors"
	"fmt"
)

// Order is what a customer has to pay.
type Order struct {
	ID       string `json:"id"`
	Customer string `json:"customer"`
	Cents    int    `json:"cents"`
}

// WireType is the name and version of the message.
func (Order) WireType() string { return "charges.order@1" }

// check finds what is wrong with an order, which no attempt will mend.
func (o Order) check() error {
	switch {
	case o.Customer == "":
		return errors.New("the order names no customer")
	case o.Cents <= 0:
		return fmt.Errorf("the order is about %d cents", o.Cents)
	}
	return nil
}

// Charged says that an order was paid.
type Charged struct {
	Order   Order  `json:"order"`
	Receipt string `json:"receipt"` // of the payment API
}

// WireType is the name and version of the message.
func (Charged) WireType() string { return "charges.charged@1" }
