package value_test

import (
	"encoding/json"
	"fmt"

	"github.com/anywire/anywire/config/value"
)

func ExampleSecret() {
	password := value.NewSecret("hunter2")
	fmt.Println(password, len(password.Reveal()))
	// Output: *** 7
}

func ExampleDuration() {
	var retention struct{ Age value.Duration }
	if err := json.Unmarshal([]byte(`{"age": "7d"}`), &retention); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(retention.Age, retention.Age.Std())
	// Output: 7d 168h0m0s
}

func ExampleParseSize() {
	size, err := value.ParseSize("900KiB")
	fmt.Println(size, int64(size), err)
	_, err = value.ParseSize("900KX")
	fmt.Println(err)
	// Output:
	// 900KiB 921600 <nil>
	// size "900KX" has the unknown unit "KX": use B, KiB, MiB, GiB, TiB, kB, MB, GB or TB
}

func ExampleParseRange() {
	backoff, err := value.ParseRange("500ms..1m")
	fmt.Println(backoff.Min, backoff.Max, err)
	// Output: 500ms 1m <nil>
}
