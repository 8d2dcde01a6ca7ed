package probes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"
)

// cannotLook says that a failure is our own: no right, no descriptor, no memory,
// no local port. Whoever asked from a healthy machine would not have met it.
func cannotLook(err error) bool {
	for _, own := range ownErrnos {
		if errors.Is(err, own) {
			return true
		}
	}
	return false
}

// suffered tells what a user would have met, in a word and a detail. It has no
// local port in it, so that the same failure reads the same each time.
func suffered(err error, asked string, timeout time.Duration) string {
	var name *net.DNSError
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		return fmt.Sprintf("name not resolved: there is no %s", name.Name)
	case errors.As(err, &name):
		return fmt.Sprintf("name not resolved: no answer for %s", name.Name)
	case timedOut(err):
		return fmt.Sprintf("timeout: no answer from %s within %s", asked, timeout)
	case isTLS(err):
		return "TLS failed: " + tlsReason(err)
	}
	for _, f := range failures {
		if isAny(err, f.errnos) {
			return fmt.Sprintf(f.sentence, asked)
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Sprintf("reset: %s closed the connection before its answer was whole", asked)
	}
	return fmt.Sprintf("failed: %s: %v", asked, root(err))
}

// failure is a sentence about the address that was asked, and the error numbers that it stands for.
type failure struct {
	sentence string
	errnos   []error
}

var failures = []failure{
	{"refused: %s does not accept connections", refusedErrnos},
	{"reset: %s broke the connection", resetErrnos},
	{"unreachable: there is no way to %s", unreachableErrnos},
}

func isAny(err error, errnos []error) bool {
	for _, e := range errnos {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func timedOut(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT) {
		return true
	}
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// isTLS says whether the handshake or the certificate failed.
func isTLS(err error) bool {
	var verify *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	var alert tls.AlertError
	var op *net.OpError
	if errors.As(err, &verify) || errors.As(err, &header) || errors.As(err, &alert) || errors.Is(err, http.ErrSchemeMismatch) {
		return true
	}
	// An alert that the other side sent comes as an OpError of this name.
	return errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error")
}

// tlsReason leaves out the time of day that the library writes into "has expired":
// the same failure must read the same each time.
func tlsReason(err error) string {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil {
		return fmt.Sprintf("the certificate is valid from %s to %s only",
			invalid.Cert.NotBefore.UTC().Format(time.RFC3339), invalid.Cert.NotAfter.UTC().Format(time.RFC3339))
	}
	var verify *tls.CertificateVerificationError
	if errors.As(err, &verify) {
		return verify.Err.Error()
	}
	return root(err).Error()
}

// root leaves out the wrappers that name local ports.
func root(err error) error {
	var op *net.OpError
	for errors.As(err, &op) {
		err = op.Err
	}
	return err
}
