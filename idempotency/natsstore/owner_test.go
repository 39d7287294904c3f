package natsstore

const victimDir = "ANYWIRE_TEST_VICTIM_DIR"

func victim() {}
