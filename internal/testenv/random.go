package testenv

import (
	"crypto/rand"
	"encoding/hex"
	"testing"
)

// randomHex returns n random bytes in hexadecimal, for names that nobody else uses.
func randomHex(t testing.TB, n int) string {
	t.Helper()
	return hex.EncodeToString(randomBytes(n))
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails, says its package
	return b
}
