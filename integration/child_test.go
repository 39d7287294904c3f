package integration

import (
	"fmt"
	"os"
)

// roleVariable says which worker this process is, when a test started it.
const roleVariable = "ANYWIRE_INTEGRATION_ROLE"

// playRole is the main function of a worker process.
func playRole(role string) int {
	fmt.Fprintf(os.Stderr, "role %q is unknown\n", role)
	return 2
}
