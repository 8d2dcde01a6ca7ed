package scheduler

import (
	"net"
	"net/url"
	"strings"
)

// ControlPath are the endpoints by which this run itself is reached and reaches
// its targets: the terminal's ssh session and an engine over TCP. No fault hits
// them; the plan shows them. sshConnection is sshd's SSH_CONNECTION: client
// address and port, server address and port; sshd(8).
func ControlPath(sshConnection, engineEndpoint string) []string {
	var paths []string
	if f := strings.Fields(sshConnection); len(f) == 4 {
		paths = append(paths, net.JoinHostPort(f[0], f[1]))
	}
	if u, err := url.Parse(engineEndpoint); err == nil && u.Host != "" && u.Scheme != "unix" && u.Scheme != "npipe" {
		paths = append(paths, u.Host)
	}
	return paths
}
