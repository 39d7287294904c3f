package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

//go:embed orders.jsonl
var sample []byte

// readOrders reads a file of orders, one JSON object a line; an empty name means
// the sample. Whether an order can be charged is the charger's business.
func readOrders(name string) ([]Order, error) {
	text := sample
	if name == "" {
		name = "orders.jsonl"
	} else {
		var err error
		if text, err = os.ReadFile(name); err != nil { //nolint:gosec // whose command line it is may read it
			return nil, fmt.Errorf("orders: %w; give another file with -in", err)
		}
	}
	var all []Order
	var errs []error
	number := 0
	for line := range bytes.Lines(text) {
		number++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		var o Order
		if err := json.Unmarshal(line, &o); err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", name, number, err))
		}
		all = append(all, o)
	}
	if len(all) == 0 {
		errs = append(errs, fmt.Errorf("%s holds no orders; give another file with -in", name))
	}
	return all, errors.Join(errs...)
}
