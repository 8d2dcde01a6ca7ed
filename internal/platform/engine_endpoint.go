package platform

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/docker/client"
)

// endpoint is where an engine answers. Without a host it is what the
// environment says, or else the default socket.
type endpoint struct {
	host string
	tls  string // folder of ca.pem, cert.pem and key.pem; "" for none
}

func (e endpoint) options() []client.Opt {
	if e.host == "" {
		return []client.Opt{client.FromEnv}
	}
	options := []client.Opt{client.WithVersionFromEnv()}
	if e.tls != "" {
		options = append(options, client.WithTLSClientConfig(e.file("ca.pem"), e.file("cert.pem"), e.file("key.pem")))
	}
	return append(options, client.WithHost(e.host))
}

// file is "" for what is not there: a context may have a CA and no key of its own.
func (e endpoint) file(name string) string {
	path := filepath.Join(e.tls, name)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return path
}

// endpointFromEnvironment does as the docker command does: DOCKER_HOST, then
// DOCKER_CONTEXT, then the context that its configuration names.
func endpointFromEnvironment() (endpoint, error) {
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		return endpoint{}, supportedHost(host)
	}
	folder, err := dockerFolder()
	if err != nil {
		return endpoint{}, nil //nolint:nilerr // no home folder, no contexts: the default socket
	}
	name, err := currentContext(folder)
	if err != nil || name == "" || name == "default" {
		return endpoint{}, err
	}
	return contextEndpoint(folder, name)
}

// supportedHost refuses what only the docker command itself can reach.
func supportedHost(host string) error {
	if strings.HasPrefix(host, "ssh://") {
		return fmt.Errorf("reach %s: engines over ssh: %w: forward its socket (ssh -L /tmp/engine.sock:/var/run/docker.sock HOST) and set DOCKER_HOST=unix:///tmp/engine.sock", host, ErrUnsupported)
	}
	return nil
}

func dockerFolder() (string, error) {
	if folder := os.Getenv("DOCKER_CONFIG"); folder != "" {
		return folder, nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".docker"), err
}

func currentContext(folder string) (string, error) {
	path := filepath.Join(folder, "config.json")
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read which docker context is in use: %w", err)
	}
	var config struct {
		CurrentContext string `json:"currentContext"`
	}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &config); err != nil {
			return "", fmt.Errorf("read which docker context is in use from %s: %w", path, err)
		}
	}
	return cmp.Or(os.Getenv("DOCKER_CONTEXT"), config.CurrentContext), nil
}

// contextEndpoint reads a context as the docker command stores it: in folders named for the hash of its name.
func contextEndpoint(folder, name string) (endpoint, error) {
	sum := sha256.Sum256([]byte(name))
	hashed := hex.EncodeToString(sum[:])
	raw, err := os.ReadFile(filepath.Join(folder, "contexts", "meta", hashed, "meta.json"))
	if err != nil {
		return endpoint{}, fmt.Errorf("read docker context %q: %w: `docker context ls` lists those there are", name, err)
	}
	var meta struct {
		Endpoints map[string]struct {
			Host          string
			SkipTLSVerify bool
		}
	}
	if err := json.Unmarshal(raw, &meta); err != nil {
		return endpoint{}, fmt.Errorf("read docker context %q: %w", name, err)
	}
	docker, ok := meta.Endpoints["docker"]
	switch {
	case !ok || docker.Host == "":
		return endpoint{}, fmt.Errorf("read docker context %q: it names no docker endpoint: %w", name, ErrUnsupported)
	case docker.SkipTLSVerify:
		return endpoint{}, fmt.Errorf("use docker context %q: it does not verify the engine's certificate: %w: give the context a CA", name, ErrUnsupported)
	}
	found := endpoint{host: docker.Host}
	certificates := filepath.Join(folder, "contexts", "tls", hashed, "docker")
	if _, err := os.Stat(certificates); err == nil {
		found.tls = certificates
	}
	return found, supportedHost(docker.Host)
}
