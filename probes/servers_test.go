package probes

import (
	"io"
	"log"
)

// quiet keeps what failing handshakes make test servers say out of the tests' output.
var quiet = log.New(io.Discard, "", 0)
