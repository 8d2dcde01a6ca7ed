package platform

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// writeContext stores a context as the docker command does.
func writeContext(t *testing.T, folder, name, meta string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(name))
	hashed := hex.EncodeToString(sum[:])
	where := filepath.Join(folder, "contexts", "meta", hashed)
	if err := os.MkdirAll(where, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(where, "meta.json"), []byte(meta), 0o600); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, "contexts", "tls", hashed, "docker")
}

func TestEndpointFromEnvironment(t *testing.T) {
	for _, row := range []struct {
		name, host, context, config string
		want                        string
		err                         error
	}{
		{name: "nothing said is the default socket"},
		{name: "DOCKER_HOST wins over a context", host: "tcp://10.0.0.1:2375", context: "far"},
		{name: "the context of the configuration", config: `{"currentContext":"far"}`, want: "tcp://10.0.0.7:2376"},
		{name: "DOCKER_CONTEXT wins over the configuration", config: `{"currentContext":"missing"}`, context: "far", want: "tcp://10.0.0.7:2376"},
		{name: "the default context is the default socket", config: `{"currentContext":"default"}`},
		{name: "a context that is not there is no reason to use another engine", context: "missing", err: os.ErrNotExist},
		{name: "an engine over ssh is refused", host: "ssh://me@far", err: ErrUnsupported},
		{name: "a context over ssh is refused", context: "shell", want: "ssh://me@far", err: ErrUnsupported},
		{name: "a context that trusts anybody is refused", context: "blind", err: ErrUnsupported},
		{name: "a context without an engine is refused", context: "empty", err: ErrUnsupported},
	} {
		t.Run(row.name, func(t *testing.T) {
			folder := t.TempDir()
			t.Setenv("DOCKER_CONFIG", folder)
			t.Setenv("DOCKER_HOST", row.host)
			t.Setenv("DOCKER_CONTEXT", row.context)
			writeContext(t, folder, "far", `{"Name":"far","Endpoints":{"docker":{"Host":"tcp://10.0.0.7:2376"}}}`)
			writeContext(t, folder, "shell", `{"Endpoints":{"docker":{"Host":"ssh://me@far"}}}`)
			writeContext(t, folder, "blind", `{"Endpoints":{"docker":{"Host":"tcp://10.0.0.7:2376","SkipTLSVerify":true}}}`)
			writeContext(t, folder, "empty", `{"Endpoints":{}}`)
			if row.config != "" {
				if err := os.WriteFile(filepath.Join(folder, "config.json"), []byte(row.config), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := endpointFromEnvironment()
			if !errors.Is(err, row.err) || (row.err == nil && err != nil) {
				t.Fatalf("error %v, want %v", err, row.err)
			}
			if got.host != row.want {
				t.Errorf("host %q, want %q", got.host, row.want)
			}
		})
	}
}

func TestContextWithCertificates(t *testing.T) {
	folder := t.TempDir()
	certificates := writeContext(t, folder, "far", `{"Endpoints":{"docker":{"Host":"tcp://10.0.0.7:2376"}}}`)
	if err := os.MkdirAll(certificates, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(certificates, "ca.pem"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := contextEndpoint(folder, "far")
	if err != nil {
		t.Fatal(err)
	}
	if got.tls != certificates || got.file("ca.pem") == "" || got.file("key.pem") != "" {
		t.Errorf("certificates %q, ca %q, key %q", got.tls, got.file("ca.pem"), got.file("key.pem"))
	}
}
